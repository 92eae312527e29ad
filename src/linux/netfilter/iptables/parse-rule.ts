/**
 * One iptables command line (argv) to a command with parsed rules.
 *
 * iptables: iptables/iptables.c (do_command4), iptables/xshared.c (command_default, do_parse). getopt_long's rules hold:
 * abbreviated long options, `--opt=value`, `-Ovalue`, options of the extension loaded last win, `-p tcp` loads the tcp
 * match when an option asks for it. `-s a,b` makes several rules.
 *
 * Not modelled: host names, `-M`, RPC of extension help.
 */
import { anyIp, hostMaskOf, type IptFamily, type IpValue } from './ip-values.ts'
import { findMatch, findTarget, KNOWN_ELSEWHERE, protoMatch, type Registered } from './registry.ts'
import {
  INV_DSTIP,
  INV_FRAG,
  INV_PROTO,
  INV_SRCIP,
  INV_VIA_IN,
  INV_VIA_OUT,
  IptTextError,
  type MatchInstance,
  type ParseContext,
  type RuleSpec,
  type TargetInstance,
  type XtMatch,
  type XtOption,
  type XtTarget,
} from './types.ts'
import { parseProtocol, strtoui } from './values.ts'

/** What a command line asks for. */
export interface IptCommand {
  /** A D R I L S F Z N X E P C, or empty when none was given. */
  command: string
  chain: string
  /** Rule number of -D -R -I -L -S -Z, 0 when none. */
  ruleNumber: number
  /** New name of -E, policy of -P. */
  argument: string
  table: string
  /** One or more rules (several source or destination addresses). */
  specs: RuleSpec[]
  pcnt: number
  bcnt: number
  verbose: boolean
  numeric: boolean
  exact: boolean
  lineNumbers: boolean
  /** -6 (in ip6tables -4) in a restore file for both families: skip the line. */
  otherFamily: boolean
  /** What the tool says on stderr while it goes on. */
  readonly warnings: string[]
}

/** What the parser asks about the tables. */
export interface RuleEnvironment {
  readonly family: IptFamily
  setDimensions(name: string): number
  setFamily(name: string): 0 | 4 | 6
  /** Whether the chain exists in the table being edited. */
  hasChain(name: string): boolean
}

interface Loaded {
  readonly ext: XtMatch
  readonly options: ReadonlyMap<string, XtOption<unknown>>
  readonly data: unknown
  readonly seen: Set<string>
}

/** Verdicts that need no extension. */
export const STANDARD_TARGETS: ReadonlySet<string> = new Set(['ACCEPT', 'DROP', 'RETURN', 'QUEUE'])

/** Long base options: [short letter, takes an argument]. */
const BASE_LONG: ReadonlyMap<string, string> = new Map(
  Object.entries({
    append: 'A',
    delete: 'D',
    check: 'C',
    insert: 'I',
    replace: 'R',
    list: 'L',
    'list-rules': 'S',
    flush: 'F',
    zero: 'Z',
    'new-chain': 'N',
    'delete-chain': 'X',
    'rename-chain': 'E',
    policy: 'P',
    source: 's',
    src: 's',
    destination: 'd',
    dst: 'd',
    protocol: 'p',
    'in-interface': 'i',
    'out-interface': 'o',
    jump: 'j',
    table: 't',
    match: 'm',
    numeric: 'n',
    verbose: 'v',
    wait: 'w',
    'wait-interval': 'W',
    exact: 'x',
    fragments: 'f',
    fragment: 'f',
    goto: 'g',
    'line-numbers': '0',
    'set-counters': 'c',
    ipv4: '4',
    ipv6: '6',
    modprobe: 'M',
    help: 'h',
    version: 'V',
  }),
)
const WITH_ARGUMENT = 'ADRINEPCiopsdjgmtcM'
const INVERTIBLE = 'iopsdf'
/** is_exthdr */
const EXTENSION_HEADERS: readonly number[] = [43, 44, 51, 60]
const COMMANDS = 'ADRILSFZNXEPC'

class RuleParser {
  private readonly argv: readonly string[]
  private i = 0
  private invert = false
  private readonly cmd: IptCommand
  private readonly env: RuleEnvironment
  private readonly seenBase = new Set<string>()
  /** Extensions in order of loading. */
  private readonly loaded: Loaded[] = []
  private target: Loaded | null = null
  private readonly spec: RuleSpec
  private sources: [IpValue, IpValue][] = []
  private destinations: [IpValue, IpValue][] = []
  private protoLoaded = false
  private readonly context: ParseContext

  constructor(argv: readonly string[], table: string, env: RuleEnvironment) {
    this.argv = argv
    this.env = env
    this.cmd = {
      command: '',
      chain: '',
      ruleNumber: 0,
      argument: '',
      table,
      specs: [],
      pcnt: 0,
      bcnt: 0,
      verbose: false,
      numeric: false,
      exact: false,
      lineNumbers: false,
      otherFamily: false,
      warnings: [],
    }
    const any = anyIp(env.family)
    const spec: RuleSpec = {
      src: any,
      smask: any,
      dst: any,
      dmask: any,
      inInterface: '',
      outInterface: '',
      proto: 0,
      inverted: 0,
      fragment: false,
      matches: [],
      jump: '',
      isGoto: false,
      target: null,
    }
    this.spec = spec
    const cmd = this.cmd
    this.context = {
      family: env.family,
      get table() {
        return cmd.table
      },
      get proto() {
        return spec.proto
      },
      get protoInverted() {
        return (spec.inverted & INV_PROTO) !== 0
      },
      setDimensions: (name) => env.setDimensions(name),
      setFamily: (name) => env.setFamily(name),
    }
  }

  run(): IptCommand {
    const argv = this.argv
    while (this.i < argv.length) {
      const word = argv[this.i++]!
      if (word === '!') {
        if (this.invert) throw new IptTextError('multiple consecutive ! not allowed')
        this.invert = true
      } else if (word.startsWith('--') && word.length > 2) this.longOption(word.slice(2))
      else if (word.startsWith('-') && word.length > 1) this.shortOptions(word)
      else throw new IptTextError(`Bad argument \`${word}'`)
    }
    if (this.invert) throw new IptTextError('nothing appropriate following !')
    this.finish()
    return this.cmd
  }

  private shortOptions(word: string): void {
    for (let k = 1; k < word.length; k++) {
      const letter = word[k]!
      const rest = word.slice(k + 1)
      if (WITH_ARGUMENT.includes(letter)) {
        this.base(letter, `-${letter}`, rest !== '' ? rest : null)
        return
      }
      if ('LSFZXwW'.includes(letter)) {
        this.base(letter, `-${letter}`, rest !== '' ? rest : null)
        return
      }
      if (!'vnxf046hV'.includes(letter)) throw new IptTextError(`unknown option "-${letter}"`)
      this.base(letter, `-${letter}`, null)
    }
  }

  private longOption(text: string): void {
    const eq = text.indexOf('=')
    const name = eq < 0 ? text : text.slice(0, eq)
    const value = eq < 0 ? null : text.slice(eq + 1)
    const letter = BASE_LONG.get(name)
    if (letter !== undefined) {
      this.base(letter, `--${name}`, value)
      return
    }
    const found = this.findOption(name)
    if (typeof found === 'string') this.base(found, `--${name}`, value)
    else this.extensionOption(found[0], found[1], value)
  }

  /** Exact name in the loaded extensions (newest first), then a unique abbreviation, then the protocol's match. */
  private findOption(name: string): [Loaded, XtOption<unknown>] | string {
    for (let k = this.loaded.length - 1; k >= 0; k--) {
      const option = this.loaded[k]!.options.get(name)
      if (option !== undefined) return [this.loaded[k]!, option]
    }
    const candidates: ([Loaded, XtOption<unknown>] | string)[] = []
    for (let k = this.loaded.length - 1; k >= 0; k--) {
      for (const [full, option] of this.loaded[k]!.options)
        if (full.startsWith(name)) candidates.push([this.loaded[k]!, option])
    }
    for (const [full, letter] of BASE_LONG)
      if (full.startsWith(name) && !candidates.includes(letter)) candidates.push(letter)
    if (candidates.length === 1) return candidates[0]!
    const proto = protoMatch(this.env.family, this.spec.proto)
    if (proto !== undefined && !this.protoLoaded && this.seenBase.has('p')) {
      this.protoLoaded = true
      if (!this.loaded.some((l) => l.ext.name === proto)) {
        this.load(findMatch(this.env.family, proto)!)
        return this.findOption(name)
      }
    }
    throw new IptTextError(`unknown option "--${name}"`)
  }

  private extensionOption(owner: Loaded, option: XtOption<unknown>, inline: string | null): void {
    const ext = owner.ext.name
    const inverted = this.invert
    this.invert = false
    if (inverted && option.invert !== true) {
      throw new IptTextError(`${ext}: option "--${option.name}" cannot be inverted.\n`)
    }
    let value = ''
    let value2 = ''
    if (option.arg === true) {
      const next = inline ?? this.argv[this.i++]
      if (next === undefined) throw new IptTextError(`option "--${option.name}" requires an argument`)
      value = next
      if (option.arg2 === true) {
        const second = this.argv[this.i]
        if (second === undefined || second.startsWith('-') || second === '!') {
          throw new IptTextError(`--${option.name} requires two args.`)
        }
        value2 = second
        this.i++
      }
    }
    const key = option.key ?? option.name
    if (owner.seen.has(key)) {
      throw new IptTextError(option.once ?? `${ext}: option "--${option.name}" can only be used once.\n`)
    }
    owner.seen.add(key)
    option.set(owner.data, value, inverted, this.context, value2)
  }

  private load(registered: Registered<XtMatch>): Loaded {
    const one: Loaded = {
      ext: registered.ext,
      options: registered.options,
      data: registered.ext.init(this.env.family),
      seen: new Set(),
    }
    this.loaded.push(one)
    this.spec.matches.push({ ext: one.ext, data: one.data })
    return one
  }

  private base(letter: string, shown: string, inline: string | null): void {
    const inverted = this.invert
    this.invert = false
    if (inverted && !INVERTIBLE.includes(letter)) {
      throw new IptTextError(letter === 'm' ? 'unexpected ! flag before --match' : `cannot have ! before -${letter}`)
    }
    if (COMMANDS.includes(letter)) {
      this.command(letter, inline)
      return
    }
    let value = inline ?? ''
    if (WITH_ARGUMENT.includes(letter) && inline === null) {
      const next = this.argv[this.i++]
      if (next === undefined) throw new IptTextError(`option "${shown}" requires an argument`)
      value = next
    }
    if ('sdpiojgf'.includes(letter)) {
      if (this.seenBase.has(letter)) throw new IptTextError(`multiple -${letter} flags not allowed`)
      this.seenBase.add(letter)
    }
    // 1.8.9 takes the word before getopt's position as the protocol, so `-ptcp` and `--protocol=tcp` fail
    if (letter === 'p' && inline !== null) value = this.argv[this.i - 1]!
    this.header(letter, value, inverted)
  }

  private header(letter: string, value: string, inverted: boolean): void {
    const spec = this.spec
    switch (letter) {
      case 's':
        this.sources = addresses(this.env.family, value, inverted)
        if (inverted) spec.inverted |= INV_SRCIP
        return
      case 'd':
        this.destinations = addresses(this.env.family, value, inverted)
        if (inverted) spec.inverted |= INV_DSTIP
        return
      case 'p':
        spec.proto = parseProtocol(value)
        if (inverted) spec.inverted |= INV_PROTO
        if (spec.proto === 0 && inverted) throw new IptTextError('rule would never match protocol')
        if (this.env.family === 6 && !inverted && EXTENSION_HEADERS.includes(spec.proto)) {
          this.cmd.warnings.push(
            `Warning: never matched protocol: ${value.toLowerCase()}. use extension match instead.\n`,
          )
        }
        return
      case 'i':
      case 'o':
        if (value.length > 15) throw new IptTextError(`interface name \`${value}' must be shorter than IFNAMSIZ (15)`)
        if (value === '') throw new IptTextError('Empty interface is likely to be undesired')
        if (letter === 'i') spec.inInterface = value
        else spec.outInterface = value
        if (inverted) spec.inverted |= letter === 'i' ? INV_VIA_IN : INV_VIA_OUT
        return
      case 'f':
        if (this.env.family === 6) throw new IptTextError("`-f' is not supported in IPv6, use -m frag instead")
        spec.fragment = true
        if (inverted) spec.inverted |= INV_FRAG
        return
      case 'j':
      case 'g':
        this.jump(value, letter === 'g')
        return
      case 'm':
        this.match(value)
        return
      case 't':
        this.cmd.table = value
        return
      case 'c':
        this.setCounters(value)
        return
      case 'v':
        this.cmd.verbose = true
        return
      case 'n':
        this.cmd.numeric = true
        return
      case 'x':
        this.cmd.exact = true
        return
      case '0':
        this.cmd.lineNumbers = true
        return
      case '4':
      case '6':
        if (letter !== String(this.env.family)) this.cmd.otherFamily = true
        return
      case 'w':
      case 'W':
        if (value === '' && /^\d+$/.test(this.argv[this.i] ?? '')) this.i++
        return
      default:
    }
  }

  private setCounters(first: string): void {
    const comma = first.indexOf(',')
    const p = comma < 0 ? first : first.slice(0, comma)
    const b = comma < 0 ? this.argv[this.i++] : first.slice(comma + 1)
    if (b === undefined) throw new IptTextError('-c requires packet and byte counter')
    if (!/^\d+$/.test(p)) throw new IptTextError('-c packet counter not numeric')
    if (!/^\d+$/.test(b)) throw new IptTextError('-c byte counter not numeric')
    this.cmd.pcnt = Number(p)
    this.cmd.bcnt = Number(b)
  }

  private match(name: string): void {
    const registered = findMatch(this.env.family, name)
    if (registered === undefined) {
      if (KNOWN_ELSEWHERE.has(name)) throw new IptTextError(`match \`${name}' is not modelled`)
      throw new IptTextError(`Couldn't load match \`${name}':No such file or directory\n`)
    }
    this.load(registered)
  }

  private jump(name: string, isGoto: boolean): void {
    if (name === '') throw new IptTextError('Invalid target name (too short)')
    if (name.length > 28) throw new IptTextError(`Invalid target name \`${name}' (28 chars max)`)
    if (/\s/.test(name)) throw new IptTextError(`Invalid target name \`${name}'`)
    if (this.spec.jump !== '') throw new IptTextError('multiple -j flags not allowed')
    this.spec.jump = name
    this.spec.isGoto = isGoto
    if (isGoto || STANDARD_TARGETS.has(name) || this.env.hasChain(name)) return
    const registered: Registered<XtTarget> | undefined = findTarget(this.env.family, name)
    if (registered === undefined) {
      // its options would be called unknown
      if (KNOWN_ELSEWHERE.has(name)) throw new IptTextError(`target \`${name}' is not modelled`)
      return
    }
    const one: Loaded = {
      ext: registered.ext,
      options: registered.options,
      data: registered.ext.init(this.env.family),
      seen: new Set(),
    }
    this.loaded.push(one)
    this.target = one
  }

  private command(letter: string, inline: string | null): void {
    const cmd = this.cmd
    if (cmd.command !== '') {
      if (letter === 'Z' && (cmd.command === 'L' || cmd.command === 'S')) return
      throw new IptTextError(`Cannot use -${letter} with -${cmd.command}\n`)
    }
    cmd.command = letter
    const next = (): string => {
      const word = this.argv[this.i]
      if (word === undefined || (word.startsWith('-') && word.length > 1) || word === '!') return ''
      this.i++
      return word
    }
    cmd.chain = inline ?? next()
    if (cmd.chain.length > 28 && letter !== 'N') {
      throw new IptTextError(`chain name \`${cmd.chain}' too long (must be under 29 chars)`)
    }
    if ('ADRINEPC'.includes(letter) && cmd.chain === '')
      throw new IptTextError(`option "-${letter}" requires an argument`)
    if (letter === 'D' || letter === 'R' || letter === 'I' || letter === 'L' || letter === 'S' || letter === 'Z') {
      const word = this.argv[this.i]
      if (cmd.chain !== '' && word !== undefined && /^\d/.test(word)) {
        const n = strtoui(word, 0x7fffffff)
        if (n === null || n < 1) throw new IptTextError(`Invalid rule number \`${word}'`)
        cmd.ruleNumber = n
        this.i++
      } else if (letter === 'R') throw new IptTextError('-R requires a rule number')
    }
    if (letter === 'P' || letter === 'E') {
      cmd.argument = next()
      if (cmd.argument === '') {
        throw new IptTextError(
          letter === 'P' ? '-P requires a chain and a policy' : '-E requires old-chain-name and new-chain-name',
        )
      }
    }
  }

  private finish(): void {
    const { cmd, spec } = this
    if (cmd.exact && cmd.command !== 'L') throw new IptTextError("Illegal option `-x' with this command")
    if (cmd.lineNumbers && cmd.command !== 'L')
      throw new IptTextError("Illegal option `--line-numbers' with this command")
    const chain = cmd.chain
    if ('ADRIC'.includes(cmd.command) && cmd.command !== '') {
      if (spec.outInterface !== '' && (chain === 'PREROUTING' || chain === 'INPUT')) {
        throw new IptTextError(`Can't use -o with ${chain}\n`)
      }
      if (spec.inInterface !== '' && (chain === 'POSTROUTING' || chain === 'OUTPUT')) {
        throw new IptTextError(`Can't use -i with ${chain}\n`)
      }
    }
    for (const one of this.loaded) one.ext.check?.(one.data, one.seen, this.context)
    if (this.target !== null) spec.target = { ext: this.target.ext, data: this.target.data }
    else if (spec.jump !== '' && !STANDARD_TARGETS.has(spec.jump) && !this.env.hasChain(spec.jump)) {
      if (spec.isGoto) throw new IptTextError(`goto '${spec.jump}' is not a chain\n`)
      throw new IptTextError(`Couldn't load target \`${spec.jump}':No such file or directory\n`)
    }
    const zero = anyIp(this.env.family)
    const any: [IpValue, IpValue][] = [[zero, zero]]
    for (const [src, smask] of this.sources.length > 0 ? this.sources : any) {
      for (const [dst, dmask] of this.destinations.length > 0 ? this.destinations : any) {
        cmd.specs.push({ ...spec, src, smask, dst, dmask })
      }
    }
  }
}

function addresses(family: IptFamily, text: string, inverted: boolean): [IpValue, IpValue][] {
  const parts = text.split(',')
  if (inverted && parts.length > 1) {
    throw new IptTextError('! not allowed with multiple source or destination IP addresses')
  }
  return parts.map((part) => hostMaskOf(family, part))
}

/**
 * Parses one command line.
 * @throws IptTextError in iptables' words
 */
export function parseIptCommand(argv: readonly string[], table: string, env: RuleEnvironment): IptCommand {
  return new RuleParser(argv, table, env).run()
}

/** Instances for whoever builds rules without text. */
export type { MatchInstance, TargetInstance }

/**
 * add_param_to_argv: splits a restore line at blanks; double quotes keep blanks, a backslash inside them escapes.
 */
export function splitRestoreLine(line: string): string[] {
  if (!line.includes('"')) return line.split(/[ \t\n]+/).filter((word) => word !== '')
  const argv: string[] = []
  let word = ''
  let quoted = false
  let escaped = false
  for (const c of line) {
    if (quoted) {
      if (escaped) {
        word += c
        escaped = false
      } else if (c === '\\') escaped = true
      else if (c === '"') {
        quoted = false
        argv.push(word)
        word = ''
      } else word += c
    } else if (c === '"') quoted = true
    else if (c === ' ' || c === '\t' || c === '\n') {
      if (word !== '') argv.push(word)
      word = ''
    } else word += c
  }
  if (word !== '') argv.push(word)
  return argv
}
