/**
 * Generated sets of Services and EndpointSlices with every field kube-proxy reads, on the pods of one small cluster, and
 * connections to ask them for.
 */
import fc from 'fast-check'
import { buildCluster, type Cluster } from '../../src/cluster/build.ts'
import { NodeProxy } from '../../src/cluster/node-proxy.ts'
import { proxyInput } from '../../src/cluster/proxy-input.ts'
import type { ProxyMode } from '../../src/proxy/mode.ts'
import type {
  ProxyConfig,
  ProxyEndpointSlice,
  ProxyInput,
  ProxyService,
  ProxySliceEndpoint,
} from '../../src/proxy/types.ts'
import { clusterOf } from './shop.ts'

/** One generated set. */
export interface ProxySet {
  readonly services: readonly ProxyService[]
  readonly endpointSlices: readonly ProxyEndpointSlice[]
  readonly config: ProxyConfig
}

const POD_CIDR = '10.244.0.0/16'

/** Two pods on each of two nodes in two zones; the nodes' zones are read from their labels. */
const CLUSTER = `
apiVersion: podwalk.dev/v1alpha1
kind: Cluster
metadata: { name: sets }
spec:
  nodes: [{ name: n1, zone: z1 }, { name: n2, zone: z2 }]
  cni: { name: kubenet }
  kubeProxy: { mode: none }
${['p1 n1', 'p2 n1', 'p3 n2', 'p4 n2']
  .map((pod) => pod.split(' '))
  .map(
    ([name, node]) =>
      `---\n{ apiVersion: v1, kind: Pod, metadata: { name: ${name} }, spec: { nodeName: ${node}, containers: [{ name: c }] } }`,
  )
  .join('\n')}
`

/** The machine outside the cluster. */
export const OUTSIDE = '192.0.2.7'

/** Addresses of endpoints: the pods and the nodes themselves. */
export const ENDPOINTS: readonly (readonly [string, string])[] = [
  ['10.244.0.2', 'n1'],
  ['10.244.0.3', 'n1'],
  ['10.244.1.2', 'n2'],
  ['10.244.1.3', 'n2'],
  ['172.18.0.2', 'n1'],
]

/** The cluster without kube-proxy, with the machine outside. */
export function setCluster(): Cluster {
  const cluster = buildCluster(clusterOf(CLUSTER))
  cluster.host(OUTSIDE)
  return cluster
}

/** What kube-proxy of a node reads. */
export function inputOf(cluster: Cluster, node: string, set: ProxySet): ProxyInput {
  const model = cluster.model.nodes.find((n) => n.name === node)
  const ns = cluster.nodes.get(node)
  if (model === undefined || ns === undefined) throw new Error(`no node ${node}`)
  const base = proxyInput(cluster.model, model, ns)
  return {
    ...base,
    services: set.services,
    endpointSlices: set.endpointSlices,
    config: { ...base.config, ...set.config },
  }
}

/** Programs every node of the cluster for the set. */
export function programSet(cluster: Cluster, mode: ProxyMode, set: ProxySet): void {
  for (const [name, ns] of cluster.nodes) new NodeProxy(ns, mode).sync(inputOf(cluster, name, set))
}

const maybe = <T>(arb: fc.Arbitrary<T>, weight = 2): fc.Arbitrary<T | undefined> =>
  fc.option(arb, { nil: undefined, freq: weight })

const conditions = fc.constantFrom(
  {},
  { ready: true },
  { ready: true, serving: true, terminating: false },
  { ready: false, serving: false },
  { ready: false, serving: true, terminating: true },
  { ready: false, serving: false, terminating: true },
  // publishNotReadyAddresses: ready although it terminates
  { ready: true, serving: true, terminating: true },
)

const hints = fc.record(
  {
    forZones: fc.subarray([{ name: 'z1' }, { name: 'z2' }], { minLength: 1 }),
    forNodes: fc.subarray([{ name: 'n1' }, { name: 'n2' }], { minLength: 1 }),
  },
  { requiredKeys: [] },
)

const endpoint: fc.Arbitrary<ProxySliceEndpoint> = fc
  .record({
    at: fc.constantFrom(...ENDPOINTS),
    conditions: fc.oneof({ weight: 3, arbitrary: fc.constant({}) }, { weight: 2, arbitrary: conditions }),
    hints: maybe(hints, 3),
  })
  .map(({ at: [ip, nodeName], conditions: c, hints: h }) => ({
    addresses: [ip],
    nodeName,
    conditions: c,
    ...(h === undefined ? {} : { hints: h }),
  }))

interface PortDraft {
  readonly protocol: string
  readonly target: number
  readonly hasNodePort: boolean
}

const port: fc.Arbitrary<PortDraft> = fc.record({
  protocol: fc.constantFrom('TCP', 'TCP', 'TCP', 'UDP', 'UDP', 'SCTP'),
  target: fc.constantFrom(8080, 8080, 8080, 9090),
  hasNodePort: fc.constantFrom(true, true, false),
})

const serviceDraft = fc.record({
  type: fc.constantFrom('ClusterIP', 'NodePort', 'NodePort', 'LoadBalancer', 'LoadBalancer', 'ExternalName'),
  headless: fc.constantFrom(false, false, false, false, false, true),
  labels: fc.constantFrom({}, {}, {}, {}, {}, { 'service.kubernetes.io/service-proxy-name': 'other' }),
  ports: fc.array(port, { minLength: 1, maxLength: 3 }),
  samePort: fc.boolean(),
  externalIps: fc.integer({ min: 0, max: 2 }),
  vips: fc.integer({ min: 0, max: 2 }),
  ipMode: fc.constantFrom(undefined, undefined, 'VIP', 'Proxy'),
  ranges: maybe(
    fc.subarray([POD_CIDR, '192.0.2.0/24', '172.18.0.0/16', '172.18.0.3/32', ' 203.0.113.0/24'], { minLength: 1 }),
  ),
  externalPolicy: fc.constantFrom(undefined, 'Cluster', 'Local', 'Local'),
  internalPolicy: fc.constantFrom(undefined, 'Cluster', 'Cluster', 'Local'),
  affinity: fc.constantFrom(undefined, undefined, 'None', 'ClientIP'),
  timeout: maybe(fc.integer({ min: 1, max: 86400 })),
  slices: fc.array(fc.array(endpoint, { maxLength: 4 }), { maxLength: 2 }),
})

type ServiceDraft = typeof serviceDraft extends fc.Arbitrary<infer T> ? T : never

const config: fc.Arbitrary<ProxyConfig> = fc
  .record({
    detector: fc.constantFrom(
      'ClusterCIDR',
      'ClusterCIDR',
      'NodeCIDR',
      'BridgeInterface',
      'InterfaceNamePrefix',
      'None',
    ),
    masqueradeAll: fc.constantFrom(false, false, false, true),
    localhostNodePorts: fc.constantFrom(true, true, false),
    nodePortAddresses: fc.constantFrom<string[]>(
      [],
      [],
      ['172.18.0.0/16'],
      ['0.0.0.0/0'],
      ['10.244.0.0/16'],
      ['primary'],
    ),
    masqueradeBit: fc.constantFrom(14, 14, 14, 9),
    tcpBeLiberal: fc.constantFrom(false, false, true),
  })
  .map(({ detector, ...rest }) => ({
    ...rest,
    localDetector: detector as 'ClusterCIDR',
    clusterCidr: POD_CIDR,
    bridgeInterface: 'cbr0',
    interfaceNamePrefix: 'cbr',
  }))

/** A set of one to five Services. */
export const proxySet: fc.Arbitrary<ProxySet> = fc
  .record({ drafts: fc.array(serviceDraft, { minLength: 1, maxLength: 5 }), config })
  .map(({ drafts, config: c }) => ({
    services: drafts.map(toService),
    endpointSlices: drafts.flatMap(toSlices),
    config: c,
  }))

/** `count` sets of a seed. */
export function proxySets(count: number, seed: number): ProxySet[] {
  return fc.sample(proxySet, { numRuns: count, seed })
}

function portName(index: number, ports: readonly PortDraft[]): string {
  return ports.length === 1 ? '' : `p${index}`
}

/** Port numbers: all different, or equal ones where the protocols differ. */
function portNumber(index: number, draft: ServiceDraft): number {
  const { ports, samePort } = draft
  const earlier = ports.slice(0, index)
  return samePort && !earlier.some((p) => p.protocol === ports[index]?.protocol) ? 80 : 80 + index
}

function toService(draft: ServiceDraft, i: number): ProxyService {
  const isBalancer = draft.type === 'LoadBalancer'
  const takesNodePorts = isBalancer || draft.type === 'NodePort'
  const isLocal = draft.externalPolicy === 'Local'
  return {
    metadata: { name: `s${i}`, namespace: 'default', labels: draft.labels },
    spec: {
      type: draft.type,
      clusterIP: draft.headless && !takesNodePorts ? 'None' : `10.96.0.${10 + i}`,
      ports: draft.ports.map((p, k) => ({
        name: portName(k, draft.ports),
        protocol: p.protocol,
        port: portNumber(k, draft),
        // a balancer may do without: allocateLoadBalancerNodePorts
        ...(draft.type === 'NodePort' || (isBalancer && p.hasNodePort) ? { nodePort: 30000 + i * 10 + k } : {}),
      })),
      externalIPs: Array.from({ length: draft.externalIps }, (_, k) => `198.51.100.${i * 10 + k + 1}`),
      ...(draft.externalPolicy === undefined ? {} : { externalTrafficPolicy: draft.externalPolicy }),
      ...(draft.internalPolicy === undefined ? {} : { internalTrafficPolicy: draft.internalPolicy }),
      ...(isBalancer && isLocal ? { healthCheckNodePort: 32000 + i } : {}),
      ...(draft.ranges === undefined ? {} : { loadBalancerSourceRanges: draft.ranges }),
      ...(draft.affinity === undefined ? {} : { sessionAffinity: draft.affinity }),
      ...(draft.timeout === undefined
        ? {}
        : { sessionAffinityConfig: { clientIP: { timeoutSeconds: draft.timeout } } }),
    },
    status: {
      loadBalancer: {
        ingress: isBalancer
          ? Array.from({ length: draft.vips }, (_, k) => ({
              ip: `203.0.113.${i * 10 + k + 1}`,
              ...(draft.ipMode === undefined ? {} : { ipMode: draft.ipMode }),
            }))
          : [],
      },
    },
  }
}

function toSlices(draft: ServiceDraft, i: number): ProxyEndpointSlice[] {
  return draft.slices.map((endpoints, k) => ({
    metadata: {
      name: `s${i}-${k}`,
      namespace: 'default',
      labels: { 'kubernetes.io/service-name': `s${i}`, ...draft.labels },
    },
    addressType: 'IPv4',
    endpoints,
    ports: draft.ports.map((p, n) => ({ name: portName(n, draft.ports), protocol: p.protocol, port: p.target })),
  }))
}

/** One connection: from the machine `from` to an address and port. */
export interface AskedConnection {
  readonly from: 'p1' | 'p2' | 'p3' | 'p4' | 'n1' | 'n2' | 'outside'
  readonly protocol: 'TCP' | 'UDP'
  readonly ip: string
  readonly port: number
}

/** `count` connections to what the set offers, and to ports beside it. */
export function askedConnections(set: ProxySet, count: number, seed: number): AskedConnection[] {
  const targets: (readonly [string, number, string])[] = [['10.96.0.99', 80, 'TCP']]
  for (const { spec, status } of set.services) {
    const addresses = [
      ...(spec.clusterIP === 'None' ? [] : [spec.clusterIP ?? '']),
      ...(spec.externalIPs ?? []),
      ...(status?.loadBalancer?.ingress ?? []).map(({ ip }) => ip ?? ''),
    ]
    for (const p of spec.ports ?? []) {
      const protocol = p.protocol === 'SCTP' ? 'TCP' : (p.protocol ?? 'TCP')
      for (const ip of addresses) targets.push([ip, p.port, protocol])
      for (const ip of p.nodePort === undefined ? [] : ['172.18.0.2', '172.18.0.3', '10.244.0.1', '127.0.0.1']) {
        targets.push([ip, p.nodePort ?? 0, protocol])
      }
    }
    if (addresses[0] !== undefined) targets.push([addresses[0], 7777, 'TCP'])
  }
  const from = fc.constantFrom('p1', 'p2', 'p3', 'p4', 'n1', 'n2', 'outside', 'outside')
  const asked = fc.record({ from, target: fc.constantFrom(...targets) })
  return fc.sample(asked, { numRuns: count, seed }).map(({ from: who, target: [ip, at, protocol] }) => ({
    // loopback is the node's own
    from: (ip === '127.0.0.1' && !who.startsWith('n') ? 'n1' : who) as AskedConnection['from'],
    protocol: protocol as 'TCP',
    ip,
    port: at,
  }))
}

/** The IPv6 address that stands for an IPv4 one in `toIpv6`, prefixes included. */
function ipv6Of(text: string): string {
  const [address = '', length] = text.trim().split('/')
  const [a = 0, b = 0, c = 0, d = 0] = address.split('.').map(Number)
  if (length === '0') return '::/0'
  const head = `fd00:${a.toString(16)}:${b.toString(16)}:`
  const tail = (c * 256 + d).toString(16)
  if (length === undefined) return `${head}:${tail}`
  return Number(length) <= 16 ? `${head}:/48` : `${head}:${tail}/${96 + Number(length)}`
}

/** The same input with every address an IPv6 one, for kube-proxy's IPv6 side. */
export function toIpv6(input: ProxyInput): ProxyInput {
  const text = JSON.stringify({ ...input, config: { ...input.config, ipFamilies: ['IPv6'] } })
  const mapped = text
    .replace(/" *(\d+\.\d+\.\d+\.\d+(?:\/\d+)?)"/g, (_, address: string) => `"${ipv6Of(address)}"`)
    .replaceAll('"addressType":"IPv4"', '"addressType":"IPv6"')
  return JSON.parse(mapped) as ProxyInput
}
