/**
 * The hook functions of the legacy tables: raw, mangle, filter, security.
 *
 * Linux: net/ipv4/netfilter/{iptable_raw,iptable_mangle,iptable_filter,iptable_security}.c,
 * net/ipv6/netfilter/ip6table_mangle.c. Mangle re-routes locally made
 * packets whose source, destination, mark or TOS a rule changed (ipt_mangle_out). The nat table has no hook function of
 * its own: NAT asks it for a connection's first packet (nat/core.ts).
 */
import { M_MARK, M_NH, META_SHIFT } from '../../../packet/layout.ts'
import type { NetDevice } from '../../device/device.ts'
import { ip6RouteMeHarder } from '../../ipv6/route.ts'
import type { Netns } from '../../netns.ts'
import { R_NO_ROUTE } from '../../reasons.ts'
import { ipRouteMeHarder } from '../../route/route.ts'
import { RTN_UNSPEC } from '../../route/rtn.ts'
import type { World } from '../../world.ts'
import { iptDoTable } from './eval.ts'

const NF_DROP = 0
const NF_ACCEPT = 1
const NF_INET_LOCAL_OUT = 3

/** NFH_RAW: iptable_raw_hook. */
export function iptRawHook(
  w: World,
  ns: Netns,
  hook: number,
  slot: number,
  inDev: NetDevice | null,
  outDev: NetDevice | null,
): number {
  const table = ns.nf.tables.raw
  return table === null ? NF_ACCEPT : iptDoTable(w, ns, table, hook, slot, inDev, outDev)
}

/** NFH_FILTER: ipt_do_table of filter. */
export function iptFilterHook(
  w: World,
  ns: Netns,
  hook: number,
  slot: number,
  inDev: NetDevice | null,
  outDev: NetDevice | null,
): number {
  const table = ns.nf.tables.filter
  return table === null ? NF_ACCEPT : iptDoTable(w, ns, table, hook, slot, inDev, outDev)
}

/** NFH_SECURITY: ipt_do_table of security. */
export function iptSecurityHook(
  w: World,
  ns: Netns,
  hook: number,
  slot: number,
  inDev: NetDevice | null,
  outDev: NetDevice | null,
): number {
  const table = ns.nf.tables.security
  return table === null ? NF_ACCEPT : iptDoTable(w, ns, table, hook, slot, inDev, outDev)
}

/** NFH_MANGLE: iptable_mangle_hook; in LOCAL_OUT ipt_mangle_out, which re-routes. */
export function iptMangleHook(
  w: World,
  ns: Netns,
  hook: number,
  slot: number,
  inDev: NetDevice | null,
  outDev: NetDevice | null,
): number {
  const table = ns.nf.tables.mangle
  if (table === null) return NF_ACCEPT
  if (hook !== NF_INET_LOCAL_OUT) return iptDoTable(w, ns, table, hook, slot, inDev, outDev)
  const view = w.arena.view
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  let nh = meta[m + M_NH]!
  const mark = meta[m + M_MARK]!
  const saddr = view.getInt32(nh + 12)
  const daddr = view.getInt32(nh + 16)
  const tos = view.getUint8(nh + 1)
  const verdict = iptDoTable(w, ns, table, hook, slot, inDev, outDev)
  if (verdict !== NF_ACCEPT) return verdict
  nh = meta[m + M_NH]!
  if (
    view.getInt32(nh + 12) !== saddr ||
    view.getInt32(nh + 16) !== daddr ||
    meta[m + M_MARK]! !== mark ||
    view.getUint8(nh + 1) !== tos
  ) {
    const err = ipRouteMeHarder(w, ns, slot, RTN_UNSPEC)
    if (err < 0) {
      w.dropErrno = err
      w.dropReason = R_NO_ROUTE
      return NF_DROP
    }
  }
  return verdict
}

/** ip6table_mangle_hook; in LOCAL_OUT ip6t_mangle_out, which re-routes what a rule changed. */
export function ip6tMangleHook(
  w: World,
  ns: Netns,
  hook: number,
  slot: number,
  inDev: NetDevice | null,
  outDev: NetDevice | null,
): number {
  const table = ns.nf6.tables.mangle
  if (table === null) return NF_ACCEPT
  if (hook !== NF_INET_LOCAL_OUT) return iptDoTable(w, ns, table, hook, slot, inDev, outDev)
  const { view, meta } = w.arena
  const m = slot << META_SHIFT
  let nh = meta[m + M_NH]!
  const mark = meta[m + M_MARK]!
  const saddr = w.in6.read(view, nh + 8)
  const daddr = w.in6.read(view, nh + 24)
  const hopLimit = view.getUint8(nh + 7)
  const flow = view.getInt32(nh)
  const verdict = iptDoTable(w, ns, table, hook, slot, inDev, outDev)
  if (verdict !== NF_ACCEPT) return verdict
  nh = meta[m + M_NH]!
  if (
    w.in6.read(view, nh + 8) !== saddr ||
    w.in6.read(view, nh + 24) !== daddr ||
    meta[m + M_MARK]! !== mark ||
    view.getUint8(nh + 7) !== hopLimit ||
    view.getInt32(nh) !== flow
  ) {
    const err = ip6RouteMeHarder(w, ns, slot)
    if (err < 0) {
      w.dropErrno = err
      w.dropReason = R_NO_ROUTE
      return NF_DROP
    }
  }
  return verdict
}
