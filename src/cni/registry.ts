/**
 * The CNI drivers podwalk knows: one line each.
 */
import type { CniDriver } from './driver.ts'
import { flannel } from './flannel/driver.ts'
import { kubenet } from './kubenet/driver.ts'

/** Every driver. */
export const CNI_DRIVERS: readonly CniDriver[] = [
  kubenet, //
  flannel,
]

/** The driver of that name, or undefined. */
export function findCniDriver(name: string): CniDriver | undefined {
  return CNI_DRIVERS.find((d) => d.name === name)
}
