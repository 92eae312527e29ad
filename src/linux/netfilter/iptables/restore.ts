/**
 * iptables-restore: text to tables.
 *
 * iptables: iptables/iptables-restore.c. A table changes at COMMIT, all of it or nothing. The tool stops at its first
 * error; here every line is looked at and all errors are returned, in the words that the tool would have used, and a
 * table with an error is left alone. Tables before the first bad one are taken, as the tool does.
 */
import type { Netns } from '../../netns.ts'
import { TableDraft } from './edit.ts'
import type { IptFamily } from './ip-values.ts'
import { parseIptCommand, type RuleEnvironment, splitRestoreLine } from './parse-rule.ts'
import { type IptTables, TABLE_HOOKS, tablesOf } from './tables.ts'
import { IptTextError } from './types.ts'

/** Options of iptables-restore. */
export interface RestoreOptions {
  /** -n: keep what is there. */
  readonly noflush?: boolean
  /** -c: take the counters in the text. */
  readonly counters?: boolean
  /** -t: check everything, change nothing. */
  readonly test?: boolean
  /** -T: only this table. */
  readonly table?: string
  /** What to remember as the origin of the rules of a line (1-based). */
  readonly origin?: (line: number) => unknown
}

/** One error of a restore text. */
export interface RestoreError {
  /** 1-based */
  readonly line: number
  /** As the tool prints it, without the trailing `Error occurred at line`. */
  readonly message: string
}

/** What a restore did. */
export interface RestoreResult {
  readonly ok: boolean
  readonly errors: RestoreError[]
  /** What the tool prints beside them. */
  readonly warnings?: readonly string[]
}

const VERSION = 'v1.8.9 (legacy)'

/** Loads a restore text into the namespace. */
export function restoreText(ns: Netns, family: IptFamily, text: string, options: RestoreOptions): RestoreResult {
  const run = new Restore(ns, family, options)
  let line = 0
  let from = 0
  while (from < text.length) {
    const nl = text.indexOf('\n', from)
    const end = nl < 0 ? text.length : nl
    run.line(++line, text.slice(from, end), nl >= 0)
    from = end + 1
  }
  return run.end(line)
}

class Restore {
  private readonly tables: IptTables
  private readonly program: string
  private readonly options: RestoreOptions
  private readonly errors: RestoreError[] = []
  private readonly warnings: string[] = []
  private draft: TableDraft | null = null
  private skipping = false
  private inTable = false
  private readonly env: RuleEnvironment

  constructor(ns: Netns, family: IptFamily, options: RestoreOptions) {
    const tables = tablesOf(ns, family)
    this.tables = tables
    this.program = family === 6 ? 'ip6tables-restore' : 'iptables-restore'
    this.options = options
    this.env = {
      family,
      setDimensions: (name) => tables.ipsets.dimensions(name),
      setFamily: (name) => tables.ipsets.family(name),
      hasChain: (name) => this.draft?.chains.has(name) === true,
    }
  }

  line(n: number, text: string, terminated: boolean): void {
    if (text === '' && terminated) return
    const first = text.charCodeAt(0)
    if (first === 35) return
    try {
      if (text === 'COMMIT' && terminated && this.inTable) this.commit()
      else if (first === 42 && !this.inTable) this.begin(text)
      else if (first === 58 && this.inTable) this.chain(n, text)
      else if (this.inTable) this.rule(n, text)
      else throw new IptTextError('', true)
    } catch (e) {
      if (!(e instanceof IptTextError)) throw e
      this.error(n, e)
    }
  }

  private error(line: number, e: IptTextError): void {
    const bareArgument = e.message.startsWith('Bad argument')
    const message = e.bare
      ? `${this.program}: line ${line} failed`
      : bareArgument
        ? e.message
        : `${this.program} ${VERSION}: ${e.message}`
    this.errors.push({ line, message: e.bare && e.message !== '' ? `${message}: ${e.message}` : message })
  }

  private begin(text: string): void {
    const name = text.slice(1).trim().split(/\s/)[0] ?? ''
    this.inTable = true
    this.skipping = this.options.table !== undefined && this.options.table !== name
    this.draft = null
    if (this.skipping) return
    if (TABLE_HOOKS[name] === undefined) {
      this.draft = new TableDraft(name, this.tables.family, new Map())
      throw new IptTextError(`${this.program}: unable to initialize table '${name}'\n`)
    }
    const draft = new TableDraft(name, this.tables.family, this.tables.get(name)!.draft())
    this.draft = draft
    if (this.options.noflush === true) return
    for (const chain of [...draft.chains.values()]) {
      if (chain.hook < 0) draft.chains.delete(chain.name)
      else draft.edit(chain.name)!.rules = []
    }
  }

  private chain(n: number, text: string): void {
    if (this.skipping) return
    const draft = this.draft!
    const [name, policy, counters] = text.slice(1).trim().split(/\s+/)
    if (name === undefined || name === '') throw new IptTextError(`line ${n} chain name invalid\n`)
    if (name.length > 28) throw new IptTextError(`Invalid chain name \`${name}' (28 chars max)`)
    const chain = draft.chains.get(name)
    if (chain === undefined) {
      if (policy !== undefined && policy !== '-') {
        throw new IptTextError(`Can't set policy \`${policy}' on \`${name}' line ${n}: Bad built-in chain name\n`)
      }
      draft.create(name)
    } else if (chain.hook < 0) {
      if (this.options.noflush !== true) throw new IptTextError(`error creating chain '${name}':File exists\n`)
      draft.edit(name)!.rules = []
    }
    if (policy === undefined) throw new IptTextError(`line ${n} policy invalid\n`)
    if (policy === '-') return
    let p = 0
    let b = 0
    if (this.options.counters === true) {
      const m = /^\[(\d+):(\d+)\]$/.exec(counters ?? '')
      if (m === null) throw new IptTextError(`invalid policy counters for chain '${name}'\n`)
      p = Number(m[1])
      b = Number(m[2])
    }
    if (chain?.hook === undefined || chain.hook < 0 || (policy !== 'ACCEPT' && policy !== 'DROP')) {
      const why = chain === undefined || chain.hook < 0 ? 'Bad built-in chain name' : 'Bad policy name'
      throw new IptTextError(`Can't set policy \`${policy}' on \`${name}' line ${n}: ${why}\n`)
    }
    draft.policy(name, policy, p, b)
  }

  private rule(n: number, text: string): void {
    if (this.skipping) return
    const draft = this.draft!
    let p = 0
    let b = 0
    if (text.startsWith('[')) {
      const m = /^\[(\d+):(\d+)\][ \t]?/.exec(text)
      if (m === null) throw new IptTextError('invalid counters\n')
      p = Number(m[1])
      b = Number(m[2])
      text = text.slice(m[0].length)
    }
    const cmd = parseIptCommand(splitRestoreLine(text), draft.table, this.env)
    if (cmd.otherFamily) return
    this.warnings.push(...cmd.warnings)
    if (cmd.table !== draft.table) {
      throw new IptTextError(`The -t option cannot be used in iptables-restore.\n`)
    }
    if (this.options.counters === true && (p !== 0 || b !== 0)) {
      cmd.pcnt = p
      cmd.bcnt = b
    }
    draft.origin = this.options.origin?.(n) ?? null
    draft.apply(cmd)
  }

  private commit(): void {
    this.inTable = false
    const draft = this.draft
    this.draft = null
    if (this.skipping || draft === null || this.errors.length > 0) return
    const table = this.tables.get(draft.table)
    if (table === null) return
    const refused = this.tables.check(draft.table, draft.chains)
    if (refused !== null) throw new IptTextError(refused, true)
    if (this.options.test !== true) table.replace(draft.chains)
  }

  end(lines: number): RestoreResult {
    if (this.inTable) {
      this.errors.push({ line: lines + 1, message: `${this.program}: COMMIT expected at line ${lines + 1}` })
    }
    const ok = this.errors.length === 0
    return { ok, errors: this.errors, ...(this.warnings.length > 0 ? { warnings: this.warnings } : {}) }
  }
}
