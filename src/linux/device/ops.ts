/**
 * Making and changing devices: what `ip link` asks of the kernel.
 *
 * Linux: net/core/rtnetlink.c, drivers/net/veth.c (veth_newlink), net/bridge/br_if.c, net/core/dev.c (dev_open,
 * dev_close). Callers (text front ends, drivers) check names first; a broken rule here is our bug and throws.
 */
import { Bridge } from '../bridge/bridge.ts'
import { EADDRINUSE, EBUSY, EINVAL, ELOOP, ENETDOWN, EOPNOTSUPP, ERANGE } from '../errno.ts'
import { addrconfChange, addrconfDown, addrconfMtuChange, addrconfUp } from '../ipv6/addrconf.ts'
import { ndiscSendUnsolNa } from '../ipv6/ndisc-send.ts'
import { arpGratuitous } from '../neighbour/arp.ts'
import { nfNatMasqDeviceEvent } from '../netfilter/nat/masquerade.ts'
import type { Netns } from '../netns.ts'
import { Ipv4Conf, NeighParms } from '../sysctl.ts'
import { forgetTcDevice } from '../tc/config.ts'
import {
  DEV_BRIDGE,
  DEV_DUMMY,
  DEV_GENEVE,
  DEV_GRE,
  DEV_GRETAP,
  DEV_IPIP,
  DEV_IPVLAN,
  DEV_LOOPBACK,
  DEV_MACVLAN,
  DEV_NIC,
  DEV_VETH,
  DEV_VLAN,
  DEV_VXLAN,
  IFF_PROMISC,
  IFF_UP,
  type NetDevice,
  RT_SCOPE_HOST,
  RX_IPVLAN,
  RX_MACVLAN,
} from './device.ts'
import { geneveOpen, geneveStop, geneveUninit } from './geneve.ts'
import { greChangeMtu, greUninit } from './gre.ts'
import { inetAddrAdd, inetAddrDel } from './inet.ts'
import { ipipChangeMtu, ipipUninit, ipTunnelPriv } from './ipip.ts'
import { ipvlanOpen, ipvlanUninit } from './ipvlan.ts'
import { macvlanAddrBusy, macvlanHash, macvlanOpen, macvlanPriv, macvlanStop, macvlanUninit } from './macvlan.ts'
import { changeNetNamespace, randomMac, registerNetdevice, unregisterNetdevice } from './register.ts'
import { devUcCount } from './rx-filter.ts'
import { uppersFollowMac, uppersFollowMtu, uppersFollowState } from './uppers.ts'
import { vlanPriv, vlanUninit } from './vlan.ts'
import { vxlanChangeMtu, vxlanOpen, vxlanStop, vxlansOver } from './vxlan.ts'

/** Limits of what carries Ethernet frames; lo and dummy have none of their own. */
const ETH_MIN_MTU = 68
const ETH_MAX_MTU = 65535
/** Bytes of a device name with its terminating zero. */
const IFNAMSIZ = 16

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
  // veth_newlink registers the peer first: it gets the lower ifindex
  const y = registerNetdevice(b.ns, b.name, kind, b.mac ?? randomMac(b.ns), mtu)
  const x = registerNetdevice(a.ns, a.name, kind, a.mac ?? randomMac(a.ns), mtu)
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
  // an MTU given at creation is not BROPT_MTU_SET_BY_USER: it follows the first port
  dev.bridge = new Bridge(dev, mac !== null)
  // br_stp_change_bridge_id of an address given at creation looks for ports
  if (mac !== null) dev.carrier = false
  return dev
}

/** ip link add NAME type dummy */
export function createDummy(ns: Netns, name: string, mac: Mac | null = null, mtu = 1500): NetDevice {
  return registerNetdevice(ns, name, DEV_DUMMY, mac ?? randomMac(ns), mtu)
}

/**
 * netif_carrier_on, netif_carrier_off and the NETDEV_CHANGE that follows: bridge port, routes, and the neighbours that
 * arp_evict_nocarrier forgets.
 * @param tell6 false: the caller tells IPv6 later (linkwatch sees the device that was opened first)
 */
export function carrierChanged(dev: NetDevice, carrier: boolean, tell6 = true): void {
  if (dev.carrier === carrier) return
  dev.carrier = carrier
  dev.ns.gen++
  if (dev.port !== null) dev.port.bridge.portChanged(dev.port)
  for (let i = 0; i < dev.uppers.length; i++) carrierChanged(dev.uppers[i]!, carrier)
  if (!dev.up) return
  if (carrier) dev.ns.fib.devUp(dev)
  else {
    dev.ns.fib.devDown(dev, true)
    if (dev.conf.arp_evict_nocarrier !== 0 && dev.ns.sysctl.all.arp_evict_nocarrier !== 0)
      dev.ns.neigh.flushDev(dev, true)
  }
  if (
    !carrier &&
    dev.in6 !== null &&
    dev.in6.conf.ndisc_evict_nocarrier !== 0 &&
    dev.ns.sysctl.ipv6.all.ndisc_evict_nocarrier !== 0
  )
    dev.ns.nd.flushDev(dev, true)
  if (tell6) addrconfChange(dev)
}

function arpNotify(dev: NetDevice): void {
  if (dev.conf.arp_notify !== 0 || dev.ns.sysctl.all.arp_notify !== 0) arpGratuitous(dev.ns.world, dev)
}

/** `ndo_open` of the kinds that can refuse. */
function ndoOpen(dev: NetDevice): number {
  if (dev.kind === DEV_VLAN) {
    const lower = dev.lower!
    if (!lower.up && !vlanPriv(dev).looseBinding) return ENETDOWN
    dev.carrier = lower.carrier
    // vlan_dev_inherit_address
    if (!dev.macSet && (dev.macHi !== lower.macHi || dev.macLo !== lower.macLo)) {
      dev.macHi = lower.macHi
      dev.macLo = lower.macLo
    }
    if (dev.macHi !== lower.macHi || dev.macLo !== lower.macLo) devUcCount(lower, 1)
    return 0
  }
  if (dev.kind === DEV_MACVLAN) return macvlanOpen(dev)
  if (dev.kind === DEV_GENEVE) return geneveOpen(dev)
  if (dev.kind === DEV_IPVLAN) ipvlanOpen(dev)
  if (dev.kind === DEV_VXLAN) {
    dev.flags |= IFF_UP
    const err = vxlanOpen(dev)
    dev.flags &= ~IFF_UP
    return err
  }
  return 0
}

/** `ndo_stop` of the kinds that have one. */
function ndoStop(dev: NetDevice): void {
  const lower = dev.lower
  if (dev.kind === DEV_VXLAN) vxlanStop(dev)
  else if (dev.kind === DEV_MACVLAN) macvlanStop(dev)
  else if (dev.kind === DEV_GENEVE) geneveStop(dev)
  else if (dev.kind === DEV_VLAN && lower !== null && (dev.macHi !== lower.macHi || dev.macLo !== lower.macLo))
    devUcCount(lower, -1)
}

const upperVerbs = { setUp, setDown, setMac, setMtu, carrierChanged }

/** ndisc_netdev_event(NETDEV_CHANGEADDR) */
function ndiscNotify(dev: NetDevice): void {
  if (dev.in6 === null) return
  if (dev.in6.conf.ndisc_notify !== 0 || dev.ns.sysctl.ipv6.all.ndisc_notify !== 0) {
    ndiscSendUnsolNa(dev.ns.world, dev)
  }
}

/** dev_open: `ip link set DEV up`. @returns 0, or the errno of the driver's ndo_open */
export function setUp(dev: NetDevice): number {
  if (dev.up) return 0
  const err = ndoOpen(dev)
  if (err !== 0) return err
  dev.flags |= IFF_UP
  dev.ns.gen++
  const peer = dev.peer
  if (peer?.up) {
    dev.carrier = true
    carrierChanged(peer, true, false)
  }
  if (dev.bridge !== null) dev.bridge.devChanged()
  // inetdev_event(NETDEV_UP): fails silently when it is there already
  if (dev.kind === DEV_LOOPBACK) inetAddrAdd(dev, { ip: 0x7f000001, prefixLength: 8, scope: RT_SCOPE_HOST })
  if (dev.port !== null) dev.port.bridge.portChanged(dev.port)
  dev.ns.fib.devUp(dev)
  arpNotify(dev)
  addrconfUp(dev)
  if (peer?.up) addrconfChange(peer)
  if (dev.uppers.length > 0) uppersFollowState(dev, upperVerbs)
  return 0
}

/** dev_close: `ip link set DEV down`. */
export function setDown(dev: NetDevice): void {
  if (!dev.up) return
  dev.flags &= ~IFF_UP
  dev.ns.gen++
  ndoStop(dev)
  if (dev.peer !== null) {
    dev.carrier = false
    carrierChanged(dev.peer, false)
  }
  if (dev.bridge !== null) dev.bridge.devChanged()
  if (dev.port !== null) dev.port.bridge.portChanged(dev.port)
  dev.ns.fib.devDown(dev, false)
  dev.ns.neigh.flushDev(dev)
  addrconfDown(dev, false)
  nfNatMasqDeviceEvent(dev.ns, dev)
  if (dev.uppers.length > 0) uppersFollowState(dev, upperVerbs)
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
  // its rx_handler is taken
  if ((dev.hooks & (RX_MACVLAN | RX_IPVLAN)) !== 0) return EBUSY
  if (dev.port !== null) {
    if (dev.port.bridge === master.bridge) return 0
    dev.port.bridge.delPort(dev)
  }
  master.bridge.addPort(dev)
  return 0
}

/** ip link set DEV address MAC. @returns 0 or a negative errno */
export function setMac(dev: NetDevice, mac: Mac): number {
  if (dev.kind === DEV_MACVLAN) {
    if (macvlanAddrBusy(dev, mac.hi, mac.lo)) return EADDRINUSE
    const { port } = macvlanPriv(dev)
    // macvlan_set_mac_address in passthru mode: it is the lower device's address, which comes back as an event
    if (port.passthru && (port.lower.macHi !== mac.hi || port.lower.macLo !== mac.lo)) return setMac(port.lower, mac)
  }
  if (dev.bridge !== null) {
    dev.bridge.macSet = true
    dev.bridge.changeMac(mac.hi, mac.lo)
  } else {
    dev.macHi = mac.hi
    dev.macLo = mac.lo
    dev.macSet = true
    dev.ns.gen++
    dev.port?.bridge.portMacChanged(dev.port)
    addressChanged(dev)
  }
  if (dev.kind === DEV_MACVLAN && dev.up) macvlanHash(dev)
  if (dev.bridge === null) macChanged(dev)
  arpNotify(dev)
  ndiscNotify(dev)
  return 0
}

/** NETDEV_CHANGEADDR for the devices on this one; a bridge's address may change with its ports. */
export function macChanged(dev: NetDevice): void {
  if (dev.uppers.length > 0) uppersFollowMac(dev, upperVerbs)
}

/** NETDEV_CHANGEADDR: neigh_changeaddr and rt_cache_flush. */
function addressChanged(dev: NetDevice): void {
  dev.ns.neigh.flushDev(dev)
  dev.ns.nd.flushDev(dev)
  dev.ns.fib.flushCache()
}

/** ip link set DEV promisc on|off: one more user of promiscuity, held in the flags that are shown. */
export function setPromisc(dev: NetDevice, on: boolean): void {
  if (((dev.flags & IFF_PROMISC) !== 0) === on) return
  dev.flags ^= IFF_PROMISC
  dev.promiscuity += on ? 1 : -1
}

/** ip link set DEV mtu N. @returns 0 or -EINVAL */
export function setMtu(dev: NetDevice, mtu: number): number {
  if (dev.kind === DEV_IPIP && ipipChangeMtu(mtu) !== 0) return EINVAL
  if ((dev.kind === DEV_GRE || dev.kind === DEV_GRETAP) && greChangeMtu(dev, mtu) !== 0) return EINVAL
  const most = dev.kind === DEV_LOOPBACK || dev.kind === DEV_DUMMY ? 0x7fffffff : ETH_MAX_MTU
  const least = dev.kind === DEV_LOOPBACK || dev.kind === DEV_DUMMY || dev.kind === DEV_VLAN ? 0 : ETH_MIN_MTU
  if (!Number.isInteger(mtu) || mtu < least || mtu > most) return EINVAL
  if (dev.kind === DEV_VXLAN && vxlanChangeMtu(dev, mtu) !== 0) return EINVAL
  if (dev.kind === DEV_VLAN && mtu > dev.lower!.mtu) return ERANGE
  if (dev.kind === DEV_MACVLAN && mtu > dev.lower!.mtu) return EINVAL
  dev.mtu = mtu
  if (dev.bridge !== null) dev.bridge.mtuSet = true
  if (dev.uppers.length > 0) uppersFollowMtu(dev, upperVerbs)
  dev.port?.bridge.mtuAutoAdjust()
  dev.ns.fib.flushCache()
  addrconfMtuChange(dev)
  return 0
}

/** ip link set DEV name NEW: the device keeps its place in the list; labels follow as inetdev_changename has it. */
export function renameDevice(dev: NetDevice, name: string): void {
  const ns = dev.ns
  if (ns.devices.has(name)) throw new Error(`device ${name} exists`)
  const list = [...ns.devices.values()]
  dev.addrs = dev.addrs.map((a, i) => ({ ...a, label: renamedLabel(a.label, name, i) }))
  dev.name = name
  ns.gen++
  ns.devices.clear()
  for (const d of list) ns.devices.set(d.name, d)
}

/** The first address gets the bare name; later ones keep what follows their colon, or get their number. */
function renamedLabel(old: string, name: string, index: number): string {
  if (index === 0) return name
  const colon = old.indexOf(':')
  const alias = colon < 0 ? `:${index + 1}` : old.slice(colon)
  return name.slice(0, IFNAMSIZ - 1 - alias.length) + alias
}

/**
 * ip link set DEV netns NS: the device comes down, loses addresses and bridge, and appears there with that namespace's
 * default settings. @returns 0, or -EINVAL for what cannot move (bridges, lo)
 */
export function moveDevice(dev: NetDevice, ns: Netns, name = dev.name): number {
  if (dev.kind === DEV_BRIDGE || dev.kind === DEV_LOOPBACK) return EINVAL
  if (dev.kind === DEV_IPIP && ipTunnelPriv(dev).fallback) return EINVAL
  if (dev.ns === ns && dev.name === name) return 0
  setDown(dev)
  dev.port?.bridge.delPort(dev)
  dropAddresses(dev)
  dev.ns.fib.devUnregister(dev)
  dev.ns.neigh.flushDev(dev)
  dev.ns.gen++
  ns.gen++
  addrconfDown(dev, true)
  changeNetNamespace(dev, ns, name)
  Object.assign(dev.conf, new Ipv4Conf(), ns.sysctl.dflt)
  Object.assign(dev.neighParms, new NeighParms(), ns.sysctl.neighDefault)
  dev.confSet.clear()
  dev.neighSet.clear()
  dev.confSetAll = false
  return 0
}

/** inetdev_destroy: every address goes, its routes and the connections masqueraded to it too. */
function dropAddresses(dev: NetDevice): void {
  while (dev.addrs.length > 0) inetAddrDel(dev, dev.addrs[0]!.ip, dev.addrs[0]!.prefixLength)
}

/** ip link del DEV: a pair goes as a whole. @returns 0 or a negative errno */
export function deleteDevice(dev: NetDevice): number {
  if (dev.kind === DEV_LOOPBACK) return EOPNOTSUPP
  // ip_tunnel_dellink leaves tunl0 alone, and says nothing
  if (dev.kind === DEV_IPIP && ipTunnelPriv(dev).fallback) return 0
  const pair = dev.peer === null ? [dev] : [dev, dev.peer]
  for (const d of pair) for (const upper of [...d.uppers, ...vxlansOver(d)]) deleteDevice(upper)
  for (const d of pair) {
    setDown(d)
    d.port?.bridge.delPort(d)
    if (d.bridge !== null) for (const p of [...d.bridge.ports]) d.bridge.delPort(p.dev)
    dropAddresses(d)
    d.ns.fib.devUnregister(d)
    d.ns.neigh.flushDev(d)
    d.ns.gen++
    addrconfDown(d, true)
  }
  for (const d of pair) {
    d.peer = null
    if (d.kind === DEV_IPIP) ipipUninit(d)
    forgetTcDevice(d.ns, d)
    if (d.kind === DEV_VLAN) vlanUninit(d)
    if (d.kind === DEV_GRE || d.kind === DEV_GRETAP) greUninit(d)
    if (d.kind === DEV_GENEVE) geneveUninit(d)
    if (d.kind === DEV_MACVLAN) macvlanUninit(d)
    if (d.kind === DEV_IPVLAN) ipvlanUninit(d)
    if (d.lower !== null) d.lower.uppers = d.lower.uppers.filter((u) => u !== d)
    unregisterNetdevice(d)
  }
  return 0
}
