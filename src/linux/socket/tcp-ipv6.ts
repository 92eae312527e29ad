/**
 * TCP over IPv6.
 *
 * Linux: net/ipv6/tcp_ipv6.c.
 */
import { freeSkb } from '../core/skb.ts'
import type { Netns } from '../netns.ts'
import { R_UNMODELLED } from '../reasons.ts'
import type { World } from '../world.ts'

/** tcp_v6_rcv: M_DATA at the TCP header. Takes the slot. */
export function tcpV6Rcv(w: World, _ns: Netns, slot: number): void {
  freeSkb(w, slot, R_UNMODELLED, 0, 'TCP over IPv6')
}

/** tcp_v6_err: an ICMPv6 error about a segment of ours. */
export function tcpV6Err(
  _w: World,
  _ns: Netns,
  _slot: number,
  _type: number,
  _code: number,
  _info: number,
  _inner: number,
  _th: number,
): void {}
