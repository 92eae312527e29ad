/**
 * `ip rule`: add, delete, flush and show policy rules.
 *
 * Not modelled, and said so: l3mdev, uidrange, tun_id, realms, suppress_ifgroup, save and restore.
 *
 * Source: iproute2 ip/iprule.c (iprule_modify, print_rule); net/core/fib_rules.c.
 */
import { formatIpv4 } from '../../addr/ipv4.ts'
import type { Netns } from '../netns.ts'
import { RTN_NAMES } from '../route/rtn.ts'
import {
  FR_ACT_BLACKHOLE,
  FR_ACT_GOTO,
  FR_ACT_NOP,
  FR_ACT_PROHIBIT,
  FR_ACT_TO_TBL,
  FR_ACT_UNREACHABLE,
  type RuleSpec,
} from '../route/rule.ts'
import {
  type Args,
  type IpOptions,
  invarg,
  isInet6,
  matches,
  parseNumber,
  takeNumber,
  takePrefix,
  takePrefix6,
} from './ip-args.ts'
import { formatJson, type JsonValue } from './ip-json.ts'
import {
  dsfieldName,
  dsfieldNumber,
  ipProtocolName,
  ipProtocolNumber,
  protocolName,
  protocolNumber,
  tableName,
  tableNumber,
} from './ip-names.ts'
import { rtnetlink, ToolExit, unmodelled } from './result.ts'

type Rule = RuleSpec & { readonly pref: number }

const REFUSED = [
  'realms',
  'uidrange',
  'l3mdev',
  'tun_id',
  'nat',
  'map-to',
  'sup_group',
  'suppress_ifgroup',
  'sup_ifgroup',
]
const ACTIONS: { readonly [name: string]: number } = {
  blackhole: FR_ACT_BLACKHOLE,
  unreachable: FR_ACT_UNREACHABLE,
  prohibit: FR_ACT_PROHIBIT,
  nop: FR_ACT_NOP,
}

/** Runs `ip rule ...`. */
export function ipRule(ns: Netns, args: Args, o: IpOptions): string {
  const six = o.family === 'inet6'
  if (args.done) return six ? show6(ns, args, o) : show(ns, args, o)
  const word = args.take()
  if (six) return ipRule6(ns, word, args, o)
  // iproute2 takes the family from -6 only: the kernel then refuses 16 bytes for an IPv4 rule
  if (args.rest().some(isInet6)) throw new ToolExit(2, 'Error: Invalid source address.')
  if (matches(word, 'list') || matches(word, 'lst') || matches(word, 'show')) return show(ns, args, o)
  if (matches(word, 'add')) {
    // iproute2 leaves FRA_PROTOCOL to the user: 0 is RTPROT_UNSPEC
    rtnetlink(ns.fib.addRule({ protocol: 0, ...takeRule(args) }))
    return ''
  }
  if (matches(word, 'delete')) {
    rtnetlink(ns.fib.delRule(takeRule(args)))
    return ''
  }
  if (matches(word, 'flush')) {
    for (const r of [...ns.fib.rules]) if (r.pref !== 0) ns.fib.delRule(r)
    return ''
  }
  if (matches(word, 'save') || matches(word, 'restore')) unmodelled(`ip rule ${word}`)
  throw new ToolExit(255, `Command "${word}" is unknown, try "ip rule help".`)
}

/** Runs `ip -6 rule WORD ...`. */
function ipRule6(ns: Netns, word: string, args: Args, o: IpOptions): string {
  if (matches(word, 'list') || matches(word, 'lst') || matches(word, 'show')) return show6(ns, args, o)
  if (matches(word, 'add')) rtnetlink(ns.fib6.addRule({ protocol: 0, ...takeRule(args, ns) }))
  else if (matches(word, 'delete')) rtnetlink(ns.fib6.delRule(takeRule(args, ns)))
  else if (matches(word, 'flush'))
    for (const r of [...ns.fib6.rules]) if (r.pref !== 0) ns.fib6.delRule({ pref: r.pref })
  return ''
}

/** IPv6 rules as what ruleText and ruleJson print. */
function show6(ns: Netns, args: Args, o: IpOptions): string {
  const f = takeRule(args, ns)
  const rules = ns.fib6.rules
    .filter((r) => (f.pref === undefined || r.pref === f.pref) && (f.table === undefined || r.base.table === f.table))
    .map((r) => {
      const { from, fromLength, to, toLength, not } = r
      return { ...r.base, from, fromLength, to, toLength, not, pref: r.pref }
    })
  if (o.json)
    return formatJson(
      rules.map((r) => ruleJson(ns, r, o, true)),
      o.pretty,
    )
  return rules.map((r) => ruleText(ns, r, o, true)).join('')
}

function takePorts(word: string): readonly [number, number] {
  const m = /^(\d+)(?:-(\d+))?$/.exec(word)
  const lo = Number(m?.[1] ?? -1)
  const hi = Number(m?.[2] ?? lo)
  if (m === null || lo > 65535 || hi > 65535 || lo > hi) invarg('invalid port range', word)
  return [lo, hi]
}

/** @param six the namespace, when the rule is IPv6's */
function takeRule(args: Args, six: Netns | null = null): RuleSpec {
  const r: { -readonly [K in keyof RuleSpec]: RuleSpec[K] } = {}
  while (!args.done) {
    const word = args.take()
    if (word === 'not') r.not = true
    else if (word === 'from' || word === 'to') takeSide(r, word, args.take(), six)
    else if (matches(word, 'preference') || matches(word, 'order') || matches(word, 'priority'))
      r.pref = takeNumber(args.take(), 0xffffffff, 'preference value is invalid\n')
    else if (word === 'tos' || matches(word, 'dsfield')) {
      const text = args.take()
      const tos = dsfieldNumber(text)
      if (tos < 0) invarg('TOS value is invalid\n', text)
      r.tos = tos
    } else if (word === 'fwmark') {
      const text = args.take()
      const [mark, mask] = text.split('/').map(parseNumber)
      if (
        mark === undefined ||
        mark < 0 ||
        mark > 0xffffffff ||
        (mask !== undefined && (mask < 0 || mask > 0xffffffff))
      )
        invarg('fwmark value is invalid\n', text)
      r.fwmark = mark | 0
      if (mask !== undefined) r.fwmask = mask | 0
    } else if (matches(word, 'table') || matches(word, 'lookup')) {
      const text = args.take()
      const table = tableNumber(text)
      if (table < 0) invarg('invalid table ID\n', text)
      r.table = table
    } else if (matches(word, 'suppress_prefixlength') || matches(word, 'sup_pl'))
      r.suppressPrefixlength = takeNumber(args.take(), 0x7fffffff, 'suppress_prefixlength value is invalid\n')
    else if (word === 'dev' || word === 'iif') r.iif = args.take()
    else if (word === 'oif') r.oif = args.take()
    else if (word === 'ipproto') {
      const text = args.take()
      const proto = ipProtocolNumber(text)
      if (proto < 0) invarg('Invalid "ipproto" value\n', text)
      r.ipproto = proto
    } else if (word === 'sport') r.sport = takePorts(args.take())
    else if (word === 'dport') r.dport = takePorts(args.take())
    else if (matches(word, 'protocol')) {
      const text = args.take()
      const proto = protocolNumber(text)
      if (proto < 0) invarg('"protocol" value is invalid\n', text)
      r.protocol = proto
    } else if (REFUSED.includes(word)) unmodelled(`ip rule ... ${word}`)
    else {
      const action = word === 'type' ? args.take() : word
      if (matches(action, 'goto')) {
        r.action = FR_ACT_GOTO
        r.target = takeNumber(args.take(), 0xffffffff, 'invalid target\n')
      } else if (ACTIONS[action] !== undefined) r.action = ACTIONS[action]
      else if (RTN_NAMES.includes(action) && action === 'unicast') r.action = FR_ACT_TO_TBL
      else invarg('Failed to parse rule type', action)
    }
  }
  return r
}

function takeSide(
  r: { -readonly [K in keyof RuleSpec]: RuleSpec[K] },
  side: 'from' | 'to',
  word: string,
  six: Netns | null,
): void {
  const p = six === null ? takePrefix(word) : take6(six, word)
  if (p.length === 0) return
  if (side === 'from') {
    r.from = p.ip
    r.fromLength = p.length
  } else {
    r.to = p.ip
    r.toLength = p.length
  }
}

function take6(ns: Netns, word: string): { ip: number; length: number } {
  const p = takePrefix6(ns, word)
  return { ip: p.addr, length: p.length }
}

function show(ns: Netns, args: Args, o: IpOptions): string {
  const f = takeRule(args)
  const rules = ns.fib.rules.filter(
    (r) =>
      (f.pref === undefined || r.pref === f.pref) &&
      (f.table === undefined || (r.table === f.table && actionOf(r) === FR_ACT_TO_TBL)) &&
      (f.iif === undefined || r.iif === f.iif) &&
      (f.oif === undefined || r.oif === f.oif) &&
      (f.fwmark === undefined || r.fwmark === f.fwmark) &&
      (f.tos === undefined || r.tos === f.tos) &&
      (f.from === undefined || (r.from === f.from && r.fromLength === f.fromLength)) &&
      (f.to === undefined || (r.to === f.to && r.toLength === f.toLength)),
  )
  if (o.json)
    return formatJson(
      rules.map((r) => ruleJson(ns, r, o)),
      o.pretty,
    )
  return rules.map((r) => ruleText(ns, r, o)).join('')
}

function actionOf(r: RuleSpec): number {
  return r.action ?? FR_ACT_TO_TBL
}

function hasPrefix(length: number | undefined): boolean {
  return length !== undefined && length > 0
}

function side(ns: Netns, ip: number | undefined, length: number | undefined, six: boolean): string {
  const text = six ? ns.world.in6.text(ip ?? 0) : formatIpv4(ip ?? 0)
  return length === (six ? 128 : 32) ? text : `${text}/${length ?? 32}`
}

function hex(n: number): string {
  return `0x${(n >>> 0).toString(16)}`
}

/** `0x1`, or `0x10/0x10` when not all bits are compared. */
function markText(r: RuleSpec): string | null {
  const mark = r.fwmark ?? 0
  const mask = r.fwmask ?? (r.fwmark === undefined ? 0 : -1)
  if (mark === 0 && mask === 0) return null
  return mask === -1 ? hex(mark) : `${hex(mark)}/${hex(mask)}`
}

function portText(range: readonly [number, number]): string {
  return range[0] === range[1] ? String(range[0]) : `${range[0]}-${range[1]}`
}

function ruleText(ns: Netns, r: Rule, o: IpOptions, six = false): string {
  let t = `${r.pref}:\t${r.not === true ? 'not ' : ''}from ${hasPrefix(r.fromLength) ? side(ns, r.from, r.fromLength, six) : 'all'} `
  if (hasPrefix(r.toLength)) t += `to ${side(ns, r.to, r.toLength, six)} `
  if (r.tos !== undefined && r.tos !== 0) t += `tos ${dsfieldName(r.tos)} `
  const mark = markText(r)
  if (mark !== null) t += `fwmark ${mark} `
  for (const [name, dev] of [
    ['iif', r.iif],
    ['oif', r.oif],
  ] as const) {
    if (dev !== undefined) t += `${name} ${dev} ${ns.devices.has(dev) ? '' : '[detached] '}`
  }
  if (r.ipproto !== undefined && r.ipproto !== 0) t += `ipproto ${ipProtocolName(r.ipproto)} `
  if (r.sport !== undefined) t += `sport ${portText(r.sport)} `
  if (r.dport !== undefined) t += `dport ${portText(r.dport)} `
  const action = actionOf(r)
  if (action === FR_ACT_TO_TBL) {
    t += `lookup ${tableName(r.table ?? 254)} `
    if (r.suppressPrefixlength !== undefined && r.suppressPrefixlength >= 0)
      t += `suppress_prefixlength ${r.suppressPrefixlength} `
  } else if (action === FR_ACT_GOTO) {
    t += `goto ${r.target ?? 'none'} ${(six ? ns.fib6 : ns.fib).rules.some((x: { readonly pref: number }) => x.pref === r.target) ? '' : '[unresolved] '}`
  } else t += `${actionName(action)} `
  if (o.details) t += `proto ${protocolName(r.protocol ?? 0)} `
  return `${t.replace(/ $/, '')}\n`
}

function actionName(action: number): string {
  return Object.entries(ACTIONS).find(([, n]) => n === action)?.[0] ?? String(action)
}

function portJson(name: string, range: readonly [number, number]): { [name: string]: JsonValue } {
  return range[0] === range[1] ? { [name]: range[0] } : { [`${name}_start`]: range[0], [`${name}_end`]: range[1] }
}

function ruleJson(ns: Netns, r: Rule, o: IpOptions, six = false): JsonValue {
  const action = actionOf(r)
  const mark = markText(r)?.split('/') ?? []
  const prefix = (name: string, ip: number | undefined, length: number | undefined): { [name: string]: JsonValue } => ({
    [name]: six ? ns.world.in6.text(ip ?? 0) : formatIpv4(ip ?? 0),
    ...(length === (six ? 128 : 32) ? {} : { [`${name}len`]: length ?? 32 }),
  })
  return {
    priority: r.pref,
    ...(r.not === true ? { not: null } : {}),
    ...(hasPrefix(r.fromLength) ? prefix('src', r.from, r.fromLength) : { src: 'all' }),
    ...(hasPrefix(r.toLength) ? prefix('dst', r.to, r.toLength) : {}),
    ...(r.tos === undefined || r.tos === 0 ? {} : { tos: dsfieldName(r.tos) }),
    ...(mark[0] === undefined ? {} : { fwmark: mark[0] }),
    ...(mark[1] === undefined ? {} : { fwmask: mark[1] }),
    ...(r.iif === undefined ? {} : { iif: r.iif, ...(ns.devices.has(r.iif) ? {} : { iif_detached: null }) }),
    ...(r.oif === undefined ? {} : { oif: r.oif, ...(ns.devices.has(r.oif) ? {} : { oif_detached: null }) }),
    ...(r.ipproto === undefined || r.ipproto === 0 ? {} : { ipproto: ipProtocolName(r.ipproto) }),
    ...(r.sport === undefined ? {} : portJson('sport', r.sport)),
    ...(r.dport === undefined ? {} : portJson('dport', r.dport)),
    ...(action === FR_ACT_TO_TBL
      ? {
          table: tableName(r.table ?? 254),
          ...(r.suppressPrefixlength === undefined || r.suppressPrefixlength < 0
            ? {}
            : { suppress_prefixlen: r.suppressPrefixlength }),
        }
      : action === FR_ACT_GOTO
        ? { goto: r.target ?? 0 }
        : { action: actionName(action) }),
    ...(o.details ? { protocol: protocolName(r.protocol ?? 0) } : {}),
  }
}
