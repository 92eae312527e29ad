/**
 * What a rule is made of, before it is compiled: header fields, matches, target; and what an extension must say.
 *
 * Linux: include/uapi/linux/netfilter_ipv4/ip_tables.h (struct ipt_ip), include/xtables.h (struct xtables_match,
 * xtables_target). An extension is one object: its options, how it prints (as iptables-save and as iptables -L), and the
 * words that it compiles to. Adding one touches its file, one registry line and, if packets may meet it, one case in the
 * evaluator.
 *
 * Not modelled: extension revisions (the newest is spoken).
 */
import type { CompileSink } from './compile-sink.ts'
import type { IptFamily, IpValue } from './ip-values.ts'

/** Bad text, in the words of iptables. Thrown and caught inside the text front end only. */
export class IptTextError extends Error {
  /** True when iptables-restore says `line N failed` without more words (an error of libiptc or of the kernel). */
  readonly bare: boolean
  constructor(message: string, bare = false) {
    super(message)
    this.bare = bare
  }
}

/** What a parser may ask about the place where the rule will stand. */
export interface ParseContext {
  readonly family: IptFamily
  readonly table: string
  /** Protocol number given so far, 0 when none; and whether it is inverted. */
  readonly proto: number
  readonly protoInverted: boolean
  /** Whether an ipset of that name exists; its number of dimensions, or 0 when there is none. */
  setDimensions(name: string): number
  /** Family of its addresses, 0 when it has none or there is no such set. */
  setFamily(name: string): 0 | 4 | 6
}

/** One option of an extension. */
export interface XtOption<D> {
  /** Long name without dashes. */
  readonly name: string
  /** Takes an argument. */
  readonly arg?: boolean
  /** Optional second argument (`--tcp-flags mask comp`). */
  readonly arg2?: boolean
  /** May stand after `!`. */
  readonly invert?: boolean
  /** Name under which the option counts as given, when it has several spellings. */
  readonly key?: string
  /** What iptables says when it is given twice, when that is not the usual sentence. */
  readonly once?: string
  set(d: D, value: string, inverted: boolean, x: ParseContext, value2: string): void
}

/** A match extension (`-m name`). */
export interface XtMatch<D = unknown> {
  readonly name: string
  /** Name under which -L lists it, when it is an alias (NOTRACK is listed as CT). */
  readonly options: readonly XtOption<D>[]
  init(family: IptFamily): D
  /** Called at the end of a rule; `seen` holds the names of the options given. */
  check?(d: D, seen: ReadonlySet<string>, x: ParseContext): void
  /** Text after `-m name`, each word with a leading space. */
  save(d: D): string
  /** Text for iptables -L, with a leading space. */
  list(d: D): string
  /** Emits the match; null or missing: the evaluator does not model it. */
  compile?(d: D, c: CompileSink): void
  /** What the kernel's checkentry refuses, in a sentence; null when it takes the options. */
  refuse?(d: D, rule: RuleSpec): string | null
  /** Name in the sense of UNMODELLED when a packet meets it although options are understood. */
  unmodelled?(d: D): string | null
  /** Protocol that the rule must name, checked by the kernel. */
  readonly needsProto?: readonly number[]
  /** Tables and hooks where the kernel takes it; hooks as a bit mask. */
  readonly tables?: readonly string[]
  readonly hooks?: number
}

/** A target extension (`-j NAME`). */
export interface XtTarget<D = unknown> extends XtMatch<D> {
  /** Name printed instead of `name`. */
  printName?(d: D): string
}

/** A match with its parsed options. */
export interface MatchInstance {
  readonly ext: XtMatch
  readonly data: unknown
}

/** A target extension with its parsed options. */
export interface TargetInstance {
  readonly ext: XtTarget
  readonly data: unknown
}

/** Inversion bits of the header fields, as IPT_INV_*. */
export const INV_VIA_IN = 0x01
export const INV_VIA_OUT = 0x02
export const INV_SRCIP = 0x08
export const INV_DSTIP = 0x10
export const INV_FRAG = 0x20
export const INV_PROTO = 0x40

/** A rule as parsed: struct ipt_entry in objects. */
export interface RuleSpec {
  src: IpValue
  smask: IpValue
  dst: IpValue
  dmask: IpValue
  inInterface: string
  outInterface: string
  proto: number
  /** INV_* bits */
  inverted: number
  /** `-f` given */
  fragment: boolean
  matches: MatchInstance[]
  /** `-j` or `-g` name; empty for a rule without target. */
  jump: string
  isGoto: boolean
  /** Set when `jump` names a target extension, null for verdicts, chains and no target. */
  target: TargetInstance | null
}

/** A rule in a chain. Referenced by traces. */
export class IptRule {
  readonly table: string
  chain: string
  /** Position in its chain, 1-based; set when the table is compiled. */
  index = 0
  readonly spec: RuleSpec
  /** What made the rule (source position, object), set by whoever programs it. */
  origin: unknown = null
  pcnt: number
  bcnt: number
  private line: string | null = null
  private readonly print: (rule: IptRule) => string

  constructor(
    table: string,
    chain: string,
    spec: RuleSpec,
    pcnt: number,
    bcnt: number,
    print: (rule: IptRule) => string,
  ) {
    this.table = table
    this.chain = chain
    this.spec = spec
    this.pcnt = pcnt
    this.bcnt = bcnt
    this.print = print
  }

  /** The rule as iptables-save prints it, without counters: `-A FORWARD -i eth0 -j DROP`. */
  get text(): string {
    this.line ??= this.print(this)
    return this.line
  }

  /** The chain was renamed, or a chain it jumps to. */
  renamed(): void {
    this.line = null
  }
}
