import type { Netns } from '../netns.ts'
import type { World } from '../world.ts'
/** ip_forward */
export function ipForward(_w: World, _ns: Netns, _slot: number): void {}
