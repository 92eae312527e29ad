/**
 * Packets and sets: the set match and the SET target.
 *
 * Linux: net/netfilter/xt_set.c, ip_set_core.c (ip_set_test, ip_set_add, ip_set_del), ip_set_getport.c, the kadt functions
 * of the set types. Nothing is allocated for a test.
 */
import { ETH_HLEN, M_DATA, M_LEN, M_MAC, M_MARK, META_SHIFT } from '../../../packet/layout.ts'
import type { NetDevice } from '../../device/device.ts'
import { exthdr, ipv6SkipExthdr } from '../../ipv6/exthdrs-core.ts'
import type { World } from '../../world.ts'
import { ELEM_NOMATCH, type IpSet } from './set.ts'

/** What the packet gives for a set's key; filled by `readKey`. */
const key = { a: 0, b: 0, c: 0 }
const RETURN_NOMATCH = 2
const NO_COUNTER_UPDATE = 4

/** ip_set_test. @param src bit per dimension: 1 = source @param flags 2 return-nomatch, 4 do not update counters */
export function ipSetTestPacket(
  w: World,
  set: IpSet,
  slot: number,
  nh: number,
  dims: number,
  src: number,
  flags: number,
  inDev: NetDevice | null,
  outDev: NetDevice | null,
): boolean {
  if (set.type.kind === 'list') {
    for (let i = 0; i < set.members.length; i++) {
      const m = set.members[i]!
      if (m.untilNs > w.nowNs && ipSetTestPacket(w, m.set, slot, nh, dims, src, flags, inDev, outDev)) return true
    }
    return false
  }
  if (dims < set.dimensions || !readKey(w, set, slot, nh, src, inDev, outDev, false)) return false
  const row = findRow(set, w.nowNs)
  if (row < 0) return false
  const nomatch = (set.flags[row]! & ELEM_NOMATCH) !== 0
  if (nomatch !== ((flags & RETURN_NOMATCH) !== 0)) return false
  if (set.options.counters && (flags & NO_COUNTER_UPDATE) === 0) {
    const m = slot << META_SHIFT
    set.packets[row]!++
    set.bytes[row]! += w.arena.meta[m + M_DATA]! + w.arena.meta[m + M_LEN]! - nh
  }
  return true
}

/** Row that matches `key`, networks tried from the most specific. */
function findRow(set: IpSet, nowNs: number): number {
  const parts = set.type.parts
  const first = parts[0] === 'net'
  const second = parts[parts.length - 1] === 'net2'
  if (!first && !second) return set.find(key.a, key.b, key.c, 0, nowNs)
  const lengths = set.lengths
  const ifaces = set.type.name === 'hash:net,iface' ? set.ifaces.length : 0
  for (let i = 0; i < lengths.length; i++) {
    const d = lengths[i]!
    const a = first ? set.findNetwork(key.a, d & 0xff) : key.a
    const c = second ? set.findNetwork(key.c, (d >>> 8) & 0xff) : key.c
    const row = set.find(a, key.b, c, d, nowNs)
    if (row >= 0) return row
    // mtype_test_cidrs: the same network of another interface ends the search (`multi`)
    if (ifaces > 0 && hasNetwork(set, a, c, d, ifaces, nowNs)) return -1
  }
  return -1
}

/** Whether the set has the network for any interface. */
function hasNetwork(set: IpSet, a: number, c: number, d: number, ifaces: number, nowNs: number): boolean {
  for (let b = 0; b < ifaces; b++) if (set.find(a, b, c, d, nowNs) >= 0) return true
  return false
}

/** Fills `key` from the packet; false when the packet has no such part. */
function readKey(
  w: World,
  set: IpSet,
  slot: number,
  nh: number,
  src: number,
  inDev: NetDevice | null,
  outDev: NetDevice | null,
  create: boolean,
): boolean {
  const view = w.arena.view
  const parts = set.type.parts
  key.a = key.b = key.c = 0
  const ipv6 = view.getUint8(nh) >>> 4 === 6
  // ip_set_test: a set of the other family has no such element
  if (hasAddress(set) && ipv6 !== (set.in6 !== null)) return false
  for (let i = 0; i < parts.length; i++) {
    const fromSource = (src & (1 << i)) !== 0
    switch (parts[i]) {
      case 'ip':
      case 'net': {
        key.a = address(w, set, nh, fromSource)
        if (set.options.netmask < set.bits) key.a = set.network(key.a, set.options.netmask)
        if (set.type.kind === 'bitmap' && !inRange(set, key.a)) return false
        break
      }
      case 'ip2':
      case 'net2':
        key.c = address(w, set, nh, fromSource)
        break
      case 'port': {
        const port = ipv6 ? readPort6(w, slot, nh, fromSource) : readPort(w, slot, nh, fromSource)
        if (port < 0) return false
        if (set.type.kind !== 'bitmap') key.b = port
        else {
          const proto = port >>> 16
          if (proto !== 6 && proto !== 17) return false
          key.a = port & 0xffff
          if (!inRange(set, key.a)) return false
        }
        break
      }
      case 'mark':
        key.b = w.arena.meta[(slot << META_SHIFT) + M_MARK]! & set.options.markmask
        break
      case 'iface': {
        const dev = fromSource ? inDev : outDev
        if (dev === null) return false
        key.b = set.iface(dev.name, create)
        if (key.b < 0) return false
        break
      }
      case 'mac': {
        const m = slot << META_SHIFT
        const mac = w.arena.meta[m + M_MAC]!
        if (mac < 0 || mac + ETH_HLEN > w.arena.meta[m + M_DATA]!) return false
        const at = mac + (fromSource ? 6 : 0)
        key.a = view.getInt32(at + 2)
        key.b = view.getUint16(at)
        if (key.a === 0 && key.b === 0) return false
        break
      }
      default:
        return false
    }
  }
  return true
}

function address(w: World, set: IpSet, nh: number, fromSource: boolean): number {
  const view = w.arena.view
  if (set.in6 === null) return view.getInt32(nh + (fromSource ? 12 : 16))
  return set.in6.read(view, nh + (fromSource ? 8 : 24))
}

function hasAddress(set: IpSet): boolean {
  const first = set.type.parts[0]
  return first === 'ip' || first === 'net'
}

function inRange(set: IpSet, value: number): boolean {
  return value >>> 0 >= set.options.rangeFrom >>> 0 && value >>> 0 <= set.options.rangeTo >>> 0
}

/** ip_set_get_ip4_port: proto << 16 | port, -1 when the packet has none. */
function readPort(w: World, slot: number, nh: number, fromSource: boolean): number {
  const view = w.arena.view
  const proto = view.getUint8(nh + 9)
  if (proto === 0) return -1
  const withPorts = proto === 6 || proto === 17 || proto === 132 || proto === 136
  if (!withPorts && proto !== 1) return proto << 16
  if ((view.getUint16(nh + 6) & 0x1fff) !== 0) return -1
  const th = nh + (view.getUint8(nh) & 15) * 4
  const m = slot << META_SHIFT
  const need = proto === 6 ? 20 : proto === 132 ? 12 : 8
  if (w.arena.meta[m + M_DATA]! + w.arena.meta[m + M_LEN]! - th < need) return -1
  if (proto === 1) return (proto << 16) | view.getUint16(th)
  return (proto << 16) | view.getUint16(th + (fromSource ? 0 : 2))
}

/** ip_set_get_ip6_port */
function readPort6(w: World, slot: number, nh: number, fromSource: boolean): number {
  const view = w.arena.view
  const m = slot << META_SHIFT
  const end = w.arena.meta[m + M_DATA]! + w.arena.meta[m + M_LEN]!
  const th = ipv6SkipExthdr(view, nh + 40, end, view.getUint8(nh + 6))
  if (th < 0 || (exthdr.fragOff & ~7) !== 0) return -1
  const proto = exthdr.nexthdr
  const withPorts = proto === 6 || proto === 17 || proto === 132 || proto === 136
  if (!withPorts && proto !== 58) return proto << 16
  const need = proto === 6 ? 20 : proto === 132 ? 12 : 8
  if (end - th < need) return -1
  if (proto === 58) return (proto << 16) | view.getUint16(th)
  return (proto << 16) | view.getUint16(th + (fromSource ? 0 : 2))
}

/** Prefix lengths of an element that a packet adds: the most specific in use, or of one host. */
function newLengths(set: IpSet): number {
  const parts = set.type.parts
  const d = set.lengths[0] ?? set.bits | (set.bits << 8)
  const first = parts[0] === 'net' ? d & 0xff : 0
  const second = parts[parts.length - 1] === 'net2' ? d & 0xff00 : 0
  return first | second
}

/** ip_set_add. @param timeout seconds, -1: the set's own @param exist refresh an element that is there */
export function ipSetAddPacket(
  w: World,
  set: IpSet,
  slot: number,
  nh: number,
  dims: number,
  src: number,
  timeout: number,
  exist: boolean,
  inDev: NetDevice | null,
  outDev: NetDevice | null,
): void {
  if (set.type.kind === 'list') {
    for (const m of set.members) {
      if (m.untilNs > w.nowNs) ipSetAddPacket(w, m.set, slot, nh, dims, src, timeout, exist, inDev, outDev)
    }
    return
  }
  if (dims < set.dimensions || !readKey(w, set, slot, nh, src, inDev, outDev, true)) return
  const d = newLengths(set)
  const a = set.type.parts[0] === 'net' ? set.network(key.a, d & 0xff) : key.a
  const c = (d & 0xff00) !== 0 ? set.network(key.c, d >>> 8) : key.c
  const there = set.find(a, key.b, c, d, w.nowNs)
  if (there >= 0 && !exist) return
  const row = set.insert(a, key.b, c, d, w.nowNs)
  if (row < 0) return
  const seconds = timeout >= 0 ? timeout : set.options.timeout
  set.untilNs[row] = set.options.timeout < 0 || seconds === 0 ? Infinity : w.nowNs + seconds * 1e9
}

/** ip_set_del */
export function ipSetDelPacket(
  w: World,
  set: IpSet,
  slot: number,
  nh: number,
  dims: number,
  src: number,
  inDev: NetDevice | null,
  outDev: NetDevice | null,
): void {
  if (set.type.kind === 'list') {
    for (const m of set.members) ipSetDelPacket(w, m.set, slot, nh, dims, src, inDev, outDev)
    return
  }
  if (dims < set.dimensions || !readKey(w, set, slot, nh, src, inDev, outDev, false)) return
  const d = newLengths(set)
  const a = set.type.parts[0] === 'net' ? set.network(key.a, d & 0xff) : key.a
  const c = (d & 0xff00) !== 0 ? set.network(key.c, d >>> 8) : key.c
  const row = set.find(a, key.b, c, d, w.nowNs)
  if (row >= 0) set.removeRow(row)
}
