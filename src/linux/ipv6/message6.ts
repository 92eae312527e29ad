/**
 * What a socket's datagram is made from: the arguments of ip6_append_data and the cork.
 *
 * Linux: struct inet6_cork, struct ipcm6_cookie. Imports types only, so that modules of a cycle can make one while they
 * load.
 */
import type { Flowi6 } from './flow6.ts'
import type { Rt6 } from './rt6.ts'

/** IPV6_MTU_DISCOVER values of include/uapi/linux/in6.h. */
export const IPV6_PMTUDISC_DONT = 0
export const IPV6_PMTUDISC_WANT = 1
export const IPV6_PMTUDISC_DO = 2
export const IPV6_PMTUDISC_PROBE = 3
export const IPV6_PMTUDISC_INTERFACE = 4
export const IPV6_PMTUDISC_OMIT = 5

/** What ip6_append_data + ip6_push_pending_frames need to know of a message. Reuse one instance. */
export class Ip6Message {
  rt!: Rt6
  fl!: Flowi6
  proto = 0
  tclass = 0
  /** -1: the route's or the device's */
  hoplimit = -1
  pmtudisc = IPV6_PMTUDISC_WANT
  /** IPV6_DONTFRAG */
  dontfrag = false
  bytes!: Uint8Array
  length = 0
  sk = 0
  mark = 0
  priority = 0
  /** The sender has a hash (a connected socket): tunnels and flow labels follow it. */
  txhash = false
  /** The checksum came from a raw socket, nobody knows whether it is right. */
  csumNone = false
}
