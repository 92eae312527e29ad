/**
 * Policies through the whole driver: rule text where Felix's is known, and packets where behaviour counts.
 */
import { describe, expect, it } from '@jest/globals'
import { buildCluster, type Cluster, UnmodelledClusterError } from '../../../../src/cluster/build.ts'
import { simplifyPorts } from '../../../../src/cni/calico/knp-convert.ts'
import { splitPortList } from '../../../../src/cni/calico/policy-chains.ts'
import { execTool } from '../../../../src/linux/tools/exec.ts'
import { askTrace } from '../../../../src/query/ask.ts'
import { PolicyProbe } from '../../../support/policy-probe.ts'
import { clusterOf, SHOP } from '../../../support/shop.ts'

const [CLIENT, NEAR, FAR] = ['default/client', 'default/near', 'default/far'] as const

function text(policies: string, options = 'encapsulation: VXLAN', proxy = 'iptables'): string {
  return `${SHOP.replace('cni: { name: kubenet }', `cni: { name: calico, options: { ${options} } }`).replace(
    'mode: iptables',
    `mode: ${proxy}`,
  )}${policies}`
}

function built(policies: string, options?: string): Cluster {
  const cluster = buildCluster(clusterOf(text(policies, options)))
  expect(cluster.diagnostics.filter((d) => d.severity !== 'info')).toEqual([])
  return cluster
}

/** A policy of Calico's API. */
function calico(kind: string, name: string, spec: string): string {
  const namespace =
    kind.startsWith('Global') || kind === 'Tier' || kind === 'HostEndpoint' ? '' : ', namespace: default'
  return `---\n{ apiVersion: projectcalico.org/v3, kind: ${kind}, metadata: { name: ${name}${namespace} }, spec: ${spec} }\n`
}

/** Rules of a chain without their tags. */
function rules(cluster: Cluster, node: string, chain: RegExp, table = 'filter'): string[] {
  return execTool(cluster.nodes.get(node)!, ['iptables-save', '-t', table])
    .stdout.split('\n')
    .filter((l) => l.startsWith('-A') && chain.test(l.split(' ')[1]!))
    .map((l) => l.replace(/ -m comment --comment "cali:[^"]*"/, '').replace(/^-A \S+ ?/, ''))
}

describe('rules of policies', () => {
  it('split ports into multiports of 15 slots and join them by two marks', () => {
    const ports = Array.from({ length: 17 }, (_, i) => 100 + 2 * i).join(', ')
    const spec = `{ selector: app == 'far', ingress: [{ action: Allow, protocol: TCP, source: { nets: [10.0.0.0/8, 192.0.2.0/24], notNets: [10.9.0.0/16] }, destination: { ports: [${ports}, '300:310'] } }] }`
    expect(rules(built(calico('NetworkPolicy', 'p', spec)), 'n2', /^cali-pi-/)).toEqual([
      '-m comment --comment "Policy default/default.p ingress" -j MARK --set-xmark 0x0/0x180000',
      '-p tcp -m multiport --dports 100,102,104,106,108,110,112,114,116,118,120,122,124,126,128 -j MARK --set-xmark 0x80000/0x80000',
      '-p tcp -m multiport --dports 130,132,300:310 -j MARK --set-xmark 0x80000/0x80000',
      '-s 10.0.0.0/8 -j MARK --set-xmark 0x100000/0x100000',
      '-s 192.0.2.0/24 -j MARK --set-xmark 0x100000/0x100000',
      '-m mark --mark 0x0/0x100000 -j MARK --set-xmark 0x0/0x80000',
      '-p tcp ! -s 10.9.0.0/16 -m mark --mark 0x80000/0x80000 -j MARK --set-xmark 0x10000/0x10000'.replace(
        '-p tcp ! -s 10.9.0.0/16',
        '! -s 10.9.0.0/16 -p tcp',
      ),
    ])
  })

  it('drop directly before v3.30 and by a mark since; a policy without rules is a comment', () => {
    const deny = calico(
      'NetworkPolicy',
      'p',
      `{ selector: app == 'far', types: [Ingress, Egress], ingress: [{ action: Deny, protocol: 47 }, { action: Log }, { action: Pass }] }`,
    )
    const old = built(deny, 'version: v3.27')
    expect(rules(old, 'n2', /^cali-pi-/)).toEqual([
      '-p gre -m comment --comment "Policy default/default.p ingress" -j DROP',
      '-j LOG --log-prefix "calico-packet: " --log-level 5',
      '-j MARK --set-xmark 0x20000/0x20000',
      '-m mark --mark 0x20000/0x20000 -j RETURN',
    ])
    expect(rules(built(deny, 'version: v3.32'), 'n2', /^cali-p[io]-(?!.*kns)/)).toEqual([
      '-p gre -m comment --comment "NetworkPolicy default/default.p ingress" -j MARK --set-xmark 0x40000/0x40000',
      '-m mark --mark 0x40000/0x40000 -j DROP',
      '-j LOG --log-prefix "calico-packet: " --log-level 5',
      '-j MARK --set-xmark 0x20000/0x20000',
      '-m comment --comment "NetworkPolicy default/default.p egress"',
    ])
  })

  it('of one selector that follow each other share a chain since v3.28', () => {
    const two = ['a', 'b']
      .map((n) => calico('NetworkPolicy', n, `{ selector: app == 'far', ingress: [{ action: Allow }] }`))
      .join('')
    expect(rules(built(two), 'n2', /^cali-gi-/)).toEqual([
      expect.stringMatching(/^-j cali-pi-/),
      expect.stringMatching(/^-m mark --mark 0x0\/0x30000 -j cali-pi-/),
    ])
    expect(rules(built(two, 'version: v3.26'), 'n2', /^cali-gi-/)).toEqual([])
  })

  it('that no iptables takes are left out with a warning: an ICMP type without protocol ICMP', () => {
    const spec = `{ selector: app == 'far', ingress: [{ action: Deny, protocol: ICMPv6, icmp: { type: 8 } }, { action: Deny, notICMP: { type: 8 } }, { action: Deny, protocol: ICMPv6, ipVersion: 6, icmp: { type: 8 } }, { action: Allow, protocol: ICMP, icmp: { type: 8 } }] }`
    const cluster = buildCluster(clusterOf(text(calico('NetworkPolicy', 'p', spec))))
    expect(cluster.diagnostics.map((d) => [d.code, d.message.split(':')[1]])).toEqual([
      ['refused-by-iptables', ' spec.ingress[0]'],
      ['refused-by-iptables', ' spec.ingress[1]'],
    ])
    expect(rules(cluster, 'n2', /^cali-pi-/)[0]).toContain('-p icmp ')
  })

  it('keep numbers as few ranges, names in front', () => {
    expect(simplifyPorts(['80', '81', 'http', '9090', '82:90'])).toEqual(['http', '80:90', '9090'])
    expect(
      splitPortList(Array.from({ length: 8 }, (_, i) => ({ first: i, last: i + 1 }))).map((s) => s.length),
    ).toEqual([7, 1])
  })
})

describe('packets', () => {
  it('follow order within a tier, and tiers in their order with pass', () => {
    const tier = calico('Tier', 'ops', '{ order: 100 }')
    const policies =
      tier +
      calico(
        'GlobalNetworkPolicy',
        'ops.gate',
        `{ tier: ops, order: 1, selector: app == 'far', ingress: [{ action: Pass, protocol: TCP, destination: { ports: [8080] } }, { action: Deny, protocol: TCP, destination: { ports: [81] } }] }`,
      ) +
      calico('NetworkPolicy', 'late', `{ order: 20, selector: app == 'far', ingress: [{ action: Deny }] }`) +
      calico(
        'NetworkPolicy',
        'early',
        `{ order: 10, selector: app == 'far', ingress: [{ action: Allow, source: { selector: app == 'client' } }] }`,
      )
    const probe = new PolicyProbe(built(policies))
    expect(probe.reaches(CLIENT, FAR, 'TCP', 8080)).toBe(true)
    expect(probe.reaches(NEAR, FAR, 'TCP', 8080)).toBe(false)
    // not passed on: the end of the tier drops
    expect(probe.reaches(CLIENT, FAR, 'TCP', 81)).toBe(false)
    expect(probe.reaches(CLIENT, FAR, 'UDP', 53)).toBe(false)
  })

  it('match network sets, service accounts, Services and negated selectors', () => {
    const policies =
      calico('GlobalNetworkSet', 'x', '{ nets: [192.0.2.0/24] }').replace('name: x', 'name: x, labels: { net: out }') +
      calico(
        'NetworkPolicy',
        'a',
        `{ selector: app == 'far', ingress: [{ action: Allow, source: { notSelector: app == 'near', serviceAccounts: { names: [default] } } }] }`,
      ) +
      calico(
        'NetworkPolicy',
        'b',
        `{ selector: app == 'client', types: [Egress], egress: [{ action: Allow, destination: { services: { name: far, namespace: default } } }, { action: Allow, destination: { selector: net == 'out' } }] }`,
      )
    const cluster = built(policies)
    const probe = new PolicyProbe(cluster)
    expect(probe.reaches(NEAR, FAR, 'TCP', 8080)).toBe(false)
    expect(probe.reaches(CLIENT, FAR, 'TCP', 8080)).toBe(true)
    expect(probe.reaches(CLIENT, FAR, 'TCP', 8081)).toBe(false)
    expect(probe.reaches(CLIENT, NEAR, 'TCP', 8080)).toBe(false)
    expect(execTool(cluster.nodes.get('n1')!, ['ipset', 'save']).stdout).toMatch(
      /add cali40svc:\S+ 10\.244\.217\.1,tcp:8080\n/,
    )
  })

  it('of staged policies pass, of an unknown tier are an error', () => {
    const staged = calico('StagedNetworkPolicy', 's', `{ selector: app == 'far', types: [Ingress] }`)
    expect(new PolicyProbe(built(staged)).reaches(CLIENT, FAR, 'TCP', 80)).toBe(true)
    const lost = calico('NetworkPolicy', 'p', `{ tier: nowhere, selector: all() }`)
    expect(buildCluster(clusterOf(text(lost))).diagnostics.map((d) => d.message)).toEqual([
      'NetworkPolicy nowhere.p: expected the name of a Tier, found nowhere',
    ])
  })

  it('of a pod that spoofs are dropped by the raw table', () => {
    const cluster = built('')
    const pod = cluster.pods.get(CLIENT)!
    // the host does not even answer ARP for a source that is not the pod's: the neighbour is known beforehand
    execTool(pod, ['ping', '-c', '1', '172.18.0.2'])
    execTool(pod, ['ip', 'addr', 'add', '10.9.9.9/32', 'dev', 'eth0'])
    const r = execTool(pod, ['ping', '-c', '1', '-W', '1', '-I', '10.9.9.9', '172.18.0.2'])
    expect(r.stdout).toContain('100% packet loss')
    expect(execTool(cluster.nodes.get('n1')!, ['iptables-save', '-c', '-t', 'raw']).stdout).toMatch(
      /\[1:84\].*rpfilter/,
    )
  })
})

describe('host endpoints', () => {
  const HEP = calico('HostEndpoint', 'n2-eth0', '{ node: n2, interfaceName: eth0 }').replace(
    'name: n2-eth0',
    'name: n2-eth0, labels: { host: n2 }',
  )
  const ask = (policies: string, dst: string, protocol: 'TCP' | 'UDP' = 'TCP') =>
    askTrace(clusterOf(text(policies)), {
      ...{ src: 'host:192.0.2.7', dst, namespace: 'default', protocol, flow: false, seed: 1, verbose: false },
    }).trace!

  it('without policy drop all but failsafes, and let through what is forwarded', () => {
    expect(ask(HEP, 'node/n2:9100').verdict).toBe('DROPPED')
    expect(ask(HEP, 'node/n2:9100').decidedBy).toMatchObject({ kind: 'HostEndpoint', name: 'n2-eth0' })
    expect(ask(HEP, 'node/n2:22').verdict).not.toBe('DROPPED')
    expect(ask(HEP, 'node/n2:30080').verdict).toBe('DELIVERED')
  })

  it('police NodePorts before DNAT with preDNAT, without tracking with doNotTrack', () => {
    const preDnat = calico(
      'GlobalNetworkPolicy',
      'p',
      `{ selector: has(host), preDNAT: true, applyOnForward: true, ingress: [{ action: Deny, protocol: TCP, destination: { ports: [30080] } }] }`,
    )
    expect(ask(HEP + preDnat, 'node/n2:30080')).toMatchObject({
      verdict: 'DROPPED',
      decidedBy: { kind: 'GlobalNetworkPolicy', rule: 'spec.ingress[0]' },
    })
    const untracked = calico(
      'GlobalNetworkPolicy',
      'p',
      `{ selector: has(host), doNotTrack: true, applyOnForward: true, ingress: [{ action: Allow, protocol: TCP, destination: { ports: [9100] } }], egress: [{ action: Allow }] }`,
    )
    const t = ask(HEP + untracked, 'node/n2:9100')
    expect(t.verdict).toBe('DELIVERED')
    expect(t.walk.filter((h) => h.node === 'n2').map((h) => h.action)).toContainEqual(
      expect.stringMatching(/^raw cali-fh-eth0 rule \d+: NOTRACK/),
    )
  })
})

describe('traces', () => {
  it('name the policy that dropped, and the rule that nearly let the packet in', () => {
    const policy = `---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: far }
spec:
  podSelector: { matchLabels: { app: far } }
  ingress:
    - from: [{ podSelector: { matchLabels: { app: near } } }]
    - from: [{ podSelector: { matchLabels: { app: client } } }]
      ports: [{ port: 9 }]
`
    const t = askTrace(clusterOf(text(policy)), {
      ...{
        src: CLIENT,
        dst: 'svc/default/far:80',
        namespace: 'default',
        protocol: 'TCP',
        flow: false,
        seed: 1,
        verbose: false,
      },
    }).trace!
    expect(t.decidedBy).toMatchObject({
      kind: 'NetworkPolicy',
      namespace: 'default',
      name: 'far',
      rule: 'no ingress rule',
    })
    expect(t.nearestMiss).toMatch(
      /^The nearest rule is NetworkPolicy default\/far spec\.ingress\[\d\] \(shop\.yaml:\d+\): its source does not include 10\.244\.40\.129\.$/,
    )
  })
})

describe('what is not modelled', () => {
  it.each([
    ['dataplane: nftables', 'calico data plane "nftables"'],
    ['felix: { bpfEnabled: true }', 'calico data plane "bpf"'],
    ['felix: { wireguardEnabled: true }', 'calico with WireGuard'],
  ])('%s is UNMODELLED by name', (options, what) => {
    expect(() => buildCluster(clusterOf(text('', options)))).toThrow(UnmodelledClusterError)
    expect(() => buildCluster(clusterOf(text('', options)))).toThrow(what)
  })
})
