import type { Flowi4 } from '../route/flow.ts'
import type { Rtable } from '../route/rtable.ts'
import type { Netns } from '../netns.ts'
import type { World } from '../world.ts'

/** IP_PMTUDISC_* */
export const IP_PMTUDISC_DONT = 0
export const IP_PMTUDISC_WANT = 1
export const IP_PMTUDISC_DO = 2
export const IP_PMTUDISC_PROBE = 3
export const IP_PMTUDISC_INTERFACE = 4
export const IP_PMTUDISC_OMIT = 5

/** What ip_append_data + ip_push_pending_frames need of a socket's message. Reuse one instance. */
export class IpMessage {
  rt!: Rtable
  fl!: Flowi4
  proto = 0
  tos = 0
  /** 0: the default (sysctl, or 1 for multicast) */
  ttl = 0
  pmtudisc = 1
  /** Transport header and payload, checksum filled in. */
  bytes!: Uint8Array
  length = 0
  /** Socket id for M_SK, 0 none. */
  sk = 0
  mark = 0
  priority = 0
  /** True for a connected socket (its own ID counter), as `inet->inet_daddr` set. */
  connected = false
  /** SO_BROADCAST is the caller's. Options in network form, null when none. */
  options: Uint8Array | null = null
}
/** __ip_local_out + dst_output: header complete but for tot_len and check. @returns 0 or a negative errno */
export function ipLocalOut(_w: World, _ns: Netns, _slot: number): number {
  return 0
}
/** dst_output: by arena.dst[slot]. */
export function dstOutput(_w: World, _ns: Netns, _slot: number): number {
  return 0
}
/** ip_output */
export function ipOutput(_w: World, _ns: Netns, _slot: number): number {
  return 0
}
/** ip_finish_output: after POST_ROUTING. */
export function ipFinishOutput(_w: World, _ns: Netns, _slot: number): number {
  return 0
}
/** __ip_queue_xmit for TCP: M_DATA at the TCP header, arena.dst set; pushes the IP header and sends. */
export function ipQueueXmit(_w: World, _ns: Netns, _slot: number, _saddr: number, _daddr: number, _proto: number, _tos: number, _ttl: number, _df: boolean, _sk: number): number {
  return 0
}
/** ip_build_and_send_pkt for SYN/ACK and the like: ID 0 when DF. Same arguments. */
export function ipBuildAndSendPkt(_w: World, _ns: Netns, _slot: number, _saddr: number, _daddr: number, _proto: number, _tos: number, _ttl: number, _df: boolean, _sk: number): number {
  return 0
}
/** ip_append_data, ip_make_skb/ip_push_pending_frames: sends a datagram, in fragments when it must be. */
export function ipMakeAndSend(_w: World, _ns: Netns, _msg: IpMessage): number {
  return 0
}
/** ip_select_ident_segs: the ID for a header. */
export function ipSelectIdent(_ns: Netns, _df: boolean, _connected: boolean): number {
  return 0
}
