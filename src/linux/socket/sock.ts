/**
 * What all sockets share: struct sock and struct inet_sock.
 *
 * Linux: include/net/sock.h, include/net/inet_sock.h. A socket lives in one namespace and has a number that packets carry
 * (M_SK). Errors wait in `err` (hard, reported once) and `errSoft` (reported by SO_ERROR or a timeout).
 * Not modelled: socket memory accounting across a namespace, timestamps, error queue (IP_RECVERR is a flag only), filters.
 */
import { AF_INET } from '../ipv6/in6.ts'
import type { Netns } from '../netns.ts'
import { Timer } from '../timers.ts'

/** IP protocol numbers that sockets use. */
export const IPPROTO_ICMP = 1
export const IPPROTO_TCP = 6
export const IPPROTO_UDP = 17

/** A socket of any kind. */
export class InetSock {
  /** Number in SocketTable.byId and M_SK. */
  readonly id: number
  readonly ns: Netns
  readonly protocol: number
  /** AF_INET, or AF_INET6: then the addresses are In6Table ids. */
  readonly family: number
  /** IPV6_V6ONLY: takes no IPv4 connections. */
  v6only = false
  /** IPV6_UNICAST_IF / scope of a link-local peer or bind: device id, -1 none. */
  boundDev = -1
  /** `inet_rcv_saddr`: bound address, 0 for any. */
  rcvSaddr = 0
  /** `inet_saddr`: source address of what is sent, 0 to let the route choose. */
  saddr = 0
  /** `inet_num`: local port, 0 when not bound. */
  sport = 0
  /** `inet_daddr`: connected peer, 0 when none. */
  daddr = 0
  dport = 0
  /** IP_MTU_DISCOVER */
  pmtudisc: number
  tos = 0
  /** IP_TTL, -1 for the namespace's default. */
  ttl = -1
  /** SO_MARK */
  mark = 0
  broadcast = false
  reuseAddr = false
  /** IP_RECVERR */
  recvErr = false
  /** `sk_err`: negative errno or 0. */
  err = 0
  /** `sk_err_soft`: negative errno or 0. */
  errSoft = 0
  closed = false
  /** Called in process context after data, a connection or an error arrived; null when nobody waits. */
  onReadable: (() => void) | null = null
  private wake: Timer | null = null

  constructor(ns: Netns, protocol: number, family = AF_INET) {
    this.ns = ns
    this.family = family
    this.protocol = protocol
    this.id = ns.sockets.byId.length
    // ip_no_pmtu_disc: inet_create
    this.pmtudisc = ns.sysctl.ip_no_pmtu_disc !== 0 ? 0 : 1
  }

  /** sock_error: the waiting error, which is then gone. */
  takeError(): number {
    const e = this.err
    this.err = 0
    return e
  }

  /** The TTL of what this socket sends. */
  effectiveTtl(): number {
    return this.ttl >= 0 ? this.ttl : this.ns.sysctl.ip_default_ttl
  }

  /** sk_data_ready / sk_error_report: the waiting process runs once the softirq is over, not inside it. */
  wakeUp(): void {
    if (this.onReadable === null) return
    const w = this.ns.world
    this.wake ??= new Timer(() => {
      // timers run as softirq; a process that wakes up does not
      w.inSoftirq = false
      if (this.onReadable !== null) this.onReadable()
      w.inSoftirq = true
    })
    if (!this.wake.armed) w.timers.arm(this.wake, w.nowNs)
  }

  /** Stops a wake-up that is due: the process closed the socket. */
  cancelWakeUp(): void {
    if (this.wake?.armed) this.ns.world.timers.cancel(this.wake)
  }
}
