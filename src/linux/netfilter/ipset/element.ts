/**
 * Elements as text: `10.0.0.1,tcp:80,10.2.0.0/16` to keys and back.
 *
 * ipset: lib/parse.c, lib/print.c. Ranges of addresses and ports are expanded as the kernel does; a range given to a
 * network part is cut into networks.
 */
import { formatIpv4, parseIpv4 } from '../../../addr/ipv4.ts'
import { parseIpv6 } from '../../../addr/ipv6.ts'
import { formatMac, parseMac } from '../../../addr/mac.ts'
import { inetNtop6 } from '../iptables/ip-values.ts'
import { PROTO_NAMES, parseProtocol, strtoui } from '../iptables/values.ts'
import { cidrMask, ELEM_PHYSDEV, type IpSet, KEY_WORDS } from './set.ts'

/** Bad input, in the words of ipset. */
export class IpSetError extends Error {}

/** One key: four words and element flags. */
export type ElementKey = readonly [number, number, number, number, number]

const ICMP_NAMES: readonly (readonly [string, number])[] = [
  ['echo-reply', 0x0000],
  ['pong', 0x0000],
  ['network-unreachable', 0x0300],
  ['host-unreachable', 0x0301],
  ['protocol-unreachable', 0x0302],
  ['port-unreachable', 0x0303],
  ['fragmentation-needed', 0x0304],
  ['source-route-failed', 0x0305],
  ['network-unknown', 0x0306],
  ['host-unknown', 0x0307],
  ['network-prohibited', 0x0309],
  ['host-prohibited', 0x030a],
  ['TOS-network-unreachable', 0x030b],
  ['TOS-host-unreachable', 0x030c],
  ['communication-prohibited', 0x030d],
  ['host-precedence-violation', 0x030e],
  ['precedence-cutoff', 0x030f],
  ['source-quench', 0x0400],
  ['network-redirect', 0x0500],
  ['host-redirect', 0x0501],
  ['TOS-network-redirect', 0x0502],
  ['TOS-host-redirect', 0x0503],
  ['echo-request', 0x0800],
  ['ping', 0x0800],
  ['router-advertisement', 0x0900],
  ['router-solicitation', 0x0a00],
  ['ttl-zero-during-transit', 0x0b00],
  ['ttl-zero-during-reassembly', 0x0b01],
  ['ip-header-bad', 0x0c00],
  ['required-option-missing', 0x0c01],
  ['timestamp-request', 0x0d00],
  ['timestamp-reply', 0x0e00],
  ['address-mask-request', 0x1100],
  ['address-mask-reply', 0x1200],
]

/** Most elements that one line may stand for. */
const MAX_RANGE = 1 << 20

/** All keys that the text stands for. `create`: interface names are remembered. */
export function parseElement(set: IpSet, text: string, create: boolean): ElementKey[] {
  const words = text.split(',')
  const parts = set.type.parts
  if (words.length < parts.length) {
    throw new IpSetError(`Syntax error: Second element is missing from ${text}.`)
  }
  if (words.length > parts.length)
    throw new IpSetError(`Syntax error: Elem separator in ${text}, but settype ${set.type.name} supports none.`)
  let keys: [number, number, number, number, number][] = [[0, 0, 0, 0, 0]]
  parts.forEach((part, i) => {
    const values = parsePart(set, part, words[i]!, create)
    if (keys.length * values.length > MAX_RANGE) throw new IpSetError('Range is too large')
    keys = keys.flatMap((k) =>
      values.map((v): typeof k => [k[0] | v[0], k[1] | v[1], k[2] | v[2], k[3] | v[3], k[4] | v[4]]),
    )
  })
  return keys
}

function parsePart(set: IpSet, part: string, text: string, create: boolean): ElementKey[] {
  switch (part) {
    case 'ip':
      return addressRange(set, text).map((ip) => [ip, 0, 0, 0, 0])
    case 'ip2':
      return addressRange(set, text, false).map((ip) => [0, 0, ip, 0, 0])
    case 'net':
      return networks(set, text, set.type.name === 'hash:net,iface').map(([ip, n]) => [ip, 0, 0, n, 0])
    case 'net2':
      return networks(set, text, false).map(([ip, n]) => [0, 0, ip, n << 8, 0])
    case 'port':
      return ports(set, text).map((p) => (set.type.kind === 'bitmap' ? [p & 0xffff, 0, 0, 0, 0] : [0, p, 0, 0, 0]))
    case 'mark': {
      const v = strtoui(text)
      if (v === null) throw new IpSetError(`Syntax error: '${text}' is invalid as number`)
      return [[0, v & set.options.markmask, 0, 0, 0]]
    }
    case 'iface': {
      const phys = text.startsWith('physdev:')
      const name = phys ? text.slice(8) : text
      if (name === '' || name.length > 15)
        throw new IpSetError(`Syntax error: interface name '${name}' is longer than 15 characters`)
      const n = set.iface(phys ? text : name, create)
      return [[0, n, 0, 0, phys ? ELEM_PHYSDEV : 0]]
    }
    default: {
      const mac = parseMac(text)
      if (mac === null) throw new IpSetError(`Syntax error: cannot parse ${text} as ethernet address`)
      return [[mac.lo, mac.hi, 0, 0, 0]]
    }
  }
}

function ipv4(text: string): number {
  const ip = parseIpv4(text)
  if (ip === null) throw new IpSetError(`Syntax error: cannot parse ${text}: resolving to IPv4 address failed`)
  return ip
}

function cidr(text: string, max = 32): number {
  if (!/^\d+$/.test(text)) throw new IpSetError(`Syntax error: '${text}' is invalid as number`)
  const n = Number(text)
  if (n > max) throw new IpSetError(`Syntax error: '${text}' is out of range 0-${max}`)
  return n
}

/** [first, last] of `a`, `a-b` or `a/n`, unsigned. */
function bounds(text: string): [number, number] {
  const dash = text.indexOf('-')
  if (dash > 0) {
    const from = ipv4(text.slice(0, dash)) >>> 0
    const to = ipv4(text.slice(dash + 1)) >>> 0
    return from <= to ? [from, to] : [to, from]
  }
  const slash = text.indexOf('/')
  const ip = ipv4(slash < 0 ? text : text.slice(0, slash))
  const n = slash < 0 ? 32 : cidr(text.slice(slash + 1))
  return [(ip & cidrMask(n)) >>> 0, (ip | ~cidrMask(n)) >>> 0]
}

function addressRange(set: IpSet, text: string, first = true): number[] {
  if (set.in6 !== null) return [plainIpv6(set, text)]
  const [from, to] = bounds(text)
  const netmask = first ? set.options.netmask : 32
  const step = 2 ** (32 - netmask)
  if ((to - from) / step >= MAX_RANGE) throw new IpSetError('Range is too large')
  const out: number[] = []
  for (let ip = (from & cidrMask(netmask)) >>> 0; ip <= to; ip += step) out.push(ip | 0)
  if (set.type.kind === 'bitmap') {
    const { rangeFrom, rangeTo } = set.options
    if (from < rangeFrom || to > rangeTo) throw new IpSetError('Element is out of the range of the set')
  }
  return out
}

function ipv6(set: IpSet, text: string): number {
  const words = parseIpv6(text.replace(/^\[(.*)\]$/, '$1'))
  if (words === null) throw new IpSetError(`Syntax error: cannot parse ${text}: resolving to IPv6 address failed`)
  return set.in6!.intern(...words)
}

/** parse_ip: one address; only its own prefix length may be written. */
function plainIpv6(set: IpSet, text: string): number {
  const m = /^(.*)\/(\d+)$/.exec(text)
  if (text.includes('-') || (m !== null && m[2] !== '128'))
    throw new IpSetError(`Syntax error: plain IP address must be supplied: ${text}`)
  const ip = ipv6(set, m === null ? text : m[1]!)
  return set.options.netmask < 128 ? set.network(ip, set.options.netmask) : ip
}

function network6(set: IpSet, text: string, zeroAllowed: boolean): [number, number] {
  if (text.includes('-')) throw new IpSetError(`Syntax error: IP address or IP/cidr must be specified: ${text}`)
  const slash = text.indexOf('/')
  const ip = ipv6(set, slash < 0 ? text : text.slice(0, slash))
  const n = slash < 0 ? 128 : cidr(text.slice(slash + 1), 128)
  if (n === 0 && !zeroAllowed) throw new IpSetError('The value of the CIDR parameter of the IP address is invalid')
  return [set.network(ip, n), n]
}

function networks(set: IpSet, text: string, zeroAllowed: boolean): [number, number][] {
  if (set.in6 !== null) return [network6(set, text, zeroAllowed)]
  if (!text.includes('-')) {
    const slash = text.indexOf('/')
    const ip = ipv4(slash < 0 ? text : text.slice(0, slash))
    const n = slash < 0 ? 32 : cidr(text.slice(slash + 1))
    if (n === 0 && !zeroAllowed) throw new IpSetError('The value of the CIDR parameter of the IP address is invalid')
    return [[ip & cidrMask(n), n]]
  }
  let [from, to] = bounds(text)
  const out: [number, number][] = []
  while (from <= to) {
    let n = 32
    while (n > 1 && from % 2 ** (33 - n) === 0 && from + 2 ** (33 - n) - 1 <= to) n--
    out.push([from | 0, n])
    from += 2 ** (32 - n)
  }
  return out
}

/** proto << 16 | port of `tcp:80`, `80-90`, `icmp:8/0`, `4:0`. */
function ports(set: IpSet, text: string): number[] {
  const colon = text.indexOf(':')
  let proto = 6
  if (colon >= 0) {
    try {
      proto = parseProtocol(text.slice(0, colon))
    } catch {
      throw new IpSetError(`Syntax error: cannot parse '${text.slice(0, colon)}' as a protocol`)
    }
  }
  const rest = text.slice(colon + 1)
  if (proto === 1) {
    if (set.in6 !== null) throw otherFamily('ICMP', 'inet')
    return [(1 << 16) | icmp(rest)]
  }
  if (proto === 58) {
    if (set.in6 === null && set.type.kind === 'hash') throw otherFamily('ICMPv6', 'inet6')
    return [(58 << 16) | icmpv6(rest)]
  }
  if (proto !== 6 && proto !== 17 && proto !== 132 && proto !== 136) {
    if (rest !== '0') throw new IpSetError('Syntax error: Protocol can be used with pseudo-port value zero only.')
    return [proto << 16]
  }
  const [a, b] = rest.split('-')
  const one = (t: string): number => {
    const v = strtoui(t)
    if (v === null) throw new IpSetError(`Syntax error: cannot parse '${t}' as a ${PROTO_NAMES[proto]} port`)
    if (v > 65535) throw new IpSetError(`Syntax error: '${t}' is out of range 0-65535`)
    return v
  }
  const from = one(a!)
  const to = b === undefined ? from : one(b)
  const out: number[] = []
  for (let p = Math.min(from, to); p <= Math.max(from, to); p++) out.push((proto << 16) | p)
  if (set.type.kind === 'bitmap' && (from < set.options.rangeFrom || to > set.options.rangeTo)) {
    throw new IpSetError('Element is out of the range of the set')
  }
  return out
}

function otherFamily(proto: string, family: string): IpSetError {
  return new IpSetError(
    `Syntax error: Protocol ${proto} can be used with family ${family} only\nInvalid add command: missing setname`,
  )
}

const ICMPV6_NAMES: readonly (readonly [string, number])[] = [
  ['no-route', 0x0100],
  ['communication-prohibited', 0x0101],
  ['address-unreachable', 0x0103],
  ['port-unreachable', 0x0104],
  ['packet-too-big', 0x0200],
  ['ttl-zero-during-transit', 0x0300],
  ['ttl-zero-during-reassembly', 0x0301],
  ['bad-header', 0x0400],
  ['unknown-header-type', 0x0401],
  ['unknown-option', 0x0402],
  ['echo-request', 0x8000],
  ['ping', 0x8000],
  ['echo-reply', 0x8100],
  ['pong', 0x8100],
  ['router-solicitation', 0x8500],
  ['router-advertisement', 0x8600],
  ['neighbour-solicitation', 0x8700],
  ['neigbour-solicitation', 0x8700],
  ['neighbour-advertisement', 0x8800],
  ['neigbour-advertisement', 0x8800],
  ['redirect', 0x8900],
]

function icmpv6(text: string): number {
  const named = ICMPV6_NAMES.find(([name]) => name.toLowerCase() === text.toLowerCase())
  if (named !== undefined) return named[1]
  const m = /^(\d+)\/(\d+)$/.exec(text)
  if (m === null || Number(m[1]) > 255 || Number(m[2]) > 255)
    throw new IpSetError(`Cannot parse ${text} as an ICMPv6 type/code.`)
  return (Number(m[1]) << 8) | Number(m[2])
}

function icmp(text: string): number {
  const named = ICMP_NAMES.find(([name]) => name.toLowerCase() === text.toLowerCase())
  if (named !== undefined) return named[1]
  const m = /^(\d+)\/(\d+)$/.exec(text)
  if (m === null || Number(m[1]) > 255 || Number(m[2]) > 255) {
    throw new IpSetError(`Syntax error: Cannot parse ${text} as an ICMP type/code.`)
  }
  return (Number(m[1]) << 8) | Number(m[2])
}

/** The element of a row as ipset prints it, without its extensions. */
export function formatElement(set: IpSet, row: number): string {
  const k = row * KEY_WORDS
  return formatKey(set, set.keys[k]!, set.keys[k + 1]!, set.keys[k + 2]!, set.keys[k + 3]!)
}

/** A key as ipset prints it. */
export function formatKey(set: IpSet, a: number, b: number, c: number, d: number): string {
  const one = (ip: number): string => (set.in6 === null ? formatIpv4(ip) : inetNtop6(set.in6.wordsOf(ip)))
  const net = (ip: number, n: number): string => (n === set.bits ? one(ip) : `${one(ip)}/${n}`)
  return set.type.parts
    .map((part) => {
      switch (part) {
        case 'ip':
          return one(a)
        case 'ip2':
          return one(c)
        case 'net':
          return net(a, d & 0xff)
        case 'net2':
          return net(c, d >>> 8)
        case 'port':
          return set.type.kind === 'bitmap' ? String(a) : formatPort(b)
        case 'mark':
          return `0x${(b >>> 0).toString(16).padStart(8, '0')}`
        case 'iface':
          return set.ifaces[b]!
        default:
          return formatMac({ hi: b, lo: a }).toUpperCase()
      }
    })
    .join(',')
}

function formatPort(b: number): string {
  const proto = b >>> 16
  const value = b & 0xffff
  const name = PROTO_NAMES[proto] ?? String(proto)
  if (proto !== 1 && proto !== 58) return `${name}:${value}`
  const named = (proto === 1 ? ICMP_NAMES : ICMPV6_NAMES).find(([, v]) => v === value)
  return `${name}:${named?.[0] ?? `${value >>> 8}/${value & 255}`}`
}
