/**
 * Generated clusters for the policy benchmarks, as the JSON list that `kubectl get -o json` gives.
 *
 * Shape `small-namespaces` is that of Antrea's controller benchmark (25,000 namespaces of 4 pods and 3 policies: deny
 * everything, and two that let labels in). Shape `large` has few namespaces with many label sets, peers by namespace label,
 * blocks with exceptions and port ranges. Everything comes from the numbers: no randomness.
 */
import { closeSync, openSync, writeSync } from 'node:fs'

/** Sizes of the `large` shape at its full scale. */
export const LARGE = { nodes: 5_000, pods: 150_000, classes: 10_000, policies: 2_500, namespaces: 500 } as const
/** Namespaces of the other shape at its full scale. */
export const SMALL_NAMESPACES = 25_000
const PODS_PER_NAMESPACE = 4
const MAX_PODS_PER_NODE = 110

type Fields = Record<string, unknown>

function pod(namespace: string, name: string, labels: Fields, node: number, ip: string): Fields {
  const containers = [{ name: 'c', image: 'example.org/app:1', ports: [{ name: 'http', containerPort: 8080 }] }]
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, labels },
    spec: { nodeName: `n${node}`, containers },
    status: { phase: 'Running', podIP: ip },
  }
}

function node(i: number): Fields {
  const addresses = [{ type: 'InternalIP', address: `172.${16 + (i >> 14)}.${(i >> 6) & 255}.${(i & 63) + 2}` }]
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: `n${i}` },
    spec: { podCIDR: `10.${i >> 8}.${i & 255}.0/24` },
    status: { addresses, allocatable: { pods: '250' }, conditions: [{ type: 'Ready', status: 'True' }] },
  }
}

/** The address of the k-th pod of a node. */
function address(node: number, k: number): string {
  return `10.${node >> 8}.${node & 255}.${k + 2}`
}

function policy(namespace: string, name: string, spec: Fields): Fields {
  return { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', metadata: { name, namespace }, spec }
}

/** Namespaces of 4 pods and 3 policies. */
export function* smallNamespaces(namespaces: number): Generator<Fields> {
  const pods = namespaces * PODS_PER_NAMESPACE
  const nodes = Math.ceil(pods / MAX_PODS_PER_NODE)
  for (let i = 0; i < nodes; i++) yield node(i)
  let k = 0
  for (let i = 0; i < namespaces; i++) {
    const namespace = `ns-${i}`
    yield { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace, labels: { app: namespace } } }
    for (let j = 0; j < PODS_PER_NAMESPACE; j++, k++) {
      const on = Math.floor(k / MAX_PODS_PER_NODE)
      yield pod(
        namespace,
        `pod-${j}`,
        { 'app-1': namespace, tier: `t${j >> 1}` },
        on,
        address(on, k % MAX_PODS_PER_NODE),
      )
    }
    yield policy(namespace, 'deny-all', { podSelector: {}, policyTypes: ['Ingress', 'Egress'] })
    for (const t of [0, 1]) {
      const peer = { podSelector: { matchLabels: { tier: `t${1 - t}` } } }
      yield policy(namespace, `allow-${t}`, {
        podSelector: { matchLabels: { tier: `t${t}` } },
        policyTypes: ['Ingress', 'Egress'],
        ingress: [{ from: [peer], ports: [{ port: 'http' }] }],
        egress: [{ to: [peer], ports: [{ port: 8080 }] }],
      })
    }
  }
}

/** Many label sets in few namespaces. @param scale 1 is the full size */
export function* large(scale: number): Generator<Fields> {
  const nodes = Math.max(1, Math.round(LARGE.nodes * scale))
  const pods = Math.round(LARGE.pods * scale)
  const namespaces = Math.max(1, Math.round(LARGE.namespaces * scale))
  const sets = LARGE.classes / LARGE.namespaces
  const policies = LARGE.policies / LARGE.namespaces
  for (let i = 0; i < nodes; i++) yield node(i)
  for (let i = 0; i < namespaces; i++) {
    const labels = { team: `team-${i % 50}`, env: ['prod', 'test', 'dev'][i % 3] }
    yield { apiVersion: 'v1', kind: 'Namespace', metadata: { name: `ns-${i}`, labels } }
  }
  for (let k = 0; k < pods; k++) {
    const on = Math.floor((k * nodes) / pods)
    const first = Math.ceil((on * pods) / nodes)
    const set = Math.floor(k / namespaces) % sets
    const labels = { app: `app-${set}`, tier: `tier-${set % 4}`, zone: `z${set % 3}` }
    yield pod(`ns-${k % namespaces}`, `p${k}`, labels, on, address(on, k - first))
  }
  for (let i = 0; i < namespaces; i++) for (let j = 0; j < policies; j++) yield largePolicy(i, j)
}

function largePolicy(i: number, j: number): Fields {
  const n = i * 5 + j
  const namespace = `ns-${i}`
  const range = {
    protocol: n % 7 === 0 ? 'UDP' : 'TCP',
    port: 1000 + (n % 50) * 100,
    endPort: 1000 + (n % 50) * 100 + 150,
  }
  const block = {
    ipBlock: { cidr: `${100 + (n % 20)}.${n % 250}.0.0/16`, except: [`${100 + (n % 20)}.${n % 250}.${n % 200}.0/24`] },
  }
  const team = {
    namespaceSelector: { matchLabels: { team: `team-${n % 50}` } },
    podSelector: { matchLabels: { tier: `tier-${n % 4}` } },
  }
  const anywhere = {
    namespaceSelector: { matchExpressions: [{ key: 'env', operator: 'NotIn', values: ['dev'] }] },
    podSelector: { matchLabels: { app: `app-${n % 20}` } },
  }
  return policy(namespace, `policy-${j}`, {
    podSelector: j === 0 ? {} : { matchLabels: { tier: `tier-${j - 1}` } },
    policyTypes: j % 2 === 0 ? ['Ingress', 'Egress'] : ['Ingress'],
    ingress: [{ from: [team, block], ports: [range, { port: 'http' }] }, { from: [{ podSelector: {} }] }],
    ...(j % 2 === 0 && {
      egress: [{ to: [anywhere, block], ports: [range, { port: 443 }] }, { to: [{ podSelector: {} }] }],
    }),
  })
}

/** Writes the list to a file, item by item: the whole is never in memory. */
export function writeList(items: Iterable<Fields>, file: string): void {
  const fd = openSync(file, 'w')
  let text = '{"apiVersion":"v1","kind":"List","items":[\n'
  let isFirst = true
  for (const item of items) {
    text += `${isFirst ? '' : ',\n'}${JSON.stringify(item)}`
    isFirst = false
    if (text.length > 1 << 20) {
      writeSync(fd, text)
      text = ''
    }
  }
  writeSync(fd, `${text}\n]}\n`)
  closeSync(fd)
}
