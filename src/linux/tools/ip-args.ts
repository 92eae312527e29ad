/**
 * The command line of iproute2: words, abbreviations, options and batch files.
 *
 * Source: iproute2 lib/utils.c (matches, next_arg, get_prefix, incomplete_command), ip/ip.c (options). iproute2 takes any
 * prefix of a keyword, in the order in which its code compares them: callers list keywords in that order.
 */
import { parseIpv4 } from '../../addr/ipv4.ts'
import { type Mac, parseMac } from '../../addr/mac.ts'
import type { NetDevice } from '../device/device.ts'
import type { Netns } from '../netns.ts'
import { ToolExit } from './result.ts'

/** Options that stand before the object. */
export interface IpOptions {
  details: boolean
  json: boolean
  pretty: boolean
  oneline: boolean
  brief: boolean
  stats: number
  /** `inet`, `inet6`, or empty for both. */
  family: '' | 'inet' | 'inet6'
}

/** The words of one command. */
export class Args {
  private readonly words: readonly string[]
  private i = 0

  constructor(words: readonly string[]) {
    this.words = words
  }

  /** True when no word is left. */
  get done(): boolean {
    return this.i >= this.words.length
  }

  /** The next word without taking it, undefined at the end. */
  peek(): string | undefined {
    return this.words[this.i]
  }

  /** Takes the next word. */
  take(): string {
    const w = this.words[this.i++]
    if (w === undefined) throw new ToolExit(255, 'Command line is not complete. Try option "help"')
    return w
  }

  /** The words that are left, without taking them. */
  rest(): readonly string[] {
    return this.words.slice(this.i)
  }

  /** Takes the next word when it is exactly one of `keywords`. */
  accept(...keywords: readonly string[]): boolean {
    const w = this.words[this.i]
    if (w === undefined || !keywords.includes(w)) return false
    this.i++
    return true
  }
}

/** matches(): whether `word` is a non-empty prefix of `keyword`. */
export function matches(word: string, keyword: string): boolean {
  return word !== '' && keyword.startsWith(word)
}

/** `Error: any valid prefix is expected rather than "x".` and its relatives. */
export function invarg(message: string, word: string): never {
  throw new ToolExit(255, `Error: argument "${word}" is wrong: ${message}`)
}

/** An IPv4 prefix with optional length; `default`, `any` and `all` are 0/0. */
export function takePrefix(word: string): { ip: number; length: number; hasLength: boolean } {
  if (word === 'default' || word === 'any' || word === 'all') return { ip: 0, length: 0, hasLength: true }
  const slash = word.indexOf('/')
  const address = slash < 0 ? word : word.slice(0, slash)
  const ip = parseLoose(address)
  const lengthText = slash < 0 ? '32' : word.slice(slash + 1)
  let length = /^\d+$/.test(lengthText) ? Number(lengthText) : -1
  if (length < 0) {
    const mask = parseIpv4(lengthText)
    if (mask !== null && (((~mask >>> 0) + 1) & ~mask) === 0) length = 32 - Math.log2((~mask >>> 0) + 1)
  }
  if (ip === null || length < 0 || length > 32) {
    const family = address.includes(':') ? 'inet' : 'any valid'
    throw new ToolExit(1, `Error: ${family} prefix is expected rather than "${word}".`)
  }
  return { ip, length, hasLength: slash >= 0 }
}

/** iproute2's get_addr_ipv4: one to four octets, missing ones are 0 (`10/8`, `10.1/16`). */
function parseLoose(text: string): number | null {
  if (!/^\d{1,3}(\.\d{1,3}){0,3}$/.test(text)) return null
  const octets = text.split('.').map(Number)
  if (octets.some((o) => o > 255)) return null
  while (octets.length < 4) octets.push(0)
  return (octets[0]! << 24) | (octets[1]! << 16) | (octets[2]! << 8) | octets[3]!
}

/** An IPv4 address. */
export function takeAddress(word: string): number {
  const ip = parseLoose(word)
  if (ip === null) throw new ToolExit(1, `Error: any valid address is expected rather than "${word}".`)
  return ip
}

/** Whether the word reads as an IPv6 address or prefix (a label as `eth0:1` does not). */
export function isInet6(word: string): boolean {
  return /^[0-9a-fA-F:.]*:[0-9a-fA-F:.]*(\/\d+)?$/.test(word) && word.indexOf(':') !== word.lastIndexOf(':')
}

/** An IPv6 prefix with optional length as an In6Table id; `default`, `any` and `all` are ::/0. */
export function takePrefix6(ns: Netns, word: string): { addr: number; length: number; hasLength: boolean } {
  if (word === 'default' || word === 'any' || word === 'all') return { addr: 0, length: 0, hasLength: true }
  const slash = word.indexOf('/')
  const addr = ns.world.in6.parse(slash < 0 ? word : word.slice(0, slash))
  const lengthText = slash < 0 ? '128' : word.slice(slash + 1)
  const length = /^\d+$/.test(lengthText) ? Number(lengthText) : -1
  if (addr < 0 || length < 0 || length > 128) {
    throw new ToolExit(1, `Error: inet6 prefix is expected rather than "${word}".`)
  }
  return { addr, length, hasLength: slash >= 0 }
}

/** An IPv6 address as an In6Table id. */
export function takeAddress6(ns: Netns, word: string): number {
  const addr = ns.world.in6.parse(word)
  if (addr < 0) throw new ToolExit(1, `Error: inet6 address is expected rather than "${word}".`)
  return addr
}

/** A device of the namespace, or iproute2's message. */
export function takeDevice(ns: Netns, name: string, status = 1): NetDevice {
  const dev = ns.devices.get(name)
  if (dev === undefined) throw new ToolExit(status, `Cannot find device "${name}"`)
  return dev
}

/** A MAC address, or iproute2's message. */
export function takeMac(word: string): Mac {
  const mac = parseMac(word)
  if (mac === null) throw new ToolExit(255, `"${word}" is invalid lladdr.`)
  return mac
}

/** A number in decimal or 0x hex, or -1. */
export function parseNumber(word: string): number {
  return /^(0x[0-9a-fA-F]+|\d+)$/.test(word) ? Number(word) : -1
}

/** A number up to `max`, or iproute2's message. */
export function takeNumber(word: string, max: number, what: string): number {
  const n = parseNumber(word)
  if (n < 0 || n > max) invarg(what, word)
  return n
}

/** `on`/`off`. */
export function takeOnOff(keyword: string, word: string): boolean {
  if (word !== 'on' && word !== 'off')
    throw new ToolExit(255, `Error: argument of "${keyword}" must be one of "on" "off", not "${word}"`)
  return word === 'on'
}

/** Lines of a batch file, comments and continuation lines resolved; each is split into words, quotes kept together. */
export function batchCommands(text: string): string[][] {
  const out: string[][] = []
  for (const line of text.replace(/\\\n/g, ' ').split('\n')) {
    const words = (line.replace(/(^|\s)#.*$/, '').match(/"[^"]*"|'[^']*'|\S+/g) ?? []).map((w) =>
      w.replace(/^["'](.*)["']$/, '$1'),
    )
    if (words.length > 0) out.push(words)
  }
  return out
}
