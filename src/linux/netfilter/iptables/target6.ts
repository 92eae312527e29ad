/**
 * Targets on an IPv6 packet, where they read or write the IP header.
 *
 * Linux: net/ipv6/netfilter/ip6t_REJECT.c, the IPv6 halves of net/netfilter/xt_{DSCP,HL,NETMAP,REDIRECT,MASQUERADE}.c.
 * There is no header checksum to keep.
 */
import { M_CT, META_SHIFT } from '../../../packet/layout.ts'
import type { Netns } from '../../netns.ts'
import type { World } from '../../world.ts'
import { nfNatMasqueradeIpv6 } from '../nat/masquerade.ts'
import { type NatRange, NF_NAT_MANIP_DST, NF_NAT_MANIP_SRC, NF_NAT_RANGE_MAP_IPS } from '../nat/range.ts'
import { nfNatRedirectIpv6 } from '../nat/redirect.ts'
import { nfNatSetupInfo } from '../nat/setup.ts'
import { evalState } from './eval-state.ts'
import * as K from './kinds.ts'
import { dsfield } from './match6.ts'
import { rejectPacket6 } from './reject6.ts'

const NF_DROP = 0
const XT_CONTINUE = -1

/** runTarget for the kinds that differ in IPv6; `range` holds flags and ports of MASQUERADE and REDIRECT. */
export function runTarget6(w: World, ns: Netns, words: Int32Array, t: number, slot: number, range: NatRange): number {
  const a = t + 2
  const { nh } = evalState
  const view = w.arena.view
  switch (words[t]) {
    case K.TARGET_REJECT6:
      return rejectPacket6(w, ns, slot, words[a]!)
    case K.TARGET_REDIRECT:
      return nfNatRedirectIpv6(w, ns, slot, range, evalState.hook)
    case K.TARGET_MASQUERADE:
      if (evalState.outDev === null) return NF_DROP
      return nfNatMasqueradeIpv6(w, ns, slot, range, evalState.outDev)
    case K.TARGET_NETMAP6:
      return netmap6(w, ns, words, a, slot, range)
    case K.TARGET_TOS:
      setDsfield(view, nh, (dsfield(view, nh) & ~words[a + 1]!) ^ words[a]!)
      return XT_CONTINUE
    case K.TARGET_DSCP:
      setDsfield(view, nh, (dsfield(view, nh) & 3) | (words[a]! << 2))
      return XT_CONTINUE
    default: {
      const old = view.getUint8(nh + 7)
      const mode = words[a]
      const by = words[a + 1]!
      view.setUint8(nh + 7, mode === 0 ? by : mode === 1 ? Math.min(255, old + by) : Math.max(0, old - by))
      return XT_CONTINUE
    }
  }
}

/** ipv6_change_dsfield */
function setDsfield(view: DataView, nh: number, value: number): void {
  view.setUint16(nh, (view.getUint16(nh) & 0xf00f) | ((value & 0xff) << 4))
}

/** netmap_tg6 */
function netmap6(w: World, ns: Netns, words: Int32Array, a: number, slot: number, range: NatRange): number {
  const { hook, nh } = evalState
  const view = w.arena.view
  const dst = hook === 0 || hook === 3
  const at = nh + (dst ? 24 : 8)
  const word = (i: number): number =>
    (view.getInt32(at + 4 * i) & ~words[a + 4 + i]!) | (words[a + i]! & words[a + 4 + i]!)
  range.flags = NF_NAT_RANGE_MAP_IPS
  range.minIp = range.maxIp = w.in6.intern(word(0), word(1), word(2), word(3))
  range.minPort = range.maxPort = range.basePort = 0
  const id = w.arena.meta[(slot << META_SHIFT) + M_CT]!
  return nfNatSetupInfo(w, ns, id, slot, range, dst ? NF_NAT_MANIP_DST : NF_NAT_MANIP_SRC)
}
