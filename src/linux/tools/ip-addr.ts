/**
 * `ip addr`: add, delete, flush and show addresses; what is IPv6's own is in ip-addr6.ts.
 *
 * Lifetimes are not modelled (all addresses are forever).
 *
 * Source: iproute2 ip/ipaddress.c (ipaddr_modify, print_addrinfo, ipaddr_list_flush_or_save), net/ipv4/devinet.c.
 */
import { formatIpv4, ipv4Mask } from '../../addr/ipv4.ts'
import {
  IFF_BROADCAST,
  type Ifaddr,
  type NetDevice,
  RT_SCOPE_HOST,
  RT_SCOPE_LINK,
  RT_SCOPE_UNIVERSE,
} from '../device/device.ts'
import { type AddrSpec, inetAddrAdd, inetAddrDel } from '../device/inet.ts'
import { EADDRINUSE, EADDRNOTAVAIL, EEXIST } from '../errno.ts'
import { ipv6DelAddr } from '../ipv6/addrconf.ts'
import type { Inet6Ifaddr } from '../ipv6/inet6-dev.ts'
import type { Netns } from '../netns.ts'
import {
  addr6Json,
  headLine6,
  inet6Text,
  lifetime6,
  link6Json,
  local6Text,
  modifyAddr6,
  name6,
  scope6,
} from './ip-addr6.ts'
import {
  type Args,
  type IpOptions,
  invarg,
  isInet6,
  matches,
  parseNumber,
  takeAddress,
  takeDevice,
  takePrefix,
  takePrefix6,
} from './ip-args.ts'
import { formatJson, type JsonValue } from './ip-json.ts'
import {
  addressLine,
  detailsJson,
  headLine,
  KIND_NAMES,
  linkJson,
  linkName,
  netnsidText,
  operstate,
  statLines,
} from './ip-link-show.ts'
import { rtnetlink, ToolExit, unmodelled } from './result.ts'

const SCOPES: readonly (readonly [number, string])[] = [
  [RT_SCOPE_UNIVERSE, 'global'],
  [200, 'site'],
  [RT_SCOPE_LINK, 'link'],
  [RT_SCOPE_HOST, 'host'],
  [255, 'nowhere'],
]

/** `global`, `link`, `host` or the number. */
export function scopeName(scope: number): string {
  return SCOPES.find(([n]) => n === scope)?.[1] ?? String(scope)
}

/** A scope word or number. */
export function takeScope(word: string): number {
  const named = SCOPES.find(([, name]) => name === word)
  const n = named === undefined ? parseNumber(word) : named[0]
  if (n < 0 || n > 255) invarg('invalid "scope" value', word)
  return n
}

/** Runs `ip addr ...`. */
export function ipAddr(ns: Netns, args: Args, o: IpOptions): string {
  if (args.done) return show(ns, args, o)
  const word = args.take()
  if (matches(word, 'add')) return modify(ns, args, 'add')
  if (matches(word, 'change') || matches(word, 'replace')) return modify(ns, args, 'replace')
  if (matches(word, 'delete')) return modify(ns, args, 'del')
  if (matches(word, 'show') || matches(word, 'lst') || matches(word, 'list') || word === 'ls') return show(ns, args, o)
  if (matches(word, 'flush')) return flush(ns, args, o)
  throw new ToolExit(255, `Command "${word}" is unknown, try "ip address help".`)
}

function modify(ns: Netns, args: Args, verb: 'add' | 'replace' | 'del'): string {
  if (args.rest().some(isInet6)) return modifyAddr6(ns, args, verb)
  let local: { ip: number; length: number; hasLength: boolean } | null = null
  let peer: { ip: number; length: number; hasLength: boolean } | null = null
  let broadcast: string | null = null
  let scope: number | null = null
  let label: string | null = null
  let devName: string | null = null
  let noprefixroute = false
  while (!args.done) {
    const word = args.take()
    if (word === 'peer' || word === 'remote') peer = takePrefix(args.take())
    else if (matches(word, 'broadcast') || word === 'brd') broadcast = args.take()
    else if (word === 'scope') scope = takeScope(args.take())
    else if (word === 'dev') devName = args.take()
    else if (word === 'label') label = args.take()
    else if (word === 'noprefixroute') noprefixroute = true
    else if (word === 'valid_lft' || word === 'preferred_lft') {
      if (args.take() !== 'forever') unmodelled('address lifetimes')
    } else if (['anycast', 'metric', 'home', 'nodad', 'mngtmpaddr', 'autojoin', 'proto'].includes(word))
      unmodelled(`ip addr ... ${word}`)
    else {
      const text = word === 'local' ? args.take() : word
      local = takePrefix(text)
    }
  }
  if (devName === null) throw new ToolExit(255, 'Not enough information: "dev" argument is required.')
  const dev = takeDevice(ns, devName)
  if (local === null) throw new ToolExit(255, 'Not enough information: "local" argument is required.')
  const length = peer === null ? local.length : peer.length
  if (verb === 'del') {
    const err = inetAddrDel(dev, local.ip, local.hasLength || peer !== null ? length : null)
    if (err === EADDRNOTAVAIL) throw new ToolExit(2, 'Error: ipv4: Address not found.')
    rtnetlink(err)
    return ''
  }
  const spec: AddrSpec = {
    ip: local.ip,
    prefixLength: length,
    ...(peer === null ? {} : { peer: peer.ip }),
    ...(broadcast === null ? {} : { broadcast: broadcastOf(dev, peer?.ip ?? local.ip, length, broadcast) }),
    scope: scope ?? (local.ip >>> 24 === 127 ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE),
    ...(label === null ? {} : { label }),
    noprefixroute,
  }
  if (verb === 'replace') inetAddrDel(dev, local.ip, length)
  const err = inetAddrAdd(dev, spec)
  if (err === EADDRINUSE) throw new ToolExit(2, 'Error: Address already assigned to an ipvlan device.')
  if (err === EEXIST) throw new ToolExit(2, 'Error: ipv4: Address already assigned.')
  rtnetlink(err)
  return ''
}

function broadcastOf(dev: NetDevice, ip: number, length: number, word: string): number {
  if ((word === '+' || word === '-') && (dev.flags & IFF_BROADCAST) === 0)
    throw new ToolExit(1, 'Broadcast can be set only for broadcast packets.')
  if (word === '+') return length > 30 ? 0 : ip | ~ipv4Mask(length)
  if (word === '-') return length > 30 ? 0 : ip & ipv4Mask(length)
  return takeAddress(word)
}

/** Which addresses and devices `show` and `flush` mean. */
interface Filter {
  dev: NetDevice | null
  scope: number | null
  up: boolean
  to: { ip: number; length: number } | null
  to6: { addr: number; length: number } | null
  label: string | null
  master: string | null
  type: string | null
  primary: boolean | null
  /** IFA_F_* that IPv6 addresses must have. */
  flags6: number
  flags6Mask: number
}

function takeFilter(ns: Netns, args: Args): Filter {
  const f: Filter = {
    dev: null,
    scope: null,
    up: false,
    to: null,
    to6: null,
    label: null,
    master: null,
    type: null,
    primary: null,
    flags6: 0,
    flags6Mask: 0,
  }
  while (!args.done) {
    const word = args.take()
    if (word === 'to') {
      const text = args.take()
      if (isInet6(text)) f.to6 = takePrefix6(ns, text)
      else f.to = takePrefix(text)
    } else if (AFLAGS6[word.replace(/^-/, '')] !== undefined) {
      const bit = AFLAGS6[word.replace(/^-/, '')]!
      f.flags6Mask |= bit
      if (!word.startsWith('-')) f.flags6 |= bit
    } else if (word === 'scope') {
      const scope = args.take()
      f.scope = scope === 'all' ? null : takeScope(scope)
    } else if (word === 'up') f.up = true
    else if (word === 'label') f.label = args.take()
    else if (word === 'master') f.master = args.take()
    else if (word === 'type') f.type = args.take()
    else if (word === 'primary') f.primary = true
    else if (word === 'secondary' || word === 'temporary') f.primary = false
    else if (['permanent', 'dynamic', 'nomaster', 'group', 'vrf', 'proto'].includes(word)) {
      if (word !== 'permanent') unmodelled(`ip addr show ${word}`)
    } else {
      const name = word === 'dev' ? args.take() : word
      const dev = ns.devices.get(name)
      if (dev === undefined) throw new ToolExit(1, `Device "${name}" does not exist.`)
      f.dev = dev
    }
  }
  return f
}

/** ipaddr_filter's flags of IPv6, by their words. */
const AFLAGS6: { readonly [word: string]: number } = { tentative: 0x40, deprecated: 0x20, dadfailed: 0x08 }

function fits6(f: Filter, a: Inet6Ifaddr): boolean {
  const in6 = a.idev.dev.ns.world.in6
  if (f.to !== null || f.label !== null) return false
  if (f.scope !== null && scope6(a.scope) !== f.scope) return false
  if (f.to6 !== null && (!in6.prefixEqual(a.addr, f.to6.addr, f.to6.length) || a.prefixLength < f.to6.length)) {
    return false
  }
  return (a.flags & f.flags6Mask) === f.flags6 && f.primary !== false
}

function fits(f: Filter, a: Ifaddr): boolean {
  if (f.to6 !== null || f.flags6 !== 0) return false
  if (f.scope !== null && a.scope !== f.scope) return false
  if (f.to !== null && (((a.ip ^ f.to.ip) & ipv4Mask(f.to.length)) !== 0 || a.prefixLength < f.to.length)) return false
  if (f.primary !== null && a.secondary === f.primary) return false
  return f.label === null || a.label === f.label
}

function devices(ns: Netns, f: Filter): NetDevice[] {
  return ns.byIndex.filter((d): d is NetDevice => {
    if (d === undefined || (f.dev !== null && d !== f.dev) || (f.up && !d.up)) return false
    if (f.master !== null && d.port?.bridge.dev.name !== f.master) return false
    return f.type === null || KIND_NAMES[d.kind] === f.type
  })
}

function flush(ns: Netns, args: Args, o: IpOptions): string {
  const f = takeFilter(ns, args)
  if (f.dev === null && f.to === null && f.to6 === null && f.label === null && f.scope === null)
    throw new ToolExit(255, 'Flush requires arguments.')
  for (const dev of devices(ns, f)) {
    if (o.family !== 'inet' && dev.in6 !== null)
      for (const a of dev.in6.addrs.filter((x) => fits6(f, x))) ipv6DelAddr(a)
    while (o.family !== 'inet6') {
      const a = dev.addrs.find((x) => fits(f, x))
      if (a === undefined || inetAddrDel(dev, a.ip, a.prefixLength) !== 0) break
    }
  }
  return ''
}

function show(ns: Netns, args: Args, o: IpOptions): string {
  const f = takeFilter(ns, args)
  const filtered = f.scope !== null || f.to !== null || f.to6 !== null || f.label !== null || f.primary !== null
  const onlyInet = o.family === 'inet' || filtered || f.flags6Mask !== 0
  const list = devices(ns, f).map((dev) => ({
    dev,
    addrs: o.family === 'inet6' ? [] : dev.addrs.filter((a) => fits(f, a)),
    addrs6: o.family === 'inet' || dev.in6 === null ? [] : dev.in6.addrs.filter((a) => fits6(f, a)),
  }))
  const shown = list.filter((x) => x.addrs.length + x.addrs6.length > 0 || (!onlyInet && o.family !== 'inet6'))
  if (o.json)
    return formatJson(
      shown.map((x) => addrJson(x.dev, x.addrs, x.addrs6, o)),
      o.pretty,
    )
  const only = onlyInet || o.family === 'inet6'
  // a dump of AF_INET6 says less of a link than a request for one device
  const head = (dev: NetDevice): string =>
    o.family !== 'inet6'
      ? headLine(dev, false)
      : f.dev === null
        ? headLine6(dev)
        : headLine(dev, false) + netnsidText(dev)
  return shown.map((x) => addrText(x.dev, x.addrs, x.addrs6, o, only, head)).join('')
}

/** `10.1.0.1/24`, or `10.4.0.1 peer 10.4.0.2/32`. */
function localText(a: Ifaddr): string {
  return a.peer === a.ip
    ? `${formatIpv4(a.ip)}/${a.prefixLength}`
    : `${formatIpv4(a.ip)} peer ${formatIpv4(a.peer)}/${a.prefixLength}`
}

function inetText(a: Ifaddr): string {
  const brd = a.broadcast === 0 ? '' : ` brd ${formatIpv4(a.broadcast)}`
  return `inet ${localText(a)}${brd} scope ${scopeName(a.scope)} ${a.secondary ? 'secondary ' : ''}${a.noprefixroute ? 'noprefixroute ' : ''}${a.label}`
}

function addrText(
  dev: NetDevice,
  addrs: readonly Ifaddr[],
  addrs6: readonly Inet6Ifaddr[],
  o: IpOptions,
  onlyInet: boolean,
  head: (dev: NetDevice) => string,
): string {
  const lifetime = '       valid_lft forever preferred_lft forever'
  if (o.brief) {
    const name = (o.family === 'inet6' ? name6(dev) : linkName(dev)).padEnd(16)
    const all = [...addrs.map(localText), ...addrs6.map(local6Text)]
    return `${name} ${operstate(dev).padEnd(14)} ${all.map((a) => `${a} `).join('')}\n`
  }
  if (o.oneline) {
    const four = addrs.map((a) => `${dev.ifindex}: ${dev.name}    ${inetText(a)}\\${lifetime}\n`)
    const six = addrs6.map((a) => `${dev.ifindex}: ${dev.name}    ${inet6Text(a)}\\${lifetime6(a)}\n`)
    return [...four, ...six].join('')
  }
  const lines = [head(dev)]
  if (!onlyInet) lines.push(addressLine(dev, o))
  if (o.stats > 0 && !onlyInet) lines.push(...statLines(dev))
  for (const a of addrs) lines.push(`    ${inetText(a)}`, lifetime)
  for (const a of addrs6) lines.push(`    ${inet6Text(a)}`, lifetime6(a))
  return `${lines.join('\n')}\n`
}

function addrJson(dev: NetDevice, addrs: readonly Ifaddr[], addrs6: readonly Inet6Ifaddr[], o: IpOptions): JsonValue {
  const info: { [name: string]: JsonValue }[] = addrs.map((a) => ({
    family: 'inet',
    local: formatIpv4(a.ip),
    ...(a.peer === a.ip ? {} : { address: formatIpv4(a.peer) }),
    prefixlen: a.prefixLength,
    ...(a.broadcast === 0 ? {} : { broadcast: formatIpv4(a.broadcast) }),
    scope: scopeName(a.scope),
    ...(a.secondary ? { secondary: true } : {}),
    ...(a.noprefixroute ? { noprefixroute: true } : {}),
    label: a.label,
    valid_life_time: 4294967295,
    preferred_life_time: 4294967295,
  }))
  info.push(...addrs6.map(addr6Json))
  if (!o.brief) {
    const link = o.family === 'inet6' ? link6Json(dev) : linkJson(dev, false)
    return { ...link, ...(o.details && o.family !== 'inet6' ? detailsJson(dev) : {}), addr_info: info }
  }
  return {
    ifname: dev.name,
    operstate: operstate(dev),
    addr_info: info.map((a) => ({ local: a.local ?? null, prefixlen: a.prefixlen ?? null })),
  }
}
