/**
 * Unicast addresses that a device listens to besides its own, and what that means: promiscuous mode.
 *
 * Linux: net/core/dev_addr_lists.c (dev_uc_add), net/core/dev.c (__dev_set_rx_mode): a device that cannot filter unicast
 * addresses (veth, dummy, bridge) becomes promiscuous when it has any. It shows in `promiscuity`, not in the flags. For a
 * bridge it means that the host also receives what is bridged.
 */
import { DEV_IPVLAN, DEV_MACVLAN, DEV_VLAN, type NetDevice } from './device.ts'

/** IFF_UNICAST_FLT */
function filtersUnicast(dev: NetDevice): boolean {
  return dev.kind === DEV_VLAN || dev.kind === DEV_MACVLAN || dev.kind === DEV_IPVLAN
}

/** dev_uc_add (`delta` 1) and dev_uc_del (-1) on the device below. */
export function devUcCount(dev: NetDevice, delta: number): void {
  const before = dev.ucCount
  dev.ucCount += delta
  if (filtersUnicast(dev)) {
    // the address goes on down
    if (dev.lower !== null && dev.up) devUcCount(dev.lower, delta)
    return
  }
  if (before === 0 && dev.ucCount > 0) dev.promiscuity++
  if (before > 0 && dev.ucCount === 0) dev.promiscuity--
}
