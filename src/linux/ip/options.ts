import type { World } from '../world.ts'
/** ip_options_compile for a received packet. @returns 0 or EINVAL */
export function ipOptionsCompile(_w: World, _slot: number): number {
  return 0
}
