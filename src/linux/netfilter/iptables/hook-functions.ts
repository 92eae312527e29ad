/**
 * The hook functions of the legacy tables: raw, mangle, filter, security.
 *
 * Linux: net/ipv4/netfilter/{iptable_raw,iptable_mangle,iptable_filter,iptable_security}.c. Mangle re-routes locally made
 * packets whose source, destination, mark or TOS a rule changed (ipt_mangle_out). The nat table has no hook function of
 * its own: NAT asks it for a connection's first packet (nat/core.ts).
 */
import { M_MARK, M_NH, META_SHIFT } from '../../../packet/layout.ts'
import type { NetDevice } from '../../device/device.ts'
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
