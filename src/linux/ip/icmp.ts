import type { Netns } from '../netns.ts'
import type { World } from '../world.ts'
/** Rate limits of a namespace's ICMP. */
export class IcmpLimits {
  readonly ns: Netns
  constructor(ns: Netns) {
    this.ns = ns
  }
}
/** icmp_rcv: M_DATA at the ICMP header. */
export function icmpRcv(_w: World, _ns: Netns, _slot: number): void {}
/** icmp_send: an error about `slotIn` (not taken). info: MTU for FRAG_NEEDED, gateway for redirects (host order int32). */
export function icmpSend(_w: World, _slotIn: number, _type: number, _code: number, _info: number): void {}
