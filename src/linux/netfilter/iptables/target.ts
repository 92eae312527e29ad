/**
 * Targets that act on a packet: marks, header fields, NAT, SET.
 *
 * Linux: net/netfilter/xt_{mark,connmark,CT,DSCP,HL,TCPMSS,nat,MASQUERADE,REDIRECT,NETMAP,set,CLASSIFY}.c. Verdicts are
 * NF_* or XT_CONTINUE (-1).
 */
import { M_CT, M_CTINFO, M_MARK, M_PRIORITY, META_SHIFT } from '../../../packet/layout.ts'
import type { Netns } from '../../netns.ts'
import { R_NF_DROP } from '../../reasons.ts'
import type { World } from '../../world.ts'
import { IP_CT_UNTRACKED } from '../conntrack/layout.ts'
import { ipSetAddPacket, ipSetDelPacket } from '../ipset/kernel.ts'
import { nfNatMasqueradeIpv4 } from '../nat/masquerade.ts'
import { NatRange, NF_NAT_MANIP_DST, NF_NAT_MANIP_SRC, NF_NAT_RANGE_MAP_IPS } from '../nat/range.ts'
import { nfNatRedirectIpv4 } from '../nat/redirect.ts'
import { nfNatSetupInfo } from '../nat/setup.ts'
import { evalState } from './eval-state.ts'
import * as K from './kinds.ts'
import type { IptProgram } from './program.ts'
import { rejectPacket } from './reject.ts'
import { runTarget6 } from './target6.ts'
import { tcpmssMangle } from './tcpmss.ts'

const NF_DROP = 0
const XT_CONTINUE = -1
const range = new NatRange()

/** Runs the compiled target at word `t`. */
export function runTarget(w: World, ns: Netns, p: IptProgram, t: number, slot: number): number {
  const words = p.words
  const a = t + 2
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  switch (words[t]) {
    case K.TARGET_REJECT:
      return rejectPacket(w, ns, slot, words[a]!)
    case K.TARGET_MARK:
      meta[m + M_MARK] = (meta[m + M_MARK]! & ~words[a + 1]!) ^ words[a]!
      return XT_CONTINUE
    case K.TARGET_CONNMARK:
      return connmark(w, ns, words, a, slot)
    case K.TARGET_NOTRACK:
      if (meta[m + M_CT] === 0) meta[m + M_CTINFO] = IP_CT_UNTRACKED
      return XT_CONTINUE
    case K.TARGET_DNAT:
    case K.TARGET_SNAT:
      range.flags = words[a]!
      range.minIp = words[a + 1]!
      range.maxIp = words[a + 2]!
      range.minPort = words[a + 3]!
      range.maxPort = words[a + 4]!
      range.basePort = words[a + 5]!
      return nfNatSetupInfo(
        w,
        ns,
        meta[m + M_CT]!,
        slot,
        range,
        words[t] === K.TARGET_DNAT ? NF_NAT_MANIP_DST : NF_NAT_MANIP_SRC,
      )
    case K.TARGET_MASQUERADE:
    case K.TARGET_REDIRECT:
      range.flags = words[a]!
      range.minIp = range.maxIp = 0
      range.minPort = words[a + 1]!
      range.maxPort = words[a + 2]!
      range.basePort = 0
      if (evalState.family === 6) return runTarget6(w, ns, words, t, slot, range)
      if (words[t] === K.TARGET_REDIRECT) return nfNatRedirectIpv4(w, ns, slot, range, evalState.hook)
      if (evalState.outDev === null) return NF_DROP
      return nfNatMasqueradeIpv4(w, ns, slot, range, evalState.outDev)
    case K.TARGET_NETMAP:
      return netmap(w, ns, words, a, slot)
    case K.TARGET_REJECT6:
    case K.TARGET_NETMAP6:
    case K.TARGET_HL:
      return runTarget6(w, ns, words, t, slot, range)
    case K.TARGET_TOS:
      if (evalState.family === 6) return runTarget6(w, ns, words, t, slot, range)
      changeDsfield(w, (w.arena.view.getUint8(evalState.nh + 1) & ~words[a + 1]!) ^ words[a]!)
      return XT_CONTINUE
    case K.TARGET_DSCP:
      if (evalState.family === 6) return runTarget6(w, ns, words, t, slot, range)
      changeDsfield(w, (w.arena.view.getUint8(evalState.nh + 1) & 3) | (words[a]! << 2))
      return XT_CONTINUE
    case K.TARGET_TTL:
      return changeTtl(w, words[a]!, words[a + 1]!)
    case K.TARGET_TCPMSS:
      w.impure = true
      if (tcpmssMangle(w, ns, slot, words[a]!)) return XT_CONTINUE
      w.dropReason = R_NF_DROP
      return NF_DROP
    case K.TARGET_SET:
      w.impure = true
      return changeSets(w, p, a, slot)
    case K.TARGET_CLASSIFY:
      meta[m + M_PRIORITY] = words[a]!
      return XT_CONTINUE
    case K.TARGET_CONTINUE:
      return XT_CONTINUE
    default:
      throw new Error(`unknown target kind ${words[t]}`)
  }
}

/** connmark_tg_shift */
function connmark(w: World, ns: Netns, words: Int32Array, a: number, slot: number): number {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const id = meta[m + M_CT]!
  const ct = ns.ct
  if (id === 0 || ct === null) return XT_CONTINUE
  const mode = words[a]!
  if (mode !== 2) w.impure = true
  const ctmark = words[a + 1]!
  const ctmask = words[a + 2]!
  const nfmask = words[a + 3]!
  const right = words[a + 4] === 1
  const bits = words[a + 5]!
  if (mode === 0) ct.setMark(id, shift((ct.mark(id) & ~ctmask) ^ ctmark, right, bits))
  else if (mode === 1) ct.setMark(id, (ct.mark(id) & ~ctmask) ^ shift(meta[m + M_MARK]! & nfmask, right, bits))
  else meta[m + M_MARK] = (meta[m + M_MARK]! & ~nfmask) ^ shift(ct.mark(id) & ctmask, right, bits)
  return XT_CONTINUE
}

function shift(v: number, right: boolean, bits: number): number {
  return right ? (v >>> bits) | 0 : v << bits
}

/** netmap_tg4 */
function netmap(w: World, ns: Netns, words: Int32Array, a: number, slot: number): number {
  const { hook, nh } = evalState
  const dst = hook === 0 || hook === 3
  const mask = words[a + 1]!
  const ip = (w.arena.view.getInt32(nh + (dst ? 16 : 12)) & ~mask) | (words[a]! & mask)
  range.flags = NF_NAT_RANGE_MAP_IPS
  range.minIp = range.maxIp = ip
  range.minPort = range.maxPort = range.basePort = 0
  const id = w.arena.meta[(slot << META_SHIFT) + M_CT]!
  return nfNatSetupInfo(w, ns, id, slot, range, dst ? NF_NAT_MANIP_DST : NF_NAT_MANIP_SRC)
}

/** ipv4_change_dsfield, only when the value changes */
function changeDsfield(w: World, tos: number): void {
  const view = w.arena.view
  const nh = evalState.nh
  const old = view.getUint8(nh + 1)
  if (old === tos) return
  let check = view.getUint16(nh + 10) + old
  if ((check + 1) >> 16 !== 0) check = (check + 1) & 0xffff
  check -= tos
  check += check >> 16
  view.setUint16(nh + 10, check & 0xffff)
  view.setUint8(nh + 1, tos)
}

/** ttl_tg */
function changeTtl(w: World, mode: number, value: number): number {
  const view = w.arena.view
  const nh = evalState.nh
  const old = view.getUint8(nh + 8)
  const ttl = mode === 0 ? value : mode === 1 ? Math.min(255, old + value) : Math.max(0, old - value)
  if (ttl === old) return XT_CONTINUE
  // csum_replace2, RFC 1624: HC' = ~(~HC + ~m + m')
  let sum = (~view.getUint16(nh + 10) & 0xffff) + (~(old << 8) & 0xffff) + (ttl << 8)
  sum = (sum & 0xffff) + (sum >>> 16)
  sum = (sum & 0xffff) + (sum >>> 16)
  view.setUint16(nh + 10, ~sum & 0xffff)
  view.setUint8(nh + 8, ttl)
  return XT_CONTINUE
}

/** set_target_v2 */
function changeSets(w: World, p: IptProgram, a: number, slot: number): number {
  const words = p.words
  const { nh, inDev, outDev } = evalState
  if (words[a]! >= 0) {
    const set = p.sets[words[a]!]!
    ipSetAddPacket(w, set, slot, nh, words[a + 1]!, words[a + 2]!, words[a + 6]!, words[a + 7] === 1, inDev, outDev)
  }
  if (words[a + 3]! >= 0) {
    ipSetDelPacket(w, p.sets[words[a + 3]!]!, slot, nh, words[a + 4]!, words[a + 5]!, inDev, outDev)
  }
  return XT_CONTINUE
}
