/**
 * The matches comment, mark, connmark, addrtype, statistic, recent, limit.
 *
 * iptables: extensions/libxt_{comment,mark,connmark,addrtype,statistic,recent,limit}.c. Kernel: net/netfilter/xt_*.c of
 * the same names.
 */
import { formatIp, hostBits, type IpValue, optionHost } from './ip-values.ts'
import {
  MATCH_ADDRTYPE,
  MATCH_CONNMARK,
  MATCH_LIMIT,
  MATCH_MARK,
  MATCH_RECENT,
  MATCH_STATISTIC_NTH,
  MATCH_STATISTIC_RANDOM,
} from './kinds.ts'
import { user2credits } from './limit.ts'
import { IptTextError, type XtMatch } from './types.ts'
import { bitNames, hex, markMask, saveString, strtoui, uint } from './values.ts'

/** `-m comment`: no code, a name for people. */
export const commentMatch: XtMatch<{ comment: string }> = {
  name: 'comment',
  options: [
    {
      name: 'comment',
      arg: true,
      set(d, v) {
        if (v.length > 255) throw new IptTextError('comment: option "--comment" exceeds maximum length of 255')
        d.comment = v
      },
    },
  ],
  init: () => ({ comment: '' }),
  check(_d, seen) {
    if (seen.size === 0) throw new IptTextError('comment: option "--comment" must be specified')
  },
  save: (d) => ` --comment${saveString(d.comment)}`,
  list: (d) => ` /* ${d.comment} */`,
  compile() {},
}

interface MarkData {
  mark: number
  mask: number
  inv: boolean
}

function markLike(name: string, kind: number, label: string): XtMatch<MarkData> {
  const value = (d: MarkData): string => (d.mask === -1 ? hex(d.mark) : `${hex(d.mark)}/${hex(d.mask)}`)
  return {
    name,
    options: [
      {
        name: 'mark',
        arg: true,
        invert: true,
        set(d, v, inverted) {
          ;[d.mark, d.mask] = markMask(name, 'mark', v)
          d.inv = inverted
        },
      },
    ],
    init: () => ({ mark: 0, mask: 0, inv: false }),
    check(_d, seen) {
      if (seen.size === 0) throw new IptTextError(`${name}: option "--mark" must be specified`)
    },
    save: (d) => `${d.inv ? ' !' : ''} --mark ${value(d)}`,
    list: (d) => ` ${label} match ${d.inv ? '! ' : label === 'connmark' ? ' ' : ''}${value(d)}`,
    compile(d, c) {
      c.emit(kind, d.mark, d.mask, d.inv ? 1 : 0)
    },
  }
}

/** `-m mark` */
export const markMatch = markLike('mark', MATCH_MARK, 'mark')
/** `-m connmark` */
export const connmarkMatch = markLike('connmark', MATCH_CONNMARK, 'connmark')

/** RTN_* by bit, as the option names them. */
const ADDRTYPES = [
  'UNSPEC',
  'UNICAST',
  'LOCAL',
  'BROADCAST',
  'ANYCAST',
  'MULTICAST',
  'BLACKHOLE',
  'UNREACHABLE',
  'PROHIBIT',
  'THROW',
  'NAT',
  'XRESOLVE',
].map((name, i) => [1 << i, name] as const)

interface AddrtypeData {
  src: number
  dst: number
  /** 1 invert source, 2 invert dest, 4 limit in, 8 limit out */
  flags: number
}

function parseAddrtypes(text: string): number {
  let bits = 0
  for (const word of text.split(',')) {
    const row = ADDRTYPES.find(([, name]) => name === word.toUpperCase())
    if (row === undefined) throw new IptTextError(`addrtype: bad type "${text}"`)
    bits |= row[0]
  }
  return bits
}

/** `-m addrtype` */
export const addrtypeMatch: XtMatch<AddrtypeData> = {
  name: 'addrtype',
  options: [
    {
      name: 'src-type',
      arg: true,
      invert: true,
      set(d, v, inverted) {
        d.src = parseAddrtypes(v)
        if (inverted) d.flags |= 1
      },
    },
    {
      name: 'dst-type',
      arg: true,
      invert: true,
      set(d, v, inverted) {
        d.dst = parseAddrtypes(v)
        if (inverted) d.flags |= 2
      },
    },
    { name: 'limit-iface-in', set: (d) => void (d.flags |= 4) },
    { name: 'limit-iface-out', set: (d) => void (d.flags |= 8) },
  ],
  init: () => ({ src: 0, dst: 0, flags: 0 }),
  check(d, seen) {
    if (!seen.has('src-type') && !seen.has('dst-type')) {
      throw new IptTextError('addrtype: you must specify --src-type or --dst-type')
    }
    if ((d.flags & 12) === 12)
      throw new IptTextError("addrtype: you can't specify both --limit-iface-in and --limit-iface-out")
  },
  refuse(d, rule) {
    if (typeof rule.src === 'number') return null
    const types = d.src | d.dst
    // addrtype_mt_checkentry_v1
    if ((types & (1 << 6)) !== 0) return 'addrtype: ipv6 BLACKHOLE matching not supported'
    if (types >= 1 << 8) return 'addrtype: ipv6 PROHIBIT (THROW, NAT ..) matching not supported'
    return (types & (1 << 3)) !== 0 ? 'addrtype: ipv6 does not support BROADCAST matching' : null
  },
  save(d) {
    let out = ''
    if (d.src !== 0) out += `${(d.flags & 1) !== 0 ? ' !' : ''} --src-type ${bitNames(d.src, ADDRTYPES)}`
    if (d.dst !== 0) out += `${(d.flags & 2) !== 0 ? ' !' : ''} --dst-type ${bitNames(d.dst, ADDRTYPES)}`
    return `${out}${(d.flags & 4) !== 0 ? ' --limit-iface-in' : ''}${(d.flags & 8) !== 0 ? ' --limit-iface-out' : ''}`
  },
  list(d) {
    let out = ' ADDRTYPE match'
    if (d.src !== 0) out += ` src-type ${(d.flags & 1) !== 0 ? '!' : ''}${bitNames(d.src, ADDRTYPES)}`
    if (d.dst !== 0) out += ` dst-type ${(d.flags & 2) !== 0 ? '!' : ''}${bitNames(d.dst, ADDRTYPES)}`
    return `${out}${(d.flags & 4) !== 0 ? ' limit-in' : ''}${(d.flags & 8) !== 0 ? ' limit-out' : ''}`
  },
  compile(d, c) {
    c.emit(MATCH_ADDRTYPE, d.src, d.dst, d.flags)
  },
}

interface StatisticData {
  mode: 'random' | 'nth' | ''
  probability: number
  every: number
  packet: number
  inv: boolean
}

function statisticText(d: StatisticData, prefix: string): string {
  const inv = d.inv ? ' !' : ''
  if (d.mode === 'random') {
    return ` ${prefix}mode random${inv} ${prefix}probability ${(d.probability / 0x80000000).toFixed(11)}`
  }
  const packet = d.packet !== 0 || prefix !== '' ? ` ${prefix}packet ${d.packet}` : ''
  return ` ${prefix}mode nth${inv} ${prefix}every ${d.every}${packet}`
}

/** `-m statistic` */
export const statisticMatch: XtMatch<StatisticData> = {
  name: 'statistic',
  options: [
    {
      name: 'mode',
      arg: true,
      set(d, v) {
        if (v !== 'random' && v !== 'nth') throw new IptTextError(`Bad mode "${v}"`)
        d.mode = v
      },
    },
    {
      name: 'probability',
      arg: true,
      invert: true,
      set(d, v, inverted) {
        const p = Number(v)
        if (v.trim() === '' || !(p >= 0 && p <= 1)) {
          throw new IptTextError('statistic: bad value for option "--probability", or out of range (0-1).\n')
        }
        d.probability = roundHalfAway(0x80000000 * p)
        d.inv ||= inverted
      },
    },
    {
      name: 'every',
      arg: true,
      invert: true,
      set(d, v, inverted) {
        d.every = uint('statistic', 'every', v, 0xffffffff, 1)
        d.inv ||= inverted
      },
    },
    {
      name: 'packet',
      arg: true,
      set(d, v) {
        d.packet = uint('statistic', 'packet', v)
      },
    },
  ],
  init: () => ({ mode: '', probability: 0, every: 0, packet: 0, inv: false }),
  check(d, seen) {
    if (d.mode === '') throw new IptTextError('statistic: option "--mode" must be specified')
    if (d.mode === 'random' && !seen.has('probability')) {
      throw new IptTextError('--probability must be specified when using random mode')
    }
    if (d.mode === 'nth') {
      if (seen.has('every') && !seen.has('packet')) {
        throw new IptTextError('statistic: option "--every" also requires "--packet".\n')
      }
      if (!seen.has('every')) throw new IptTextError('--every must be specified when using nth mode')
      if (d.packet >= d.every) throw new IptTextError('the --packet p must be 0 <= p <= n-1')
    }
  },
  save: (d) => statisticText(d, '--'),
  list: (d) => ` statistic${statisticText(d, '')}`,
  compile(d, c) {
    const inv = d.inv ? 1 : 0
    if (d.mode === 'random') c.emit(MATCH_STATISTIC_RANDOM, d.probability, inv)
    else c.emit(MATCH_STATISTIC_NTH, d.every - 1, d.every - 1 - d.packet, inv)
  },
}

function roundHalfAway(x: number): number {
  return Math.floor(x + 0.5)
}

/** check_set bits of recent, include/uapi/linux/netfilter/xt_recent.h. */
export const RECENT_CHECK = 1
export const RECENT_SET = 2
export const RECENT_UPDATE = 4
export const RECENT_REMOVE = 8
export const RECENT_TTL = 16
export const RECENT_REAP = 32

interface RecentData {
  set: number
  seconds: number
  hitCount: number
  name: string
  mask: IpValue
  dest: boolean
  inv: boolean
}

const RECENT_COMMANDS = [
  ['set', RECENT_SET],
  ['rcheck', RECENT_CHECK],
  ['update', RECENT_UPDATE],
  ['remove', RECENT_REMOVE],
] as const

/** `-m recent` */
export const recentMatch: XtMatch<RecentData> = {
  name: 'recent',
  options: [
    ...RECENT_COMMANDS.map(([name, bit]) => ({
      name,
      invert: true,
      set(d: RecentData, _v: string, inverted: boolean) {
        d.set |= bit
        d.inv = inverted
      },
    })),
    { name: 'seconds', arg: true, set: (d, v) => void (d.seconds = uint('recent', 'seconds', v, 0xffffffff, 1)) },
    { name: 'reap', set: (d) => void (d.set |= RECENT_REAP) },
    { name: 'hitcount', arg: true, set: (d, v) => void (d.hitCount = uint('recent', 'hitcount', v)) },
    { name: 'rttl', set: (d) => void (d.set |= RECENT_TTL) },
    {
      name: 'name',
      arg: true,
      set(d, v) {
        if (v.length > 199) throw new IptTextError('recent: option "--name" exceeds maximum length')
        d.name = v
      },
    },
    { name: 'mask', arg: true, set: (d, v, _i, x) => void (d.mask = optionHost(x.family, v)) },
    { name: 'rsource', set: (d) => void (d.dest = false) },
    { name: 'rdest', set: (d) => void (d.dest = true) },
  ],
  init: (family) => ({
    set: 0,
    seconds: 0,
    hitCount: 0,
    name: 'DEFAULT',
    mask: hostBits(family),
    dest: false,
    inv: false,
  }),
  check(d, seen) {
    if ((d.set & 15) === 0) {
      throw new IptTextError("recent: you must specify one of `--set', `--rcheck' `--update' or `--remove'")
    }
    const given = RECENT_COMMANDS.filter(([name]) => seen.has(name))
    if (given.length > 1) {
      throw new IptTextError(`recent: option "--${given[0]![0]}" cannot be used together with "--${given[1]![0]}".\n`)
    }
    if (seen.has('reap') && !seen.has('seconds'))
      throw new IptTextError('recent: option "--reap" also requires "--seconds".\n')
  },
  save(d) {
    let out = d.inv ? ' !' : ''
    for (const [name, bit] of RECENT_COMMANDS) if ((d.set & bit) !== 0) out += ` --${name}`
    if (d.seconds !== 0) out += ` --seconds ${d.seconds}`
    if ((d.set & RECENT_REAP) !== 0) out += ' --reap'
    if (d.hitCount !== 0) out += ` --hitcount ${d.hitCount}`
    if ((d.set & RECENT_TTL) !== 0) out += ' --rttl'
    return `${out} --name ${d.name} --mask ${formatIp(d.mask)} ${d.dest ? '--rdest' : '--rsource'}`
  },
  list(d) {
    let out = `${d.inv ? ' !' : ''} recent:`
    if ((d.set & RECENT_SET) !== 0) out += ' SET'
    if ((d.set & RECENT_CHECK) !== 0) out += ' CHECK'
    if ((d.set & RECENT_UPDATE) !== 0) out += ' UPDATE'
    if ((d.set & RECENT_REMOVE) !== 0) out += ' REMOVE'
    if (d.seconds !== 0) out += ` seconds: ${d.seconds}`
    if ((d.set & RECENT_REAP) !== 0) out += ' reap'
    if (d.hitCount !== 0) out += ` hit_count: ${d.hitCount}`
    if ((d.set & RECENT_TTL) !== 0) out += ' TTL-Match'
    return `${out} name: ${d.name} side: ${d.dest ? 'dest' : 'source'} mask: ${formatIp(d.mask)}`
  },
  compile(d, c) {
    c.emit(
      MATCH_RECENT,
      c.recent(d.name, d.mask, d.hitCount),
      d.set,
      d.seconds,
      d.hitCount,
      d.inv ? 1 : 0,
      d.dest ? 1 : 0,
    )
  },
}

/** XT_LIMIT_SCALE: one per second is this. */
export const LIMIT_SCALE = 10000

const RATES = [
  ['day', 86400],
  ['hour', 3600],
  ['min', 60],
  ['sec', 1],
] as const

/** `10/minute` as the period of one packet in 1/scale seconds; null when it is no rate. */
export function parseRate(text: string, scale: number): number | null {
  const slash = text.indexOf('/')
  let mult = 1
  if (slash >= 0) {
    const unit = text.slice(slash + 1).toLowerCase()
    const row =
      unit === ''
        ? undefined
        : [...RATES]
            .reverse()
            .find(([name]) => (name === 'min' ? 'minute' : name === 'sec' ? 'second' : name).startsWith(unit))
    if (row === undefined) return null
    mult = row[1]
  }
  const digits = /^\d+/.exec(text)
  const r = digits === null ? 0 : Number(digits[0])
  if (r === 0) return null
  const period = Math.trunc((scale * mult) / r)
  return period === 0 ? null : period
}

/** The rate as iptables prints it. */
export function formatRate(period: number, scale: number): string {
  let i = 1
  for (; i < RATES.length; i++) {
    const m = RATES[i]![1] * scale
    if (period > m || Math.trunc(m / period) < m % period) break
  }
  return `${Math.trunc((RATES[i - 1]![1] * scale) / period)}/${RATES[i - 1]![0]}`
}

/** `-m limit` */
export const limitMatch: XtMatch<{ avg: number; burst: number }> = {
  name: 'limit',
  options: [
    {
      name: 'limit',
      arg: true,
      set(d, v) {
        const avg = parseRate(v, LIMIT_SCALE)
        if (avg === null) throw new IptTextError(`bad rate "${v}"'`)
        d.avg = avg
      },
    },
    {
      name: 'limit-burst',
      arg: true,
      set(d, v) {
        const burst = strtoui(v, 10000)
        if (burst === null)
          throw new IptTextError('limit: bad value for option "--limit-burst", or out of range (0-10000).\n')
        d.burst = burst
      },
    },
  ],
  init: () => ({ avg: parseRate('3/hour', LIMIT_SCALE)!, burst: 5 }),
  save: (d) => ` --limit ${formatRate(d.avg, LIMIT_SCALE)}${d.burst === 5 ? '' : ` --limit-burst ${d.burst}`}`,
  refuse(d) {
    const product = (d.avg * d.burst) % 4294967296
    return d.burst === 0 || user2credits(product) < user2credits(d.avg) ? 'limit: overflow, try lower' : null
  },
  list: (d) => ` limit: avg ${formatRate(d.avg, LIMIT_SCALE)} burst ${d.burst}`,
  compile(d, c) {
    c.emit(MATCH_LIMIT, c.limit(d.avg, d.burst))
  },
}
