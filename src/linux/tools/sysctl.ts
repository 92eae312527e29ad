/**
 * sysctl(8) of procps-ng 4: read and write the settings of a namespace.
 *
 * Modelled settings are those of src/linux/sysctl.ts; any other name is answered as the tool answers a file that does not
 * exist, and `-a` walks that list; `-p -` reads assignments from stdin.
 *
 * Source: procps src/sysctl.c (ReadSetting, WriteSetting, exit codes).
 */
import type { Netns } from '../netns.ts'
import { sysctlGet, sysctlSet } from '../sysctl.ts'
import type { ToolResult } from './result.ts'

interface Options {
  quiet: boolean
  valuesOnly: boolean
  namesOnly: boolean
  ignore: boolean
  write: boolean
  all: boolean
  load: boolean
}

const LONG: { readonly [name: string]: string } = {
  '--all': 'a',
  '--values': 'n',
  '--names': 'N',
  '--ignore': 'e',
  '--quiet': 'q',
  '--write': 'w',
  '--load': 'p',
}

/** Runs `sysctl ARGV`. */
export function sysctl(ns: Netns, argv: readonly string[], stdin = ''): ToolResult {
  const o: Options = {
    quiet: false,
    valuesOnly: false,
    namesOnly: false,
    ignore: false,
    write: false,
    all: false,
    load: false,
  }
  const words: string[] = []
  for (const word of argv) {
    const letters = word.startsWith('--')
      ? LONG[word.replace(/=.*$/, '')]
      : /^-[a-zA-Z]+$/.test(word)
        ? word.slice(1)
        : null
    if (letters === null) words.push(word)
    else if (letters === undefined) return { status: 1, stdout: '', stderr: `sysctl: unrecognized option '${word}'\n` }
    else {
      const bad = readLetters(letters, o)
      if (bad !== null) return { status: 1, stdout: '', stderr: `sysctl: invalid option -- '${bad}'\n` }
    }
  }
  let status = 0
  let stdout = ''
  let stderr = ''
  const run = (word: string): void => {
    const r = word.includes('=') ? write(ns, word, o) : o.write ? malformed() : read(ns, word, o)
    if (r.status !== 0) status = r.status
    stdout += r.stdout
    stderr += r.stderr
  }
  if (o.all) for (const name of sysctlNames(ns)) run(name)
  else if (o.load) {
    for (const line of stdin.split('\n')) if (/^\s*[^#;\s]/.test(line)) run(line.trim().replace(/\s*=\s*/, '='))
  } else if (words.length === 0) return { status: 1, stdout: '', stderr: 'sysctl: no variables specified\n' }
  else words.forEach(run)
  return { status, stdout, stderr }
}

/** Names of all settings that the namespace has, sorted: what `sysctl -a` walks. */
function sysctlNames(ns: Netns): string[] {
  const out = ['net.ipv4.ip_forward', 'net.ipv4.ip_local_port_range', 'net.ipv4.tcp_rmem', 'net.ipv4.tcp_wmem']
  out.push('net.ipv6.conf.all.disable_ipv6', 'net.ipv6.conf.all.forwarding')
  for (const field of Object.keys(ns.sysctl)) {
    out.push(
      `net.ipv4.${field}`,
      `net.ipv4.route.${field}`,
      `net.netfilter.${field}`,
      `net.bridge.${field.replaceAll('_', '-')}`,
    )
  }
  const devices = [...ns.devices.keys()].map((name) => name.replaceAll('.', '/'))
  for (const dev of ['all', 'default', ...devices])
    for (const f of Object.keys(ns.sysctl.dflt)) out.push(`net.ipv4.conf.${dev}.${f}`)
  for (const dev of ['default', ...devices])
    for (const f of Object.keys(ns.sysctl.neighDefault)) out.push(`net.ipv4.neigh.${dev}.${f}`)
  return out.filter((name) => sysctlGet(ns, name) !== null).sort()
}

function readLetters(letters: string, o: Options): string | null {
  for (const c of letters) {
    if (c === 'q') o.quiet = true
    else if (c === 'n') o.valuesOnly = true
    else if (c === 'N') o.namesOnly = true
    else if (c === 'e') o.ignore = true
    else if (c === 'w') o.write = true
    else if (c === 'a' || c === 'A' || c === 'X') o.all = true
    else if (c === 'p' || c === 'f') o.load = true
    else if (c !== 'o' && c !== 'x') return c
  }
  return null
}

function dotted(name: string): string {
  if (!name.includes('/')) return name
  const firstSlash = name.indexOf('/')
  const firstDot = name.indexOf('.')
  if (firstDot >= 0 && firstDot < firstSlash) return name
  return name
    .split('/')
    .map((part) => part.replaceAll('.', '/'))
    .join('.')
}

function path(name: string): string {
  return `/proc/sys/${dotted(name).replaceAll(/[./]/g, (c) => (c === '.' ? '/' : '.'))}`
}

function missing(name: string, o: Options): ToolResult {
  if (o.ignore) return { status: 0, stdout: '', stderr: '' }
  return { status: 1, stdout: '', stderr: `sysctl: cannot stat ${path(name)}: No such file or directory\n` }
}

function malformed(): ToolResult {
  return { status: 1, stdout: '', stderr: 'sysctl: command line(0): invalid syntax, continuing...\n' }
}

function print(name: string, value: string, o: Options): string {
  if (o.namesOnly) return `${dotted(name)}\n`
  return o.valuesOnly ? `${value}\n` : `${dotted(name)} = ${value}\n`
}

function read(ns: Netns, name: string, o: Options): ToolResult {
  const value = sysctlGet(ns, name)
  return value === null ? missing(name, o) : { status: 0, stdout: print(name, value, o), stderr: '' }
}

function write(ns: Netns, word: string, o: Options): ToolResult {
  const eq = word.indexOf('=')
  const name = word.slice(0, eq)
  const value = word.slice(eq + 1)
  if (name === '') return malformed()
  if (sysctlGet(ns, name) === null) return missing(name, o)
  if (!sysctlSet(ns, name, value)) {
    return { status: 1, stdout: '', stderr: `sysctl: setting key "${dotted(name)}": Invalid argument\n` }
  }
  return { status: 0, stdout: o.quiet ? '' : print(name, value, o), stderr: '' }
}
