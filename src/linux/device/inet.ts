/**
 * IPv4 addresses of devices.
 *
 * Linux: net/ipv4/devinet.c (inet_insert_ifa, inet_del_ifa, inet_select_addr, confirm_addr_indev). Not modelled: address
 * lifetimes.
 */
import { EADDRINUSE, EADDRNOTAVAIL, EEXIST, EINVAL } from '../errno.ts'
import { nfNatMasqInetEvent } from '../netfilter/nat/masquerade.ts'
import type { Netns } from '../netns.ts'
import { DEV_IPVLAN, type Ifaddr, type NetDevice, RT_SCOPE_HOST, RT_SCOPE_LINK, RT_SCOPE_UNIVERSE } from './device.ts'
import { ipvlanAddrBusy } from './ipvlan.ts'

/** What `ip addr add` gives. */
export interface AddrSpec {
  /** signed int32 */
  readonly ip: number
  readonly prefixLength: number
  readonly peer?: number
  /** absent or 0: none. `ip addr add` without `brd` sets none; CNI plugins set the standard one. */
  readonly broadcast?: number
  readonly scope?: number
  readonly label?: string
  readonly noprefixroute?: boolean
}

/** inet_make_mask: signed int32 of a prefix length. */
export function prefixMask(prefixLength: number): number {
  return prefixLength === 0 ? 0 : -1 << (32 - prefixLength)
}

/** Whether `ip` lies in the subnet of the address. */
export function ifaMatches(ifa: Ifaddr, ip: number): boolean {
  return ((ifa.peer ^ ip) & prefixMask(ifa.prefixLength)) === 0
}

/** inet_insert_ifa: primaries come before secondaries of the same subnet. @returns 0, -EEXIST,
 * -EINVAL for another scope, -EADDRINUSE when another ipvlan device of the same host has it */
export function inetAddrAdd(dev: NetDevice, spec: AddrSpec): number {
  dev.confSetAll = true
  if (spec.ip === 0) return 0
  const peer = spec.peer ?? spec.ip
  const mask = prefixMask(spec.prefixLength)
  const loopback = spec.ip >>> 24 === 127
  const scope = spec.scope ?? (loopback ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE)
  let secondary = false
  for (const a of dev.addrs) {
    if (a.prefixLength !== spec.prefixLength || ((a.peer ^ peer) & mask) !== 0) continue
    if (a.ip === spec.ip) return EEXIST
    if (a.scope !== scope) return EINVAL
    secondary = true
  }
  if (dev.kind === DEV_IPVLAN && ipvlanAddrBusy(dev, spec.ip)) return EADDRINUSE
  const ifa: Ifaddr = {
    ip: spec.ip,
    peer,
    prefixLength: spec.prefixLength,
    broadcast: spec.broadcast ?? 0,
    scope,
    secondary,
    label: spec.label ?? dev.name,
    noprefixroute: spec.noprefixroute ?? false,
  }
  if (secondary) dev.addrs.push(ifa)
  else {
    // after the primaries whose scope is at most this one's
    let at = 0
    for (let i = 0; i < dev.addrs.length; i++) {
      const a = dev.addrs[i]!
      if (!a.secondary && ifa.scope <= a.scope) at = i + 1
    }
    dev.addrs.splice(at, 0, ifa)
  }
  dev.ns.fib.addIfaddr(dev, ifa)
  return 0
}

/** inet_del_ifa: secondaries of a deleted primary go with it, or one is promoted. @returns 0 or -EADDRNOTAVAIL */
export function inetAddrDel(dev: NetDevice, ip: number, prefixLength: number | null): number {
  const i = dev.addrs.findIndex((a) => a.ip === ip && (prefixLength === null || a.prefixLength === prefixLength))
  if (i < 0) return EADDRNOTAVAIL
  const ifa = dev.addrs[i]!
  const mask = prefixMask(ifa.prefixLength)
  dev.addrs.splice(i, 1)
  const gone: Ifaddr[] = [ifa]
  let promoted: Ifaddr | null = null
  let siblings: Ifaddr[] = []
  if (!ifa.secondary) {
    const rest = dev.addrs.filter(
      (a) => a.secondary && a.prefixLength === ifa.prefixLength && ((a.peer ^ ifa.peer) & mask) === 0,
    )
    const promote = dev.conf.promote_secondaries !== 0 || dev.ns.sysctl.all.promote_secondaries !== 0
    if (promote && rest.length > 0) {
      promoted = rest[0]!
      siblings = rest.slice(1)
    } else {
      for (const a of rest) {
        dev.addrs.splice(dev.addrs.indexOf(a), 1)
        gone.push(a)
      }
    }
  }
  // on promotion the routes of the other secondaries go, and come back with the new primary as their source
  if (promoted !== null) for (const a of [promoted, ...siblings]) dev.ns.fib.delIfaddr(dev, a)
  for (const a of gone) {
    dev.ns.fib.delIfaddr(dev, a)
    nfNatMasqInetEvent(dev.ns, dev, a.ip)
  }
  // fib_disable_ip: without an address the device forgets its neighbours too
  if (dev.addrs.length === 0) dev.ns.neigh.flushDev(dev)
  if (promoted !== null) {
    dev.addrs.splice(dev.addrs.indexOf(promoted), 1)
    const now: Ifaddr = { ...promoted, secondary: false }
    let at = Math.min(i, dev.addrs.length)
    for (let k = i; k < dev.addrs.length; k++) {
      const a = dev.addrs[k]!
      if (!a.secondary && ifa.scope <= a.scope) at = k + 1
    }
    dev.addrs.splice(at, 0, now)
    dev.ns.fib.addIfaddr(dev, now)
    for (const a of siblings) dev.ns.fib.addIfaddr(dev, a)
  }
  return 0
}

/** With route_localnet, addresses of scope host may be spoken from on the link. */
function localnetScope(dev: NetDevice): number {
  return dev.routeLocalnet() ? RT_SCOPE_LINK : RT_SCOPE_HOST
}

/**
 * inet_select_addr: the address to speak from on `dev` towards `dst` with at most `scope`.
 * @returns the address, 0 when there is none anywhere
 */
export function inetSelectAddr(ns: Netns, dev: NetDevice | null, dst: number, scope: number): number {
  if (dev !== null) {
    const localnet = localnetScope(dev)
    let first = 0
    for (const a of dev.addrs) {
      if (a.secondary || Math.min(a.scope, localnet) > scope) continue
      if (dst === 0 || ifaMatches(a, dst)) return a.ip
      if (first === 0) first = a.ip
    }
    if (first !== 0) return first
  }
  // Not loopback addresses on loopback should be preferred in this case.
  for (const d of ns.devices.values()) {
    if (d === dev) continue
    for (const a of d.addrs) {
      if (!a.secondary && a.scope !== RT_SCOPE_LINK && a.scope <= scope) return a.ip
    }
  }
  return 0
}

/** inet_addr_onlink: some address of the device has both in its subnet (`b` 0: only `a` is asked). */
export function inetAddrOnlink(dev: NetDevice, a: number, b: number): boolean {
  return dev.addrs.some((ifa) => ifaMatches(ifa, a) && (b === 0 || ifaMatches(ifa, b)))
}

/**
 * inet_confirm_addr with a given `local`: whether it is an address of the device (null: of any) of fitting scope, and one
 * subnet of that device holds both it and `dst` (0: any).
 */
export function inetConfirmAddr(ns: Netns, dev: NetDevice | null, dst: number, local: number, scope: number): boolean {
  if (dev !== null) return confirmAddrIndev(dev, dst, local, scope)
  for (const d of ns.devices.values()) if (confirmAddrIndev(d, dst, local, scope)) return true
  return false
}

/** confirm_addr_indev */
function confirmAddrIndev(dev: NetDevice, dst: number, local: number, scope: number): boolean {
  const localnet = localnetScope(dev)
  let known = false
  let same = false
  for (const a of dev.addrs) {
    if (a.ip === local && Math.min(a.scope, localnet) <= scope) known = true
    if (ifaMatches(a, local) && (dst === 0 || ifaMatches(a, dst))) same = true
  }
  return known && same
}
