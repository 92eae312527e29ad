/**
 * Policies against packets: random clusters with policies, built with every driver that enforces them; each pair of pods is
 * asked of the evaluator and of the data plane. A difference without a cause is a bug of one of them.
 *
 * WALKED=1000 for the long run. A driver that enforces policies is covered by registering.
 */
import { describe, expect, it } from '@jest/globals'
import { CNI_DRIVERS } from '../../src/cni/registry.ts'
import { buildClusterModel, loadText } from '../../src/kubernetes/index.ts'
import { PolicyEngine } from '../../src/policy/engine.ts'
import { policyInputOf } from '../../src/policy/input.ts'
import { askReach } from '../../src/query/ask-reach.ts'
import { randomCluster } from '../support/policy-generator.ts'
import type { JudgeCluster } from '../support/policy-judge.ts'
import { seededPick } from '../support/seeded-pick.ts'

const CLUSTERS = Number(process.env.WALKED ?? 4)
const SEED = Number(process.env.SEED ?? 3)
/** First cluster of the run, to go on where one ended. */
const FROM = Number(process.env.FROM ?? 0)
/** What each driver reads of the generated kinds. */
const READS: Readonly<Record<string, readonly string[]>> = {
  calico: ['networking.k8s.io', 'projectcalico.org', 'crd.projectcalico.org', 'policy.networking.k8s.io'],
}

/** Rules that a driver says it does not model. */
function isModelled(object: JudgeCluster['objects'][number]): boolean {
  const text = JSON.stringify(object)
  return !text.includes('"nodes"') && !/"ipVersion":6|ICMPv6|[0-9a-f]::|::\//.test(text)
}

function manifests(cluster: JudgeCluster, cni: string): string {
  const groups = READS[cni] ?? ['networking.k8s.io']
  const meta = (name: string, namespace?: string, labels?: object) => ({
    name,
    ...(namespace && { namespace }),
    ...(labels && { labels }),
  })
  const items = [
    { apiVersion: 'podwalk.dev/v1alpha1', kind: 'Cluster', metadata: { name: 'c' }, spec: { cni: { name: cni } } },
    ...cluster.nodes.map((n, i) => ({
      apiVersion: 'v1',
      kind: 'Node',
      metadata: meta(n.name, undefined, n.labels),
      spec: { podCIDR: `10.244.${i}.0/24` },
      status: { addresses: [{ type: 'InternalIP', address: n.ip }] },
    })),
    ...Object.entries(cluster.namespaces).map(([name, labels]) => ({
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: meta(name, undefined, labels),
    })),
    ...Object.entries(cluster.serviceAccounts).map(([key, labels]) => {
      const [namespace, name] = key.split('/')
      return { apiVersion: 'v1', kind: 'ServiceAccount', metadata: meta(name!, namespace, labels) }
    }),
    ...cluster.pods.map((p) => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: meta(p.name, p.namespace, p.labels),
      spec: {
        nodeName: p.node,
        serviceAccountName: p.serviceAccount,
        containers: [
          {
            name: 'c',
            image: 'x',
            ports: p.hostNetwork
              ? []
              : p.ports.map((q) => ({ name: q.name, protocol: q.protocol, containerPort: q.port })),
          },
        ],
        ...(p.hostNetwork && { hostNetwork: true }),
      },
    })),
    ...cluster.objects.filter((o) => groups.includes(o.apiVersion.split('/')[0]) && isModelled(o)),
  ]
  return JSON.stringify({ apiVersion: 'v1', kind: 'List', items })
}

/** Differences that are nobody's fault but the test's to explain, as texts. */
function unexplained(text: string): string[] {
  const built = buildClusterModel(loadText(text, 'cluster.json'))
  const errors = built.diagnostics.filter((d) => d.severity === 'error').map((d) => `${d.path}: ${d.message}`)
  if (errors.length > 0) return errors
  const engine = new PolicyEngine(policyInputOf(built.model), { nodeTraffic: 'exempt-ingress' })
  const question = {
    by: 'pod' as const,
    probes: [
      { protocol: 'TCP' as const, port: 80 },
      { protocol: 'UDP' as const, port: 53 },
      { protocol: 'ICMP' as const, port: 8 },
    ],
    exposure: false,
  }
  const { answer, unmodelled } = askReach(engine, built.model, question, 'both', 1)
  if (unmodelled !== null) return [unmodelled]
  return (answer.differences ?? [])
    .filter((d) => d.cause === 'unexplained' || d.cause === 'routing')
    .map((d) => `${d.src} -> ${d.dst} ${d.protocol}/${d.port}: policy ${d.policy}, packets ${d.packets}: ${d.text}`)
}

describe.each(CNI_DRIVERS.filter((d) => d.enforcesNetworkPolicy).map((d) => d.name))(
  'policies as %s enforces them',
  (cni) => {
    it(`have no unexplained difference to packets in ${CLUSTERS} random clusters`, () => {
      for (let i = FROM; i < FROM + CLUSTERS; i++) {
        const text = manifests(randomCluster(seededPick(SEED * 100_000 + i)), cni)
        const found = unexplained(text)
        if (found.length > 0) throw new Error(`cluster ${i}:\n${found.slice(0, 5).join('\n')}\n${text}`)
      }
      expect(CLUSTERS).toBeGreaterThan(0)
    }, 3_600_000)
  },
)
