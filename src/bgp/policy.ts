/**
 * Import, export and install filters: terms in order, as BIRD's filters and Calico's BGPFilter have them.
 *
 * A compiled policy takes a route and gives it back, changed or not, or null when it is rejected. Source of the forms of
 * Calico: projectcalico/calico api/pkg/apis/projectcalico/v3/bgpfilter.go.
 */
import { cidrContains, parseCidr, parseIpv4, parseIpv6 } from '../addr/index.ts'
import { AS_SEQUENCE, type AsSegment, type PathAttributes } from '../wire/bgp-types.ts'
import type { BgpPolicy, PolicyMatch, PolicySet, PrefixMatch, RouteSource } from './config.ts'

/** A route as a filter sees it. */
export interface PolicyRoute {
  readonly prefix: string
  readonly attributes: PathAttributes
  readonly source: RouteSource
  /** Device of a local route. */
  readonly interface?: string | undefined
}

/** What a filter made of a route. */
export interface PolicyResult {
  readonly attributes: PathAttributes
  /** A term set `nextHop: 'self'`. */
  readonly nextHopSelf: boolean
  readonly tunnel: string | undefined
  readonly metric: number | undefined
}

/** A policy ready to be asked; null: rejected. */
export type CompiledPolicy = (r: PolicyRoute) => PolicyResult | null

type Parsed = NonNullable<ReturnType<typeof parseCidr>>
type Test = (r: PolicyRoute) => boolean

function cidrOf(text: string): Parsed {
  const cidr = parseCidr(text)
  if (cidr === null) throw new Error(`${text} is no CIDR`)
  return cidr
}

function prefixTest(list: readonly PrefixMatch[]): (prefix: Parsed) => boolean {
  const rows = list.map((m) => {
    const cidr = cidrOf(m.cidr)
    const ge = m.ge ?? cidr.prefixLength
    return { cidr, ge, le: m.le ?? (m.ge === undefined ? cidr.prefixLength : m.ge) }
  })
  return (p) =>
    rows.some(
      (r) => r.cidr.family === p.family && p.prefixLength >= r.ge && p.prefixLength <= r.le && cidrContains(r.cidr, p),
    )
}

function hostCidr(address: string): Parsed | null {
  if (parseIpv4(address) !== null) return cidrOf(`${address}/32`)
  return parseIpv6(address) !== null ? cidrOf(`${address}/128`) : null
}

/** Whether an attribute set has a community of the form `a:b` or `a:b:c`. */
export function hasCommunity(a: PathAttributes, text: string): boolean {
  const parts = text.split(':').map(Number)
  if (parts.length === 3) return a.largeCommunities?.some((c) => c.every((v, i) => v === parts[i])) ?? false
  return a.communities?.includes(communityNumber(text)) ?? false
}

/** `65000:1` as its 32 bits. */
export function communityNumber(text: string): number {
  const [high, low] = text.split(':').map(Number)
  return ((high! << 16) | low!) >>> 0
}

/** ASes of a path in order, sets included. */
export function flatPath(path: readonly AsSegment[]): number[] {
  return path.flatMap((s) => s.asns)
}

function compileMatch(m: PolicyMatch | undefined): Test {
  if (m === undefined) return () => true
  const tests: Test[] = []
  const { prefixes, notPrefixes, nextHopIn, asPathPrefix, communities, interfaces } = m
  if (prefixes !== undefined) {
    const test = prefixTest(prefixes)
    tests.push((r) => test(cidrOf(r.prefix)))
  }
  if (notPrefixes !== undefined) {
    const test = prefixTest(notPrefixes)
    tests.push((r) => !test(cidrOf(r.prefix)))
  }
  if (m.family !== undefined) tests.push((r) => r.prefix.includes(':') === (m.family === 6))
  if (m.sources !== undefined) tests.push((r) => m.sources!.includes(r.source))
  if (nextHopIn !== undefined) {
    const nets = nextHopIn.map(cidrOf)
    tests.push((r) => {
      const hop = hostCidr(r.attributes.nextHop ?? '')
      return hop !== null && nets.some((n) => n.family === hop.family && cidrContains(n, hop))
    })
  }
  if (asPathPrefix !== undefined) {
    tests.push((r) => {
      const path = flatPath(r.attributes.asPath)
      return asPathPrefix.every((asn, i) => path[i] === asn)
    })
  }
  if (m.asPathContains !== undefined) {
    tests.push((r) => flatPath(r.attributes.asPath).includes(m.asPathContains!))
  }
  if (communities !== undefined) tests.push((r) => communities.some((c) => hasCommunity(r.attributes, c)))
  if (interfaces !== undefined) {
    tests.push((r) =>
      interfaces.some((i) => (i.endsWith('*') ? r.interface?.startsWith(i.slice(0, -1)) === true : r.interface === i)),
    )
  }
  return (r) => tests.every((t) => t(r))
}

/** Puts ASes in front of a path. */
export function prependPath(path: readonly AsSegment[], asns: readonly number[]): readonly AsSegment[] {
  if (asns.length === 0) return path
  const first = path[0]
  if (first !== undefined && first.type === AS_SEQUENCE && first.asns.length + asns.length <= 255) {
    return [{ type: AS_SEQUENCE, asns: [...asns, ...first.asns] }, ...path.slice(1)]
  }
  return [{ type: AS_SEQUENCE, asns: [...asns] }, ...path]
}

type Draft = { -readonly [K in keyof PathAttributes]: PathAttributes[K] }

/** Adds and takes off communities of both sizes. */
export function changeCommunities(d: Draft, add: readonly string[], remove: readonly string[]): void {
  const isLarge = (c: string): boolean => c.split(':').length === 3
  const small = new Set(d.communities ?? [])
  for (const c of remove) if (!isLarge(c)) small.delete(communityNumber(c))
  for (const c of add) if (!isLarge(c)) small.add(communityNumber(c))
  const large = new Map((d.largeCommunities ?? []).map((c) => [c.join(':'), c]))
  for (const c of remove) if (isLarge(c)) large.delete(c)
  for (const c of add) if (isLarge(c)) large.set(c, c.split(':').map(Number) as [number, number, number])
  delete d.communities
  delete d.largeCommunities
  if (small.size > 0) d.communities = [...small]
  if (large.size > 0) d.largeCommunities = [...large.values()]
}

const ORIGINS = ['igp', 'egp', 'incomplete'] as const

function applySet(a: PathAttributes, s: PolicySet): PathAttributes {
  const d: Draft = { ...a }
  if (s.localPref !== undefined) d.localPref = s.localPref
  if (s.med === null) delete d.med
  else if (s.med !== undefined) d.med = s.med
  if (s.origin !== undefined) d.origin = ORIGINS.indexOf(s.origin)
  if (s.nextHop !== undefined && s.nextHop !== 'self') d.nextHop = s.nextHop
  if (s.prepend !== undefined) d.asPath = prependPath(a.asPath, s.prepend)
  if (s.addCommunities !== undefined || s.removeCommunities !== undefined) {
    changeCommunities(d, s.addCommunities ?? [], s.removeCommunities ?? [])
  }
  return d
}

/**
 * Makes a policy ready.
 * @throws Error when a CIDR in it is none: configuration is checked before
 */
export function compilePolicy(policy: BgpPolicy | undefined): CompiledPolicy | null {
  if (policy === undefined) return null
  const terms = policy.terms.map((t) => ({ test: compileMatch(t.match), set: t.set, action: t.action }))
  return (route) => {
    let r = route
    let nextHopSelf = false
    let tunnel: string | undefined
    let metric: number | undefined
    const accepted = (): PolicyResult => ({ attributes: r.attributes, nextHopSelf, tunnel, metric })
    for (const t of terms) {
      if (!t.test(r)) continue
      if (t.set !== undefined) {
        r = { ...r, attributes: applySet(r.attributes, t.set) }
        if (t.set.nextHop !== undefined) nextHopSelf = t.set.nextHop === 'self'
        tunnel = t.set.tunnel ?? tunnel
        metric = t.set.metric ?? metric
      }
      if (t.action === 'accept') return accepted()
      if (t.action === 'reject') return null
    }
    return policy.default === 'accept' ? accepted() : null
  }
}
