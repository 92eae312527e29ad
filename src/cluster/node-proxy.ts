/**
 * The kube-proxy process of one node: runs a mode's programs in the node's namespace, one sync after the other.
 *
 * Behind the rules it does what the real process does: gives rules their origins (for traces), opens and closes the health
 * check servers, deletes stale UDP conntrack entries, and in IPVS mode looks once a minute at real servers that wait for
 * their connections to end.
 */
import { formatIpv4, formatIpv6, parseIpv4 } from '../addr/index.ts'
import type { IpVsDest } from '../linux/ipvs/service.ts'
import { killConntrack } from '../linux/netfilter/conntrack/lifetime.ts'
import type { Netns } from '../linux/netns.ts'
import { close } from '../linux/socket/api.ts'
import { serveTcp } from '../linux/socket/apps.ts'
import type { TcpSock } from '../linux/socket/tcp-sock.ts'
import { isStaleUdpEntry, type UdpServing } from '../proxy/conntrack.ts'
import { type HealthCheck, healthResponse } from '../proxy/health.ts'
import type { ProxyMode, SyncOptions } from '../proxy/mode.ts'
import type { NodeProgram, ProxyInput } from '../proxy/types.ts'
import { applyProxyVerb } from './apply.ts'
import { attachOrigins } from './origins.ts'

const PROTOCOL_NUMBER: { readonly [name: string]: number } = { tcp: 6, udp: 17, sctp: 132 }
const IPPROTO_UDP = 17
const SECOND_NS = 1e9
const encoder = new TextEncoder()
const decoder = new TextDecoder()

interface HealthServer {
  check: HealthCheck
  readonly sockets: readonly TcpSock[]
}

/** kube-proxy on one node. */
export class NodeProxy {
  readonly mode: ProxyMode
  /** The program of the last sync; null before the first. */
  program: NodeProgram | null = null
  /** What healthz says; a kube-proxy whose syncs fail is not healthy. */
  isHealthy = true
  /** Commands the simulated kernel does not model (IPVS of IPv6): packets to them are UNMODELLED, not refused. */
  readonly unmodelled = new Set<string>()
  private readonly ns: Netns
  private readonly healthServers = new Map<number, HealthServer>()

  constructor(ns: Netns, mode: ProxyMode) {
    this.ns = ns
    this.mode = mode
  }

  /** Runs one sync. @throws Error when the simulated kernel refuses a command */
  sync(input: ProxyInput, options: SyncOptions = {}): NodeProgram {
    return this.run(this.mode.program(input, this.program ?? undefined, this.withClock(options)))
  }

  /** What happens once a minute without any change. */
  tick(): void {
    if (this.program !== null && this.mode.tick !== undefined)
      this.run(this.mode.tick(this.program, this.withClock({})))
  }

  private withClock(options: SyncOptions): SyncOptions {
    return {
      atSeconds: this.ns.world.nowNs / SECOND_NS,
      connections: (server, destination) => this.connections(server, destination),
      ...options,
    }
  }

  private run(program: NodeProgram): NodeProgram {
    for (const verb of program.verbs) {
      const what = applyProxyVerb(verb, this.ns)
      if (what !== null) this.unmodelled.add(what)
    }
    attachOrigins(this.ns, program.origins)
    this.program = program
    this.serveHealth(program.health)
    for (const serving of program.conntrack) this.cleanUdp(serving)
    return program
  }

  /** ActiveConn and InActConn of a real server, by the texts of the IPVS mode. */
  private connections(server: string, destination: string): number {
    const [protocol = '', at = ''] = server.split(' ')
    const [address = '', port = ''] = at.split(':')
    const [ip = '', rport = ''] = destination.split(':')
    const svc = this.ns.ipvs?.exact({
      fwmark: 0,
      protocol: PROTOCOL_NUMBER[protocol] ?? 0,
      addr: parseIpv4(address) ?? 0,
      port: Number(port),
    })
    let dest: IpVsDest | null = svc?.head ?? null
    while (dest !== null && (dest.addr !== parseIpv4(ip) || dest.port !== Number(rport))) dest = dest.next
    return dest === null ? 0 : dest.activeConns + dest.inactConns
  }

  private cleanUdp(serving: UdpServing): void {
    const ct = this.ns.ct
    if (ct === null) return
    const isIpv6 = serving.family === 'IPv6'
    const { in6 } = this.ns.world
    const text = (address: number): string => (isIpv6 ? formatIpv6(in6.wordsOf(address)) : formatIpv4(address))
    for (const id of ct.entries()) {
      if (ct.proto(id) !== IPPROTO_UDP || ct.isIpv6(id) !== isIpv6) continue
      if (isStaleUdpEntry(serving, text(ct.dst(id, 0)), ct.dport(id, 0), text(ct.src(id, 1)))) killConntrack(ct, id)
    }
  }

  /** SyncServices and SyncEndpoints of the health check server. */
  private serveHealth(checks: readonly HealthCheck[]): void {
    const wanted = new Map(checks.map((check) => [check.port, check]))
    for (const [port, server] of this.healthServers) {
      const check = wanted.get(port)
      if (check !== undefined && check.name === server.check.name && check.namespace === server.check.namespace) {
        server.check = check
        wanted.delete(port)
        continue
      }
      for (const socket of server.sockets) close(socket)
      this.healthServers.delete(port)
    }
    for (const check of wanted.values()) this.openHealth(check)
  }

  private openHealth(check: HealthCheck): void {
    const addresses = check.ips.length === 0 ? [0] : check.ips.map(parseIpv4).filter((ip) => ip !== null)
    const server: HealthServer = { check, sockets: [] }
    const answer = (data: Uint8Array): ReturnType<typeof healthResponse> =>
      healthResponse(server.check, decoder.decode(data), this.isHealthy, new Date(this.ns.world.nowNs / 1e6))
    const sockets = addresses.map((ip) =>
      serveTcp(this.ns, ip, check.port, {
        respond: (data) => encoder.encode(answer(data).text),
        closeAfterResponse: (data) => answer(data).isLast,
      }),
    )
    const open = sockets.filter((socket) => typeof socket !== 'number')
    // As in kube-proxy, a port that is taken on one address leaves the whole server closed.
    if (open.length < sockets.length) {
      for (const socket of open) close(socket)
      return
    }
    this.healthServers.set(check.port, Object.assign(server, { sockets: open }))
  }
}
