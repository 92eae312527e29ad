/**
 * The matches conntrack and state.
 *
 * iptables: extensions/libxt_conntrack.c (revision 3). Kernel: net/netfilter/xt_conntrack.c.
 */

import { anyIp, formatIp, type IptFamily, type IpValue, maskText, optionHostMask } from './ip-values.ts'
import { MATCH_CONNTRACK } from './kinds.ts'
import { IptTextError, type ParseContext, type XtMatch, type XtOption } from './types.ts'
import { bitNames, parseProtocol, portRange, uint } from './values.ts'

/** Bits of the state mask, as XT_CONNTRACK_STATE_BIT and friends. */
export const CT_STATE_INVALID = 1
export const CT_STATE_ESTABLISHED = 2
export const CT_STATE_RELATED = 4
export const CT_STATE_NEW = 8
export const CT_STATE_SNAT = 64
export const CT_STATE_DNAT = 128
export const CT_STATE_UNTRACKED = 256

/** match_flags and invert_flags, as XT_CONNTRACK_*. */
export const XT_CT_STATE = 1
export const XT_CT_PROTO = 2
export const XT_CT_ORIGSRC = 4
export const XT_CT_ORIGDST = 8
export const XT_CT_REPLSRC = 16
export const XT_CT_REPLDST = 32
export const XT_CT_STATUS = 64
export const XT_CT_EXPIRES = 128
export const XT_CT_ORIGSRC_PORT = 256
export const XT_CT_ORIGDST_PORT = 512
export const XT_CT_REPLSRC_PORT = 1024
export const XT_CT_REPLDST_PORT = 2048
export const XT_CT_DIRECTION = 4096

const STATES = [
  [CT_STATE_INVALID, 'INVALID'],
  [CT_STATE_NEW, 'NEW'],
  [CT_STATE_RELATED, 'RELATED'],
  [CT_STATE_ESTABLISHED, 'ESTABLISHED'],
  [CT_STATE_UNTRACKED, 'UNTRACKED'],
  [CT_STATE_SNAT, 'SNAT'],
  [CT_STATE_DNAT, 'DNAT'],
] as const

/** IPS_* status bits by name. */
const STATUSES = [
  [1, 'EXPECTED'],
  [2, 'SEEN_REPLY'],
  [4, 'ASSURED'],
  [8, 'CONFIRMED'],
] as const

interface ConntrackData {
  flags: number
  inv: number
  state: number
  status: number
  proto: number
  /** origsrc, origdst, replsrc, repldst as [ip, mask] */
  addrs: [IpValue, IpValue][]
  ports: [number, number][]
  expires: [number, number]
  reply: boolean
}

function parseNames(text: string, names: readonly (readonly [number, string])[], what: string, none?: string): number {
  let bits = 0
  for (const word of text.split(',')) {
    const row = names.find(([, name]) => name === word.toUpperCase())
    if (row !== undefined) bits |= row[0]
    else if (none === undefined || word.toUpperCase() !== none)
      throw new IptTextError(`Bad ${what} "${word === '' ? text : word}"`)
  }
  return bits
}

const ADDRESS_OPTIONS = ['ctorigsrc', 'ctorigdst', 'ctreplsrc', 'ctrepldst']

const OPTIONS: XtOption<ConntrackData>[] = [
  {
    name: 'ctstate',
    arg: true,
    invert: true,
    set(d, v, inverted) {
      d.state = parseNames(v, STATES, 'ctstate')
      flag(d, XT_CT_STATE, inverted)
    },
  },
  {
    name: 'ctproto',
    arg: true,
    invert: true,
    set(d, v, inverted) {
      d.proto = parseProtocol(v)
      flag(d, XT_CT_PROTO, inverted)
      if (d.proto === 0 && inverted) throw new IptTextError('conntrack: rule would never match protocol')
    },
  },
  ...ADDRESS_OPTIONS.map((name, i) => ({
    name,
    arg: true,
    invert: true,
    set(d: ConntrackData, v: string, inverted: boolean, x: ParseContext) {
      d.addrs[i] = optionHostMask(x.family, v)
      flag(d, XT_CT_ORIGSRC << i, inverted)
    },
  })),
  ...ADDRESS_OPTIONS.map((name, i) => ({
    name: `${name}port`,
    arg: true,
    invert: true,
    set(d: ConntrackData, v: string, inverted: boolean) {
      d.ports[i] = portRange(v)
      flag(d, XT_CT_ORIGSRC_PORT << i, inverted)
    },
  })),
  {
    name: 'ctstatus',
    arg: true,
    invert: true,
    set(d, v, inverted) {
      d.status = parseNames(v, STATUSES, 'ctstatus', 'NONE')
      flag(d, XT_CT_STATUS, inverted)
    },
  },
  {
    name: 'ctexpire',
    arg: true,
    invert: true,
    set(d, v, inverted) {
      const colon = v.indexOf(':')
      const lo = uint('conntrack', 'ctexpire', colon < 0 ? v : v.slice(0, colon) || '0')
      d.expires = [lo, colon < 0 ? lo : uint('conntrack', 'ctexpire', v.slice(colon + 1) || '4294967295')]
      flag(d, XT_CT_EXPIRES, inverted)
    },
  },
  {
    name: 'ctdir',
    arg: true,
    set(d, v) {
      if (v.toUpperCase() !== 'ORIGINAL' && v.toUpperCase() !== 'REPLY') {
        throw new IptTextError(`conntrack: Bad value for "--ctdir" option: "${v}"`)
      }
      d.reply = v.toUpperCase() === 'REPLY'
      flag(d, XT_CT_DIRECTION, d.reply)
    },
  },
]

function flag(d: ConntrackData, bit: number, inverted: boolean): void {
  d.flags |= bit
  if (inverted) d.inv |= bit
}

function dump(d: ConntrackData, prefix: string): string {
  let out = ''
  const add = (bit: number, text: string): void => {
    if ((d.flags & bit) === 0) return
    const inverted = bit !== XT_CT_DIRECTION && (d.inv & bit) !== 0
    out += `${inverted ? ' !' : ''} ${prefix}${text}`
  }
  add(XT_CT_STATE, `ctstate ${bitNames(d.state, STATES)}`)
  add(XT_CT_PROTO, `ctproto ${d.proto}`)
  ADDRESS_OPTIONS.forEach((name, i) => {
    add(XT_CT_ORIGSRC << i, `${name} ${formatIp(d.addrs[i]![0])}${maskText(d.addrs[i]![1])}`)
  })
  ADDRESS_OPTIONS.forEach((name, i) => {
    const [lo, hi] = d.ports[i]!
    add(XT_CT_ORIGSRC_PORT << i, `${name}port ${lo === hi ? lo : `${lo}:${hi}`}`)
  })
  add(XT_CT_STATUS, `ctstatus ${d.status === 0 ? 'NONE' : bitNames(d.status, STATUSES)}`)
  add(XT_CT_EXPIRES, `ctexpire ${d.expires[0] === d.expires[1] ? d.expires[0] : `${d.expires[0]}:${d.expires[1]}`}`)
  add(XT_CT_DIRECTION, `ctdir ${d.reply ? 'REPLY' : 'ORIGINAL'}`)
  return out
}

function initData(family: IptFamily): ConntrackData {
  const any = anyIp(family)
  return {
    flags: 0,
    inv: 0,
    state: 0,
    status: 0,
    proto: 0,
    addrs: [
      [any, any],
      [any, any],
      [any, any],
      [any, any],
    ],
    ports: [
      [0, 0],
      [0, 0],
      [0, 0],
      [0, 0],
    ],
    expires: [0, 0],
    reply: false,
  }
}

/** `-m conntrack` */
export const conntrackMatch: XtMatch<ConntrackData> = {
  name: 'conntrack',
  options: OPTIONS,
  init: initData,
  check(_d, seen) {
    if (seen.size === 0) throw new IptTextError('conntrack: At least one option is required')
  },
  save: (d) => dump(d, '--'),
  list: (d) => dump(d, ''),
  compile(d, c) {
    c.emit(
      MATCH_CONNTRACK,
      d.flags,
      d.inv,
      d.state,
      d.status,
      d.proto,
      ...d.addrs.flat().map((v) => (typeof v === 'number' ? v : 0)),
      ...d.ports.flat(),
      ...d.expires,
      // the addresses of IPv6 stand behind all else
      ...d.addrs.flat().flatMap((v) => (typeof v === 'number' ? [] : v)),
    )
  },
}

/** `-m state`: an alias of conntrack with one option. */
export const stateMatch: XtMatch<ConntrackData> = {
  name: 'state',
  options: [
    {
      name: 'state',
      arg: true,
      invert: true,
      set(d, v, inverted) {
        d.state = parseNames(v, STATES.slice(0, 5), 'state')
        flag(d, XT_CT_STATE, inverted)
      },
    },
  ],
  init: initData,
  check(_d, seen) {
    if (seen.size === 0) throw new IptTextError('state: option "--state" must be specified')
  },
  save: (d) => `${(d.inv & XT_CT_STATE) !== 0 ? ' !' : ''} --state ${bitNames(d.state, STATES)}`,
  list: (d) => `${(d.inv & XT_CT_STATE) !== 0 ? ' !' : ''} state ${bitNames(d.state, STATES)}`,
  compile: (d, c) => conntrackMatch.compile!(d, c),
}
