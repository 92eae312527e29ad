/**
 * macvlan devices: several MAC addresses on one device.
 *
 * Linux: drivers/net/macvlan.c (macvlan_handle_frame, macvlan_queue_xmit, macvlan_broadcast, macvlan_process_broadcast,
 * macvlan_open). Modes private, vepa, bridge and passthru. Broadcasts are handed out by a work queue.
 * Not modelled, refused by name: mode source, flags nopromisc and nodst. Multicast groups are those of the addresses that
 * every host joins: 224.0.0.1 and, with IPv6, everything below 33:33.
 */
import {
  ETH_HLEN,
  M_DATA,
  M_DEV,
  M_LEN,
  M_MAC,
  M_PKTTYPE,
  META_SHIFT,
  PACKET_BROADCAST,
  PACKET_HOST,
  PACKET_MULTICAST,
} from '../../packet/layout.ts'
import { devQueueXmit, netifRx, receiveCore } from '../core/dev.ts'
import { cloneSkb, consumeSkb, freeSkb } from '../core/skb.ts'
import { EADDRINUSE, EBUSY, EINVAL } from '../errno.ts'
import type { Netns } from '../netns.ts'
import { R_DEV_DOWN } from '../reasons.ts'
import type { World } from '../world.ts'
import { DeferredFrames } from './deferred.ts'
import { DEV_LOOPBACK, DEV_MACVLAN, type NetDevice, RX_IPVLAN, RX_MACVLAN } from './device.ts'
import { randomMac, registerNetdevice } from './register.ts'
import { devUcCount } from './rx-filter.ts'
import { devForwardSkb } from './veth.ts'

/** enum macvlan_mode */
export const MACVLAN_PRIVATE = 1
export const MACVLAN_VEPA = 2
export const MACVLAN_BRIDGE = 4
export const MACVLAN_PASSTHRU = 8

const ALL_MODES = MACVLAN_PRIVATE | MACVLAN_VEPA | MACVLAN_BRIDGE | MACVLAN_PASSTHRU
const HASH_BITS = 8n
const GOLDEN_RATIO_64 = 0x61c8864680b583ebn

/** What the devices on one lower device share: struct macvlan_port. */
export class MacvlanPort {
  readonly lower: NetDevice
  readonly passthru: boolean
  /** Devices that are up, in order of the hash buckets, newest first in each (vlan_hash). */
  hashed: NetDevice[] = []
  count = 0
  readonly broadcasts: DeferredFrames

  constructor(lower: NetDevice, passthru: boolean) {
    this.lower = lower
    this.passthru = passthru
    const w = lower.ns.world
    this.broadcasts = new DeferredFrames(w, (slot) => processBroadcast(w, slot, this))
  }
}

/** The private part of a macvlan device: struct macvlan_dev. */
export interface MacvlanDev {
  mode: number
  readonly port: MacvlanPort
}

/** The private part of a device of kind DEV_MACVLAN. */
export function macvlanPriv(dev: NetDevice): MacvlanDev {
  return dev.priv as MacvlanDev
}

const ports = new WeakMap<NetDevice, MacvlanPort>()

/** macvlan_eth_hash: the bucket decides in which order devices get a broadcast. */
function bucket(dev: NetDevice): number {
  let value = 0n
  for (let i = 5; i >= 0; i--) {
    const octet = i < 2 ? (dev.macHi >> (8 - 8 * i)) & 255 : (dev.macLo >>> (40 - 8 * i)) & 255
    value = (value << 8n) | BigInt(octet)
  }
  return Number((((value << 16n) * GOLDEN_RATIO_64) & 0xffffffffffffffffn) >> (64n - HASH_BITS))
}

/** ip link add link LOWER name NAME type macvlan. @returns the device or a negative errno */
export function createMacvlan(
  ns: Netns,
  name: string,
  link: NetDevice,
  mode: number,
  mac: { hi: number; lo: number } | null = null,
  mtu: number | null = null,
): NetDevice | number {
  const lower = link.kind === DEV_MACVLAN ? link.lower! : link
  if (mtu !== null && mtu > lower.mtu) return EINVAL
  if (lower.kind === DEV_LOOPBACK || !lower.ether) return EINVAL
  let port = ports.get(lower)
  if (port === undefined || port.count === 0) {
    if (lower.port !== null || (lower.hooks & RX_IPVLAN) !== 0) return EBUSY
    port = new MacvlanPort(lower, mode === MACVLAN_PASSTHRU)
    ports.set(lower, port)
  } else if (port.passthru || mode === MACVLAN_PASSTHRU) return EINVAL
  const own = port.passthru ? { hi: lower.macHi, lo: lower.macLo } : (mac ?? randomMac(ns))
  const dev = registerNetdevice(ns, name, DEV_MACVLAN, own, mtu ?? lower.mtu)
  dev.macSet = mac !== null
  dev.priv = { mode, port } satisfies MacvlanDev
  dev.lower = lower
  dev.carrier = lower.carrier
  lower.uppers.push(dev)
  lower.hooks |= RX_MACVLAN
  port.count++
  return dev
}

/** macvlan_dellink, the device is down already. */
export function macvlanUninit(dev: NetDevice): void {
  const { port } = macvlanPriv(dev)
  if (--port.count > 0) return
  port.broadcasts.clear((slot) => freeSkb(port.lower.ns.world, slot, R_DEV_DOWN))
  port.lower.hooks &= ~RX_MACVLAN
}

/** macvlan_addr_busy */
export function macvlanAddrBusy(dev: NetDevice, hi: number, lo: number): boolean {
  const { port } = macvlanPriv(dev)
  if (!port.passthru && port.lower.macHi === hi && port.lower.macLo === lo) return true
  const other = hashLookup(port, hi, lo)
  return other !== null && other !== dev
}

/** macvlan_open. @returns 0 or -EADDRINUSE */
export function macvlanOpen(dev: NetDevice): number {
  const { port } = macvlanPriv(dev)
  if (port.passthru) port.lower.promiscuity++
  else {
    if (macvlanAddrBusy(dev, dev.macHi, dev.macLo)) return EADDRINUSE
    devUcCount(port.lower, 1)
  }
  dev.carrier = port.lower.carrier
  macvlanHash(dev)
  return 0
}

/** macvlan_hash_add: also after its address changed. */
export function macvlanHash(dev: NetDevice): void {
  const { port } = macvlanPriv(dev)
  port.hashed = port.hashed.filter((d) => d !== dev)
  const mine = bucket(dev)
  const at = port.hashed.findIndex((d) => bucket(d) >= mine)
  port.hashed.splice(at < 0 ? port.hashed.length : at, 0, dev)
}

/** macvlan_stop */
export function macvlanStop(dev: NetDevice): void {
  const { port } = macvlanPriv(dev)
  if (!port.hashed.includes(dev)) return
  if (port.passthru) port.lower.promiscuity--
  else devUcCount(port.lower, -1)
  port.hashed = port.hashed.filter((d) => d !== dev)
}

function hashLookup(port: MacvlanPort, hi: number, lo: number): NetDevice | null {
  for (let i = 0; i < port.hashed.length; i++) {
    const d = port.hashed[i]!
    if (d.macLo === lo && d.macHi === hi) return d
  }
  return null
}

/** Whether the device listens to this group address (mc_filter). */
export function hearsGroup(dev: NetDevice, hi: number, lo: number): boolean {
  if (hi === 0xffff && lo === -1) return true
  if (hi === 0x0100 && lo === (0x5e000001 | 0)) return true
  if (hi !== 0x3333 || dev.in6 === null) return false
  const { in6 } = dev.ns.world
  return dev.in6.groups.some((g) => in6.word(g.addr, 3) === lo)
}

/** macvlan_handle_frame: M_DATA behind the Ethernet header. @returns true when a macvlan device has taken the frame */
export function macvlanHandleFrame(w: World, slot: number, lower: NetDevice): boolean {
  const a = w.arena
  const m = slot << META_SHIFT
  const port = ports.get(lower)
  if (port === undefined) return false
  const mac = a.meta[m + M_MAC]!
  const hi = a.view.getUint16(mac)
  const lo = a.view.getInt32(mac + 2)
  if ((hi & 0x0100) !== 0) return handleGroup(w, slot, port, mac)
  const dev = port.passthru ? (port.hashed[0] ?? null) : hashLookup(port, hi, lo)
  if (dev === null) return false
  if (!dev.up) {
    freeSkb(w, slot, R_DEV_DOWN, 0, dev)
    return true
  }
  a.meta[m + M_DEV] = dev.id
  a.meta[m + M_PKTTYPE] = PACKET_HOST
  dev.rxPackets++
  dev.rxBytes += a.meta[m + M_LEN]! + ETH_HLEN
  receiveCore(w, slot, dev)
  return true
}

function handleGroup(w: World, slot: number, port: MacvlanPort, mac: number): boolean {
  const v = w.arena.view
  const src = hashLookup(port, v.getUint16(mac + 6), v.getInt32(mac + 8))
  const mode = src === null ? 0 : macvlanPriv(src).mode
  if (src !== null && mode !== MACVLAN_VEPA && mode !== MACVLAN_BRIDGE) {
    // forward to the original port
    broadcastOne(w, slot, src, false)
    return true
  }
  const copy = cloneSkb(w, slot)
  if (copy >= 0) port.broadcasts.push(copy)
  return false
}

/** macvlan_process_broadcast: a frame that came from outside, or back from the other side of a VEPA. */
function processBroadcast(w: World, slot: number, port: MacvlanPort): void {
  const mac = w.arena.meta[(slot << META_SHIFT) + M_MAC]!
  const v = w.arena.view
  const src = hashLookup(port, v.getUint16(mac + 6), v.getInt32(mac + 8))
  // ports in bridge mode already saw the frame on the way out
  const modes =
    src === null ? ALL_MODES : macvlanPriv(src).mode === MACVLAN_VEPA ? MACVLAN_VEPA | MACVLAN_BRIDGE : MACVLAN_VEPA
  broadcast(w, slot, port, src, modes, mac)
  consumeSkb(w, slot)
}

/** macvlan_broadcast: clones for every device of `modes` but `src`. */
function broadcast(w: World, slot: number, port: MacvlanPort, src: NetDevice | null, modes: number, mac: number): void {
  const v = w.arena.view
  const hi = v.getUint16(mac)
  const lo = v.getInt32(mac + 2)
  for (let i = 0; i < port.hashed.length; i++) {
    const dev = port.hashed[i]!
    if (dev === src || (macvlanPriv(dev).mode & modes) === 0 || !hearsGroup(dev, hi, lo)) continue
    const copy = cloneSkb(w, slot)
    if (copy >= 0) broadcastOne(w, copy, dev, modes === MACVLAN_BRIDGE)
  }
}

/** macvlan_broadcast_one and netif_rx; `local`: straight from another macvlan device, link header in front. */
function broadcastOne(w: World, slot: number, dev: NetDevice, local: boolean): void {
  if (local) {
    devForwardSkb(w, slot, dev)
    if (!w.inSoftirq) w.softirq()
    return
  }
  const a = w.arena
  const m = slot << META_SHIFT
  const mac = a.meta[m + M_MAC]!
  const all = a.view.getUint16(mac) === 0xffff && a.view.getInt32(mac + 2) === -1
  a.meta[m + M_DEV] = dev.id
  a.meta[m + M_PKTTYPE] = all ? PACKET_BROADCAST : PACKET_MULTICAST
  netifRx(w, slot)
  if (!w.inSoftirq) w.softirq()
}

/** macvlan_start_xmit: M_DATA at the Ethernet header. Takes the slot. @returns 0 or what the device below answers */
export function macvlanXmit(w: World, slot: number, dev: NetDevice): number {
  const a = w.arena
  const m = slot << META_SHIFT
  const { mode, port } = macvlanPriv(dev)
  const len = a.meta[m + M_LEN]!
  const rc = queueXmit(w, slot, dev, mode, port)
  if (rc === 0) {
    dev.txPackets++
    dev.txBytes += len
  } else dev.txDropped++
  return rc
}

function queueXmit(w: World, slot: number, dev: NetDevice, mode: number, port: MacvlanPort): number {
  const a = w.arena
  const m = slot << META_SHIFT
  const eth = a.meta[m + M_DATA]!
  if (mode === MACVLAN_BRIDGE) {
    const hi = a.view.getUint16(eth)
    if ((hi & 0x0100) !== 0) {
      a.meta[m + M_MAC] = eth
      broadcast(w, slot, port, dev, MACVLAN_BRIDGE, eth)
    } else {
      const dest = hashLookup(port, hi, a.view.getInt32(eth + 2))
      if (dest !== null && macvlanPriv(dest).mode === MACVLAN_BRIDGE) {
        // to the device below first, for its packet sockets
        devForwardSkb(w, slot, port.lower)
        return 0
      }
    }
  }
  a.meta[m + M_DEV] = port.lower.id
  return devQueueXmit(w, slot)
}
