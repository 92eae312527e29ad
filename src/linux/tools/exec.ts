/**
 * Runs a tool inside a simulated namespace: `podwalk exec TARGET -- TOOL ARGS`, and the lab's `cmd` steps.
 *
 * The tools take the real ones' syntax and print their output; what they change stays changed in the simulated namespace.
 * A tool that is not in the table below answers with exit status 127, one that is but is asked for something that is not
 * modelled with 126 and the feature's name.
 */
import type { Netns } from '../netns.ts'
import { bridge } from './bridge.ts'
import { conntrack } from './conntrack.ts'
import { ebtables, ebtablesRestore, ebtablesSave } from './ebtables.ts'
import { ip } from './ip.ts'
import { ipset } from './ipset.ts'
import {
  ip6tablesCommand,
  ip6tablesRestoreCommand,
  ip6tablesSaveCommand,
  iptablesCommand,
  iptablesRestoreCommand,
  iptablesSaveCommand,
} from './iptables-commands.ts'
import { ipvsadm } from './ipvsadm.ts'
import { nft } from './nft.ts'
import { ping } from './ping.ts'
import { type ToolResult, UNMODELLED_STATUS } from './result.ts'
import { sysctl } from './sysctl.ts'
import { tc } from './tc.ts'

type Tool = (ns: Netns, argv: readonly string[], stdin: string) => ToolResult

/** Tools by name, without path. */
const TOOLS: { readonly [name: string]: Tool } = {
  ip,
  bridge,
  sysctl,
  iptables: iptablesCommand,
  'iptables-legacy': iptablesCommand,
  'iptables-save': iptablesSaveCommand,
  'iptables-legacy-save': iptablesSaveCommand,
  'iptables-restore': iptablesRestoreCommand,
  'iptables-legacy-restore': iptablesRestoreCommand,
  ip6tables: ip6tablesCommand,
  'ip6tables-legacy': ip6tablesCommand,
  'ip6tables-save': ip6tablesSaveCommand,
  'ip6tables-legacy-save': ip6tablesSaveCommand,
  'ip6tables-restore': ip6tablesRestoreCommand,
  'ip6tables-legacy-restore': ip6tablesRestoreCommand,
  ipset,
  conntrack,
  ipvsadm,
  nft,
  tc,
  ebtables,
  'ebtables-save': ebtablesSave,
  'ebtables-restore': ebtablesRestore,
  ping: (ns, argv) => ping(ns, argv),
}

/** Exists in Linux, not here: named as UNMODELLED rather than as not found. */
const UNMODELLED_TOOLS = ['iptables-nft', 'iptables-nft-save', 'iptables-nft-restore', 'ping6', 'arptables']

/** Names of the tools that can be run. */
export const TOOL_NAMES: readonly string[] = Object.keys(TOOLS)

/** Runs `argv` in the namespace; the first word is the tool, a path in front of it is ignored. */
export function execTool(ns: Netns, argv: readonly string[], stdin = ''): ToolResult {
  ns.gen++
  const name = (argv[0] ?? '').replace(/^.*\//, '')
  const tool = Object.hasOwn(TOOLS, name) ? TOOLS[name] : undefined
  if (tool !== undefined) return tool(ns, argv.slice(1), stdin)
  if (UNMODELLED_TOOLS.includes(name))
    return { status: UNMODELLED_STATUS, stdout: '', stderr: `podwalk: UNMODELLED: ${name}\n` }
  return {
    status: 127,
    stdout: '',
    stderr: `podwalk: exec: ${name} is not modelled; modelled: ${TOOL_NAMES.join(', ')}\n`,
  }
}
