/**
 * nft_do_chain: walks a base chain and the chains that it jumps to.
 *
 * Linux: net/netfilter/nf_tables_core.c (nft_do_chain), nft_{payload,meta,ct,cmp,range,bitwise,lookup,dynset,numgen,hash,
 * counter,limit,quota,nat,masq,redir,reject,fib}.c. A rule whose expression does not match (NFT_BREAK) is left; registers
 * are one scratch array for the process: a walk ends with the first packet that its rule makes. An element's own counters
 * and limits run when it is found (nft_set_elem_update_expr).
 */
import {
  M_CT,
  M_CTINFO,
  M_DATA,
  M_LEN,
  M_MAC,
  M_MARK,
  M_NH,
  M_PRIORITY,
  META_SHIFT,
  VLAN_TAG_8021AD,
} from '../../../packet/layout.ts'
import type { NetDevice } from '../../device/device.ts'
import { exthdr, IP6_FH_F_AUTH, ipv6FindHdr } from '../../ipv6/exthdrs-core.ts'
import type { Netns } from '../../netns.ts'
import { R_NF_DROP, R_NF_POLICY, R_UNMODELLED } from '../../reasons.ts'
import { T_NF_MISS, T_NF_POLICY, T_NF_RULE } from '../../trace.ts'
import type { World } from '../../world.ts'
import { IP_CT_UNTRACKED, NF_ACCEPT, NF_DROP } from '../conntrack/layout.ts'
import { evalState } from '../iptables/eval-state.ts'
import { rejectPacket } from '../iptables/reject.ts'
import { rejectPacket6 } from '../iptables/reject6.ts'
import { type ChainProgram, type NumgenState, programOf } from './compile.ts'
import { loadCt, loadFib, loadMeta, setCtMark } from './eval-load.ts'
import { natStatement } from './eval-nat.ts'
import { dynset, updateElement } from './eval-set.ts'
import { jhash, reciprocalScale, symhash } from './jhash.ts'
import * as O from './ops.ts'
import { setPayload } from './payload-set.ts'
import { regs } from './registers.ts'
import type { CounterState, LimitState, NftChain, NftObject, NftRule, QuotaState } from './state.ts'

const NFT_CONTINUE = -1
const NFT_JUMP = -3
const NFT_GOTO = -4
const NFT_RETURN = -5
const XT_CONTINUE = -1

/** NFT_JUMP_STACK_SIZE */
const STACK = 16
const stackChain: (NftChain | null)[] = new Array<NftChain | null>(STACK).fill(null)
const stackPc = new Int32Array(STACK)

/** Walks a base chain. @returns NF_ACCEPT, or NF_DROP with w.dropReason */
export function nftDoChain(
  w: World,
  ns: Netns,
  base: NftChain,
  hook: number,
  slot: number,
  inDev: NetDevice | null,
  outDev: NetDevice | null,
): number {
  const { view, meta } = w.arena
  const m = slot << META_SHIFT
  const s = evalState
  const nh = meta[m + M_DATA]!
  meta[m + M_NH] = nh
  s.pf = 0
  s.hook = hook
  s.inDev = inDev
  s.outDev = outDev
  s.nh = nh
  s.len = meta[m + M_LEN]!
  s.end = nh + meta[m + M_LEN]!
  if (view.getUint8(nh) >>> 4 === 6) setPktinfo6(w, slot)
  else {
    s.family = 4
    s.th = nh + (view.getUint8(nh) & 15) * 4
    s.fragOff = view.getUint16(nh + 6) & 0x1fff
    s.proto = view.getUint8(nh + 9)
  }
  return walk(w, ns, base, slot)
}

/**
 * Walks a base chain of family arp, bridge or netdev, or an ingress chain of inet. M_DATA and M_NH stand behind the link
 * header.
 * @param pf NFPROTO_* of the hook; @param family 4 or 6 when there is a sound IP header, 0 else; @param extra bytes before
 * M_DATA that count as the packet's
 */
export function nftDoLinkChain(
  w: World,
  ns: Netns,
  base: NftChain,
  pf: number,
  hook: number,
  slot: number,
  inDev: NetDevice | null,
  outDev: NetDevice | null,
  family: 0 | 4 | 6,
  extra: number,
): number {
  const { view, meta } = w.arena
  const m = slot << META_SHIFT
  const s = evalState
  const nh = meta[m + M_NH]!
  s.pf = pf
  s.hook = hook
  s.inDev = inDev
  s.outDev = outDev
  s.nh = nh
  s.end = meta[m + M_DATA]! + meta[m + M_LEN]!
  s.len = meta[m + M_LEN]! + extra
  s.family = family
  s.proto = -1
  s.fragOff = 1
  if (family === 6) setPktinfo6(w, slot)
  else if (family === 4) {
    s.th = nh + (view.getUint8(nh) & 15) * 4
    s.fragOff = view.getUint16(nh + 6) & 0x1fff
    s.proto = view.getUint8(nh + 9)
  }
  return walk(w, ns, base, slot)
}

/** nft_do_chain: evalState holds the packet (struct nft_pktinfo). */
function walk(w: World, ns: Netns, base: NftChain, slot: number): number {
  const { view, meta } = w.arena
  const m = slot << META_SHIFT
  const s = evalState
  s.hotdrop = false
  s.unmodelled = ''
  const nft = ns.nft!
  let chain = base
  let p: ChainProgram = programOf(chain)
  let code = p.code
  let depth = 0
  let pc = 0
  let next = 0
  let rule = -1
  for (;;) {
    let matched = true
    switch (code[pc]) {
      case O.OP_RULE:
        if (w.tracer !== null && rule >= 0) traceRule(w, ns, p.rules[rule]!, slot, XT_CONTINUE, rule)
        rule = code[pc + 1]!
        next = code[pc + 2]!
        pc += 3
        continue
      case O.OP_END: {
        if (w.tracer !== null && rule >= 0) traceRule(w, ns, p.rules[rule]!, slot, XT_CONTINUE, rule)
        rule = -1
        if (depth === 0) return policy(w, ns, base, slot)
        depth--
        chain = stackChain[depth]!
        p = programOf(chain)
        code = p.code
        pc = stackPc[depth]!
        continue
      }
      case O.OP_LOAD: {
        const at = baseOffset(code[pc + 2]!, w, m) + code[pc + 3]!
        const bytes = code[pc + 4]!
        if (code[pc + 2] === 0 && w.arena.vlan[slot] !== 0 && code[pc + 3]! + bytes > 12) {
          matched = loadTagged(w, slot, code, pc)
          if (!matched) break
          pc += 7
          continue
        }
        if (at < 0 || at + bytes > s.end) {
          matched = false
          break
        }
        let v: number
        if (bytes === 4) v = view.getInt32(at)
        else if (bytes === 2) v = view.getUint16(at)
        else if (bytes === 1) v = view.getUint8(at)
        else v = (view.getUint16(at) << 8) | view.getUint8(at + 2)
        regs[code[pc + 1]!] = (v >>> code[pc + 5]!) & code[pc + 6]!
        pc += 7
        continue
      }
      case O.OP_LOADN:
        matched = loadWide(w, m, code, pc)
        if (!matched) break
        pc += 6
        continue
      case O.OP_EXTHDR:
        matched = loadExthdr(w, slot, code, pc)
        if (!matched) break
        pc += 7
        continue
      case O.OP_EXTHDR_PRESENT:
        regs[code[pc + 1]!] = s.family === 6 && ipv6FindHdr(w, slot, code[pc + 2]!, 0) >= 0 ? 1 : 0
        pc += 3
        continue
      case O.OP_META:
        matched = loadMeta(w, slot, code[pc + 1]!, code[pc + 2]!)
        if (!matched) break
        pc += 3
        continue
      case O.OP_CT:
        matched = loadCt(w, ns, slot, code[pc + 1]!, code[pc + 2]!, code[pc + 3]!)
        if (!matched) break
        pc += 4
        continue
      case O.OP_FIB:
        matched = loadFib(w, ns, slot, code[pc + 1]!, code[pc + 2]!, code[pc + 3]!)
        if (!matched) break
        pc += 4
        continue
      case O.OP_NUMGEN:
        regs[code[pc + 1]!] = numgen(
          w,
          p.states[code[pc + 2]!] as NumgenState,
          code[pc + 3]!,
          code[pc + 4]!,
          code[pc + 5]!,
        )
        pc += 6
        continue
      case O.OP_JHASH: {
        const fields = code[pc + 6]!
        const h = jhash(code[pc + 2]!, code, pc + 7, fields, code[pc + 3]!)
        regs[code[pc + 1]!] = reciprocalScale(h, code[pc + 4]!) + code[pc + 5]!
        pc += 7 + fields * 2
        continue
      }
      case O.OP_SYMHASH:
        regs[code[pc + 1]!] = reciprocalScale(symhash(w), code[pc + 2]!) + code[pc + 3]!
        pc += 4
        continue
      case O.OP_BITWISE:
        regs[code[pc + 1]!] = (regs[code[pc + 1]!]! & code[pc + 2]!) ^ code[pc + 3]!
        pc += 4
        continue
      case O.OP_SHIFT: {
        const r = code[pc + 1]!
        regs[r] = code[pc + 2] === 1 ? regs[r]! << code[pc + 3]! : regs[r]! >>> code[pc + 3]!
        pc += 4
        continue
      }
      case O.OP_BITOP: {
        const r = code[pc + 1]!
        const other = regs[code[pc + 3]!]!
        const op = code[pc + 2]
        regs[r] = op === 0 ? regs[r]! & other : op === 1 ? regs[r]! | other : op === 2 ? regs[r]! ^ other : other
        pc += 4
        continue
      }
      case O.OP_CMP: {
        const v = regs[code[pc + 1]!]!
        const k = code[pc + 3]!
        const op = code[pc + 2]
        matched = op === O.CMP_EQ ? v === k : op === O.CMP_NEQ ? v !== k : order((v >>> 0) - (k >>> 0), op!)
        if (!matched) break
        pc += 4
        continue
      }
      case O.OP_CMPN: {
        const n = code[pc + 3]!
        const d = compare(code[pc + 1]!, code, pc + 4, n)
        const op = code[pc + 2]
        matched = op === O.CMP_EQ ? d === 0 : op === O.CMP_NEQ ? d !== 0 : order(d, op!)
        if (!matched) break
        pc += 4 + n
        continue
      }
      case O.OP_RANGE: {
        const n = code[pc + 3]!
        const r = code[pc + 1]!
        const inside = compare(r, code, pc + 4, n) >= 0 && compare(r, code, pc + 4 + n, n) <= 0
        matched = inside === (code[pc + 2] === 0)
        if (!matched) break
        pc += 4 + 2 * n
        continue
      }
      case O.OP_NAME:
        matched = namePrefix(code, pc) === (code[pc + 2] === 0)
        if (!matched) break
        pc += 8
        continue
      case O.OP_ANY:
        matched = ((regs[code[pc + 1]!]! & code[pc + 2]!) !== 0) === (code[pc + 3] === 0)
        if (!matched) break
        pc += 4
        continue
      case O.OP_LOOKUP: {
        const set = p.sets[code[pc + 1]!]!
        const row = set.store.lookup(regs, code[pc + 2]!, w.nowNs)
        matched = row >= 0 === (code[pc + 3] === 0)
        if (matched && row >= 0 && set.store.extra[row] != null) matched = updateElement(w, set, row, s.len)
        if (!matched) break
        pc += 4
        continue
      }
      case O.OP_MAP: {
        const store = p.sets[code[pc + 1]!]!.store
        const row = store.lookup(regs, code[pc + 2]!, w.nowNs)
        matched = row >= 0
        if (!matched) break
        const dst = code[pc + 3]!
        for (let i = 0; i < store.dataWords; i++) regs[dst + i] = store.data[row * store.dataWords + i]!
        pc += 4
        continue
      }
      case O.OP_COUNTER: {
        const c = p.states[code[pc + 1]!] as CounterState
        c.packets++
        c.bytes += s.len
        pc += 2
        continue
      }
      case O.OP_LIMIT:
        matched = (p.states[code[pc + 1]!] as LimitState).pass(w.nowNs, s.len)
        if (!matched) break
        pc += 2
        continue
      case O.OP_QUOTA: {
        const q = p.states[code[pc + 1]!] as QuotaState
        q.consumed += s.len
        // nft_overquota: at the quota is over it
        matched = q.consumed >= code[pc + 2]! === (code[pc + 3] === 1)
        if (!matched) break
        pc += 4
        continue
      }
      case O.OP_OBJMAP: {
        const set = p.sets[code[pc + 1]!]!
        const row = set.store.lookup(regs, code[pc + 2]!, w.nowNs)
        matched = row >= 0 && runObject(w, chain, set.store.data[row * set.store.dataWords]!, s.len)
        if (!matched) break
        pc += 3
        continue
      }
      case O.OP_IMM:
        regs[code[pc + 1]!] = code[pc + 2]!
        pc += 3
        continue
      case O.OP_LOG:
        pc += 1
        continue
      case O.OP_NOTRACK:
        if (meta[m + M_CT] === 0) meta[m + M_CTINFO] = IP_CT_UNTRACKED
        pc += 1
        continue
      case O.OP_META_SET:
        if (code[pc + 1] === O.META_NUMBERS.mark) meta[m + M_MARK] = regs[code[pc + 2]!]!
        else if (code[pc + 1] === O.META_NUMBERS.priority) meta[m + M_PRIORITY] = regs[code[pc + 2]!]!
        pc += 3
        continue
      case O.OP_CT_SET:
        setCtMark(w, ns, slot, regs[code[pc + 2]!]!)
        pc += 3
        continue
      case O.OP_PAYLOAD_SET:
        matched = setPayload(w, code, pc)
        if (!matched) break
        pc += 7
        continue
      case O.OP_DYNSET:
        matched = dynset(w, p, code, pc, s.len)
        if (!matched) break
        pc += 7
        continue
      case O.OP_NAT: {
        if (w.tracer !== null) traceRule(w, ns, p.rules[rule]!, slot, NF_ACCEPT, rule)
        const family = code[pc + 7]!
        if (family !== 0 && family !== s.family) {
          pc += 8
          continue
        }
        return natStatement(w, ns, slot, code, pc)
      }
      case O.OP_REJECT: {
        const kind = s.family === 6 ? code[pc + 2]! : code[pc + 1]!
        if (s.pf !== 0) {
          s.unmodelled = 'nft reject in family bridge or netdev'
          w.dropReason = R_UNMODELLED
          w.dropWhat = s.unmodelled
          return NF_DROP
        }
        if (kind < 0) {
          matched = false
          break
        }
        if (w.tracer !== null) traceRule(w, ns, p.rules[rule]!, slot, NF_DROP, rule)
        return s.family === 6 ? rejectPacket6(w, ns, slot, kind) : rejectPacket(w, ns, slot, kind)
      }
      case O.OP_UNMODELLED:
        s.unmodelled = p.names[code[pc + 1]!]!
        w.dropReason = R_UNMODELLED
        w.dropWhat = s.unmodelled
        if (w.tracer !== null) traceRule(w, ns, p.rules[rule]!, slot, NF_DROP, rule)
        return NF_DROP
      case O.OP_NEVER:
        matched = false
        break
      case O.OP_VMAP:
      case O.OP_VERDICT: {
        let verdict = code[pc + 1]!
        let target = code[pc + 2]!
        if (code[pc] === O.OP_VMAP) {
          const set = p.sets[code[pc + 1]!]!
          const row = set.store.lookup(regs, code[pc + 2]!, w.nowNs)
          matched = row >= 0 && (set.store.extra[row] == null || updateElement(w, set, row, s.len))
          if (!matched) break
          verdict = set.store.data[row * 2]!
          target = set.store.data[row * 2 + 1]!
        }
        pc += 3
        if (verdict === NFT_CONTINUE) continue
        if (w.tracer !== null)
          traceRule(
            w,
            ns,
            p.rules[rule]!,
            slot,
            verdict === NFT_RETURN ? NFT_RETURN : verdict < 0 ? XT_CONTINUE : verdict,
            rule,
          )
        rule = -1
        if (verdict === NF_ACCEPT) return NF_ACCEPT
        if (verdict === NF_DROP) {
          w.dropReason = R_NF_DROP
          return NF_DROP
        }
        if (verdict === NFT_RETURN) {
          if (depth === 0) return policy(w, ns, base, slot)
          depth--
          chain = stackChain[depth]!
          pc = stackPc[depth]!
        } else {
          if (verdict === NFT_JUMP) {
            if (depth >= STACK) {
              w.dropReason = R_NF_DROP
              return NF_DROP
            }
            stackChain[depth] = chain
            stackPc[depth++] = next
          } else if (verdict !== NFT_GOTO) throw new Error(`unknown verdict ${verdict}`)
          chain = nft.chains[target]!
          pc = 0
        }
        p = programOf(chain)
        code = p.code
        continue
      }
      default:
        throw new Error(`unknown nftables operation ${code[pc]}`)
    }
    // NFT_BREAK
    if (w.tracer?.wantMisses) traceMiss(w, ns, p.rules[rule]!, slot, rule)
    rule = -1
    pc = next
  }
}

/** nft_set_pktinfo_ipv6 */
function setPktinfo6(w: World, slot: number): void {
  const s = evalState
  s.family = 6
  s.proto = ipv6FindHdr(w, slot, -1, IP6_FH_F_AUTH)
  s.fragOff = exthdr.fragOff
  s.th = exthdr.offset
  if (s.proto >= 0) return
  // nft_set_pktinfo_unspec: there is no transport header to ask
  s.proto = -1
  s.fragOff = 1
}

/** nft_payload_copy_vlan: the tag that stands beside the frame is read as if it stood in it. */
function loadTagged(w: World, slot: number, code: Int32Array, pc: number): boolean {
  const a = w.arena
  const mac = a.meta[(slot << META_SHIFT) + M_MAC]!
  if (mac < 0 || mac >= evalState.nh) return false
  const tag = a.vlan[slot]!
  const first = code[pc + 3]!
  const bytes = code[pc + 4]!
  let v = 0
  for (let i = first; i < first + bytes; i++) {
    let byte: number
    if (i < 12) byte = a.view.getUint8(mac + i)
    else if (i < 14) byte = (((tag & VLAN_TAG_8021AD) !== 0 ? 0x88a8 : 0x8100) >>> (i === 12 ? 8 : 0)) & 255
    else if (i < 16) byte = (tag >>> (i === 14 ? 8 : 0)) & 255
    else if (mac + i - 4 < evalState.end) byte = a.view.getUint8(mac + i - 4)
    else return false
    v = (v << 8) | byte
  }
  regs[code[pc + 1]!] = (v >>> code[pc + 5]!) & code[pc + 6]!
  return true
}

/** nft_exthdr_ipv6_eval */
function loadExthdr(w: World, slot: number, code: Int32Array, pc: number): boolean {
  if (evalState.family !== 6 || ipv6FindHdr(w, slot, code[pc + 2]!, 0) < 0) return false
  const at = exthdr.offset + code[pc + 3]!
  const bytes = code[pc + 4]!
  if (at + bytes > evalState.end) return false
  const view = w.arena.view
  let v = 0
  for (let i = 0; i < bytes; i++) v = (v << 8) | view.getUint8(at + i)
  regs[code[pc + 1]!] = (v >>> code[pc + 5]!) & code[pc + 6]!
  return true
}

function policy(w: World, ns: Netns, base: NftChain, slot: number): number {
  const verdict = base.policy === 'drop' ? NF_DROP : NF_ACCEPT
  if (w.tracer !== null) {
    w.tracer.step(T_NF_POLICY, slot, ns, evalState.inDev ?? evalState.outDev, evalState.hook, 0, verdict, base)
  }
  if (verdict === NF_DROP) w.dropReason = R_NF_POLICY
  return verdict
}

/** Absolute offset of a header; negative where the packet has none. */
function baseOffset(base: number, w: World, m: number): number {
  const s = evalState
  if (base === 1) return s.nh
  if (base === 2) return s.fragOff !== 0 ? -65536 : s.th
  const mac = w.arena.meta[m + M_MAC]!
  return mac < 0 || mac >= s.nh ? -65536 : mac
}

function loadWide(w: World, m: number, code: Int32Array, pc: number): boolean {
  const view = w.arena.view
  const at = baseOffset(code[pc + 2]!, w, m) + code[pc + 3]!
  const bytes = code[pc + 4]!
  const words = code[pc + 5]!
  const dst = code[pc + 1]!
  if (at < 0 || at + bytes > evalState.end) return false
  let read = bytes - (words - 1) * 4
  let v = 0
  for (let i = 0; i < read; i++) v = (v << 8) | view.getUint8(at + i)
  regs[dst] = v
  for (let i = 1; i < words; i++, read += 4) regs[dst + i] = view.getInt32(at + read)
  return true
}

function numgen(w: World, s: NumgenState, mod: number, offset: number, random: number): number {
  if (random === 1) return w.random.below(mod) + offset
  s.value = s.value + 1 < mod ? s.value + 1 : 0
  return s.value + offset
}

function order(d: number, op: number): boolean {
  return op === O.CMP_LT ? d < 0 : op === O.CMP_LTE ? d <= 0 : op === O.CMP_GT ? d > 0 : d >= 0
}

function compare(reg: number, code: Int32Array, at: number, n: number): number {
  for (let i = 0; i < n; i++) {
    const d = (regs[reg + i]! >>> 0) - (code[at + i]! >>> 0)
    if (d !== 0) return d
  }
  return 0
}

/** The first bytes of a name. */
function namePrefix(code: Int32Array, pc: number): boolean {
  const r = code[pc + 1]!
  let left = code[pc + 3]!
  for (let i = 0; left > 0; i++, left -= 4) {
    const mask = left >= 4 ? -1 : -1 << (32 - left * 8)
    if (((regs[r + i]! ^ code[pc + 4 + i]!) & mask) !== 0) return false
  }
  return true
}

/** The object that a map names by its handle. */
function runObject(w: World, chain: NftChain, handle: number, lenBytes: number): boolean {
  for (const o of chain.table.objects.values()) if (o.handle === handle) return runState(w, o, lenBytes)
  return false
}

function runState(w: World, o: NftObject, lenBytes: number): boolean {
  if (o.type === 'counter') {
    const c = o.state as CounterState
    c.packets++
    c.bytes += lenBytes
    return true
  }
  if (o.type === 'limit') return (o.state as LimitState).pass(w.nowNs, lenBytes)
  const s = o.spec.stmt
  if (o.type !== 'quota' || s?.k !== 'quota') return true
  const q = o.state as QuotaState
  q.consumed += lenBytes
  return q.consumed >= s.bytes === s.over
}

function traceRule(w: World, ns: Netns, rule: NftRule, slot: number, verdict: number, index: number): void {
  const s = evalState
  w.tracer!.step(T_NF_RULE, slot, ns, s.inDev ?? s.outDev, s.hook, index + 1, verdict, rule)
}

function traceMiss(w: World, ns: Netns, rule: NftRule, slot: number, index: number): void {
  const s = evalState
  w.tracer!.step(T_NF_MISS, slot, ns, s.inDev ?? s.outDev, s.hook, index + 1, XT_CONTINUE, rule)
}
