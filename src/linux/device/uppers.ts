/**
 * What a device's changes mean for the devices that stand on it: vlan, macvlan, ipvlan.
 *
 * Linux: net/8021q/vlan.c (vlan_device_event), drivers/net/macvlan.c (macvlan_device_event), drivers/net/ipvlan
 * (ipvlan_device_event), net/core/dev.c (netif_stacked_transfer_operstate). A VLAN device goes up and down with the device
 * below; a macvlan or ipvlan device only loses its carrier.
 */
import { DEV_IPVLAN, DEV_MACVLAN, DEV_VLAN, type NetDevice } from './device.ts'
import { macvlanPriv } from './macvlan.ts'
import { vlanPriv } from './vlan.ts'

/** What a change is told with: the functions of ops.ts, which would otherwise be imported in a circle at load time. */
export interface UpperVerbs {
  setUp(dev: NetDevice): number
  setDown(dev: NetDevice): void
  setMac(dev: NetDevice, mac: { hi: number; lo: number }): number
  setMtu(dev: NetDevice, mtu: number): number
  carrierChanged(dev: NetDevice, carrier: boolean): void
}

/** NETDEV_UP, NETDEV_DOWN and NETDEV_CHANGE of the device below. */
export function uppersFollowState(lower: NetDevice, verbs: UpperVerbs): void {
  for (const u of [...lower.uppers]) {
    verbs.carrierChanged(u, lower.carrier)
    if (u.kind !== DEV_VLAN || vlanPriv(u).looseBinding) continue
    if (lower.up) verbs.setUp(u)
    else verbs.setDown(u)
  }
}

/** NETDEV_CHANGEADDR of the device below: a VLAN device that is up and was given no address follows, an ipvlan
 * always. */
export function uppersFollowMac(lower: NetDevice, verbs: UpperVerbs): void {
  for (const u of lower.uppers) {
    if ((u.kind === DEV_VLAN && !u.macSet && u.up) || u.kind === DEV_IPVLAN || isPassthru(u)) {
      verbs.setMac(u, { hi: lower.macHi, lo: lower.macLo })
      u.macSet = false
    }
  }
}

/** A macvlan in passthru mode has the address of the device below. */
function isPassthru(dev: NetDevice): boolean {
  return dev.kind === DEV_MACVLAN && macvlanPriv(dev).port.passthru
}

/** NETDEV_CHANGEMTU of the device below: what stands on it may not be larger; an ipvlan is always as large. */
export function uppersFollowMtu(lower: NetDevice, verbs: UpperVerbs): void {
  for (const u of lower.uppers) if (u.mtu > lower.mtu || u.kind === DEV_IPVLAN) verbs.setMtu(u, lower.mtu)
}
