/**
 * Choice among several nexthops: hash and hash-threshold.
 *
 * Linux: net/ipv4/route.c (fib_multipath_hash), net/ipv4/fib_semantics.c (fib_rebalance, fib_select_multipath). The hash
 * of Linux is siphash with a key drawn at boot, so which nexthop a flow takes is not predictable there; here the key
 * comes from the world's seed. Policies: 0 = addresses (inner ones of ICMP errors), 1 = 5-tuple.
 * Not modelled: policies 2 (inner header) and 3 (custom fields): they fall back to 0; fib_multipath_use_neigh.
 */
import { M_NH, META_SHIFT } from '../../packet/layout.ts'
import type { World } from '../world.ts'
import type { FibRoute } from './fib-route.ts'
import type { FibResult } from './fib-table.ts'
import { ignoresLinkdown } from './fib-table.ts'
import type { Flowi4 } from './flow.ts'
import { RTNH_F_DEAD, RTNH_F_LINKDOWN } from './rtn.ts'

/** Mixes flow words with a key into 31 bits (Linux: flow_hash_from_keys >> 1). */
export function flowHash(key: number, a: number, b: number, c: number): number {
  let h = key ^ Math.imul(a, 0x9e3779b1)
  h = Math.imul(h ^ (h >>> 15), 0x85ebca6b)
  h = Math.imul((h ^ (h >>> 13)) + b, 0xc2b2ae35)
  h = Math.imul((h ^ (h >>> 16)) + c, 0x27d4eb2f)
  h ^= h >>> 15
  h = Math.imul(h, 0x2545f491)
  return (h ^ (h >>> 13)) >>> 1
}

/** fib_multipath_hash for a packet that comes in (slot) . */
export function multipathHashSkb(w: World, key: number, policy: number, slot: number, fl: Flowi4): number {
  const view = w.arena.view
  const nh = w.arena.meta[(slot << META_SHIFT) + M_NH]!
  const proto = view.getUint8(nh + 9)
  const th = nh + ((view.getUint8(nh) & 15) << 2)
  const fragment = (view.getUint16(nh + 6) & 0x3fff) !== 0
  if (policy === 1) {
    const ports = !fragment && (proto === 6 || proto === 17 || proto === 132) ? view.getInt32(th) : 0
    return flowHash(key, fl.saddr, fl.daddr, ports ^ Math.imul(proto, 0x01000193))
  }
  // ip_multipath_l3_keys: an ICMP error follows the flow that it is about
  if (proto === 1 && (view.getUint16(nh + 6) & 0x1fff) === 0) {
    const type = view.getUint8(th)
    if (type === 3 || type === 5 || type === 11 || type === 12) {
      return flowHash(key, view.getInt32(th + 8 + 12), view.getInt32(th + 8 + 16), 0)
    }
  }
  return flowHash(key, fl.saddr, fl.daddr, 0)
}

/** fib_multipath_hash for a flow of this host. */
export function multipathHashFlow(key: number, policy: number, fl: Flowi4): number {
  if (policy !== 1) return flowHash(key, fl.saddr, fl.daddr, 0)
  return flowHash(key, fl.saddr, fl.daddr, ((fl.sport << 16) | fl.dport) ^ Math.imul(fl.proto, 0x01000193))
}

/** fib_rebalance: spreads the 31-bit hash space over the nexthops that live, by weight. */
export function fibRebalance(route: FibRoute): void {
  if (route.nexthops.length < 2) return
  let total = 0
  for (const nh of route.nexthops) if (isUsable(nh.flags, ignoresLinkdown(nh))) total += nh.weight
  let w = 0
  for (const nh of route.nexthops) {
    if (!isUsable(nh.flags, ignoresLinkdown(nh))) {
      nh.upperBound = -1
      continue
    }
    w += nh.weight
    // DIV_ROUND_CLOSEST_ULL((u64)w << 31, total) - 1
    nh.upperBound = Math.floor((w * 2147483648 + Math.floor(total / 2)) / total) - 1
  }
}

function isUsable(flags: number, ignoreLinkdown: boolean): boolean {
  if ((flags & RTNH_F_DEAD) !== 0) return false
  return !(ignoreLinkdown && (flags & RTNH_F_LINKDOWN) !== 0)
}

/** fib_select_multipath: prefers a nexthop whose source address the flow already has. */
export function fibSelectMultipath(res: FibResult, hash: number, saddr: number): void {
  let best = -1
  const nhs = res.route!.nexthops
  for (let i = 0; i < nhs.length; i++) {
    const nh = nhs[i]!
    if (nh.upperBound === -1) continue
    let score = 0
    if (saddr !== 0 && nh.saddr === saddr) score += 2
    if (hash <= nh.upperBound) score++
    if (best < score) {
      res.nh = nh
      if (score === 3 || (saddr === 0 && score === 1)) return
      best = score
    }
  }
}
