/**
 * The match rpfilter: would a reply to the packet's source leave by the device that the packet came in by?
 *
 * iptables: extensions/libxt_rpfilter.c. Linux: net/ipv4/netfilter/ipt_rpfilter.c (rpfilter_mt, rpfilter_lookup_reverse).
 */
import { M_MARK, M_PKTTYPE, META_SHIFT, PACKET_LOOPBACK } from '../../../packet/layout.ts'
import { DEV_LOOPBACK } from '../../device/device.ts'
import type { Netns } from '../../netns.ts'
import { FIB_LOOKUP_IGNORE_LINKSTATE, FibResult } from '../../route/fib-table.ts'
import { Flowi4 } from '../../route/flow.ts'
import { RTN_LOCAL, RTN_UNICAST } from '../../route/rtn.ts'
import type { World } from '../../world.ts'
import { evalState } from './eval-state.ts'
import { MATCH_RPFILTER } from './kinds.ts'
import type { XtMatch } from './types.ts'

/** Flags of rpfilter, include/uapi/linux/netfilter/xt_rpfilter.h. */
export const RPFILTER_LOOSE = 1
export const RPFILTER_VALIDMARK = 2
export const RPFILTER_ACCEPT_LOCAL = 4
export const RPFILTER_INVERT = 8

const RPFILTER_NAMES = [
  ['loose', RPFILTER_LOOSE],
  ['validmark', RPFILTER_VALIDMARK],
  ['accept-local', RPFILTER_ACCEPT_LOCAL],
  ['invert', RPFILTER_INVERT],
] as const

/** `-m rpfilter` */
export const rpfilterMatch: XtMatch<{ flags: number }> = {
  name: 'rpfilter',
  tables: ['raw', 'mangle'],
  hooks: 1 << 0,
  options: RPFILTER_NAMES.map(([name, bit]) => ({ name, set: (d: { flags: number }) => void (d.flags |= bit) })),
  init: () => ({ flags: 0 }),
  save: (d) => RPFILTER_NAMES.map(([name, bit]) => ((d.flags & bit) !== 0 ? ` --${name}` : '')).join(''),
  list: (d) => ` rpfilter${RPFILTER_NAMES.map(([name, bit]) => ((d.flags & bit) !== 0 ? ` ${name}` : '')).join('')}`,
  compile(d, c) {
    c.emit(MATCH_RPFILTER, d.flags)
  },
}

const flow = new Flowi4()
const res = new FibResult()

/** rpfilter_mt of IPv4. */
export function matchRpfilter(w: World, ns: Netns, slot: number, flags: number): boolean {
  const s = evalState
  const dev = s.inDev
  const invert = (flags & RPFILTER_INVERT) !== 0
  const m = slot << META_SHIFT
  const meta = w.arena.meta
  if (dev === null || meta[m + M_PKTTYPE] === PACKET_LOOPBACK || dev.kind === DEV_LOOPBACK) return !invert
  const view = w.arena.view
  const saddr = view.getInt32(s.nh + 12)
  const daddr = view.getInt32(s.nh + 16)
  // an address that has no route yet (DHCP): to everybody, or to a multicast group of the link
  if (saddr >>> 24 === 0 && (daddr === -1 || daddr >>> 8 === 0xe00000)) return !invert
  flow.reset()
  flow.daddr = saddr
  flow.saddr = daddr >>> 28 === 14 || daddr === -1 || daddr >>> 24 === 0 ? 0 : daddr
  if ((flags & RPFILTER_VALIDMARK) !== 0) flow.mark = meta[m + M_MARK]!
  flow.tos = view.getUint8(s.nh + 1) & 0xfc
  flow.iif = ns.lo.id
  return reverse(ns, dev.id, flags) !== invert
}

/** rpfilter_lookup_reverse */
function reverse(ns: Netns, devId: number, flags: number): boolean {
  if (ns.fib.lookup(flow, res, FIB_LOOKUP_IGNORE_LINKSTATE) !== 0) return false
  if (res.type !== RTN_UNICAST && (res.type !== RTN_LOCAL || (flags & RPFILTER_ACCEPT_LOCAL) === 0)) return false
  if ((flags & RPFILTER_LOOSE) !== 0) return true
  const nexthops = res.route!.nexthops
  for (let i = 0; i < nexthops.length; i++) if (nexthops[i]!.dev?.id === devId) return true
  return false
}
