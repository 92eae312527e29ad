/**
 * IPv6 addresses of devices: adding, removing, link-local addresses, what device events do to them.
 *
 * Linux: net/ipv6/addrconf.c (inet6_addr_add, inet6_addr_del, addrconf_notify, addrconf_ifdown, addrconf_dev_config,
 * addrconf_prefix_route, __ipv6_ifa_notify, dev_forward_change), net/ipv6/anycast.c. Duplicate address detection is in
 * dad.ts. Not modelled: SLAAC, temporary addresses, lifetimes, addr_gen_mode 2 and 3 (stable privacy), keep_addr_on_down,
 * user-made anycast memberships.
 */
import { DEV_LOOPBACK, IFF_LOOPBACK, IFF_MULTICAST, IFF_UP, type NetDevice } from '../device/device.ts'
import { EACCES, EADDRNOTAVAIL, EEXIST, ENOBUFS } from '../errno.ts'
import { nfNatMasqInet6Event } from '../netfilter/nat/masquerade.ts'
import type { Netns } from '../netns.ts'
import { RTPROT_KERNEL } from '../route/rtn.ts'
import { NeighParms } from '../sysctl.ts'
import { addrconfDadRun, addrconfDadStart, addrconfRsTimer } from './dad.ts'
import { addrconfWork } from './devconf.ts'
import { IP6_RT_PRIO_ADDRCONF, RT6_TABLE_MAIN } from './fib6-route.ts'
import { IPV6_ADDR_LINKLOCAL, IPV6_ADDR_LOOPBACK, IPV6_ADDR_MULTICAST, IPV6_ADDR_SITELOCAL } from './in6.ts'
import {
  IFA_F_NOPREFIXROUTE,
  IFA_F_OPTIMISTIC,
  IFA_F_PERMANENT,
  IFA_F_TENTATIVE,
  IFA_HOST,
  IFA_LINK,
  IFADDR_DEAD,
  IFADDR_PREDAD,
  Inet6Dev,
  Inet6Ifaddr,
} from './inet6-dev.ts'
import { ipv6DevMcDec, ipv6DevMcInc, ipv6McDown, ipv6McUp, mldDadWork, mldIfcWork } from './mcast.ts'

export { ipv6DevGetSaddr } from './saddr.ts'

/** Smallest MTU of a link that carries IPv6. */
export const IPV6_MIN_MTU = 1280

/** ff02::1, ff01::1, ff02::2, ff01::2, ff05::2 */
export const LINKLOCAL_ALLNODES = [0xff020000 | 0, 0, 0, 1] as const
export const LINKLOCAL_ALLROUTERS = [0xff020000 | 0, 0, 0, 2] as const
const INTERFACELOCAL_ALLNODES = [0xff010000 | 0, 0, 0, 1] as const
const INTERFACELOCAL_ALLROUTERS = [0xff010000 | 0, 0, 0, 2] as const
const SITELOCAL_ALLROUTERS = [0xff050000 | 0, 0, 0, 2] as const

/** What `ip -6 addr add` gives. */
export interface Addr6Spec {
  /** In6Table id */
  readonly addr: number
  readonly prefixLength: number
  readonly peer?: number
  /** IFA_F_NODAD, IFA_F_NOPREFIXROUTE, IFA_F_OPTIMISTIC, IFA_F_DEPRECATED */
  readonly flags?: number
  readonly metric?: number
}

/** ipv6_add_dev: the IPv6 state of a new device; none below the smallest MTU. */
export function ipv6AddDev(dev: NetDevice): Inet6Dev | null {
  if (dev.in6 !== null) return dev.in6
  if (dev.kind !== DEV_LOOPBACK && dev.mtu < IPV6_MIN_MTU) return null
  const ns = dev.ns
  const idev = new Inet6Dev(dev, ns.sysctl.ipv6.dflt, Object.assign(new NeighParms(), ns.sysctl.nd6Default), {
    mcIfc: mldIfcWork,
    mcDad: mldDadWork,
    rs: addrconfRsTimer,
  })
  if (dev.kind === DEV_LOOPBACK) {
    idev.conf.accept_dad = -1
    idev.conf.use_tempaddr = -1
  }
  dev.in6 = idev
  const in6 = ns.world.in6
  ipv6DevMcInc(idev, in6.intern(...INTERFACELOCAL_ALLNODES))
  ipv6DevMcInc(idev, in6.intern(...LINKLOCAL_ALLNODES))
  if (idev.conf.forwarding !== 0 && (dev.flags & IFF_MULTICAST) !== 0) {
    ipv6DevMcInc(idev, in6.intern(...LINKLOCAL_ALLROUTERS))
  }
  return idev
}

/** ipv6_addr_scope with the names of the address list. */
function ifaScope(ns: Netns, addr: number): number {
  const type = ns.world.in6.type(addr) & 0xffff
  return type & (IPV6_ADDR_LOOPBACK | IPV6_ADDR_LINKLOCAL | IPV6_ADDR_SITELOCAL)
}

/** __ipv6_addr_src_scope: for the order of the list. */
function srcScope(ns: Netns, addr: number): number {
  return ns.world.in6.scope(addr)
}

/** ipv6_add_addr: checks and puts the address into the list. @returns the address or an errno */
export function ipv6AddAddr(
  idev: Inet6Dev,
  addr: number,
  peer: number,
  prefixLength: number,
  scope: number,
  flags: number,
  metric: number,
): Inet6Ifaddr | number {
  const ns = idev.dev.ns
  const type = ns.world.in6.type(addr)
  if (
    addr === 0 ||
    ((type & IPV6_ADDR_MULTICAST) !== 0 && (idev.dev.flags & IFF_LOOPBACK) === 0) ||
    ((type & IPV6_ADDR_LOOPBACK) !== 0 && (idev.dev.flags & IFF_LOOPBACK) === 0)
  ) {
    return EADDRNOTAVAIL
  }
  if (idev.conf.disable_ipv6 !== 0) return EACCES
  if (idev.addrs.some((a) => a.addr === addr)) return EEXIST
  const ifp = new Inet6Ifaddr(idev, addr, peer, prefixLength, scope, flags | IFA_F_TENTATIVE, metric)
  // ipv6_link_dev_addr
  let at = 0
  while (at < idev.addrs.length && srcScope(ns, idev.addrs[at]!.addr) > srcScope(ns, addr)) at++
  idev.addrs.splice(at, 0, ifp)
  return ifp
}

/** inet6_addr_add: `ip -6 addr add`. @returns 0 or a negative errno */
export function inet6AddrAdd(dev: NetDevice, spec: Addr6Spec): number {
  const idev = addrconfAddDev(dev)
  if (typeof idev === 'number') return idev
  const ns = dev.ns
  const flags = (spec.flags ?? 0) | IFA_F_PERMANENT
  const scope = ifaScope(ns, spec.addr)
  const ifp = ipv6AddAddr(idev, spec.addr, spec.peer ?? 0, spec.prefixLength, scope, flags, spec.metric ?? 0)
  if (typeof ifp === 'number') return ifp
  if ((flags & IFA_F_NOPREFIXROUTE) === 0) addrconfPrefixRoute(dev, ifp.addr, ifp.prefixLength, ifp.metric)
  addrconfDadStart(ifp)
  return 0
}

/** inet6_addr_del: `ip -6 addr del`. @returns 0 or -EADDRNOTAVAIL */
export function inet6AddrDel(dev: NetDevice, addr: number, prefixLength: number): number {
  const ifp = dev.in6?.addrs.find((a) => a.addr === addr && a.prefixLength === prefixLength)
  if (ifp === undefined) return EADDRNOTAVAIL
  ipv6DelAddr(ifp)
  return 0
}

/** ipv6_del_addr */
export function ipv6DelAddr(ifp: Inet6Ifaddr): void {
  const idev = ifp.idev
  const ns = idev.dev.ns
  ifp.state = IFADDR_DEAD
  idev.addrs = idev.addrs.filter((a) => a !== ifp)
  ns.world.timers.cancel(ifp.dadTimer)
  nfNatMasqInet6Event(ns, idev.dev, ifp.addr)
  notifyDel(ifp)
  if ((ifp.flags & IFA_F_PERMANENT) !== 0 && (ifp.flags & IFA_F_NOPREFIXROUTE) === 0) cleanupPrefixRoute(ifp)
}

/** check_cleanup_prefix_route: the prefix route goes with the last address that made it. */
function cleanupPrefixRoute(ifp: Inet6Ifaddr): void {
  const ns = ifp.idev.dev.ns
  const in6 = ns.world.in6
  for (const a of ifp.idev.addrs) {
    if (a.prefixLength === ifp.prefixLength && in6.prefixEqual(a.addr, ifp.addr, a.prefixLength)) {
      if ((a.flags & IFA_F_PERMANENT) !== 0 && (a.flags & IFA_F_NOPREFIXROUTE) === 0) return
    }
  }
  ns.fib6.delPrefixRoute(ifp.idev.dev, in6.prefix(ifp.addr, ifp.prefixLength), ifp.prefixLength)
}

/** __ipv6_ifa_notify(RTM_NEWADDR): the address is in use from now on. */
export function notifyNew(ifp: Inet6Ifaddr): void {
  insertLocalRoute(ifp)
  if (ifp.idev.conf.forwarding !== 0) joinAnycast(ifp)
  if (ifp.peer !== 0) addrconfPrefixRoute(ifp.idev.dev, ifp.peer, 128, ifp.metric)
  ifp.idev.dev.ns.fib6.flushCache()
}

/** ip6_ins_rt of addrconf_f6i_alloc's route. */
export function insertLocalRoute(ifp: Inet6Ifaddr): void {
  if (ifp.hasRoute) return
  ifp.hasRoute = true
  ifp.idev.dev.ns.fib6.addLocal(ifp.idev.dev, ifp.addr, false)
}

/** __ipv6_ifa_notify(RTM_DELADDR) */
function notifyDel(ifp: Inet6Ifaddr): void {
  const dev = ifp.idev.dev
  const ns = dev.ns
  if (ifp.idev.conf.forwarding !== 0) leaveAnycast(ifp)
  ipv6DevMcDec(ifp.idev, ns.world.in6.solicitedNode(ifp.addr))
  if (ifp.peer !== 0) ns.fib6.delPrefixRoute(dev, ifp.peer, 128)
  if (ifp.hasRoute) ns.fib6.delLocal(dev, ifp.addr, false)
  ifp.hasRoute = false
  ns.fib6.flushCache()
}

/** addrconf_join_anycast: the subnet-router anycast address. */
function joinAnycast(ifp: Inet6Ifaddr): void {
  // RFC 6164: not for /127 and /128
  if (ifp.prefixLength >= 127) return
  const idev = ifp.idev
  const ns = idev.dev.ns
  const addr = ns.world.in6.prefix(ifp.addr, ifp.prefixLength)
  if (addr === 0) return
  const known = idev.anycast.find((a) => a.addr === addr)
  if (known !== undefined) {
    known.users++
    return
  }
  idev.anycast.unshift({ addr, users: 1 })
  ns.fib6.addLocal(idev.dev, addr, true)
  ipv6DevMcInc(idev, ns.world.in6.solicitedNode(addr))
}

/** addrconf_leave_anycast */
function leaveAnycast(ifp: Inet6Ifaddr): void {
  if (ifp.prefixLength >= 127) return
  const idev = ifp.idev
  const ns = idev.dev.ns
  const addr = ns.world.in6.prefix(ifp.addr, ifp.prefixLength)
  const i = idev.anycast.findIndex((a) => a.addr === addr)
  if (i < 0) return
  const known = idev.anycast[i]!
  if (--known.users > 0) return
  idev.anycast.splice(i, 1)
  ipv6DevMcDec(idev, ns.world.in6.solicitedNode(addr))
  ns.fib6.delLocal(idev.dev, addr, true)
}

/** addrconf_prefix_route */
export function addrconfPrefixRoute(dev: NetDevice, addr: number, prefixLength: number, metric: number): void {
  const in6 = dev.ns.world.in6
  dev.ns.fib6.addRoute(
    {
      dst: in6.prefix(addr, prefixLength),
      prefixLength,
      table: RT6_TABLE_MAIN,
      metric: metric === 0 ? IP6_RT_PRIO_ADDRCONF : metric,
      protocol: RTPROT_KERNEL,
      nexthops: [{ dev }],
    },
    'kernel',
  )
}

/** addrconf_add_dev: the device with its multicast route; its groups are told again (ipv6_find_idev). @returns an errno when IPv6 is off there */
function addrconfAddDev(dev: NetDevice): Inet6Dev | number {
  const idev = ipv6AddDev(dev)
  if (idev === null) return ENOBUFS
  if (dev.up) ipv6McUp(idev)
  if (idev.conf.disable_ipv6 !== 0) return EACCES
  if ((dev.flags & IFF_LOOPBACK) === 0) addMroute(dev)
  return idev
}

/** addrconf_add_mroute: ff00::/8 of the device in the local table. */
function addMroute(dev: NetDevice): void {
  if (!dev.up) return
  dev.ns.fib6.addMulticast(dev)
}

/** addrconf_dev_config and init_loopback: the addresses that a device has by itself. */
function addrconfInit(dev: NetDevice): void {
  if (dev.kind === DEV_LOOPBACK) {
    const idev = ipv6AddDev(dev)
    if (idev === null) return
    const one = dev.ns.world.in6.intern(0, 0, 0, 1)
    const ifp = ipv6AddAddr(idev, one, 0, 128, IFA_HOST, IFA_F_PERMANENT, 0)
    if (typeof ifp === 'number') return
    ifp.flags &= ~IFA_F_TENTATIVE
    notifyNew(ifp)
    return
  }
  if (!dev.ether) return
  const idev = addrconfAddDev(dev)
  if (typeof idev === 'number' || idev.conf.addr_gen_mode !== 0) return
  const addr = eui64(dev)
  if (idev.addrs.some((a) => a.addr === addr)) return
  addrconfAddLinklocal(idev, addr)
}

/** ipv6_generate_eui64 below fe80::/64. */
export function eui64(dev: NetDevice): number {
  const hi = ((dev.macHi ^ 0x0200) << 16) | ((dev.macLo >>> 24) << 8) | 0xff
  const lo = (0xfe << 24) | (dev.macLo & 0xffffff)
  return dev.ns.world.in6.intern(0xfe800000 | 0, 0, hi, lo)
}

/** addrconf_add_linklocal */
function addrconfAddLinklocal(idev: Inet6Dev, addr: number): void {
  const sysctl = idev.dev.ns.sysctl.ipv6
  const optimistic = sysctl.all.optimistic_dad !== 0 || idev.conf.optimistic_dad !== 0
  const flags = IFA_F_PERMANENT | (optimistic && sysctl.all.forwarding === 0 ? IFA_F_OPTIMISTIC : 0)
  const ifp = ipv6AddAddr(idev, addr, 0, 64, IFA_LINK, flags, 0)
  if (typeof ifp === 'number') return
  addrconfPrefixRoute(idev.dev, addr, 64, 0)
  addrconfDadStart(ifp)
}

/** addrconf_link_ready: netif_oper_up. */
export function linkReady(dev: NetDevice): boolean {
  return (dev.flags & IFF_UP) !== 0 && dev.carrier
}

/** addrconf_notify(NETDEV_UP) */
export function addrconfUp(dev: NetDevice): void {
  const idev = ipv6AddDev(dev)
  if (idev === null || idev.conf.disable_ipv6 !== 0) return
  dev.ns.fib6.syncUp(dev)
  permanentAddrs(idev)
  if (!linkReady(dev)) return
  idev.ready = true
  configure(idev)
}

/** addrconf_notify(NETDEV_CHANGE): the carrier came or went. */
export function addrconfChange(dev: NetDevice): void {
  const idev = dev.in6
  if (idev === null || idev.conf.disable_ipv6 !== 0 || !dev.up) return
  if (!linkReady(dev)) {
    dev.ns.fib6.linkDown(dev)
    return
  }
  if (idev.ready) {
    ipv6McUp(idev)
    dev.ns.fib6.syncUp(dev)
    return
  }
  idev.ready = true
  configure(idev)
}

function configure(idev: Inet6Dev): void {
  const dev = idev.dev
  addrconfInit(dev)
  addrconfDadRun(idev)
  dev.ns.fib6.syncUp(dev)
}

/** addrconf_permanent_addr: addresses that were added while the device was down get their routes. */
function permanentAddrs(idev: Inet6Dev): void {
  for (const ifp of [...idev.addrs]) {
    if ((ifp.flags & IFA_F_PERMANENT) === 0 || ifp.state === IFADDR_DEAD) continue
    if ((ifp.flags & IFA_F_NOPREFIXROUTE) === 0) addrconfPrefixRoute(idev.dev, ifp.addr, ifp.prefixLength, ifp.metric)
    if (ifp.state === IFADDR_PREDAD) addrconfDadStart(ifp)
  }
}

/** addrconf_ifdown: routes, neighbours and addresses go. @param unregister the device goes for good */
export function addrconfDown(dev: NetDevice, unregister: boolean): void {
  const idev = dev.in6
  dev.ns.fib6.devDown(dev)
  dev.ns.nd.flushDev(dev)
  if (idev === null) return
  const w = dev.ns.world
  w.timers.cancel(idev.rsTimer)
  idev.rsProbes = 0
  idev.ready = false
  const gone = idev.addrs
  idev.addrs = []
  for (const ifp of gone) {
    ifp.state = IFADDR_DEAD
    w.timers.cancel(ifp.dadTimer)
    nfNatMasqInet6Event(dev.ns, dev, ifp.addr)
    notifyDel(ifp)
  }
  ipv6McDown(idev)
  if (unregister) {
    for (const t of [idev.mcIfcTimer, idev.mcDadTimer]) w.timers.cancel(t)
    dev.in6 = null
  }
}

/** NETDEV_CHANGEMTU */
export function addrconfMtuChange(dev: NetDevice): void {
  if (dev.kind !== DEV_LOOPBACK && dev.mtu < IPV6_MIN_MTU) {
    addrconfDown(dev, true)
    return
  }
  const idev = dev.in6
  if (idev !== null) {
    idev.conf.mtu = dev.mtu
    dev.ns.fib6.mtuChanged(dev)
    return
  }
  if (!dev.up) return
  addrconfUp(dev)
}

/** dev_forward_change: a host becomes a router, or the reverse. */
export function devForwardChange(idev: Inet6Dev): void {
  const ns = idev.dev.ns
  const in6 = ns.world.in6
  const groups = [LINKLOCAL_ALLROUTERS, INTERFACELOCAL_ALLROUTERS, SITELOCAL_ALLROUTERS] as const
  if ((idev.dev.flags & IFF_MULTICAST) !== 0) {
    for (const g of groups) {
      if (idev.conf.forwarding !== 0) ipv6DevMcInc(idev, in6.intern(...g))
      else ipv6DevMcDec(idev, in6.intern(...g))
    }
  }
  for (const ifp of idev.addrs) {
    if ((ifp.flags & IFA_F_TENTATIVE) !== 0) continue
    if (idev.conf.forwarding !== 0) joinAnycast(ifp)
    else leaveAnycast(ifp)
  }
}

/** addrconf_disable_ipv6 for one device. */
export function devDisableChange(dev: NetDevice): void {
  const idev = dev.in6
  if (idev === null) return
  if (idev.conf.disable_ipv6 !== 0) addrconfDown(dev, false)
  else if (dev.up) addrconfUp(dev)
}

addrconfWork.current = { forwardChange: devForwardChange, disableChange: devDisableChange }

/** ipv6_chk_addr: whether `addr` is an address of this host (of `dev` when given) that may be spoken to. */
export function ipv6ChkAddr(ns: Netns, addr: number, dev: NetDevice | null): boolean {
  return ipv6ChkAddrAndFlags(ns, addr, dev, IFA_F_TENTATIVE)
}

/** ipv6_chk_addr_and_flags: with strict device check when a device is given and the address is link-local or asked so. */
export function ipv6ChkAddrAndFlags(ns: Netns, addr: number, dev: NetDevice | null, banned: number): boolean {
  for (const d of ns.devices.values()) {
    if (d.in6 === null) continue
    for (const a of d.in6.addrs) {
      if (a.addr !== addr) continue
      // optimistic addresses are tentative and usable
      const flags = (a.flags & IFA_F_OPTIMISTIC) !== 0 ? a.flags & ~IFA_F_TENTATIVE : a.flags
      if ((flags & banned) !== 0) continue
      if (dev === null || d === dev || (a.scope & (IFA_LINK | IFA_HOST)) === 0) return true
    }
  }
  return false
}

/** ipv6_get_ifaddr with a device and strict check: the address on that device. */
export function ipv6GetIfaddr(dev: NetDevice, addr: number): Inet6Ifaddr | null {
  if (dev.in6 === null) return null
  for (const a of dev.in6.addrs) if (a.addr === addr) return a
  return null
}

/** ipv6_get_lladdr: the device's link-local address without the flags `banned`, 0 when none. */
export function ipv6GetLladdr(dev: NetDevice, banned: number): number {
  if (dev.in6 === null) return 0
  // from the end: the list has link-local addresses last
  for (let i = dev.in6.addrs.length - 1; i >= 0; i--) {
    const a = dev.in6.addrs[i]!
    if (a.scope > IFA_LINK) break
    if (a.scope === IFA_LINK && (a.flags & banned) === 0) return a.addr
  }
  return 0
}

/** ipv6_chk_acast_addr: whether `addr` is an anycast address of the device (of any when null). */
export function ipv6ChkAcastAddr(ns: Netns, dev: NetDevice | null, addr: number): boolean {
  if (dev !== null) return dev.in6?.anycast.some((a) => a.addr === addr) === true
  for (const d of ns.devices.values()) if (d.in6?.anycast.some((a) => a.addr === addr)) return true
  return false
}
