/**
 * iptables, iptables-restore, iptables-save and their ip6tables: the front ends of the legacy tables.
 *
 * iptables 1.8.9 (legacy). The header comment lines of iptables-save carry version and
 * date and are not printed, so that output is the same for the same state.
 */
import { TableDraft } from '../netfilter/iptables/edit.ts'
import type { IptFamily } from '../netfilter/iptables/ip-values.ts'
import { listRules, listTable, saveTable } from '../netfilter/iptables/list.ts'
import { parseIptCommand } from '../netfilter/iptables/parse-rule.ts'
import { type RestoreOptions, type RestoreResult, restoreText } from '../netfilter/iptables/restore.ts'
import { TABLE_HOOKS, tablesOf } from '../netfilter/iptables/tables.ts'
import { IptTextError } from '../netfilter/iptables/types.ts'
import type { Netns } from '../netns.ts'

export type { RestoreError, RestoreOptions, RestoreResult } from '../netfilter/iptables/restore.ts'

/** iptables-restore [-n] [-c] [-t] [-T table]. */
export function iptablesRestore(
  ns: Netns,
  text: string,
  options: RestoreOptions = {},
  family: IptFamily = 4,
): RestoreResult {
  return restoreText(ns, family, text, options)
}

/** Options of iptables-save. */
export interface SaveOptions {
  /** -t: one table; it is created when it does not exist, as the tool does. */
  readonly table?: string
  /** -c: counters of the rules. */
  readonly counters?: boolean
}

/** iptables-save: all tables that exist, the youngest first. */
export function iptablesSave(ns: Netns, options: SaveOptions = {}, family: IptFamily = 4): string {
  const tables = tablesOf(ns, family)
  if (options.table === undefined) return tables.list.map((t) => saveTable(t, options.counters === true)).join('')
  const table = tables.get(options.table)
  return table === null ? '' : saveTable(table, options.counters === true)
}

/** What a command left: exit status and its output. */
export interface ToolResult {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** iptables, or ip6tables, argv (without the program's name). */
export function iptables(ns: Netns, argv: readonly string[], family: IptFamily = 4): ToolResult {
  const program = family === 6 ? 'ip6tables' : 'iptables'
  try {
    const warnings: string[] = []
    const stdout = run(ns, argv, family, warnings)
    return { status: 0, stdout, stderr: warnings.join('') }
  } catch (e) {
    if (!(e instanceof IptTextError)) throw e
    if (e.bare) return { status: 1, stdout: '', stderr: `${program}: ${e.message}\n` }
    const help = `Try \`${program} -h' or '${program} --help' for more information.\n`
    const message = e.message.startsWith('Bad argument') ? e.message : `${program} v1.8.9 (legacy): ${e.message}`
    // xtables_error(VERSION_PROBLEM)
    if (e.message.startsWith("can't initialize")) return { status: 3, stdout: '', stderr: `${message}\n` }
    return { status: 2, stdout: '', stderr: `${message}\n${help}` }
  }
}

function tableOf(argv: readonly string[]): string {
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i]!
    if (word === '-t' || word === '--table') return argv[i + 1] ?? 'filter'
    if (word.startsWith('--table=')) return word.slice(8)
  }
  return 'filter'
}

function run(ns: Netns, argv: readonly string[], family: IptFamily, warnings: string[]): string {
  const name = tableOf(argv)
  const tables = tablesOf(ns, family)
  const table = TABLE_HOOKS[name] === undefined ? null : tables.get(name)
  const cmd = parseIptCommand(argv, name, {
    family,
    setDimensions: (set) => tables.ipsets.dimensions(set),
    setFamily: (set) => tables.ipsets.family(set),
    hasChain: (chain) => table?.chains.has(chain) === true,
  })
  warnings.push(...cmd.warnings)
  if (table === null) {
    throw new IptTextError(
      `can't initialize ${family === 6 ? 'ip6tables' : 'iptables'} table \`${name}': Table does not exist (do you need to insmod?)\nPerhaps ${family === 6 ? 'ip6tables' : 'iptables'} or your kernel needs to be upgraded.`,
    )
  }
  if (cmd.command === '') throw new IptTextError('no command specified')
  if (cmd.command === 'L') return listTable(table, cmd)
  if (cmd.command === 'S') return listRules(table, cmd)
  if (cmd.command === 'Z') {
    const chain = cmd.chain === '' ? null : (table.chains.get(cmd.chain) ?? null)
    if (cmd.chain !== '' && chain === null) throw new IptTextError('No chain/target/match by that name.', true)
    table.zero(chain, cmd.ruleNumber)
    return ''
  }
  const draft = new TableDraft(name, family, table.draft())
  draft.apply(cmd)
  if (cmd.command === 'C') return ''
  const refused = tables.check(name, draft.chains)
  if (refused !== null) throw new IptTextError("Invalid argument. Run `dmesg' for more information.", true)
  table.replace(draft.chains)
  return ''
}
