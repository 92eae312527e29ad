/**
 * The socket calls of a scenario, on the simulator's sockets.
 *
 * Options are set as the recorder sets them: SO_REUSEADDR on UDP and TCP, TCP_NODELAY on connections, IP_MTU_DISCOVER 1 on
 * UDP and raw sockets, ICMP_FILTER that delivers nothing on ping sockets. A failed call gives `errno`, an id that no
 * socket has gives NOSOCK.
 */
import { formatIpv4, parseIpv4 } from '../addr/ipv4.ts'
import { EADDRNOTAVAIL, EINPROGRESS, EINVAL, errnoName } from '../linux/errno.ts'
import { IPPROTO_ICMPV6 } from '../linux/ipv6/exthdrs-core.ts'
import { AF_INET, AF_INET6 } from '../linux/ipv6/in6.ts'
import { needsScopeId } from '../linux/ipv6/saddr.ts'
import type { Netns } from '../linux/netns.ts'
import { RawSock, rawBind, rawClose, rawSendmsg } from '../linux/socket/raw.ts'
import { raw6Bind, raw6Sendmsg } from '../linux/socket/raw6.ts'
import { IPPROTO_ICMP } from '../linux/socket/sock.ts'
import {
  tcpAccept,
  tcpBind,
  tcpBindPort,
  tcpClose,
  tcpConnect,
  tcpListen,
  tcpRecvmsg,
  tcpSendmsg,
  tcpShutdown,
  tcpSoError,
} from '../linux/socket/tcp.ts'
import { TcpSock } from '../linux/socket/tcp-sock.ts'
import { udpBind, udpClose, udpConnect, udpRecvmsg, udpSendmsg } from '../linux/socket/udp.ts'
import { UdpSock } from '../linux/socket/udp-sock.ts'
import { bindable6, udp6Bind, udp6Connect, udp6Sendmsg } from '../linux/socket/udp6.ts'
import type { World } from '../linux/world.ts'
import { internetChecksum } from '../wire/checksum.ts'
import { netnsOf } from './build.ts'
import type { StepResult } from './ops.ts'
import { LabError, type LabSockaddr, type LabStep } from './scenario.ts'

type Sock = UdpSock | RawSock | TcpSock

const NOSOCK = { errno: 'NOSOCK' }
const LISTEN_BACKLOG = 16
const DEFAULT_PING_BYTES = 16

/** The sockets of one run, by the scenario's ids. */
export class SocketOps {
  private readonly w: World
  private readonly socks = new Map<string, Sock>()

  constructor(w: World) {
    this.w = w
  }

  /** Runs one socket step. */
  run(step: LabStep): StepResult | null {
    switch (step.op) {
      case 'udp_open':
        return this.udpOpen(step)
      case 'udp_send':
        return this.udpSend(step)
      case 'udp_recv':
        return this.udpRecv(step)
      case 'ping':
        return this.ping(step)
      case 'tcp_listen':
        return this.tcpListen(step)
      case 'tcp_connect':
        return this.tcpConnect(step)
      case 'close':
        return this.close(step)
      default:
        return this.tcp(step)
    }
  }

  private netns(step: LabStep): Netns {
    return netnsOf(this.w, step.ns ?? '')
  }

  private udpOpen(step: LabStep): StepResult | null {
    const six = isSix(step.bind)
    const sk = register(new UdpSock(this.netns(step), six ? AF_INET6 : AF_INET))
    sk.reuseAddr = true
    sk.pmtudisc = step.pmtudisc ?? 1
    if (step.tos !== undefined) sk.tos = step.tos
    if (step.ttl !== undefined) sk.ttl = step.ttl
    if (step.mark !== undefined) sk.mark = step.mark | 0
    if (step.broadcast === true) sk.broadcast = true
    if (six) {
      sk.v6only = step.v6only ?? sk.ns.sysctl.ipv6.bindv6only !== 0
      const [addr, port6, dev] = sockaddr6(sk.ns, step.bind)
      const e = udp6Bind(sk, addr, port6, dev)
      if (e < 0) return failed(e)
      const c = step.connect === undefined ? 0 : udp6Connect(sk, ...sockaddr6(sk.ns, step.connect))
      if (c < 0) return failed(c)
      this.socks.set(step.id ?? '', sk)
      return null
    }
    const [ip, port] = sockaddr(step.bind)
    const bound = udpBind(sk, ip, port)
    if (bound < 0) return failed(bound)
    if (step.connect !== undefined) {
      const connected = udpConnect(sk, ...sockaddr(step.connect))
      if (connected < 0) return failed(connected)
    }
    this.socks.set(step.id ?? '', sk)
    return null
  }

  private udpSend(step: LabStep): StepResult {
    const sk = this.socks.get(step.id ?? '')
    if (!(sk instanceof UdpSock)) return NOSOCK
    if (sk.family === AF_INET6) {
      if (step.to === undefined) return sent(udp6Sendmsg(sk, payload(step), null, 0))
      const [addr, port, dev] = sockaddr6(sk.ns, step.to)
      return sent(udp6Sendmsg(sk, payload(step), addr, port, dev))
    }
    const to = step.to === undefined ? null : sockaddr(step.to)
    return sent(udpSendmsg(sk, payload(step), to === null ? null : to[0], to === null ? 0 : to[1]))
  }

  private udpRecv(step: LabStep): StepResult {
    const sk = this.socks.get(step.id ?? '')
    if (!(sk instanceof UdpSock)) return NOSOCK
    const d = udpRecvmsg(sk)
    if (typeof d === 'number') return failed(d)
    if (step.reply === true) {
      const r =
        d.family === AF_INET6
          ? udp6Sendmsg(sk, d.data, d.from, d.port, d.scopeDev)
          : udpSendmsg(sk, d.data, d.from, d.port)
      if (r < 0) return failed(r)
    }
    return { from: [peerText(sk, d.from, d.family, d.scopeDev), d.port], data: shown(d.data) }
  }

  private ping(step: LabStep): StepResult {
    if (step.dst?.includes(':') === true) return this.ping6(step)
    const key = step.sock ?? `ping-${step.ns ?? ''}`
    let sk = this.socks.get(key)
    if (sk === undefined) {
      const raw = register(new RawSock(this.netns(step), IPPROTO_ICMP))
      const list = raw.ns.sockets.raw.get(IPPROTO_ICMP)
      if (list === undefined) raw.ns.sockets.raw.set(IPPROTO_ICMP, [raw])
      else list.push(raw)
      raw.icmpFilter = -1
      raw.pmtudisc = step.pmtudisc ?? 1
      if (step.src !== undefined) {
        const bound = rawBind(raw, address(step.src))
        if (bound < 0) return failed(bound)
      }
      this.socks.set(key, raw)
      sk = raw
    }
    if (!(sk instanceof RawSock)) return NOSOCK
    sk.ttl = step.ttl ?? 64
    sk.tos = step.tos ?? 0
    return sent(rawSendmsg(sk, echoRequest(step), address(step.dst ?? '')))
  }

  private ping6(step: LabStep): StepResult {
    const key = step.sock ?? `ping6-${step.ns ?? ''}`
    let sk = this.socks.get(key)
    if (sk === undefined) {
      const raw = register(new RawSock(this.netns(step), IPPROTO_ICMPV6, AF_INET6))
      const list = raw.ns.sockets.raw6.get(IPPROTO_ICMPV6)
      if (list === undefined) raw.ns.sockets.raw6.set(IPPROTO_ICMPV6, [raw])
      else list.push(raw)
      raw.icmp6Filter = new Int32Array(8).fill(-1)
      raw.pmtudisc = step.pmtudisc ?? 1
      if (step.src !== undefined) {
        const [addr, , dev] = sockaddr6(raw.ns, [step.src, 0])
        const bound = raw6Bind(raw, addr, dev)
        if (bound < 0) return failed(bound)
      }
      this.socks.set(key, raw)
      sk = raw
    }
    if (!(sk instanceof RawSock)) return NOSOCK
    sk.ttl = step.ttl ?? 64
    sk.tos = step.tos ?? 0
    const [addr, , dev] = sockaddr6(sk.ns, [step.dst ?? '', 0])
    const m = echoRequest(step)
    m[0] = 128
    return sent(raw6Sendmsg(sk, m, addr, dev))
  }

  private tcpListen(step: LabStep): StepResult | null {
    const six = isSix(step.bind)
    const sk = register(new TcpSock(this.netns(step), six ? AF_INET6 : AF_INET))
    sk.reuseAddr = true
    sk.v6only = step.v6only ?? sk.ns.sysctl.ipv6.bindv6only !== 0
    const bound = six ? tcp6Bind(sk, ...sockaddr6(sk.ns, step.bind)) : tcpBind(sk, ...sockaddr(step.bind))
    if (bound < 0) return failed(bound)
    const r = tcpListen(sk, LISTEN_BACKLOG)
    if (r < 0) return failed(r)
    this.socks.set(step.id ?? '', sk)
    return null
  }

  private tcpConnect(step: LabStep): StepResult | null {
    const six = isSix(step.bind)
    const sk = register(new TcpSock(this.netns(step), six ? AF_INET6 : AF_INET))
    sk.reuseAddr = true
    sk.nodelay = true
    const bound = six ? tcp6Bind(sk, ...sockaddr6(sk.ns, step.bind)) : tcpBind(sk, ...sockaddr(step.bind))
    if (bound < 0) return failed(bound)
    this.socks.set(step.id ?? '', sk)
    let r: number
    if (six) {
      const [addr, port, dev] = sockaddr6(sk.ns, step.to)
      if (dev >= 0) sk.boundDev = dev
      r = tcpConnect(sk, addr, port)
    } else r = tcpConnect(sk, ...sockaddr(step.to))
    return r === EINPROGRESS ? null : { errno: r === 0 ? 0 : errnoName(r) }
  }

  private tcp(step: LabStep): StepResult | null {
    const sk = this.socks.get(step.id ?? '')
    if (!(sk instanceof TcpSock)) return NOSOCK
    switch (step.op) {
      case 'tcp_status': {
        const e = tcpSoError(sk)
        return { error: e === 0 ? 0 : errnoName(e) }
      }
      case 'tcp_accept': {
        const child = tcpAccept(sk)
        if (typeof child === 'number') return failed(child)
        child.nodelay = true
        this.socks.set(step.as ?? '', child)
        return { from: [tcpPeerText(child), child.dport] }
      }
      case 'tcp_send':
        return sent(tcpSendmsg(sk, payload(step)))
      case 'tcp_recv': {
        const data = tcpRecvmsg(sk, 1 << 20)
        return typeof data === 'number' ? failed(data) : { data: shown(data) }
      }
      case 'tcp_shutdown': {
        const r = tcpShutdown(sk)
        return r < 0 ? failed(r) : null
      }
      default:
        throw new LabError(`op ${step.op}`)
    }
  }

  private close(step: LabStep): StepResult | null {
    const sk = this.socks.get(step.id ?? '')
    if (sk === undefined) return NOSOCK
    this.socks.delete(step.id ?? '')
    if (sk instanceof UdpSock) udpClose(sk)
    else if (sk instanceof RawSock) rawClose(sk)
    else tcpClose(sk)
    return null
  }
}

function register<S extends Sock>(sk: S): S {
  sk.ns.sockets.byId[sk.id] = sk
  return sk
}

function failed(errno: number): StepResult {
  return { errno: errnoName(errno) }
}

function sent(n: number): StepResult {
  return n < 0 ? failed(n) : { sent: n }
}

function address(text: string): number {
  const ip = text === '' ? 0 : parseIpv4(text)
  if (ip === null) throw new LabError(`not an IPv4 address: ${text}`)
  return ip
}

function sockaddr(a: LabSockaddr | undefined): [number, number] {
  return [address(a?.[0] ?? ''), a?.[1] ?? 0]
}

function isSix(a: LabSockaddr | undefined): boolean {
  return a?.[0].includes(':') === true
}

/** [In6Table id, port, device id or -1]; an IPv4 address becomes a mapped one, an empty text ::. */
function sockaddr6(ns: Netns, a: LabSockaddr | undefined): [number, number, number] {
  const [text, zone] = (a?.[0] ?? '').split('%')
  const in6 = ns.world.in6
  let addr = 0
  if (text !== undefined && text !== '') addr = text.includes(':') ? in6.parse(text) : in6.v4mapped(address(text))
  if (addr < 0) throw new LabError(`not an IP address: ${a?.[0] ?? ''}`)
  const dev = zone === undefined ? undefined : ns.devices.get(zone)
  return [addr, a?.[1] ?? 0, dev?.id ?? -1]
}

/** A sender as the recorder prints it: mapped on a dual-stack socket, with its device when link-local. */
function peerText(sk: Sock, from: number, family: number, scopeDev: number): string {
  const in6 = sk.ns.world.in6
  if (family === AF_INET) return sk.family === AF_INET6 ? `::ffff:${formatIpv4(from)}` : formatIpv4(from)
  const dev = needsScopeId(in6, from) ? (sk.ns.world.devices[scopeDev] ?? null) : null
  return dev === null ? in6.text(from) : `${in6.text(from)}%${dev.name}`
}

/** The far end of an accepted connection. */
function tcpPeerText(sk: TcpSock): string {
  if (sk.family === AF_INET6) return peerText(sk, sk.daddr, AF_INET6, sk.boundDev)
  return sk.mapped ? `::ffff:${formatIpv4(sk.daddr)}` : formatIpv4(sk.daddr)
}

/** inet6_bind of a TCP socket. */
function tcp6Bind(sk: TcpSock, addr: number, port: number, dev: number): number {
  if (needsScopeId(sk.ns.world.in6, addr)) {
    if (dev < 0) return EINVAL
    sk.boundDev = dev
  }
  return bindable6(sk.ns, addr, dev) ? tcpBindPort(sk, addr, port) : EADDRNOTAVAIL
}

/** Bytes of a send step: given, or the recorder's pattern. */
function payload(step: LabStep): Uint8Array {
  if (step.data !== undefined) return Buffer.from(step.data, 'hex')
  return Uint8Array.from({ length: step.len ?? 0 }, (_, i) => (i * 7 + 1) & 255)
}

function shown(data: Uint8Array): string {
  return data.length <= 256 ? Buffer.from(data).toString('hex') : `len:${data.length}`
}

function echoRequest(step: LabStep): Uint8Array {
  const body =
    step.data !== undefined
      ? Buffer.from(step.data, 'hex')
      : Uint8Array.from({ length: step.len ?? DEFAULT_PING_BYTES }, (_, i) => i & 255)
  const m = new Uint8Array(8 + body.length)
  const view = new DataView(m.buffer)
  m[0] = 8
  view.setUint16(4, step.icmp_id ?? 0)
  view.setUint16(6, step.seq ?? 0)
  m.set(body, 8)
  view.setUint16(2, internetChecksum(view, 0, m.length))
  return m
}
