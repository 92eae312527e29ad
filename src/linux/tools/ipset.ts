/**
 * ipset: create, add, del, test, flush, destroy, swap, rename, list, save, restore.
 *
 * ipset 7.17 (protocol 7). `Size in memory` is not printed, elements come in order of insertion, initval is a hash of the
 * name instead of a random number. An error of restore stops at its line, as in the real tool; lines before it stay.
 */
import { formatIpv4, parseIpv4 } from '../../addr/ipv4.ts'
import { formatElement, formatKey, IpSetError, parseElement } from '../netfilter/ipset/element.ts'
import { cidrMask, ELEM_NOMATCH, IpSet, type SetOptions } from '../netfilter/ipset/set.ts'
import { SET_TYPES, SET_TYPES_ELSEWHERE, type SetType } from '../netfilter/ipset/types.ts'
import type { Netns } from '../netns.ts'
import type { ToolResult } from './iptables.ts'

/** What a restore did. */
export interface IpsetRestoreResult {
  readonly ok: boolean
  readonly errors: readonly { readonly line: number; readonly message: string }[]
}

/** ipset restore. */
export function ipsetRestore(ns: Netns, text: string, options: { readonly exist?: boolean } = {}): IpsetRestoreResult {
  const lines = text.split('\n')
  for (let i = 0; i < lines.length; i++) {
    const words = splitWords(lines[i]!)
    if (words.length === 0 || words[0]!.startsWith('#') || words[0] === 'COMMIT') continue
    try {
      command(ns, words, options.exist === true)
    } catch (e) {
      if (!(e instanceof IpSetError)) throw e
      return { ok: false, errors: [{ line: i + 1, message: `ipset v7.17: Error in line ${i + 1}: ${e.message}` }] }
    }
  }
  return { ok: true, errors: [] }
}

/** ipset argv (without the program's name). `stdin` is read by restore. */
export function ipset(ns: Netns, argv: readonly string[], stdin = ''): ToolResult {
  ns.gen++
  const words = argv.filter((a) => a !== '-exist' && a !== '-!' && a !== '--exist')
  const exist = words.length !== argv.length
  if (words[0] === 'restore' || words[0] === '-R') {
    const r = ipsetRestore(ns, stdin, { exist })
    return { status: r.ok ? 0 : 1, stdout: '', stderr: r.errors.map((e) => `${e.message}\n`).join('') }
  }
  try {
    return { status: 0, ...command(ns, words, exist) }
  } catch (e) {
    if (!(e instanceof IpSetError)) throw e
    const usage = e instanceof UsageError ? "Try `ipset help' for more information.\n" : ''
    const stderr = e instanceof NotInSet ? `${e.message}\n` : `ipset v7.17: ${e.message}\n${usage}`
    return { status: e instanceof UsageError ? 2 : 1, stdout: '', stderr }
  }
}

class UsageError extends IpSetError {}
class NotInSet extends IpSetError {}

/** Splits a line at blanks; double quotes keep blanks. */
function splitWords(line: string): string[] {
  return [...line.matchAll(/"((?:[^"\\]|\\.)*)"|\S+/g)].map((m) => m[1] ?? m[0])
}

const COMMANDS: Readonly<Record<string, string>> = {
  create: 'create',
  '-N': 'create',
  n: 'create',
  add: 'add',
  '-A': 'add',
  del: 'del',
  '-D': 'del',
  test: 'test',
  '-T': 'test',
  destroy: 'destroy',
  x: 'destroy',
  '-X': 'destroy',
  list: 'list',
  '-L': 'list',
  l: 'list',
  save: 'save',
  '-S': 'save',
  flush: 'flush',
  '-F': 'flush',
  rename: 'rename',
  e: 'rename',
  '-E': 'rename',
  swap: 'swap',
  w: 'swap',
  '-W': 'swap',
}

interface Output {
  stdout: string
  stderr: string
}

function command(ns: Netns, words: readonly string[], exist: boolean): Output {
  const name = COMMANDS[words[0] ?? '']
  if (name === undefined) throw new UsageError(`No command specified: unknown argument ${words[0] ?? ''}`)
  const args = words.slice(1).filter((a) => a !== '-exist' && a !== '-!')
  const ignore = exist || args.length !== words.length - 1
  const quiet = { stdout: '', stderr: '' }
  const need = (n: number): void => {
    if (args.length >= n) return
    const which = args.length === 0 ? 'mandatory' : 'second mandatory'
    throw new UsageError(
      `Missing ${which} argument to command ${name}`
        .replace('second', 'Second')
        .replace('Missing Second', 'Missing second'),
    )
  }
  switch (name) {
    case 'create':
      need(2)
      createSet(ns, args[0]!, args[1]!, args.slice(2), ignore)
      return quiet
    case 'add':
      need(2)
      addElement(ns, setOf(ns, args[0]!), args[1]!, args.slice(2), ignore)
      return quiet
    case 'del':
      need(2)
      delElement(ns, setOf(ns, args[0]!), args[1]!, ignore)
      return quiet
    case 'test':
      need(2)
      return testElement(ns, setOf(ns, args[0]!), args[1]!)
    case 'flush':
      if (args.length > 0) setOf(ns, args[0]!).flush()
      else for (const set of sets(ns).values()) set.flush()
      return quiet
    case 'destroy':
      destroy(ns, args[0])
      return quiet
    case 'rename': {
      need(2)
      const set = setOf(ns, args[0]!)
      if (sets(ns).has(args[1]!)) throw new IpSetError('Set cannot be renamed: a set with the new name already exists')
      if (ns.nf.tables.ipsets.references(set) > 0) {
        throw new IpSetError('Set cannot be renamed: it is in use by another system')
      }
      renameSet(ns, set, args[1]!)
      return quiet
    }
    case 'swap': {
      need(2)
      const a = setOf(ns, args[0]!)
      const b = sets(ns).get(args[1]!)
      if (b === undefined) throw new IpSetError('Sets cannot be swapped: the second set does not exist')
      if (a.type !== b.type || (a.in6 === null) !== (b.in6 === null))
        throw new IpSetError('The sets cannot be swapped: their type does not match')
      ns.nf.tables.ipsets.swap(a, b)
      return quiet
    }
    case 'save':
      return { stdout: ipsetSave(ns, args[0]), stderr: '' }
    default:
      return { stdout: list(ns, args), stderr: '' }
  }
}

function sets(ns: Netns): Map<string, IpSet> {
  return ns.nf.tables.ipsets.sets
}

function setOf(ns: Netns, name: string): IpSet {
  const set = sets(ns).get(name)
  if (set === undefined) throw new IpSetError('The set with the given name does not exist')
  return set
}

function renameSet(ns: Netns, set: IpSet, name: string): void {
  const all = [...sets(ns).values()]
  set.name = name
  sets(ns).clear()
  for (const s of all) sets(ns).set(s.name, s)
}

function destroy(ns: Netns, name: string | undefined): void {
  const registry = ns.nf.tables.ipsets
  const doomed = name === undefined ? [...sets(ns).values()] : [setOf(ns, name)]
  for (const set of doomed) {
    if (registry.references(set) > 0)
      throw new IpSetError('Set cannot be destroyed: it is in use by a kernel component')
  }
  for (const set of doomed) sets(ns).delete(set.name)
}

function number(text: string | undefined, from: number, to: number): number {
  if (text === undefined || !/^(0x[0-9a-fA-F]+|\d+)$/.test(text)) {
    throw new IpSetError(`Syntax error: '${text ?? ''}' is invalid as number`)
  }
  const v = Number(text)
  if (v < from || v > to) throw new IpSetError(`Syntax error: '${text}' is out of range ${from}-${to}`)
  return v
}

function fnv(text: string): number {
  let h = 0x811c9dc5
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  return h >>> 0
}

function createSet(ns: Netns, name: string, typeName: string, args: readonly string[], exist: boolean): void {
  if (name.length > 31) throw new IpSetError(`Syntax error: setname '${name}' is longer than 31 characters`)
  const type = SET_TYPES.get(typeName)
  if (type === undefined) {
    const why = SET_TYPES_ELSEWHERE.has(typeName) ? 'is not modelled' : 'is unknown'
    throw new IpSetError(`Syntax error: typename '${typeName}' ${why}`)
  }
  const { options, inet6 } = parseOptions(name, type, args)
  const old = sets(ns).get(name)
  if (old !== undefined) {
    if (exist && old.type === type) return
    throw new IpSetError('Set cannot be created: set with the same name already exists')
  }
  sets(ns).set(name, new IpSet(name, type, options, inet6 ? ns.world.in6 : null))
}

function parseOptions(name: string, type: SetType, args: readonly string[]): { options: SetOptions; inet6: boolean } {
  const addressed = type.kind === 'hash' && type.parts[0] !== 'mac'
  const o: SetOptions = {
    hashsize: 1024,
    maxelem: 65536,
    netmask: 0,
    markmask: -1,
    timeout: -1,
    counters: false,
    comment: false,
    skbinfo: false,
    bucketsize: 12,
    initval: fnv(name),
    rangeFrom: 0,
    rangeTo: 0,
    size: 8,
  }
  let range = false
  let inet6 = false
  for (let i = 0; i < args.length; i++) {
    const value = args[i + 1]
    switch (args[i]) {
      case 'family':
        if (!addressed) throw new UsageError("Unknown argument: `family'")
        if (value !== 'inet' && value !== 'ipv4' && value !== 'inet6' && value !== 'ipv6')
          throw new IpSetError(`Syntax error: unknown inet family ${value ?? ''}`)
        inet6 = value.endsWith('6')
        i++
        break
      case 'hashsize':
        o.hashsize = Math.max(64, 2 ** Math.ceil(Math.log2(number(value, 1, 0xffffffff))))
        i++
        break
      case 'maxelem':
        o.maxelem = number(value, 1, 0xffffffff)
        i++
        break
      case 'netmask':
        o.netmask = number(value, 1, inet6 || args.includes('inet6') ? 128 : 32)
        i++
        break
      case 'markmask':
        o.markmask = number(value, 1, 0xffffffff) | 0
        i++
        break
      case 'timeout':
        o.timeout = number(value, 0, 2147483)
        i++
        break
      case 'bucketsize':
        o.bucketsize = Math.min(12, number(value, 2, 14))
        i++
        break
      case 'initval':
        o.initval = number(value, 0, 0xffffffff)
        i++
        break
      case 'size':
        o.size = Math.max(4, number(value, 1, 0xffffffff))
        i++
        break
      case 'range':
        parseRange(type, value ?? '', o)
        range = true
        i++
        break
      case 'counters':
        o.counters = true
        break
      case 'comment':
        o.comment = true
        break
      case 'skbinfo':
        o.skbinfo = true
        break
      case 'forceadd':
        break
      default:
        throw new UsageError(`Unknown argument: \`${args[i]}'`)
    }
  }
  if (o.netmask === 0) o.netmask = inet6 ? 128 : 32
  if (type.kind === 'bitmap') {
    if (!range) throw new UsageError("Mandatory option `range' is missing")
    o.maxelem = Number.POSITIVE_INFINITY
    if (o.netmask < 32) {
      o.rangeFrom = (o.rangeFrom & cidrMask(o.netmask)) >>> 0
      o.rangeTo = (o.rangeTo | ~cidrMask(o.netmask)) >>> 0
    }
  }
  return { options: o, inet6 }
}

function parseRange(type: SetType, text: string, o: SetOptions): void {
  if (type.name === 'bitmap:port') {
    const [a, b] = text.split('-')
    o.rangeFrom = number(a, 0, 65535)
    o.rangeTo = number(b, 0, 65535)
    return
  }
  const m = /^([\d.]+)(?:-([\d.]+)|\/(\d+))$/.exec(text)
  const from = m === null ? null : parseIpv4(m[1]!)
  const to = m?.[2] === undefined ? null : parseIpv4(m[2])
  if (from === null || (m![2] !== undefined && to === null)) throw new IpSetError(`Syntax error: cannot parse ${text}`)
  const n = m![3] === undefined ? 32 : number(m![3], 0, 32)
  o.rangeFrom = to === null ? (from & cidrMask(n)) >>> 0 : from >>> 0
  o.rangeTo = to === null ? (from | ~cidrMask(n)) >>> 0 : to >>> 0
}

interface ElementOptions {
  timeout: number
  packets: number
  bytes: number
  comment: string
  nomatch: boolean
  place: 'before' | 'after' | ''
  at: string
}

function elementOptions(set: IpSet, args: readonly string[]): ElementOptions {
  const o: ElementOptions = { timeout: -1, packets: 0, bytes: 0, comment: '', nomatch: false, place: '', at: '' }
  for (let i = 0; i < args.length; i++) {
    const word = args[i]!
    if (word === 'nomatch') {
      o.nomatch = true
      continue
    }
    const value = args[++i]
    if (word === 'timeout') {
      o.timeout = number(value, 0, 2147483)
      if (set.options.timeout < 0)
        throw new IpSetError('Timeout cannot be used: set was created without timeout support')
    } else if (word === 'packets' || word === 'bytes') {
      o[word] = number(value, 0, Number.MAX_SAFE_INTEGER)
      if (!set.options.counters) {
        throw new IpSetError('Packet/byte counters cannot be used: set was created without counter support')
      }
    } else if (word === 'comment') {
      o.comment = value ?? ''
      if (!set.options.comment) throw new IpSetError('Comment cannot be used: set was created without comment support')
    } else if (word === 'before' || word === 'after') {
      o.place = word
      o.at = value ?? ''
    } else throw new UsageError(`Unknown argument: \`${word}'`)
  }
  return o
}

function addElement(ns: Netns, set: IpSet, text: string, args: readonly string[], exist: boolean): void {
  const o = elementOptions(set, args)
  const now = ns.world.nowNs
  const seconds = o.timeout >= 0 ? o.timeout : set.options.timeout
  const until = set.options.timeout < 0 || seconds === 0 ? Infinity : now + seconds * 1e9
  if (set.type.kind === 'list') {
    addMember(ns, set, text, o, until, exist)
    return
  }
  for (const [a, b, c, d, flags] of parseElement(set, text, true)) {
    if (!exist && set.find(a, b, c, d, now) >= 0) {
      throw new IpSetError("Element cannot be added to the set: it's already added")
    }
    const row = set.insert(a, b, c, d, now)
    if (row < 0) throw new IpSetError('Hash is full, cannot add more elements')
    set.untilNs[row] = until
    set.flags[row] = flags | (o.nomatch ? ELEM_NOMATCH : 0)
    set.packets[row] = o.packets
    set.bytes[row] = o.bytes
    set.comments[row] = o.comment
  }
}

function addMember(ns: Netns, list: IpSet, name: string, o: ElementOptions, until: number, exist: boolean): void {
  const member = sets(ns).get(name)
  if (member === undefined) throw new IpSetError('Set to be added/deleted/tested as element does not exist.')
  if (member.type.kind === 'list') throw new IpSetError('Set with list:set type cannot be added to list:set')
  list.members = list.listMembers(ns.world.nowNs)
  const old = list.members.find((m) => m.set === member)
  if (old !== undefined) {
    if (!exist) throw new IpSetError("Element cannot be added to the set: it's already added")
    old.untilNs = until
    return
  }
  if (list.members.length >= list.options.size) throw new IpSetError('Set is full, cannot add more elements')
  let at = list.members.length
  if (o.place !== '') {
    const other = list.members.findIndex((m) => m.set.name === o.at)
    if (other < 0) throw new IpSetError('Reference set is not added to the list')
    at = o.place === 'before' ? other : other + 1
  }
  list.members.splice(at, 0, { set: member, comment: o.comment, untilNs: until })
}

function delElement(ns: Netns, set: IpSet, text: string, exist: boolean): void {
  const missing = (): void => {
    if (!exist) throw new IpSetError("Element cannot be deleted from the set: it's not added")
  }
  if (set.type.kind === 'list') {
    if (!sets(ns).has(text)) throw new IpSetError('Set to be added/deleted/tested as element does not exist.')
    const i = set.members.findIndex((m) => m.set.name === text)
    if (i < 0) missing()
    else set.members.splice(i, 1)
    return
  }
  for (const [a, b, c, d] of parseElement(set, text, false)) {
    const row = set.find(a, b, c, d, ns.world.nowNs)
    if (row < 0) missing()
    else set.removeRow(row)
  }
}

function testElement(ns: Netns, set: IpSet, text: string): Output {
  let found: boolean
  if (set.type.kind === 'list') found = set.listMembers(ns.world.nowNs).some((m) => m.set.name === text)
  else {
    const keys = parseElement(set, text, false)
    found = keys.every((k) => testKey(ns, set, k))
    // netmask sets show the address as given
    if (keys.length === 1 && set.options.netmask === set.bits)
      text = formatKey(set, keys[0]![0], keys[0]![1], keys[0]![2], keys[0]![3])
  }
  if (!found) throw new NotInSet(`${text} is NOT in set ${set.name}.`)
  return { stdout: '', stderr: `Warning: ${text} is in set ${set.name}.\n` }
}

/** An address tested against networks matches by the most specific one; a network only itself. */
function testKey(ns: Netns, set: IpSet, k: readonly number[]): boolean {
  const [a, b, c, d] = [k[0]!, k[1]!, k[2]!, k[3]!]
  const parts = set.type.parts
  const first = parts[0] === 'net'
  const second = parts[parts.length - 1] === 'net2'
  const host = (!first || (d & 0xff) === set.bits) && (!second || d >>> 8 === set.bits)
  if (!host || (!first && !second)) {
    const row = set.find(a, b, c, d, ns.world.nowNs)
    return row >= 0 && (set.flags[row]! & ELEM_NOMATCH) === 0
  }
  for (const lengths of set.lengths) {
    const net = first ? set.findNetwork(a, lengths & 0xff) : a
    const net2 = second ? set.findNetwork(c, lengths >>> 8) : c
    const row = set.find(net, b, net2, lengths, ns.world.nowNs)
    if (row >= 0) return (set.flags[row]! & ELEM_NOMATCH) === 0
  }
  return false
}

function header(set: IpSet): string {
  const o = set.options
  const words: string[] = []
  if (set.type.kind === 'hash') {
    if (set.type.name !== 'hash:mac') words.push(`family ${set.in6 === null ? 'inet' : 'inet6'}`)
    words.push(`hashsize ${o.hashsize}`, `maxelem ${o.maxelem}`)
  } else if (set.type.kind === 'bitmap') {
    const port = set.type.name === 'bitmap:port'
    const text = (v: number): string => (port ? String(v) : formatIpv4(v))
    words.push(`range ${text(o.rangeFrom)}-${text(o.rangeTo)}`)
  } else words.push(`size ${o.size}`)
  if (o.netmask < set.bits) words.push(`netmask ${o.netmask}`)
  if (set.type.name === 'hash:ip,mark') words.push(`markmask 0x${(o.markmask >>> 0).toString(16).padStart(8, '0')}`)
  if (o.timeout >= 0) words.push(`timeout ${o.timeout}`)
  if (o.counters) words.push('counters')
  if (o.comment) words.push('comment')
  if (o.skbinfo) words.push('skbinfo')
  if (set.type.kind === 'hash') {
    words.push(`bucketsize ${o.bucketsize}`, `initval 0x${o.initval.toString(16).padStart(8, '0')}`)
  }
  return words.join(' ')
}

function elements(ns: Netns, set: IpSet): string[] {
  const now = ns.world.nowNs
  const left = (until: number): string => {
    if (set.options.timeout < 0) return ''
    return ` timeout ${until === Infinity ? 0 : Math.max(1, Math.floor((until - now) / 1e9))}`
  }
  if (set.type.kind === 'list') {
    return set
      .listMembers(now)
      .map((m) => m.set.name + left(m.untilNs) + (m.comment === '' ? '' : ` comment "${m.comment}"`))
  }
  return set.rows(now).map((row) => {
    let out = formatElement(set, row)
    out += left(set.untilNs[row]!)
    if ((set.flags[row]! & ELEM_NOMATCH) !== 0) out += ' nomatch'
    if (set.options.counters) out += ` packets ${set.packets[row]} bytes ${set.bytes[row]}`
    return set.comments[row] === '' ? out : `${out} comment "${set.comments[row]}"`
  })
}

/** All sets, lists of sets last: the order of ipset save and list. */
function inOrder(ns: Netns, name: string | undefined): IpSet[] {
  if (name !== undefined) return [setOf(ns, name)]
  const all = [...sets(ns).values()]
  return [...all.filter((s) => s.type.kind !== 'list'), ...all.filter((s) => s.type.kind === 'list')]
}

/** ipset save [name]. */
export function ipsetSave(ns: Netns, name?: string): string {
  const lines: string[] = []
  for (const set of inOrder(ns, name)) {
    lines.push(`create ${set.name} ${set.type.name} ${header(set)}`)
    for (const e of elements(ns, set)) lines.push(`add ${set.name} ${e}`)
  }
  return lines.map((l) => `${l}\n`).join('')
}

/** ipset list [name]. */
export function ipsetList(ns: Netns, name?: string): string {
  return list(ns, name === undefined ? [] : [name])
}

function list(ns: Netns, args: readonly string[]): string {
  const names = args.some((a) => a === '-n' || a === '-name')
  const terse = args.some((a) => a === '-t' || a === '-terse')
  const name = args.find((a) => !a.startsWith('-'))
  const all = inOrder(ns, name)
  if (names) return all.map((s) => `${s.name}\n`).join('')
  return all
    .map((set) => {
      const rows = elements(ns, set)
      const head = [
        `Name: ${set.name}`,
        `Type: ${set.type.name}`,
        `Revision: ${set.type.revision}`,
        `Header: ${header(set)}`,
        `References: ${ns.nf.tables.ipsets.references(set)}`,
        `Number of entries: ${rows.length}`,
      ]
      const lines = terse ? head : [...head, 'Members:', ...rows]
      return lines.map((l) => `${l}\n`).join('')
    })
    .join('\n')
}
