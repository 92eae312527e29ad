/**
 * `ip -6 route`: add, append, replace, change, del, show, flush.
 *
 * Source: iproute2 6.1 ip/iproute.c (iproute_modify, print_route); net/ipv6/route.c for the kernel's messages. Not
 * modelled, and said so: `from` prefixes, nexthop objects, encapsulation, expiry, router preferences other than medium.
 */
import type { NetDevice } from '../device/device.ts'
import { EHOSTUNREACH, EINVAL, ENETDOWN, ENODEV } from '../errno.ts'
import { ipv6ChkAddr } from '../ipv6/addrconf.ts'
import { type Fib6Nh, type Fib6Route, type Nexthop6Spec, RT6_TABLE_LOCAL, RT6_TABLE_MAIN } from '../ipv6/fib6-route.ts'
import type { Route6Mode } from '../ipv6/fib6-table.ts'
import type { Netns } from '../netns.ts'
import {
  RTN_ANYCAST,
  RTN_LOCAL,
  RTN_NAMES,
  RTN_UNICAST,
  RTNH_F_DEAD,
  RTNH_F_LINKDOWN,
  RTNH_F_ONLINK,
  RTPROT_BOOT,
} from '../route/rtn.ts'
import {
  type Args,
  type IpOptions,
  invarg,
  matches,
  takeAddress6,
  takeDevice,
  takeNumber,
  takePrefix6,
} from './ip-args.ts'
import { formatJson, type JsonValue } from './ip-json.ts'
import { protocolName, protocolNumber, tableName, tableNumber } from './ip-names.ts'
import { ipRoute6Get } from './ip-route6-get.ts'
import { rtnetlink, ToolExit, unmodelled } from './result.ts'

const MODES: readonly (readonly [string, Route6Mode])[] = [
  ['add', 'add'],
  ['change', 'change'],
  ['chg', 'change'],
  ['replace', 'replace'],
  ['prepend', 'prepend'],
  ['append', 'append'],
]
const REFUSED = ['encap', 'nhid', 'realms', 'as', 'expires', 'ttl-propagate', 'from', 'tos', 'dsfield']

/** Runs `ip -6 route ...`. */
export function ipRoute6(ns: Netns, args: Args, o: IpOptions): string {
  if (args.done) return show(ns, args, o)
  const word = args.take()
  const mode = MODES.find(([name]) => matches(word, name))
  if (matches(word, 'list') || matches(word, 'show') || matches(word, 'lst')) return show(ns, args, o)
  if (matches(word, 'get')) return ipRoute6Get(ns, args, o)
  if (mode !== undefined) return modify(ns, args, mode[1])
  if (matches(word, 'delete')) return modify(ns, args, null)
  if (matches(word, 'flush')) return flush(ns, args)
  if (matches(word, 'save') || matches(word, 'restore') || matches(word, 'showdump') || matches(word, 'test'))
    unmodelled(`ip -6 route ${word}`)
  throw new ToolExit(255, `Command "${word}" is unknown, try "ip route help".`)
}

interface Draft {
  dst: { addr: number; length: number } | null
  type: number | null
  table: number | null
  metric: number | null
  protocol: number | null
  prefsrc: number | null
  mtu: number | null
  mtuLocked: boolean
  advmss: number | null
  hoplimit: number | null
  via: number | null
  dev: NetDevice | null
  onlink: boolean
  nexthops: Nexthop6Spec[]
}

function takeVia(ns: Netns, args: Args): number {
  let word = args.take()
  if (word === 'inet6') word = args.take()
  return takeAddress6(ns, word)
}

function named(number: (word: string) => number, what: string, word: string): number {
  const n = number(word)
  if (n < 0) invarg(`"${what}" value is invalid\n`, word)
  return n
}

function takeRoute(ns: Netns, args: Args): Draft {
  const d: Draft = {
    dst: null,
    type: null,
    table: null,
    metric: null,
    protocol: null,
    prefsrc: null,
    mtu: null,
    mtuLocked: false,
    advmss: null,
    hoplimit: null,
    via: null,
    dev: null,
    onlink: false,
    nexthops: [],
  }
  let devName: string | null = null
  while (!args.done) {
    const word = args.take()
    if (word === 'src') d.prefsrc = takeAddress6(ns, args.take())
    else if (word === 'via') d.via = takeVia(ns, args)
    else if (word === 'metric' || matches(word, 'priority') || word === 'preference')
      d.metric = takeNumber(args.take(), 0xffffffff, '"metric" value is invalid\n')
    else if (word === 'scope') args.take()
    else if (word === 'pref') {
      if (args.take() !== 'medium') unmodelled('ip -6 route ... pref')
    } else if (word === 'mtu') {
      d.mtuLocked = args.accept('lock')
      d.mtu = takeNumber(args.take(), 0xffffffff, '"mtu" value is invalid\n')
    } else if (word === 'advmss') {
      args.accept('lock')
      d.advmss = takeNumber(args.take(), 0xffffffff, '"mss" value is invalid\n')
    } else if (word === 'hoplimit') d.hoplimit = takeNumber(args.take(), 255, '"hoplimit" value is invalid\n')
    else if (word === 'onlink') d.onlink = true
    else if (word === 'nexthop') takeNexthops(ns, args, d)
    else if (matches(word, 'protocol')) d.protocol = named(protocolNumber, 'protocol', args.take())
    else if (matches(word, 'table')) d.table = named(tableNumber, 'table', args.take())
    else if (word === 'dev' || word === 'oif') devName = args.take()
    else if (REFUSED.includes(word)) unmodelled(`ip -6 route ... ${word}`)
    else {
      let text = word === 'to' ? args.take() : word
      const type = RTN_NAMES.indexOf(text)
      if (type > 0) {
        d.type = type
        text = args.take()
      }
      if (d.dst !== null) throw new ToolExit(255, `Error: either "to" is duplicate, or "${text}" is a garbage.`)
      d.dst = takePrefix6(ns, text)
    }
  }
  if (devName !== null) d.dev = takeDevice(ns, devName)
  return d
}

function takeNexthops(ns: Netns, args: Args, d: Draft): void {
  let nh: { via?: number; dev?: NetDevice; weight?: number; onlink?: boolean } = {}
  while (!args.done) {
    const word = args.take()
    if (word === 'nexthop') {
      d.nexthops.push(nh)
      nh = {}
    } else if (word === 'via') nh.via = takeVia(ns, args)
    else if (word === 'dev') nh.dev = takeDevice(ns, args.take())
    else if (word === 'weight') {
      const weight = takeNumber(args.take(), 256, '"weight" is invalid\n')
      if (weight === 0) invarg('"weight" is invalid\n', '0')
      nh.weight = weight
    } else if (word === 'onlink') nh.onlink = true
    else unmodelled(`ip -6 route ... nexthop ... ${word}`)
  }
  d.nexthops.push(nh)
}

function modify(ns: Netns, args: Args, mode: Route6Mode | null): string {
  const d = takeRoute(ns, args)
  const dst = d.dst ?? { addr: 0, length: 0 }
  const single: Nexthop6Spec[] =
    d.via === null && d.dev === null
      ? []
      : [
          {
            ...(d.via === null ? {} : { via: d.via }),
            ...(d.dev === null ? {} : { dev: d.dev }),
            ...(d.onlink ? { onlink: true } : {}),
          },
        ]
  const own = d.type === RTN_LOCAL || d.type === RTN_ANYCAST
  const spec = {
    dst: ns.world.in6.prefix(dst.addr, dst.length),
    prefixLength: dst.length,
    ...(d.type === null ? {} : { type: d.type }),
    table: d.table ?? (own ? RT6_TABLE_LOCAL : RT6_TABLE_MAIN),
    ...(d.metric === null ? {} : { metric: d.metric === 0 ? 1024 : d.metric }),
    ...(d.protocol === null ? {} : { protocol: d.protocol }),
    ...(d.prefsrc === null ? {} : { prefsrc: d.prefsrc }),
    ...(d.mtu === null ? {} : { mtu: d.mtu, mtuLocked: d.mtuLocked }),
    ...(d.advmss === null ? {} : { advmss: d.advmss }),
    ...(d.hoplimit === null ? {} : { hoplimit: d.hoplimit }),
    nexthops: d.nexthops.length > 0 ? d.nexthops : single,
  }
  if (mode === null) {
    rtnetlink(ns.fib6.delRoute(spec))
    return ''
  }
  const via = spec.nexthops.find((n) => n.via !== undefined)?.via
  const err = ns.fib6.addRoute(spec, mode)
  if (err === EINVAL) explain(ns, spec.prefsrc, via, spec.nexthops)
  if (err === ENODEV && via === undefined) throw new ToolExit(2, 'RTNETLINK answers: No such device')
  if (err === ENETDOWN) throw new ToolExit(2, 'Error: Nexthop device is not up.')
  if (err === EHOSTUNREACH) rtnetlink(err)
  rtnetlink(err)
  return ''
}

/** Which of its EINVALs the kernel means. */
function explain(ns: Netns, prefsrc: number | undefined, via: number | undefined, list: readonly Nexthop6Spec[]): void {
  if (via !== undefined && ipv6ChkAddr(ns, via, null))
    throw new ToolExit(2, 'Error: Gateway can not be a local address.')
  if (via !== undefined && list.every((n) => n.dev === undefined)) {
    throw new ToolExit(2, 'Error: Egress device not specified.')
  }
  if (prefsrc !== undefined) throw new ToolExit(2, 'Error: Invalid source address.')
}

interface Filter {
  /** null: all tables. */
  table: number | null
  dev: NetDevice | null
  via: number | null
  protocol: number | null
  type: number | null
  metric: number | null
  cache: boolean
  root: { addr: number; length: number } | null
  match: { addr: number; length: number } | null
}

function takeFilter(ns: Netns, args: Args): Filter {
  const f: Filter = {
    table: RT6_TABLE_MAIN,
    dev: null,
    via: null,
    protocol: null,
    type: null,
    metric: null,
    cache: false,
    root: null,
    match: null,
  }
  while (!args.done) {
    const word = args.take()
    if (matches(word, 'table')) {
      const text = args.take()
      if (matches(text, 'cache')) f.cache = true
      else f.table = text === 'all' ? null : named(tableNumber, 'table', text)
    } else if (matches(word, 'cached') || matches(word, 'cloned') || word === 'cache') f.cache = true
    else if (matches(word, 'protocol')) {
      const text = args.take()
      f.protocol = text === 'all' ? null : named(protocolNumber, 'protocol', text)
    } else if (matches(word, 'type')) f.type = RTN_NAMES.indexOf(args.take())
    else if (word === 'metric') f.metric = takeNumber(args.take(), 0xffffffff, '"metric" value is invalid\n')
    else if (word === 'dev' || word === 'oif') f.dev = takeDevice(ns, args.take())
    else if (word === 'via') f.via = takeVia(ns, args)
    else if (word === 'scope') args.take()
    else {
      const text = word === 'to' ? args.take() : word
      if (text === 'root') f.root = takePrefix6(ns, args.take())
      else if (text === 'match') f.match = takePrefix6(ns, args.take())
      else {
        f.root = takePrefix6(ns, text === 'exact' ? args.take() : text)
        f.match = f.root
      }
    }
  }
  return f
}

function fits(ns: Netns, f: Filter, r: Fib6Route): boolean {
  const in6 = ns.world.in6
  // RTA_OIF and RTA_GATEWAY of a multipath route stand in its nexthops, where no filter looks
  const single = r.nexthops.length === 1 ? r.nexthops[0]! : null
  if (f.dev !== null && single?.dev !== f.dev) return false
  if (f.via !== null && single?.gateway !== f.via) return false
  if (f.protocol !== null && r.protocol !== f.protocol) return false
  if (f.type !== null && r.type !== f.type) return false
  if (f.metric !== null && r.metric !== f.metric) return false
  if (f.root !== null && (r.prefixLength < f.root.length || !in6.prefixEqual(r.dst, f.root.addr, f.root.length))) {
    return false
  }
  return f.match === null || (r.prefixLength <= f.match.length && in6.prefixEqual(r.dst, f.match.addr, r.prefixLength))
}

/** Tables in the order in which the kernel dumps them: hash buckets, local last. */
function routesOf(ns: Netns, f: Filter): Fib6Route[] {
  if (f.cache) return []
  const ids = f.table === null ? ns.fib6.tableIds().sort((a, b) => (a & 255) - (b & 255) || a - b) : [f.table]
  return ids.flatMap((id) => ns.fib6.table(id)?.all() ?? []).filter((r) => fits(ns, f, r))
}

function show(ns: Netns, args: Args, o: IpOptions): string {
  const f = takeFilter(ns, args)
  if (f.table !== null && !ns.fib6.tableIds().includes(f.table)) {
    throw new ToolExit(2, 'Error: ipv6: FIB table does not exist.\nDump terminated')
  }
  const routes = routesOf(ns, f)
  if (o.json)
    return formatJson(
      routes.map((r) => routeJson(ns, r, f, o)),
      o.pretty,
    )
  return routes.map((r) => routeText(ns, r, f, o)).join('')
}

function flush(ns: Netns, args: Args): string {
  if (args.done) throw new ToolExit(255, '"ip route flush" requires arguments.')
  const f = takeFilter(ns, args)
  if (f.cache) {
    for (const id of ns.fib6.tableIds()) {
      for (const r of ns.fib6.table(id)!.all()) for (const nh of r.nexthops) nh.exceptions = null
    }
    ns.fib6.flushCache()
    return ''
  }
  for (const r of routesOf(ns, f)) ns.fib6.remove(r)
  return ''
}

/** `2001:db8::/32`, `2001:db8::1` for a host, `default`. */
export function prefix6Text(ns: Netns, addr: number, length: number): string {
  if (length === 128) return ns.world.in6.text(addr)
  return length === 0 ? 'default' : `${ns.world.in6.text(addr)}/${length}`
}

function flagWords(flags: number): string[] {
  const out: string[] = []
  if ((flags & RTNH_F_DEAD) !== 0) out.push('dead')
  if ((flags & RTNH_F_ONLINK) !== 0) out.push('onlink')
  if ((flags & RTNH_F_LINKDOWN) !== 0) out.push('linkdown')
  return out
}

/** The metrics of a route, each with its blank. */
export function metrics6Text(r: Fib6Route): string {
  let t = ''
  if (r.mtu !== 0) t += `mtu ${r.mtuLocked ? 'lock ' : ''}${r.mtu} `
  if (r.advmss !== 0) t += `advmss ${r.advmss} `
  if (r.hoplimit !== 0) t += `hoplimit ${r.hoplimit} `
  return t
}

function nexthopText(ns: Netns, nh: Fib6Nh, hideVia: boolean, hideDev: boolean): string {
  const via = nh.gateway !== 0 && !hideVia ? `via ${ns.world.in6.text(nh.gateway)} ` : ''
  return via + (nh.dev !== null && !hideDev ? `dev ${nh.dev.name} ` : '')
}

function routeText(ns: Netns, r: Fib6Route, f: Filter, o: IpOptions): string {
  const single = r.nexthops.length === 1 ? r.nexthops[0]! : null
  let t = ''
  if (r.type !== RTN_UNICAST || o.details) t += `${RTN_NAMES[r.type] ?? String(r.type)} `
  t += `${prefix6Text(ns, r.dst, r.prefixLength)} `
  if (single !== null) t += nexthopText(ns, single, f.via !== null, f.dev !== null)
  if ((r.table !== RT6_TABLE_MAIN || o.details) && f.table === null) t += `table ${tableName(r.table)} `
  if ((r.protocol !== RTPROT_BOOT || o.details) && f.protocol === null) t += `proto ${protocolName(r.protocol)} `
  if (o.details) t += 'scope global '
  if (r.prefsrc !== 0) t += `src ${ns.world.in6.text(r.prefsrc)} `
  if (f.metric === null) t += `metric ${r.metric} `
  if (single !== null)
    t += flagWords(single.flags)
      .map((w) => `${w} `)
      .join('')
  t += `${metrics6Text(r)}pref medium`
  if (r.nexthops.length > 1) {
    for (const nh of r.nexthops) {
      t += `${o.oneline ? '\\' : '\n'}\tnexthop ${nexthopText(ns, nh, false, false)}weight ${nh.weight} `
      t += flagWords(nh.flags)
        .map((w) => `${w} `)
        .join('')
    }
  }
  return `${t}\n`
}

function routeJson(ns: Netns, r: Fib6Route, f: Filter, o: IpOptions): JsonValue {
  const single = r.nexthops.length === 1 ? r.nexthops[0]! : null
  const metrics = {
    ...(r.mtu === 0 ? {} : { mtu: r.mtu }),
    ...(r.advmss === 0 ? {} : { advmss: r.advmss }),
    ...(r.hoplimit === 0 ? {} : { hoplimit: r.hoplimit }),
  }
  return {
    ...(r.type !== RTN_UNICAST || o.details ? { type: RTN_NAMES[r.type] ?? String(r.type) } : {}),
    dst: prefix6Text(ns, r.dst, r.prefixLength),
    ...(single === null ? {} : nexthopJson(ns, single)),
    ...((r.table !== RT6_TABLE_MAIN || o.details) && f.table === null ? { table: tableName(r.table) } : {}),
    ...((r.protocol !== RTPROT_BOOT || o.details) && f.protocol === null ? { protocol: protocolName(r.protocol) } : {}),
    ...(o.details ? { scope: 'global' } : {}),
    ...(r.prefsrc === 0 ? {} : { prefsrc: ns.world.in6.text(r.prefsrc) }),
    metric: r.metric,
    flags: single === null ? [] : flagWords(single.flags),
    ...(Object.keys(metrics).length === 0 ? {} : { metrics: [metrics] }),
    pref: 'medium',
    ...(single !== null
      ? {}
      : {
          nexthops: r.nexthops.map((nh) => ({
            ...nexthopJson(ns, nh),
            weight: nh.weight,
            flags: flagWords(nh.flags),
          })),
        }),
  }
}

function nexthopJson(ns: Netns, nh: Fib6Nh): { [name: string]: JsonValue } {
  return {
    ...(nh.gateway === 0 ? {} : { gateway: ns.world.in6.text(nh.gateway) }),
    ...(nh.dev === null ? {} : { dev: nh.dev.name }),
  }
}
