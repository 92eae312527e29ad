/**
 * The matches on single fields: length, tcpmss, tos, dscp, ttl, mac, pkttype, iprange, physdev, set.
 *
 * iptables: extensions/libxt_{length,tcpmss,tos,dscp,mac,pkttype,iprange,physdev,set}.c, libipt_ttl.c. Kernel:
 * net/netfilter/xt_*.c of the same names.
 */

import { parseIpv6 } from '../../../addr/ipv6.ts'
import { formatMac, parseMac } from '../../../addr/mac.ts'
import { anyIp, formatIp, type IpValue } from './ip-values.ts'
import {
  MATCH_IPRANGE,
  MATCH_IPRANGE6,
  MATCH_LENGTH,
  MATCH_MAC,
  MATCH_PHYSDEV,
  MATCH_PKTTYPE,
  MATCH_SET,
  MATCH_TCPMSS,
  MATCH_TOS,
  MATCH_TTL,
} from './kinds.ts'
import { rangeMatch } from './match-ports.ts'
import { IptTextError, type ParseContext, type XtMatch } from './types.ts'
import { hex2, host, strtoui, uint } from './values.ts'

/** `-m length` */
export const lengthMatch = rangeMatch('length', 'length', MATCH_LENGTH, 'length')
/** `-m tcpmss` */
export const tcpmssMatch = rangeMatch('tcpmss', 'mss', MATCH_TCPMSS, 'tcpmss match', [6])

interface ValueMask {
  value: number
  mask: number
  inv: boolean
}

/** Names of TOS values. */
const TOS_NAMES: Readonly<Record<string, number>> = {
  'minimize-delay': 0x10,
  'maximize-throughput': 0x08,
  'maximize-reliability': 0x04,
  'minimize-cost': 0x02,
  'normal-service': 0,
}

/** tos_parse_symbolic / numeric `v/m`: [value, mask]. */
export function parseTos(ext: string, option: string, text: string, defaultMask: number): [number, number] {
  const named = TOS_NAMES[text.toLowerCase()]
  if (named !== undefined) return [named, 0x3f]
  const slash = text.indexOf('/')
  const v = strtoui(slash < 0 ? text : text.slice(0, slash), 255)
  const m = slash < 0 ? defaultMask : strtoui(text.slice(slash + 1), 255)
  if (v === null || m === null) throw new IptTextError(`${ext}: bad value for option "--${option}", or out of range`)
  return [v, m]
}

/** `-m tos` */
export const tosMatch: XtMatch<ValueMask> = {
  name: 'tos',
  options: [
    {
      name: 'tos',
      arg: true,
      invert: true,
      set(d, v, inverted) {
        ;[d.value, d.mask] = parseTos('tos', 'tos', v, 0xff)
        d.inv = inverted
      },
    },
  ],
  init: () => ({ value: 0, mask: 0, inv: false }),
  check(_d, seen) {
    if (seen.size === 0) throw new IptTextError('tos: option "--tos" must be specified')
  },
  save: (d) => `${d.inv ? ' !' : ''} --tos ${hex2(d.value)}/${hex2(d.mask)}`,
  list: (d) => ` tos match${d.inv ? '!' : ''}${hex2(d.value)}/${hex2(d.mask)}`,
  compile(d, c) {
    c.emit(MATCH_TOS, d.value, d.mask, d.inv ? 1 : 0)
  },
}

/** DSCP class names. */
const DSCP_CLASSES: Readonly<Record<string, number>> = {
  CS0: 0,
  CS1: 8,
  CS2: 16,
  CS3: 24,
  CS4: 32,
  CS5: 40,
  CS6: 48,
  CS7: 56,
  BE: 0,
  AF11: 10,
  AF12: 12,
  AF13: 14,
  AF21: 18,
  AF22: 20,
  AF23: 22,
  AF31: 26,
  AF32: 28,
  AF33: 30,
  AF41: 34,
  AF42: 36,
  AF43: 38,
  EF: 46,
}

/** A DSCP class by name. */
export function dscpClass(text: string): number {
  const v = DSCP_CLASSES[text.toUpperCase()]
  if (v === undefined) throw new IptTextError(`Invalid DSCP value \`${text}'`)
  return v
}

/** `-m dscp` */
export const dscpMatch: XtMatch<{ dscp: number; inv: boolean }> = {
  name: 'dscp',
  options: [
    {
      name: 'dscp',
      arg: true,
      invert: true,
      set(d, v, inverted) {
        d.dscp = uint('dscp', 'dscp', v, 63)
        d.inv = inverted
      },
    },
    {
      name: 'dscp-class',
      arg: true,
      invert: true,
      set(d, v, inverted) {
        d.dscp = dscpClass(v)
        d.inv = inverted
      },
    },
  ],
  init: () => ({ dscp: 0, inv: false }),
  check(_d, seen) {
    if (seen.size === 0) throw new IptTextError('DSCP match: Parameter --dscp is required')
  },
  save: (d) => `${d.inv ? ' !' : ''} --dscp ${hex2(d.dscp)}`,
  list: (d) => ` DSCP match ${d.inv ? '!' : ''}${hex2(d.dscp)}`,
  compile(d, c) {
    c.emit(MATCH_TOS, d.dscp << 2, 0xfc, d.inv ? 1 : 0)
  },
}

const TTL_MODES = ['ttl-eq', 'ttl-ne', 'ttl-lt', 'ttl-gt']
const TTL_WORDS = ['==', '!=', '<', '>']

/** `-m ttl` */
export const ttlMatch: XtMatch<{ mode: number; ttl: number }> = {
  name: 'ttl',
  options: [
    {
      name: 'ttl-eq',
      arg: true,
      invert: true,
      set(d, v, inverted) {
        d.mode = inverted ? 1 : 0
        d.ttl = uint('ttl', 'ttl-eq', v, 255)
      },
    },
    {
      name: 'ttl',
      arg: true,
      invert: true,
      set(d, v, inverted) {
        d.mode = inverted ? 1 : 0
        d.ttl = uint('ttl', 'ttl-eq', v, 255)
      },
    },
    ...[2, 3].map((mode) => ({
      name: TTL_MODES[mode]!,
      arg: true,
      set(d: { mode: number; ttl: number }, v: string) {
        d.mode = mode
        d.ttl = uint('ttl', TTL_MODES[mode]!, v, 255)
      },
    })),
  ],
  init: () => ({ mode: 0, ttl: 0 }),
  check(_d, seen) {
    if (seen.size === 0) throw new IptTextError("TTL match: You must specify one of `--ttl-eq', `--ttl-lt', `--ttl-gt")
  },
  save: (d) => (d.mode === 1 ? ` ! --ttl-eq ${d.ttl}` : ` --${TTL_MODES[d.mode]} ${d.ttl}`),
  list: (d) => ` TTL match TTL ${TTL_WORDS[d.mode]} ${d.ttl}`,
  compile(d, c) {
    c.emit(MATCH_TTL, d.mode, d.ttl)
  },
}

/** `-m mac` */
export const macMatch: XtMatch<{ hi: number; lo: number; inv: boolean }> = {
  name: 'mac',
  hooks: (1 << 0) | (1 << 1) | (1 << 2),
  options: [
    {
      name: 'mac-source',
      arg: true,
      invert: true,
      set(d, v, inverted) {
        const mac = parseMac(v)
        if (mac === null) throw new IptTextError('mac: "mac-source" is not a MAC address')
        d.hi = mac.hi
        d.lo = mac.lo
        d.inv = inverted
      },
    },
  ],
  init: () => ({ hi: 0, lo: 0, inv: false }),
  check(_d, seen) {
    if (seen.size === 0) throw new IptTextError('mac: option "--mac-source" must be specified')
  },
  save: (d) => `${d.inv ? ' !' : ''} --mac-source ${formatMac(d)}`,
  list: (d) => ` MAC${d.inv ? ' !' : ''} ${formatMac(d)}`,
  compile(d, c) {
    c.emit(MATCH_MAC, d.hi, d.lo, d.inv ? 1 : 0)
  },
}

const PKTTYPES = ['unicast', 'broadcast', 'multicast']

/** `-m pkttype` */
export const pkttypeMatch: XtMatch<{ type: number; inv: boolean }> = {
  name: 'pkttype',
  options: [
    {
      name: 'pkt-type',
      arg: true,
      invert: true,
      set(d, v, inverted) {
        const t = v.toLowerCase()
        d.type = PKTTYPES.indexOf(
          t === 'bcast' ? 'broadcast' : t === 'mcast' ? 'multicast' : t === 'host' ? 'unicast' : t,
        )
        if (d.type < 0) throw new IptTextError(`Bad packet type '${v}'`)
        d.inv = inverted
      },
    },
  ],
  init: () => ({ type: 0, inv: false }),
  check(_d, seen) {
    if (seen.size === 0) throw new IptTextError('pkttype: option "--pkt-type" must be specified')
  },
  save: (d) => `${d.inv ? ' !' : ''} --pkt-type ${PKTTYPES[d.type]}`,
  list: (d) => ` PKTTYPE ${d.inv ? '!' : ''}= ${PKTTYPES[d.type]}`,
  compile(d, c) {
    c.emit(MATCH_PKTTYPE, d.type, d.inv ? 1 : 0)
  },
}

interface IprangeData {
  flags: number
  src: [IpValue, IpValue]
  dst: [IpValue, IpValue]
}

function parseRange(x: ParseContext, option: string, text: string): [IpValue, IpValue] {
  const dash = text.indexOf('-')
  const one = (word: string): IpValue => {
    if (x.family === 4) return host(word)
    const ip = parseIpv6(word)
    if (ip === null) throw new IptTextError(`iprange: Bad value for "--${option}" option: "${word}"`)
    return ip
  }
  const lo = one(dash < 0 ? text : text.slice(0, dash))
  return [lo, dash < 0 ? lo : one(text.slice(dash + 1))]
}

/** `-m iprange` */
export const iprangeMatch: XtMatch<IprangeData> = {
  name: 'iprange',
  options: [
    {
      name: 'src-range',
      arg: true,
      invert: true,
      set(d, v, inverted, x) {
        d.src = parseRange(x, 'src-range', v)
        d.flags |= inverted ? 5 : 1
      },
    },
    {
      name: 'dst-range',
      arg: true,
      invert: true,
      set(d, v, inverted, x) {
        d.dst = parseRange(x, 'dst-range', v)
        d.flags |= inverted ? 10 : 2
      },
    },
  ],
  init(family) {
    const any = anyIp(family)
    return { flags: 0, src: [any, any], dst: [any, any] }
  },
  check(d) {
    if (d.flags === 0) throw new IptTextError("iprange match: You must specify `--src-range' or `--dst-range'")
  },
  save(d) {
    let out = ''
    const range = ([lo, hi]: [IpValue, IpValue]): string => `${formatIp(lo)}-${formatIp(hi)}`
    if ((d.flags & 1) !== 0) out += `${(d.flags & 4) !== 0 ? ' !' : ''} --src-range ${range(d.src)}`
    if ((d.flags & 2) !== 0) out += `${(d.flags & 8) !== 0 ? ' !' : ''} --dst-range ${range(d.dst)}`
    return out
  },
  list(d) {
    let out = ''
    const range = ([lo, hi]: [IpValue, IpValue]): string => `${formatIp(lo)}-${formatIp(hi)}`
    if ((d.flags & 1) !== 0) out += ` source IP range${(d.flags & 4) !== 0 ? ' !' : ''} ${range(d.src)}`
    if ((d.flags & 2) !== 0) out += ` destination IP range${(d.flags & 8) !== 0 ? ' !' : ''} ${range(d.dst)}`
    return out
  },
  compile(d, c) {
    const ends = [...d.src, ...d.dst]
    const kind = typeof d.src[0] === 'number' ? MATCH_IPRANGE : MATCH_IPRANGE6
    c.emit(kind, d.flags, ...ends.flatMap((v) => (typeof v === 'number' ? [v] : [...v])))
  },
}

/** Operations of physdev, include/uapi/linux/netfilter/xt_physdev.h. */
export const PHYSDEV_IN = 1
export const PHYSDEV_OUT = 2
export const PHYSDEV_BRIDGED = 4
export const PHYSDEV_ISIN = 8
export const PHYSDEV_ISOUT = 16

interface PhysdevData {
  ops: number
  inv: number
  in: string
  out: string
}

function physdevText(d: PhysdevData): string {
  let out = ''
  const add = (bit: number, text: string): void => {
    if ((d.ops & bit) !== 0) out += `${(d.inv & bit) !== 0 ? ' !' : ''} --physdev-${text}`
  }
  add(PHYSDEV_ISIN, 'is-in')
  add(PHYSDEV_IN, `in ${d.in}`)
  add(PHYSDEV_ISOUT, 'is-out')
  add(PHYSDEV_OUT, `out ${d.out}`)
  add(PHYSDEV_BRIDGED, 'is-bridged')
  return out
}

/** `-m physdev` */
export const physdevMatch: XtMatch<PhysdevData> = {
  name: 'physdev',
  options: (
    [
      ['physdev-in', PHYSDEV_IN, true],
      ['physdev-out', PHYSDEV_OUT, true],
      ['physdev-is-in', PHYSDEV_ISIN, false],
      ['physdev-is-out', PHYSDEV_ISOUT, false],
      ['physdev-is-bridged', PHYSDEV_BRIDGED, false],
    ] as const
  ).map(([name, bit, arg]) => ({
    name,
    arg,
    invert: true,
    set(d: PhysdevData, v: string, inverted: boolean) {
      if (arg && v.length > 15) throw new IptTextError(`physdev: interface name "${v}" is too long`)
      if (bit === PHYSDEV_IN) d.in = v
      if (bit === PHYSDEV_OUT) d.out = v
      d.ops |= bit
      if (inverted) d.inv |= bit
    },
  })),
  init: () => ({ ops: 0, inv: 0, in: '', out: '' }),
  check(d) {
    if (d.ops === 0) throw new IptTextError('PHYSDEV: no physdev option specified')
  },
  save: physdevText,
  list: (d) => ` PHYSDEV match${physdevText(d)}`,
  compile(d, c) {
    c.emit(MATCH_PHYSDEV, c.interfacePattern(d.in), c.interfacePattern(d.out), d.ops, d.inv)
  },
}

interface SetMatchData {
  name: string
  dirs: string[]
  inv: boolean
  returnNomatch: boolean
  noUpdateCounters: boolean
  noUpdateSubcounters: boolean
  packets: [string, number, boolean] | null
  bytes: [string, number, boolean] | null
}

/** `src,dst` of a set match or SET target, checked against the set. */
export function parseSetDirs(name: string, text: string, x: ParseContext): string[] {
  const dims = x.setDimensions(name)
  if (dims === 0) throw new IptTextError(`Set ${name} doesn't exist.\n`)
  const family = x.setFamily(name)
  if (family !== 0 && family !== x.family) {
    throw new IptTextError(`The protocol family of set ${name} is IPv${family}, which is not applicable.\n`)
  }
  const dirs = text.split(',')
  for (const dir of dirs) {
    if (dir !== 'src' && dir !== 'dst') {
      throw new IptTextError("You must spefify (the comma separated list of) 'src' or 'dst'.")
    }
  }
  if (dirs.length > 6) throw new IptTextError(`Can't be more src/dst options than 6.`)
  return dirs
}

/** Bit per dimension: 1 for `src`. */
export function setDirBits(dirs: readonly string[]): number {
  return dirs.reduce((bits, dir, i) => bits | (dir === 'src' ? 1 << i : 0), 0)
}

const COUNTER_OPS = ['eq', 'lt', 'gt'] as const

/** `-m set` */
export const setMatch: XtMatch<SetMatchData> = {
  name: 'set',
  options: [
    ...['match-set', 'set'].map((name) => ({
      name,
      arg: true,
      arg2: true,
      invert: true,
      set(d: SetMatchData, v: string, inverted: boolean, x: ParseContext, v2: string) {
        if (v.length > 31) throw new IptTextError(`setname \`${v}' too long, max 31 characters.`)
        d.name = v
        d.dirs = parseSetDirs(v, v2, x)
        d.inv = inverted
      },
    })),
    { name: 'return-nomatch', set: (d) => void (d.returnNomatch = true) },
    { name: 'update-counters', invert: true, set: (d, _v, inverted) => void (d.noUpdateCounters = inverted) },
    { name: 'update-subcounters', invert: true, set: (d, _v, inverted) => void (d.noUpdateSubcounters = inverted) },
    ...(['packets', 'bytes'] as const).flatMap((what) =>
      COUNTER_OPS.map((op) => ({
        name: `${what}-${op}`,
        arg: true,
        invert: op === 'eq',
        set(d: SetMatchData, v: string, inverted: boolean) {
          d[what] = [op, uint('set', `${what}-${op}`, v, Number.MAX_SAFE_INTEGER), inverted]
        },
      })),
    ),
  ],
  init: () => ({
    name: '',
    dirs: [],
    inv: false,
    returnNomatch: false,
    noUpdateCounters: false,
    noUpdateSubcounters: false,
    packets: null,
    bytes: null,
  }),
  check(d) {
    if (d.name === '') throw new IptTextError("You must specify `--match-set' with proper arguments")
  },
  save: (d) => `${d.inv ? ' !' : ''} --match-set ${setText(d, '--')}`,
  list: (d) => `${d.inv ? ' !' : ''} match-set ${setText(d, '')}`,
  compile(d, c) {
    c.emit(
      MATCH_SET,
      c.set(d.name),
      d.dirs.length,
      setDirBits(d.dirs),
      (d.inv ? 1 : 0) | (d.returnNomatch ? 2 : 0) | (d.noUpdateCounters ? 4 : 0),
    )
  },
  unmodelled: (d) => (d.packets !== null || d.bytes !== null ? 'match set --packets/--bytes' : null),
}

function setText(d: SetMatchData, prefix: string): string {
  let out = `${d.name} ${d.dirs.join(',')}`
  if (d.returnNomatch) out += ` ${prefix}return-nomatch`
  if (d.noUpdateCounters) out += ` ! ${prefix}update-counters`
  if (d.noUpdateSubcounters) out += ` ! ${prefix}update-subcounters`
  for (const what of ['packets', 'bytes'] as const) {
    const c = d[what]
    if (c !== null) out += `${c[2] ? ' !' : ''} ${prefix}${what}-${c[0]} ${c[1]}`
  }
  return out
}
