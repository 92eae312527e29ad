/**
 * The NAT hook functions.
 *
 * Linux: nf_nat_inet_fn, nf_nat_packet (net/netfilter/nf_nat_core.c), nf_nat_ipv4_fn, _pre_routing, _local_fn, _out,
 * _local_in (nf_nat_proto.c). A connection's first packet asks the nat table once per kind of manipulation; every packet
 * is then rewritten from the two tuples. Locally made packets whose destination changed are routed again.
 * Not modelled: XFRM, VRF devices.
 */
import { M_CT, M_CTINFO, M_DATA, M_DEV, META_SHIFT } from '../../../packet/layout.ts'
import type { NetDevice } from '../../device/device.ts'
import type { Netns } from '../../netns.ts'
import { R_NAT_NO_TUPLE, R_NO_ROUTE, R_NONE } from '../../reasons.ts'
import { ipRouteMeHarder } from '../../route/route.ts'
import { RTN_UNSPEC } from '../../route/rtn.ts'
import { T_NAT, T_NAT6 } from '../../trace.ts'
import type { World } from '../../world.ts'
import {
  C_MASQ_INDEX,
  C_STATUS,
  C_WORDS,
  ctinfo2dir,
  IP_CT_DIR_ORIGINAL,
  IP_CT_ESTABLISHED,
  IP_CT_ESTABLISHED_REPLY,
  IP_CT_NEW,
  IP_CT_RELATED,
  IP_CT_RELATED_REPLY,
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
  IPS_NAT_DONE_MASK,
  IPS_NAT_MASK,
  NF_ACCEPT,
  NF_DROP,
  NF_INET_LOCAL_IN,
  NF_INET_LOCAL_OUT,
  NF_INET_POST_ROUTING,
  NF_INET_PRE_ROUTING,
} from '../conntrack/layout.ts'
import { killConntrack } from '../conntrack/lifetime.ts'
import type { Conntrack } from '../conntrack/table.ts'
import { hasPorts } from '../conntrack/tuple.ts'
import { NFH_NAT_DST, NFH_NAT_SRC, NFH_NFT, type NfState } from '../hooks.ts'
import { iptDoTable } from '../iptables/eval.ts'
import { nftHook } from '../nftables/hook-functions.ts'
import { natIcmpReplyTranslation, natManipPkt } from './manip.ts'
import { NF_NAT_MANIP_SRC } from './range.ts'
import { natAllocNullBinding, natInitialized } from './setup.ts'
import { hook2manip, natStatusBit } from './status-bit.ts'

export * from './range.ts'
export { nfNatSetupInfo } from './setup.ts'

/**
 * nf_nat_register_fn: the four NAT hooks of a family; calling it again has no effect. Tracking itself starts with the
 * first rule that needs it (nfConntrackGet), as in Linux: an empty nat table tracks nothing.
 */
export function nfNatRegister(nf: NfState): void {
  nf.register(NF_INET_PRE_ROUTING, NFH_NAT_DST)
  nf.register(NF_INET_LOCAL_OUT, NFH_NAT_DST)
  nf.register(NF_INET_POST_ROUTING, NFH_NAT_SRC)
  nf.register(NF_INET_LOCAL_IN, NFH_NAT_SRC)
}

/** NFH_NAT_DST (PRE_ROUTING, LOCAL_OUT) and NFH_NAT_SRC (POST_ROUTING, LOCAL_IN). */
export function nfNatInet(
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
  const id = meta[m + M_CT]!
  if (ct === null || id === 0) return NF_ACCEPT
  const ctinfo = meta[m + M_CTINFO]!
  const rows = ct.hash.rows
  const e = id * C_WORDS
  const status = rows[e + C_STATUS]!
  // nothing is to be set up any more, no ICMP error, no check of the device: straight to nf_nat_packet
  const settled =
    (ctinfo === IP_CT_ESTABLISHED ||
      ctinfo === IP_CT_ESTABLISHED_REPLY ||
      (ctinfo === IP_CT_NEW && (status & IPS_NAT_DONE_MASK) === IPS_NAT_DONE_MASK)) &&
    (hook !== NF_INET_POST_ROUTING || rows[e + C_MASQ_INDEX] === 0)
  if (settled && (status & IPS_NAT_MASK) === 0) return NF_ACCEPT
  if (hook === NF_INET_PRE_ROUTING) {
    const daddr = view.getInt32(meta[m + M_DATA]! + 16)
    const ret = settled
      ? natPacket(w, ns, ct, hook, slot, id, ctinfo, status)
      : natIpv4Fn(w, ns, ct, hook, slot, inDev, outDev)
    if (ret === NF_ACCEPT && view.getInt32(meta[m + M_DATA]! + 16) !== daddr) w.arena.dst[slot] = null
    return ret
  }
  const ret = settled
    ? natPacket(w, ns, ct, hook, slot, id, ctinfo, status)
    : natIpv4Fn(w, ns, ct, hook, slot, inDev, outDev)
  if (hook !== NF_INET_LOCAL_OUT || ret !== NF_ACCEPT || meta[m + M_CT] === 0) return ret
  const dir = ctinfo2dir(meta[m + M_CTINFO]!)
  if (ct.dst(id, dir) === ct.src(id, 1 - dir)) return ret
  const err = ipRouteMeHarder(w, ns, slot, RTN_UNSPEC)
  if (err < 0) {
    w.dropErrno = err
    if (w.dropReason === R_NONE) w.dropReason = R_NO_ROUTE
    return NF_DROP
  }
  return ret
}

/** nf_nat_ipv4_fn: ICMP errors are translated by what they quote, all else by nf_nat_inet_fn. */
function natIpv4Fn(
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
  if (
    (ctinfo === IP_CT_RELATED || ctinfo === IP_CT_RELATED_REPLY) &&
    view.getUint8(meta[m + M_DATA]! + 9) === IPPROTO_ICMP
  ) {
    const id = meta[m + M_CT]!
    const dir = ctinfo2dir(ctinfo)
    const manip = hook2manip(hook)
    if (!natIcmpReplyTranslation(w, ct, slot, dir, manip)) return NF_DROP
    if (w.tracer !== null && (ct.status(id) & natStatusBit(manip, dir)) !== 0) traceNat(w, ns, slot, manip, 0)
    return NF_ACCEPT
  }
  return natInetFn(w, ns, ns.nf, ct, hook, slot, inDev, outDev, ctinfo)
}

/** nf_nat_inet_fn. @param nf the hooks of the packet's family */
export function natInetFn(
  w: World,
  ns: Netns,
  nf: NfState,
  ct: Conntrack,
  hook: number,
  slot: number,
  inDev: NetDevice | null,
  outDev: NetDevice | null,
  ctinfo: number,
): number {
  const m = slot << META_SHIFT
  const meta = w.arena.meta
  const id = meta[m + M_CT]!
  const e = id * C_WORDS
  const manip = hook2manip(hook)
  const first = ctinfo === IP_CT_NEW || ctinfo === IP_CT_RELATED || ctinfo === IP_CT_RELATED_REPLY
  if (first && !natInitialized(ct.hash.rows[e + C_STATUS]!, manip)) {
    const table = nf.tables.nat
    const chains = nf.nat[hook]!
    for (let i = 0; i < chains.length; i++) {
      const kind = chains[i]!
      const ret =
        kind < NFH_NFT
          ? iptDoTable(w, ns, table!, hook, slot, inDev, outDev)
          : nftHook(w, ns, kind - NFH_NFT, hook, slot, inDev, outDev)
      if (ret !== NF_ACCEPT) return ret
      if (natInitialized(ct.hash.rows[e + C_STATUS]!, manip)) break
    }
    if (!natInitialized(ct.hash.rows[e + C_STATUS]!, manip)) {
      const ret = natAllocNullBinding(w, ns, id, slot, manip)
      if (ret !== NF_ACCEPT) return ret
    }
  } else if (
    hook === NF_INET_POST_ROUTING &&
    outDev !== null &&
    ct.hash.rows[e + C_MASQ_INDEX] !== 0 &&
    ct.hash.rows[e + C_MASQ_INDEX] !== outDev.ifindex &&
    ctinfo2dir(ctinfo) === IP_CT_DIR_ORIGINAL
  ) {
    // nf_nat_oif_changed: the masqueraded connection would leave by another device now
    killConntrack(ct, id)
    w.dropReason = R_NAT_NO_TUPLE
    return NF_DROP
  }
  return natPacket(w, ns, ct, hook, slot, id, ctinfo, ct.hash.rows[e + C_STATUS]!)
}

/** nf_nat_packet: rewrites the packet when the hook's kind of manipulation is the connection's in this direction. */
export function natPacket(
  w: World,
  ns: Netns,
  ct: Conntrack,
  hook: number,
  slot: number,
  id: number,
  ctinfo: number,
  status: number,
): number {
  const manip = hook2manip(hook)
  const dir = ctinfo2dir(ctinfo)
  if ((status & natStatusBit(manip, dir)) === 0) return NF_ACCEPT
  if (!natManipPkt(w, ct, slot, id, manip, dir)) return NF_DROP
  if (w.tracer !== null) traceManip(w, ns, ct, slot, id, manip, dir)
  return NF_ACCEPT
}

function traceManip(w: World, ns: Netns, ct: Conntrack, slot: number, id: number, manip: number, dir: number): void {
  const proto = ct.proto(id)
  let port = 0
  if (proto === IPPROTO_ICMP || proto === IPPROTO_ICMPV6) port = ct.sport(id, 1 - dir)
  else if (hasPorts(proto)) port = manip === NF_NAT_MANIP_SRC ? ct.dport(id, 1 - dir) : ct.sport(id, 1 - dir)
  traceNat(w, ns, slot, manip, port)
}

/** T_NAT, T_NAT6 */
export function traceNat(w: World, ns: Netns, slot: number, manip: number, port: number): void {
  const m = slot << META_SHIFT
  const { meta, view } = w.arena
  const nh = meta[m + M_DATA]!
  const isSrc = manip === NF_NAT_MANIP_SRC
  const dev = w.devices[meta[m + M_DEV]!] ?? null
  if (view.getUint8(nh) >>> 4 === 6)
    w.tracer!.step(T_NAT6, slot, ns, dev, manip, w.in6.read(view, nh + (isSrc ? 8 : 24)), port, null)
  else w.tracer!.step(T_NAT, slot, ns, dev, manip, view.getInt32(nh + (isSrc ? 12 : 16)), port, null)
}
