/**
 * nft: the command line of nftables.
 *
 * nft 1.0.6: -f FILE with `-` for standard input, commands as arguments, -a -j -s -t -c -n and their friends. A text is one
 * transaction: all of it, or nothing and the errors with their places. Files other than standard input are not modelled:
 * a namespace has no file system.
 */

import { nftTables, resetObject, runTransaction } from '../netfilter/nftables/apply.ts'
import { type Command, NftError } from '../netfilter/nftables/ast.ts'
import { type Json, JsonWriter } from '../netfilter/nftables/json.ts'
import { Lister } from '../netfilter/nftables/list.ts'
import { parseNft } from '../netfilter/nftables/parse.ts'
import type { NftTable, NftTables } from '../netfilter/nftables/state.ts'
import type { Netns } from '../netns.ts'
import { type ToolResult, UNMODELLED_STATUS } from './result.ts'

interface Options {
  handles: boolean
  json: boolean
  stateless: boolean
  terse: boolean
  check: boolean
  file: string | null
}

const METAINFO: Json = { metainfo: { version: '1.0.6', release_name: 'Lester Gooch #5', json_schema_version: 1 } }

/** Runs nft's argv (without the program's name). */
export function nft(ns: Netns, argv: readonly string[], stdin = ''): ToolResult {
  ns.gen++
  const o: Options = { handles: false, json: false, stateless: false, terse: false, check: false, file: null }
  let i = 0
  for (; i < argv.length && argv[i]!.startsWith('-') && argv[i] !== '-'; i++) {
    const word = argv[i]!
    if (word === '-f' || word === '--file') o.file = argv[++i] ?? ''
    else if (word === '-v' || word === '--version')
      return { status: 0, stdout: 'nftables v1.0.6 (Lester Gooch #5)\n', stderr: '' }
    else if (!shortOptions(word, o)) {
      return { status: 1, stdout: '', stderr: `nft: invalid option -- '${word.replace(/^-+/, '')}'\n` }
    }
  }
  if (o.file !== null && o.file !== '-' && o.file !== '/dev/stdin') {
    return { status: UNMODELLED_STATUS, stdout: '', stderr: `podwalk: UNMODELLED: nft -f ${o.file}\n` }
  }
  if (o.file !== null) return nftText(ns, stdin, o, '/dev/stdin')
  if (i >= argv.length) return { status: 1, stdout: '', stderr: 'nft: no command specified\n' }
  return nftText(ns, argv.slice(i).join(' '), o, '')
}

const LETTERS: Readonly<Record<string, keyof Options | ''>> = {
  a: 'handles',
  j: 'json',
  s: 'stateless',
  t: 'terse',
  c: 'check',
  n: '',
  N: '',
  y: '',
  p: '',
  S: '',
  u: '',
  T: '',
  e: '',
}
const LONG: Readonly<Record<string, keyof Options | ''>> = {
  '--handle': 'handles',
  '--json': 'json',
  '--stateless': 'stateless',
  '--terse': 'terse',
  '--check': 'check',
  '--numeric': '',
  '--echo': '',
}

function shortOptions(word: string, o: Options): boolean {
  const set = (key: keyof Options | '' | undefined): boolean => {
    if (key === undefined) return false
    if (key !== '') Object.assign(o, { [key]: true })
    return true
  }
  if (word.startsWith('--')) return set(LONG[word])
  return [...word.slice(1)].every((c) => set(LETTERS[c]))
}

/** Result of loading text: as nft -f. */
export interface NftLoad {
  readonly ok: boolean
  readonly stderr: string
}

/** nft -f: loads a ruleset as one transaction. `origin` names its source in traces. */
export function nftLoad(ns: Netns, text: string, origin = ''): NftLoad {
  ns.gen++
  const o: Options = { handles: false, json: false, stateless: false, terse: false, check: false, file: '-' }
  const r = nftText(ns, text, o, '/dev/stdin', origin)
  return { ok: r.status === 0, stderr: r.stderr }
}

/** nft list ruleset */
export function nftList(ns: Netns, options: { handles?: boolean; stateless?: boolean } = {}): string {
  const lister = new Lister(ns, {
    handles: options.handles === true,
    stateless: options.stateless === true,
    terse: false,
  })
  return nftTables(ns)
    .tables.map((t) => lister.table(t))
    .join('')
}

function nftText(ns: Netns, text: string, o: Options, file: string, origin = ''): ToolResult {
  const { commands, errors } = parseNft(text)
  if (errors.length > 0) return failed(errors, text, file)
  let stdout = ''
  const reads: Command[] = []
  const writes: Command[] = []
  for (const c of commands) (c.op === 'list' || c.op === 'reset' ? reads : writes).push(c)
  if (writes.length > 0) {
    const refused = runTransaction(ns, writes, origin, o.check)
    if (refused.length > 0) return failed(refused, text, file)
  }
  const tables = nftTables(ns)
  for (const c of reads) {
    const r = o.json ? listJson(tables, c, o) : list(tables, c, o)
    if (typeof r !== 'string') return failed([r], text, file)
    stdout += r
    if (c.op === 'reset')
      for (const t of tables.tables) for (const x of t.objects.values()) if (wants(c, t, x.name)) resetObject(x)
  }
  return { status: 0, stdout, stderr: '' }
}

/** erec_print: the errors with their lines. */
function failed(errors: readonly NftError[], text: string, file: string): ToolResult {
  const lines = text.split('\n')
  let stderr = ''
  for (const e of errors) {
    // at the end of the file nft shows the line before
    const at = e.loc.line - 1
    const line = lines[at === lines.length - 1 && lines[at] === '' ? Math.max(0, at - 1) : Math.max(0, at)] ?? ''
    const place = file === '' ? '' : `${file}:${e.loc.line}:${e.loc.first}-${e.loc.last}: `
    const marks: string[] = []
    const put = (from: number, to: number, c: string): void => {
      for (let i = from; i <= to; i++) marks[i - 1] = c
    }
    for (const l of e.others) put(l.first, l.last, '~')
    put(e.loc.first, e.loc.last, '^')
    let under = ''
    for (let i = 0; i < marks.length; i++) under += marks[i] ?? (line[i] === '\t' ? '\t' : ' ')
    stderr += `${place}Error: ${e.message}\n${line}\n${under}\n`
  }
  return { status: 1, stdout: '', stderr }
}

function wants(c: Command, t: NftTable, name: string): boolean {
  if (c.table !== '' && (t.name !== c.table || t.family !== (c.family === '' ? 'ip' : c.family))) return false
  if (c.family !== '' && t.family !== c.family) return false
  return c.obj.endsWith('s') || c.name === name
}

function noSuch(_c: Command, loc: Command['loc']): NftError {
  return new NftError(loc, 'No such file or directory')
}

/** The tables that a command speaks of. */
function tablesOf(tables: NftTables, c: Command): NftTable[] | NftError {
  const plural = c.obj.endsWith('s') || c.obj === 'ruleset'
  if (plural && c.table === '') return tables.tables.filter((t) => c.family === '' || t.family === c.family)
  const t = tables.table(c.family === '' ? 'ip' : c.family, c.table)
  return t === undefined ? noSuch(c, c.tableLoc) : [t]
}

function list(tables: NftTables, c: Command, o: Options): string | NftError {
  const found = tablesOf(tables, c)
  if (!Array.isArray(found)) return found
  const l = new Lister(tables.ns, { handles: o.handles, stateless: o.stateless, terse: o.terse })
  switch (c.obj) {
    case 'ruleset':
    case 'table':
      return found.map((t) => l.table(t)).join('')
    case 'tables':
      return found.map((t) => `table ${t.family} ${t.name}\n`).join('')
    case 'chains':
      return found
        .map((t) =>
          l.within(
            t,
            [...t.chains.values()].map((x) => l.chain(x, false)),
          ),
        )
        .join('')
    case 'chain': {
      const chain = found[0]!.chains.get(c.name)
      return chain === undefined ? noSuch(c, c.nameLoc) : l.within(found[0]!, [l.chain(chain)])
    }
    case 'sets':
    case 'maps':
      return found
        .map((t) =>
          l.within(
            t,
            [...t.sets.values()].filter((s) => s.isMap === (c.obj === 'maps')).map((s) => l.set(s)),
          ),
        )
        .join('')
    case 'set':
    case 'map': {
      const set = found[0]!.sets.get(c.name)
      return set === undefined ? noSuch(c, c.nameLoc) : l.within(found[0]!, [l.set(set)])
    }
    default: {
      const type = c.obj.endsWith('s') ? c.obj.slice(0, -1) : c.obj
      if (!c.obj.endsWith('s')) {
        const object = found[0]!.objects.get(`${type} ${c.name}`)
        return object === undefined ? noSuch(c, c.nameLoc) : l.within(found[0]!, [l.object(object)])
      }
      return found
        .filter((t) => t.objects.size > 0)
        .map((t) => ({ t, objects: [...t.objects.values()].filter((x) => x.type === type) }))
        .map(({ t, objects }) =>
          l.within(
            t,
            objects.map((x) => l.object(x)),
          ),
        )
        .join('')
    }
  }
}

function listJson(tables: NftTables, c: Command, o: Options): string | NftError {
  const found = tablesOf(tables, c)
  if (!Array.isArray(found)) return found
  const j = new JsonWriter(tables.ns, { stateless: o.stateless, terse: o.terse })
  const out: Json[] = [METAINFO]
  const type = c.obj.endsWith('s') ? c.obj.slice(0, -1) : c.obj
  for (const t of found) {
    switch (c.obj) {
      case 'ruleset':
      case 'table':
        out.push(j.table(t))
        for (const x of t.objects.values()) out.push(j.object(x))
        for (const s of t.sets.values()) out.push(j.set(s))
        for (const x of t.chains.values()) out.push(j.chain(x))
        for (const x of t.chains.values()) for (const r of x.rules) out.push(j.rule(r))
        break
      case 'tables':
        out.push(j.table(t))
        break
      case 'chains':
        for (const x of t.chains.values()) out.push(j.chain(x))
        break
      case 'chain': {
        const x = t.chains.get(c.name)
        if (x === undefined) return noSuch(c, c.nameLoc)
        out.push(j.chain(x))
        for (const r of x.rules) out.push(j.rule(r))
        break
      }
      case 'sets':
      case 'maps':
        for (const s of t.sets.values()) if (s.isMap === (c.obj === 'maps')) out.push(j.set(s))
        break
      case 'set':
      case 'map': {
        const s = t.sets.get(c.name)
        if (s === undefined) return noSuch(c, c.nameLoc)
        out.push(j.set(s))
        break
      }
      default:
        for (const x of t.objects.values())
          if (x.type === type && (c.obj.endsWith('s') || x.name === c.name)) out.push(j.object(x))
    }
  }
  return `${pythonJson({ nftables: out })}\n`
}

/** jansson's JSON_... of nft: separators with a space. */
function pythonJson(j: Json): string {
  if (j === null || typeof j !== 'object') return JSON.stringify(j)
  if (Array.isArray(j)) return `[${j.map(pythonJson).join(', ')}]`
  return `{${Object.entries(j)
    .map(([k, v]) => `${JSON.stringify(k)}: ${pythonJson(v)}`)
    .join(', ')}}`
}
