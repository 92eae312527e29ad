/**
 * ipt_do_table: walks a table's rules for a packet.
 *
 * Linux: net/ipv4/netfilter/ip_tables.c (ipt_do_table, ip_packet_match), net/ipv6/netfilter/ip6_tables.c (ip6t_do_table,
 * ip6_packet_match). Calls of user chains keep a stack of rule numbers;
 * RETURN in a base chain, or after a goto from one, goes to the policy. A bad packet (hotdrop) is dropped. A rule that is
 * not modelled ends the packet as UNMODELLED: it is never let through.
 */
import { M_CT, M_CTINFO, M_DATA, M_LEN, M_MARK, M_NH, META_SHIFT } from '../../../packet/layout.ts'
import type { NetDevice } from '../../device/device.ts'
import { exthdr, ipv6FindHdr } from '../../ipv6/exthdrs-core.ts'
import type { Netns } from '../../netns.ts'
import { R_L4_HDR, R_NF_DROP, R_NF_POLICY, R_UNMODELLED } from '../../reasons.ts'
import { T_NF_MISS, T_NF_POLICY, T_NF_RULE } from '../../trace.ts'
import type { World } from '../../world.ts'
import { evalState } from './eval-state.ts'
import {
  TARGET_DNAT,
  TARGET_JUMP,
  TARGET_MASQUERADE,
  TARGET_NETMAP,
  TARGET_NETMAP6,
  TARGET_NONE,
  TARGET_POLICY,
  TARGET_REDIRECT,
  TARGET_REJECT,
  TARGET_REJECT6,
  TARGET_RETURN,
  TARGET_SNAT,
  TARGET_UNMODELLED,
  TARGET_VERDICT,
} from './kinds.ts'
import { matchPacket } from './match.ts'
import {
  E_DMASK,
  E_DST,
  E_FLAGS,
  E_IN,
  E_MATCH,
  E_OUT,
  E_PROTO,
  E_QMASK,
  E_QUICK,
  E_QVALUE,
  E_RUN,
  E_RUN_END,
  E_SMASK,
  E_SRC,
  E_TARGET,
  ENTRY_ANY,
  ENTRY_FRAG,
  ENTRY_WORDS,
  type IptProgram,
  runHash,
} from './program.ts'
import { ctStateBit, QUICK_ALWAYS, QUICK_CTSTATE, QUICK_MARK, QUICK_NO } from './quick-rule.ts'
import type { IptTable } from './tables.ts'
import { runTarget } from './target.ts'
import { INV_DSTIP, INV_FRAG, INV_PROTO, INV_SRCIP, INV_VIA_IN, INV_VIA_OUT } from './types.ts'

const NF_DROP = 0
const NF_ACCEPT = 1
/** `c` of T_NF_RULE when the walk goes on: XT_CONTINUE and XT_RETURN. */
export const XT_CONTINUE = -1
export const XT_RETURN = -5

/** Depth of nested user chains: more than the loop check lets a ruleset have is our bug. */
const STACK_WORDS = 4096
const stack = new Int32Array(STACK_WORDS)

/** Test switch: false walks every rule (the judge of the hash index). */
export const iptOptions = { useIndex: true }

/**
 * Walks `table` at `hook`. @returns NF_ACCEPT or NF_DROP (with w.dropReason), or what a target returned. The packet is not
 * freed here.
 */
export function iptDoTable(
  w: World,
  ns: Netns,
  table: IptTable,
  hook: number,
  slot: number,
  inDev: NetDevice | null,
  outDev: NetDevice | null,
): number {
  const p = table.program
  const meta = w.arena.meta
  const view = w.arena.view
  const m = slot << META_SHIFT
  const s = evalState
  const nh = meta[m + M_NH]!
  const first = p.hookEntry[hook]!
  if (first < 0) return NF_ACCEPT
  const length = meta[m + M_DATA]! + meta[m + M_LEN]! - nh
  const { entries, words } = p
  let depth = 0
  let i = first
  if (w.tracer === null) {
    // the rules that only ask for the connection's state or the mark (quick-rule.ts), up to the first other one
    const bit = ctStateBit(meta[m + M_CT]!, meta[m + M_CTINFO]!)
    const mark = meta[m + M_MARK]!
    for (;;) {
      const e = i * ENTRY_WORDS
      const quick = entries[e + E_QUICK]!
      if (quick === QUICK_NO) break
      if (quick === QUICK_CTSTATE) {
        if ((entries[e + E_QMASK]! & bit) === 0) {
          i++
          continue
        }
      } else if (quick !== QUICK_ALWAYS) {
        if (((mark & entries[e + E_QMASK]!) === entries[e + E_QVALUE]!) !== (quick === QUICK_MARK)) {
          i++
          continue
        }
      }
      p.packets[i]! += 1
      p.bytes[i]! += length
      const t = entries[e + E_TARGET]!
      const target = words[t]!
      if (target === TARGET_JUMP) {
        if (words[t + 3] === 0) {
          if (depth >= STACK_WORDS) {
            w.dropReason = R_NF_DROP
            return NF_DROP
          }
          stack[depth++] = i
        }
        i = words[t + 2]!
      } else if (target === TARGET_NONE) i++
      else if (target === TARGET_RETURN) i = depth === 0 ? p.underflow[hook]! : stack[--depth]! + 1
      else {
        const verdict = words[t + 2]!
        if (verdict === NF_DROP) w.dropReason = target === TARGET_POLICY ? R_NF_POLICY : R_NF_DROP
        return verdict
      }
    }
  }
  s.hook = hook
  s.inDev = inDev
  s.outDev = outDev
  s.nh = nh
  s.end = meta[m + M_DATA]! + meta[m + M_LEN]!
  s.hotdrop = false
  s.unmodelled = ''
  const ipv6 = table.owner.family === 6
  if (ipv6) findTransport6(w, slot)
  else {
    s.family = 4
    s.th = nh + (view.getUint8(nh) & 15) * 4
    s.fragOff = view.getUint16(nh + 6) & 0x1fff
    s.proto = view.getUint8(nh + 9)
  }
  const proto = s.proto
  const inRow = p.interfaceRow(inDev === null ? -1 : inDev.id, inDev === null ? '' : inDev.name)
  const outRow = p.interfaceRow(outDev === null ? -1 : outDev.id, outDev === null ? '' : outDev.name)
  const indexed = iptOptions.useIndex && s.fragOff === 0 && s.end - s.th >= (proto === 6 ? 20 : 8)
  const misses = w.tracer?.wantMisses === true
  const src = ipv6 ? w.in6.read(view, nh + 8) : view.getInt32(nh + 12)
  const dst = ipv6 ? w.in6.read(view, nh + 24) : view.getInt32(nh + 16)
  for (;;) {
    const e = i * ENTRY_WORDS
    if (entries[e + E_RUN_END] !== 0 && indexed && !misses) {
      const next = findInRun(
        p,
        i,
        entries[e + E_RUN]!,
        entries[e + E_RUN_END]!,
        dst,
        (proto << 16) | view.getUint16(s.th + 2),
      )
      if (next !== i) {
        i = next
        if (entries[i * ENTRY_WORDS + E_RUN_END] !== entries[e + E_RUN_END]) continue
      }
    } else if (
      ((dst & entries[e + E_DMASK]!) !== entries[e + E_DST]!) !== ((entries[e + E_FLAGS]! & INV_DSTIP) !== 0) ||
      ((src & entries[e + E_SMASK]!) !== entries[e + E_SRC]!) !== ((entries[e + E_FLAGS]! & INV_SRCIP) !== 0) ||
      !matchEntry(w, ns, p, e, slot, proto, inRow, outRow)
    ) {
      if (s.hotdrop) return hotdrop(w, ns, p, i, slot)
      if (misses) trace(w, ns, p, i, slot, T_NF_MISS, XT_CONTINUE)
      i++
      continue
    }
    p.packets[i]! += 1
    p.bytes[i]! += s.end - s.nh
    if (w.recorder !== null) w.recorder.rule(p, i, s.end - s.nh)
    const t = entries[i * ENTRY_WORDS + E_TARGET]!
    switch (words[t]) {
      case TARGET_JUMP:
        if (w.tracer !== null) trace(w, ns, p, i, slot, T_NF_RULE, XT_CONTINUE)
        if (words[t + 3] === 0) {
          if (depth >= STACK_WORDS) {
            w.dropReason = R_NF_DROP
            return NF_DROP
          }
          stack[depth++] = i
        }
        i = words[t + 2]!
        continue
      case TARGET_NONE:
        i++
        continue
      case TARGET_RETURN:
        if (w.tracer !== null && p.isRule(i)) trace(w, ns, p, i, slot, T_NF_RULE, XT_RETURN)
        i = depth === 0 ? p.underflow[hook]! : stack[--depth]! + 1
        continue
      case TARGET_VERDICT:
        if (w.tracer !== null) trace(w, ns, p, i, slot, T_NF_RULE, words[t + 2]!)
        if (words[t + 2] === NF_DROP) w.dropReason = R_NF_DROP
        return words[t + 2]!
      case TARGET_POLICY:
        if (w.tracer !== null) trace(w, ns, p, i, slot, T_NF_POLICY, words[t + 2]!)
        if (words[t + 2] === NF_DROP) w.dropReason = R_NF_POLICY
        return words[t + 2]!
      case TARGET_UNMODELLED:
        s.unmodelled = p.names[words[t + 2]!]!
        return hotdrop(w, ns, p, i, slot)
      default: {
        if (w.tracer !== null) trace(w, ns, p, i, slot, T_NF_RULE, targetVerdict(words[t]!))
        const verdict = runTarget(w, ns, p, t, slot)
        if (verdict !== XT_CONTINUE) return verdict
        // a target may have moved the packet (TCPMSS)
        s.end = meta[m + M_DATA]! + meta[m + M_LEN]!
        i++
      }
    }
  }
}

/** ipv6_find_hdr(-1) into evalState: the transport header of an IPv6 packet. */
export function findTransport6(w: World, slot: number): void {
  const s = evalState
  s.family = 6
  s.proto = ipv6FindHdr(w, slot, -1, 0)
  s.fragOff = exthdr.fragOff
  s.th = exthdr.offset
  if (s.proto < 0) {
    s.proto = -1
    s.th = s.end
  }
}

/** ip_packet_match without the addresses, then the rule's matches in order. */
function matchEntry(
  w: World,
  ns: Netns,
  p: IptProgram,
  e: number,
  slot: number,
  proto: number,
  inRow: Uint8Array,
  outRow: Uint8Array,
): boolean {
  const entries = p.entries
  const flags = entries[e + E_FLAGS]!
  if ((flags & ENTRY_ANY) === 0 && !matchHeader(entries, e, flags, proto, inRow, outRow)) return false
  const target = entries[e + E_TARGET]!
  let at = entries[e + E_MATCH]!
  while (at < target) {
    if (!matchPacket(w, ns, p, at, slot)) return false
    at += p.words[at + 1]!
  }
  return true
}

/** The rest of ip_packet_match: interfaces, protocol, fragments. */
function matchHeader(
  entries: Int32Array,
  e: number,
  flags: number,
  proto: number,
  inRow: Uint8Array,
  outRow: Uint8Array,
): boolean {
  const inPattern = entries[e + E_IN]!
  if (inPattern >= 0 || (flags & INV_VIA_IN) !== 0) {
    if ((inPattern < 0 || inRow[inPattern] === 1) === ((flags & INV_VIA_IN) !== 0)) return false
  }
  const outPattern = entries[e + E_OUT]!
  if (outPattern >= 0 || (flags & INV_VIA_OUT) !== 0) {
    if ((outPattern < 0 || outRow[outPattern] === 1) === ((flags & INV_VIA_OUT) !== 0)) return false
  }
  const want = entries[e + E_PROTO]!
  if (proto < 0 && want !== 0) {
    // ip6_packet_match: headers that lead nowhere, other than those of a later fragment
    if (evalState.fragOff === 0) evalState.hotdrop = true
    return false
  }
  if (want !== 0 && (want !== proto) !== ((flags & INV_PROTO) !== 0)) return false
  return !((flags & ENTRY_FRAG) !== 0 && (evalState.fragOff !== 0) === ((flags & INV_FRAG) !== 0))
}

/** First rule at or after `i` in its run that has the packet's key; the run's end when there is none. */
function findInRun(p: IptProgram, i: number, base: number, end: number, dst: number, key: number): number {
  const hash = p.hash
  const mask = hash[base]!
  let slot = runHash(dst, key) & mask
  for (;;) {
    const at = base + 1 + slot * 3
    let rule = hash[at + 2]!
    if (rule < 0) return end
    if (hash[at] === dst && hash[at + 1] === key) {
      while (rule >= 0 && rule < i) rule = p.nextSame[rule]!
      return rule < 0 ? end : rule
    }
    slot = (slot + 1) & mask
  }
}

function hotdrop(w: World, ns: Netns, p: IptProgram, i: number, slot: number): number {
  if (evalState.unmodelled !== '') {
    w.dropReason = R_UNMODELLED
    w.dropWhat = evalState.unmodelled
  } else w.dropReason = R_L4_HDR
  if (w.tracer !== null) trace(w, ns, p, i, slot, T_NF_RULE, NF_DROP)
  return NF_DROP
}

/** What T_NF_RULE says about an extension target before it runs. */
function targetVerdict(kind: number): number {
  if (kind === TARGET_REJECT || kind === TARGET_REJECT6) return NF_DROP
  if (kind === TARGET_DNAT || kind === TARGET_SNAT || kind === TARGET_MASQUERADE) return NF_ACCEPT
  return kind === TARGET_REDIRECT || kind === TARGET_NETMAP || kind === TARGET_NETMAP6 ? NF_ACCEPT : XT_CONTINUE
}

function trace(w: World, ns: Netns, p: IptProgram, i: number, slot: number, point: number, verdict: number): void {
  const s = evalState
  const ref = p.refs[i]!
  w.tracer!.step(point, slot, ns, s.inDev ?? s.outDev, s.hook, p.isRule(i) ? p.indexOf(i) : 0, verdict, ref)
}
