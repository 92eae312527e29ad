/**
 * `ip neigh`: add, replace, change, append, del, show, flush, get.
 *
 * Entries are listed per device in order of creation; Linux lists by hash bucket, an order that its random seed makes
 * different on every boot.
 *
 * Source: iproute2 ip/ipneigh.c; net/core/neighbour.c (neigh_add, neigh_delete, pneigh_lookup).
 */
import { formatIpv4, ipv4Mask } from '../../addr/ipv4.ts'
import type { Mac } from '../../addr/mac.ts'
import { formatMac } from '../../addr/mac.ts'
import type { NetDevice } from '../device/device.ts'
import { EEXIST, ENOENT } from '../errno.ts'
import { AF_INET6 } from '../ipv6/in6.ts'
import { ndiscProxyListen } from '../ipv6/ndisc-send.ts'
import {
  NEIGH_UPDATE_F_ADMIN,
  NEIGH_UPDATE_F_OVERRIDE,
  type Neighbour,
  type NeighTable,
  NUD_DELAY,
  NUD_FAILED,
  NUD_INCOMPLETE,
  NUD_NOARP,
  NUD_NONE,
  NUD_PERMANENT,
  NUD_PROBE,
  NUD_REACHABLE,
  NUD_STALE,
  NUD_VALID,
  neighUpdate,
} from '../neighbour/neighbour.ts'
import type { Netns } from '../netns.ts'
import {
  type Args,
  type IpOptions,
  invarg,
  isInet6,
  matches,
  takeAddress,
  takeAddress6,
  takeDevice,
  takeMac,
  takePrefix,
  takePrefix6,
} from './ip-args.ts'
import { formatJson, type JsonValue } from './ip-json.ts'
import { rtnetlink, ToolExit, unmodelled } from './result.ts'

const STATES: readonly (readonly [number, string])[] = [
  [NUD_INCOMPLETE, 'INCOMPLETE'],
  [NUD_REACHABLE, 'REACHABLE'],
  [NUD_STALE, 'STALE'],
  [NUD_DELAY, 'DELAY'],
  [NUD_PROBE, 'PROBE'],
  [NUD_FAILED, 'FAILED'],
  [NUD_NOARP, 'NOARP'],
  [NUD_PERMANENT, 'PERMANENT'],
]
const ALL = 0xff
const NS_PER_S = 1_000_000_000

/** Runs `ip neigh ...`. */
export function ipNeigh(ns: Netns, args: Args, o: IpOptions): string {
  if (args.done) return show(ns, args, o)
  const word = args.take()
  if (matches(word, 'add')) return modify(ns, args, true, true, false)
  if (matches(word, 'change') || word === 'chg') return modify(ns, args, false, false, true)
  if (matches(word, 'replace')) return modify(ns, args, true, false, true)
  if (matches(word, 'delete')) return del(ns, args)
  if (matches(word, 'get')) return get(ns, args, o)
  if (matches(word, 'show') || matches(word, 'lst') || matches(word, 'list')) return show(ns, args, o)
  if (matches(word, 'flush')) return flush(ns, args, o)
  throw new ToolExit(255, `Command "${word}" is unknown, try "ip neigh help".`)
}

function nudState(word: string): number {
  if (word === 'all') return ALL
  if (word === 'none') return NUD_NONE
  const n = STATES.find(([, name]) => name.toLowerCase() === word)?.[0]
  if (n === undefined) invarg('nud state is bad', word)
  return n
}

/** The table that an address belongs to. */
function tableFor(ns: Netns, word: string): NeighTable {
  return isInet6(word) ? ns.nd : ns.neigh
}

/** An address of the table's family. */
function takeIp(ns: Netns, table: NeighTable, word: string): number {
  return table.family === AF_INET6 ? takeAddress6(ns, word) : takeAddress(word)
}

function ipText(table: NeighTable, ip: number): string {
  return table.family === AF_INET6 ? table.ns.world.in6.text(ip) : formatIpv4(ip)
}

interface Entry {
  table: NeighTable
  router: boolean
  ip: number | null
  mac: Mac | null
  dev: NetDevice | null
  state: number
  proxy: boolean
}

function takeEntry(ns: Netns, args: Args): Entry {
  const e: Entry = {
    table: ns.neigh,
    router: false,
    ip: null,
    mac: null,
    dev: null,
    state: NUD_PERMANENT,
    proxy: false,
  }
  let devName: string | null = null
  while (!args.done) {
    const word = args.take()
    if (matches(word, 'lladdr')) e.mac = takeMac(args.take())
    else if (matches(word, 'nud')) e.state = nudState(args.take())
    else if (matches(word, 'proxy')) {
      const text = args.take()
      e.table = tableFor(ns, text)
      e.ip = takeIp(ns, e.table, text)
      e.proxy = true
    } else if (word === 'dev') devName = args.take()
    else if (word === 'router') e.router = true
    else if (['managed', 'use', 'extern_learn', 'protocol'].includes(word)) unmodelled(`ip neigh ... ${word}`)
    else {
      const text = word === 'to' ? args.take() : word
      e.table = tableFor(ns, text)
      e.ip = takeIp(ns, e.table, text)
    }
  }
  if (devName === null || e.ip === null) throw new ToolExit(255, 'Device and destination are required arguments.')
  e.dev = takeDevice(ns, devName)
  return e
}

function modify(ns: Netns, args: Args, create: boolean, exclusive: boolean, replace: boolean): string {
  const e = takeEntry(ns, args)
  const dev = e.dev
  const ip = e.ip
  if (dev === null || ip === null) return ''
  if (e.proxy) {
    if (!e.table.isProxied(dev, ip)) {
      e.table.proxies.push({ ip, dev })
      if (e.table.family === AF_INET6) ndiscProxyListen(dev, ip, true)
    }
    return ''
  }
  let n = e.table.lookup(dev, ip)
  if (n === undefined && !create) rtnetlink(ENOENT)
  if (n !== undefined && exclusive) rtnetlink(EEXIST)
  if (e.mac === null && (e.state & NUD_VALID) !== 0 && (n === undefined || (n.state & NUD_VALID) === 0)) {
    throw new ToolExit(2, 'Error: No link layer address given.')
  }
  n ??= e.table.create(dev, ip)
  n.isRouter = e.router
  const flags = NEIGH_UPDATE_F_ADMIN | (replace || create ? NEIGH_UPDATE_F_OVERRIDE : 0)
  rtnetlink(neighUpdate(ns.world, n, e.mac, e.state, flags))
  return ''
}

function del(ns: Netns, args: Args): string {
  const e = takeEntry(ns, args)
  if (e.dev === null || e.ip === null) return ''
  if (e.proxy) {
    const i = e.table.proxies.findIndex((p) => p.ip === e.ip && p.dev === e.dev)
    if (i < 0) rtnetlink(ENOENT)
    e.table.proxies.splice(i, 1)
    if (e.table.family === AF_INET6) ndiscProxyListen(e.dev, e.ip, false)
    return ''
  }
  const n = e.table.lookup(e.dev, e.ip)
  if (n === undefined) rtnetlink(ENOENT)
  else deleteEntry(n)
  return ''
}

/** neigh_delete: senders of waiting packets learn that the host is unreachable. */
function deleteEntry(n: Neighbour): void {
  neighUpdate(n.table.ns.world, n, null, NUD_FAILED, NEIGH_UPDATE_F_OVERRIDE | NEIGH_UPDATE_F_ADMIN)
  n.table.remove(n)
}

function get(ns: Netns, args: Args, o: IpOptions): string {
  const e = takeEntry(ns, args)
  const n = e.dev === null || e.ip === null ? undefined : e.table.lookup(e.dev, e.ip)
  if (n === undefined) throw new ToolExit(2, 'RTNETLINK answers: No such file or directory')
  return o.json ? formatJson([entryJson(n, false)], o.pretty) : entryText(n, o, false)
}

interface Filter {
  dev: NetDevice | null
  to: { ip: number; length: number } | null
  to6: { addr: number; length: number } | null
  state: number | null
  proxy: boolean
  master: string | null
}

function takeFilter(ns: Netns, args: Args): Filter {
  const f: Filter = { dev: null, to: null, to6: null, state: null, proxy: false, master: null }
  while (!args.done) {
    const word = args.take()
    if (word === 'dev') f.dev = takeDevice(ns, args.take())
    else if (word === 'master') f.master = args.take()
    else if (word === 'nomaster' || word === 'unused' || word === 'vrf') unmodelled(`ip neigh show ${word}`)
    else if (word === 'nud') {
      const state = nudState(args.take())
      f.state = (f.state ?? 0) | state
    } else if (word === 'proxy') f.proxy = true
    else if (word !== 'all' && word !== 'any') {
      const text = word === 'to' ? args.take() : word
      if (isInet6(text)) f.to6 = takePrefix6(ns, text)
      else f.to = takePrefix(text)
    }
  }
  return f
}

function fits(f: Filter, n: Neighbour, hidden: number): boolean {
  if (f.dev !== null && n.dev !== f.dev) return false
  if (f.master !== null && n.dev.port?.bridge.dev.name !== f.master) return false
  const six = n.table.family === AF_INET6
  if (f.to !== null && (six || ((n.ip ^ f.to.ip) & ipv4Mask(f.to.length)) !== 0)) return false
  if (f.to6 !== null && (!six || !n.table.ns.world.in6.prefixEqual(n.ip, f.to6.addr, f.to6.length))) return false
  return f.state === null
    ? n.state !== NUD_NONE && (n.state & hidden) === 0
    : (n.state & f.state) !== 0 || f.state === ALL
}

/** The tables that are meant: both without a family. */
function tables(ns: Netns, o: IpOptions): NeighTable[] {
  if (o.family === '') return [ns.neigh, ns.nd]
  return [o.family === 'inet6' ? ns.nd : ns.neigh]
}

function flush(ns: Netns, args: Args, o: IpOptions): string {
  if (args.done) throw new ToolExit(255, 'Flush requires arguments.')
  const f = takeFilter(ns, args)
  for (const t of tables(ns, o)) {
    for (const n of t.list()) if (fits(f, n, NUD_PERMANENT | NUD_NOARP)) deleteEntry(n)
  }
  return ''
}

function show(ns: Netns, args: Args, o: IpOptions): string {
  const f = takeFilter(ns, args)
  const wanted = tables(ns, o)
  if (f.proxy) {
    const list = wanted.flatMap((t) =>
      t.proxies.filter((p) => f.dev === null || p.dev === f.dev).map((p) => ({ dst: ipText(t, p.ip), dev: p.dev })),
    )
    if (o.json)
      return formatJson(
        list.map((p) => ({ dst: p.dst, dev: p.dev.name, proxy: null })),
        o.pretty,
      )
    return list.map((p) => `${p.dst} ${f.dev === null ? `dev ${p.dev.name} ` : ''}proxy \n`).join('')
  }
  const list = wanted.flatMap((t) => t.list()).filter((n) => fits(f, n, NUD_NOARP))
  if (o.json)
    return formatJson(
      list.map((n) => entryJson(n, f.dev !== null)),
      o.pretty,
    )
  return list.map((n) => entryText(n, o, f.dev !== null)).join('')
}

/** The state's words: several bits never stand together in a live entry. */
function stateNames(state: number): string[] {
  return STATES.filter(([bit]) => (state & bit) !== 0).map(([, name]) => name)
}

function lladdr(n: Neighbour): string | null {
  return (n.state & NUD_VALID) === 0 ? null : formatMac({ hi: n.macHi, lo: n.macLo })
}

function ages(n: Neighbour): readonly [number, number, number] {
  const now = n.dev.ns.world.nowNs
  const s = (at: number): number => Math.floor((now - at) / NS_PER_S)
  return [s(n.usedNs), s(n.confirmedNs), s(n.updatedNs)]
}

function entryText(n: Neighbour, o: IpOptions, hideDev: boolean): string {
  const mac = lladdr(n)
  let t = `${ipText(n.table, n.ip)} ${hideDev ? '' : `dev ${n.dev.name} `}${mac === null ? '' : `lladdr ${mac} `}`
  if (o.stats > 0) t += `used ${ages(n).join('/')} probes ${n.probes} `
  if (n.isRouter) t += 'router '
  if (n.externLearn) t += 'extern_learn '
  return `${t}${stateNames(n.state).join(' ')} \n`
}

function entryJson(n: Neighbour, hideDev: boolean): JsonValue {
  const mac = lladdr(n)
  return {
    dst: ipText(n.table, n.ip),
    ...(hideDev ? {} : { dev: n.dev.name }),
    ...(mac === null ? {} : { lladdr: mac }),
    ...(n.isRouter ? { router: null } : {}),
    ...(n.externLearn ? { extern_learn: null } : {}),
    state: stateNames(n.state),
  }
}
