/**
 * Felix's rules against the policy engine on random clusters: packets that walk through the simulated iptables reach a pod
 * exactly when the engine says so. The two share the parsed manifests and nothing of what policies mean.
 *
 * CLUSTERS=2000 for the long run. Left out: SCTP and Cilium's policies, which the data plane does not have, and pods of
 * the node's network.
 */
import { describe, expect, it } from '@jest/globals'
import { buildCluster } from '../../src/cluster/build.ts'
import { buildClusterModel, loadText } from '../../src/kubernetes/index.ts'
import { PolicyEngine } from '../../src/policy/engine.ts'
import { policyInputOf } from '../../src/policy/input.ts'
import { type Pick, randomCluster } from '../support/policy-generator.ts'
import type { JudgeCluster } from '../support/policy-judge.ts'
import { PolicyProbe, type ProbeProtocol } from '../support/policy-probe.ts'

const CLUSTERS = Number(process.env.CLUSTERS ?? 12)
const SEED = Number(process.env.SEED ?? 7)
const QUESTIONS: readonly (readonly [ProbeProtocol, number])[] = [
  ['TCP', 80],
  ['TCP', 443],
  ['UDP', 53],
  ['ICMP', 8],
]

const SECURITY = {
  ...{ apiVersion: 'projectcalico.org/v3', kind: 'Tier', metadata: { name: 'security' } },
  spec: { order: 500 },
}

/** Choices from a seed (mulberry32). */
function seeded(seed: number): Pick {
  let a = seed
  return {
    int(n) {
      a = (a + 0x6d2b79f5) | 0
      let t = Math.imul(a ^ (a >>> 15), 1 | a)
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
      return ((t ^ (t >>> 14)) >>> 0) % n
    },
  }
}

/** The manifests of a random cluster: JSON is YAML. */
function manifests(c: JudgeCluster, version: string): string {
  const cni = { name: 'calico', options: { encapsulation: 'VXLAN', version } }
  const objects = [
    {
      ...{ apiVersion: 'podwalk.dev/v1alpha1', kind: 'Cluster', metadata: { name: 'random' } },
      spec: {
        cni,
        nodeCIDRMaskSize: 29,
        nodes: c.nodes.map(({ name, labels }) => ({ name, labels })),
        kubeProxy: { mode: 'none' },
      },
    },
    {
      ...{ apiVersion: 'projectcalico.org/v3', kind: 'IPPool', metadata: { name: 'pool' } },
      spec: { cidr: '10.244.0.0/28', blockSize: 29, vxlanMode: 'Always' },
    },
    ...Object.entries(c.namespaces).map(([name, labels]) => ({
      ...{ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } },
    })),
    ...Object.entries(c.serviceAccounts).map(([key, labels]) => {
      const [namespace, name] = key.split('/')
      return { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace, labels } }
    }),
    ...c.pods
      .filter((p) => !p.hostNetwork)
      .map(({ namespace, name, labels, node, serviceAccount, ports }) => ({
        ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace, labels } },
        spec: {
          ...{ nodeName: node, serviceAccountName: serviceAccount },
          containers: [
            { name: 'c', image: 'x', ports: ports.map(({ port, ...rest }) => ({ ...rest, containerPort: port })) },
          ],
        },
      })),
    // the API refuses a policy of a tier that is not there
    ...(c.objects.some((o) => o.kind === 'Tier') ? [] : [SECURITY]),
    ...c.objects.filter((o) => !o.kind.startsWith('Cilium')),
  ]
  return objects.map((o) => JSON.stringify(o)).join('\n---\n')
}

function wrongAnswers(seed: number): string[] {
  const version = ['v3.27', 'v3.31', 'v3.33'][seed % 3]!
  const text = manifests(randomCluster(seeded(seed)), version)
  const built = buildClusterModel(loadText(text, 'random.yaml'))
  const errors = built.diagnostics.filter((d) => d.severity === 'error')
  if (errors.length > 0) return errors.map((e) => e.message)
  const engine = new PolicyEngine(policyInputOf(built.model))
  const probe = new PolicyProbe(buildCluster(built.model))
  const names = built.model.pods.filter((p) => !p.hostNetwork).map((p) => `${p.namespace}/${p.name}`)
  const wrong: string[] = []
  for (const from of names) {
    for (const to of names) {
      if (from === to) continue
      for (const [protocol, port] of QUESTIONS) {
        const got = probe.reaches(from, to, protocol, port)
        const sourcePort = protocol === 'ICMP' ? {} : { sourcePort: probe.sourcePort }
        const flow = engine.flow(engine.pod(from)!, engine.pod(to)!, protocol, port, { family: 4, ...sourcePort })
        if (engine.isAllowed(flow) !== got) wrong.push(`seed ${seed}: ${from} -> ${to} ${protocol}/${port}: ${got}`)
      }
    }
  }
  return wrong
}

describe("Calico's data plane and the policy engine", () => {
  it(`agree on ${CLUSTERS} random clusters`, () => {
    const wrong: string[] = []
    for (let i = 0; i < CLUSTERS && wrong.length < 40; i++) wrong.push(...wrongAnswers(SEED * 100_000 + i))
    expect(wrong).toEqual([])
  }, 600_000)
})
