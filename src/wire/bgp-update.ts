/**
 * UPDATE.
 *
 *     withdrawn length (2) | withdrawn NLRI | attributes length (2) | attributes | NLRI
 *
 * IPv4 routes with an IPv4 next hop travel in the message's own fields, all others in MP_REACH_NLRI and MP_UNREACH_NLRI.
 * Sources: RFC 4271 4.3 and 6.3, RFC 4724 2, RFC 4760 3-5, RFC 7606.
 */
import { ipTextToBytes } from './address.ts'
import { parseAttributes } from './bgp-attribute.ts'
import { emitAttributes } from './bgp-attribute-emit.ts'
import * as A from './bgp-const.ts'
import { emitNlri, NLRI_MAX_BYTES, parseNlri } from './bgp-prefix.ts'
import type {
  AttributeFault,
  AttributeFaultKind,
  BgpAddressFamily,
  BgpProtocolError,
  BgpUpdate,
  CodecContext,
  Nlri,
  PathAttributes,
  Reach,
  Unreach,
} from './bgp-types.ts'

const NONE: Uint8Array = new Uint8Array(0)

function error(subcode: number, data = NONE): BgpProtocolError {
  return { type: 'ERROR', code: A.ERR_UPDATE, subcode, data }
}

/** Reads the body of an UPDATE (behind the header). */
export function parseUpdate(view: DataView, off: number, end: number, ctx: CodecContext): BgpUpdate | BgpProtocolError {
  const withdrawnLen = view.getUint16(off)
  const attrsAt = off + 2 + withdrawnLen
  if (attrsAt + 2 > end) return error(1)
  const attrsLen = view.getUint16(attrsAt)
  const nlriAt = attrsAt + 2 + attrsLen
  if (nlriAt > end) return error(1)
  const addPath = ctx.addPath.ipv4
  const withdrawn = parseNlri(view, off + 2, attrsAt, 'ipv4', addPath)
  if (withdrawn === null) return error(10)
  const parsed = parseAttributes(view, attrsAt + 2, nlriAt, ctx)
  if ('subcode' in parsed) return error(parsed.subcode, parsed.data)
  const nlri = parseNlri(view, nlriAt, end, 'ipv4', addPath)
  if (nlri === null) return error(10)

  const unreach: Unreach[] = []
  if (withdrawn.length > 0) unreach.push({ family: 'ipv4', mp: false, nlri: withdrawn })
  if (parsed.unreach !== null && parsed.unreach.nlri.length > 0) unreach.push(parsed.unreach)
  const reach: Reach[] = []
  const { attributes, seen } = parsed
  if (nlri.length > 0) reach.push({ family: 'ipv4', mp: false, nextHop: attributes.nextHop ?? '0.0.0.0', nlri })
  if (parsed.reach !== null && parsed.reach.nlri.length > 0) reach.push(parsed.reach)
  const faults = [...parsed.faults]
  if (reach.length > 0) faults.push(...missing(seen, nlri.length > 0, ctx))
  const endOfRib = endOf(parsed.unreach, parsed.count, off, end, reach, unreach)
  return {
    type: 'UPDATE',
    unreach,
    reach,
    attributes: reach.length === 0 ? null : withNextHop(attributes, reach[0]!),
    ...(endOfRib === null ? {} : { endOfRib }),
    ...(faults.length === 0 ? {} : { faults }),
  }
}

function withNextHop(a: PathAttributes, r: Reach): PathAttributes {
  const { nextHop, linkLocal } = r
  return { ...a, nextHop, ...(linkLocal === undefined ? {} : { linkLocal }) }
}

/** RFC 4724 2: an empty UPDATE, or one with nothing but an empty MP_UNREACH_NLRI. */
function endOf(
  mp: Unreach | null,
  others: number,
  off: number,
  end: number,
  reach: readonly Reach[],
  unreach: readonly Unreach[],
): BgpAddressFamily | null {
  if (reach.length > 0 || unreach.length > 0) return null
  if (end - off === 4) return 'ipv4'
  return mp !== null && others === 0 ? mp.family : null
}

/** Well-known attributes that are not there (RFC 7606 3 d). */
function missing(seen: ReadonlySet<number>, isClassic: boolean, ctx: CodecContext): AttributeFault[] {
  const faults: AttributeFault[] = []
  const want = (type: number, kind: AttributeFaultKind): void => {
    if (!seen.has(type)) {
      faults.push({ kind, attribute: type, subcode: 3, data: Uint8Array.of(type), action: 'withdraw' })
    }
  }
  want(A.ATTR_ORIGIN, 'missing-origin')
  want(A.ATTR_AS_PATH, 'missing-as-path')
  if (isClassic) want(A.ATTR_NEXT_HOP, 'missing-next-hop')
  if (ctx.ibgp) want(A.ATTR_LOCAL_PREF, 'missing-local-pref')
  return faults
}

/** Fills a body from lists of NLRI. */
class Body {
  readonly bytes: Uint8Array
  at = 0

  constructor(room: number) {
    this.bytes = new Uint8Array(room)
  }

  u16(v: number): void {
    this.setU16(this.at, v)
    this.at += 2
  }

  setU16(at: number, v: number): void {
    this.bytes[at] = v >>> 8
    this.bytes[at + 1] = v & 255
  }

  put(b: Uint8Array): void {
    this.bytes.set(b, this.at)
    this.at += b.length
  }

  nlri(list: readonly Nlri[], family: BgpAddressFamily, addPath: boolean): void {
    for (const n of list) {
      const next = emitNlri(n, this.bytes, this.at, family, addPath)
      if (next < 0) throw new Error(`${n.prefix} is no ${family} prefix`)
      this.at = next
    }
  }
}

function mpReachHead(r: Reach): Uint8Array {
  const nh = [...(ipTextToBytes(r.nextHop) ?? []), ...(r.linkLocal === undefined ? [] : ipTextToBytes(r.linkLocal)!)]
  return Uint8Array.of(0, r.family === 'ipv4' ? A.AFI_IPV4 : A.AFI_IPV6, A.SAFI_UNICAST, nh.length, ...nh, 0)
}

/** The body of an UPDATE. The lists must fit: see `chunkNlri`. */
export function emitUpdate(u: BgpUpdate, ctx: CodecContext): Uint8Array {
  if (u.endOfRib !== undefined) {
    return u.endOfRib === 'ipv4'
      ? new Uint8Array(4)
      : Uint8Array.of(0, 0, 0, 6, A.FLAG_OPTIONAL, A.ATTR_MP_UNREACH, 3, 0, A.AFI_IPV6, A.SAFI_UNICAST)
  }
  let count = 0
  for (const l of u.reach) count += l.nlri.length
  for (const l of u.unreach) count += l.nlri.length
  const classic = u.reach.find((r) => !r.mp)
  const attrs = u.attributes === null ? NONE : emitAttributes(u.attributes, ctx, classic !== undefined)
  const b = new Body(count * NLRI_MAX_BYTES + attrs.length + 128)
  b.u16(0)
  const withdrawn = u.unreach.find((r) => !r.mp)
  if (withdrawn !== undefined) b.nlri(withdrawn.nlri, 'ipv4', ctx.addPath.ipv4)
  b.setU16(0, b.at - 2)
  const lengthAt = b.at
  b.u16(0)
  for (const r of u.reach) if (r.mp) mpAttribute(b, A.ATTR_MP_REACH, mpReachHead(r), r, ctx)
  b.put(attrs)
  for (const w of u.unreach) {
    const head = Uint8Array.of(0, w.family === 'ipv4' ? A.AFI_IPV4 : A.AFI_IPV6, A.SAFI_UNICAST)
    if (w.mp) mpAttribute(b, A.ATTR_MP_UNREACH, head, w, ctx)
  }
  b.setU16(lengthAt, b.at - lengthAt - 2)
  if (classic !== undefined) b.nlri(classic.nlri, 'ipv4', ctx.addPath.ipv4)
  return b.bytes.slice(0, b.at)
}

function mpAttribute(b: Body, type: number, head: Uint8Array, r: Reach | Unreach, ctx: CodecContext): void {
  b.put(Uint8Array.of(A.FLAG_OPTIONAL | A.FLAG_EXTENDED, type, 0, 0))
  const lengthAt = b.at - 2
  b.put(head)
  b.nlri(r.nlri, r.family, ctx.addPath[r.family])
  b.setU16(lengthAt, b.at - lengthAt - 2)
}

/** How many NLRI of a family are safe in one message beside `attributes`. */
export function nlriPerUpdate(family: BgpAddressFamily, attributes: PathAttributes | null, ctx: CodecContext): number {
  const max = ctx.extendedMessage ? A.BGP_MAX_EXTENDED_BYTES : A.BGP_MAX_BYTES
  const attrs = attributes === null ? 0 : emitAttributes(attributes, ctx, true).length
  const each = (family === 'ipv4' ? 5 : 17) + (ctx.addPath[family] ? 4 : 0)
  return Math.max(1, Math.floor((max - A.BGP_HEADER_BYTES - 4 - attrs - 48) / each))
}
