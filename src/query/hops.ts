/**
 * From trace points to hops: what each step of the log says to a reader.
 *
 * One function per kind of point; each gives the place in the kernel (`point`), one line (`action`) and what the point
 * knows (`detail`). References in the log are the kernel's long-lived objects: rules, routes, neighbours, fdb entries.
 */
import { formatIpv4, formatMac } from '../addr/index.ts'
import type { Cluster } from '../cluster/build.ts'
import type { TraceStep } from '../engine/trace-log.ts'
import type { FdbEntry } from '../linux/bridge/fdb.ts'
import { DEV_GENEVE, DEV_GRE, DEV_GRETAP, DEV_VXLAN, type NetDevice } from '../linux/device/device.ts'
import { vxlanPriv } from '../linux/device/vxlan.ts'
import { errnoName } from '../linux/errno.ts'
import { Fib6Route } from '../linux/ipv6/fib6-route.ts'
import { AF_INET6 } from '../linux/ipv6/in6.ts'
import type { Neighbour } from '../linux/neighbour/neighbour.ts'
import type { EbChain } from '../linux/netfilter/ebtables/types.ts'
import type { IptChain } from '../linux/netfilter/iptables/tables.ts'
import { IptRule } from '../linux/netfilter/iptables/types.ts'
import { NftChain, NftRule } from '../linux/netfilter/nftables/state.ts'
import { reasonOf } from '../linux/reasons.ts'
import { FibRoute } from '../linux/route/fib-route.ts'
import { RTN_NAMES } from '../linux/route/rtn.ts'
import type { TcAction } from '../linux/tc/types.ts'
import { ebRuleText } from '../linux/tools/ebtables.ts'
import * as T from '../linux/trace.ts'
import { icmpv6Name } from '../wire/icmpv6.ts'
import { describeOrigin } from './origin.ts'

/** What a step says. */
export interface HopText {
  readonly point: string
  readonly action: string
  readonly detail: { readonly [key: string]: unknown }
}

const IPVS_METHODS: { readonly [n: number]: string } = {
  0: 'masquerading',
  1: 'local node',
  2: 'tunnel',
  3: 'direct routing',
  4: 'bypass',
  8: 'reply',
}
const HOOKS = ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING']
const CTINFO: { readonly [n: number]: string } = {
  0: 'ESTABLISHED',
  1: 'RELATED',
  2: 'NEW',
  3: 'ESTABLISHED (reply)',
  4: 'RELATED (reply)',
  7: 'UNTRACKED',
}
const NUD: { readonly [n: number]: string } = {
  0: 'NONE',
  1: 'INCOMPLETE',
  2: 'REACHABLE',
  4: 'STALE',
  8: 'DELAY',
  16: 'PROBE',
  32: 'FAILED',
  64: 'NOARP',
  128: 'PERMANENT',
}
const TABLES: { readonly [n: number]: string } = { 253: 'default', 254: 'main', 255: 'local' }
const TCP_STATES = [
  ...['', 'ESTABLISHED', 'SYN_SENT', 'SYN_RECV', 'FIN_WAIT1', 'FIN_WAIT2', 'TIME_WAIT', 'CLOSE', 'CLOSE_WAIT'],
  ...['LAST_ACK', 'LISTEN', 'CLOSING', 'NEW_SYN_RECV'],
]

/** `10.244.1.5 (pod/shop/web-0)`: an address with its name. */
export function named(cluster: Cluster, ip: number): string {
  const name = cluster.names.get(ip)
  return name === undefined ? formatIpv4(ip) : `${formatIpv4(ip)} (${name})`
}

/** The route as `ip route` prints it, as far as a reader needs it. */
export function routeText(r: FibRoute): string {
  const dst = r.prefixLength === 0 ? 'default' : `${formatIpv4(r.dst)}/${r.prefixLength}`
  const type = r.type === 1 ? '' : `${RTN_NAMES[r.type] ?? r.type} `
  return `${type}${dst}`
}

function mac(hi: number, lo: number): string {
  return formatMac({ hi, lo })
}

/** Answers of a lookup that found no route. */
const REFUSING: ReadonlySet<string> = new Set(['unreachable', 'blackhole', 'prohibit'])

function routeHop(step: TraceStep, cluster: Cluster, how: string): HopText {
  const route = step.ref instanceof FibRoute ? step.ref : null
  const dev = step.device < 0 ? null : cluster.world.devices[step.device]
  const type = RTN_NAMES[step.a] ?? String(step.a)
  const via = step.b === 0 ? 'on link' : `via ${named(cluster, step.b)}`
  const table = TABLES[step.c] ?? String(step.c)
  const text = route === null ? type : routeText(route)
  const local = type === 'local'
  return {
    point: 'route',
    action: local
      ? `route: ${text}: for this host`
      : route === null && REFUSING.has(type)
        ? 'route: no route matches'
        : `route: ${text} ${via}${dev == null ? '' : ` dev ${dev.name}`}${step.c === 0 ? '' : ` (table ${table})`}`,
    detail: { how, type, route: text, via: step.b === 0 ? null : formatIpv4(step.b), table, dev: dev?.name ?? null },
  }
}

const NFT_STATEMENT =
  /(?:^| )((?:goto|jump) \S+|(?:snat|dnat|redirect|masquerade|reject|drop|accept|return|queue|update|add|delete)\b.*|\S*map @\S+|meta mark set .*|numgen .*)$/

/** What the rule does, without its matches and comment. */
function nftTarget(text: string): string {
  const plain = text.replace(/ comment "[^"]*"$/, '')
  return NFT_STATEMENT.exec(plain)?.[1] ?? '(no target)'
}

function ruleHop(step: TraceStep, cluster: Cluster, matched: boolean): HopText {
  const rule = step.ref
  if (rule instanceof NftRule) {
    const where = `nft ${rule.table} ${rule.chain} handle ${rule.handle}`
    const origin = describeOrigin(rule.origin, cluster)
    return {
      point: 'rule',
      action: matched ? `${where}: ${rule.text}` : `${where} does not match`,
      detail: {
        hook: HOOKS[step.a] ?? step.a,
        table: rule.table,
        chain: rule.chain,
        rule: step.b,
        handle: rule.handle,
        text: rule.text,
        target: nftTarget(rule.text),
        matched,
        ...(origin === null ? {} : { origin }),
      },
    }
  }
  if (!(rule instanceof IptRule)) {
    return { point: 'rule', action: `rule ${step.b}`, detail: { hook: HOOKS[step.a] ?? step.a } }
  }
  const where = `${rule.table} ${rule.chain} rule ${rule.index}`
  const text = rule.text
  const target = / -[jg] (.+)$/.exec(text)?.[1] ?? '(no target)'
  const origin = describeOrigin(rule.origin, cluster)
  return {
    point: 'rule',
    action: matched ? `${where}: ${target}` : `${where} does not match`,
    detail: {
      hook: HOOKS[step.a] ?? step.a,
      table: rule.table,
      chain: rule.chain,
      rule: rule.index,
      text,
      target,
      matched,
      ...(origin === null ? {} : { origin }),
    },
  }
}

/** Tunnels that are not VXLAN, by device kind. */
const TUNNEL_NAMES: { readonly [kind: number]: string } = {
  [DEV_GRE]: 'GRE',
  [DEV_GRETAP]: 'GRE',
  [DEV_GENEVE]: 'Geneve',
}

function tunnelHop(step: TraceStep, dev: NetDevice | null): HopText {
  const isEncap = step.point === T.T_TUNNEL_ENCAP
  const isVxlan = dev?.kind === DEV_VXLAN
  const six = isVxlan && vxlanPriv(dev).cfg.six
  const [src, dst] = six
    ? [dev.ns.world.in6.text(step.a), dev.ns.world.in6.text(step.b)]
    : [formatIpv4(step.a), formatIpv4(step.b)]
  const carrier = isVxlan ? `VXLAN ${step.c}` : (TUNNEL_NAMES[dev?.kind ?? 0] ?? 'IPIP')
  return {
    point: isEncap ? 'encap' : 'decap',
    action: `${isEncap ? 'into' : 'out of'} ${carrier}, ${src} > ${dst}`,
    detail: { src, dst, vni: isVxlan ? step.c : null },
  }
}

const TC_VERDICTS: { readonly [verdict: number]: string } = {
  [-1]: 'continue',
  0: 'pass',
  1: 'reclassify',
  2: 'drop',
  3: 'pipe',
  4: 'stolen',
}

function tcHop(step: TraceStep, dev: NetDevice | null): HopText {
  const to = (step.ref as TcAction | null)?.dev?.name ?? null
  if (step.c === 2) {
    const verb = step.b === 4 ? 'redirects' : 'mirrors'
    return { point: 'tc', action: `tc of ${dev?.name ?? '?'} ${verb} to ${to ?? '?'}`, detail: { to } }
  }
  const hook = step.c === 1 ? 'ingress' : 'egress'
  const verdict = TC_VERDICTS[step.b] ?? String(step.b)
  const action = `tc ${hook} of ${dev?.name ?? '?'}, pref ${step.a}: ${verdict}`
  return { point: 'tc', action, detail: { hook, pref: step.a, verdict } }
}

const EXTENSIONS: { readonly [nexthdr: number]: string } = {
  0: 'hop-by-hop options',
  43: 'a routing header',
  60: 'destination options',
}

function route6Hop(step: TraceStep, cluster: Cluster, how: string): HopText {
  const route = step.ref instanceof Fib6Route ? step.ref : null
  const in6 = cluster.world.in6
  const dev = step.device < 0 ? null : cluster.world.devices[step.device]
  const type = RTN_NAMES[step.a] ?? String(step.a)
  const via = step.b === 0 ? 'on link' : `via ${in6.text(step.b)}`
  const table = TABLES[step.c] ?? String(step.c)
  const dst = route === null || route.prefixLength === 0 ? 'default' : `${in6.text(route.dst)}/${route.prefixLength}`
  const text = route === null ? type : `${type === 'unicast' ? '' : `${type} `}${dst}`
  const local = type === 'local' || type === 'anycast'
  return {
    point: 'route',
    action: local
      ? `route: ${text}: for this host`
      : route === null && REFUSING.has(type)
        ? 'route: no route matches'
        : `route: ${text} ${via}${dev == null ? '' : ` dev ${dev.name}`}${step.c === 0 ? '' : ` (table ${table})`}`,
    detail: { how, type, route: text, via: step.b === 0 ? null : in6.text(step.b), table, dev: dev?.name ?? null },
  }
}

/** What the step says to a reader, null for steps that are of no interest in a walk. */
export function describeStep(step: TraceStep, cluster: Cluster): HopText | null {
  const dev = step.device < 0 ? null : (cluster.world.devices[step.device] ?? null)
  switch (step.point) {
    case T.T_TX:
      return { point: 'tx', action: `${dev?.name ?? '?'} transmits ${step.a} bytes`, detail: { bytes: step.a } }
    case T.T_RX:
      return { point: 'rx', action: `${dev?.name ?? '?'} receives ${step.a} bytes`, detail: { bytes: step.a } }
    case T.T_BR_INPUT: {
      const br = step.ref as NetDevice
      return { point: 'bridge', action: `port ${dev?.name ?? '?'} of ${br.name}`, detail: { bridge: br.name } }
    }
    case T.T_BR_LEARN: {
      const e = step.ref as FdbEntry
      const m = mac(e.macHi, e.macLo)
      return {
        point: 'learn',
        action: `fdb learns ${m} behind ${dev?.name ?? '?'}`,
        detail: { mac: m, moved: step.a === 2 },
      }
    }
    case T.T_BR_FORWARD: {
      const e = step.ref as FdbEntry | null
      const m = e === null ? null : mac(e.macHi, e.macLo)
      return {
        point: 'bridge',
        action: `fdb: ${m ?? '?'} is behind ${dev?.name ?? '?'}`,
        detail: { mac: m, port: dev?.name ?? null },
      }
    }
    case T.T_BR_FLOOD:
      return { point: 'flood', action: `${dev?.name ?? '?'} floods to its ${step.a} ports`, detail: { ports: step.a } }
    case T.T_BR_LOCAL:
      return { point: 'local-in', action: `${dev?.name ?? '?'} hands the frame to the host`, detail: {} }
    case T.T_BR_NETFILTER:
      return {
        point: 'bridge',
        action: `br_netfilter runs ${HOOKS[step.a] ?? step.a}`,
        detail: { hook: HOOKS[step.a] ?? step.a },
      }
    case T.T_FIB_INPUT:
      return routeHop(step, cluster, 'input')
    case T.T_FIB_OUTPUT:
      return routeHop(step, cluster, 'output')
    case T.T_IP_FORWARD:
      return { point: 'forward', action: `forwards, TTL now ${step.a}`, detail: { ttl: step.a } }
    case T.T_IP_LOCAL:
      return { point: 'deliver', action: 'delivers to this host', detail: { protocol: step.a } }
    case T.T_IP_OUTPUT:
      return null
    case T.T_IP_FRAGMENT:
      return {
        point: 'fragment',
        action: `fragments into ${step.a} for MTU ${step.b}`,
        detail: { pieces: step.a, mtu: step.b },
      }
    case T.T_IP_REASM:
      return {
        point: 'reassemble',
        action: `reassembled ${step.a} bytes`,
        detail: { bytes: step.a, largestFragment: step.b },
      }
    case T.T_NEIGH: {
      const n = step.ref as Neighbour
      const m = mac(n.macHi, n.macLo)
      const state = NUD[step.b] ?? String(step.b)
      const known = (step.b & 0xde) !== 0
      return {
        point: 'neigh',
        action: known
          ? `neighbour ${formatIpv4(step.a)} is ${m} (${state})`
          : `neighbour ${formatIpv4(step.a)} is not known: ${state}`,
        detail: { ip: formatIpv4(step.a), mac: known ? m : null, state },
      }
    }
    case T.T_FIB6_INPUT:
      return route6Hop(step, cluster, 'input')
    case T.T_FIB6_OUTPUT:
      return route6Hop(step, cluster, 'output')
    case T.T_NEIGH6: {
      const n = step.ref as Neighbour
      const ip = cluster.world.in6.text(step.a)
      const state = NUD[step.b] ?? String(step.b)
      const known = (step.b & 0xde) !== 0
      const m = known ? mac(n.macHi, n.macLo) : null
      const action = known ? `neighbour ${ip} is ${m} (${state})` : `neighbour ${ip} is not known: ${state}`
      return { point: 'neigh', action, detail: { ip, mac: m, state } }
    }
    case T.T_NDISC: {
      const target = step.b === 0 ? '' : ` ${cluster.world.in6.text(step.b)}`
      const name = icmpv6Name(step.a, 0)
      const action = `${step.c === 1 ? 'sends' : 'hears'} ${name}${target}`
      return { point: 'ndisc', action, detail: { type: step.a, target: target.trim(), sent: step.c === 1 } }
    }
    case T.T_ICMP6_SEND: {
      const name = icmpv6Name(step.a, step.b)
      return {
        point: 'icmp',
        action: `answers with ICMPv6 ${name}`,
        detail: { type: step.a, code: step.b, info: step.c, name },
      }
    }
    case T.T_EXTHDR: {
      const name = EXTENSIONS[step.a] ?? `extension header ${step.a}`
      return { point: 'exthdr', action: `reads ${name} at byte ${step.b}`, detail: { header: step.a, offset: step.b } }
    }
    case T.T_NEIGH_QUEUE: {
      const n = step.ref as Neighbour
      if (n.table.family === AF_INET6) {
        const ip = cluster.world.in6.text(step.a)
        return { point: 'ndisc', action: `waits for the neighbour advertisement of ${ip}`, detail: { ip } }
      }
      return {
        point: 'arp',
        action: `waits for the ARP answer of ${formatIpv4(step.a)}`,
        detail: { ip: formatIpv4(step.a) },
      }
    }
    case T.T_ARP:
      return {
        point: 'arp',
        action: step.a === 1 ? `asked who has ${formatIpv4(step.c)}` : `told that ${formatIpv4(step.b)} is here`,
        detail: { op: step.a === 1 ? 'request' : 'reply', sender: formatIpv4(step.b), target: formatIpv4(step.c) },
      }
    case T.T_NF_RULE:
      return ruleHop(step, cluster, true)
    case T.T_NF_MISS:
      return ruleHop(step, cluster, false)
    case T.T_NF_POLICY: {
      const chain = step.ref as IptChain | NftChain
      const table = chain instanceof NftChain ? `nft ${chain.table.family} ${chain.table.name}` : chain.table
      const verdict = step.c === 1 ? 'ACCEPT' : 'DROP'
      return {
        point: 'policy',
        action: `${table} ${chain.name} policy: ${verdict}`,
        detail: { hook: HOOKS[step.a] ?? step.a, table, chain: chain.name, verdict },
      }
    }
    case T.T_CT: {
      const state = CTINFO[step.b] ?? String(step.b)
      return { point: 'conntrack', action: `conntrack: ${state}`, detail: { id: step.a, state } }
    }
    case T.T_CT_INVALID:
      return { point: 'conntrack', action: 'conntrack: INVALID', detail: { state: 'INVALID', info: step.a } }
    case T.T_CT_CONFIRM:
      return { point: 'conntrack', action: 'conntrack: entry confirmed', detail: { id: step.a } }
    case T.T_NAT_SETUP:
      return null
    case T.T_NAT: {
      const kind = step.a === 0 ? 'source' : 'destination'
      return {
        point: 'nat',
        action: `NAT: ${kind} becomes ${named(cluster, step.b)}:${step.c}`,
        detail: { manip: kind, ip: formatIpv4(step.b), port: step.c },
      }
    }
    case T.T_NAT6: {
      const kind = step.a === 0 ? 'source' : 'destination'
      const ip = cluster.world.in6.text(step.b)
      return {
        point: 'nat',
        action: `NAT: ${kind} becomes ${step.c === 0 ? ip : `[${ip}]:${step.c}`}`,
        detail: { manip: kind, ip, port: step.c },
      }
    }
    case T.T_ICMP_SEND:
      return {
        point: 'icmp',
        action: `answers with ICMP type ${step.a} code ${step.b}`,
        detail: { type: step.a, code: step.b, info: step.c },
      }
    case T.T_SOCK:
      return {
        point: 'socket',
        action: `socket on port ${step.c} takes it`,
        detail: { socket: step.a, protocol: step.b, port: step.c },
      }
    case T.T_RPFILTER:
      return step.a === 1 ? null : { point: 'rpfilter', action: 'reverse path filter refuses the source', detail: {} }
    case T.T_IPSET:
      return {
        point: 'ipset',
        action: step.a === 1 ? 'ipset matches' : 'ipset does not match',
        detail: { matched: step.a === 1 },
      }
    case T.T_TUNNEL_ENCAP:
    case T.T_TUNNEL_DECAP:
      return tunnelHop(step, dev)
    case T.T_EBTABLES: {
      const chain = step.ref as EbChain
      const rule = ebRuleText(chain, step.a)
      const action = `ebtables ${chain.table} ${chain.name} rule ${step.a}: ${rule}`
      return { point: 'ebtables', action, detail: { table: chain.table, chain: chain.name, rule: step.a, text: rule } }
    }
    case T.T_TC:
      return tcHop(step, dev)
    case T.T_IPVS_SCHED:
      return {
        point: 'ipvs',
        action: `ipvs: new connection to ${named(cluster, step.b)}:${step.c}`,
        detail: { connection: step.a, ip: formatIpv4(step.b), port: step.c },
      }
    case T.T_IPVS_XMIT: {
      const method = IPVS_METHODS[step.a] ?? String(step.a)
      const action =
        step.a === 8
          ? `ipvs: source becomes ${named(cluster, step.b)}:${step.c}`
          : `ipvs: ${method} to ${named(cluster, step.b)}:${step.c}`
      return { point: 'ipvs', action, detail: { method, ip: formatIpv4(step.b), port: step.c } }
    }
    case T.T_END:
      return endHop(step)
    default:
      return null
  }
}

function endHop(step: TraceStep): HopText | null {
  const r = reasonOf(step.a)
  if (r.verdict === 'DELIVERED') return null
  const what = typeof step.ref === 'string' ? ` (${step.ref})` : ''
  const errno = step.b < 0 && step.b > -200 ? { errno: errnoName(step.b) } : {}
  return {
    point: 'end',
    action: `${r.text}${what}`,
    detail: { reason: r.symbol, verdict: r.verdict, ...errno, ...(what === '' ? {} : { what: step.ref }) },
  }
}

/** TCP state by number, for T_TCP_STATE. */
export function tcpStateName(n: number): string {
  return TCP_STATES[n] ?? String(n)
}
