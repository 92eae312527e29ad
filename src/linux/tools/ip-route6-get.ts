/**
 * `ip -6 route get`: asks the kernel's lookup and prints the decision.
 *
 * Source: iproute2 6.1 ip/iproute.c (iproute_get), net/ipv6/route.c (inet6_rtm_getroute, rt6_fill_node).
 */
import { ETH_P_IPV6, M_DATA, M_DEV, M_MARK, M_NH, M_PROTO, META_SHIFT } from '../../packet/layout.ts'
import type { NetDevice } from '../device/device.ts'
import { RT6_TABLE_MAIN } from '../ipv6/fib6-route.ts'
import { Flowi6 } from '../ipv6/flow6.ts'
import { ip6RouteInput, ip6RouteOutput } from '../ipv6/route.ts'
import type { Rt6 } from '../ipv6/rt6.ts'
import { ipv6DevGetSaddr } from '../ipv6/saddr.ts'
import type { Netns } from '../netns.ts'
import { RTN_NAMES, RTN_UNICAST, RTPROT_BOOT } from '../route/rtn.ts'
import { type Args, type IpOptions, matches, takeAddress6, takeDevice, takeNumber } from './ip-args.ts'
import { formatJson, type JsonValue } from './ip-json.ts'
import { ipProtocolNumber, protocolName, tableName } from './ip-names.ts'
import { rtnetlink, ToolExit, unmodelled } from './result.ts'

const NS_PER_S = 1_000_000_000

interface Question {
  dst: number | null
  from: number
  iif: NetDevice | null
  oif: NetDevice | null
  mark: number
  proto: number
  sport: number
  dport: number
}

function takeQuestion(ns: Netns, args: Args): Question {
  const q: Question = { dst: null, from: 0, iif: null, oif: null, mark: 0, proto: 0, sport: 0, dport: 0 }
  while (!args.done) {
    const word = args.take()
    if (matches(word, 'from')) q.from = takeAddress6(ns, args.take())
    else if (word === 'iif') q.iif = takeDevice(ns, args.take())
    else if (word === 'mark') q.mark = takeNumber(args.take(), 0xffffffff, 'Invalid mark') | 0
    else if (word === 'oif' || word === 'dev') q.oif = takeDevice(ns, args.take())
    else if (word === 'ipproto') q.proto = Math.max(0, ipProtocolNumber(args.take()))
    else if (word === 'sport') q.sport = takeNumber(args.take(), 65535, 'invalid "sport"')
    else if (word === 'dport') q.dport = takeNumber(args.take(), 65535, 'invalid "dport"')
    else if (['notify', 'connected', 'vrf', 'uid', 'fibmatch', 'tos', 'dsfield'].includes(word))
      unmodelled(`ip -6 route get ${word}`)
    else q.dst = takeAddress6(ns, (word === 'to' ? args.take() : word).replace(/\/128$/, ''))
  }
  return q
}

/** Lends a packet to ip6_route_input: the lookup needs one to hang its decision on. */
function input(ns: Netns, q: Question, dev: NetDevice): Rt6 {
  const w = ns.world
  const slot = w.arena.alloc(40)
  if (slot < 0) throw new ToolExit(2, 'RTNETLINK answers: No buffer space available')
  const m = slot << META_SHIFT
  const nh = w.arena.meta[m + M_DATA]!
  w.arena.bytes.fill(0, nh, nh + 40)
  w.arena.view.setUint8(nh, 0x60)
  w.in6.write(w.arena.view, nh + 8, q.from)
  w.in6.write(w.arena.view, nh + 24, q.dst ?? 0)
  w.arena.meta[m + M_NH] = nh
  w.arena.meta[m + M_DEV] = dev.id
  w.arena.meta[m + M_MARK] = q.mark
  w.arena.meta[m + M_PROTO] = ETH_P_IPV6
  ip6RouteInput(w, ns, slot)
  const rt = w.arena.dst[slot] as Rt6
  w.arena.free(slot)
  return rt
}

/** Runs `ip -6 route get ...`. */
export function ipRoute6Get(ns: Netns, args: Args, o: IpOptions): string {
  const q = takeQuestion(ns, args)
  if (q.dst === null) throw new ToolExit(1, 'need at least a destination address')
  let rt: Rt6
  if (q.iif !== null) rt = input(ns, q, q.iif)
  else {
    const fl = new Flowi6()
    fl.daddr = q.dst
    fl.saddr = q.from
    fl.oif = q.oif === null ? -1 : q.oif.id
    fl.mark = q.mark
    fl.proto = q.proto
    fl.sport = q.sport
    fl.dport = q.dport
    rt = ip6RouteOutput(ns, fl)
  }
  rtnetlink(rt.error)
  return o.json ? formatJson([json(ns, q, rt)], o.pretty) : text(ns, q, rt, o)
}

/** The source that the kernel would take; not told for received packets. */
function source(ns: Netns, q: Question, rt: Rt6): number {
  if (q.iif !== null) return 0
  return rt.route !== null && rt.route.prefsrc !== 0 ? rt.route.prefsrc : ipv6DevGetSaddr(ns, rt.idev, q.dst!, 0)
}

function expires(ns: Netns, rt: Rt6): number {
  return rt.expiresNs === 0 ? 0 : Math.max(0, Math.floor((rt.expiresNs - ns.world.nowNs) / NS_PER_S))
}

function metrics(rt: Rt6): { [name: string]: number } {
  const r = rt.route
  const mtu = rt.pmtu !== 0 ? rt.pmtu : (r?.mtu ?? 0)
  return {
    ...(mtu === 0 ? {} : { mtu }),
    ...(r === null || r.advmss === 0 ? {} : { advmss: r.advmss }),
    ...(r === null || r.hoplimit === 0 ? {} : { hoplimit: r.hoplimit }),
  }
}

function text(ns: Netns, q: Question, rt: Rt6, o: IpOptions): string {
  const in6 = ns.world.in6
  const table = rt.route?.table ?? 0
  const protocol = rt.route?.protocol ?? 0
  const src = source(ns, q, rt)
  let t = rt.type === RTN_UNICAST && !o.details ? '' : `${RTN_NAMES[rt.type] ?? String(rt.type)} `
  t += `${in6.text(q.dst!)} from ${in6.text(q.from)} `
  if (rt.hasGateway) t += `via ${in6.text(rt.gateway)} `
  t += `dev ${rt.dev.name} `
  if (table !== RT6_TABLE_MAIN || o.details) t += `table ${tableName(table)} `
  if (protocol !== RTPROT_BOOT || o.details) t += `proto ${protocolName(protocol)} `
  if (o.details) t += 'scope global '
  if (src !== 0) t += `src ${in6.text(src)} `
  t += `metric ${rt.route?.metric ?? 0} `
  const left = expires(ns, rt)
  if (left > 0) t += `\n    cache expires ${left}sec `
  const locked = rt.pmtu === 0 && rt.route?.mtuLocked === true
  for (const [name, n] of Object.entries(metrics(rt))) t += `${name} ${name === 'mtu' && locked ? 'lock ' : ''}${n} `
  if (q.iif !== null) t += `iif ${q.iif.name} `
  return `${t}pref medium\n`
}

function json(ns: Netns, q: Question, rt: Rt6): JsonValue {
  const in6 = ns.world.in6
  const table = rt.route?.table ?? 0
  const protocol = rt.route?.protocol ?? 0
  const src = source(ns, q, rt)
  const m = metrics(rt)
  return {
    ...(rt.type === RTN_UNICAST ? {} : { type: RTN_NAMES[rt.type] ?? String(rt.type) }),
    dst: in6.text(q.dst!),
    from: in6.text(q.from),
    ...(rt.hasGateway ? { gateway: in6.text(rt.gateway) } : {}),
    dev: rt.dev.name,
    ...(table === RT6_TABLE_MAIN ? {} : { table: tableName(table) }),
    ...(protocol === RTPROT_BOOT ? {} : { protocol: protocolName(protocol) }),
    ...(src === 0 ? {} : { prefsrc: in6.text(src) }),
    metric: rt.route?.metric ?? 0,
    flags: [],
    ...(Object.keys(m).length === 0 ? {} : { metrics: [m] }),
    ...(q.iif === null ? {} : { iif: q.iif.name }),
    pref: 'medium',
  }
}
