/**
 * ping(8) of iputils 20221126 over a raw socket: -c -i -W -w -s -t -Q -M -I -q -n -4 -6.
 *
 * Time is virtual: the world runs on between requests, and a round trip takes the time that the world's links take. Not
 * modelled, and said so: flood and adaptive ping, record route and timestamp options, -D, names that need DNS, and a
 * ping without -c or -w, which would not end.
 *
 * Source: iputils ping/ping.c (ping4_parse_reply, pr_icmph), ping/ping6_common.c, ping/ping_common.c (main_loop, finish).
 */
import { formatIpv4, parseIpv4 } from '../../addr/ipv4.ts'
import { internetChecksum } from '../../wire/checksum.ts'
import { EMSGSIZE } from '../errno.ts'
import { ipv6ChkAddr } from '../ipv6/addrconf.ts'
import { IPPROTO_ICMPV6 } from '../ipv6/exthdrs-core.ts'
import { Flowi6 } from '../ipv6/flow6.ts'
import { AF_INET6 } from '../ipv6/in6.ts'
import { ip6DstLookup } from '../ipv6/route.ts'
import { needsScopeId } from '../ipv6/saddr.ts'
import type { Netns } from '../netns.ts'
import { Flowi4, inetAddrType, ipRouteOutput, routeErrno } from '../route/route.ts'
import { RTN_LOCAL } from '../route/rtn.ts'
import { type RawPacket, RawSock, rawBind, rawClose, rawRecvmsg, rawSendmsg } from '../socket/raw.ts'
import { raw6Bind, raw6Sendmsg } from '../socket/raw6.ts'
import { IPPROTO_ICMP } from '../socket/sock.ts'
import { isInet6 } from './ip-args.ts'
import { runTool, strerror, ToolExit, type ToolResult, unmodelled } from './result.ts'

const NS_PER_MS = 1_000_000
const NS_PER_S = 1_000_000_000
const ICMP_ECHOREPLY = 0
const ICMPV6_ECHO_REQUEST = 128
const ICMPV6_ECHO_REPLY = 129
const ICMP_DEST_UNREACH = 3
const ICMP_REDIRECT = 5
const ICMP_ECHO = 8
const ICMP_TIME_EXCEEDED = 11
const FRAG_NEEDED = 4
/** struct timeval at the start of the data, when it fits. */
const TIMEVAL_BYTES = 16
const DEFAULT_LINGER_S = 10
/** One invocation ends in seconds of real time: a larger count is answered as not modelled. */
const MAX_REQUESTS = 10_000
const LONG_MAX = '9223372036854775807'
const PMTUDISC: { readonly [word: string]: number } = { do: 2, want: 1, dont: 0, probe: 3 }

const UNREACHABLE: { readonly [code: number]: string } = {
  0: 'Destination Net Unreachable',
  1: 'Destination Host Unreachable',
  2: 'Destination Protocol Unreachable',
  3: 'Destination Port Unreachable',
  5: 'Source Route Failed',
  6: 'Destination Net Unknown',
  7: 'Destination Host Unknown',
  8: 'Source Host Isolated',
  9: 'Destination Net Prohibited',
  10: 'Destination Host Prohibited',
  11: 'Destination Net Unreachable for Type of Service',
  12: 'Destination Host Unreachable for Type of Service',
  13: 'Packet filtered',
  14: 'Precedence Violation',
  15: 'Precedence Cutoff',
}

const UNREACHABLE6: { readonly [code: number]: string } = {
  0: 'No route',
  1: 'Administratively prohibited',
  2: 'Beyond scope of source address',
  3: 'Address unreachable',
  4: 'Port unreachable',
}
const PARAMPROB6: { readonly [code: number]: string } = {
  0: 'Wrong header field ',
  1: 'Unknown header ',
  2: 'Unknown option ',
}

/** print_icmp of ping6_common.c. */
function errorText6(type: number, code: number, view: DataView): string {
  if (type === 1) return `Destination unreachable: ${UNREACHABLE6[code] ?? `Unknown code ${code}`}`
  if (type === 2) return `Packet too big: mtu=${view.getUint32(4)}${code === 0 ? '' : `, code=${code}`}`
  if (type === 3) {
    const what = code === 0 ? 'Hop limit' : code === 1 ? 'Defragmentation failure' : `code ${code}`
    return `Time exceeded: ${what}`
  }
  if (type === 4) return `Parameter problem: ${PARAMPROB6[code] ?? `code ${code} `}at ${view.getUint32(4)}`
  return `unknown icmp type: ${type}`
}

interface PingOptions {
  count: number
  intervalNs: number
  lingerS: number
  deadlineS: number
  size: number
  ttl: number
  tos: number
  pmtudisc: number
  source: number
  /** IPv6 source as text, empty for none. */
  source6: string
  six: boolean
  sourceDev: string
  quiet: boolean
  target: string
}

/** Names for what ping prints; made by whoever can resolve. */
export interface PingNames {
  /** The canonical name of the target. */
  readonly shown: string
  /** The name of an address, null when it has none. */
  readonly nameOf: (ipText: string) => string | null
}

/** Where in `argv` the target stands, -1 when there is none. */
export function pingTarget(argv: readonly string[]): number {
  let at = -1
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i]!
    if (!word.startsWith('-')) at = i
    else if (word.length === 2 && 'ciWwstQMI'.includes(word[1]!)) i++
  }
  return at
}

/** Runs `ping ARGV`. */
export function ping(ns: Netns, argv: readonly string[], names?: PingNames): ToolResult {
  const run = new Ping(names)
  const r = runTool(() => run.main(ns, argv))
  return r.status === 0 ? { status: run.status, stdout: r.stdout, stderr: run.stderr } : { ...r, stdout: run.out }
}

function readOptions(argv: readonly string[]): PingOptions {
  const o: PingOptions = {
    count: 0,
    intervalNs: NS_PER_S,
    lingerS: DEFAULT_LINGER_S,
    deadlineS: 0,
    size: 56,
    ttl: -1,
    tos: 0,
    pmtudisc: 1,
    source: 0,
    source6: '',
    six: false,
    sourceDev: '',
    quiet: false,
    target: '',
  }
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] ?? ''
    if (!word.startsWith('-')) {
      o.target = word
      continue
    }
    const flag = word.slice(0, 2)
    if (flag === '-q') o.quiet = true
    if (flag === '-6') o.six = true
    if (['-q', '-n', '-4', '-6', '-v', '-O', '-b', '-B'].includes(flag)) continue
    if (!'ciWwstQMI'.includes(flag[1] ?? ' ')) unmodelled(`ping ${word}`)
    const value = word.length > 2 ? word.slice(2) : (argv[++i] ?? '')
    const number = (lo: number, hi: number): number => {
      const n = Number(value)
      if (value === '' || Number.isNaN(n)) throw new ToolExit(1, `ping: invalid argument: '${value}'`)
      if (n < lo || n > hi)
        throw new ToolExit(
          1,
          `ping: invalid argument: '${value}': out of range: ${lo} <= value <= ${flag === '-c' ? LONG_MAX : hi}`,
        )
      return n
    }
    if (flag === '-c') o.count = number(1, 1e9)
    else if (flag === '-i') o.intervalNs = Math.round(number(0, 1e6) * NS_PER_S)
    else if (flag === '-W') o.lingerS = number(0, 2147483)
    else if (flag === '-w') o.deadlineS = number(0, 1e9)
    else if (flag === '-s') o.size = number(0, 65507)
    else if (flag === '-t') o.ttl = number(0, 255)
    else if (flag === '-Q') o.tos = number(0, 255)
    else if (flag === '-M') {
      const mode = PMTUDISC[value]
      if (mode === undefined) throw new ToolExit(1, `ping: invalid -M argument: ${value}`)
      o.pmtudisc = mode
    } else {
      const ip = parseIpv4(value)
      if (isInet6(value)) o.source6 = value
      else if (ip === null) o.sourceDev = value
      else o.source = ip
    }
  }
  if (o.target.includes(':')) o.six = true
  if (o.target === '') throw new ToolExit(1, 'ping: usage error: Destination address required')
  if (o.count === 0 && o.deadlineS === 0) unmodelled('ping without -c or -w (it would not end)')
  if (o.count > MAX_REQUESTS) unmodelled(`ping with more than ${MAX_REQUESTS} requests`)
  return o
}

class Ping {
  out = ''
  stderr = ''
  status = 0
  private sent = 0
  private received = 0
  private errors = 0
  /** `cur_time`: when something was last sent or received. */
  private lastNs = 0
  private readonly rtts: number[] = []
  private readonly seen = new Set<number>()
  private readonly sentAt = new Map<number, number>()
  private readonly names: PingNames | undefined
  private six = false
  /** Device of a link-local target or -I, -1 none. */
  private dev6 = -1

  constructor(names?: PingNames) {
    this.names = names
  }

  /** pr_addr: the name with the address, or the address alone. */
  private addressText(ip: number): string {
    const text = formatIpv4(ip)
    const name = this.names?.nameOf(text)
    return name === undefined || name === null ? text : `${name} (${text})`
  }

  main(ns: Netns, argv: readonly string[]): string {
    const o = readOptions(argv)
    if (o.six) return this.main6(ns, o)
    const dst = parseIpv4(o.target)
    if (dst === null) unmodelled(`ping of a name (${o.target}): give the IPv4 address`)
    if (o.sourceDev !== '') unmodelled('ping -I DEVICE')
    this.probe(ns, dst, o)
    const sk = new RawSock(ns, IPPROTO_ICMP)
    ns.sockets.byId[sk.id] = sk
    const list = ns.sockets.raw.get(IPPROTO_ICMP)
    if (list === undefined) ns.sockets.raw.set(IPPROTO_ICMP, [sk])
    else list.push(sk)
    sk.tos = o.tos
    sk.pmtudisc = o.pmtudisc
    if (o.ttl >= 0) sk.ttl = o.ttl
    if (o.source !== 0 && rawBind(sk, o.source) < 0)
      throw new ToolExit(2, 'ping: bind: Cannot assign requested address')
    const from = o.source === 0 ? '' : `from ${formatIpv4(o.source)} : `
    this.out = `PING ${this.names?.shown ?? o.target} (${formatIpv4(dst)}) ${from}${o.size}(${o.size + 28}) bytes of data.\n`
    this.loop(ns, sk, dst, o)
    rawClose(sk)
    return this.out
  }

  /** ping6_run */
  private main6(ns: Netns, o: PingOptions): string {
    const in6 = ns.world.in6
    const [text, zone] = o.target.split('%')
    const dst = in6.parse(text ?? '')
    if (dst < 0) unmodelled(`ping of a name (${o.target}): give the IPv6 address`)
    const devName = zone ?? o.sourceDev
    const dev = devName === '' ? undefined : ns.devices.get(devName)
    if (devName !== '' && dev === undefined) throw new ToolExit(2, `ping: ${o.target}: Name or service not known`)
    const source = o.source6 === '' ? 0 : in6.parse(o.source6)
    const fl = new Flowi6()
    fl.daddr = dst
    fl.saddr = source
    fl.oif = dev?.id ?? -1
    if (source !== 0 && !ipv6ChkAddr(ns, source, null)) {
      throw new ToolExit(2, 'ping: bind icmp socket: Cannot assign requested address')
    }
    const rt = ip6DstLookup(ns, fl)
    if (rt.error !== 0) throw new ToolExit(2, `ping: connect: ${strerror(rt.error)}`)
    const sk = new RawSock(ns, IPPROTO_ICMPV6, AF_INET6)
    ns.sockets.byId[sk.id] = sk
    const list = ns.sockets.raw6.get(IPPROTO_ICMPV6)
    if (list === undefined) ns.sockets.raw6.set(IPPROTO_ICMPV6, [sk])
    else list.push(sk)
    sk.tos = o.tos
    sk.pmtudisc = o.pmtudisc
    if (o.ttl >= 0) sk.ttl = o.ttl
    if (source !== 0) raw6Bind(sk, source, dev?.id ?? -1)
    this.six = true
    this.dev6 = dev?.id ?? -1
    const from = source === 0 ? '' : `from ${o.source6} : `
    this.out = `PING ${this.names?.shown ?? o.target}(${o.target}) ${from}${o.size} data bytes\n`
    this.loop(ns, sk, dst, o)
    rawClose(sk)
    return this.out
  }

  /** ping6_parse_reply: an echo reply, or an error about a request. */
  private reply6(ns: Netns, p: RawPacket, ident: number, o: PingOptions): void {
    const b = p.packet
    if (b.length < 8) return
    const view = new DataView(b.buffer, b.byteOffset, b.byteLength)
    const type = b[0]!
    const linkLocal = needsScopeId(ns.world.in6, p.from)
    const dev = linkLocal ? (ns.world.devices[this.dev6]?.name ?? '') : ''
    const from = `${ns.world.in6.text(p.from)}${dev === '' ? '' : `%${dev}`}`
    if (type === ICMPV6_ECHO_REPLY) {
      if (view.getUint16(4) === ident) this.echoed(view.getUint16(6), b.length, from, p.hoplimit, p.atNs, o)
      return
    }
    // errors quote the IPv6 header and the request
    if (type >= 128 || b.length < 8 + 40 + 8 || b[8 + 6] !== IPPROTO_ICMPV6 || b[48] !== ICMPV6_ECHO_REQUEST) return
    if (view.getUint16(52) !== ident) return
    this.errors++
    if (!o.quiet) this.out += `From ${from} icmp_seq=${view.getUint16(54)} ${errorText6(type, b[1]!, view)}\n`
  }

  /** gather_statistics: one answer. */
  private echoed(seq: number, bytes: number, from: string, ttl: number, atNs: number, o: PingOptions): void {
    this.lastNs = atNs
    const rtt = atNs - (this.sentAt.get(seq) ?? atNs)
    const dup = this.seen.has(seq) ? ' (DUP!)' : ''
    this.seen.add(seq)
    const timed = bytes - 8 >= TIMEVAL_BYTES
    if (dup === '') {
      this.received++
      if (timed) this.rtts.push(rtt)
    }
    const time = timed ? ` time=${rttText(rtt)} ms` : ''
    if (!o.quiet) this.out += `${bytes} bytes from ${from}: icmp_seq=${seq} ttl=${ttl}${time}${dup}\n`
  }

  /** The connect() of a datagram socket by which ping learns its source address. */
  private probe(ns: Netns, dst: number, o: PingOptions): void {
    if (o.source !== 0 && inetAddrType(ns, o.source) !== RTN_LOCAL)
      throw new ToolExit(2, 'ping: bind: Cannot assign requested address')
    const fl = new Flowi4()
    fl.daddr = dst
    fl.saddr = o.source
    if (ipRouteOutput(ns, fl) === null) throw new ToolExit(2, `ping: connect: ${strerror(routeErrno())}`)
  }

  private loop(ns: Netns, sk: RawSock, dst: number, o: PingOptions): void {
    const w = ns.world
    const ident = w.random.below(0x10000)
    const start = w.nowNs
    const end = o.deadlineS === 0 ? Infinity : start + o.deadlineS * NS_PER_S
    let last = start
    while ((o.count === 0 || this.sent < o.count) && w.nowNs < end) {
      this.send(ns, sk, dst, ident, o)
      last = w.nowNs
      if (o.count > 0 && this.sent >= o.count) break
      this.waitUntil(sk, ident, Math.min(w.nowNs + o.intervalNs, end), o, false)
    }
    const linger = this.received > 0 ? Math.max(NS_PER_S, 2 * Math.max(0, ...this.rtts)) : o.lingerS * NS_PER_S
    this.waitUntil(sk, ident, Math.min(last + linger, end), o, true)
    this.summary(o, this.lastNs - start)
    const missed = o.deadlineS > 0 && this.received < o.count
    this.status = this.received === 0 || missed ? 1 : 0
  }

  private send(ns: Netns, sk: RawSock, dst: number, ident: number, o: PingOptions): void {
    this.sent++
    const seq = this.sent & 0xffff
    const m = new Uint8Array(8 + o.size)
    const view = new DataView(m.buffer)
    m[0] = this.six ? ICMPV6_ECHO_REQUEST : ICMP_ECHO
    view.setUint16(4, ident)
    view.setUint16(6, seq)
    for (let i = 0; i < o.size; i++) m[8 + i] = i & 255
    const now = ns.world.nowNs
    this.lastNs = now
    if (o.size >= TIMEVAL_BYTES) {
      view.setBigInt64(8, BigInt(Math.floor(now / NS_PER_S)), true)
      view.setBigInt64(16, BigInt(Math.floor((now % NS_PER_S) / 1000)), true)
    }
    if (!this.six) view.setUint16(2, internetChecksum(view, 0, m.length))
    this.sentAt.set(seq, now)
    const r = this.six ? raw6Sendmsg(sk, m, dst, this.dev6) : rawSendmsg(sk, m, dst)
    if (r >= 0) return
    if (r === EMSGSIZE && this.six) {
      const fl = new Flowi6()
      fl.daddr = dst
      fl.oif = this.dev6
      this.stderr += `ping: local error: message too long, mtu: ${ip6DstLookup(ns, fl).mtu()}\n`
    } else if (r === EMSGSIZE) {
      const fl = new Flowi4()
      fl.daddr = dst
      this.stderr += `ping: local error: message too long, mtu=${ipRouteOutput(ns, fl)?.mtu() ?? 0}\n`
    } else this.stderr += `ping: sendmsg: ${strerror(r)}\n`
    this.errors++
  }

  /** Lets time pass, timer by timer, and reads what arrives; `finish` stops as soon as all requests are answered. */
  private waitUntil(sk: RawSock, ident: number, untilNs: number, o: PingOptions, finish: boolean): void {
    const w = sk.ns.world
    for (;;) {
      w.softirq()
      for (let p = rawRecvmsg(sk); typeof p !== 'number'; p = rawRecvmsg(sk))
        if (this.six) this.reply6(sk.ns, p, ident, o)
        else this.reply(p.from, p.packet, p.atNs, ident, o)
      if (finish && this.received + this.errors >= this.sent) return
      if (w.nowNs >= untilNs) return
      w.runUntil(Math.min(Math.max(w.timers.nextNs(), w.nowNs), untilNs))
    }
  }

  private reply(from: number, packet: Uint8Array, atNs: number, ident: number, o: PingOptions): void {
    const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength)
    const at = (packet[0]! & 15) * 4
    if (packet.length < at + 8) return
    const type = packet[at]!
    if (type === ICMP_ECHOREPLY) {
      if (view.getUint16(at + 4) !== ident) return
      this.echoed(view.getUint16(at + 6), packet.length - at, this.addressText(from), packet[8]!, atNs, o)
      return
    }
    const inner = at + 8
    if (packet.length < inner + 28) return
    const echo = inner + (packet[inner]! & 15) * 4
    if (
      packet[inner + 9] !== IPPROTO_ICMP ||
      packet.length < echo + 8 ||
      packet[echo] !== ICMP_ECHO ||
      view.getUint16(echo + 4) !== ident
    )
      return
    const text = errorText(type, packet[at + 1]!, view, at)
    if (text === null) return
    if (type !== ICMP_REDIRECT) this.errors++
    if (!o.quiet) this.out += `From ${this.addressText(from)} icmp_seq=${view.getUint16(echo + 6)} ${text}\n`
  }

  private summary(o: PingOptions, elapsedNs: number): void {
    const errors = this.errors === 0 ? '' : `+${this.errors} errors, `
    const loss = formatPercent(((this.sent - this.received) * 100) / this.sent)
    this.out += `\n--- ${this.names?.shown ?? o.target} ping statistics ---\n`
    this.out += `${this.sent} packets transmitted, ${this.received} received, ${errors}${loss}% packet loss, time ${Math.floor(elapsedNs / NS_PER_MS)}ms\n`
    if (this.rtts.length > 0) {
      const us = this.rtts.map((n) => Math.floor(n / 1000))
      const mean = us.reduce((a, b) => a + b, 0) / us.length
      const mdev = Math.sqrt(Math.max(0, us.reduce((a, b) => a + b * b, 0) / us.length - mean * mean))
      const ms = (n: number): string => (Math.floor(n) / 1000).toFixed(3)
      this.out += `rtt min/avg/max/mdev = ${ms(Math.min(...us))}/${ms(mean)}/${ms(Math.max(...us))}/${ms(mdev)} ms\n`
    } else this.out += '\n'
  }
}

/** "%g" of the loss: at most six significant digits. */
function formatPercent(n: number): string {
  return String(Number(n.toPrecision(6)))
}

/** A round-trip time in ms with the digits that ping gives it. */
function rttText(ns: number): string {
  const us = Math.floor(ns / 1000)
  if (us >= 100_000) return String(Math.floor(us / 1000))
  const digits = us >= 10_000 ? 1 : us >= 1000 ? 2 : 3
  return (Math.floor(us / 10 ** (3 - digits)) / 10 ** digits).toFixed(digits)
}

function errorText(type: number, code: number, view: DataView, at: number): string | null {
  if (type === ICMP_DEST_UNREACH) {
    if (code === FRAG_NEEDED) return `Frag needed and DF set (mtu = ${view.getUint16(at + 6)})`
    return UNREACHABLE[code] ?? `Dest Unreachable, Bad Code: ${code}`
  }
  if (type === ICMP_TIME_EXCEEDED) return code === 0 ? 'Time to live exceeded' : 'Frag reassembly time exceeded'
  if (type === ICMP_REDIRECT)
    return `Redirect ${code === 0 ? 'Network' : 'Host'}(New nexthop: ${formatIpv4(view.getInt32(at + 4))})`
  return null
}
