/**
 * What nft text is made of: expressions, statements, objects, with the place that each came from.
 *
 * nft: include/{expression,statement,rule}.h (1.0.6). The same shapes serve three stages: parsed text (symbols), evaluated
 * rules (typed values, dependencies written out), and what a listing prints (display.ts takes the dependencies out again).
 */
import type { DataType } from './datatypes.ts'
import type { Field, Proto } from './protocols.ts'

/** A place in the text: line, first and last column, all from 1. */
export interface Loc {
  readonly line: number
  readonly first: number
  readonly last: number
}

/** No place. */
export const NO_LOC: Loc = { line: 0, first: 0, last: 0 }

/** From the start of `a` to the end of `b`. */
export function span(a: Loc, b: Loc): Loc {
  return { line: a.line, first: a.first, last: b.line === a.line ? b.last : a.last }
}

/** An error of nft: `place: Error: message`, with more places underlined. */
export class NftError extends Error {
  readonly loc: Loc
  readonly others: readonly Loc[]
  /** The kernel refused, not nft: it names every command that it refuses. */
  readonly kernel: boolean
  constructor(
    loc: Loc,
    message: string,
    others: readonly Loc[] = [],
    kernel = message.startsWith('Could not process rule'),
  ) {
    super(message)
    this.loc = loc
    this.others = others
    this.kernel = kernel
  }
}

interface At {
  readonly loc: Loc
}

/** A word or number that gets its meaning from the type it is compared with. */
export interface SymbolExpr extends At {
  readonly k: 'sym'
  readonly text: string
  readonly quoted: boolean
  /** The text is a number. */
  readonly num: boolean
}
export interface ValueExpr extends At {
  readonly k: 'val'
  readonly t: DataType
  /** Bits. */
  readonly len: number
  readonly v: bigint
  /** Text of a string value; `eth*` is a prefix match. */
  readonly s?: string
}
export interface PrefixExpr extends At {
  readonly k: 'prefix'
  readonly e: Expr
  readonly len: number
}
export interface RangeExpr extends At {
  readonly k: 'range'
  readonly lo: Expr
  readonly hi: Expr
}
export interface PayloadExpr extends At {
  readonly k: 'payload'
  readonly base: number
  /** Null for `@base,offset,length`. */
  readonly proto: Proto | null
  readonly field: Field | null
  readonly offset: number
  readonly len: number
}
export interface MetaExpr extends At {
  readonly k: 'meta'
  readonly key: string
}
export interface CtExpr extends At {
  readonly k: 'ct'
  readonly key: string
  /** original, reply, or empty. */
  readonly dir: string
  /** Type of proto-src and proto-dst after a transport protocol was matched. */
  readonly port?: boolean
  readonly proto?: string
}
export interface FibExpr extends At {
  readonly k: 'fib'
  readonly flags: readonly string[]
  readonly result: string
  /** `exists` or `missing` is asked. */
  readonly present?: boolean
}
/** Expressions that are held and printed, and that no packet of ours can answer; and those read by key. */
export interface KeyExpr extends At {
  readonly k: 'rt' | 'socket' | 'osf' | 'exthdr' | 'tcpopt' | 'ipopt'
  readonly key: string
  /** Field of an option or extension header; empty for its presence. */
  readonly field: string
  readonly t: DataType
  readonly len: number
}
export interface NumgenExpr extends At {
  readonly k: 'numgen'
  readonly random: boolean
  readonly mod: number
  readonly offset: number
}
export interface HashExpr extends At {
  readonly k: 'hash'
  /** Null for symhash. */
  readonly e: Expr | null
  readonly mod: number
  readonly seed: number | null
  readonly offset: number
}
export interface BinopExpr extends At {
  readonly k: 'binop'
  readonly op: '&' | '|' | '^' | '<<' | '>>'
  readonly l: Expr
  readonly r: Expr
}
export interface ConcatExpr extends At {
  readonly k: 'concat'
  readonly items: readonly Expr[]
}
export interface ListExpr extends At {
  readonly k: 'list'
  readonly items: readonly Expr[]
}
export interface SetExpr extends At {
  readonly k: 'set'
  readonly elems: readonly Elem[]
}
export interface SetRefExpr extends At {
  readonly k: 'setref'
  readonly name: string
}
export interface MapExpr extends At {
  readonly k: 'map'
  readonly key: Expr
  readonly data: SetExpr | SetRefExpr
}
export interface VerdictExpr extends At {
  readonly k: 'verdict'
  readonly kind: string
  readonly chain: string
}
/** `tcp flags VALUE / MASK` */
export interface FlagcmpExpr extends At {
  readonly k: 'flagcmp'
  readonly value: Expr
  readonly mask: Expr
}

export type Expr =
  | SymbolExpr
  | ValueExpr
  | PrefixExpr
  | RangeExpr
  | PayloadExpr
  | MetaExpr
  | CtExpr
  | FibExpr
  | KeyExpr
  | NumgenExpr
  | HashExpr
  | BinopExpr
  | ConcatExpr
  | ListExpr
  | SetExpr
  | SetRefExpr
  | MapExpr
  | VerdictExpr
  | FlagcmpExpr

/** An element of a set or map. */
export interface Elem extends At {
  readonly key: Expr
  readonly data?: Expr
  readonly comment?: string
  readonly timeout?: number
  readonly expires?: number
  readonly stmts: readonly Stmt[]
}

/** Flags of NAT statements, in the order that they are printed. */
export const NAT_FLAGS: readonly string[] = ['random', 'fully-random', 'persistent']

export interface MatchStmt extends At {
  readonly k: 'match'
  /** `` is the implicit operator: equality, or any flag for flags. */
  readonly op: '' | '==' | '!=' | '<' | '>' | '<=' | '>=' | '!'
  readonly l: Expr
  readonly r: Expr
}
export interface CounterStmt extends At {
  readonly k: 'counter'
  readonly packets: number
  readonly bytes: number
}
export interface ObjrefStmt extends At {
  readonly k: 'objref'
  readonly type: string
  readonly name: Expr
}
export interface LimitStmt extends At {
  readonly k: 'limit'
  readonly rate: number
  readonly per: string
  readonly burst: number
  readonly bytes: boolean
  readonly over: boolean
}
export interface QuotaStmt extends At {
  readonly k: 'quota'
  readonly bytes: number
  readonly used: number
  readonly over: boolean
}
export interface LogStmt extends At {
  readonly k: 'log'
  readonly prefix?: string
  readonly level?: string
  readonly group?: number
  readonly snaplen?: number
  readonly queueThreshold?: number
  readonly flags: readonly string[]
}
export interface VerdictStmt extends At {
  readonly k: 'verdict'
  /** A verdict, or a map that gives one. */
  readonly e: VerdictExpr | MapExpr
}
export interface NatStmt extends At {
  readonly k: 'nat'
  readonly kind: 'dnat' | 'snat' | 'masquerade' | 'redirect'
  /** ip, ip6, or empty. */
  readonly family: string
  readonly addr?: Expr
  readonly port?: Expr
  readonly flags: readonly string[]
  /** `prefix`, `interval`, or empty. */
  readonly typeFlag: string
  /** The word dnat ... alone: where nft points with some errors. */
  readonly head: Loc
}
export interface RejectStmt extends At {
  readonly k: 'reject'
  /** icmp, icmpv6, icmpx, tcp; empty before evaluation. */
  readonly type: string
  readonly code: number
  readonly codeExpr?: Expr
}
export interface AssignStmt extends At {
  readonly k: 'assign'
  readonly target: Expr
  readonly value: Expr
}
export interface SetStmt extends At {
  readonly k: 'set'
  readonly op: 'add' | 'update' | 'delete'
  readonly set: string
  readonly setLoc: Loc
  readonly key: Expr
  readonly timeout?: number
  readonly data?: Expr
  readonly stmts: readonly Stmt[]
}
export interface ConnlimitStmt extends At {
  readonly k: 'connlimit'
  readonly count: number
  readonly over: boolean
}
export interface PlainStmt extends At {
  readonly k: 'notrack' | 'queue' | 'synproxy'
  readonly text: string
}
export interface DupStmt extends At {
  readonly k: 'dup' | 'fwd'
  readonly to: Expr
  readonly dev?: Expr
}
export interface FlowStmt extends At {
  readonly k: 'flow'
  readonly name: string
}

export type Stmt =
  | MatchStmt
  | CounterStmt
  | ObjrefStmt
  | LimitStmt
  | QuotaStmt
  | LogStmt
  | VerdictStmt
  | NatStmt
  | RejectStmt
  | AssignStmt
  | SetStmt
  | ConnlimitStmt
  | PlainStmt
  | DupStmt
  | FlowStmt

/** `type ... hook ... priority ...` of a base chain. */
export interface HookSpec {
  readonly type: string
  readonly hook: string
  /** Priority as written: a name with an offset, or a number. */
  readonly priority: { readonly name: string; readonly offset: number; readonly loc: Loc }
  readonly devices: readonly string[]
  readonly typeLoc: Loc
  readonly hookLoc: Loc
}

export interface ChainSpec {
  readonly base?: HookSpec
  readonly policy?: string
  readonly policyLoc?: Loc
  readonly comment?: string
}

export interface SetSpec {
  /** From the opening brace on. */
  readonly blockLoc?: Loc
  readonly isMap: boolean
  /** Key type words, or `typeof` expressions. */
  readonly key?: readonly TypeWord[]
  readonly data?: readonly TypeWord[]
  readonly typeofKey?: Expr
  readonly typeofData?: Expr | string
  /** Stateful object maps: counter, quota, limit ... */
  readonly objType?: string
  readonly flags: readonly string[]
  readonly timeout?: number
  readonly gcInterval?: number
  readonly size?: number
  readonly policy?: string
  readonly autoMerge: boolean
  readonly comment?: string
  readonly stmts: readonly Stmt[]
  readonly elems?: SetExpr
}

export interface TypeWord extends At {
  readonly name: string
}

/** What a counter, quota, limit ... holds. */
export interface ObjSpec {
  readonly type: string
  readonly stmt: Stmt | null
  /** ct helper, ct timeout, secmark ...: text as printed between the braces. */
  readonly lines: readonly string[]
  readonly comment?: string
}

/** One command. */
export interface Command extends At {
  readonly op: 'add' | 'create' | 'insert' | 'replace' | 'delete' | 'destroy' | 'flush' | 'list' | 'reset' | 'rename'
  readonly obj: string
  readonly family: string
  readonly table: string
  readonly tableLoc: Loc
  readonly name: string
  readonly nameLoc: Loc
  readonly handle?: number
  readonly handleLoc?: Loc
  readonly index?: number
  readonly position?: number
  readonly chain?: ChainSpec
  readonly set?: SetSpec
  readonly elems?: SetExpr
  readonly object?: ObjSpec
  readonly stmts?: readonly Stmt[]
  readonly comment?: string
  readonly newName?: string
  readonly flags?: readonly string[]
  /** `flush map`, which is said of maps only, as `flush set` of sets. */
  readonly wantsMap?: boolean
  /** The line of the file that it stands in; null on the command line. */
  readonly source?: string
}
