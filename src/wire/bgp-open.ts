/**
 * OPEN and its capabilities.
 *
 *     version (1) | my AS (2) | hold time (2) | BGP identifier (4) | length (1) | optional parameters
 *     parameter: type (1) = 2 | length (1) | capabilities: code (1) | length (1) | value
 *     RFC 9072: length 255 and type 255 announce a length of two bytes, and two bytes in every parameter
 *
 * Capabilities that are not known, or known with a value that does not fit, are kept as bytes: RFC 5492 has a speaker
 * ignore them. Sources: RFC 4271 4.2, 5492, 2918, 4724, 4760, 6793, 7911, 8538, 8654, 8950, 9072, 9494.
 */
import { formatIpv4, parseIpv4 } from '../addr/ipv4.ts'
import { ERR_OPEN } from './bgp-const.ts'
import type { BgpCapability, BgpOpen, BgpProtocolError } from './bgp-types.ts'
import { bytesOf } from './view.ts'

const PARAM_CAPABILITIES = 2
const PARAM_EXTENDED = 255
const decoder = new TextDecoder()
const encoder = new TextEncoder()

const error = (subcode: number): BgpProtocolError => ({
  type: 'ERROR',
  code: ERR_OPEN,
  subcode,
  data: new Uint8Array(0),
})

/** Reads the value of one capability. */
export function parseCapability(code: number, view: DataView, off: number, len: number): BgpCapability {
  const unknown = (): BgpCapability => ({ kind: 'unknown', code, data: bytesOf(view, off, len).slice() })
  const af = (at: number): { afi: number; safi: number } => ({ afi: view.getUint16(at), safi: view.getUint8(at + 2) })
  switch (code) {
    case 1:
      return len === 4 ? { kind: 'multiprotocol', afi: view.getUint16(off), safi: view.getUint8(off + 3) } : unknown()
    case 2:
      return len === 0 ? { kind: 'route-refresh' } : unknown()
    case 5: {
      if (len % 6 !== 0) return unknown()
      const families = []
      for (let i = off; i < off + len; i += 6) {
        families.push({ afi: view.getUint16(i), safi: view.getUint16(i + 2), nextHopAfi: view.getUint16(i + 4) })
      }
      return { kind: 'extended-next-hop', families }
    }
    case 6:
      return len === 0 ? { kind: 'extended-message' } : unknown()
    case 64: {
      if (len < 2 || (len - 2) % 4 !== 0) return unknown()
      const word = view.getUint16(off)
      const families = []
      for (let i = off + 2; i < off + len; i += 4) {
        families.push({ ...af(i), forwarding: (view.getUint8(i + 3) & 0x80) !== 0 })
      }
      const [restarting, notification] = [(word & 0x8000) !== 0, (word & 0x4000) !== 0]
      return { kind: 'graceful-restart', restarting, notification, time: word & 0xfff, families }
    }
    case 65:
      return len === 4 ? { kind: 'as4', asn: view.getUint32(off) } : unknown()
    case 69: {
      if (len % 4 !== 0) return unknown()
      const families = []
      for (let i = off; i < off + len; i += 4) families.push({ ...af(i), mode: view.getUint8(i + 3) })
      return { kind: 'add-path', families }
    }
    case 70:
      return len === 0 ? { kind: 'enhanced-refresh' } : unknown()
    case 71: {
      if (len % 7 !== 0) return unknown()
      const families = []
      for (let i = off; i < off + len; i += 7) {
        const staleTime = view.getUint32(i + 3) & 0xffffff
        families.push({ ...af(i), forwarding: (view.getUint8(i + 3) & 0x80) !== 0, staleTime })
      }
      return { kind: 'long-lived-graceful-restart', families }
    }
    case 73: {
      if (len < 2) return unknown()
      const hostLen = view.getUint8(off)
      if (hostLen + 2 > len) return unknown()
      const domainLen = view.getUint8(off + 1 + hostLen)
      if (hostLen + domainLen + 2 !== len) return unknown()
      const host = decoder.decode(bytesOf(view, off + 1, hostLen))
      return { kind: 'fqdn', host, domain: decoder.decode(bytesOf(view, off + 2 + hostLen, domainLen)) }
    }
    case 128:
      return len === 0 ? { kind: 'route-refresh-old' } : unknown()
    default:
      return unknown()
  }
}

/** Code and value of a capability. */
export function emitCapability(c: BgpCapability): Uint8Array {
  const value: number[] = []
  const u16 = (v: number): void => {
    value.push((v >>> 8) & 255, v & 255)
  }
  const u32 = (v: number): void => {
    value.push(v >>> 24, (v >>> 16) & 255, (v >>> 8) & 255, v & 255)
  }
  let code: number
  switch (c.kind) {
    case 'multiprotocol':
      code = 1
      u16(c.afi)
      value.push(0, c.safi)
      break
    case 'route-refresh':
      code = 2
      break
    case 'extended-next-hop':
      code = 5
      for (const f of c.families) {
        u16(f.afi)
        u16(f.safi)
        u16(f.nextHopAfi)
      }
      break
    case 'extended-message':
      code = 6
      break
    case 'graceful-restart':
      code = 64
      u16((c.restarting ? 0x8000 : 0) | (c.notification ? 0x4000 : 0) | (c.time & 0xfff))
      for (const f of c.families) {
        u16(f.afi)
        value.push(f.safi, f.forwarding ? 0x80 : 0)
      }
      break
    case 'as4':
      code = 65
      u32(c.asn)
      break
    case 'add-path':
      code = 69
      for (const f of c.families) {
        u16(f.afi)
        value.push(f.safi, f.mode)
      }
      break
    case 'enhanced-refresh':
      code = 70
      break
    case 'long-lived-graceful-restart':
      code = 71
      for (const f of c.families) {
        u16(f.afi)
        value.push(f.safi)
        u32(((f.forwarding ? 0x80000000 : 0) | (f.staleTime & 0xffffff)) >>> 0)
      }
      break
    case 'fqdn': {
      code = 73
      const [host, domain] = [encoder.encode(c.host).subarray(0, 64), encoder.encode(c.domain).subarray(0, 64)]
      value.push(host.length, ...host, domain.length, ...domain)
      break
    }
    case 'route-refresh-old':
      code = 128
      break
    case 'unknown':
      code = c.code
      value.push(...c.data)
      break
  }
  return Uint8Array.of(code, value.length, ...value)
}

/** Reads the body of an OPEN (behind the header). */
export function parseOpen(view: DataView, off: number, end: number): BgpOpen | BgpProtocolError {
  const version = view.getUint8(off)
  const asn = view.getUint16(off + 1)
  const holdTime = view.getUint16(off + 3)
  const routerId = formatIpv4(view.getInt32(off + 5))
  let length = view.getUint8(off + 9)
  let at = off + 10
  let isExtended = false
  if (length === 255 && at + 3 <= end && view.getUint8(at) === PARAM_EXTENDED) {
    isExtended = true
    length = view.getUint16(at + 1)
    at += 3
  }
  const header = isExtended ? 3 : 2
  if (at + length !== end) return error(0)
  const capabilities: BgpCapability[] = []
  let parameters = 0
  while (at < end) {
    if (at + header > end) return error(0)
    const type = view.getUint8(at)
    const size = isExtended ? view.getUint16(at + 1) : view.getUint8(at + 1)
    at += header
    if (at + size > end) return error(0)
    // RFC 4271 6.2: a parameter that is not recognised is refused; deprecated authentication (1) too
    if (type !== PARAM_CAPABILITIES) return error(4)
    parameters++
    const stop = at + size
    while (at < stop) {
      if (at + 2 > stop) return error(0)
      const len = view.getUint8(at + 1)
      if (at + 2 + len > stop) return error(0)
      capabilities.push(parseCapability(view.getUint8(at), view, at + 2, len))
      at += 2 + len
    }
  }
  return {
    type: 'OPEN',
    version,
    asn,
    holdTime,
    routerId,
    capabilities,
    ...(parameters > 1 ? { parameterEach: true } : {}),
  }
}

/** The body of an OPEN. */
export function emitOpen(o: BgpOpen): Uint8Array {
  const caps = o.capabilities.map(emitCapability)
  const groups = o.parameterEach === true ? caps.map((c) => [c]) : caps.length === 0 ? [] : [caps]
  const sizes = groups.map((g) => g.reduce((n, c) => n + c.length, 0))
  const short = sizes.reduce((n, s) => n + s + 2, 0)
  const isExtended = short > 254 || sizes.some((s) => s > 255)
  const params: number[] = []
  groups.forEach((g, i) => {
    params.push(PARAM_CAPABILITIES)
    if (isExtended) params.push(sizes[i]! >>> 8)
    params.push(sizes[i]! & 255)
    for (const c of g) params.push(...c)
  })
  const id = parseIpv4(o.routerId) ?? 0
  const head = [o.version, (o.asn >>> 8) & 255, o.asn & 255, (o.holdTime >>> 8) & 255, o.holdTime & 255]
  head.push(id >>> 24, (id >>> 16) & 255, (id >>> 8) & 255, id & 255)
  if (isExtended) head.push(255, PARAM_EXTENDED, (params.length >>> 8) & 255, params.length & 255)
  else head.push(params.length)
  return Uint8Array.from([...head, ...params])
}
