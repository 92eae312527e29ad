/**
 * iptables, iptables-restore, iptables-save: the front ends of the legacy tables.
 *
 * iptables 1.8.9 (legacy). Only IPv4: ip6tables is UNMODELLED. The header comment lines of iptables-save carry version and
 * date and are not printed, so that output is the same for the same state.
 */
import { TableDraft } from '../netfilter/iptables/edit.ts'
import { listRules, listTable, saveTable } from '../netfilter/iptables/list.ts'
import { parseIptCommand } from '../netfilter/iptables/parse-rule.ts'
import { type RestoreOptions, type RestoreResult, restoreText } from '../netfilter/iptables/restore.ts'
import { TABLE_HOOKS } from '../netfilter/iptables/tables.ts'
import { IptTextError } from '../netfilter/iptables/types.ts'
import type { Netns } from '../netns.ts'

export type { RestoreError, RestoreOptions, RestoreResult } from '../netfilter/iptables/restore.ts'

/** iptables-restore [-n] [-c] [-t] [-T table]. */
export function iptablesRestore(ns: Netns, text: string, options: RestoreOptions = {}): RestoreResult {
  return restoreText(ns, text, options)
}

/** Options of iptables-save. */
export interface SaveOptions {
  /** -t: one table; it is created when it does not exist, as the tool does. */
  readonly table?: string
  /** -c: counters of the rules. */
  readonly counters?: boolean
}

/** iptables-save: all tables that exist, the youngest first. */
export function iptablesSave(ns: Netns, options: SaveOptions = {}): string {
  const tables = ns.nf.tables
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

const VERSION = 'iptables v1.8.9 (legacy)'

/** iptables argv (without the program's name). */
export function iptables(ns: Netns, argv: readonly string[]): ToolResult {
  try {
    return { status: 0, stdout: run(ns, argv), stderr: '' }
  } catch (e) {
    if (!(e instanceof IptTextError)) throw e
    if (e.bare) return { status: 1, stdout: '', stderr: `iptables: ${e.message}\n` }
    const help = "Try `iptables -h' or 'iptables --help' for more information.\n"
    const message = e.message.startsWith('Bad argument') ? e.message : `${VERSION}: ${e.message}`
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

function run(ns: Netns, argv: readonly string[]): string {
  const name = tableOf(argv)
  const tables = ns.nf.tables
  const table = TABLE_HOOKS[name] === undefined ? null : tables.get(name)
  const cmd = parseIptCommand(argv, name, {
    setDimensions: (set) => tables.ipsets.dimensions(set),
    hasChain: (chain) => table?.chains.has(chain) === true,
  })
  if (table === null) {
    throw new IptTextError(
      `can't initialize iptables table \`${name}': Table does not exist (do you need to insmod?)\nPerhaps iptables or your kernel needs to be upgraded.`,
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
  const draft = new TableDraft(name, table.draft())
  draft.apply(cmd)
  if (cmd.command === 'C') return ''
  const refused = tables.check(name, draft.chains)
  if (refused !== null) throw new IptTextError("Invalid argument. Run `dmesg' for more information.", true)
  table.replace(draft.chains)
  return ''
}
