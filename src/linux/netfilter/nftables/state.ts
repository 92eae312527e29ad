/**
 * The nftables of a namespace: tables with chains, rules, sets and objects, and the log that takes a failed transaction
 * back.
 *
 * Linux: net/netfilter/nf_tables_api.c. Handles are numbered per table and are never given back, also by a transaction that
 * failed. A rule's anonymous sets are numbered before the rule.
 */
import type { Netns } from '../../netns.ts'
import type { ChainSpec, Expr, LimitStmt, ObjSpec, Stmt } from './ast.ts'
import type { ChainProgram } from './compile.ts'
import type { DataType } from './datatypes.ts'
import type { LinkChains } from './link-chains.ts'
import type { SetStore } from './set-store.ts'

/** Type and width of one field of a key. */
export interface FieldType {
  readonly t: DataType
  readonly len: number
}

/** A counter that packets advance. */
export class CounterState {
  packets: number
  bytes: number
  constructor(packets = 0, bytes = 0) {
    this.packets = packets
    this.bytes = bytes
  }
}

/** A quota that packets use up. */
export class QuotaState {
  consumed: number
  constructor(consumed: number) {
    this.consumed = consumed
  }
}

const PER_NS: Readonly<Record<string, number>> = {
  second: 1e9,
  minute: 60e9,
  hour: 3600e9,
  day: 86400e9,
  week: 604800e9,
}

/** nft_limit: a token bucket in nanoseconds (nft_limit_eval). */
export class LimitState {
  private readonly rate: number
  private readonly nsecs: number
  private readonly max: number
  private readonly cost: number
  private tokens: number
  private last: number
  readonly invert: boolean
  readonly bytes: boolean

  constructor(s: LimitStmt, nowNs: number) {
    this.rate = s.rate
    this.nsecs = PER_NS[s.per]!
    this.bytes = s.bytes
    this.invert = s.over
    // nft_limit_init: a rate of packets without a burst gets 5 from nft; bytes get the rate itself on top
    this.max = s.bytes
      ? Math.floor((this.nsecs * (s.rate + s.burst)) / s.rate)
      : Math.floor(this.nsecs / s.rate) * s.burst
    this.cost = s.bytes ? 0 : Math.floor(this.nsecs / s.rate)
    this.tokens = this.max
    this.last = nowNs
  }

  /** nft_limit_eval: true when the rule goes on. */
  pass(nowNs: number, lenBytes: number): boolean {
    const cost = this.bytes ? Math.floor((this.nsecs * lenBytes) / this.rate) : this.cost
    let tokens = this.tokens + nowNs - this.last
    if (tokens > this.max) tokens = this.max
    this.last = nowNs
    if (tokens >= cost) {
      this.tokens = tokens - cost
      return !this.invert
    }
    this.tokens = tokens
    return this.invert
  }
}

/** A rule as the kernel holds it. */
export class NftRule {
  /** The chain that it stands in. */
  readonly owner: NftChain
  readonly handle: number
  /** Evaluated statements, dependencies included. */
  readonly stmts: readonly Stmt[]
  readonly comment: string | null
  /** Anonymous sets, freed with the rule. */
  readonly sets: readonly NftSet[]
  /** What caused the rule, for traces: an opaque value of whoever wrote it; empty or null when nobody said. */
  origin: unknown = ''
  /** State of counters, limits, quotas, numgen by statement, made by the compiler. */
  states: unknown[] = []
  private textCache: string | null = null
  static printer: ((rule: NftRule) => string) | null = null

  constructor(
    owner: NftChain,
    handle: number,
    stmts: readonly Stmt[],
    comment: string | null,
    sets: readonly NftSet[],
  ) {
    this.owner = owner
    this.handle = handle
    this.stmts = stmts
    this.comment = comment
    this.sets = sets
  }

  /** `family name` of the table. */
  get table(): string {
    return `${this.owner.table.family} ${this.owner.table.name}`
  }

  /** Name of the chain. */
  get chain(): string {
    return this.owner.name
  }

  /** The rule as nft lists it, without counters. */
  get text(): string {
    this.textCache ??= NftRule.printer === null ? '' : NftRule.printer(this)
    return this.textCache
  }
}

/** A chain; `base` for one that hangs on a hook. */
export class NftChain {
  readonly table: NftTable
  name: string
  readonly handle: number
  readonly spec: ChainSpec
  /** Priority of a base chain as a number. */
  readonly priority: number
  policy: string
  rules: NftRule[] = []
  /** Number in the namespace: what compiled verdicts name. */
  readonly id: number
  /** Compiled rules; null when they changed. */
  program: ChainProgram | null = null
  /** Rules and elements that jump here. */
  uses = 0

  constructor(table: NftTable, name: string, handle: number, spec: ChainSpec, priority: number, id: number) {
    this.table = table
    this.name = name
    this.handle = handle
    this.spec = spec
    this.priority = priority
    this.policy = spec.policy ?? 'accept'
    this.id = id
  }
}

/** Set flags, include/uapi/linux/netfilter/nf_tables.h. */
export const SET_CONSTANT = 2
export const SET_INTERVAL = 4
export const SET_TIMEOUT = 16
export const SET_DYNAMIC = 32

/** A set or map. */
export class NftSet {
  readonly table: NftTable
  readonly name: string
  readonly handle: number
  readonly anonymous: boolean
  readonly isMap: boolean
  readonly key: readonly FieldType[]
  /** Data of a map; empty for sets, verdict maps and object maps. */
  readonly data: readonly FieldType[]
  readonly isVerdictMap: boolean
  readonly objType: string
  readonly flags: number
  readonly timeoutMs: number
  readonly gcIntervalMs: number
  size: number
  readonly policy: string
  readonly autoMerge: boolean
  readonly comment: string | null
  /** Statements that every element carries. */
  readonly stmts: readonly Stmt[]
  /** `typeof` as written; null for `type`. */
  readonly typeofKey: Expr | null
  readonly typeofData: Expr | string | null
  readonly store: SetStore
  /** Rules that refer to it. */
  uses = 0

  constructor(o: Omit<NftSet, 'uses'>) {
    this.table = o.table
    this.name = o.name
    this.handle = o.handle
    this.anonymous = o.anonymous
    this.isMap = o.isMap
    this.key = o.key
    this.data = o.data
    this.isVerdictMap = o.isVerdictMap
    this.objType = o.objType
    this.flags = o.flags
    this.timeoutMs = o.timeoutMs
    this.gcIntervalMs = o.gcIntervalMs
    this.size = o.size
    this.policy = o.policy
    this.autoMerge = o.autoMerge
    this.comment = o.comment
    this.stmts = o.stmts
    this.typeofKey = o.typeofKey
    this.typeofData = o.typeofData
    this.store = o.store
  }
}

/** A counter, quota, limit or other named object. */
export class NftObject {
  readonly table: NftTable
  readonly type: string
  readonly name: string
  readonly handle: number
  readonly spec: ObjSpec
  /** CounterState, QuotaState, LimitState, or null. */
  state: unknown
  uses = 0

  constructor(table: NftTable, type: string, name: string, handle: number, spec: ObjSpec, state: unknown) {
    this.table = table
    this.type = type
    this.name = name
    this.handle = handle
    this.spec = spec
    this.state = state
  }
}

/** A table. */
export class NftTable {
  readonly ns: Netns
  readonly family: string
  readonly name: string
  readonly handle: number
  flags: readonly string[]
  readonly comment: string | null
  readonly chains = new Map<string, NftChain>()
  readonly sets = new Map<string, NftSet>()
  readonly objects = new Map<string, NftObject>()
  /** table->hgenerator */
  nextHandle = 0
  nextAnonymous = 0

  constructor(
    ns: Netns,
    family: string,
    name: string,
    handle: number,
    flags: readonly string[],
    comment: string | null,
  ) {
    this.ns = ns
    this.family = family
    this.name = name
    this.handle = handle
    this.flags = flags
    this.comment = comment
  }

  /** `table ip NAME { flags dormant; }`: its base chains hang on no hook. */
  get dormant(): boolean {
    return this.flags.includes('dormant')
  }
}

/** All of a namespace. */
export class NftTables {
  readonly ns: Netns
  tables: NftTable[] = []
  /** Base chains below the IP hooks, null when there are none. */
  link: LinkChains | null = null
  /** Chains by id; a deleted chain leaves null. */
  readonly chains: (NftChain | null)[] = []
  private nextTableHandle = 0
  private undo: (() => void)[] | null = null

  constructor(ns: Netns) {
    this.ns = ns
  }

  /** The table of a family and name. */
  table(family: string, name: string): NftTable | undefined {
    return this.tables.find((t) => t.family === family && t.name === name)
  }

  /** Number of the next table. */
  takeTableHandle(): number {
    return ++this.nextTableHandle
  }

  /** Starts a transaction. */
  begin(): void {
    this.undo = []
  }

  /** Says how the change just made is taken back. */
  onAbort(back: () => void): void {
    this.undo?.push(back)
  }

  /** Keeps what was changed. */
  commit(): void {
    this.undo = null
  }

  /** Takes everything since begin() back. */
  abort(): void {
    const log = this.undo ?? []
    this.undo = null
    for (let i = log.length - 1; i >= 0; i--) log[i]!()
  }
}
