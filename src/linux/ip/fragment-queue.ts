import type { Netns } from '../netns.ts'
import type { World } from '../world.ts'
/** enum ip_defrag_users: who asks; queues of different users are apart. */
export const IP_DEFRAG_LOCAL_DELIVER = 0
export const IP_DEFRAG_CALL_RA_CHAIN = 1
export const IP_DEFRAG_CONNTRACK_IN = 2
export const IP_DEFRAG_CONNTRACK_OUT = 65538
export const IP_DEFRAG_CONNTRACK_BRIDGE_IN = 131074
/** The fragment queues of a namespace. */
export class FragQueues {
  readonly ns: Netns
  constructor(ns: Netns) {
    this.ns = ns
  }
}
/** ip_defrag: 0 = the slot now holds the whole datagram; EINPROGRESS (-115) = the slot was taken; else errno, slot freed. */
export function ipDefrag(_w: World, _ns: Netns, _slot: number, _user: number): number {
  return 0
}
