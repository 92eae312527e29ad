/**
 * Values: from text by type, to text, and to the words that a register or a set key holds.
 *
 * nft: src/datatype.c (parse and print functions of the types), 1.0.6. A value of up to 32 bits is one word, its number;
 * wider ones are big-endian words; interface names are their 16 bytes.
 */
import { formatIpv4, parseIpv4 } from '../../../addr/ipv4.ts'
import { parseIpv6 } from '../../../addr/ipv6.ts'
import type { Netns } from '../../netns.ts'
import { inetNtop6 } from '../iptables/ip-values.ts'
import { type Loc, NftError, type ValueExpr } from './ast.ts'
import { parseDuration } from './cursor.ts'
import { type DataType, SERVICE_NAMES, T_SERVICE } from './datatypes.ts'

const IFNAMSIZ = 16

/** A typed value. */
export function value(t: DataType, len: number, v: bigint, loc: Loc): ValueExpr {
  return { k: 'val', t, len, v, loc }
}

/** datatype parse: the value of a word. */
export function parseSymbol(ns: Netns, text: string, num: boolean, t: DataType, len: number, loc: Loc): ValueExpr {
  const fail = (message: string): never => {
    throw new NftError(loc, message)
  }
  const max = (1n << BigInt(len)) - 1n
  switch (t.format) {
    case 'ipv4': {
      if (num) return ranged(BigInt(text), max, t, len, loc)
      if (parseIpv6(text) !== null) return fail('Could not resolve hostname: Address family for hostname not supported')
      const ip = parseIpv4(text)
      if (ip === null) return fail('Could not resolve hostname: Name or service not known')
      return value(t, len, BigInt(ip >>> 0), loc)
    }
    case 'ipv6': {
      const w = parseIpv6(text)
      if (w === null && parseIpv4(text) !== null)
        return fail('Could not resolve hostname: Address family for hostname not supported')
      if (w === null) return fail('Could not resolve hostname: Name or service not known')
      return value(
        t,
        len,
        w.reduce((a, x) => (a << 32n) | BigInt(x >>> 0), 0n),
        loc,
      )
    }
    case 'mac': {
      if (num) return ranged(BigInt(text), max, t, len, loc)
      if (!/^(?:[0-9a-fA-F]{1,2}:){5}[0-9a-fA-F]{1,2}$/.test(text)) return fail(t.error)
      return value(
        t,
        len,
        BigInt(
          `0x${text
            .split(':')
            .map((b) => b.padStart(2, '0'))
            .join('')}`,
        ),
        loc,
      )
    }
    case 'string':
      if (t.name === 'ifname' && text.length >= IFNAMSIZ) return fail(`String exceeds maximum length of ${IFNAMSIZ}`)
      return { k: 'val', t, len, v: 0n, s: text, loc }
    case 'ifindex': {
      if (num) return ranged(BigInt(text), max, t, len, loc)
      const dev = ns.devices.get(text)
      if (dev === undefined) return fail('Interface does not exist')
      return value(t, len, BigInt(dev.ifindex), loc)
    }
    case 'time': {
      const ms = num ? Number(text) * 1000 : parseDuration(text)
      if (ms === null) return fail(t.error)
      return value(t, len, BigInt(ms), loc)
    }
    case 'hour': {
      const m = /^(\d{1,2}):(\d{2})(?::(\d{2}))?$/.exec(text)
      if (m === null || Number(m[1]) > 23 || Number(m[2]) > 59) return fail('wrong time format')
      return value(t, len, BigInt(Number(m[1]) * 3600 + Number(m[2]) * 60 + Number(m[3] ?? 0)), loc)
    }
    case 'date': {
      const ms = Date.parse(`${text.replace(' ', 'T')}Z`)
      if (Number.isNaN(ms)) return fail('Cannot parse date')
      return value(t, len, BigInt(ms) * 1_000_000n, loc)
    }
    case 'classid': {
      if (text === 'none') return value(t, len, 0n, loc)
      if (text === 'root') return value(t, len, 0xffffffffn, loc)
      const m = /^([0-9a-fA-F]*):([0-9a-fA-F]*)$/.exec(text)
      if (m === null) return num ? ranged(BigInt(text), max, t, len, loc) : fail('Cannot parse classid')
      return value(t, len, BigInt(`0x${m[1] || '0'}`) * 65536n + BigInt(`0x${m[2] || '0'}`), loc)
    }
    case 'ctlabel':
      if (!num) return fail('conntrack label: could not parse')
      return value(t, len, 1n << BigInt(text), loc)
    case 'mark':
      if (!num) return fail(t.error)
      return ranged(BigInt(text), max, t, len, loc)
    default:
      break
  }
  if (t.name === T_SERVICE.name) {
    if (num) return BigInt(text) > 65535n ? fail('Service out of range') : value(t, len, BigInt(text), loc)
    const service = SERVICE_NAMES.find(([n]) => n === text)
    return service === undefined ? fail(t.error) : value(t, len, BigInt(service[1]), loc)
  }
  const row = t.symbols.find(([n]) => n === text)
  if (row !== undefined) return value(t, len, BigInt(row[1]), loc)
  if (num && t.name === 'inet_proto' && BigInt(text) > max) return fail('Protocol out of range')
  if (num && t.name !== 'boolean') return ranged(BigInt(text), max, t, len, loc)
  if (num) return value(t, len, BigInt(text), loc)
  if ((t.name === 'uid' || t.name === 'gid') && text === 'root') return value(t, len, 0n, loc)
  return fail(t.name === 'integer' ? `Could not parse integer` : t.error)
}

function ranged(v: bigint, max: bigint, t: DataType, len: number, loc: Loc): ValueExpr {
  if (v > max) throw new NftError(loc, `Value ${v} exceeds valid range 0-${max}`)
  return value(t, len, v, loc)
}

/** datatype print. */
export function formatValue(ns: Netns, e: ValueExpr): string {
  const { t, v } = e
  switch (t.format) {
    case 'ipv4':
      return formatIpv4(Number(v) | 0)
    case 'ipv6': {
      const w = [96n, 64n, 32n, 0n].map((s) => Number((v >> s) & 0xffffffffn) | 0)
      return inetNtop6([w[0]!, w[1]!, w[2]!, w[3]!])
    }
    case 'mac':
      return v
        .toString(16)
        .padStart(Math.ceil(e.len / 8) * 2, '0')
        .match(/../g)!
        .join(':')
    case 'string':
      return `"${e.s ?? ''}"`
    case 'ifindex': {
      const dev = ns.byIndex[Number(v)]
      return dev === undefined ? `${v}` : `"${dev.name}"`
    }
    case 'time':
      return formatDuration(Number(v))
    case 'hour': {
      const s = Number(v)
      const two = (n: number): string => String(n).padStart(2, '0')
      const base = `${two(Math.floor(s / 3600))}:${two(Math.floor((s % 3600) / 60))}`
      return `"${s % 60 === 0 ? base : `${base}:${two(s % 60)}`}"`
    }
    case 'date':
      return `"${new Date(Number(v / 1_000_000n)).toISOString().slice(0, 19).replace('T', ' ')}"`
    case 'classid':
      if (v === 0n) return 'none'
      if (v === 0xffffffffn) return 'root'
      return `${(v >> 16n) === 0n ? '' : (v >> 16n).toString(16)}:${(v & 0xffffn) === 0n ? '' : (v & 0xffffn).toString(16)}`
    case 'ctlabel':
      return bitNumbers(v).join(',')
    case 'mark':
      return `0x${v.toString(16).padStart(8, '0')}`
    default:
      break
  }
  const row = t.symbols.find(([, n]) => BigInt(n) === v)
  if (row !== undefined) return QUOTED_SYMBOLS.has(t.name) ? `"${row[0]}"` : row[0]
  if (t.format === 'hex')
    return `0x${t.name === 'integer' ? v.toString(16) : v.toString(16).padStart(Math.ceil(e.len / 8) * 2, '0')}`
  return `${v}`
}

/** Types whose symbols are printed as strings. */
export const QUOTED_SYMBOLS = new Set(['devgroup', 'realm', 'day'])

function bitNumbers(v: bigint): number[] {
  const out: number[] = []
  for (let i = 0; v >> BigInt(i) !== 0n; i++) if (((v >> BigInt(i)) & 1n) === 1n) out.push(i)
  return out
}

/** time_print: milliseconds as `1d2h3m4s5ms`. */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0s'
  const days = Math.floor(ms / 86_400_000)
  const hours = Math.floor((ms % 86_400_000) / 3_600_000)
  const minutes = Math.floor((ms % 3_600_000) / 60_000)
  const seconds = Math.floor((ms % 60_000) / 1000)
  const rest = ms % 1000
  let out = ''
  if (days > 0) out += `${days}d`
  if (hours > 0) out += `${hours}h`
  if (minutes > 0) out += `${minutes}m`
  if (seconds > 0) out += `${seconds}s`
  if (rest > 0) out += `${rest}ms`
  return out
}

/** Words that a value of a type takes. */
export function wordsOf(t: DataType, len: number): number {
  return t.format === 'string' ? IFNAMSIZ / 4 : Math.max(1, Math.ceil(len / 32))
}

/** Writes a value's words. */
export function putWords(e: ValueExpr, out: Int32Array, at: number): void {
  const n = wordsOf(e.t, e.len)
  if (e.t.format === 'string') {
    putName(e.s ?? '', out, at)
    return
  }
  for (let i = 0; i < n; i++) out[at + i] = Number((e.v >> BigInt(32 * (n - 1 - i))) & 0xffffffffn) | 0
}

/** Writes the 16 bytes of an interface name. */
export function putName(name: string, out: Int32Array, at: number): void {
  for (let w = 0; w < 4; w++) {
    let word = 0
    for (let b = 0; b < 4; b++) word = (word << 8) | (name.charCodeAt(w * 4 + b) & 0xff)
    out[at + w] = word
  }
}

/** A value out of words. */
export function fromWords(t: DataType, len: number, words: Int32Array, at: number, loc: Loc): ValueExpr {
  const n = wordsOf(t, len)
  if (t.format === 'string') {
    let s = ''
    for (let i = 0; i < 16; i++) {
      const c = (words[at + (i >> 2)]! >>> (24 - (i & 3) * 8)) & 0xff
      if (c === 0) break
      s += String.fromCharCode(c)
    }
    return { k: 'val', t, len, v: 0n, s, loc }
  }
  let v = 0n
  for (let i = 0; i < n; i++) v = (v << 32n) | BigInt(words[at + i]! >>> 0)
  return value(t, len, v, loc)
}
