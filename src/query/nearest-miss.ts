/**
 * What nearly worked: the Service, port or endpoint that is closest to what was asked.
 *
 * Asked only when a packet did not arrive. The answers come from the cluster's objects, never from guesses about the data
 * path: they explain why no rule was there to match.
 */
import { parseIpv4 } from '../addr/index.ts'
import type { Cluster } from '../cluster/build.ts'
import { nearest } from '../kubernetes/names.ts'
import type { Service } from '../kubernetes/types.ts'

/** What was asked for. */
export interface Asked {
  readonly ip: number
  readonly port: number
  readonly protocol: string
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
    return null
  }
  for (const p of cluster.model.pods) {
    if (p.hostNetwork || parseIpv4(p.ip) !== asked.ip) continue
    const ports = p.ports.map((q) => `${q.port}/${q.protocol}`).join(', ')
    return ports === '' ? null : `Pod ${p.namespace}/${p.name} declares ${ports}.`
  }
  return null
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
