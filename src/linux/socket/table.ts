/**
 * Sockets of one namespace, and the entry points that the IP layer calls.
 *
 * Linux: struct inet_hashinfo (net/ipv4/inet_hashtables.c), udp_table (net/ipv4/udp.c), raw_hashinfo (net/ipv4/raw.c).
 * Keys are integers: ports, and a 32-bit mix of the 4-tuple for connections. Not modelled: SO_REUSEPORT groups, BPF
 * lookup, bind to device, SCTP sockets, DCCP, UDP-Lite, multicast membership.
 */
import type { Netns } from '../netns.ts'
import type { RawSock } from './raw.ts'
import type { RequestSock, TimewaitSock } from './tcp-mini.ts'
import type { TcpSock } from './tcp-sock.ts'
import type { UdpSock } from './udp-sock.ts'

export { rawErr, rawLocalDeliver } from './raw.ts'
export { tcpV4Err, tcpV4Rcv } from './tcp-ipv4.ts'
export { udpErr, udpRcv } from './udp.ts'

/** What the established hash holds: a connection, a half-open request, or a connection in TIME_WAIT. */
export type TcpEhashEntry = TcpSock | RequestSock | TimewaitSock

/** Smallest and largest port. */
export const PORT_MAX = 65535

/** All sockets of a namespace. */
export class SocketTable {
  readonly ns: Netns
  /** UDP sockets by local port, newest first as sk_add_node_rcu puts them. */
  readonly udp = new Map<number, UdpSock[]>()
  /** Raw sockets by protocol. */
  readonly raw = new Map<number, RawSock[]>()
  /** Raw sockets of AF_INET6 by protocol. */
  readonly raw6 = new Map<number, RawSock[]>()
  /** Listening sockets by local port. */
  readonly tcpListen = new Map<number, TcpSock[]>()
  /** Sockets that hold a local port (bhash), connections included. */
  readonly tcpBound = new Map<number, Set<TcpSock | TimewaitSock>>()
  /** Established hash: 4-tuple to entries. */
  readonly tcpEhash = new Map<number, TcpEhashEntry[]>()
  /** The same of IPv6, whose addresses are In6Table ids. */
  readonly tcpEhash6 = new Map<number, TcpEhashEntry[]>()
  /** Sockets by id, for traces and M_SK. */
  readonly byId: (UdpSock | RawSock | TcpSock | undefined)[] = [undefined]

  constructor(ns: Netns) {
    this.ns = ns
  }
}

/** The key of a connection in the established hash. */
export function tcpEhashKey(laddr: number, lport: number, faddr: number, fport: number): number {
  let h = Math.imul(laddr, 0x9e3779b1) ^ Math.imul(faddr, 0x85ebca6b) ^ ((lport << 16) | fport)
  h ^= h >>> 15
  return h | 0
}
