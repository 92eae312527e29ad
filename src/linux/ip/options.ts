/**
 * IPv4 options: RR, TS, RA, source routes.
 *
 * Linux: net/ipv4/ip_options.c (ip_options_compile, ip_options_echo, ip_options_fragment, ip_options_build,
 * ip_forward_options, ip_options_rcv_srr). What compile finds is kept per slot and valid while the slot holds the same
 * packet: options are rare, so an object per slot that carries some is no cost to the path.
 * Not modelled: CIPSO, SSRR/LSRR sent by sockets of this host, TS of prespecified addresses sent by this host.
 * Sources: RFC 791 3.1, RFC 2113.
 */
import { M_DEV, M_ID, M_MARK, M_NH, M_OPTLEN, M_PKTTYPE, META_SHIFT, PACKET_HOST } from '../../packet/layout.ts'
import { foldChecksum, sumWords } from '../../wire/checksum.ts'
import { type NetDevice, RT_SCOPE_UNIVERSE } from '../device/device.ts'
import { inetSelectAddr } from '../device/inet.ts'
import { EINVAL } from '../errno.ts'
import type { Netns } from '../netns.ts'
import { FibResult } from '../route/fib-table.ts'
import { Flowi4 } from '../route/flow.ts'
import { ipRouteInput } from '../route/input-route.ts'
import { fibResultPrefsrc } from '../route/output-route.ts'
import type { Rtable } from '../route/rtable.ts'
import { RT_TABLE_LOCAL, RTCF_LOCAL, RTN_LOCAL, RTN_UNICAST } from '../route/rtn.ts'
import type { World } from '../world.ts'
import type { EchoedOptions } from './echoed-options.ts'
import { icmpSend } from './icmp.ts'

const IPOPT_END = 0
const IPOPT_NOOP = 1
const IPOPT_RR = 7
const IPOPT_TIMESTAMP = 0x44
const IPOPT_SEC = 0x82
const IPOPT_LSRR = 0x83
const IPOPT_CIPSO = 0x86
const IPOPT_SID = 0x88
const IPOPT_SSRR = 0x89
const IPOPT_RA = 0x94
const IPOPT_TS_TSONLY = 0
const IPOPT_TS_TSANDADDR = 1
const IPOPT_TS_PRESPEC = 3
/** IPOPT_COPIED: the option goes into every fragment. */
const IPOPT_COPY = 0x80
const ICMP_PARAMETERPROB = 12

/** struct ip_options: offsets are from the start of the IP header, 0 when absent. */
export class IpOptions {
  /** M_ID of the packet that this belongs to. */
  id = 0
  srr = 0
  rr = 0
  ts = 0
  routerAlert = 0
  isStrictRoute = false
  srrIsHit = false
  isChanged = false
  rrNeedaddr = false
  tsNeedtime = false
  tsNeedaddr = false
  cipso = 0
  nexthop = 0

  /** Forgets everything. */
  reset(id: number): void {
    this.id = id
    this.srr = 0
    this.rr = 0
    this.ts = 0
    this.routerAlert = 0
    this.isStrictRoute = false
    this.srrIsHit = false
    this.isChanged = false
    this.rrNeedaddr = false
    this.tsNeedtime = false
    this.tsNeedaddr = false
    this.cipso = 0
    this.nexthop = 0
  }
}

const store = new WeakMap<World, (IpOptions | undefined)[]>()
const flow = new Flowi4()
const sourceFlow = new Flowi4()
const sourceRes = new FibResult()

/** `IPCB(skb)->opt` of a slot; all zero when the packet was not compiled. */
export function optionsOf(w: World, slot: number): IpOptions {
  let list = store.get(w)
  if (list === undefined) {
    list = []
    store.set(w, list)
  }
  let o = list[slot]
  if (o === undefined) {
    o = new IpOptions()
    list[slot] = o
  }
  const id = w.arena.meta[(slot << META_SHIFT) + M_ID]!
  if (o.id !== id) o.reset(id)
  return o
}

/** The options of a datagram put together are those of its first fragment (skb_morph copies IPCB). */
export function copyOptions(w: World, from: number, to: number): void {
  const optlen = w.arena.meta[(from << META_SHIFT) + M_OPTLEN]!
  w.arena.meta[(to << META_SHIFT) + M_OPTLEN] = optlen
  if (optlen === 0) return
  const target = optionsOf(w, to)
  const id = target.id
  Object.assign(target, optionsOf(w, from))
  target.id = id
}

/** inet_current_timestamp: milliseconds since midnight UT of the virtual clock. */
export function inetCurrentTimestamp(w: World): number {
  return Math.floor(w.nowNs / 1e6) % 86_400_000
}

/**
 * ip_options_compile for a received packet: checks, notes offsets, and writes what this host adds to RR and TS but for
 * the address. A malformed option is answered with ICMP parameter problem.
 * @returns 0 or EINVAL
 */
export function ipOptionsCompile(w: World, slot: number): number {
  const m = slot << META_SHIFT
  const nh = w.arena.meta[m + M_NH]!
  const v = w.arena.view
  const optlen = ((v.getUint8(nh) & 15) << 2) - 20
  w.arena.meta[m + M_OPTLEN] = optlen
  const o = optionsOf(w, slot)
  o.reset(o.id)
  const bad = compile(w, slot, o, nh, optlen)
  if (bad < 0) return 0
  icmpSend(w, slot, ICMP_PARAMETERPROB, 0, bad << 24)
  return EINVAL
}

/** __ip_options_compile. @returns -1 when fine, else the offset of what is wrong from the IP header */
function compile(w: World, slot: number, o: IpOptions, nh: number, optlen: number): number {
  const v = w.arena.view
  const end = nh + 20 + optlen
  let p = nh + 20
  while (p < end) {
    const kind = v.getUint8(p)
    if (kind === IPOPT_END) {
      for (p++; p < end; p++) {
        if (v.getUint8(p) !== IPOPT_END) {
          v.setUint8(p, IPOPT_END)
          o.isChanged = true
        }
      }
      break
    }
    if (kind === IPOPT_NOOP) {
      p++
      continue
    }
    if (end - p < 2) return p - nh
    const len = v.getUint8(p + 1)
    if (len < 2 || len > end - p) return p - nh
    const bad = one(w, slot, o, nh, p, kind, len)
    if (bad >= 0) return bad
    p += len
  }
  return -1
}

function one(w: World, slot: number, o: IpOptions, nh: number, p: number, kind: number, len: number): number {
  const v = w.arena.view
  const ptr = len > 2 ? v.getUint8(p + 2) : 0
  switch (kind) {
    case IPOPT_SSRR:
    case IPOPT_LSRR:
      if (len < 3) return p + 1 - nh
      if (ptr < 4) return p + 2 - nh
      if (o.srr !== 0) return p - nh
      o.isStrictRoute = kind === IPOPT_SSRR
      o.srr = p - nh
      return -1
    case IPOPT_RR:
      if (o.rr !== 0) return p - nh
      if (len < 3) return p + 1 - nh
      if (ptr < 4) return p + 2 - nh
      if (ptr <= len) {
        if (ptr + 3 > len) return p + 2 - nh
        v.setInt32(p + ptr - 1, specDst(w, slot))
        o.isChanged = true
        v.setUint8(p + 2, ptr + 4)
        o.rrNeedaddr = true
      }
      o.rr = p - nh
      return -1
    case IPOPT_TIMESTAMP:
      return timestamp(w, slot, o, nh, p, len)
    case IPOPT_RA:
      if (len < 4) return p + 1 - nh
      if (v.getUint16(p + 2) === 0) o.routerAlert = p - nh
      return -1
    case IPOPT_CIPSO:
      if (o.cipso !== 0) return p - nh
      o.cipso = p - nh
      return cipso(v, nh, p, len)
    case IPOPT_SEC:
    case IPOPT_SID:
      return -1
    default:
      // Unknown options are passed on.
      return -1
  }
}

/** cipso_v4_validate of a kernel without NetLabel. */
function cipso(v: DataView, nh: number, p: number, len: number): number {
  if (len < 8) return p + 1 - nh
  if (v.getInt32(p + 2) === 0) return p + 2 - nh
  for (let at = 6; at < len; ) {
    if (at + 1 === len) return p + at - nh
    const tag = v.getUint8(p + at + 1)
    if (tag === 0 || tag > len - at) return p + at + 1 - nh
    at += tag
  }
  return -1
}

function timestamp(w: World, slot: number, o: IpOptions, nh: number, p: number, len: number): number {
  const v = w.arena.view
  if (o.ts !== 0) return p - nh
  if (len < 4) return p + 1 - nh
  const ptr = v.getUint8(p + 2)
  if (ptr < 5) return p + 2 - nh
  const flags = v.getUint8(p + 3) & 15
  if (ptr <= len) {
    if (ptr + 3 > len) return p + 2 - nh
    let timeptr = -1
    if (flags === IPOPT_TS_TSONLY) {
      timeptr = p + ptr - 1
      o.tsNeedtime = true
      v.setUint8(p + 2, ptr + 4)
    } else if (flags === IPOPT_TS_TSANDADDR) {
      if (ptr + 7 > len) return p + 2 - nh
      o.tsNeedaddr = true
      o.tsNeedtime = true
      v.setInt32(p + ptr - 1, specDst(w, slot))
      timeptr = p + ptr + 3
      v.setUint8(p + 2, ptr + 8)
    } else if (flags === IPOPT_TS_PRESPEC) {
      if (ptr + 7 > len) return p + 2 - nh
      const ns = w.devices[w.arena.meta[(slot << META_SHIFT) + M_DEV]!]!.ns
      if (ns.fib.addrTypeIn(RT_TABLE_LOCAL, v.getInt32(p + ptr - 1)) === RTN_UNICAST) {
        o.ts = p - nh
        return -1
      }
      o.tsNeedtime = true
      timeptr = p + ptr + 3
      v.setUint8(p + 2, ptr + 8)
    }
    // Another flag is passed on as it is.
    if (timeptr >= 0) {
      v.setUint32(timeptr, inetCurrentTimestamp(w))
      o.isChanged = true
    }
    o.ts = p - nh
    return -1
  }
  if (flags === IPOPT_TS_PRESPEC) {
    o.ts = p - nh
    return -1
  }
  const overflow = v.getUint8(p + 3) >> 4
  if (overflow === 15) return p + 3 - nh
  v.setUint8(p + 3, flags | ((overflow + 1) << 4))
  o.isChanged = true
  o.ts = p - nh
  return -1
}

/** spec_dst_fill */
function specDst(w: World, slot: number): number {
  return fibComputeSpecDst(w, w.devices[w.arena.meta[(slot << META_SHIFT) + M_DEV]!]!.ns, slot)
}

/** ip_options_rcv_srr: the next address of a source route. @returns false when the packet must be dropped */
export function ipOptionsRcvSrr(w: World, ns: Netns, slot: number, dev: NetDevice): boolean {
  const m = slot << META_SHIFT
  const v = w.arena.view
  const nh = w.arena.meta[m + M_NH]!
  const o = optionsOf(w, slot)
  const rt = w.arena.dst[slot] as Rtable
  if (w.arena.meta[m + M_PKTTYPE] !== PACKET_HOST) return false
  const p = nh + o.srr
  if (rt.type === RTN_UNICAST) {
    if (!o.isStrictRoute) return true
    icmpSend(w, slot, ICMP_PARAMETERPROB, 0, 16 << 24)
    return false
  }
  if (rt.type !== RTN_LOCAL) return false
  const space = v.getUint8(p + 1)
  let ptr = v.getUint8(p + 2)
  for (; ptr <= space; ptr += 4) {
    if (ptr + 3 > space) {
      icmpSend(w, slot, ICMP_PARAMETERPROB, 0, (o.srr + 2) << 24)
      return false
    }
    const next = v.getInt32(p + ptr - 1)
    w.arena.dst[slot] = null
    const err = ipRouteInput(w, ns, slot, next, v.getInt32(nh + 12), v.getUint8(nh + 1), dev)
    const rt2 = w.arena.dst[slot] as Rtable | null
    if (err !== 0 || rt2 === null || (rt2.type !== RTN_UNICAST && rt2.type !== RTN_LOCAL)) {
      w.arena.dst[slot] = rt
      return false
    }
    if (rt2.type !== RTN_LOCAL) break
    v.setInt32(nh + 16, next)
    o.isChanged = true
  }
  if (ptr <= space) {
    o.srrIsHit = true
    o.nexthop = v.getInt32(p + ptr - 1)
    o.isChanged = true
  }
  return true
}

/** ip_rt_get_source: the address that this host shows as its own on the packet's way out. */
export function ipRtGetSource(w: World, ns: Netns, slot: number, rt: Rtable): number {
  const m = slot << META_SHIFT
  const v = w.arena.view
  const nh = w.arena.meta[m + M_NH]!
  if (!rt.isInput) return v.getInt32(nh + 12)
  const fl = sourceFlow.reset()
  fl.daddr = v.getInt32(nh + 16)
  fl.saddr = v.getInt32(nh + 12)
  fl.tos = v.getUint8(nh + 1) & 0xfc
  fl.oif = rt.dev.id
  fl.iif = w.arena.meta[m + M_DEV]!
  if (ns.fib.lookup(fl, sourceRes, 0) === 0) return fibResultPrefsrc(ns, sourceRes)
  return inetSelectAddr(ns, rt.dev, rt.nexthop(fl.daddr), RT_SCOPE_UNIVERSE)
}

/** ip_forward_options: fills in this router's address. */
export function ipForwardOptions(w: World, ns: Netns, slot: number): void {
  const m = slot << META_SHIFT
  const v = w.arena.view
  const nh = w.arena.meta[m + M_NH]!
  const o = optionsOf(w, slot)
  const rt = w.arena.dst[slot] as Rtable
  if (o.rrNeedaddr) {
    const p = nh + o.rr
    v.setInt32(p + v.getUint8(p + 2) - 5, ipRtGetSource(w, ns, slot, rt))
    o.isChanged = true
  }
  if (o.srrIsHit) {
    const p = nh + o.srr
    const space = v.getUint8(p + 1)
    let ptr = v.getUint8(p + 2)
    while (ptr + 3 <= space && v.getInt32(p + ptr - 1) !== o.nexthop) ptr += 4
    if (ptr + 3 <= space) {
      v.setInt32(nh + 16, o.nexthop)
      v.setInt32(p + ptr - 1, ipRtGetSource(w, ns, slot, rt))
      v.setUint8(p + 2, ptr + 4)
    }
    o.isChanged = true
  }
  if (o.tsNeedaddr) {
    const p = nh + o.ts
    v.setInt32(p + v.getUint8(p + 2) - 9, ipRtGetSource(w, ns, slot, rt))
    o.isChanged = true
  }
  if (o.isChanged) {
    o.isChanged = false
    ipSendCheck(v, nh)
  }
}

/** ip_send_check */
export function ipSendCheck(v: DataView, nh: number): void {
  v.setUint16(nh + 10, 0)
  v.setUint16(nh + 10, foldChecksum(sumWords(v, nh, (v.getUint8(nh) & 15) << 2)))
}

/** ip_options_fragment: options that are not copied become NOOPs in all fragments but the first. */
export function ipOptionsFragment(v: DataView, nh: number): void {
  const end = nh + ((v.getUint8(nh) & 15) << 2)
  let p = nh + 20
  while (p < end) {
    const kind = v.getUint8(p)
    if (kind === IPOPT_END) return
    if (kind === IPOPT_NOOP) {
      p++
      continue
    }
    const len = v.getUint8(p + 1)
    if (len < 2 || p + len > end) return
    if ((kind & IPOPT_COPY) === 0) for (let i = 0; i < len; i++) v.setUint8(p + i, IPOPT_NOOP)
    p += len
  }
}

/** fib_compute_spec_dst: the address that an answer to this packet comes from. */
export function fibComputeSpecDst(w: World, ns: Netns, slot: number): number {
  const m = slot << META_SHIFT
  const v = w.arena.view
  const nh = w.arena.meta[m + M_NH]!
  const rt = w.arena.dst[slot] as Rtable
  if ((rt.flags & 0x30000000) === 0 && (rt.flags & RTCF_LOCAL) !== 0) return v.getInt32(nh + 16)
  const dev = w.devices[w.arena.meta[m + M_DEV]!]!
  const saddr = v.getInt32(nh + 12)
  if (saddr >>> 24 !== 0) {
    const fl = flow.reset()
    fl.daddr = saddr
    fl.iif = ns.lo.id
    fl.tos = v.getUint8(nh + 1) & 0xfc
    const vmark = dev.conf.src_valid_mark !== 0 || ns.sysctl.all.src_valid_mark !== 0
    if (vmark) fl.mark = w.arena.meta[m + M_MARK]!
    if (ns.fib.lookup(fl, sourceRes, 0) === 0) return fibResultPrefsrc(ns, sourceRes)
  }
  return inetSelectAddr(ns, dev, saddr, RT_SCOPE_UNIVERSE)
}

/**
 * __ip_options_echo: RR, TS and source routes of a packet go into the answer, source routes reversed.
 * @returns false when they cannot be answered
 */
export function ipOptionsEcho(w: World, ns: Netns, slot: number, out: EchoedOptions): boolean {
  out.optlen = 0
  out.addr = w.arena.view.getInt32(w.arena.meta[(slot << META_SHIFT) + M_NH]! + 12)
  out.faddr = 0
  out.srr = 0
  out.rr = 0
  out.rrNeedaddr = false
  out.ts = 0
  out.tsNeedaddr = false
  out.tsNeedtime = false
  const m = slot << META_SHIFT
  if (w.arena.meta[m + M_OPTLEN] === 0) return true
  const o = optionsOf(w, slot)
  const nh = w.arena.meta[m + M_NH]!
  const v = w.arena.view
  const bytes = w.arena.bytes
  const b = out.bytes
  let at = 0
  if (o.rr !== 0) {
    const p = nh + o.rr
    const len = v.getUint8(p + 1)
    const ptr = v.getUint8(p + 2)
    b.set(bytes.subarray(p, p + len), at)
    out.rr = at + 20
    if (o.rrNeedaddr && ptr <= len) {
      if (ptr + 3 > len) return false
      b[at + 2] = ptr + 4
      out.rrNeedaddr = true
    }
    at += len
  }
  if (o.ts !== 0) {
    const p = nh + o.ts
    const len = v.getUint8(p + 1)
    b.set(bytes.subarray(p, p + len), at)
    out.ts = at + 20
    if (v.getUint8(p + 2) <= len && !echoTimestamp(ns, v, p, o, out, at)) return false
    at += len
  }
  if (o.srr !== 0) {
    const length = echoSourceRoute(w, nh, o, b, at, out)
    if (length > 0) out.srr = at + 20
    at += length
  }
  if (o.cipso !== 0) {
    const len = v.getUint8(nh + o.cipso + 1)
    b.set(bytes.subarray(nh + o.cipso, nh + o.cipso + len), at)
    at += len
  }
  while ((at & 3) !== 0) b[at++] = IPOPT_END
  out.optlen = at
  return true
}

function echoTimestamp(ns: Netns, v: DataView, p: number, o: IpOptions, out: EchoedOptions, at: number): boolean {
  const len = v.getUint8(p + 1)
  let ptr = v.getUint8(p + 2)
  if (o.tsNeedaddr) {
    if (ptr + 3 > len) return false
    out.tsNeedaddr = true
    ptr += 4
  }
  if (o.tsNeedtime) {
    if (ptr + 3 > len) return false
    if ((v.getUint8(p + 3) & 15) !== IPOPT_TS_PRESPEC) {
      out.tsNeedtime = true
      ptr += 4
    } else if (ptr + 7 <= len && ns.fib.addrTypeIn(RT_TABLE_LOCAL, v.getInt32(p + ptr - 1)) !== RTN_UNICAST) {
      out.tsNeedtime = true
      ptr += 8
    }
  }
  out.bytes[at + 2] = ptr
  return true
}

function echoSourceRoute(w: World, nh: number, o: IpOptions, b: Uint8Array, at: number, out: EchoedOptions): number {
  const v = w.arena.view
  const p = nh + o.srr
  const saddr = v.getInt32(nh + 12)
  let soffset = v.getUint8(p + 2)
  const optlen = v.getUint8(p + 1)
  if (soffset > optlen) soffset = optlen + 1
  soffset -= 4
  let doffset = 0
  if (soffset <= 3) return 0
  out.faddr = v.getInt32(p + soffset - 1)
  for (soffset -= 4, doffset = 4; soffset > 3; soffset -= 4, doffset += 4) {
    for (let i = 0; i < 4; i++) b[at + doffset - 1 + i] = v.getUint8(p + soffset - 1 + i)
  }
  // RFC 1812 4.2.2.4: this host's own hop is left out when the route was not strict
  if (saddr !== 0 && saddr !== out.faddr) {
    for (let i = 0; i < 4; i++) b[at + doffset - 1 + i] = (saddr >>> (24 - 8 * i)) & 255
    doffset += 4
  }
  if (doffset <= 3) return 0
  b[at] = v.getUint8(p)
  b[at + 1] = doffset - 1
  b[at + 2] = 4
  return doffset - 1
}

/**
 * ip_options_build: copies `options` behind the header at `nh` and fills in what echo left open. They are the packet's
 * own from now on (IPCB): an ICMP error about it echoes them again.
 */
export function ipOptionsBuild(w: World, slot: number, nh: number, options: EchoedOptions): void {
  const v = w.arena.view
  w.arena.meta[(slot << META_SHIFT) + M_OPTLEN] = options.optlen
  const own = optionsOf(w, slot)
  own.reset(own.id)
  own.srr = options.srr
  own.rr = options.rr
  own.rrNeedaddr = options.rrNeedaddr
  own.ts = options.ts
  own.tsNeedaddr = options.tsNeedaddr
  own.tsNeedtime = options.tsNeedtime
  w.arena.bytes.set(options.bytes.subarray(0, options.optlen), nh + 20)
  const saddr = v.getInt32(nh + 12)
  if (options.srr !== 0) {
    const p = nh + options.srr
    v.setInt32(p + v.getUint8(p + 1) - 4, options.addr)
  }
  if (options.rrNeedaddr) {
    const p = nh + options.rr
    v.setInt32(p + v.getUint8(p + 2) - 5, saddr)
  }
  if (options.ts !== 0) {
    const p = nh + options.ts
    if (options.tsNeedaddr) v.setInt32(p + v.getUint8(p + 2) - 9, saddr)
    if (options.tsNeedtime) v.setUint32(p + v.getUint8(p + 2) - 5, inetCurrentTimestamp(w))
  }
}
