/**
 * Registering and unregistering devices in a namespace.
 *
 * Linux: register_netdevice, dev_new_index, dev_change_net_namespace (net/core/dev.c). ifindex counts up per namespace
 * from 1 (lo) and is not reused.
 */
import { ipv6AddDev } from '../ipv6/addrconf.ts'
import type { Netns } from '../netns.ts'
import { NetDevice } from './device.ts'

const nextIndex = new WeakMap<Netns, number>()

/** dev_index_reserve: the next number that is free. A device that brought its own number does not move the counter. */
function newIndex(ns: Netns): number {
  let i = nextIndex.get(ns) ?? 1
  while (ns.byIndex[i] !== undefined) i++
  nextIndex.set(ns, i + 1)
  return i
}

/** register_netdevice: throws when the name is taken (callers check: the text front end answers "File exists"). */
export function registerNetdevice(
  ns: Netns,
  name: string,
  kind: number,
  mac: { hi: number; lo: number },
  mtu: number,
): NetDevice {
  if (ns.devices.has(name)) throw new Error(`device ${name} exists in ${ns.name}`)
  const w = ns.world
  const dev = new NetDevice(w.devices.length, newIndex(ns), name, kind, ns, mac, mtu)
  w.devices.push(dev)
  ns.devices.set(name, dev)
  ns.byIndex[dev.ifindex] = dev
  ipv6AddDev(dev)
  return dev
}

/** unlist_netdevice and freeing: the id stays unused. */
export function unregisterNetdevice(dev: NetDevice): void {
  dev.ns.devices.delete(dev.name)
  dev.ns.byIndex[dev.ifindex] = undefined
  dev.ns.world.devices[dev.id] = null
}

/** dev_change_net_namespace: the device keeps its id and MAC, gets a new ifindex if its own is taken. */
export function changeNetNamespace(dev: NetDevice, ns: Netns, name = dev.name): void {
  dev.ns.devices.delete(dev.name)
  dev.ns.byIndex[dev.ifindex] = undefined
  dev.ns = ns
  dev.name = name
  if (ns.byIndex[dev.ifindex] !== undefined) dev.ifindex = newIndex(ns)
  ns.devices.set(name, dev)
  ns.byIndex[dev.ifindex] = dev
  ipv6AddDev(dev)
}

/** A random locally administered MAC, as eth_hw_addr_random gives. */
export function randomMac(ns: Netns): { hi: number; lo: number } {
  const r = ns.world.random
  return { hi: (r.u32() & 0xfeff & 0xffff) | 0x0200, lo: r.u32() | 0 }
}
