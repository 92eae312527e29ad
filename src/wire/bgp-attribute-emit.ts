/**
 * Path attributes as bytes, in ascending order of type as BIRD, FRR and GoBGP write them.
 *
 * MP_REACH_NLRI stands first (RFC 7606 5.1) and is written with its routes by bgp-update.ts. On a session without
 * four-byte AS numbers, larger ones become AS_TRANS and AS4_PATH and AS4_AGGREGATOR are added (RFC 6793 4.2.2).
 */
import { parseIpv4 } from '../addr/ipv4.ts'
import * as A from './bgp-const.ts'
import { AS_SEQUENCE, type AsSegment, type CodecContext, type PathAttributes } from './bgp-types.ts'

type Octets = number[]

const u16 = (v: number): Octets => [(v >>> 8) & 255, v & 255]
const u32 = (v: number): Octets => [(v >>> 24) & 255, (v >>> 16) & 255, (v >>> 8) & 255, v & 255]
const ip = (text: string): Octets => u32(parseIpv4(text) ?? 0)
const as2 = (asn: number): Octets => u16(asn > 0xffff ? A.AS_TRANS : asn)

/** Longest run of ASes in one segment. */
const SEGMENT_MAX = 255

function asPathBytes(path: readonly AsSegment[], size: 2 | 4): Octets {
  const b: Octets = []
  for (const s of path) {
    for (let i = 0; i < s.asns.length; i += SEGMENT_MAX) {
      const run = s.asns.slice(i, i + SEGMENT_MAX)
      b.push(s.type, run.length)
      for (const asn of run) b.push(...(size === 4 ? u32(asn) : as2(asn)))
    }
  }
  return b
}

/** All attributes but MP_REACH_NLRI and MP_UNREACH_NLRI. `withNextHop` writes NEXT_HOP (IPv4 routes in the UPDATE). */
export function emitAttributes(a: PathAttributes, ctx: CodecContext, withNextHop: boolean): Uint8Array {
  const out: [type: number, bytes: Octets][] = []
  const put = (type: number, flags: number, value: Octets | undefined, isExtended = false): void => {
    if (value === undefined) return
    const length = value.length
    const wide = isExtended || length > 255
    const head = wide ? [flags | A.FLAG_EXTENDED, type, ...u16(length)] : [flags, type, length]
    out.push([type, head.concat(value)])
  }
  /** A list without members has no attribute. */
  const some = (list: Octets | undefined): Octets | undefined => (list?.length === 0 ? undefined : list)
  put(A.ATTR_ORIGIN, 0x40, [a.origin])
  put(A.ATTR_AS_PATH, 0x40, asPathBytes(a.asPath, ctx.as4 ? 4 : 2), ctx.asPathExtended ?? a.asPathExtended ?? false)
  if (withNextHop) put(A.ATTR_NEXT_HOP, 0x40, a.nextHop === undefined ? undefined : ip(a.nextHop))
  put(A.ATTR_MED, 0x80, a.med === undefined ? undefined : u32(a.med))
  put(A.ATTR_LOCAL_PREF, 0x40, a.localPref === undefined ? undefined : u32(a.localPref))
  if (a.atomicAggregate === true) put(A.ATTR_ATOMIC_AGGREGATE, 0x40, [])
  const g = a.aggregator
  if (g !== undefined) put(A.ATTR_AGGREGATOR, 0xc0, [...(ctx.as4 ? u32(g.asn) : as2(g.asn)), ...ip(g.address)])
  put(A.ATTR_COMMUNITIES, 0xc0, some(a.communities?.flatMap(u32)))
  put(A.ATTR_ORIGINATOR_ID, 0x80, a.originatorId === undefined ? undefined : ip(a.originatorId))
  put(A.ATTR_CLUSTER_LIST, 0x80, some(a.clusterList?.flatMap(ip)))
  put(A.ATTR_EXT_COMMUNITIES, 0xc0, some(a.extendedCommunities?.flatMap(hexOctets)))
  if (!ctx.as4) {
    const plain = a.asPath.filter((s) => s.type <= AS_SEQUENCE)
    if (plain.some((s) => s.asns.some((n) => n > 0xffff))) put(A.ATTR_AS4_PATH, 0xc0, asPathBytes(plain, 4))
    if (g !== undefined && g.asn > 0xffff) put(A.ATTR_AS4_AGGREGATOR, 0xc0, [...u32(g.asn), ...ip(g.address)])
  }
  put(A.ATTR_LARGE_COMMUNITIES, 0xc0, some(a.largeCommunities?.flatMap((c) => c.flatMap(u32))))
  for (const o of a.others ?? []) put(o.type, o.flags, [...o.data])
  out.sort((x, y) => x[0] - y[0])
  return Uint8Array.from(out.flatMap(([, bytes]) => bytes))
}

function hexOctets(text: string): Octets {
  return [...u32(Number.parseInt(text.slice(0, 8), 16)), ...u32(Number.parseInt(text.slice(8), 16))]
}
