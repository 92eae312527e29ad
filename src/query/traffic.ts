/**
 * The client of a trace question: one connection, datagram or ping, and virtual time to let it happen.
 *
 * Time runs until the fate of the first packet and of its reply is known: an unanswered ARP takes Linux three seconds, so
 * that is how long it may take here.
 */
import { type HttpRun, startHttp } from '../apps/http-client.ts'
import type { Cluster } from '../cluster/build.ts'
import { serve } from '../cluster/servers.ts'
import type { TraceLog } from '../engine/trace-log.ts'
import { errnoName } from '../linux/errno.ts'
import { icmpEcho, pingOpen, rawSend, tcpConnect, udpOpen, udpSend } from '../linux/socket/api.ts'
import { type Session, tcpClientSession } from '../linux/socket/apps.ts'
import { httpRequestOf } from './http.ts'
import type { ResolvedEnds } from './resolve.ts'
import type { TraceQuestion } from './trace.ts'

/** Source port when the question names none, as in the examples. */
const DEFAULT_SPORT = 40000
const DNS_PORT = 53
/** Payload bytes of a ping (as ping(8)) and of a datagram. */
const DEFAULT_SIZE = 56
/** Time for one packet and its reply: three ARP probes and what they lead to. */
const ONE_PACKET_NS = 4_000_000_000
/** Time for a whole conversation: SYN retransmissions at 1, 3, 7, 15, 31 s would follow. */
const FLOW_NS = 8_000_000_000
/** Time for a request: what a controller waits for three endpoints that do not answer. */
const HTTP_NS = 40_000_000_000
/** Nothing happens for this long: it is over. */
const QUIET_NS = 250_000_000

/** A client at work. */
export interface Traffic {
  readonly sport: number
  readonly size: number
  /** The exchange of a question with a request, once it runs. */
  readonly http: HttpRun | null
  run(log: TraceLog): void
  /** Why the socket call failed, or "nothing was sent". */
  sendError(): string
  flowResult(): { established: boolean; requestBytes: number; responseBytes: number; closed: boolean } | null
}

function pattern(size: number): Uint8Array {
  const out = new Uint8Array(size)
  for (let i = 0; i < size; i++) out[i] = 0x61 + (i % 26)
  return out
}

/** An A query (RFC 1035 section 4.1), so that what goes to port 53 is DNS for whoever looks at the capture. */
function dnsQuery(name: string): Uint8Array {
  const labels = name.split('.').flatMap((label) => [label.length, ...new TextEncoder().encode(label)])
  // id 1, RD, one question; type A, class IN
  return Uint8Array.from([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, 1, 0, 1])
}

function request(ends: ResolvedEnds, size: number | undefined): Uint8Array {
  const text = `GET / HTTP/1.1\r\nHost: ${ends.dst.name}\r\n\r\n`
  if (size !== undefined) return pattern(size)
  return new TextEncoder().encode(text)
}

/** Something must listen where the packet goes when the destination is asked by its own address. */
function openDestination(cluster: Cluster, ends: ResolvedEnds, protocol: TraceQuestion['protocol']): void {
  if (ends.dstNs === null || protocol === 'ICMP' || protocol === 'SCTP') return
  if (cluster.nodes.get(ends.dst.name) === ends.dstNs && ends.dst.kind === 'node') return
  serve(ends.dstNs, protocol, ends.dport, ends.dst.name)
}

/** Prepares the client; `run` lets it happen. */
export function startTraffic(cluster: Cluster, ends: ResolvedEnds, question: TraceQuestion): Traffic {
  openDestination(cluster, ends, question.protocol)
  const w = cluster.world
  const sport = question.sport ?? DEFAULT_SPORT
  let error = 0
  let session: Session | null = null
  let http: HttpRun | null = null
  let requestBytes = 0
  const isDns = question.protocol === 'UDP' && ends.dport === DNS_PORT && question.size === undefined
  const datagram = isDns ? dnsQuery('kubernetes.default.svc.cluster.local') : pattern(question.size ?? DEFAULT_SIZE)
  const size = question.protocol === 'TCP' ? 0 : datagram.length

  const send = (): void => {
    const ns = ends.srcNs
    if (question.protocol === 'ICMP') {
      const sk = pingOpen(ns, {})
      error =
        typeof sk === 'number' ? sk : Math.min(0, rawSend(sk, icmpEcho(sport & 0xffff, 1, pattern(size)), ends.dstIp))
    } else if (question.protocol === 'UDP') {
      const sk = udpOpen(ns, { bind: { ip: 0, port: sport } })
      error = typeof sk === 'number' ? sk : Math.min(0, udpSend(sk, datagram, { ip: ends.dstIp, port: ends.dport }))
    } else if (question.http !== undefined) {
      const ask = { ip: ends.dstIp, port: ends.dport, sport, ...httpRequestOf(question.http) }
      http = startHttp(ns, { ...ask, connectNs: HTTP_NS, totalNs: HTTP_NS })
      error = http.errno
    } else if (question.flow) {
      const bytes = request(ends, question.size)
      requestBytes = bytes.length
      session = tcpClientSession(ns, { sport, dst: ends.dstIp, dport: ends.dport, request: bytes })
      if (session.sk === null) error = session.result?.errno ?? 0
    } else {
      const c = tcpConnect(ns, { ip: ends.dstIp, port: ends.dport }, { bind: { ip: 0, port: sport } })
      error = typeof c === 'number' ? c : c.errno
    }
  }

  return {
    sport: question.protocol === 'ICMP' ? sport & 0xffff : sport,
    size: question.protocol === 'TCP' ? requestSize(ends, question) : size,
    get http() {
      return http
    },
    run(log) {
      const start = w.nowNs
      const from = log.frames.length
      send()
      w.softirq()
      const limit = start + (question.http !== undefined ? HTTP_NS : question.flow ? FLOW_NS : ONE_PACKET_NS)
      let last = w.nowNs
      let seen = log.length
      while (w.nowNs < limit) {
        const next = w.timers.nextNs()
        const isTalking = question.http !== undefined ? http?.done !== true : question.flow && session?.result == null
        const quiet = isTalking ? limit : last + QUIET_NS
        const waiting = !answered(log, from)
        const stop = waiting ? limit : Math.min(quiet, limit)
        if (next > stop) break
        w.runUntil(next)
        if (log.length !== seen) {
          seen = log.length
          last = w.nowNs
        }
      }
    },
    sendError: () => (error === 0 ? 'nothing was sent' : errnoName(error)),
    flowResult() {
      if (session === null) return null
      const r = session.result
      return {
        established: r?.connected ?? false,
        requestBytes,
        responseBytes: r?.response.length ?? 0,
        closed: r !== null && r.errno === 0 && r.connected,
      }
    },
  }

  /** Whether the source has been sent anything but ARP since: a frame of IPv4 that came in at the source. */
  function answered(log: TraceLog, from: number): boolean {
    const id = ends.srcNs.id
    return log.frames.some(
      (f, i) => i >= from && f.netns === id && f.direction === 'rx' && f.bytes[12] === 8 && f.bytes[13] === 0,
    )
  }
}

function requestSize(ends: ResolvedEnds, question: TraceQuestion): number {
  return question.flow ? request(ends, question.size).length : 0
}
