/**
 * NetworkPolicy v1: each rule of the API's semantics, with the corners that tools get wrong.
 */
import { describe, expect, it } from '@jest/globals'
import { ask, policyEngine } from '../../support/policy.ts'

const PODS = [
  'x/a app=a team=red ports=web:80,metrics:9090 ip=10.244.0.10',
  'x/b app=b ports=web:8080,dns:53/UDP ip=10.244.0.11',
  'y/a app=a ip=10.244.0.12',
  'x/h app=h host',
]

function policy(spec: string, namespace = 'x'): string {
  return `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: ${namespace}}\nspec: ${spec}\n`
}

/** Answers of several questions as `x/a>x/b:TCP/80`. */
function allowed(spec: string, questions: readonly string[], options = {}): string[] {
  const engine = policyEngine(PODS, policy(spec), options)
  return questions.filter((q) => {
    const [, from, to, port] = /^(.+)>(.+):([A-Z]+\/\d+)$/.exec(q)!
    return ask(engine, from!, to!, port!)
  })
}

const TO_A = ['x/b>x/a:TCP/80', 'y/a>x/a:TCP/80', '192.0.2.1>x/a:TCP/80']
const FROM_A = ['x/a>x/b:TCP/8080', 'x/a>y/a:TCP/80', 'x/a>192.0.2.1:TCP/443']

describe('isolation', () => {
  it('is by direction: without policyTypes a policy without egress rules is for ingress only', () => {
    expect(allowed('{podSelector: {matchLabels: {app: a}}}', [...TO_A, ...FROM_A])).toEqual(FROM_A)
    expect(allowed('{podSelector: {matchLabels: {app: a}}, egress: []}', [...TO_A, ...FROM_A])).toEqual(FROM_A)
  })

  it('covers egress without policyTypes when there is an egress rule', () => {
    expect(allowed('{podSelector: {}, egress: [{}]}', ['x/b>x/a:TCP/80', 'x/a>y/a:TCP/80'])).toEqual(['x/a>y/a:TCP/80'])
  })

  it('ignores ingress rules under policyTypes Egress', () => {
    expect(
      allowed('{podSelector: {}, policyTypes: [Egress], ingress: []}', ['y/a>x/a:TCP/80', 'x/a>y/a:TCP/80']),
    ).toEqual(['y/a>x/a:TCP/80'])
  })

  it('selects all pods of the namespace with an empty, a null and a missing podSelector', () => {
    for (const selector of ['podSelector: {}, ', 'podSelector: null, ', '']) {
      expect(allowed(`{${selector}policyTypes: [Ingress]}`, TO_A)).toEqual([])
    }
  })

  it('never stops a pod from reaching itself', () => {
    expect(allowed('{podSelector: {}, policyTypes: [Ingress, Egress]}', ['x/a>x/a:TCP/80'])).toEqual(['x/a>x/a:TCP/80'])
  })

  it('does not police a pod and its own node, but other nodes', () => {
    const questions = ['node/n1>x/a:TCP/80', 'node/n2>x/a:TCP/80', 'x/a>node/n1:TCP/80', 'x/a>node/n2:TCP/80']
    const spec = '{podSelector: {}, policyTypes: [Ingress, Egress]}'
    expect(allowed(spec, questions)).toEqual(['node/n1>x/a:TCP/80', 'x/a>node/n1:TCP/80'])
    expect(allowed(spec, questions, { nodeTraffic: 'exempt-ingress' })).toEqual(['node/n1>x/a:TCP/80'])
    expect(allowed(spec, questions, { nodeTraffic: 'subject' })).toEqual([])
  })
})

describe('peers', () => {
  const from = (peers: string): string => `{podSelector: {matchLabels: {app: a}}, ingress: [{from: ${peers}}]}`

  it('are everyone when from is missing, null or empty', () => {
    for (const rule of ['{}', '{from: []}', '{from: null}']) {
      expect(allowed(`{podSelector: {matchLabels: {app: a}}, ingress: [${rule}]}`, TO_A)).toEqual(TO_A)
    }
  })

  it('with a podSelector alone are in the policy namespace', () => {
    expect(allowed(from('[{podSelector: {}}]'), TO_A)).toEqual(['x/b>x/a:TCP/80'])
  })

  it('with both selectors in one item must satisfy both, in two items one of them', () => {
    const both =
      '{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: y}}, podSelector: {matchLabels: {app: b}}}'
    expect(allowed(from(`[${both}]`), TO_A)).toEqual([])
    const two =
      '[{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: y}}}, {podSelector: {matchLabels: {app: b}}}]'
    expect(allowed(from(two), TO_A)).toEqual(['x/b>x/a:TCP/80', 'y/a>x/a:TCP/80'])
  })

  it('satisfy NotIn and DoesNotExist when the key is absent', () => {
    const not = (operator: string): string =>
      from(`[{namespaceSelector: {}, podSelector: {matchExpressions: [{key: team, ${operator}}]}}]`)
    expect(allowed(not('operator: NotIn, values: [red]'), TO_A)).toEqual(['x/b>x/a:TCP/80', 'y/a>x/a:TCP/80'])
    expect(allowed(not('operator: DoesNotExist'), TO_A)).toEqual(['x/b>x/a:TCP/80', 'y/a>x/a:TCP/80'])
    expect(allowed(not('operator: Exists'), TO_A)).toEqual([])
  })

  it('by ipBlock are addresses, of pods as well unless the option says no', () => {
    const block = from('[{ipBlock: {cidr: 10.244.0.0/24, except: [10.244.0.12/32]}}]')
    expect(allowed(block, TO_A)).toEqual(['x/b>x/a:TCP/80'])
    expect(allowed(block, TO_A, { ipBlockMatchesPods: false })).toEqual([])
    expect(allowed(from('[{ipBlock: {cidr: "::/0"}}]'), TO_A)).toEqual([])
  })

  it('never are host-network pods by selector, unless the option says so', () => {
    const question = ['x/h>x/a:TCP/80']
    const subject = { nodeTraffic: 'subject' }
    expect(allowed(from('[{podSelector: {}}]'), question, subject)).toEqual([])
    expect(allowed(from('[{podSelector: {}}]'), question, { ...subject, hostNetwork: 'as-pod' })).toEqual(question)
  })
})

describe('ports', () => {
  const ports = (list: string): string => `{podSelector: {}, ingress: [{ports: ${list}}]}`

  it('default to TCP, and a protocol without port is all of it', () => {
    expect(allowed(ports('[{port: 80}]'), ['x/b>x/a:TCP/80', 'x/b>x/a:UDP/80', 'x/b>x/a:TCP/81'])).toEqual([
      'x/b>x/a:TCP/80',
    ])
    expect(allowed(ports('[{protocol: UDP}]'), ['x/b>x/a:UDP/1', 'x/b>x/a:UDP/65535', 'x/b>x/a:TCP/80'])).toEqual([
      'x/b>x/a:UDP/1',
      'x/b>x/a:UDP/65535',
    ])
  })

  it('isolate from TCP when the rule is about SCTP', () => {
    expect(allowed(ports('[{protocol: SCTP, port: 80}]'), ['x/b>x/a:TCP/80', 'x/b>x/a:SCTP/80'])).toEqual([
      'x/b>x/a:SCTP/80',
    ])
  })

  it('include both ends of a range', () => {
    const questions = [79, 80, 85, 90, 91].map((p) => `x/b>x/a:TCP/${p}`)
    expect(allowed(ports('[{port: 80, endPort: 90}]'), questions)).toEqual(questions.slice(1, 4))
  })

  it('by name are looked up at the destination, with the protocol', () => {
    const questions = ['x/a>x/b:TCP/8080', 'x/a>x/b:TCP/80', 'x/b>x/a:TCP/80', 'y/a>x/b:UDP/53']
    expect(allowed(ports('[{port: web}]'), questions)).toEqual(['x/a>x/b:TCP/8080', 'x/b>x/a:TCP/80'])
    expect(allowed(ports('[{port: dns}]'), questions)).toEqual([])
    expect(allowed(ports('[{port: dns, protocol: UDP}]'), questions)).toEqual(['y/a>x/b:UDP/53'])
  })

  it('by name on egress are the destination pod ports, and match no address outside', () => {
    const spec = '{podSelector: {matchLabels: {app: a}}, policyTypes: [Egress], egress: [{ports: [{port: web}]}]}'
    expect(allowed(spec, ['x/a>x/b:TCP/8080', 'x/a>x/b:TCP/80', 'x/a>192.0.2.1:TCP/80'])).toEqual(['x/a>x/b:TCP/8080'])
  })

  it('of a rule without ports include ICMP, with ports they do not', () => {
    expect(allowed('{podSelector: {}, ingress: [{}]}', ['x/b>x/a:ICMP/8'])).toEqual(['x/b>x/a:ICMP/8'])
    expect(allowed(ports('[{protocol: TCP}]'), ['x/b>x/a:ICMP/8'])).toEqual([])
  })
})
