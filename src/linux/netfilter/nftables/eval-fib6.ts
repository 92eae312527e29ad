/**
 * fib over IPv6: the device or the type of the route to an address of the packet.
 *
 * Linux: net/ipv6/netfilter/nft_fib_ipv6.c (nft_fib6_eval, nft_fib6_eval_type, nft_fib6_flowi_init).
 */
import { M_MARK, M_PKTTYPE, META_SHIFT, PACKET_LOOPBACK } from '../../../packet/layout.ts'
import { DEV_LOOPBACK, type NetDevice } from '../../device/device.ts'
import { EACCES, EAGAIN, EINVAL } from '../../errno.ts'
import { RTF_ANYCAST, RTF_LOCAL, RTF_REJECT } from '../../ipv6/fib6-route.ts'
import { Flowi6 } from '../../ipv6/flow6.ts'
import { IPV6_ADDR_LINKLOCAL, IPV6_ADDR_MULTICAST, IPV6_ADDR_UNICAST } from '../../ipv6/in6.ts'
import { ip6RouteLookupFlags, ip6RouteOutput, RT6_LOOKUP_F_HAS_SADDR, RT6_LOOKUP_F_IFACE } from '../../ipv6/route.ts'
import type { Netns } from '../../netns.ts'
import {
  RTN_ANYCAST,
  RTN_BLACKHOLE,
  RTN_LOCAL,
  RTN_MULTICAST,
  RTN_PROHIBIT,
  RTN_THROW,
  RTN_UNICAST,
  RTN_UNREACHABLE,
  RTN_UNSPEC,
} from '../../route/rtn.ts'
import type { World } from '../../world.ts'
import { evalState } from '../iptables/eval-state.ts'
import { dsfield, strictlyLocal } from '../iptables/match6.ts'
import {
  FIB_DADDR,
  FIB_IIF,
  FIB_MARK,
  FIB_OIF,
  FIB_PRESENT,
  FIB_RESULT_OIF,
  FIB_RESULT_OIFNAME,
  FIB_RESULT_TYPE,
} from './ops.ts'
import { regs } from './registers.ts'
import { putName } from './values.ts'

const IPPROTO_ICMPV6 = 58
const flow = new Flowi6()

/** nft_fib6_eval and nft_fib6_eval_type. */
export function loadFib6(w: World, ns: Netns, slot: number, dst: number, result: number, flags: number): boolean {
  const s = evalState
  const view = w.arena.view
  const dev = (flags & FIB_IIF) !== 0 ? s.inDev : (flags & FIB_OIF) !== 0 ? s.outDev : null
  const saddr = w.in6.read(view, s.nh + 8)
  const daddr = w.in6.read(view, s.nh + 24)
  if (result === FIB_RESULT_TYPE) {
    regs[dst] = fibType6(w, ns, slot, flags, dev, saddr, daddr)
    return true
  }
  const found = fibDevice6(w, ns, slot, flags, dev, saddr, daddr)
  if ((flags & FIB_PRESENT) !== 0) regs[dst] = found === null ? 0 : 1
  else if (result === FIB_RESULT_OIF) regs[dst] = found === null ? 0 : found.ifindex
  else if (result === FIB_RESULT_OIFNAME) putName(found === null ? '' : found.name, regs, dst)
  return true
}

/** __nft_fib6_eval_type: an RTN_* type. */
function fibType6(
  w: World,
  ns: Netns,
  slot: number,
  flags: number,
  dev: NetDevice | null,
  saddr: number,
  daddr: number,
): number {
  fillFlow(w, ns, slot, flags, dev, saddr, daddr)
  const addr = flow.daddr
  const local = dev !== null && strictlyLocal(dev, addr)
  const rt = ip6RouteOutput(ns, flow)
  if (rt.error !== 0 || (rt.flags & RTF_REJECT) !== 0) {
    if (rt.error === EINVAL) return RTN_BLACKHOLE
    if (rt.error === EACCES) return RTN_PROHIBIT
    return rt.error === EAGAIN ? RTN_THROW : RTN_UNREACHABLE
  }
  if (rt.isAnycast) return RTN_ANYCAST
  if (local || (dev === null && rt.isLocal)) return RTN_LOCAL
  const type = w.in6.type(addr)
  if ((type & IPV6_ADDR_MULTICAST) !== 0) return RTN_MULTICAST
  return (type & IPV6_ADDR_UNICAST) !== 0 ? RTN_UNICAST : RTN_UNSPEC
}

/** nft_fib6_flowi_init into `flow`. @returns the lookup flags */
function fillFlow(
  w: World,
  ns: Netns,
  slot: number,
  flags: number,
  dev: NetDevice | null,
  saddr: number,
  daddr: number,
): number {
  const s = evalState
  flow.reset()
  flow.iif = ns.lo.id
  flow.proto = Math.max(0, s.proto)
  const toDst = (flags & FIB_DADDR) !== 0
  flow.daddr = toDst ? daddr : saddr
  const other = toDst ? saddr : daddr
  let lookup = 0
  if ((w.in6.type(flow.daddr) & IPV6_ADDR_LINKLOCAL) !== 0) {
    lookup |= RT6_LOOKUP_F_IFACE
    flow.oif = (dev ?? s.inDev ?? s.outDev)?.id ?? -1
  }
  if ((w.in6.type(other) & IPV6_ADDR_UNICAST) !== 0) {
    lookup |= RT6_LOOKUP_F_HAS_SADDR
    flow.saddr = other
  }
  if ((flags & FIB_MARK) !== 0) flow.mark = w.arena.meta[(slot << META_SHIFT) + M_MARK]!
  flow.flowlabel = w.arena.view.getInt32(s.nh) & 0xfffff
  flow.tclass = dsfield(w.arena.view, s.nh)
  return lookup
}

function fibDevice6(
  w: World,
  ns: Netns,
  slot: number,
  flags: number,
  oif: NetDevice | null,
  saddr: number,
  daddr: number,
): NetDevice | null {
  const s = evalState
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  if (s.hook === 0 && s.inDev !== null) {
    // nft_fib_can_skip; nft_fib_v6_skip_icmpv6: neighbour discovery of a host without an address
    if (s.inDev.kind === DEV_LOOPBACK || meta[m + M_PKTTYPE] === PACKET_LOOPBACK) return s.inDev
    if (s.proto === IPPROTO_ICMPV6 && saddr === 0 && (w.in6.type(daddr) & IPV6_ADDR_LINKLOCAL) !== 0) return s.inDev
  }
  const lookup = fillFlow(w, ns, slot, flags, oif, saddr, daddr)
  const rt = ip6RouteLookupFlags(ns, flow, lookup)
  if (rt.error !== 0 || (rt.flags & (RTF_REJECT | RTF_ANYCAST | RTF_LOCAL)) !== 0) return null
  if (oif === null) return rt.idev
  return oif === rt.idev ? oif : null
}
