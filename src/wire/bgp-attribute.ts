/**
 * Path attributes of an UPDATE, read with the error handling of RFC 7606.
 *
 *     flags (1) | type (1) | length (1, or 2 with the extended flag) | value
 *
 * A fault never stops the reading unless the list itself cannot be followed: it is noted with what RFC 4271 would have
 * answered and what RFC 7606 does (withdraw, discard, reset), and the speaker decides as its implementation does.
 * Two-byte sessions: AS4_PATH and AS4_AGGREGATOR are merged in (RFC 6793 4.2.3).
 * Sources: RFC 4271 4.3, 5, 6.3; RFC 7606 3-7; RFC 1997, 4360, 4456, 4760, 6793, 8092, 8950.
 */
import { formatIpv4, isIpv4Host } from '../addr/ipv4.ts'
import { formatIpv6 } from '../addr/ipv6.ts'
import { readIpv6 } from './address.ts'
import * as A from './bgp-const.ts'
import { parseNlri } from './bgp-prefix.ts'
import {
  AS_SEQUENCE,
  type AsSegment,
  type AttributeFault,
  type AttributeFaultKind,
  type BgpAddressFamily,
  type CodecContext,
  type PathAttributes,
  type RawAttribute,
  type Reach,
  type Unreach,
} from './bgp-types.ts'
import { bytesOf } from './view.ts'

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** What the attribute part of an UPDATE holds. */
export interface ParsedAttributes {
  readonly attributes: PathAttributes
  readonly reach: Reach | null
  readonly unreach: Unreach | null
  readonly faults: readonly AttributeFault[]
  /** Number of attributes other than MP_UNREACH_NLRI. */
  readonly count: number
  readonly seen: ReadonlySet<number>
}

/** A fatal answer of RFC 7606: the NOTIFICATION's subcode. */
export interface AttributeReset {
  readonly subcode: number
  readonly data: Uint8Array
}

const SUBCODE: { readonly [kind in AttributeFaultKind]: number } = {
  'attribute-flags': 4,
  'attribute-length': 5,
  'attribute-list': 1,
  duplicate: 1,
  'invalid-origin': 6,
  'malformed-as-path': 11,
  'invalid-next-hop': 8,
  'optional-attribute': 9,
  'missing-origin': 3,
  'missing-as-path': 3,
  'missing-next-hop': 3,
  'missing-local-pref': 3,
  'unknown-well-known': 2,
}

/** Optional and transitive bits that the known attributes must have. */
const FLAGS: ReadonlyMap<number, number> = new Map([
  [A.ATTR_ORIGIN, 0x40],
  [A.ATTR_AS_PATH, 0x40],
  [A.ATTR_NEXT_HOP, 0x40],
  [A.ATTR_MED, 0x80],
  [A.ATTR_LOCAL_PREF, 0x40],
  [A.ATTR_ATOMIC_AGGREGATE, 0x40],
  [A.ATTR_AGGREGATOR, 0xc0],
  [A.ATTR_COMMUNITIES, 0xc0],
  [A.ATTR_ORIGINATOR_ID, 0x80],
  [A.ATTR_CLUSTER_LIST, 0x80],
  [A.ATTR_MP_REACH, 0x80],
  [A.ATTR_MP_UNREACH, 0x80],
  [A.ATTR_EXT_COMMUNITIES, 0xc0],
  [A.ATTR_AS4_PATH, 0xc0],
  [A.ATTR_AS4_AGGREGATOR, 0xc0],
  [A.ATTR_LARGE_COMMUNITIES, 0xc0],
])

/** Reads a list of AS segments; null when it is malformed (RFC 7606 7.2). */
export function parseAsPath(view: DataView, off: number, len: number, size: 2 | 4): AsSegment[] | null {
  const path: AsSegment[] = []
  const end = off + len
  let at = off
  while (at < end) {
    if (at + 2 > end) return null
    const type = view.getUint8(at)
    const count = view.getUint8(at + 1)
    at += 2
    if (type < 1 || type > 4 || count === 0 || at + count * size > end) return null
    const asns: number[] = []
    for (let i = 0; i < count; i++) asns.push(size === 4 ? view.getUint32(at + 4 * i) : view.getUint16(at + 2 * i))
    path.push({ type, asns })
    at += count * size
  }
  return path
}

/** AS hops of a path as the decision process counts them: a set is one, confederations none. */
export function asPathLength(path: readonly AsSegment[]): number {
  let n = 0
  for (const s of path) n += s.type === AS_SEQUENCE ? s.asns.length : s.type === 1 ? 1 : 0
  return n
}

function mpFamily(afi: number, safi: number): BgpAddressFamily | null {
  if (safi !== A.SAFI_UNICAST) return null
  return afi === A.AFI_IPV4 ? 'ipv4' : afi === A.AFI_IPV6 ? 'ipv6' : null
}

/** RFC 6793 4.2.3: the leading part of the two-byte path, then the four-byte one. */
function mergeAs4(path: readonly AsSegment[], as4: readonly AsSegment[]): readonly AsSegment[] {
  const surplus = asPathLength(path) - asPathLength(as4)
  if (surplus < 0) return path
  const head: AsSegment[] = []
  let left = surplus
  for (const s of path) {
    if (left === 0) break
    if (s.type !== AS_SEQUENCE) {
      head.push(s)
      left -= s.type === 1 ? 1 : 0
      continue
    }
    const take = Math.min(left, s.asns.length)
    head.push({ type: s.type, asns: s.asns.slice(0, take) })
    left -= take
  }
  const first = as4[0]
  const last = head[head.length - 1]
  if (first?.type === AS_SEQUENCE && last?.type === AS_SEQUENCE) {
    head[head.length - 1] = { type: AS_SEQUENCE, asns: [...last.asns, ...first.asns] }
    return [...head, ...as4.slice(1)]
  }
  return [...head, ...as4]
}

/** One reading of an attribute list. */
class Reader {
  readonly a: Mutable<PathAttributes> = { origin: 2, asPath: [] }
  readonly faults: AttributeFault[] = []
  readonly seen = new Set<number>()
  readonly others: RawAttribute[] = []
  reach: Reach | null = null
  unreach: Unreach | null = null
  reset: AttributeReset | null = null
  as4Path: AsSegment[] | null = null
  as4Aggregator: { asn: number; address: string } | null = null
  private readonly view: DataView
  private readonly ctx: CodecContext
  /** The attribute in hand, for NOTIFICATION data. */
  private whole: Uint8Array = new Uint8Array(0)
  private type = 0

  constructor(view: DataView, ctx: CodecContext) {
    this.view = view
    this.ctx = ctx
  }

  fault(kind: AttributeFaultKind, action: AttributeFault['action'], subcode = SUBCODE[kind]): void {
    this.faults.push({ kind, attribute: this.type, subcode, data: this.whole, action })
  }

  list(from: number, end: number): void {
    const { view } = this
    let at = from
    while (at < end && this.reset === null) {
      const flags = view.getUint8(at)
      const wide = (flags & A.FLAG_EXTENDED) !== 0
      const header = wide ? 4 : 3
      this.type = at + 1 < end ? view.getUint8(at + 1) : 0
      const len = at + header > end ? -1 : wide ? view.getUint16(at + 2) : view.getUint8(at + 2)
      if (len < 0 || at + header + len > end) {
        // RFC 7606 4: the rest cannot be read; what was announced counts as withdrawn
        this.whole = bytesOf(view, at, end - at).slice()
        this.fault('attribute-list', 'withdraw')
        return
      }
      this.whole = bytesOf(view, at, header + len)
      this.one(flags, at + header, len)
      at += header + len
    }
  }

  private one(flags: number, off: number, len: number): void {
    const type = this.type
    if (this.seen.has(type)) {
      if (type === A.ATTR_MP_REACH || type === A.ATTR_MP_UNREACH) this.reset = { subcode: 1, data: new Uint8Array(0) }
      else this.fault('duplicate', 'discard')
      return
    }
    this.seen.add(type)
    const want = FLAGS.get(type)
    if (want === undefined) {
      if ((flags & A.FLAG_OPTIONAL) === 0) this.fault('unknown-well-known', 'reset')
      else if ((flags & A.FLAG_TRANSITIVE) !== 0) {
        this.others.push({ flags: flags & ~A.FLAG_EXTENDED, type, data: bytesOf(this.view, off, len).slice() })
      }
      return
    }
    if ((flags & 0xc0) !== want) {
      this.fault('attribute-flags', 'withdraw')
      return
    }
    this.value(type, flags, off, len)
  }

  private value(type: number, flags: number, off: number, len: number): void {
    const { view, a } = this
    const bad = (action: AttributeFault['action'] = 'withdraw'): void => this.fault('attribute-length', action)
    switch (type) {
      case A.ATTR_ORIGIN: {
        if (len !== 1) {
          bad()
          return
        }
        const origin = view.getUint8(off)
        if (origin > 2) this.fault('invalid-origin', 'withdraw')
        else a.origin = origin
        return
      }
      case A.ATTR_AS_PATH: {
        const path = parseAsPath(view, off, len, this.ctx.as4 ? 4 : 2)
        if (path === null) this.fault('malformed-as-path', 'withdraw')
        else a.asPath = path
        if ((flags & A.FLAG_EXTENDED) !== 0) a.asPathExtended = true
        return
      }
      case A.ATTR_NEXT_HOP: {
        if (len !== 4) {
          bad()
          return
        }
        const ip = view.getInt32(off)
        if (!isIpv4Host(ip)) this.fault('invalid-next-hop', 'withdraw')
        a.nextHop = formatIpv4(ip)
        return
      }
      case A.ATTR_MED:
        if (len !== 4) {
          bad()
          return
        }
        a.med = view.getUint32(off)
        return
      case A.ATTR_LOCAL_PREF:
        // RFC 7606 7.5: from an external neighbour it is left out, whatever it holds
        if (!this.ctx.ibgp) {
          this.fault('optional-attribute', 'discard')
          return
        }
        if (len !== 4) {
          bad()
          return
        }
        a.localPref = view.getUint32(off)
        return
      case A.ATTR_ATOMIC_AGGREGATE:
        if (len !== 0) {
          bad('discard')
          return
        }
        a.atomicAggregate = true
        return
      case A.ATTR_AGGREGATOR: {
        const size = this.ctx.as4 ? 4 : 2
        if (len !== size + 4) {
          bad('discard')
          return
        }
        const asn = size === 4 ? view.getUint32(off) : view.getUint16(off)
        a.aggregator = { asn, address: formatIpv4(view.getInt32(off + size)) }
        return
      }
      case A.ATTR_COMMUNITIES: {
        if (len === 0 || len % 4 !== 0) {
          bad()
          return
        }
        const list: number[] = []
        for (let i = off; i < off + len; i += 4) list.push(view.getUint32(i))
        a.communities = list
        return
      }
      case A.ATTR_ORIGINATOR_ID:
        if (!this.ctx.ibgp) {
          this.fault('optional-attribute', 'discard')
          return
        }
        if (len !== 4) {
          bad()
          return
        }
        a.originatorId = formatIpv4(view.getInt32(off))
        return
      case A.ATTR_CLUSTER_LIST: {
        if (!this.ctx.ibgp) {
          this.fault('optional-attribute', 'discard')
          return
        }
        if (len === 0 || len % 4 !== 0) {
          bad()
          return
        }
        const list: string[] = []
        for (let i = off; i < off + len; i += 4) list.push(formatIpv4(view.getInt32(i)))
        a.clusterList = list
        return
      }
      case A.ATTR_EXT_COMMUNITIES: {
        if (len === 0 || len % 8 !== 0) {
          bad()
          return
        }
        const list: string[] = []
        for (let i = off; i < off + len; i += 8) list.push(hex(view, i) + hex(view, i + 4))
        a.extendedCommunities = list
        return
      }
      case A.ATTR_LARGE_COMMUNITIES: {
        if (len === 0 || len % 12 !== 0) {
          bad()
          return
        }
        const list: (readonly [number, number, number])[] = []
        for (let i = off; i < off + len; i += 12) {
          list.push([view.getUint32(i), view.getUint32(i + 4), view.getUint32(i + 8)])
        }
        a.largeCommunities = list
        return
      }
      case A.ATTR_AS4_PATH:
        if (this.ctx.as4) {
          this.fault('optional-attribute', 'discard')
          return
        }
        this.as4Path = parseAsPath(view, off, len, 4)
        if (this.as4Path === null) this.fault('malformed-as-path', 'discard')
        return
      case A.ATTR_AS4_AGGREGATOR:
        if (this.ctx.as4) {
          this.fault('optional-attribute', 'discard')
          return
        }
        if (len !== 8) {
          bad('discard')
          return
        }
        this.as4Aggregator = { asn: view.getUint32(off), address: formatIpv4(view.getInt32(off + 4)) }
        return
      case A.ATTR_MP_REACH:
        this.mpReach(off, len)
        return
      case A.ATTR_MP_UNREACH: {
        if (len < 3) {
          this.fatal(9)
          return
        }
        const family = mpFamily(view.getUint16(off), view.getUint8(off + 2))
        // a family nobody agreed on: RFC 4760 7 has it ignored
        if (family === null) return
        const nlri = parseNlri(view, off + 3, off + len, family, this.ctx.addPath[family])
        if (nlri === null) {
          this.fatal(9)
          return
        }
        this.unreach = { family, mp: true, nlri }
      }
    }
  }

  /** RFC 7606 7.11: what cannot be parsed here leaves no way to know the routes. */
  private fatal(subcode: number): void {
    this.reset = { subcode, data: this.whole.slice() }
  }

  private mpReach(off: number, len: number): void {
    const { view } = this
    if (len < 5) {
      this.fatal(9)
      return
    }
    const family = mpFamily(view.getUint16(off), view.getUint8(off + 2))
    const nhLen = view.getUint8(off + 3)
    if (5 + nhLen > len) {
      this.fatal(9)
      return
    }
    if (family === null) return
    const nh = off + 4
    let nextHop: string
    let linkLocal: string | undefined
    if (nhLen === 4 && family === 'ipv4') nextHop = formatIpv4(view.getInt32(nh))
    else if (nhLen === 16 || nhLen === 32) {
      nextHop = formatIpv6(readIpv6(view, nh))
      if (nhLen === 32) linkLocal = formatIpv6(readIpv6(view, nh + 16))
    } else {
      this.fatal(9)
      return
    }
    const nlri = parseNlri(view, nh + nhLen + 1, off + len, family, this.ctx.addPath[family])
    if (nlri === null) {
      this.fatal(9)
      return
    }
    this.reach = { family, mp: true, nextHop, ...(linkLocal === undefined ? {} : { linkLocal }), nlri }
  }
}

function hex(view: DataView, off: number): string {
  return view.getUint32(off).toString(16).padStart(8, '0')
}

/** Reads the attributes of an UPDATE. */
export function parseAttributes(
  view: DataView,
  off: number,
  end: number,
  ctx: CodecContext,
): ParsedAttributes | AttributeReset {
  const r = new Reader(view, ctx)
  r.list(off, end)
  if (r.reset !== null) return r.reset
  const { a } = r
  if (!ctx.as4) {
    // AS4_AGGREGATOR without AS_TRANS in AGGREGATOR: an old speaker aggregated since, both AS4 attributes are void
    const isVoid = r.as4Aggregator !== null && a.aggregator !== undefined && a.aggregator.asn !== A.AS_TRANS
    if (!isVoid && r.as4Aggregator !== null && a.aggregator !== undefined) a.aggregator = r.as4Aggregator
    if (!isVoid && r.as4Path !== null) a.asPath = mergeAs4(a.asPath, r.as4Path)
  }
  if (r.others.length > 0) a.others = r.others
  const count = r.seen.size - (r.seen.has(A.ATTR_MP_UNREACH) ? 1 : 0)
  return { attributes: a, reach: r.reach, unreach: r.unreach, faults: r.faults, count, seen: r.seen }
}
