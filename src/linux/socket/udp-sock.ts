/**
 * A UDP socket: struct udp_sock with its receive queue.
 *
 * Linux: include/linux/udp.h, net/core/sock.c (sock_queue_rcv_skb). The queue is bounded by SO_RCVBUF as in Linux
 * (truesize accounting, rounded to what a small packet's buffer costs).
 */
import type { Netns } from '../netns.ts'
import type { Rtable } from '../route/rtable.ts'
import { InetSock, IPPROTO_UDP } from './sock.ts'

/** net.core.rmem_default */
export const RMEM_DEFAULT = 212992

/** A datagram that waits to be read. */
export interface Datagram {
  readonly from: number
  readonly port: number
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

  constructor(ns: Netns) {
    super(ns, IPPROTO_UDP)
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
