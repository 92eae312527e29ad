/**
 * `ip addr` for IPv6: adding and deleting addresses, and how iproute2 6.1 prints them.
 *
 * Source: iproute2 ip/ipaddress.c (ipaddr_modify, print_addrinfo, print_ifa_flags), net/ipv6/addrconf.c
 * (inet6_rtm_newaddr). Lifetimes are not modelled but for `preferred_lft 0`, which makes an address deprecated.
 */
import { DEV_VETH, IFF_LOOPBACK, type NetDevice, RT_SCOPE_HOST, RT_SCOPE_LINK } from '../device/device.ts'
import { EADDRNOTAVAIL, EEXIST } from '../errno.ts'
import { inet6AddrAdd, inet6AddrDel } from '../ipv6/addrconf.ts'
import {
  IFA_F_DADFAILED,
  IFA_F_DEPRECATED,
  IFA_F_HOMEADDRESS,
  IFA_F_NODAD,
  IFA_F_NOPREFIXROUTE,
  IFA_F_OPTIMISTIC,
  IFA_F_PERMANENT,
  IFA_F_TEMPORARY,
  IFA_F_TENTATIVE,
  IFA_HOST,
  IFA_LINK,
  IFA_SITE,
  type Inet6Ifaddr,
} from '../ipv6/inet6-dev.ts'
import type { Netns } from '../netns.ts'
import { type Args, takeDevice, takeNumber, takePrefix6 } from './ip-args.ts'
import type { JsonValue } from './ip-json.ts'
import { flagNames, operstate } from './ip-link-show.ts'
import { rtnetlink, ToolExit, unmodelled } from './result.ts'

/** ifa_flag_data in its order. */
const FLAGS: readonly (readonly [number, string])[] = [
  [IFA_F_TEMPORARY, 'temporary'],
  [IFA_F_NODAD, 'nodad'],
  [IFA_F_OPTIMISTIC, 'optimistic'],
  [IFA_F_DADFAILED, 'dadfailed'],
  [IFA_F_HOMEADDRESS, 'home'],
  [IFA_F_DEPRECATED, 'deprecated'],
  [IFA_F_TENTATIVE, 'tentative'],
  [IFA_F_NOPREFIXROUTE, 'noprefixroute'],
]
const RT_SCOPE_SITE = 200

/** rt_scope: RT_SCOPE_* of an address. */
export function scope6(scope: number): number {
  if (scope === IFA_LINK) return RT_SCOPE_LINK
  if ((scope & IFA_HOST) !== 0) return RT_SCOPE_HOST
  return scope === IFA_SITE ? RT_SCOPE_SITE : 0
}

function scopeWord(scope: number): string {
  if (scope === IFA_LINK) return 'link'
  if ((scope & IFA_HOST) !== 0) return 'host'
  return scope === IFA_SITE ? 'site' : 'global'
}

function flagWords(a: Inet6Ifaddr): string[] {
  const words = FLAGS.filter(([bit]) => (a.flags & bit) !== 0).map(([, name]) => name)
  if ((a.flags & IFA_F_PERMANENT) === 0) words.push('dynamic')
  return words
}

/** Runs `ip addr add|replace|del` of an IPv6 address. */
export function modifyAddr6(ns: Netns, args: Args, verb: 'add' | 'replace' | 'del'): string {
  let local: { addr: number; length: number; hasLength: boolean } | null = null
  let peer: { addr: number; length: number } | null = null
  let devName: string | null = null
  let flags = 0
  let metric = 0
  while (!args.done) {
    const word = args.take()
    if (word === 'peer' || word === 'remote') peer = takePrefix6(ns, args.take())
    else if (word === 'dev') devName = args.take()
    else if (word === 'nodad') flags |= IFA_F_NODAD
    else if (word === 'optimistic') flags |= IFA_F_OPTIMISTIC
    else if (word === 'noprefixroute') flags |= IFA_F_NOPREFIXROUTE
    else if (word === 'home') flags |= IFA_F_HOMEADDRESS
    else if (word === 'metric') metric = takeNumber(args.take(), 0xffffffff, 'invalid metric value')
    else if (word === 'preferred_lft') {
      const t = args.take()
      if (t === '0') flags |= IFA_F_DEPRECATED
      else if (t !== 'forever') unmodelled('address lifetimes')
    } else if (word === 'valid_lft') {
      if (args.take() !== 'forever') unmodelled('address lifetimes')
    } else if (word === 'scope' || word === 'label') args.take()
    else if (['broadcast', 'brd', 'anycast', 'mngtmpaddr', 'autojoin', 'proto'].includes(word))
      unmodelled(`ip addr ... ${word}`)
    else local = takePrefix6(ns, word === 'local' ? args.take() : word)
  }
  if (devName === null) throw new ToolExit(255, 'Not enough information: "dev" argument is required.')
  const dev = takeDevice(ns, devName)
  if (local === null) throw new ToolExit(255, 'Not enough information: "local" argument is required.')
  const length = peer?.length ?? local.length
  if (verb === 'del') {
    const err = inet6AddrDel(dev, local.addr, length)
    if (err === EADDRNOTAVAIL) throw new ToolExit(2, 'Error: ipv6: address not found.')
    rtnetlink(err)
    return ''
  }
  if (ns.world.in6.isMulticast(local.addr) && (dev.flags & IFF_LOOPBACK) === 0) {
    throw new ToolExit(2, 'Error: ipv6: Cannot assign multicast address without "IFA_F_MCAUTOJOIN" flag.')
  }
  if (verb === 'replace') inet6AddrDel(dev, local.addr, length)
  const spec = { addr: local.addr, prefixLength: length, peer: peer?.addr ?? 0, flags, metric }
  const err = inet6AddrAdd(dev, spec)
  if (err === EEXIST) throw new ToolExit(2, 'Error: ipv6: address already assigned.')
  rtnetlink(err)
  return ''
}

/** `2001:db8::1/64`, with peer and metric. */
export function local6Text(a: Inet6Ifaddr): string {
  const in6 = a.idev.dev.ns.world.in6
  const metric = a.metric === 0 ? '' : ` metric ${a.metric}`
  if (a.peer !== 0) return `${in6.text(a.addr)} peer ${in6.text(a.peer)}/${a.prefixLength}${metric}`
  return `${in6.text(a.addr)}/${a.prefixLength}${metric}`
}

/** The line of an address without its lifetimes. */
export function inet6Text(a: Inet6Ifaddr): string {
  return `inet6 ${local6Text(a)} scope ${scopeWord(a.scope)} ${flagWords(a)
    .map((f) => `${f} `)
    .join('')}`
}

/** The lifetimes. */
export function lifetime6(a: Inet6Ifaddr): string {
  return `       valid_lft forever preferred_lft ${(a.flags & IFA_F_DEPRECATED) !== 0 ? '0sec' : 'forever'}`
}

/** The name with its link: an index of another namespace is read as one of this (no IFLA_LINK_NETNSID here). */
export function name6(dev: NetDevice): string {
  const link = dev.lower ?? (dev.kind === DEV_VETH ? dev.peer : null)
  if (link === null || link.ifindex === dev.ifindex) return dev.name
  return `${dev.name}@${dev.ns.byIndex[link.ifindex]?.name ?? `if${link.ifindex}`}`
}

/** The head of a device as `ip -6 addr` prints it: RTM_GETLINK of AF_INET6 says less. */
export function headLine6(dev: NetDevice): string {
  const qlen = dev.txqueuelen === 0 ? '' : ` qlen ${dev.txqueuelen}`
  return `${dev.ifindex}: ${name6(dev)}: <${flagNames(dev).join(',')}> mtu ${dev.in6?.conf.mtu ?? dev.mtu} state ${operstate(dev)}${qlen}`
}

function link6(dev: NetDevice): { [name: string]: JsonValue } {
  const name = name6(dev)
  const at = name.indexOf('@')
  if (at < 0) return {}
  const link = name.slice(at + 1)
  return /^if\d+$/.test(link) ? { link_index: Number(link.slice(2)) } : { link }
}

/** The head as JSON. */
export function link6Json(dev: NetDevice): { [name: string]: JsonValue } {
  return {
    ifindex: dev.ifindex,
    ...link6(dev),
    ifname: dev.name,
    flags: flagNames(dev),
    mtu: dev.in6?.conf.mtu ?? dev.mtu,
    operstate: operstate(dev),
    txqlen: dev.txqueuelen,
  }
}

/** An address as `ip -j addr` prints it. */
export function addr6Json(a: Inet6Ifaddr): { [name: string]: JsonValue } {
  const in6 = a.idev.dev.ns.world.in6
  return {
    family: 'inet6',
    local: in6.text(a.addr),
    ...(a.peer === 0 ? {} : { address: in6.text(a.peer) }),
    prefixlen: a.prefixLength,
    ...(a.metric === 0 ? {} : { metric: a.metric }),
    scope: scopeWord(a.scope),
    ...Object.fromEntries(flagWords(a).map((f) => [f, true])),
    valid_life_time: 4294967295,
    preferred_life_time: (a.flags & IFA_F_DEPRECATED) !== 0 ? 0 : 4294967295,
  }
}
