/**
 * Source address selection: RFC 6724 as the kernel does it.
 *
 * Linux: net/ipv6/addrconf.c (ipv6_dev_get_saddr, ipv6_get_saddr_eval), net/ipv6/addrlabel.c (default policy table).
 * Not modelled: home addresses, IPV6_ADDR_PREFERENCES of sockets, `ip addrlabel`.
 */
import type { NetDevice } from '../device/device.ts'
import type { Netns } from '../netns.ts'
import {
  type In6Table,
  IPV6_ADDR_COMPATV4,
  IPV6_ADDR_LINKLOCAL,
  IPV6_ADDR_LOOPBACK,
  IPV6_ADDR_MAPPED,
  IPV6_ADDR_MULTICAST,
} from './in6.ts'
import {
  IFA_F_DEPRECATED,
  IFA_F_OPTIMISTIC,
  IFA_F_TEMPORARY,
  IFA_F_TENTATIVE,
  type Inet6Dev,
  type Inet6Ifaddr,
} from './inet6-dev.ts'

/** IPV6_SADDR_RULE_* in their order. */
const RULE_LOCAL = 1
const RULE_SCOPE = 2
const RULE_PREFERRED = 3
const RULE_OIF = 5
const RULE_LABEL = 6
const RULE_PRIVACY = 7
const RULE_ORCHID = 8
const RULE_PREFIX = 9
const RULE_NOT_OPTIMISTIC = 10
const RULE_MAX = 11

/** ipv6_addr_scope of rules: loopback counts as link-local, IPv4-mapped as global. */
function scopeOf(in6: In6Table, addr: number): number {
  return in6.scope(addr)
}

/** ipv6_addr_label of the default table. */
function label(in6: In6Table, addr: number): number {
  const a = in6.word(addr, 0)
  const b = in6.word(addr, 1)
  const c = in6.word(addr, 2)
  const d = in6.word(addr, 3)
  if (a === 0 && b === 0) {
    if (c === 0) return d === 1 ? 0 : 3
    if (c === 0xffff) return 4
  }
  if (a >>> 25 === 0xfc >> 1) return 5
  if (a >>> 16 === 0x2002) return 2
  if (a === 0x20010000) return 6
  if (a >>> 4 === 0x2001001) return 7
  if (a >>> 22 === 0xfec0 >> 6) return 11
  if (a >>> 16 === 0x3ffe) return 12
  return 1
}

function orchid(in6: In6Table, addr: number): boolean {
  return in6.word(addr, 0) >>> 4 === 0x2001001
}

class Destination {
  addr = 0
  dev: NetDevice | null = null
  scope = 0
  label = 0
}

const dst = new Destination()

/** ipv6_get_saddr_eval: how good the address is by one rule; larger is better. */
function evaluate(in6: In6Table, ifp: Inet6Ifaddr, rule: number): number {
  switch (rule) {
    case RULE_LOCAL:
      return ifp.addr === dst.addr ? 1 : 0
    case RULE_SCOPE: {
      const s = scopeOf(in6, ifp.addr)
      return s >= dst.scope ? -s : s - 128
    }
    case RULE_PREFERRED: {
      let avoid = IFA_F_DEPRECATED
      const all = ifp.idev.dev.ns.sysctl.ipv6.all
      if (ifp.idev.conf.use_optimistic === 0 && all.use_optimistic === 0) avoid |= IFA_F_OPTIMISTIC
      const compat = in6.type(ifp.addr) & (IPV6_ADDR_COMPATV4 | IPV6_ADDR_MAPPED)
      return compat !== 0 || (ifp.flags & avoid) !== 0 ? 0 : 1
    }
    case RULE_OIF:
      return dst.dev === null || dst.dev === ifp.idev.dev ? 1 : 0
    case RULE_LABEL:
      return label(in6, ifp.addr) === dst.label ? 1 : 0
    case RULE_PRIVACY: {
      const preferTemporary = ifp.idev.conf.use_tempaddr >= 2
      return ((ifp.flags & IFA_F_TEMPORARY) === 0) !== preferTemporary ? 1 : 0
    }
    case RULE_ORCHID:
      return orchid(in6, ifp.addr) === orchid(in6, dst.addr) ? 1 : 0
    case RULE_PREFIX:
      return Math.min(in6.commonPrefix(ifp.addr, dst.addr), ifp.prefixLength)
    case RULE_NOT_OPTIMISTIC:
      return (ifp.flags & IFA_F_OPTIMISTIC) === 0 ? 1 : 0
    default:
      return 0
  }
}

/** __ipv6_dev_get_saddr: the better of what was found so far and the device's addresses. */
function best(in6: In6Table, idev: Inet6Dev, hiscore: Inet6Ifaddr | null): Inet6Ifaddr | null {
  for (const ifp of idev.addrs) {
    if ((ifp.flags & IFA_F_TENTATIVE) !== 0 && (ifp.flags & IFA_F_OPTIMISTIC) === 0) continue
    if (ifp.addr === 0 || in6.isMulticast(ifp.addr)) continue
    if (hiscore === null) {
      hiscore = ifp
      continue
    }
    for (let rule = RULE_LOCAL; rule < RULE_MAX; rule++) {
      const now = evaluate(in6, hiscore, rule)
      const other = evaluate(in6, ifp, rule)
      if (now === other) continue
      if (other > now) hiscore = ifp
      break
    }
  }
  return hiscore
}

/**
 * ipv6_dev_get_saddr: the address to speak from towards `daddr`.
 * @param dev the device that the packet leaves by, null when not known
 * @param _prefs IPV6_PREFER_SRC_*: 0
 * @returns the address, 0 when there is none
 */
export function ipv6DevGetSaddr(ns: Netns, dev: NetDevice | null, daddr: number, _prefs: number): number {
  const in6 = ns.world.in6
  const type = in6.type(daddr) & 0xffff
  dst.addr = daddr
  dst.dev = dev
  dst.scope = scopeOf(in6, daddr)
  dst.label = label(in6, daddr)
  let useOif = false
  if (dev !== null) {
    if ((type & IPV6_ADDR_MULTICAST) !== 0 || dst.scope <= 2) useOif = true
    if (dev.in6 !== null && (dev.in6.conf.use_oif_addrs_only !== 0 || ns.sysctl.ipv6.all.use_oif_addrs_only !== 0)) {
      useOif = true
    }
  }
  let found: Inet6Ifaddr | null = null
  if (useOif) {
    if (dev?.in6 != null) found = best(in6, dev.in6, null)
  } else for (const d of ns.devices.values()) if (d.in6 !== null) found = best(in6, d.in6, found)
  return found === null ? 0 : found.addr
}

/** Whether an address needs its device to be told apart: link-local ones. */
export function needsScopeId(in6: In6Table, addr: number): boolean {
  const type = in6.type(addr) & 0xffff
  if ((type & IPV6_ADDR_MULTICAST) !== 0) {
    return (type & (IPV6_ADDR_LINKLOCAL | IPV6_ADDR_LOOPBACK)) !== 0
  }
  return (type & IPV6_ADDR_LINKLOCAL) !== 0
}
