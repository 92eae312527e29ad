/**
 * The CNI drivers podwalk knows: one line each.
 */

import { calico } from './calico/driver.ts'
import type { CniDriver } from './driver.ts'
import { flannel } from './flannel/driver.ts'
import { kubenet } from './kubenet/driver.ts'

/** Every driver. */
export const CNI_DRIVERS: readonly CniDriver[] = [
  kubenet, //
  flannel,
  calico,
]

/** Names that manifests and users write and that have no driver here: UNMODELLED, not a typing mistake. */
export const OTHER_CNIS: readonly string[] = [
  ...[
    'antrea',
    'aws-vpc-cni',
    'azure-cni',
    'bridge',
    'calico',
    'canal',
    'cilium',
    'kindnet',
    'kube-ovn',
    'kube-router',
  ],
  ...['multus', 'ovn-kubernetes', 'ptp', 'romana', 'weave'],
]

/** The driver of that name, or undefined. */
export function findCniDriver(name: string): CniDriver | undefined {
  return CNI_DRIVERS.find((d) => d.name === name)
}
