/**
 * Making and changing devices: what `ip link` asks of the kernel.
 *
 * Linux: net/core/rtnetlink.c, drivers/net/veth.c (veth_newlink), net/bridge/br_if.c, net/core/dev.c (dev_open,
 * dev_close). Callers (text front ends, drivers) check names first; a broken rule here is our bug and throws.
 */
import { Bridge } from '../bridge/bridge.ts'
import { EINVAL, ELOOP, EOPNOTSUPP } from '../errno.ts'
import type { Netns } from '../netns.ts'
import { arpGratuitous } from '../neighbour/arp.ts'
import { nfNatMasqDeviceEvent } from '../netfilter/nat/masquerade.ts'
import { DEV_BRIDGE, DEV_DUMMY, DEV_LOOPBACK, DEV_NIC, DEV_VETH, IFF_UP, RT_SCOPE_HOST, type NetDevice } from './device.ts'
import { inetAddrAdd } from './inet.ts'
import { changeNetNamespace, randomMac, registerNetdevice, unregisterNetdevice } from './register.ts'

/** A MAC address: upper 16 bits, lower 32 as int32. */
export interface Mac {
  readonly hi: number
  readonly lo: number
}

/** One end of a pair. */
export interface PairEnd {
  readonly ns: Netns
  readonly name: string
  /** null: random */
  readonly mac?: Mac | null
}

function createPair(a: PairEnd, b: PairEnd, mtu: number, kind: number): [NetDevice, NetDevice] {
  const x = registerNetdevice(a.ns, a.name, kind, a.mac ?? randomMac(a.ns), mtu)
  const y = registerNetdevice(b.ns, b.name, kind, b.mac ?? randomMac(b.ns), mtu)
  x.peer = y
  y.peer = x
  x.carrier = false
  y.carrier = false
  return [x, y]
}

/** ip link add A type veth peer name B */
export function createVeth(a: PairEnd, b: PairEnd, mtu = 1500): [NetDevice, NetDevice] {
  return createPair(a, b, mtu, DEV_VETH)
}

/** Two network cards joined by a wire. */
export function createLink(a: PairEnd, b: PairEnd, mtu = 1500): [NetDevice, NetDevice] {
  return createPair(a, b, mtu, DEV_NIC)
}

/** ip link add NAME type bridge */
export function createBridge(ns: Netns, name: string, mac: Mac | null = null, mtu: number | null = null): NetDevice {
  const dev = registerNetdevice(ns, name, DEV_BRIDGE, mac ?? randomMac(ns), mtu ?? 1500)
  dev.bridge = new Bridge(dev, mac !== null)
  if (mtu !== null) dev.bridge.mtuSet = true
  return dev
}

/** ip link add NAME type dummy */
export function createDummy(ns: Netns, name: string, mac: Mac | null = null, mtu = 1500): NetDevice {
  return registerNetdevice(ns, name, DEV_DUMMY, mac ?? randomMac(ns), mtu)
}

/** Tells everything that depends on the device's state: bridge port, routes, peers. */
function carrierChanged(dev: NetDevice, carrier: boolean): void {
  if (dev.carrier === carrier) return
  dev.carrier = carrier
  if (dev.port !== null) dev.port.bridge.portChanged(dev.port)
  if (!dev.up) return
  if (carrier) dev.ns.fib.devUp(dev)
  else dev.ns.fib.devDown(dev, true)
}

/** dev_open: `ip link set DEV up`. */
export function setUp(dev: NetDevice): void {
  if (dev.up) return
  dev.flags |= IFF_UP
  const peer = dev.peer
  if (peer !== null) {
    dev.carrier = peer.up
    carrierChanged(peer, true)
  }
  if (dev.bridge !== null) dev.bridge.devChanged()
  if (dev.kind === DEV_LOOPBACK && dev.addrs.length === 0) {
    inetAddrAdd(dev, { ip: 0x7f000001, prefixLength: 8, scope: RT_SCOPE_HOST })
  }
  if (dev.port !== null) dev.port.bridge.portChanged(dev.port)
  dev.ns.fib.devUp(dev)
  if (dev.conf.arp_notify !== 0 || dev.ns.sysctl.all.arp_notify !== 0) arpGratuitous(dev.ns.world, dev)
}

/** dev_close: `ip link set DEV down`. */
export function setDown(dev: NetDevice): void {
  if (!dev.up) return
  dev.flags &= ~IFF_UP
  if (dev.peer !== null) carrierChanged(dev.peer, false)
  if (dev.bridge !== null) dev.bridge.devChanged()
  if (dev.port !== null) dev.port.bridge.portChanged(dev.port)
  dev.ns.fib.devDown(dev, false)
  dev.ns.neigh.flushDev(dev)
  nfNatMasqDeviceEvent(dev.ns, dev)
}

/** ip link set DEV master BRIDGE | nomaster. @returns 0 or a negative errno */
export function setMaster(dev: NetDevice, master: NetDevice | null): number {
  if (master === null) {
    dev.port?.bridge.delPort(dev)
    return 0
  }
  if (master.bridge === null || !dev.ether) return EINVAL
  if (dev.kind === DEV_BRIDGE) return ELOOP
  if (dev.kind === DEV_LOOPBACK || master.ns !== dev.ns) return EINVAL
  if (dev.port !== null) {
    if (dev.port.bridge === master.bridge) return 0
    dev.port.bridge.delPort(dev)
  }
  master.bridge.addPort(dev)
  return 0
}

/** ip link set DEV address MAC */
export function setMac(dev: NetDevice, mac: Mac): void {
  if (dev.bridge !== null) {
    dev.bridge.macSet = true
    dev.bridge.changeMac(mac.hi, mac.lo)
  } else {
    const port = dev.port
    if (port !== null) port.bridge.fdb.removeIf((e) => e.isLocal && e.port === port)
    dev.macHi = mac.hi
    dev.macLo = mac.lo
    if (port !== null) {
      port.bridge.addLocal(mac.hi, mac.lo, port)
      port.bridge.recalculate()
    }
  }
  // NETDEV_CHANGEADDR: neigh_changeaddr, then the gratuitous ARP of inetdev_event
  dev.ns.neigh.flushDev(dev)
  dev.ns.fib.flushCache()
  if (dev.up && (dev.conf.arp_notify !== 0 || dev.ns.sysctl.all.arp_notify !== 0)) arpGratuitous(dev.ns.world, dev)
}

/** ip link set DEV mtu N. @returns 0 or -EINVAL */
export function setMtu(dev: NetDevice, mtu: number): number {
  if (!Number.isInteger(mtu) || mtu < 68 || mtu > 65536) return EINVAL
  dev.mtu = mtu
  if (dev.bridge !== null) dev.bridge.mtuSet = true
  dev.port?.bridge.recalculate()
  dev.ns.fib.flushCache()
  return 0
}

/** ip link set DEV name NEW */
export function renameDevice(dev: NetDevice, name: string): void {
  const ns = dev.ns
  if (ns.devices.has(name)) throw new Error(`device ${name} exists`)
  ns.devices.delete(dev.name)
  dev.addrs = dev.addrs.map((a) => (a.label === dev.name ? { ...a, label: name } : a))
  dev.name = name
  ns.devices.set(name, dev)
}

/** ip link set DEV netns NS: the device comes down, loses addresses and bridge, and appears there. */
export function moveDevice(dev: NetDevice, ns: Netns, name = dev.name): void {
  setDown(dev)
  dev.port?.bridge.delPort(dev)
  for (const a of [...dev.addrs]) dev.ns.fib.delIfaddr(dev, a)
  dev.addrs = []
  dev.ns.neigh.flushDev(dev)
  changeNetNamespace(dev, ns, name)
}

/** ip link del DEV: a pair goes as a whole. @returns 0 or a negative errno */
export function deleteDevice(dev: NetDevice): number {
  if (dev.kind === DEV_LOOPBACK) return EOPNOTSUPP
  const pair = dev.peer === null ? [dev] : [dev, dev.peer]
  for (const d of pair) {
    setDown(d)
    d.port?.bridge.delPort(d)
    if (d.bridge !== null) for (const p of [...d.bridge.ports]) d.bridge.delPort(p.dev)
    for (const a of [...d.addrs]) d.ns.fib.delIfaddr(d, a)
    d.addrs = []
    d.ns.neigh.flushDev(d)
  }
  for (const d of pair) {
    d.peer = null
    unregisterNetdevice(d)
  }
  return 0
}
