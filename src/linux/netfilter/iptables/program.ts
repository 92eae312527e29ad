/**
 * A table compiled for evaluation: rules in one flat array, chains one after the other, matches and targets as words.
 *
 * Linux: struct xt_table_info, a flat blob per CPU walked by offsets (net/ipv4/netfilter/ip_tables.c). Beyond Linux: runs
 * of rules that differ only in (destination /32, protocol, destination port) are indexed by a hash, as in KUBE-SERVICES
 * of a large cluster; a packet then jumps to the first rule of the run that can match, and the rule index, the counters
 * and the trace stay what a linear walk gives.
 *
 * Entry layout (ENTRY_WORDS int32 per rule):
 *   src smask dst dmask | in out proto flags | match start, target start | run end, run number | quick-rule.ts: kind,
 *   mask, value | unused
 */
import type { Ipv6Words } from '../../../addr/ipv6.ts'
import type { IpSet } from '../ipset/set.ts'
import { CompileSink } from './compile-sink.ts'
import { prefixLengthOf } from './ip-values.ts'
import {
  MATCH_ADDR6,
  MATCH_TCP,
  MATCH_UDP,
  MATCH_UNMODELLED,
  TARGET_JUMP,
  TARGET_NONE,
  TARGET_POLICY,
  TARGET_RETURN,
  TARGET_UNMODELLED,
  TARGET_VERDICT,
} from './kinds.ts'
import type { RateLimit } from './limit.ts'
import { quickRule } from './quick-rule.ts'
import type { RecentTable } from './recent.ts'
import type { IptChain, IptTable } from './tables.ts'
import { INV_DSTIP, INV_SRCIP, IptRule, type RuleSpec } from './types.ts'

/** Words per rule. */
export const ENTRY_WORDS = 16
export const E_SRC = 0
export const E_SMASK = 1
export const E_DST = 2
export const E_DMASK = 3
export const E_IN = 4
export const E_OUT = 5
export const E_PROTO = 6
/** INV_* bits and ENTRY_FRAG. */
export const E_FLAGS = 7
export const E_MATCH = 8
export const E_TARGET = 9
/** First rule after the run that this rule belongs to; 0 when it is in none. */
export const E_RUN_END = 10
/** Start of the run's hash in `hash`. */
export const E_RUN = 11
/** QUICK_* and its arguments (quick-rule.ts). */
export const E_QUICK = 12
export const E_QMASK = 13
export const E_QVALUE = 14

/** E_FLAGS: -f given. */
export const ENTRY_FRAG = 0x100
/** E_FLAGS: nothing is asked of addresses, interfaces and protocol (most rules of kube-proxy's FORWARD). */
export const ENTRY_ANY = 0x200

/** Rules of one shape in a row that make an index worth its memory. */
export const MIN_RUN = 8

/** The compiled ruleset of a table. */
export class IptProgram {
  /** ENTRY_WORDS per rule; policies and ends of user chains are rules too. */
  readonly entries: Int32Array
  /** Matches and targets. State of nth and limit lives here too. */
  readonly words: Int32Array
  /** First rule and policy per hook, -1 when the table has no such chain. */
  readonly hookEntry: Int32Array
  readonly underflow: Int32Array
  /** Bit per hook whose chain has no rules and accepts by policy. */
  readonly idleHooks: number
  /** What was counted for `idleHooks` elsewhere since the last `storeCounters`: packets and bytes per hook. */
  readonly idleCounters: Float64Array
  /** The rule, or the chain whose policy or end an entry is. */
  readonly refs: (IptRule | IptChain)[]
  readonly packets: Float64Array
  readonly bytes: Float64Array
  readonly recents: RecentTable[]
  readonly sets: IpSet[]
  readonly names: string[]
  readonly limits: RateLimit[]
  readonly interfaces: readonly string[]
  /** Run indexes: per run [mask, slots ...], a slot is (key hi, key lo, first rule), then chains in `nextSame`. */
  readonly hash: Int32Array
  /** Next rule of the same key in the run, -1 at the end. */
  readonly nextSame: Int32Array
  /** interfaceMatches: device name that a row was computed for, and the rows. */
  private readonly rowName: (string | undefined)[] = []
  private readonly rows: Uint8Array[] = []
  private readonly noDevice: Uint8Array

  constructor(parts: {
    entries: number[]
    sink: CompileSink
    hookEntry: Int32Array
    underflow: Int32Array
    refs: (IptRule | IptChain)[]
    hash: Int32Array
    nextSame: Int32Array
    idleCounters: Float64Array
  }) {
    this.entries = Int32Array.from(parts.entries)
    this.words = Int32Array.from(parts.sink.words)
    this.hookEntry = parts.hookEntry
    this.underflow = parts.underflow
    this.idleCounters = parts.idleCounters
    this.idleHooks = this.findIdleHooks()
    this.refs = parts.refs
    this.packets = new Float64Array(parts.refs.length)
    this.bytes = new Float64Array(parts.refs.length)
    this.recents = parts.sink.recents
    this.sets = parts.sink.sets
    this.names = parts.sink.names
    this.limits = parts.sink.limits
    this.interfaces = parts.sink.interfaces
    this.hash = parts.hash
    this.nextSame = parts.nextSame
    this.noDevice = this.row('')
    this.loadCounters()
  }

  private findIdleHooks(): number {
    let bits = 0
    for (let hook = 0; hook < 5; hook++) {
      const first = this.hookEntry[hook]!
      if (first < 0 || first !== this.underflow[hook]) continue
      if (this.words[this.entries[first * ENTRY_WORDS + E_TARGET]! + 2] === 1) bits |= 1 << hook
    }
    return bits
  }

  /** False for policies and the ends of user chains. */
  isRule(i: number): boolean {
    return this.refs[i] instanceof IptRule
  }

  /** 1-based position of a rule in its chain. */
  indexOf(i: number): number {
    const ref = this.refs[i]
    return ref instanceof IptRule ? ref.index : 0
  }

  /** Per interface pattern 1 when the device's name matches it; a null device has the empty name. */
  interfaceRow(id: number, name: string): Uint8Array {
    if (id < 0) return this.noDevice
    if (this.rowName[id] === name) return this.rows[id]!
    this.rowName[id] = name
    return (this.rows[id] = this.row(name))
  }

  private row(name: string): Uint8Array {
    return Uint8Array.from(this.interfaces, (p) => (interfaceMatches(p, name) ? 1 : 0))
  }

  /** Takes the counters of rules and chains. */
  loadCounters(): void {
    this.idleCounters.fill(0)
    this.refs.forEach((ref, i) => {
      const counted = ref instanceof IptRule || ref.hook >= 0
      this.packets[i] = counted ? ref.pcnt : 0
      this.bytes[i] = counted ? ref.bcnt : 0
    })
  }

  /** Writes the counters back. */
  storeCounters(): void {
    for (let hook = 0; hook < 5; hook++) {
      const first = this.hookEntry[hook]!
      if (first < 0) continue
      this.packets[first]! += this.idleCounters[2 * hook]!
      this.bytes[first]! += this.idleCounters[2 * hook + 1]!
    }
    this.idleCounters.fill(0)
    this.refs.forEach((ref, i) => {
      ref.pcnt = this.packets[i]!
      ref.bcnt = this.bytes[i]!
    })
  }
}

/** `eth+` matches by prefix, other patterns by the whole name. */
export function interfaceMatches(pattern: string, name: string): boolean {
  return pattern.endsWith('+') ? name.startsWith(pattern.slice(0, -1)) : pattern === name
}

/** Compiles all chains of a table. @param idleCounters see IptProgram */
export function compileTable(table: IptTable, idleCounters: Float64Array): IptProgram {
  const tables = table.owner
  const sink = new CompileSink(
    table.name,
    tables.family,
    tables.ns.world.in6,
    (name) => tables.ipsets.get(name),
    (name, mask, hitCount) => tables.recent(name, mask, hitCount),
  )
  const chains = [...table.chains.values()]
  const start = new Map<string, number>()
  let n = 0
  for (const chain of chains) {
    start.set(chain.name, n)
    n += chain.rules.length + 1
  }
  const entries: number[] = []
  const refs: (IptRule | IptChain)[] = []
  const hookEntry = new Int32Array(5).fill(-1)
  const underflow = new Int32Array(5).fill(-1)
  const index = new RunIndex(n)
  for (const chain of chains) {
    const first = refs.length
    chain.rules.forEach((rule, i) => {
      rule.index = i + 1
      compileRule(rule, entries, sink, start)
      refs.push(rule)
    })
    index.chain(entries, sink.words, first, refs.length)
    if (chain.hook >= 0) {
      hookEntry[chain.hook] = first
      underflow[chain.hook] = refs.length
    }
    entries.push(0, 0, 0, 0, -1, -1, 0, ENTRY_ANY, sink.words.length, sink.words.length, 0, 0, 0, 0, 0, 0)
    if (chain.hook >= 0) sink.emit(TARGET_POLICY, chain.policy === 'DROP' ? 0 : 1)
    else sink.emit(TARGET_RETURN)
    refs.push(chain)
  }
  setQuick(entries, sink.words)
  return new IptProgram({
    entries,
    sink,
    hookEntry,
    underflow,
    refs,
    hash: Int32Array.from(index.hash),
    nextSame: index.nextSame,
    idleCounters,
  })
}

/** Fills E_QUICK of all rules; those in a run are found by its hash. */
function setQuick(entries: number[], words: readonly number[]): void {
  for (let e = 0; e < entries.length; e += ENTRY_WORDS) {
    const any = (entries[e + E_FLAGS]! & ENTRY_ANY) !== 0
    const q = quickRule(words, any, entries[e + E_MATCH]!, entries[e + E_TARGET]!)
    entries[e + E_QUICK] = q.kind
    entries[e + E_QMASK] = q.mask
    entries[e + E_QVALUE] = q.value
  }
}

function compileRule(rule: IptRule, entries: number[], sink: CompileSink, start: ReadonlyMap<string, number>): void {
  const s = rule.spec
  const matchStart = sink.words.length
  const exact = headerAddresses(s, sink)
  const addressEnd = sink.words.length
  for (const m of s.matches) {
    const name = m.ext.unmodelled?.(m.data) ?? (m.ext.compile === undefined ? `match ${m.ext.name}` : null)
    if (name !== null) sink.emit(MATCH_UNMODELLED, sink.name(name))
    else m.ext.compile!(m.data, sink)
  }
  const targetStart = sink.words.length
  const inPattern = sink.interfacePattern(s.inInterface)
  const outPattern = sink.interfacePattern(s.outInterface)
  const plain = exact.smask === 0 && exact.dmask === 0 && inPattern < 0 && outPattern < 0 && s.proto === 0
  const any = plain && exact.inverted === 0 && !s.fragment && matchStart === addressEnd
  entries.push(
    exact.src,
    exact.smask,
    exact.dst,
    exact.dmask,
    inPattern,
    outPattern,
    s.proto,
    exact.inverted | (s.fragment ? ENTRY_FRAG : 0) | (any ? ENTRY_ANY : 0),
    matchStart,
    targetStart,
    0,
    0,
    0,
    0,
    0,
    0,
  )
  compileTarget(s, sink, start)
}

/** The addresses that an entry's own words ask for. */
interface HeaderAddresses {
  readonly src: number
  readonly smask: number
  readonly dst: number
  readonly dmask: number
  readonly inverted: number
}

/**
 * The addresses of a rule as the entry's words. Those of IPv6 fit when they are hosts (an id, all bits of the mask set) or
 * anything; networks become the rule's first match, which is when ip6_packet_match asks for them too.
 */
function headerAddresses(s: RuleSpec, sink: CompileSink): HeaderAddresses {
  const { src, smask, dst, dmask, inverted } = s
  if (typeof src === 'number') {
    return { src, smask: smask as number, dst: dst as number, dmask: dmask as number, inverted }
  }
  const sbits = prefixLengthOf(smask)
  const dbits = prefixLengthOf(dmask)
  const simple = (bits: number, inv: number): boolean => bits === 128 || (bits === 0 && (inverted & inv) === 0)
  if (simple(sbits, INV_SRCIP) && simple(dbits, INV_DSTIP)) {
    return {
      src: sbits === 0 ? 0 : sink.ip(src),
      smask: sbits === 0 ? 0 : -1,
      dst: dbits === 0 ? 0 : sink.ip(dst),
      dmask: dbits === 0 ? 0 : -1,
      inverted,
    }
  }
  const inv = ((inverted & INV_SRCIP) !== 0 ? 1 : 0) | ((inverted & INV_DSTIP) !== 0 ? 2 : 0)
  sink.emit(MATCH_ADDR6, inv, ...[src, smask, dst, dmask].flatMap((v) => v as Ipv6Words))
  return { src: 0, smask: 0, dst: 0, dmask: 0, inverted: inverted & ~(INV_SRCIP | INV_DSTIP) }
}

function compileTarget(s: RuleSpec, sink: CompileSink, start: ReadonlyMap<string, number>): void {
  if (s.target !== null) {
    const { ext, data } = s.target
    const name = ext.unmodelled?.(data) ?? (ext.compile === undefined ? `target ${ext.name}` : null)
    if (name !== null) sink.emit(TARGET_UNMODELLED, sink.name(name))
    else ext.compile!(data, sink)
    return
  }
  const chain = start.get(s.jump)
  if (s.jump === '') sink.emit(TARGET_NONE)
  else if (chain !== undefined) sink.emit(TARGET_JUMP, chain, s.isGoto ? 1 : 0)
  else if (s.jump === 'ACCEPT') sink.emit(TARGET_VERDICT, 1)
  else if (s.jump === 'DROP') sink.emit(TARGET_VERDICT, 0)
  else if (s.jump === 'RETURN') sink.emit(TARGET_RETURN)
  else sink.emit(TARGET_UNMODELLED, sink.name(`target ${s.jump}`))
}

/** Hash of a run key. */
export function runHash(dst: number, key: number): number {
  let h = Math.imul(dst ^ Math.imul(key, 0x9e3779b1), 0x85ebca6b)
  h ^= h >>> 15
  return Math.imul(h, 0xc2b2ae35) >>> 0
}

/** Builds the hashes of exact runs. */
class RunIndex {
  readonly hash: number[] = [0]
  readonly nextSame: Int32Array

  constructor(rules: number) {
    this.nextSame = new Int32Array(rules).fill(-1)
  }

  /** Looks for runs among the rules [first, end) of a chain. */
  chain(entries: number[], words: readonly number[], first: number, end: number): void {
    let i = first
    while (i < end) {
      let j = i
      while (j < end && runKey(entries, words, j) >= 0) j++
      if (j - i >= MIN_RUN) this.run(entries, words, i, j)
      i = Math.max(j, i + 1)
    }
  }

  private run(entries: number[], words: readonly number[], from: number, to: number): void {
    let size = 16
    while (size < 2 * (to - from)) size *= 2
    const base = this.hash.length
    this.hash.push(size - 1)
    for (let k = 0; k < size; k++) this.hash.push(0, 0, -1)
    const last = new Map<number, number>()
    for (let i = from; i < to; i++) {
      const dst = entries[i * ENTRY_WORDS + E_DST]!
      const key = runKey(entries, words, i)
      entries[i * ENTRY_WORDS + E_RUN_END] = to
      entries[i * ENTRY_WORDS + E_RUN] = base
      let slot = runHash(dst, key) & (size - 1)
      for (;;) {
        const at = base + 1 + slot * 3
        if (this.hash[at + 2]! < 0) {
          this.hash[at] = dst
          this.hash[at + 1] = key
          this.hash[at + 2] = i
          last.set(slot, i)
          break
        }
        if (this.hash[at] === dst && this.hash[at + 1] === key) {
          this.nextSame[last.get(slot)!] = i
          last.set(slot, i)
          break
        }
        slot = (slot + 1) & (size - 1)
      }
    }
  }
}

/** proto << 16 | port of a rule of the shape `-d a.b.c.d/32 -p tcp -m tcp --dport n`, -1 for any other. */
function runKey(entries: readonly number[], words: readonly number[], i: number): number {
  const e = i * ENTRY_WORDS
  const proto = entries[e + E_PROTO]!
  if (
    entries[e + E_DMASK] !== -1 ||
    entries[e + E_SMASK] !== 0 ||
    entries[e + E_IN]! >= 0 ||
    entries[e + E_OUT]! >= 0 ||
    entries[e + E_FLAGS] !== 0 ||
    (proto !== 6 && proto !== 17)
  ) {
    return -1
  }
  const m = entries[e + E_MATCH]!
  const kind = proto === 6 ? MATCH_TCP : MATCH_UDP
  if (words[m] !== kind || m + words[m + 1]! !== entries[e + E_TARGET]) return -1
  if (words[m + 2] !== 0 || words[m + 3] !== 65535 || words[m + 4] !== words[m + 5] || words[m + 6] !== 0) return -1
  if (kind === MATCH_TCP && (words[m + 7] !== 0 || words[m + 9] !== 0)) return -1
  return (proto << 16) | words[m + 4]!
}
