/**
 * What nearly worked: the Service, port or endpoint that is closest to what was asked.
 *
 * Asked only when a packet did not arrive. The answers come from the cluster's objects, never from guesses about the data
 * path: they explain why no rule was there to match.
 */
import { cidrContainsIpv4, formatIpv4, parseIpv4, parseIpv4Cidr } from '../addr/index.ts'
import type { Cluster } from '../cluster/build.ts'
import { nearest } from '../kubernetes/names.ts'
import type { Service } from '../kubernetes/types.ts'

/** What was asked for. */
export interface Asked {
  readonly ip: number
  readonly port: number
  readonly protocol: string
  /** Reason of the end. */
  readonly code?: string
  /** Where the packet ended: `node:n1`, `underlay` ... */
  readonly netns?: string | undefined
}

function ipsOf(s: Service): string[] {
  return [
    ...(s.spec.clusterIPs ?? []),
    ...(s.spec.externalIPs ?? []),
    ...(s.status?.loadBalancer?.ingress ?? []).flatMap((i) => (i.ip === undefined ? [] : [i.ip])),
  ]
}

function portsOf(s: Service): string {
  return (s.spec.ports ?? [])
    .map((p) => `${p.port}/${p.protocol}${p.name === undefined ? '' : ` (${p.name})`}`)
    .join(', ')
}

function readyEndpoints(cluster: Cluster, key: string): { ready: number; all: number } {
  let ready = 0
  let all = 0
  for (const slice of cluster.model.endpointSlices) {
    if (slice.service !== key) continue
    for (const e of slice.object.endpoints) {
      all += e.addresses.length > 0 ? 1 : 0
      ready += e.conditions?.ready === false ? 0 : 1
    }
  }
  return { ready, all }
}

/** A sentence, or null when nothing is near. */
export function nearestMiss(cluster: Cluster, asked: Asked): string | null {
  for (const sourced of cluster.model.services) {
    const s = sourced.object
    const key = `${s.metadata.namespace}/${s.metadata.name}`
    if (!ipsOf(s).some((ip) => parseIpv4(ip) === asked.ip)) continue
    const at = sourced.source.file === '' ? '' : ` (${sourced.source.file}:${sourced.source.line})`
    const port = (s.spec.ports ?? []).find((p) => p.port === asked.port)
    if (port === undefined) return `Service ${key}${at} has no port ${asked.port}; it has ${portsOf(s)}.`
    if (port.protocol !== asked.protocol) {
      return `Service ${key}${at} has port ${asked.port} for ${port.protocol}, not for ${asked.protocol}.`
    }
    const e = readyEndpoints(cluster, key)
    if (e.all === 0) {
      const selector = Object.entries(s.spec.selector ?? {})
        .map(([k, v]) => `${k}=${v}`)
        .join(',')
      return selector === ''
        ? `Service ${key}${at} has no selector and no endpoints.`
        : `Service ${key}${at} selects ${selector}: no pod in ${s.metadata.namespace} has these labels${almost(cluster, s)}.`
    }
    if (e.ready === 0) return `Service ${key}${at} selects ${e.all} pod(s), none of them is ready.`
    return outside(asked, s, `Service ${key}${at}`)
  }
  for (const p of cluster.model.pods) {
    if (p.hostNetwork || parseIpv4(p.ip) !== asked.ip) continue
    const ports = p.ports.map((q) => `${q.port}/${q.protocol}`).join(', ')
    return ports === '' ? null : `Pod ${p.namespace}/${p.name} declares ${ports}.`
  }
  const node = cluster.model.nodes.find((n) => parseIpv4(n.internalIp) === asked.ip)
  return node === undefined ? unowned(cluster, asked) : atNode(cluster, asked, node.name)
}

/** An address of a Service that the world outside has to bring to a node. */
function outside(asked: Asked, s: Service, what: string): string | null {
  if (asked.netns !== 'underlay') return null
  const nodePort = s.spec.ports?.find((p) => p.port === asked.port)?.nodePort
  const instead = nodePort === undefined ? '' : `; node/NAME:${nodePort} is the same Service on a node`
  const isBalancer = (s.status?.loadBalancer?.ingress ?? []).some((i) => i.ip && parseIpv4(i.ip) === asked.ip)
  if (isBalancer)
    return `${formatIpv4(asked.ip)} is the load balancer of ${what}, which is not part of the cluster${instead}.`
  const isExternal = (s.spec.externalIPs ?? []).some((ip) => parseIpv4(ip) === asked.ip)
  return isExternal
    ? `${formatIpv4(asked.ip)} is an external IP of ${what}: what routes it to a node is not part of the cluster${instead}.`
    : null
}

/** An address that nothing in the cluster has. */
function unowned(cluster: Cluster, asked: Asked): string | null {
  const ip = formatIpv4(asked.ip)
  for (const n of cluster.model.nodes) {
    const cidr = parseIpv4Cidr(n.podCidr)
    if (cidr !== null && cidrContainsIpv4(cidr, asked.ip)) return `No pod has ${ip}, an address of node ${n.name}.`
  }
  return asked.netns === 'underlay' && asked.code === 'IP_INNOROUTES'
    ? `Nothing in the cluster has ${ip}; host:${ip} stands for a machine outside that has it.`
    : null
}

/** A port of a node: the Service or the pod that has it, there or elsewhere. */
function atNode(cluster: Cluster, asked: Asked, node: string): string | null {
  for (const { object: s, source } of cluster.model.services) {
    if (!s.spec.ports?.some((p) => p.nodePort === asked.port && p.protocol === asked.protocol)) continue
    if (s.spec.externalTrafficPolicy !== 'Local') return null
    const key = `${s.metadata.namespace}/${s.metadata.name}`
    const nodes = endpointNodes(cluster, key)
    if (nodes.includes(node)) return null
    const have =
      nodes.length === 0
        ? 'no node has'
        : `${nodes.slice(0, 5).join(', ')}${nodes.length > 5 ? ' ...' : ''} ${nodes.length === 1 ? 'has' : 'have'}`
    return `Service ${key} (${source.file}:${source.line}) has externalTrafficPolicy Local and no endpoint on ${node}; ${have} one.`
  }
  const holders = cluster.model.pods.filter((p) =>
    p.ports.some((q) => (p.hostNetwork ? q.port : q.hostPort) === asked.port && q.protocol === asked.protocol),
  )
  const first = holders.find((p) => p.node !== node)
  return first === undefined || holders.some((p) => p.node === node)
    ? null
    : `Pod ${first.namespace}/${first.name} has port ${asked.port} of node ${first.node}, none has it on ${node}.`
}

function endpointNodes(cluster: Cluster, key: string): string[] {
  const nodes = new Set<string>()
  for (const slice of cluster.model.endpointSlices) {
    if (slice.service !== key) continue
    for (const e of slice.object.endpoints) if (e.nodeName && e.conditions?.ready !== false) nodes.add(e.nodeName)
  }
  return [...nodes].sort()
}

/** The pod whose labels differ in the fewest keys; among equals the one whose value is spelt most alike. */
function almost(cluster: Cluster, s: Service): string {
  const want = Object.entries(s.spec.selector ?? {})
  let best: { pod: string; key: string; value: string | undefined; wanted: string } | null = null
  let bestScore = 0
  for (const p of cluster.model.pods) {
    if (p.namespace !== s.metadata.namespace) continue
    const missing = want.filter(([k, v]) => p.labels[k] !== v)
    const [key, wanted] = missing.find(([k]) => p.labels[k] !== undefined) ?? missing[0] ?? []
    if (key === undefined || wanted === undefined) continue
    const value = p.labels[key]
    const spelling = value === undefined ? 0 : nearest(wanted, [value]).length === 0 ? 0.25 : 0.5
    const score = want.length - missing.length + spelling
    if (score <= bestScore) continue
    bestScore = score
    best = { pod: p.name, key, value, wanted }
  }
  return best === null
    ? ''
    : `; nearest is pod ${best.pod} with ${best.key}=${best.value ?? '(none)'} instead of ${best.wanted}`
}
