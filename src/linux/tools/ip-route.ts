/**
 * `ip route`: add, append, prepend, replace, change, del, show, flush; `get` is in ip-route-get.ts.
 *
 * IPv6 routes are in ip-route6.ts. Not modelled, and said so: nexthop objects, encapsulation, realms, `save` and `restore`.
 *
 * Source: iproute2 ip/iproute.c (iproute_modify, iproute_list_flush_or_save); net/ipv4/fib_semantics.c and fib_trie.c for
 * the kernel's messages.
 */
import { ipv4Mask } from '../../addr/ipv4.ts'
import type { NetDevice } from '../device/device.ts'
import { ENETDOWN, ENETUNREACH } from '../errno.ts'
import type { Netns } from '../netns.ts'
import type { RouteMode } from '../route/fib.ts'
import type { FibRoute, NexthopSpec, RouteSpec } from '../route/fib-route.ts'
import { inetAddrType } from '../route/route.ts'
import {
  RT_TABLE_LOCAL,
  RT_TABLE_MAIN,
  RTN_ANYCAST,
  RTN_BROADCAST,
  RTN_LOCAL,
  RTN_NAMES,
  RTNH_F_DEAD,
} from '../route/rtn.ts'
import { takeScope } from './ip-addr.ts'
import {
  type Args,
  type IpOptions,
  invarg,
  isInet6,
  matches,
  takeAddress,
  takeDevice,
  takeNumber,
  takePrefix,
} from './ip-args.ts'
import { formatJson } from './ip-json.ts'
import { dsfieldNumber, protocolNumber, tableNumber } from './ip-names.ts'
import { ipRouteGet } from './ip-route-get.ts'
import { type Hidden, routeJson, routeText } from './ip-route-show.ts'
import { ipRoute6 } from './ip-route6.ts'
import { rtnetlink, ToolExit, unmodelled } from './result.ts'

const MODES: readonly (readonly [string, RouteMode])[] = [
  ['add', 'add'],
  ['change', 'change'],
  ['chg', 'change'],
  ['replace', 'replace'],
  ['prepend', 'prepend'],
  ['append', 'append'],
]
const REFUSED = ['encap', 'nhid', 'realms', 'as', 'pref', 'expires', 'ttl-propagate', 'fastopen_no_cookie']
/** Metrics that Linux keeps and nothing here uses yet. */
const OTHER_METRICS = [
  'hoplimit',
  'rtt',
  'rttvar',
  'window',
  'cwnd',
  'initcwnd',
  'initrwnd',
  'ssthresh',
  'reordering',
  'rto_min',
  'quickack',
  'features',
  'congctl',
]

/** Runs `ip route ...`. */
export function ipRoute(ns: Netns, args: Args, o: IpOptions): string {
  if (o.family === 'inet6' || (o.family === '' && args.rest().some(isInet6))) return ipRoute6(ns, args, o)
  if (args.done) return show(ns, args, o)
  const word = args.take()
  const mode = MODES.find(([name]) => matches(word, name))
  if (matches(word, 'list') || matches(word, 'show') || matches(word, 'lst')) return show(ns, args, o)
  if (matches(word, 'get')) return ipRouteGet(ns, args, o)
  if (mode !== undefined) return modify(ns, args, mode[1])
  if (matches(word, 'delete')) return modify(ns, args, null)
  if (matches(word, 'flush')) return flush(ns, args)
  if (matches(word, 'save') || matches(word, 'restore') || matches(word, 'showdump') || matches(word, 'test'))
    unmodelled(`ip route ${word}`)
  throw new ToolExit(255, `Command "${word}" is unknown, try "ip route help".`)
}

function routeType(word: string): number {
  const i = RTN_NAMES.indexOf(word)
  return i > 0 ? i : -1
}

function takeTable(word: string): number {
  const n = tableNumber(word)
  if (n < 0) invarg('"table" value is invalid\n', word)
  return n
}

function takeProtocol(word: string): number {
  const n = protocolNumber(word)
  if (n < 0) invarg('"protocol" value is invalid\n', word)
  return n
}

function takeTos(word: string): number {
  const n = dsfieldNumber(word)
  if (n < 0) invarg('"tos" value is invalid\n', word)
  return n
}

interface Draft {
  dst: { ip: number; length: number } | null
  type: number | null
  tos: number | null
  table: number | null
  metric: number | null
  scope: number | null
  protocol: number | null
  prefsrc: number | null
  mtu: number | null
  mtuLocked: boolean
  advmss: number | null
  via: number | null
  dev: NetDevice | null
  devName: string | null
  onlink: boolean
  nexthops: NexthopSpec[]
}

/** `via [inet] ADDRESS` */
function takeVia(args: Args): number {
  let word = args.take()
  if (word === 'inet') word = args.take()
  if (word === 'inet6' || word.includes(':')) unmodelled('IPv6 gateways')
  return takeAddress(word)
}

function takeRoute(ns: Netns, args: Args): Draft {
  const d: Draft = {
    dst: null,
    type: null,
    tos: null,
    table: null,
    metric: null,
    scope: null,
    protocol: null,
    prefsrc: null,
    mtu: null,
    mtuLocked: false,
    advmss: null,
    via: null,
    dev: null,
    devName: null,
    onlink: false,
    nexthops: [],
  }
  while (!args.done) {
    const word = args.take()
    if (word === 'src') d.prefsrc = takeAddress(args.take())
    else if (word === 'via') d.via = takeVia(args)
    else if (word === 'from') unmodelled('ip route ... from')
    else if (word === 'tos' || matches(word, 'dsfield')) d.tos = takeTos(args.take())
    else if (word === 'metric' || matches(word, 'priority') || word === 'preference')
      d.metric = takeNumber(args.take(), 0xffffffff, '"metric" value is invalid\n')
    else if (word === 'scope') d.scope = takeScope(args.take())
    else if (word === 'mtu') {
      d.mtuLocked = args.accept('lock')
      d.mtu = takeNumber(args.take(), 0xffffffff, '"mtu" value is invalid\n')
    } else if (word === 'advmss') {
      args.accept('lock')
      d.advmss = takeNumber(args.take(), 0xffffffff, '"mss" value is invalid\n')
    } else if (word === 'onlink') d.onlink = true
    else if (word === 'nexthop') takeNexthops(ns, args, d)
    else if (matches(word, 'protocol')) d.protocol = takeProtocol(args.take())
    else if (matches(word, 'table')) d.table = takeTable(args.take())
    else if (word === 'dev' || word === 'oif') d.devName = args.take()
    else if (REFUSED.includes(word) || OTHER_METRICS.includes(word)) unmodelled(`ip route ... ${word}`)
    else {
      let text = word === 'to' ? args.take() : word
      const type = routeType(text)
      if (type > 0) {
        d.type = type
        text = args.take()
      }
      if (text.includes(':')) unmodelled('IPv6 routes')
      if (d.dst !== null) throw new ToolExit(255, `Error: either "to" is duplicate, or "${text}" is a garbage.`)
      d.dst = takePrefix(text)
    }
  }
  if (d.devName !== null) d.dev = takeDevice(ns, d.devName)
  return d
}

function takeNexthops(ns: Netns, args: Args, d: Draft): void {
  let nh: { via?: number; dev?: NetDevice; weight?: number; onlink?: boolean } = {}
  while (!args.done) {
    const word = args.take()
    if (word === 'nexthop') {
      d.nexthops.push(nh)
      nh = {}
    } else if (word === 'via') nh.via = takeVia(args)
    else if (word === 'dev') nh.dev = takeDevice(ns, args.take())
    else if (word === 'weight') {
      const weight = takeNumber(args.take(), 256, '"weight" is invalid\n')
      if (weight === 0) invarg('"weight" is invalid\n', '0')
      nh.weight = weight
    } else if (word === 'onlink') nh.onlink = true
    else unmodelled(`ip route ... nexthop ... ${word}`)
  }
  d.nexthops.push(nh)
}

function modify(ns: Netns, args: Args, mode: RouteMode | null): string {
  const d = takeRoute(ns, args)
  const dst = d.dst ?? { ip: 0, length: 0 }
  const local = d.type === RTN_LOCAL || d.type === RTN_BROADCAST || d.type === RTN_ANYCAST
  const single: NexthopSpec[] =
    d.via === null && d.dev === null
      ? []
      : [
          {
            ...(d.via === null ? {} : { via: d.via }),
            ...(d.dev === null ? {} : { dev: d.dev }),
            ...(d.onlink ? { onlink: true } : {}),
          },
        ]
  const spec: RouteSpec = {
    dst: dst.ip,
    prefixLength: dst.length,
    ...(d.tos === null ? {} : { tos: d.tos }),
    ...(d.type === null ? {} : { type: d.type }),
    table: d.table ?? (local ? RT_TABLE_LOCAL : RT_TABLE_MAIN),
    ...(d.metric === null ? {} : { metric: d.metric }),
    ...(d.scope === null ? {} : { scope: d.scope }),
    ...(d.protocol === null ? {} : { protocol: d.protocol }),
    ...(d.prefsrc === null ? {} : { prefsrc: d.prefsrc }),
    ...(d.mtu === null ? {} : { mtu: d.mtu, mtuLocked: d.mtuLocked }),
    ...(d.advmss === null ? {} : { advmss: d.advmss }),
    ...(d.nexthops.length > 0 ? { nexthops: d.nexthops } : single.length > 0 ? { nexthops: single } : {}),
  }
  if ((dst.ip & ~ipv4Mask(dst.length)) !== 0) throw new ToolExit(2, 'Error: Invalid prefix for given prefix length.')
  if (mode === null) {
    rtnetlink(ns.fib.delRoute(spec))
    return ''
  }
  if (d.prefsrc !== null && inetAddrType(ns, d.prefsrc) !== RTN_LOCAL)
    throw new ToolExit(2, 'Error: Invalid prefsrc address.')
  const err = ns.fib.addRoute(spec, mode)
  if (err === ENETUNREACH) throw new ToolExit(2, 'Error: Nexthop has invalid gateway.')
  if (err === ENETDOWN) throw new ToolExit(2, 'Error: Device for nexthop is not up.')
  rtnetlink(err)
  return ''
}

/** Which routes `show` and `flush` mean. */
interface Filter {
  /** null: all tables. */
  table: number | null
  cache: boolean
  dev: NetDevice | null
  via: number | null
  protocol: number | null
  scope: number | null
  type: number | null
  tos: number | null
  src: number | null
  root: { ip: number; length: number } | null
  match: { ip: number; length: number } | null
}

function takeFilter(ns: Netns, args: Args): Filter {
  const f: Filter = {
    table: RT_TABLE_MAIN,
    cache: false,
    dev: null,
    via: null,
    protocol: null,
    scope: null,
    type: null,
    tos: null,
    src: null,
    root: null,
    match: null,
  }
  while (!args.done) {
    const word = args.take()
    if (matches(word, 'table')) {
      const text = args.take()
      if (matches(text, 'cache')) f.cache = true
      else if (text === 'all') f.table = null
      else f.table = takeTable(text)
    } else if (matches(word, 'cached') || matches(word, 'cloned')) f.cache = true
    else if (word === 'tos' || matches(word, 'dsfield')) f.tos = takeTos(args.take())
    else if (matches(word, 'protocol')) {
      const text = args.take()
      f.protocol = text === 'all' ? null : takeProtocol(text)
    } else if (matches(word, 'scope')) {
      const text = args.take()
      f.scope = text === 'all' ? null : takeScope(text)
    } else if (matches(word, 'type')) {
      const text = args.take()
      f.type = routeType(text)
      if (f.type < 0) invarg('"type" value is invalid\n', text)
    } else if (word === 'dev' || word === 'oif') f.dev = takeDevice(ns, args.take())
    else if (word === 'via') f.via = takeVia(args)
    else if (word === 'src') f.src = takeAddress(args.take())
    else if (word === 'iif' || word === 'mark' || matches(word, 'realms') || matches(word, 'from') || word === 'nhid')
      unmodelled(`ip route show ${word}`)
    else takeSelector(f, word === 'to' ? args.take() : word, args)
  }
  return f
}

function takeSelector(f: Filter, word: string, args: Args): void {
  if (word === 'root') f.root = takePrefix(args.take())
  else if (word === 'match') f.match = takePrefix(args.take())
  else {
    const text = word === 'exact' ? args.take() : word
    if (text.includes(':')) unmodelled('IPv6 routes')
    f.root = takePrefix(text)
    f.match = f.root
  }
}

function fits(f: Filter, r: FibRoute): boolean {
  if (f.dev !== null && (r.nexthops.length !== 1 || r.nexthops[0]!.dev !== f.dev)) return false
  if (f.via !== null && (r.nexthops.length !== 1 || !r.nexthops[0]!.hasGateway || r.nexthops[0]!.gateway !== f.via))
    return false
  if (f.protocol !== null && r.protocol !== f.protocol) return false
  if (f.scope !== null && r.scope !== f.scope) return false
  if (f.type !== null && r.type !== f.type) return false
  if (f.tos !== null && r.tos !== f.tos) return false
  if (f.src !== null && r.prefsrc !== f.src) return false
  if (f.root !== null && (r.prefixLength < f.root.length || ((r.dst ^ f.root.ip) & ipv4Mask(f.root.length)) !== 0))
    return false
  return (
    f.match === null || (r.prefixLength <= f.match.length && ((r.dst ^ f.match.ip) & ipv4Mask(r.prefixLength)) === 0)
  )
}

/** Routes of the wanted tables in the order in which the kernel dumps them (fib tables by hash bucket). */
function routesOf(ns: Netns, f: Filter): FibRoute[] {
  if (f.cache) return []
  const tables = f.table === null ? [...ns.fib.tableIds()].sort((a, b) => (a & 255) - (b & 255) || a - b) : [f.table]
  return tables.flatMap((id) => ns.fib.routes(id)).filter((r) => fits(f, r) && (r.flags & RTNH_F_DEAD) === 0)
}

function show(ns: Netns, args: Args, o: IpOptions): string {
  const f = takeFilter(ns, args)
  if (
    f.table !== null &&
    f.table !== RT_TABLE_MAIN &&
    f.table !== RT_TABLE_LOCAL &&
    !ns.fib.tableIds().includes(f.table)
  ) {
    throw new ToolExit(2, 'Error: ipv4: FIB table does not exist.\nDump terminated')
  }
  const hide: Hidden = {
    table: f.table !== null,
    dev: f.dev !== null,
    via: f.via !== null,
    protocol: f.protocol !== null,
    scope: f.scope !== null,
    tos: f.tos !== null,
  }
  const routes = routesOf(ns, f)
  if (o.json)
    return formatJson(
      routes.map((r) => routeJson(r, o, hide)),
      o.pretty,
    )
  return routes.map((r) => routeText(r, o, hide)).join('')
}

function flush(ns: Netns, args: Args): string {
  if (args.done) throw new ToolExit(255, '"ip route flush" requires arguments.')
  const f = takeFlushFilter(ns, args)
  if (f.cache) {
    ns.fib.flushExceptions()
    return ''
  }
  for (const r of routesOf(ns, f)) {
    ns.fib.delRoute({
      dst: r.dst,
      prefixLength: r.prefixLength,
      tos: r.tos,
      type: r.type,
      table: r.table,
      metric: r.metric,
      scope: r.scope,
      protocol: r.protocol,
      ...(r.prefsrc === 0 ? {} : { prefsrc: r.prefsrc }),
      nexthops: r.nexthops.map((nh) => ({
        ...(nh.dev === null ? {} : { dev: nh.dev }),
        ...(nh.hasGateway ? { via: nh.gateway } : {}),
      })),
    })
  }
  return ''
}

/** `ip route flush cache`: `cache` stands where a table or selector would. */
function takeFlushFilter(ns: Netns, args: Args): Filter {
  const word = args.peek()
  if (word === 'cache') {
    args.take()
    return { ...takeFilter(ns, args), cache: true }
  }
  return takeFilter(ns, args)
}
