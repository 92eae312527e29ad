import type { NetDevice } from '../../device/device.ts'
import type { World } from '../../world.ts'
import type { IpSet } from './set.ts'
export function ipSetTestPacket(_w: World, _set: IpSet, _slot: number, _nh: number, _dims: number, _src: number, _flags: number, _in: NetDevice | null, _out: NetDevice | null): boolean {
  return false
}
export function ipSetAddPacket(_w: World, _set: IpSet, _slot: number, _nh: number, _dims: number, _src: number, _timeout: number, _exist: boolean, _in: NetDevice | null, _out: NetDevice | null): void {}
export function ipSetDelPacket(_w: World, _set: IpSet, _slot: number, _nh: number, _dims: number, _src: number, _in: NetDevice | null, _out: NetDevice | null): void {}
