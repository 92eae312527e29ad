/**
 * What a socket's datagram is made from: the arguments of ip_append_data and the cork.
 *
 * Linux: struct inet_cork, struct ipcm_cookie (include/net/inet_sock.h, include/net/ip.h). Imports types only, so that
 * modules of a cycle can make one while they load.
 */
import type { Flowi4 } from '../route/flow.ts'
import type { Rtable } from '../route/rtable.ts'
import type { EchoedOptions } from './echoed-options.ts'

/** IP_PMTUDISC_* of include/uapi/linux/in.h. */
export const IP_PMTUDISC_DONT = 0
export const IP_PMTUDISC_WANT = 1
export const IP_PMTUDISC_DO = 2
export const IP_PMTUDISC_PROBE = 3
export const IP_PMTUDISC_INTERFACE = 4
export const IP_PMTUDISC_OMIT = 5

/** What ip_append_data + ip_push_pending_frames need to know of a socket's message. Reuse one instance. */
export class IpMessage {
  rt!: Rtable
  fl!: Flowi4
  proto = 0
  tos = 0
  /** 0: the default (ip_default_ttl, or 1 for multicast) */
  ttl = 0
  pmtudisc = IP_PMTUDISC_WANT
  /** Transport header and payload, checksum filled in. */
  bytes!: Uint8Array
  /** Bytes of `bytes` to send. */
  length = 0
  /** Socket id for M_SK, 0 none. */
  sk = 0
  mark = 0
  priority = 0
  /** A connected socket counts IDs of its own (`inet->inet_daddr` is set). */
  connected = false
  /** The sender has a `sk_txhash` although it is not connected (ip_send_unicast_reply for TIME_WAIT and requests). */
  txhash = false
  /** CHECKSUM_NONE: the bytes come from a raw socket, nobody knows whether their checksum is right. */
  csumNone = false
  /** Options in network form, null when none. */
  options: EchoedOptions | null = null
}
