/**
 * The evaluator and the all-pairs matrix against the judge (test/support/policy-judge.ts) on random clusters.
 *
 * CLUSTERS=20000 for the long run. Each cluster's objects must also pass validation: what is generated is valid.
 */
import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { Diagnostics, NO_POSITION } from '../../src/diagnostics/diagnostic.ts'
import type { KubernetesObject } from '../../src/kubernetes/types.ts'
import { validateObjects } from '../../src/kubernetes/validate.ts'
import { editPolicies } from '../../src/policy/edit.ts'
import { PolicyEngine } from '../../src/policy/engine.ts'
import { explainFlow } from '../../src/policy/explain.ts'
import { byFamily, externalParty, type PolicyInput, type PolicyPod } from '../../src/policy/input.ts'
import { ReachMatrix } from '../../src/policy/matrix.ts'
import { NO_LABELS, type Party, type PolicyOptions } from '../../src/policy/model.ts'
import { type PolicyProtocol, portNumberOf, portsContain, samePorts } from '../../src/policy/port-set.ts'
import { parseAddress } from '../../src/policy/ranges.ts'
import { EXTERNAL, EXTERNAL6, randomCluster } from '../support/policy-generator.ts'
import { type JudgeCluster, type JudgeEnd, judge } from '../support/policy-judge.ts'
import { seededPick } from '../support/seeded-pick.ts'

const CLUSTERS = Number(process.env.CLUSTERS ?? 400)
const SEED = Number(process.env.SEED ?? 11)
const QUESTIONS: readonly (readonly [PolicyProtocol, number])[] = [
  ['TCP', 80],
  ['TCP', 81],
  ['TCP', 443],
  ['TCP', 8080],
  ['UDP', 53],
  ['SCTP', 443],
  ['ICMP', 8],
]

function inputOf(cluster: JudgeCluster): PolicyInput {
  const pods = cluster.pods.map((p, index): PolicyPod => {
    const addresses = p.ips.map((ip) => parseAddress(ip)!)
    return {
      kind: 'pod',
      index,
      name: `${p.namespace}/${p.name}`,
      namespace: p.namespace,
      podName: p.name,
      workload: `Pod/${p.name}`,
      node: p.node,
      hostNetwork: p.hostNetwork,
      ports: p.ports as PolicyPod['ports'],
      addresses,
      ...byFamily(addresses),
      labels: {
        pod: p.labels,
        namespace: cluster.namespaces[p.namespace]!,
        serviceaccount: cluster.serviceAccounts[`${p.namespace}/${p.serviceAccount}`]!,
        node: p.hostNetwork ? cluster.nodes.find((n) => n.name === p.node)!.labels : {},
        meta: { namespace: p.namespace, serviceaccount: p.serviceAccount },
      },
    }
  })
  const nodes = cluster.nodes.map((n): Party => {
    const addresses = [parseAddress(n.ip)!]
    const labels = { ...NO_LABELS, node: n.labels }
    return {
      kind: 'node',
      index: -1,
      name: n.name,
      namespace: '',
      node: n.name,
      hostNetwork: true,
      ports: [],
      addresses,
      ...byFamily(addresses),
      labels,
    }
  })
  const objects = cluster.objects.map((object) => ({ object: object as KubernetesObject, source: NO_POSITION }))
  return {
    namespaces: new Map(Object.entries(cluster.namespaces)),
    pods,
    nodes,
    services: cluster.services as PolicyInput['services'],
    objects,
  }
}

/** Objects that validation refuses, with its words. */
function refused(cluster: JudgeCluster): string[] {
  const diagnostics = new Diagnostics()
  validateObjects(
    cluster.objects.map((object) => ({ object, source: NO_POSITION, positionOf: () => NO_POSITION })),
    diagnostics,
  )
  return diagnostics
    .sorted()
    .map((d) => `${d.path}: ${d.message}`)
    .filter((m) => !m.includes('host bits'))
}

interface End {
  readonly party: Party
  readonly judge: Omit<JudgeEnd, 'ip'>
  readonly ips: readonly string[]
}

function endsOf(cluster: JudgeCluster, input: PolicyInput): End[] {
  return [
    ...cluster.pods.map((pod, i) => ({ party: input.pods[i]!, judge: { pod }, ips: pod.ips })),
    ...cluster.nodes.map((node, i) => ({ party: input.nodes[i]!, judge: { node }, ips: [node.ip] })),
    ...[...EXTERNAL, ...EXTERNAL6].map((ip) => ({ party: externalParty(parseAddress(ip)!), judge: {}, ips: [ip] })),
  ]
}

/** Every answer that differs from the judge's. */
function differences(cluster: JudgeCluster, options: PolicyOptions): string[] {
  const input = inputOf(cluster)
  const engine = new PolicyEngine(input, options)
  const ends = endsOf(cluster, input)
  const wrong: string[] = [...refused(cluster), ...editDifferences(engine)]
  for (const family of [4, 6] as const) {
    const rows = matrixOf(engine, family)
    for (const src of ends) {
      for (const dst of ends) {
        const [srcIp, dstIp] = [src, dst].map((e) => e.ips.find((ip) => ip.includes(':') === (family === 6)))
        if (
          srcIp === undefined ||
          dstIp === undefined ||
          (src.party.kind === 'external' && dst.party.kind === 'external')
        )
          continue
        const ports = engine.connectionPorts(src.party, dst.party, family)
        const inMatrix = src !== dst && matrixPorts(rows, engine, src.party, dst.party)
        for (const [asked, port] of QUESTIONS) {
          const protocol = asked === 'ICMP' && family === 6 ? 'ICMPv6' : asked
          const packet = {
            src: { ...src.judge, ip: srcIp },
            dst: { ...dst.judge, ip: dstIp },
            protocol,
            port,
            sourcePort: 40000,
          }
          const expected = judge(cluster, packet, options)
          const question = `${src.party.name} -> ${dst.party.name} ${protocol}/${port}: expected ${expected}`
          const flow = engine.flow(src.party, dst.party, protocol, port, { family })
          if (engine.isAllowed(flow) !== expected) wrong.push(`${question} of isAllowed`)
          const number = portNumberOf(protocol, port)
          if (portsContain(ports, number) !== expected) wrong.push(`${question} of connectionPorts`)
          if (inMatrix && portsContain(inMatrix, number) !== expected) wrong.push(`${question} of the matrix`)
          if (port === 80 && explainFlow(engine, flow).allowed !== expected) wrong.push(`${question} of explainFlow`)
        }
      }
    }
  }
  return wrong
}

/** An edit must give what a new index gives, and name exactly the pairs that changed. */
function editDifferences(engine: PolicyEngine): string[] {
  const gone = engine.policies[0]
  if (gone === undefined) return []
  const matrix = new ReachMatrix(engine)
  const remove = engine.policies.filter((p) => p.kind === gone.kind && p.name === gone.name)
  const edited = editPolicies({ engine, matrix }, { remove, add: [] })
  const rest = engine.policies.filter((p) => !remove.includes(p))
  const fresh = new ReachMatrix(engine.withPolicies(rest))
  const wrong: string[] = []
  const back = edited.isRebuilt ? null : editPolicies(edited, { remove: [], add: remove })
  for (let src = 0; src < engine.classes.count; src++) {
    for (let dst = 0; dst < engine.classes.count; dst++) {
      const [was, is] = [matrix.ports(src, dst), fresh.ports(src, dst)]
      if (!samePorts(edited.matrix.ports(src, dst), is)) wrong.push(`edit: ${src} -> ${dst} is not that of a new index`)
      if (edited.isRebuilt) continue
      const named = edited.changed.some((c) => c.src === src && c.dst === dst)
      if (named === samePorts(was, is)) wrong.push(`edit: ${src} -> ${dst} changed, named ${named}`)
      if (!samePorts(back!.matrix.ports(src, dst), was)) wrong.push(`edit back: ${src} -> ${dst}`)
    }
  }
  return wrong
}

/** The matrix as ports by source and destination class, for dense and for list sets. */
function matrixOf(engine: PolicyEngine, family: 4 | 6): Map<string, readonly number[]>[] {
  return [true, false].map((dense) => {
    const matrix = new ReachMatrix(engine, family, { dense })
    const found = new Map<string, readonly number[]>()
    matrix.rows(({ src, cells }) => {
      for (const cell of cells) {
        matrix.sets.each(cell.peers, (dst) => {
          if (found.has(`${src}>${dst}`)) throw new Error(`cells of ${src} overlap in ${dst}`)
          found.set(`${src}>${dst}`, cell.ports)
        })
      }
    })
    return found
  })
}

function matrixPorts(
  rows: readonly Map<string, readonly number[]>[],
  engine: PolicyEngine,
  src: Party,
  dst: Party,
): readonly number[] | null {
  const [from, to] = [engine.classOf(src), engine.classOf(dst)]
  if (from < 0 || to < 0 || src.hostNetwork || dst.hostNetwork) return null
  const [a, b] = rows.map((r) => r.get(`${from}>${to}`) ?? [])
  expect(a).toEqual(b)
  return a!
}

describe(`policies of all kinds, ${CLUSTERS} random clusters`, () => {
  it('are evaluated as the judge does, packet by packet', () => {
    fc.assert(
      fc.property(fc.noShrink(fc.nat({ max: 0x7fffffff })), (seed) => {
        const pick = seededPick(seed)
        const options: PolicyOptions = {
          ipBlockMatchesPods: pick.int(4) > 0,
          hostNetwork: pick.int(4) > 0 ? 'ignored' : 'as-pod',
          nodeTraffic: (['exempt', 'exempt-ingress', 'subject'] as const)[pick.int(3)]!,
        }
        const cluster = randomCluster(pick)
        const wrong = differences(cluster, options)
        if (wrong.length > 0) {
          throw new Error(
            `${wrong.slice(0, 5).join('\n')}\n${JSON.stringify({ options, ...cluster, meaning: undefined })}`,
          )
        }
      }),
      { numRuns: CLUSTERS, seed: SEED },
    )
  })
})
