/**
 * ipvlan devices: several IP addresses behind one MAC address.
 *
 * Linux: drivers/net/ipvlan/ipvlan_core.c (ipvlan_handle_frame, ipvlan_queue_xmit, ipvlan_rcv_frame,
 * ipvlan_process_multicast, ipvlan_process_v4_outbound), ipvlan_main.c (ipvlan_link_new, ipvlan_open). Modes l2 and l3 with
 * the flags bridge, private and vepa; IPv4 and ARP decide who gets a frame.
 * Not modelled: mode l3s (refused by name), IPv6 (such frames go to the device below).
 */
import {
  ETH_HLEN,
  ETH_P_ARP,
  ETH_P_IP,
  M_DATA,
  M_DEV,
  M_FLAGS,
  M_LEN,
  M_MAC,
  M_MARK,
  M_NH,
  M_OPTLEN,
  M_PKTTYPE,
  M_PROTO,
  META_SHIFT,
  PACKET_BROADCAST,
  PACKET_HOST,
  PACKET_MULTICAST,
  SKB_CSUM_OK,
} from '../../packet/layout.ts'
import { devQueueXmit, netifRx, receiveCore } from '../core/dev.ts'
import { cloneSkb, consumeSkb, freeSkb } from '../core/skb.ts'
import { EBUSY, EINVAL, NET_XMIT_DROP } from '../errno.ts'
import { ipLocalOut } from '../ip/output.ts'
import type { Netns } from '../netns.ts'
import { R_DEV_DOWN, R_INVALID_TX, R_TUNNEL_NO_ROUTE, R_UNHANDLED_PROTO } from '../reasons.ts'
import { FLOWI_FLAG_ANYSRC, Flowi4, ipRouteOutput, routeErrno } from '../route/route.ts'
import { RTN_LOCAL, RTN_UNICAST } from '../route/rtn.ts'
import type { World } from '../world.ts'
import { DeferredFrames } from './deferred.ts'
import { DEV_IPVLAN, DEV_LOOPBACK, IFF_NOARP, type NetDevice, RX_IPVLAN, RX_MACVLAN } from './device.ts'
import { hearsGroup } from './macvlan.ts'
import { registerNetdevice } from './register.ts'
import { devForwardSkb, skbScrubPacket } from './veth.ts'

/** enum ipvlan_mode */
export const IPVLAN_L2 = 0
export const IPVLAN_L3 = 1
/** IPVLAN_F_PRIVATE, IPVLAN_F_VEPA; 0 is bridge */
export const IPVLAN_F_PRIVATE = 1
export const IPVLAN_F_VEPA = 2

/** What the devices on one lower device share, mode and flags too: struct ipvl_port. */
export class IpvlanPort {
  readonly lower: NetDevice
  mode = IPVLAN_L3
  flags = 0
  /** In order of creation. */
  devs: NetDevice[] = []
  readonly groups: DeferredFrames

  constructor(lower: NetDevice) {
    this.lower = lower
    const w = lower.ns.world
    // bit 30 of a queued number: the frame was sent by a device of this port
    this.groups = new DeferredFrames(w, (n) => processMulticast(w, n & ~TX_FLAG, this, (n & TX_FLAG) !== 0))
  }
}

const TX_FLAG = 1 << 30
const ports = new WeakMap<NetDevice, IpvlanPort>()
const flow = new Flowi4()

/** The port of a device of kind DEV_IPVLAN. */
export function ipvlanPort(dev: NetDevice): IpvlanPort {
  return dev.priv as IpvlanPort
}

/** ip link add link LOWER name NAME type ipvlan. @returns the device or a negative errno */
export function createIpvlan(
  ns: Netns,
  name: string,
  link: NetDevice,
  mode: number,
  flags: number,
  mac: { hi: number; lo: number } | null = null,
  mtu: number | null = null,
): NetDevice | number {
  const lower = link.kind === DEV_IPVLAN ? link.lower! : link
  if (lower.kind === DEV_LOOPBACK || !lower.ether) return EINVAL
  let port = ports.get(lower)
  if (port === undefined || port.devs.length === 0) {
    if (lower.port !== null || (lower.hooks & RX_MACVLAN) !== 0) return EBUSY
    port = new IpvlanPort(lower)
    ports.set(lower, port)
  }
  const dev = registerNetdevice(ns, name, DEV_IPVLAN, { hi: lower.macHi, lo: lower.macLo }, mtu ?? lower.mtu)
  // an address given at creation is overwritten by the port's; without one it counts as the permanent address
  if (mac === null) dev.permMac = { hi: lower.macHi, lo: lower.macLo }
  dev.priv = port
  dev.lower = lower
  dev.carrier = lower.carrier
  lower.uppers.push(dev)
  lower.hooks |= RX_IPVLAN
  port.devs.push(dev)
  ipvlanSetMode(dev, mode, flags)
  return dev
}

/** ipvlan_set_port_mode and ipvlan_set_flags: for every device of the port. */
export function ipvlanSetMode(dev: NetDevice, mode: number, flags: number): void {
  const port = ipvlanPort(dev)
  const changed = port.mode !== mode
  port.mode = mode
  port.flags = flags
  for (const d of port.devs) {
    if (changed || d === dev)
      d.flags = mode === IPVLAN_L3 && (changed || d.up) ? d.flags | IFF_NOARP : d.flags & ~IFF_NOARP
  }
}

/** ipvlan_link_delete, the device is down already. */
export function ipvlanUninit(dev: NetDevice): void {
  const port = ipvlanPort(dev)
  port.devs = port.devs.filter((d) => d !== dev)
  if (port.devs.length > 0) return
  port.groups.clear((n) => freeSkb(port.lower.ns.world, n & ~TX_FLAG, R_DEV_DOWN))
  port.lower.hooks &= ~RX_IPVLAN
}

/** ipvlan_open */
export function ipvlanOpen(dev: NetDevice): void {
  const port = ipvlanPort(dev)
  dev.flags = port.mode === IPVLAN_L3 ? dev.flags | IFF_NOARP : dev.flags & ~IFF_NOARP
  dev.carrier = port.lower.carrier
}

/** ipvlan_addr4_validator_event: whether another device of the port has the address. */
export function ipvlanAddrBusy(dev: NetDevice, ip: number): boolean {
  const port = ipvlanPort(dev)
  return port.devs.some((d) => d !== dev && d.addrs.some((x) => x.ip === ip))
}

/**
 * ipvlan_get_L3_hdr and ipvlan_addr_lookup: the device that has the address which the packet at `nh` of `len` bytes goes
 * to (or, `src`, comes from); null for other protocols and strangers.
 */
function addrLookup(
  w: World,
  port: IpvlanPort,
  proto: number,
  nh: number,
  len: number,
  src: boolean,
): NetDevice | null {
  const v = w.arena.view
  let ip: number
  if (proto === ETH_P_IP) {
    if (len < 20) return null
    const vihl = v.getUint8(nh)
    const total = v.getUint16(nh + 2)
    if (vihl >> 4 !== 4 || (vihl & 15) < 5 || len < total || total < (vihl & 15) * 4) return null
    ip = v.getInt32(nh + (src ? 12 : 16))
  } else if (proto === ETH_P_ARP) {
    if (len < 28) return null
    ip = v.getInt32(nh + (src ? 14 : 24))
  } else return null
  for (let i = 0; i < port.devs.length; i++) {
    const d = port.devs[i]!
    if (!d.up) continue
    for (let k = 0; k < d.addrs.length; k++) if (d.addrs[k]!.ip === ip) return d
  }
  return null
}

/** ipvlan_handle_frame: M_DATA behind the Ethernet header. @returns true when an ipvlan device has taken the frame */
export function ipvlanHandleFrame(w: World, slot: number, lower: NetDevice): boolean {
  const a = w.arena
  const m = slot << META_SHIFT
  const port = ports.get(lower)
  if (port === undefined) return false
  const mac = a.meta[m + M_MAC]!
  const nh = a.meta[m + M_DATA]!
  const proto = a.meta[m + M_PROTO]!
  const len = a.meta[m + M_LEN]!
  if (port.mode === IPVLAN_L2 && (a.view.getUint16(mac) & 0x0100) !== 0) {
    // ipvlan_external_frame: not what a device of the port sent itself
    const own = a.view.getUint16(mac + 6) === lower.macHi && a.view.getInt32(mac + 8) === lower.macLo
    if (own && addrLookup(w, port, proto, nh, len, true) !== null) return false
    const copy = cloneSkb(w, slot)
    if (copy < 0) return false
    skbScrubPacket(w, copy, true)
    port.groups.push(copy)
    return false
  }
  const dev = addrLookup(w, port, proto, nh, len, false)
  if (dev === null) return false
  a.meta[m + M_DEV] = dev.id
  dev.rxPackets++
  dev.rxBytes += len + ETH_HLEN
  receiveCore(w, slot, dev)
  return true
}

/** ipvlan_process_multicast: every device but the sender gets a copy; what was sent here then leaves by the device below. */
function processMulticast(w: World, slot: number, port: IpvlanPort, tx: boolean): void {
  const a = w.arena
  const m = slot << META_SHIFT
  const mac = a.meta[m + M_MAC]!
  const hi = a.view.getUint16(mac)
  const lo = a.view.getInt32(mac + 2)
  const type = hi === 0xffff && lo === -1 ? PACKET_BROADCAST : PACKET_MULTICAST
  const from = a.meta[m + M_DEV]!
  for (const dev of port.devs) {
    if ((tx && dev.id === from) || !dev.up || !hearsGroup(dev, hi, lo)) continue
    const copy = cloneSkb(w, slot)
    if (copy < 0) continue
    const c = copy << META_SHIFT
    a.meta[c + M_PKTTYPE] = type
    a.meta[c + M_DEV] = dev.id
    if (tx) devForwardSkb(w, copy, dev)
    else netifRx(w, copy)
    w.softirq()
  }
  if (!tx) {
    consumeSkb(w, slot)
    return
  }
  a.meta[m + M_DEV] = port.lower.id
  a.meta[m + M_PKTTYPE] = type
  devQueueXmit(w, slot)
}

/** ipvlan_start_xmit: M_DATA at the Ethernet header. Takes the slot. @returns 0 or NET_XMIT_DROP */
export function ipvlanXmit(w: World, slot: number, dev: NetDevice): number {
  const a = w.arena
  const m = slot << META_SHIFT
  const port = ipvlanPort(dev)
  const len = a.meta[m + M_LEN]!
  if (len < ETH_HLEN) {
    freeSkb(w, slot, R_INVALID_TX)
    dev.txDropped++
    return NET_XMIT_DROP
  }
  const rc = port.mode === IPVLAN_L2 ? xmitL2(w, slot, port) : xmitL3(w, slot, dev, port)
  if (rc === 0) {
    dev.txPackets++
    dev.txBytes += len
  } else dev.txDropped++
  return rc
}

/** ipvlan_rcv_frame with `local`. */
function receiveLocal(w: World, slot: number, to: NetDevice): void {
  if (!to.up) {
    freeSkb(w, slot, R_DEV_DOWN, 0, to)
    return
  }
  w.arena.meta[(slot << META_SHIFT) + M_PKTTYPE] = PACKET_HOST
  devForwardSkb(w, slot, to)
}

function xmitL2(w: World, slot: number, port: IpvlanPort): number {
  const a = w.arena
  const m = slot << META_SHIFT
  const eth = a.meta[m + M_DATA]!
  const v = a.view
  const hi = v.getUint16(eth)
  const toOwn = hi === v.getUint16(eth + 6) && v.getInt32(eth + 2) === v.getInt32(eth + 8)
  if ((port.flags & IPVLAN_F_VEPA) === 0 && toOwn) {
    const len = a.meta[m + M_LEN]! - ETH_HLEN
    const to = addrLookup(w, port, a.meta[m + M_PROTO]!, eth + ETH_HLEN, len, false)
    if (to !== null && (port.flags & IPVLAN_F_PRIVATE) !== 0) {
      consumeSkb(w, slot)
      return NET_XMIT_DROP
    }
    // a stranger behind the own MAC is the host of the device below
    if (to !== null) receiveLocal(w, slot, to)
    else devForwardSkb(w, slot, port.lower)
    return 0
  }
  if ((hi & 0x0100) !== 0) {
    a.meta[m + M_MAC] = eth
    skbScrubPacket(w, slot, true)
    port.groups.push(slot | TX_FLAG)
    return 0
  }
  a.meta[m + M_DEV] = port.lower.id
  return devQueueXmit(w, slot)
}

function xmitL3(w: World, slot: number, dev: NetDevice, port: IpvlanPort): number {
  const a = w.arena
  const m = slot << META_SHIFT
  const eth = a.meta[m + M_DATA]!
  const proto = a.meta[m + M_PROTO]!
  if ((port.flags & IPVLAN_F_VEPA) === 0) {
    const to = addrLookup(w, port, proto, eth + ETH_HLEN, a.meta[m + M_LEN]! - ETH_HLEN, false)
    if (to !== null) {
      if ((port.flags & IPVLAN_F_PRIVATE) !== 0) {
        consumeSkb(w, slot)
        return NET_XMIT_DROP
      }
      receiveLocal(w, slot, to)
      return 0
    }
  }
  skbScrubPacket(w, slot, port.lower.ns !== dev.ns)
  a.meta[m + M_DEV] = port.lower.id
  if ((a.view.getUint16(eth) & 0x0100) !== 0 || proto !== ETH_P_IP) {
    freeSkb(w, slot, R_UNHANDLED_PROTO, proto)
    return NET_XMIT_DROP
  }
  return processOutbound(w, slot, port.lower)
}

/** ipvlan_process_v4_outbound: the packet is routed as if the host below had made it. */
function processOutbound(w: World, slot: number, lower: NetDevice): number {
  const a = w.arena
  const m = slot << META_SHIFT
  const nh = a.pull(slot, ETH_HLEN)
  a.meta[m + M_MAC] = -1
  a.meta[m + M_NH] = nh
  const v = a.view
  const fl = flow.reset()
  fl.oif = lower.id
  fl.tos = v.getUint8(nh + 1) & 0xfc
  fl.mark = a.meta[m + M_MARK]!
  fl.flags = FLOWI_FLAG_ANYSRC
  fl.daddr = v.getInt32(nh + 16)
  fl.saddr = v.getInt32(nh + 12)
  const rt = ipRouteOutput(lower.ns, fl)
  if (rt === null || (rt.type !== RTN_UNICAST && rt.type !== RTN_LOCAL)) {
    lower.txErrors++
    freeSkb(w, slot, R_TUNNEL_NO_ROUTE, routeErrno())
    return NET_XMIT_DROP
  }
  a.dst[slot] = rt
  a.meta[m + M_FLAGS] = a.meta[m + M_FLAGS]! & SKB_CSUM_OK
  a.meta[m + M_OPTLEN] = 0
  a.meta[m + M_DEV] = rt.dev.id
  return ipLocalOut(w, lower.ns, slot) === 0 ? 0 : NET_XMIT_DROP
}
