/**
 * The NAT hook functions of IPv6.
 *
 * Linux: nf_nat_ipv6_fn, nf_nat_ipv6_in, nf_nat_ipv6_local_fn, nf_nat_ipv6_out (net/netfilter/nf_nat_proto.c). What a
 * connection becomes is decided and kept as for IPv4 (core.ts, setup.ts).
 * Not modelled: XFRM.
 */
import { M_CT, M_CTINFO, M_DATA, M_LEN, META_SHIFT } from '../../../packet/layout.ts'
import type { NetDevice } from '../../device/device.ts'
import { exthdr, ipv6SkipExthdr } from '../../ipv6/exthdrs-core.ts'
import { ip6RouteMeHarder } from '../../ipv6/route.ts'
import type { Netns } from '../../netns.ts'
import { R_NO_ROUTE, R_NONE } from '../../reasons.ts'
import type { World } from '../../world.ts'
import {
  ctinfo2dir,
  IP_CT_RELATED,
  IP_CT_RELATED_REPLY,
  IPPROTO_ICMPV6,
  NF_ACCEPT,
  NF_DROP,
  NF_INET_LOCAL_OUT,
  NF_INET_PRE_ROUTING,
} from '../conntrack/layout.ts'
import type { Conntrack } from '../conntrack/table.ts'
import { natInetFn, traceNat } from './core.ts'
import { natIcmpv6ReplyTranslation } from './manip6.ts'
import { hook2manip, natStatusBit } from './status-bit.ts'

/** NFH_NAT_DST and NFH_NAT_SRC of PF_INET6. */
export function nfNatInet6(
  w: World,
  ns: Netns,
  hook: number,
  slot: number,
  inDev: NetDevice | null,
  outDev: NetDevice | null,
): number {
  const ct = ns.ct
  const { meta, view } = w.arena
  const m = slot << META_SHIFT
  if (ct === null || meta[m + M_CT] === 0) return NF_ACCEPT
  const daddr = hook === NF_INET_PRE_ROUTING ? w.in6.read(view, meta[m + M_DATA]! + 24) : 0
  const ret = natIpv6Fn(w, ns, ct, hook, slot, inDev, outDev)
  if (ret !== NF_ACCEPT) return ret
  if (hook === NF_INET_PRE_ROUTING) {
    if (w.in6.read(view, meta[m + M_DATA]! + 24) !== daddr) w.arena.dst[slot] = null
    return ret
  }
  if (hook !== NF_INET_LOCAL_OUT) return ret
  const id = meta[m + M_CT]!
  const dir = ctinfo2dir(meta[m + M_CTINFO]!)
  if (ct.dst(id, dir) === ct.src(id, 1 - dir)) return ret
  const err = ip6RouteMeHarder(w, ns, slot)
  if (err < 0) {
    w.dropErrno = err
    if (w.dropReason === R_NONE) w.dropReason = R_NO_ROUTE
    return NF_DROP
  }
  return ret
}

/** nf_nat_ipv6_fn: ICMPv6 errors are translated by what they quote, all else by nf_nat_inet_fn. */
function natIpv6Fn(
  w: World,
  ns: Netns,
  ct: Conntrack,
  hook: number,
  slot: number,
  inDev: NetDevice | null,
  outDev: NetDevice | null,
): number {
  const { meta, view } = w.arena
  const m = slot << META_SHIFT
  const ctinfo = meta[m + M_CTINFO]!
  if (ctinfo === IP_CT_RELATED || ctinfo === IP_CT_RELATED_REPLY) {
    const nh = meta[m + M_DATA]!
    const l4 = ipv6SkipExthdr(view, nh + 40, nh + meta[m + M_LEN]!, view.getUint8(nh + 6))
    if (l4 >= 0 && exthdr.nexthdr === IPPROTO_ICMPV6) {
      const id = meta[m + M_CT]!
      const dir = ctinfo2dir(ctinfo)
      const manip = hook2manip(hook)
      if (!natIcmpv6ReplyTranslation(w, ct, slot, l4, dir, manip)) return NF_DROP
      if (w.tracer !== null && (ct.status(id) & natStatusBit(manip, dir)) !== 0) traceNat(w, ns, slot, manip, 0)
      return NF_ACCEPT
    }
  }
  return natInetFn(w, ns, ns.nf6, ct, hook, slot, inDev, outDev, ctinfo)
}
