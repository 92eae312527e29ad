/**
 * `tc filter`: add, replace, del and show of matchall and u32 filters at clsact and ingress.
 *
 * Not modelled, refused by name: flower, bpf and other classifiers; of u32 hash tables, links, offsets behind the IP header
 * (`match tcp`, `at nexthdr+`), marks; chains, blocks, `skip_hw`; filters of other parents than the hooks.
 * Source: iproute2 tc/tc_filter.c, f_u32.c (pack_key, parse_ip), f_matchall.c.
 */
import { parseIpv4 } from '../../addr/ipv4.ts'
import type { NetDevice } from '../device/device.ts'
import type { Netns } from '../netns.ts'
import { autoPref, insertProto, tcChanged } from '../tc/config.ts'
import type { DevTc, TcAction, TcNode, TcProto, U32Key } from '../tc/types.ts'
import { type Args, matches, parseNumber, takeDevice } from './ip-args.ts'
import { ToolExit, unmodelled } from './result.ts'
import { actionsText, takeActions, takeClassid } from './tc-action.ts'

const ETH_P_ALL = 3
const PROTOCOLS: { readonly [name: string]: number } = {
  all: ETH_P_ALL,
  ip: 0x0800,
  arp: 0x0806,
  ipv6: 0x86dd,
  '802.1q': 0x8100,
  '802.1ad': 0x88a8,
}
const PROTOCOL_NAMES: { readonly [value: number]: string } = {
  [ETH_P_ALL]: 'all',
  2048: 'ip',
  2054: 'arp',
  34525: 'ipv6',
  33024: '802.1Q',
  34984: '802.1ad',
}
const REFUSED_KINDS = ['flower', 'bpf', 'basic', 'cgroup', 'flow', 'fw', 'route', 'tcindex']
const TALK = 'We have an error talking to the kernel'
const CLSACT_INGRESS = 0xfff2
const CLSACT_EGRESS = 0xfff3
const FIRST_NODE = 0x800

/** Which hook of a device a command is about. */
interface Where {
  readonly dev: NetDevice
  readonly tc: DevTc | null
  /** null: a parent that has no filters here (the root) */
  readonly hook: 'ingress' | 'egress' | null
  /** the command said `parent ffff:` */
  readonly byHandle: boolean
}

interface Spec {
  devName: string | null
  hook: 'ingress' | 'egress' | null
  byHandle: boolean
  protocol: number | null
  pref: number | null
  handle: string | null
  kind: string | null
}

function takeParent(word: string, spec: Spec): void {
  const id = takeClassid(word) >>> 0
  spec.byHandle = true
  if (id === 0xffff0000) spec.hook = 'ingress'
  else if (id === (0xffff0000 | CLSACT_INGRESS) >>> 0) spec.hook = 'ingress'
  else if (id === (0xffff0000 | CLSACT_EGRESS) >>> 0) spec.hook = 'egress'
  else unmodelled(`tc filter parent ${word}`)
  if ((id & 0xffff) !== 0) spec.byHandle = false
}

/** Words up to the classifier's kind. */
function takeSpec(args: Args): Spec {
  const spec: Spec = {
    devName: null,
    hook: null,
    byHandle: false,
    protocol: null,
    pref: null,
    handle: null,
    kind: null,
  }
  while (!args.done) {
    const word = args.take()
    if (word === 'dev') spec.devName = args.take()
    else if (word === 'ingress' || word === 'egress') spec.hook = word
    else if (word === 'parent') takeParent(args.take(), spec)
    else if (matches(word, 'preference') || matches(word, 'priority')) spec.pref = Number(args.take())
    else if (matches(word, 'protocol')) {
      const name = args.take()
      const p = PROTOCOLS[name.toLowerCase()] ?? parseNumber(name)
      if (p < 0) throw new ToolExit(1, 'Error: argument "protocol" is wrong: invalid protocol')
      spec.protocol = p
    } else if (word === 'handle') spec.handle = args.take()
    else if (word === 'block' || word === 'chain' || word === 'estimator') unmodelled(`tc filter ... ${word}`)
    else if (word === 'root') spec.hook = null
    else {
      spec.kind = word
      return spec
    }
  }
  return spec
}

function whereOf(ns: Netns, spec: Spec): Where {
  if (spec.devName === null) throw new ToolExit(255, 'Must specify "dev" device')
  const dev = takeDevice(ns, spec.devName)
  return { dev, tc: dev.tc, hook: spec.hook, byHandle: spec.byHandle }
}

/** Runs `tc filter ...`. */
export function tcFilter(ns: Netns, args: Args, stats: boolean): string {
  const word = args.done ? 'show' : args.take()
  if (matches(word, 'add')) return add(ns, args, false)
  if (matches(word, 'change') || word === 'replace') return add(ns, args, true)
  if (matches(word, 'delete')) return del(ns, args)
  if (matches(word, 'show') || matches(word, 'list') || word === 'lst') return show(ns, args, stats)
  if (matches(word, 'get')) unmodelled('tc filter get')
  throw new ToolExit(255, `Command "${word}" is unknown, try "tc filter help".`)
}

function hookExists(where: Where): boolean {
  const kind = where.tc?.hookKind ?? null
  return kind === 'clsact' || (kind === 'ingress' && where.hook === 'ingress')
}

function add(ns: Netns, args: Args, replace: boolean): string {
  const spec = takeSpec(args)
  const where = whereOf(ns, spec)
  if (where.hook === null) unmodelled('tc filter of a class or a root qdisc')
  const kind = spec.kind
  if (kind !== null && REFUSED_KINDS.includes(kind)) unmodelled(`tc filter ${kind}`)
  if (kind === null) throw new ToolExit(255, 'Must specify filter type')
  const node = kind === 'matchall' || kind === 'u32' ? takeNode(ns, args, kind) : null
  if (!hookExists(where) || where.tc === null) throw new ToolExit(2, `Error: Parent Qdisc doesn't exists.\n${TALK}`)
  if (node === null) throw new ToolExit(2, `Error: TC classifier not found.\n${TALK}`)
  const tc = where.tc
  const chain = tc[where.hook]
  const protocol = spec.protocol ?? ETH_P_ALL
  const pref = spec.pref ?? autoPref(chain)
  let tp = chain.find((x) => x.pref === pref)
  if (tp !== undefined && (tp.protocol !== protocol || tp.kind !== kind)) {
    throw new ToolExit(2, `Error: Filter with specified priority/protocol not found.\n${TALK}`)
  }
  if (tp === undefined) {
    const first = !chain.some((x) => x.kind === 'u32')
    if (first) tc.nextHtid[where.hook] = FIRST_NODE
    const htid = kind === 'u32' ? tc.nextHtid[where.hook]++ : 0
    tp = { protocol, pref, kind: kind as TcProto['kind'], htid, nodes: [] }
    insertProto(chain, tp)
  } else if (tp.kind === 'matchall') throw new ToolExit(2, `RTNETLINK answers: File exists\n${TALK}`)
  if (replace && spec.handle !== null && tp.kind === 'u32') unmodelled('tc filter replace of one u32 filter')
  tp.nodes.push({ ...node, handle: handleOf(tp, spec.handle) })
  tcChanged(where.dev)
  return ''
}

function handleOf(tp: TcProto, given: string | null): number {
  if (tp.kind === 'matchall') return given === null ? 1 : Number(given)
  if (given !== null) unmodelled('tc filter u32 with a handle')
  return FIRST_NODE + tp.nodes.length
}

function takeNode(ns: Netns, args: Args, kind: 'matchall' | 'u32'): TcNode {
  const keys: U32Key[] = []
  let actions: TcAction[] = []
  let flowid = 0
  while (!args.done) {
    const word = args.take()
    if (word === 'action') actions = takeActions(ns, args)
    else if (word === 'flowid' || word === 'classid') flowid = takeClassid(args.take())
    else if (kind === 'u32' && word === 'match') takeMatch(args, keys)
    else if (
      [
        'skip_hw',
        'skip_sw',
        'offset',
        'ht',
        'hashkey',
        'divisor',
        'order',
        'link',
        'mark',
        'sample',
        'indev',
        'police',
      ].includes(word)
    )
      unmodelled(`tc filter ${kind} ${word}`)
    else throw new ToolExit(255, `What is "${word}"?`)
  }
  return { handle: 0, keys, actions, flowid, hits: 0 }
}

function bad(): never {
  throw new ToolExit(1, 'Illegal "match"')
}

function takeMatch(args: Args, keys: U32Key[]): void {
  const word = args.take()
  if (word === 'ip') takeIpMatch(args, keys)
  else if (word === 'u32' || word === 'u16' || word === 'u8') takeRawMatch(args, keys, Number(word.slice(1)))
  else if (['tcp', 'udp', 'icmp', 'ip6', 'mark', 'ether'].includes(word)) unmodelled(`tc filter u32 match ${word}`)
  else bad()
}

function hexOrNumber(word: string): number {
  const n = parseNumber(word)
  if (n >= 0) return n
  return /^[0-9a-f]+$/i.test(word) ? Number.parseInt(word, 16) : bad()
}

/** `at OFF` when it stands there. */
function takeAt(args: Args, otherwise: number): number {
  if (!args.accept('at')) return otherwise
  const word = args.take()
  if (word.startsWith('nexthdr')) unmodelled('tc filter u32 at nexthdr+')
  const n = /^-?\d+$/.test(word) ? Number(word) : bad()
  return n
}

function takeRawMatch(args: Args, keys: U32Key[], bits: number): void {
  const value = hexOrNumber(args.take())
  const mask = hexOrNumber(args.take())
  packKey(keys, value, mask, bits, takeAt(args, 0))
}

/** pack_key8, pack_key16 and pack_key: the value into its word. */
function packKey(keys: U32Key[], value: number, mask: number, bits: number, off: number): void {
  const shift = bits === 32 ? 0 : bits === 16 ? ((off & 2) === 0 ? 16 : 0) : 24 - 8 * (off & 3)
  const word = off & ~3
  const m = (mask << shift) | 0
  const v = (value << shift) & m
  for (const k of keys) {
    if (k.off !== word) continue
    if (((v ^ k.val) & m & k.mask) !== 0) bad()
    k.val |= v
    k.mask |= m
    return
  }
  keys.push({ off: word, val: v, mask: m })
}

function takeIpMatch(args: Args, keys: U32Key[]): void {
  const field = args.take()
  if (field === 'src' || field === 'dst') {
    const [address = '', length = '32'] = args.take().split('/')
    const ip = address === 'any' || address === 'all' ? 0 : parseIpv4(address)
    const n = Number(length)
    if (ip === null || !Number.isInteger(n) || n < 0 || n > 32) bad()
    packKey(keys, ip, n === 0 ? 0 : -1 << (32 - n), 32, takeAt(args, field === 'src' ? 12 : 16))
    return
  }
  const place: { readonly [name: string]: readonly [number, number] } = {
    tos: [8, 1],
    dsfield: [8, 1],
    precedence: [8, 1],
    ihl: [8, 0],
    protocol: [8, 9],
    sport: [16, 20],
    dport: [16, 22],
    icmp_type: [8, 20],
    icmp_code: [8, 21],
  }
  const at = place[field]
  if (at === undefined) unmodelled(`tc filter u32 match ip ${field}`)
  const value = hexOrNumber(args.take())
  const mask = hexOrNumber(args.take())
  packKey(keys, value, mask, at[0], takeAt(args, at[1]))
}

function del(ns: Netns, args: Args): string {
  const spec = takeSpec(args)
  const where = whereOf(ns, spec)
  if (where.hook === null) unmodelled('tc filter del of a class or a root qdisc')
  if (!hookExists(where) || where.tc === null) throw new ToolExit(2, `Error: Parent Qdisc doesn't exists.\n${TALK}`)
  const chain = where.tc[where.hook]
  if (spec.pref === null) chain.length = 0
  else {
    const i = chain.findIndex((x) => x.pref === spec.pref && (spec.protocol === null || x.protocol === spec.protocol))
    if (i < 0) throw new ToolExit(2, `Error: Filter with specified priority/protocol not found.\n${TALK}`)
    if (spec.handle !== null) unmodelled('tc filter del of one u32 filter')
    chain.splice(i, 1)
  }
  tcChanged(where.dev)
  return ''
}

function show(ns: Netns, args: Args, stats: boolean): string {
  const spec = takeSpec(args)
  const where = whereOf(ns, spec)
  if (where.tc === null || where.hook === null || !hookExists(where)) return ''
  // filters of the ingress qdisc stand at its handle, those of clsact at the place that `ingress` means
  const parent = where.tc.hookKind === 'ingress' && !where.byHandle ? 'parent ffff: ' : ''
  const chain = where.tc[where.hook]
  return chain
    .filter(
      (tp) =>
        (spec.pref === null || tp.pref === spec.pref) && (spec.protocol === null || tp.protocol === spec.protocol),
    )
    .map((tp) => protoText(tp, parent, ns.world.nowNs, stats))
    .join('')
}

function protoText(tp: TcProto, parent: string, now: number, stats: boolean): string {
  const protocol = PROTOCOL_NAMES[tp.protocol] ?? `[${tp.protocol}]`
  const head = `filter ${parent}protocol ${protocol} pref ${tp.pref} ${tp.kind} chain 0 `
  const out = [`${head}\n`]
  if (tp.kind === 'matchall') {
    for (const n of tp.nodes) {
      const hit = stats ? ` (rule hit ${n.hits})` : ''
      const flowid = n.flowid === 0 ? '' : `flowid ${flowidText(n.flowid)} `
      out.push(
        `${head}handle 0x${n.handle.toString(16)} ${flowid}\n  not_in_hw${hit}\n${actionsText(n.actions, now, stats)}`,
      )
    }
    return out.join('')
  }
  const ht = tp.htid.toString(16)
  out.push(`${head}fh ${ht}: ht divisor 1 \n`)
  for (const n of tp.nodes) {
    const flowid = n.flowid === 0 ? 'terminal flowid ' : `flowid ${flowidText(n.flowid)} `
    const id = `fh ${ht}::${n.handle.toString(16)} order ${n.handle} key ht ${ht} bkt 0 `
    out.push(`${head}${id}${flowid}not_in_hw \n`)
    for (const k of n.keys) out.push(`  match ${hex8(k.val)}/${hex8(k.mask)} at ${k.off}\n`)
    out.push(actionsText(n.actions, now, stats))
    if (n.actions.length === 0) out.push('\n')
  }
  return out.join('')
}

function hex8(n: number): string {
  return (n >>> 0).toString(16).padStart(8, '0')
}

function flowidText(n: number): string {
  return `${(n >>> 16).toString(16)}:${(n & 0xffff) === 0 ? '' : (n & 0xffff).toString(16)}`
}
