/**
 * Actions of `tc filter`: gact, mirred, skbedit and vlan, in and out.
 *
 * Not modelled, refused by name: police, pedit, csum, nat, bpf, tunnel_key, ct, sample; `random`, `goto chain`, `jump`,
 * `trap`, cookies and given indexes.
 * Source: iproute2 tc/m_gact.c, m_mirred.c, m_skbedit.c, m_vlan.c, m_action.c.
 */
import { ETH_P_8021AD, ETH_P_8021Q } from '../../packet/layout.ts'
import type { Netns } from '../netns.ts'
import { freeActionIndex } from '../tc/config.ts'
import {
  ACT_GACT,
  ACT_MIRRED,
  ACT_SKBEDIT,
  ACT_VLAN,
  TC_ACT_OK,
  TC_ACT_PIPE,
  TC_ACT_RECLASSIFY,
  TC_ACT_SHOT,
  TC_ACT_STOLEN,
  TC_ACT_UNSPEC,
  type TcAction,
  VLAN_MODIFY,
  VLAN_POP,
  VLAN_PUSH,
} from '../tc/types.ts'
import { type Args, parseNumber, takeNumber } from './ip-args.ts'
import { ToolExit, unmodelled } from './result.ts'

const NS_PER_S = 1_000_000_000
const CONTROLS: { readonly [word: string]: number } = {
  ok: TC_ACT_OK,
  pass: TC_ACT_OK,
  allow: TC_ACT_OK,
  drop: TC_ACT_SHOT,
  shot: TC_ACT_SHOT,
  pipe: TC_ACT_PIPE,
  continue: TC_ACT_UNSPEC,
  reclassify: TC_ACT_RECLASSIFY,
  stolen: TC_ACT_STOLEN,
}
const CONTROL_NAMES: { readonly [value: number]: string } = {
  [TC_ACT_OK]: 'pass',
  [TC_ACT_SHOT]: 'drop',
  [TC_ACT_PIPE]: 'pipe',
  [TC_ACT_UNSPEC]: 'continue',
  [TC_ACT_RECLASSIFY]: 'reclassify',
  [TC_ACT_STOLEN]: 'stolen',
}
const PTYPES = ['host', 'broadcast', 'multicast', 'otherhost']
const REFUSED = [
  'police',
  'pedit',
  'csum',
  'nat',
  'bpf',
  'tunnel_key',
  'ct',
  'connmark',
  'sample',
  'mpls',
  'skbmod',
  'ife',
  'simple',
]
const REFUSED_CONTROLS = ['trap', 'goto', 'jump', 'random']

const GACT_USAGE = [
  'Usage: ... gact <ACTION> [RAND] [INDEX]',
  'Where: \tACTION := reclassify | drop | continue | pass | pipe |',
  '       \t          goto chain <CHAIN_INDEX> | jump <JUMP_COUNT>',
  '\tRAND := random <RANDTYPE> <ACTION> <VAL>',
  '\tRANDTYPE := netrand | determ',
  '\tVAL : = value not exceeding 10000',
  '\tJUMP_COUNT := Absolute jump from start of action list',
  '\tINDEX := index value used',
  '',
].join('\n')

type Draft = { -readonly [K in keyof TcAction]: TcAction[K] }

function draft(kind: number, control: number, now: number): Draft {
  return {
    kind,
    index: 0,
    control,
    dev: null,
    ingress: false,
    redirect: false,
    mark: null,
    priority: null,
    ptype: null,
    op: 0,
    vlanProto: ETH_P_8021Q,
    vlanId: null,
    vlanPriority: null,
    createdNs: now,
    usedNs: now,
    firstNs: 0,
    packets: 0,
    bytes: 0,
    drops: 0,
    overlimits: 0,
  }
}

/** Reads the actions that follow the first word `action`. */
export function takeActions(ns: Netns, args: Args): TcAction[] {
  const out: TcAction[] = []
  for (;;) {
    const a = takeAction(ns, args)
    const taken = out.filter((x) => x.kind === a.kind).map((x) => x.index)
    a.index = freeActionIndex(ns, a.kind, taken)
    out.push(a)
    if (!args.accept('action')) return out
  }
}

function takeAction(ns: Netns, args: Args): Draft {
  const word = args.take()
  const now = ns.world.nowNs
  if (REFUSED.includes(word)) unmodelled(`tc action ${word}`)
  if (word === 'mirred') return takeMirred(ns, args)
  if (word === 'skbedit') return takeSkbedit(args, now)
  if (word === 'vlan') return takeVlan(args, now)
  const name = word === 'gact' ? args.take() : word
  if (REFUSED_CONTROLS.includes(name)) unmodelled(`tc action ${name}`)
  const control = CONTROLS[name]
  if (control === undefined) throw new ToolExit(255, `Bad action type ${name}\n${GACT_USAGE}`)
  if (args.peek() === 'random' || args.peek() === 'index') unmodelled(`tc action ${name} ${args.peek()}`)
  return draft(ACT_GACT, control, now)
}

/** A control word where one may stand, else `otherwise`. */
function takeControl(args: Args, otherwise: number): number {
  const word = args.peek()
  if (word === 'index' || word === 'cookie') unmodelled(`tc action ... ${word}`)
  const control = word === undefined ? undefined : CONTROLS[word]
  if (control === undefined) return otherwise
  args.take()
  return control
}

function takeMirred(ns: Netns, args: Args): Draft {
  const direction = args.take()
  const verb = args.take()
  if (!['ingress', 'egress'].includes(direction) || !['redirect', 'mirror'].includes(verb)) {
    throw new ToolExit(1, `mirred option not supported ${verb}`)
  }
  if (args.peek() === 'index') unmodelled('tc action mirred index')
  if (!args.accept('dev')) throw new ToolExit(1, 'bad mirred option')
  const name = args.take()
  const dev = ns.devices.get(name)
  if (dev === undefined) {
    const lines = [
      `Cannot find device "${name}"`,
      'bad action parsing',
      'parse_action: bad value (5:mirred)!',
      'Illegal "action"',
    ]
    throw new ToolExit(1, lines.join('\n'))
  }
  const redirect = verb === 'redirect'
  const a = draft(ACT_MIRRED, takeControl(args, redirect ? TC_ACT_STOLEN : TC_ACT_PIPE), ns.world.nowNs)
  a.dev = dev
  a.ingress = direction === 'ingress'
  a.redirect = redirect
  return a
}

function takeSkbedit(args: Args, now: number): Draft {
  const a = draft(ACT_SKBEDIT, TC_ACT_PIPE, now)
  for (let word = args.peek(); word !== undefined; word = args.peek()) {
    if (args.accept('mark')) a.mark = takeNumber(args.take(), 0xffffffff, 'invalid mark') | 0
    else if (args.accept('priority')) a.priority = takeClassid(args.take())
    else if (args.accept('ptype')) {
      const name = args.take()
      a.ptype = PTYPES.indexOf(name)
      if (a.ptype < 0) throw new ToolExit(255, `Illegal "ptype"`)
    } else if (word === 'queue_mapping' || word === 'inheritdsfield') unmodelled(`tc action skbedit ${word}`)
    else break
  }
  return { ...a, control: takeControl(args, TC_ACT_PIPE) }
}

/** `1:2`, both parts hexadecimal. */
export function takeClassid(word: string): number {
  const m = /^([0-9a-f]*):([0-9a-f]*)$/i.exec(word)
  if (m === null) {
    const n = parseNumber(word)
    if (n < 0) throw new ToolExit(1, `Illegal "classid"`)
    return n
  }
  return (Number.parseInt(m[1] || '0', 16) << 16) | Number.parseInt(m[2] || '0', 16)
}

function takeVlan(args: Args, now: number): Draft {
  const a = draft(ACT_VLAN, TC_ACT_PIPE, now)
  const verb = args.take()
  a.op = verb === 'pop' ? VLAN_POP : verb === 'push' ? VLAN_PUSH : verb === 'modify' ? VLAN_MODIFY : 0
  if (a.op === 0) unmodelled(`tc action vlan ${verb}`)
  for (let word = args.peek(); word !== undefined; word = args.peek()) {
    if (args.accept('id')) a.vlanId = takeNumber(args.take(), 4095, 'id is invalid')
    else if (args.accept('priority')) a.vlanPriority = takeNumber(args.take(), 7, 'prio is invalid')
    else if (args.accept('protocol')) a.vlanProto = /^802\.1ad$/i.test(args.take()) ? ETH_P_8021AD : ETH_P_8021Q
    else break
  }
  if (a.op === VLAN_PUSH && a.vlanId === null) throw new ToolExit(1, 'id needed for push')
  return { ...a, control: takeControl(args, TC_ACT_PIPE) }
}

function classidText(n: number): string {
  return `${n >>> 16 === 0 ? '' : (n >>> 16).toString(16)}:${(n & 0xffff) === 0 ? '' : (n & 0xffff).toString(16)}`
}

function body(a: TcAction): { readonly text: string; readonly indent: string } {
  const control = CONTROL_NAMES[a.control] ?? ''
  if (a.kind === ACT_GACT) {
    return { text: `gact action ${control}\n\t random type none pass val 0`, indent: '\t ' }
  }
  if (a.kind === ACT_MIRRED) {
    const what = `${a.ingress ? 'Ingress' : 'Egress'} ${a.redirect ? 'Redirect' : 'Mirror'}`
    return { text: `mirred (${what} to device ${a.dev?.name ?? ''}) ${control}`, indent: '\t' }
  }
  if (a.kind === ACT_SKBEDIT) {
    const words = [
      a.priority === null ? '' : ` priority ${classidText(a.priority)}`,
      a.mark === null ? '' : ` mark ${a.mark >>> 0}`,
      a.ptype === null ? '' : ` ptype ${PTYPES[a.ptype]!}`,
    ]
    return { text: `skbedit ${words.join('')} ${control}`, indent: '\t ' }
  }
  const tag = [
    a.vlanId === null ? '' : ` id ${a.vlanId}`,
    ` protocol ${a.vlanProto === ETH_P_8021AD ? '802.1ad' : '802.1Q'}`,
    a.op === VLAN_PUSH || a.vlanPriority !== null ? ` priority ${a.vlanPriority ?? 0}` : '',
  ].join('')
  const verb = a.op === VLAN_POP ? 'pop' : a.op === VLAN_PUSH ? `push${tag}` : `modify${tag}`
  return { text: `vlan  ${verb} ${control}`, indent: '\t ' }
}

/** All actions of a filter as `tc filter show` lists them, with counters under -s. */
export function actionsText(actions: readonly TcAction[], now: number, stats: boolean): string {
  const seconds = (ns: number): number => Math.floor((now - ns) / NS_PER_S)
  const out: string[] = []
  actions.forEach((a, i) => {
    const { text, indent } = body(a)
    out.push(`\taction order ${i + 1}: ${text}\n`)
    out.push(`${indent}index ${a.index} ref 1 bind 1`)
    if (stats) {
      const first = a.firstNs === 0 && a.packets === 0 ? '' : ` firstused ${seconds(a.firstNs)} sec`
      out.push(` installed ${seconds(a.createdNs)} sec used ${seconds(a.usedNs)} sec${first}`)
    }
    out.push('\n')
    if (stats) {
      out.push('\tAction statistics:\n')
      out.push(
        `\tSent ${a.bytes} bytes ${a.packets} pkt (dropped ${a.drops}, overlimits ${a.overlimits} requeues 0) \n`,
      )
      out.push('\tbacklog 0b 0p requeues 0\n')
    }
    out.push('\n')
  })
  return out.join('')
}
