/**
 * Connection tracking of IPv6 packets: which tuple a packet has; the entry's life is that of IPv4's (core.ts).
 *
 * Linux: nf_conntrack_in with ipv6_get_l4proto (net/netfilter/nf_conntrack_core.c), net/ipv6/netfilter/
 * nf_defrag_ipv6_hooks.c (ipv6_defrag). Addresses enter the tuple as ids of World.in6, the protocol with CT_V6.
 *
 * Not modelled, as in IPv4: SCTP, DCCP and UDP-Lite end as UNMODELLED; zones, helpers.
 */
import { M_CT, M_CTINFO, M_DATA, M_LEN, M_NFB_STATE, META_SHIFT, NFB_IN_PREROUTING } from '../../../packet/layout.ts'
import { exthdr, ipv6ExtHdr, ipv6SkipExthdr } from '../../ipv6/exthdrs-core.ts'
import {
  IP6_DEFRAG_CONNTRACK_BRIDGE_IN,
  IP6_DEFRAG_CONNTRACK_IN,
  IP6_DEFRAG_CONNTRACK_OUT,
  nfCtFrag6Gather,
} from '../../ipv6/reassembly.ts'
import type { Netns } from '../../netns.ts'
import { R_UNMODELLED } from '../../reasons.ts'
import type { World } from '../../world.ts'
import { resolveConntrack, traceLookup, unmodelledProto } from './core.ts'
import { icmpv6Error } from './icmpv6.ts'
import { CTI_HEADER, CTI_SHORT, CTI_UNTRACKED, traceInvalid } from './invalid.ts'
import { IP_CT_UNTRACKED, IPPROTO_ICMPV6, NF_ACCEPT, NF_DROP, NF_INET_PRE_ROUTING, NF_STOLEN } from './layout.ts'
import { getTuple6, Tuple } from './tuple.ts'

const EINPROGRESS = -115
const tuple = new Tuple()

/** nf_conntrack_in for PF_INET6; see nfConntrackIn. */
export function nfConntrackIn6(w: World, ns: Netns, hook: number, slot: number): number {
  const ct = ns.ct
  if (ct === null) return NF_ACCEPT
  const { meta, view } = w.arena
  const m = slot << META_SHIFT
  if (meta[m + M_CT] !== 0) return NF_ACCEPT
  if (meta[m + M_CTINFO] === IP_CT_UNTRACKED) {
    traceInvalid(w, ns, slot, IP_CT_UNTRACKED, CTI_UNTRACKED)
    return NF_ACCEPT
  }
  const nh = meta[m + M_DATA]!
  const end = nh + meta[m + M_LEN]!
  // ipv6_get_l4proto
  const l4 = nh + 40 > end ? -1 : ipv6SkipExthdr(view, nh + 40, end, view.getUint8(nh + 6))
  if (l4 < 0 || (exthdr.fragOff & ~7) !== 0) {
    ct.stat.invalid++
    traceInvalid(w, ns, slot, 0, CTI_HEADER)
    return NF_ACCEPT
  }
  const proto = exthdr.nexthdr
  if (unmodelledProto(proto)) {
    w.dropReason = R_UNMODELLED
    w.dropWhat = `conntrack of protocol ${proto}`
    return NF_DROP
  }
  if (proto === IPPROTO_ICMPV6) {
    const ret = icmpv6Error(w, ct, hook, slot, l4)
    if (ret <= 0) {
      ct.stat.error++
      return -ret
    }
    if (meta[m + M_CT] !== 0) {
      traceLookup(w, ns, slot, 0)
      return NF_ACCEPT
    }
    if (meta[m + M_CTINFO] === IP_CT_UNTRACKED) return NF_ACCEPT
  }
  if (!getTuple6(view, w.in6, nh, l4, end, proto, tuple)) {
    traceInvalid(w, ns, slot, 0, CTI_SHORT)
    ct.stat.invalid++
    return NF_ACCEPT
  }
  return resolveConntrack(w, ns, ct, hook, slot, l4, tuple.src, tuple.dst, tuple.ports, tuple.proto)
}

/** ipv6_defrag (NFH_DEFRAG): NF_STOLEN while fragments are missing, then the slot holds the whole datagram. */
export function ipv6ConntrackDefrag(w: World, ns: Netns, hook: number, slot: number): number {
  const { meta, view } = w.arena
  const m = slot << META_SHIFT
  if (meta[m + M_CT] !== 0 || meta[m + M_CTINFO] === IP_CT_UNTRACKED) return NF_ACCEPT
  // most packets have no extension header at all: nf_ct_frag6_gather would look for a fragment header in vain
  if (!ipv6ExtHdr(view.getUint8(meta[m + M_DATA]! + 6))) return NF_ACCEPT
  const user =
    hook !== NF_INET_PRE_ROUTING
      ? IP6_DEFRAG_CONNTRACK_OUT
      : (meta[m + M_NFB_STATE]! & NFB_IN_PREROUTING) !== 0
        ? IP6_DEFRAG_CONNTRACK_BRIDGE_IN
        : IP6_DEFRAG_CONNTRACK_IN
  const err = nfCtFrag6Gather(w, ns, slot, user)
  if (err === EINPROGRESS) return NF_STOLEN
  return err === 0 ? NF_ACCEPT : NF_DROP
}
