/**
 * Recordings of nft 1.0.6 on Linux 6.18: what it printed for each rule, and for each command on a small ruleset.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../fixtures/nftables/', import.meta.url))

/** A rule added to the chain `c` of context.nft: what it is listed as, or the error. */
export interface RecordedRule {
  readonly family: string
  readonly chain: string
  readonly rule: string
  readonly error?: string
  readonly text?: string
  readonly expr?: unknown
  readonly comment?: string
}

/** A line run on commands-context.nft. */
export interface RecordedCommand {
  readonly command: string
  readonly status: number
  readonly stdout: string
  readonly stderr: string
  /** nft -a list ruleset afterwards, without the tables' handles and expiry. */
  readonly ruleset: string
}

const HOOKS: Readonly<Record<string, string>> = {
  filter: 'type filter hook input priority 0;',
  natpre: 'type nat hook prerouting priority -100;',
  natpost: 'type nat hook postrouting priority 100;',
}

/** All recorded rules. */
export function recordedRules(): RecordedRule[] {
  return JSON.parse(readFileSync(`${ROOT}rules.json`, 'utf8')) as RecordedRule[]
}

/** All recorded commands. */
export function recordedCommands(): RecordedCommand[] {
  return JSON.parse(readFileSync(`${ROOT}commands.json`, 'utf8')) as RecordedCommand[]
}

/** The ruleset that a recorded rule is added to. */
export function ruleContext(r: RecordedRule): string {
  const hook = r.family === 'netdev' ? 'type filter hook ingress device lo priority 0;' : HOOKS[r.chain]!
  return readFileSync(`${ROOT}context.nft`, 'utf8').replace('FAMILY', r.family).replace('CHAIN', hook)
}

/** The ruleset that recorded commands run on. */
export function commandContext(): string {
  return readFileSync(`${ROOT}commands-context.nft`, 'utf8')
}

/** Whole rulesets by name. */
export function rulesets(): [name: string, text: string][] {
  return readdirSync(`${ROOT}rulesets`)
    .sort()
    .map((f) => [f.replace('.nft', ''), readFileSync(`${ROOT}rulesets/${f}`, 'utf8')])
}

/** A listing without what depends on the moment and on what the machine loaded before. */
export function settled(text: string): string {
  return text
    .replace(/^(table .*) # handle \d+$/gm, '$1')
    .replace(/ expires [0-9a-z]+/g, '')
    .replace(/(, )?"expires": \d+/g, '')
    .replace(/("table": \{"family": "\w+", "name": "[^"]*", "handle": )\d+/g, '$1N')
}

/** An error without nft's guess at what was meant, which is not modelled. */
export function withoutGuess(text: string): string {
  return text.replace(/; did you mean .*\?/, '')
}
