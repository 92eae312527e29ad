import type { Netns } from '../netns.ts'
import type { World } from '../world.ts'
/** ip_rcv: M_DATA at the IP header, M_DEV the incoming device. */
export function ipRcv(_w: World, _slot: number): void {}
/** ip_rcv_finish: after PRE_ROUTING; routes (unless arena.dst is set) and passes on. */
export function ipRcvFinish(_w: World, _ns: Netns, _slot: number): void {}
/** ip_local_deliver */
export function ipLocalDeliver(_w: World, _ns: Netns, _slot: number): void {}
/** ip_protocol_deliver_rcu: M_DATA at the transport header. */
export function ipProtocolDeliver(_w: World, _ns: Netns, _slot: number, _protocol: number): void {}
/** dst_input: by arena.dst[slot]. */
export function dstInput(_w: World, _ns: Netns, _slot: number): void {}
