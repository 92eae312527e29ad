/**
 * A UDP socket: struct udp_sock with its receive queue.
 *
 * Linux: include/linux/udp.h, net/core/sock.c (sock_queue_rcv_skb). The queue is bounded by SO_RCVBUF as in Linux
 * (truesize accounting, rounded to what a small packet's buffer costs).
 */
import { AF_INET } from '../ipv6/in6.ts'
import type { Rt6 } from '../ipv6/rt6.ts'
import type { Netns } from '../netns.ts'
import type { Rtable } from '../route/rtable.ts'
import { InetSock, IPPROTO_UDP } from './sock.ts'

/** net.core.rmem_default */
export const RMEM_DEFAULT = 212992

/** A datagram that waits to be read. */
export interface Datagram {
  /** The sender: int32 for AF_INET, an In6Table id for AF_INET6. */
  readonly from: number
  readonly port: number
  /** AF_INET, or AF_INET6; an IPv4 datagram of a dual-stack socket says AF_INET. */
  readonly family: number
  /** `sin6_scope_id`: device id for link-local senders, -1 otherwise. */
  readonly scopeDev: number
  readonly data: Uint8Array
  readonly truesize: number
  /** The checksum is wrong and nobody has looked yet: whoever reads drops it. */
  readonly damaged: boolean
}

/** A UDP socket. */
export class UdpSock extends InetSock {
  readonly queue: Datagram[] = []
  /** `sk_rmem_alloc` */
  rmem = 0
  rcvbuf = RMEM_DEFAULT
  /** Connected: the route (`sk_dst_cache`). */
  rt: Rtable | null = null
  /** The same of an IPv6 socket. */
  rt6: Rt6 | null = null

  constructor(ns: Netns, family = AF_INET) {
    super(ns, IPPROTO_UDP, family)
  }

  /** TCP_ESTABLISHED in Linux's words. */
  get connected(): boolean {
    return this.daddr !== 0
  }
}

/** skb->truesize of a received frame whose IP payload is `len` bytes: the head's bucket plus struct sk_buff. */
export function frameTruesize(len: number): number {
  let bucket = 512
  const need = len + 576
  while (bucket < need) bucket <<= 1
  return bucket + 256
}
