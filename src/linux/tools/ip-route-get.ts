/**
 * `ip route get`: asks the kernel's lookup and prints the decision.
 *
 * With `iif` the question is that of a received packet (ip_route_input), else that of a local sender. `fibmatch` is not
 * modelled.
 *
 * Source: iproute2 ip/iproute.c (iproute_get, print_route), net/ipv4/route.c (inet_rtm_getroute, rt_fill_info).
 */
import { formatIpv4 } from '../../addr/ipv4.ts'
import { ETH_P_IP, M_FLAGS, M_MARK, M_PROTO, META_SHIFT, SKB_DOREDIRECT } from '../../packet/layout.ts'
import type { NetDevice } from '../device/device.ts'
import { ENETUNREACH } from '../errno.ts'
import type { Netns } from '../netns.ts'
import { Flowi4, ipRouteInput, ipRouteOutput, type Rtable, routeErrno } from '../route/route.ts'
import {
  RT_TABLE_LOCAL,
  RT_TABLE_MAIN,
  RTCF_BROADCAST,
  RTCF_DOREDIRECT,
  RTCF_LOCAL,
  RTCF_MULTICAST,
  RTCF_NOTIFY,
  RTN_NAMES,
  RTN_UNICAST,
} from '../route/rtn.ts'
import { type Args, type IpOptions, matches, takeAddress, takeDevice, takeNumber } from './ip-args.ts'
import { formatJson, type JsonValue } from './ip-json.ts'
import { dsfieldNumber, ipProtocolNumber, tableName } from './ip-names.ts'
import { metricsJson, metricsText } from './ip-route-show.ts'
import { rtnetlink, ToolExit, unmodelled } from './result.ts'

/** Names of RTCF_* in the order of print_cache_flags. */
const CACHE_FLAGS: readonly (readonly [number, string])[] = [
  [RTCF_LOCAL, 'local'],
  [RTCF_MULTICAST, 'mc'],
  [RTCF_BROADCAST, 'brd'],
  [RTCF_DOREDIRECT, 'redirect'],
  [RTCF_NOTIFY, 'notify'],
]
const FRAME_BYTES = 60
const NS_PER_S = 1_000_000_000

interface Question {
  dst: number | null
  from: number | null
  iif: NetDevice | null
  oif: NetDevice | null
  mark: number
  tos: number
  proto: number
  sport: number
  dport: number
  /** IPSKB_DOREDIRECT of the lent packet: shown as a flag of the route. */
  redirect: boolean
}

/** Runs `ip route get ...`. */
export function ipRouteGet(ns: Netns, args: Args, o: IpOptions): string {
  const q = takeQuestion(ns, args)
  if (q.dst === null) throw new ToolExit(1, 'need at least a destination address')
  if (q.from !== null && q.iif === null && q.oif === null && q.from === 0) q.from = null
  const fl = new Flowi4()
  const rt = q.iif === null ? output(ns, q, fl) : input(ns, q, q.iif)
  if (o.json) return formatJson([json(ns, q, rt, fl)], o.pretty)
  return text(ns, q, rt, fl, o)
}

function takeQuestion(ns: Netns, args: Args): Question {
  const q: Question = {
    dst: null,
    from: null,
    iif: null,
    oif: null,
    mark: 0,
    tos: 0,
    proto: 0,
    sport: 0,
    dport: 0,
    redirect: false,
  }
  while (!args.done) {
    const word = args.take()
    if (word === 'tos' || matches(word, 'dsfield')) q.tos = Math.max(0, dsfieldNumber(args.take()))
    else if (matches(word, 'from')) q.from = takeAddress(args.take())
    else if (word === 'iif') q.iif = takeDevice(ns, args.take())
    else if (word === 'mark') q.mark = takeNumber(args.take(), 0xffffffff, 'Invalid mark') | 0
    else if (word === 'oif' || word === 'dev') q.oif = takeDevice(ns, args.take())
    else if (word === 'ipproto') q.proto = Math.max(0, ipProtocolNumber(args.take()))
    else if (word === 'sport') q.sport = takeNumber(args.take(), 65535, 'invalid "sport"')
    else if (word === 'dport') q.dport = takeNumber(args.take(), 65535, 'invalid "dport"')
    else if (word === 'notify' || word === 'connected' || word === 'vrf' || word === 'uid' || word === 'fibmatch')
      unmodelled(`ip route get ${word}`)
    else {
      const address = word === 'to' ? args.take() : word
      if (address.includes(':')) unmodelled('IPv6 routes')
      q.dst = takeAddress(address.replace(/\/32$/, ''))
    }
  }
  return q
}

function output(ns: Netns, q: Question, fl: Flowi4): Rtable {
  fl.reset()
  fl.daddr = q.dst ?? 0
  fl.saddr = q.from ?? 0
  fl.oif = q.oif === null ? -1 : q.oif.id
  fl.mark = q.mark
  fl.tos = q.tos
  fl.proto = q.proto
  fl.sport = q.sport
  fl.dport = q.dport
  const rt = ipRouteOutput(ns, fl)
  if (rt === null) {
    rtnetlink(routeErrno())
    rtnetlink(ENETUNREACH)
    throw new Error('route lookup failed without an errno')
  }
  return rt
}

/** Lends a packet to ip_route_input: the lookup needs one to hang its decision on. */
function input(ns: Netns, q: Question, dev: NetDevice): Rtable {
  const w = ns.world
  const slot = w.arena.fromFrame(new Uint8Array(FRAME_BYTES))
  if (slot < 0) throw new ToolExit(2, 'RTNETLINK answers: No buffer space available')
  const m = slot << META_SHIFT
  w.arena.meta[m + M_MARK] = q.mark
  w.arena.meta[m + M_PROTO] = ETH_P_IP
  const err = ipRouteInput(w, ns, slot, q.dst ?? 0, q.from ?? 0, q.tos, dev)
  const rt = w.arena.dst[slot] as Rtable | null
  q.redirect = (w.arena.meta[m + M_FLAGS]! & SKB_DOREDIRECT) !== 0
  w.arena.free(slot)
  rtnetlink(err)
  if (rt === null) throw new Error('route lookup succeeded without a decision')
  rtnetlink(rt.error)
  return rt
}

/**
 * The table that the kernel names. Without rules of a user's the local table is merged into main (fib_trie_unmerge), so a
 * local route is then said to come from main.
 */
function tableOf(ns: Netns, rt: Rtable): number {
  const merged = ns.fib.rules.length <= 3
  const table = rt.table === 0 || (merged && rt.table === RT_TABLE_LOCAL) ? RT_TABLE_MAIN : rt.table
  return table
}

function expiresSeconds(ns: Netns, rt: Rtable): number {
  return rt.expiresNs === 0 ? 0 : Math.max(0, Math.floor((rt.expiresNs - ns.world.nowNs) / NS_PER_S))
}

function cacheFlags(q: Question, rt: Rtable): string[] {
  const all = q.redirect ? rt.flags | RTCF_DOREDIRECT : rt.flags
  return CACHE_FLAGS.filter(([bit]) => (all & bit) !== 0).map(([, name]) => name)
}

function metrics(rt: Rtable): { mtu: number; locked: boolean } {
  return { mtu: rt.pmtu !== 0 ? rt.pmtu : rt.mtuMetric, locked: rt.pmtu !== 0 ? rt.mtuLocked : rt.mtuMetricLocked }
}

function text(ns: Netns, q: Question, rt: Rtable, fl: Flowi4, o: IpOptions): string {
  const dst = formatIpv4(q.dst ?? 0)
  const table = tableOf(ns, rt)
  const m = metrics(rt)
  let t = rt.type === RTN_UNICAST && !o.details ? '' : `${RTN_NAMES[rt.type] ?? String(rt.type)} `
  t += `${dst} `
  if (q.from !== null) t += `from ${formatIpv4(q.from)} `
  if (q.tos !== 0) t += `tos 0x${q.tos.toString(16)} `
  if (rt.usesGateway) t += `via ${formatIpv4(rt.gateway)} `
  t += `dev ${rt.dev.name} `
  if (table !== RT_TABLE_MAIN) t += `table ${tableName(table)} `
  if (q.iif === null && q.from === null) t += `src ${formatIpv4(fl.saddr)} `
  // Bit 29 is RTCF_MULTICAST in the kernel's flags and RTM_F_OFFLOAD_FAILED in iproute2's reading of them.
  if ((rt.flags & RTCF_MULTICAST) !== 0) t += 'rt_offload_failed '
  if (q.mark !== 0) t += `mark ${q.mark >= 0x10 ? `0x${(q.mark >>> 0).toString(16)}` : q.mark >>> 0} `
  if (q.iif === null) t += 'uid 0 '
  t += `${o.oneline ? '\\' : '\n'}    cache `
  const flags = cacheFlags(q, rt)
  if (flags.length > 0) t += `<${flags.join(',')}> `
  const expires = expiresSeconds(ns, rt)
  if (expires > 0) t += `expires ${expires}sec `
  t += metricsText(m.mtu, m.locked, rt.advmssMetric)
  if (q.iif !== null) t += `iif ${q.iif.name} `
  return `${t}\n`
}

function json(ns: Netns, q: Question, rt: Rtable, fl: Flowi4): JsonValue {
  const m = metricsJson(metrics(rt).mtu, rt.advmssMetric)
  const table = tableOf(ns, rt)
  const expires = expiresSeconds(ns, rt)
  return {
    ...(rt.type === RTN_UNICAST ? {} : { type: RTN_NAMES[rt.type] ?? String(rt.type) }),
    dst: formatIpv4(q.dst ?? 0),
    ...(q.from === null ? {} : { from: formatIpv4(q.from) }),
    ...(rt.usesGateway ? { gateway: formatIpv4(rt.gateway) } : {}),
    dev: rt.dev.name,
    ...(table === RT_TABLE_MAIN ? {} : { table: tableName(table) }),
    ...(q.iif === null && q.from === null ? { prefsrc: formatIpv4(fl.saddr) } : {}),
    flags: [],
    ...(q.iif === null ? { uid: 0 } : {}),
    cache: cacheFlags(q, rt),
    ...(expires > 0 ? { expires } : {}),
    ...(m === null ? {} : { metrics: [m] }),
    ...(q.iif === null ? {} : { iif: q.iif.name }),
  }
}
