/**
 * Matches that only ip6tables has: icmp6, hl, eui64, ipv6header, frag, hbh, dst, rt, ah, mh.
 *
 * iptables: extensions/libip6t_{icmp6,hl,eui64,ipv6header,frag,hbh,dst,rt,ah,mh}.c. Kernel: net/ipv6/netfilter/ip6t_*.c.
 * Evaluated: icmp6, hl, eui64, ipv6header, frag, hbh and dst without options, rt without addresses; the others end as
 * UNMODELLED with their name.
 */
import { MATCH_EUI64, MATCH_FRAG6, MATCH_HL, MATCH_ICMP6, MATCH_IPV6HEADER, MATCH_OPTS6, MATCH_RT6 } from './kinds.ts'
import { IptTextError, type XtMatch, type XtOption } from './types.ts'
import { strtoui, uint } from './values.ts'

const ICMP6_NAMES: readonly (readonly [string, number, number, number])[] = [
  ['destination-unreachable', 1, 0, 0xff],
  ['no-route', 1, 0, 0],
  ['communication-prohibited', 1, 1, 1],
  ['beyond-scope', 1, 2, 2],
  ['address-unreachable', 1, 3, 3],
  ['port-unreachable', 1, 4, 4],
  ['failed-policy', 1, 5, 5],
  ['reject-route', 1, 6, 6],
  ['packet-too-big', 2, 0, 0xff],
  ['time-exceeded', 3, 0, 0xff],
  ['ttl-exceeded', 3, 0, 0xff],
  ['ttl-zero-during-transit', 3, 0, 0],
  ['ttl-zero-during-reassembly', 3, 1, 1],
  ['parameter-problem', 4, 0, 0xff],
  ['bad-header', 4, 0, 0],
  ['unknown-header-type', 4, 1, 1],
  ['unknown-option', 4, 2, 2],
  ['echo-request', 128, 0, 0xff],
  ['ping', 128, 0, 0xff],
  ['echo-reply', 129, 0, 0xff],
  ['pong', 129, 0, 0xff],
  ['router-solicitation', 133, 0, 0xff],
  ['router-advertisement', 134, 0, 0xff],
  ['neighbour-solicitation', 135, 0, 0xff],
  ['neighbor-solicitation', 135, 0, 0xff],
  ['neighbour-advertisement', 136, 0, 0xff],
  ['neighbor-advertisement', 136, 0, 0xff],
  ['redirect', 137, 0, 0xff],
]

interface Icmp6Data {
  type: number
  codeLo: number
  codeHi: number
  inv: boolean
}

/** `-m icmp6` */
export const icmp6Match: XtMatch<Icmp6Data> = {
  name: 'icmp6',
  needsProto: [58],
  options: [
    {
      name: 'icmpv6-type',
      arg: true,
      invert: true,
      set(d, v, inverted) {
        const wanted = v.toLowerCase()
        const named = ICMP6_NAMES.filter(([name]) => name.startsWith(wanted))
        const exact = named.find(([name]) => name === wanted) ?? named[0]
        d.inv = inverted
        if (exact !== undefined) {
          if (named.length > 1 && exact[0] !== wanted) {
            throw new IptTextError(`Ambiguous ICMPv6 type \`${v}': \`${named[0]![0]}' or \`${named[1]![0]}'?`)
          }
          ;[, d.type, d.codeLo, d.codeHi] = exact
          return
        }
        const slash = v.indexOf('/')
        const type = strtoui(slash < 0 ? v : v.slice(0, slash), 255)
        if (type === null) throw new IptTextError(`Unknown ICMPv6 type \`${slash < 0 ? v : v.slice(0, slash)}'\n`)
        const code = slash < 0 ? -1 : strtoui(v.slice(slash + 1), 255)
        if (code === null) throw new IptTextError(`Unknown ICMPv6 code \`${v}'\n`)
        d.type = type
        d.codeLo = Math.max(0, code)
        d.codeHi = code < 0 ? 0xff : code
      },
    },
  ],
  init: () => ({ type: 0, codeLo: 0, codeHi: 0xff, inv: false }),
  check(_d, seen) {
    if (seen.size === 0) throw new IptTextError('icmp6: option "--icmpv6-type" must be specified')
  },
  save(d) {
    return `${d.inv ? ' !' : ''} --icmpv6-type ${d.type}${d.codeLo === 0 && d.codeHi === 0xff ? '' : `/${d.codeLo}`}`
  },
  list(d) {
    const type = ` ipv6-icmp${d.inv ? ' !' : ''}type ${d.type}`
    return d.codeLo === d.codeHi ? `${type} code ${d.codeLo}` : type
  },
  compile(d, c) {
    c.emit(MATCH_ICMP6, d.type, d.codeLo, d.codeHi, d.inv ? 1 : 0)
  },
}

const HL_MODES = ['hl-eq', 'hl-ne', 'hl-lt', 'hl-gt']
const HL_WORDS = ['==', '!=', '<', '>']

/** `-m hl` */
export const hlMatch: XtMatch<{ mode: number; hl: number }> = {
  name: 'hl',
  options: ['hl-eq', 'hl-lt', 'hl-gt'].map((name) => ({
    name,
    arg: true,
    invert: name === 'hl-eq',
    set(d: { mode: number; hl: number }, v: string, inverted: boolean) {
      d.mode = inverted ? 1 : HL_MODES.indexOf(name)
      d.hl = uint('hl', name, v, 255)
    },
  })),
  init: () => ({ mode: 0, hl: 0 }),
  check(_d, seen) {
    if (seen.size === 0) throw new IptTextError("HL match: You must specify one of `--hl-eq', `--hl-lt', `--hl-gt'")
  },
  save: (d) => (d.mode === 1 ? ` ! --hl-eq ${d.hl}` : ` --${HL_MODES[d.mode]} ${d.hl}`),
  list: (d) => ` HL match HL ${HL_WORDS[d.mode]} ${d.hl}`,
  compile(d, c) {
    c.emit(MATCH_HL, d.mode, d.hl)
  },
}

/** `-m eui64` */
export const eui64Match: XtMatch<object> = {
  name: 'eui64',
  hooks: (1 << 0) | (1 << 1) | (1 << 2),
  options: [],
  init: () => ({}),
  save: () => '',
  list: () => 'eui64 ',
  compile(_d, c) {
    c.emit(MATCH_EUI64)
  },
}

/** Bits of `--header`, include/uapi/linux/netfilter_ipv6/ip6t_ipv6header.h: name of /etc/protocols, short name. */
const HEADERS: readonly (readonly [number, string, string])[] = [
  [0x80, 'hop-by-hop', 'hop'],
  [0x40, 'ipv6-opts', 'dst'],
  [0x20, 'ipv6-route', 'route'],
  [0x10, 'ipv6-frag', 'frag'],
  [0x08, 'ah', 'auth'],
  [0x04, 'esp', 'esp'],
  [0x02, 'ipv6-nonxt', 'none'],
  [0x01, 'protocol', 'prot'],
]

/** `-m ipv6header` */
export const ipv6headerMatch: XtMatch<{ bits: number; soft: boolean; inv: boolean }> = {
  name: 'ipv6header',
  options: [
    {
      name: 'header',
      arg: true,
      invert: true,
      set(d, v, inverted) {
        for (const word of v.split(',')) {
          const row = HEADERS.find(([, name, short]) => name === word.toLowerCase() || short === word.toLowerCase())
          if (row === undefined) throw new IptTextError(`unknown header \`${word}' specified`)
          d.bits |= row[0]
        }
        d.inv = inverted
      },
    },
    { name: 'soft', set: (d) => void (d.soft = true) },
  ],
  init: () => ({ bits: 0, soft: false, inv: false }),
  check(_d, seen) {
    if (!seen.has('header')) throw new IptTextError('ipv6header: option "--header" must be specified')
  },
  save(d) {
    const names = HEADERS.filter(([bit]) => (d.bits & bit) !== 0).map(([, name]) => name)
    return `${d.inv ? ' !' : ''} --header ${names.join(',')}${d.soft ? ' --soft' : ''}`
  },
  list(d) {
    const bits = d.bits.toString(16).toUpperCase()
    return ` ipv6header flags:${d.inv ? '!' : ''}0x${bits}${d.soft ? ' soft' : ''}`
  },
  compile(d, c) {
    c.emit(MATCH_IPV6HEADER, d.bits, d.inv ? 1 : 0, d.soft ? 1 : 0)
  },
}

type Range = [number, number]

/** XTTYPE_UINT32RC: `a`, `a:b`, `a:`, `:b`. */
function range32(ext: string, option: string, text: string): Range {
  const colon = text.indexOf(':')
  const number = (word: string, empty: number): number => {
    if (word === '') return empty
    const v = strtoui(word)
    if (v !== null) return v
    const near = option === 'fragid' || option === 'ahspi' || option === 'rt-segsleft' ? ` near "${text}"` : ''
    throw new IptTextError(`${ext}: bad value for option "--${option}"${near}, or out of range (0-4294967295).\n`)
  }
  const lo = number(colon < 0 ? text : text.slice(0, colon), 0)
  return [lo, colon < 0 ? lo : number(text.slice(colon + 1), 0xffffffff)]
}

function rangeText([lo, hi]: Range): string {
  return lo === hi ? `${lo}` : `${lo}:${hi}`
}

/** `name:[!]v` or `names:[!]lo:hi`, nothing for the whole range. */
function rangeList(name: string, [lo, hi]: Range, inverted: boolean): string {
  if (lo === 0 && hi === 0xffffffff && !inverted) return ''
  return ` ${name}${lo === hi ? '' : 's'}:${inverted ? '!' : ''}${rangeText([lo, hi])}`
}

interface FragData {
  ids: Range
  length: number
  inv: boolean
  /** IP6T_FRAG_*: 1 ids, 2 length, 4 reserved, 8 first, 16 more, 32 last */
  flags: number
}

const FRAG_FLAGS = [
  ['fragres', 4, 'reserved'],
  ['fragfirst', 8, 'first'],
  ['fragmore', 16, 'more'],
  ['fraglast', 32, 'last'],
] as const

/** `-m frag` */
export const fragMatch: XtMatch<FragData> = {
  name: 'frag',
  options: [
    {
      name: 'fragid',
      arg: true,
      invert: true,
      set(d, v, inverted) {
        d.ids = range32('frag', 'fragid', v)
        d.inv = inverted
        d.flags |= 1
      },
    },
    {
      name: 'fraglen',
      arg: true,
      set(d, v) {
        d.length = uint('frag', 'fraglen', v)
        d.flags |= 2
      },
    },
    ...FRAG_FLAGS.map(([name, bit]) => ({ name, set: (d: FragData) => void (d.flags |= bit) })),
  ],
  init: () => ({ ids: [0, 0xffffffff], length: 0, inv: false, flags: 0 }),
  save(d) {
    const whole = d.ids[0] === 0 && d.ids[1] === 0xffffffff
    let out = whole ? '' : `${d.inv ? ' !' : ''} --fragid ${rangeText(d.ids)}`
    if ((d.flags & 2) !== 0) out += ` --fraglen ${d.length}`
    for (const [name, bit] of FRAG_FLAGS) if ((d.flags & bit) !== 0) out += ` --${name}`
    return out
  },
  list(d) {
    let out = rangeList('id', d.ids, d.inv)
    if (out === '') out = ' '
    if ((d.flags & 2) !== 0) out += ` length:${d.length}`
    for (const [, bit, word] of FRAG_FLAGS) if ((d.flags & bit) !== 0) out += ` ${word}`
    return ` frag${out}`
  },
  compile(d, c) {
    c.emit(MATCH_FRAG6, d.ids[0], d.ids[1], d.inv ? 1 : 0, d.flags)
  },
}

interface OptsData {
  length: number | null
  inv: boolean
  opts: string
}

function optsMatch(name: string, header: number): XtMatch<OptsData> {
  return {
    name,
    options: [
      {
        name: `${name}-len`,
        arg: true,
        invert: true,
        set(d, v, inverted) {
          d.length = uint(name, `${name}-len`, v)
          d.inv = inverted
        },
      },
      {
        name: `${name}-opts`,
        arg: true,
        set(d, v) {
          d.opts = v
        },
      },
    ],
    init: () => ({ length: null, inv: false, opts: '' }),
    save(d) {
      const length = d.length === null ? '' : `${d.inv ? ' !' : ''} --${name}-len ${d.length}`
      return d.opts === '' ? length : `${length} --${name}-opts ${d.opts}`
    },
    list(d) {
      const length = d.length === null ? '' : ` length:${d.inv ? '!' : ''}${d.length}`
      return ` ${name}${length}${d.opts === '' ? '' : ` opts ${d.opts}`}`
    },
    compile(d, c) {
      c.emit(MATCH_OPTS6, header, d.length === null ? 0 : 1, d.length ?? 0, d.inv ? 1 : 0)
    },
    unmodelled: (d) => (d.opts === '' ? null : `match ${name} --${name}-opts`),
  }
}

/** `-m hbh` */
export const hbhMatch = optsMatch('hbh', 0)
/** `-m dst` */
export const dstMatch = optsMatch('dst', 60)

interface RtData {
  type: number | null
  segsleft: Range
  length: number | null
  /** 1 type, 2 segsleft, 4 length */
  inv: number
  res: boolean
  addrs: string
  notStrict: boolean
}

/** `-m rt` */
export const rtMatch: XtMatch<RtData> = {
  name: 'rt',
  options: [
    {
      name: 'rt-type',
      arg: true,
      invert: true,
      set(d, v, inverted) {
        d.type = uint('rt', 'rt-type', v)
        if (inverted) d.inv |= 1
      },
    },
    {
      name: 'rt-segsleft',
      arg: true,
      invert: true,
      set(d, v, inverted) {
        d.segsleft = range32('rt', 'rt-segsleft', v)
        if (inverted) d.inv |= 2
      },
    },
    {
      name: 'rt-len',
      arg: true,
      invert: true,
      set(d, v, inverted) {
        d.length = uint('rt', 'rt-len', v)
        if (inverted) d.inv |= 4
      },
    },
    {
      name: 'rt-0-res',
      set(d) {
        if (d.type !== 0 || (d.inv & 1) !== 0) throw new IptTextError("`--rt-type 0' required before `--rt-0-res'")
        d.res = true
      },
    },
    {
      name: 'rt-0-addrs',
      arg: true,
      set(d, v) {
        if (d.type !== 0 || (d.inv & 1) !== 0) throw new IptTextError("`--rt-type 0' required before `--rt-0-addrs'")
        d.addrs = v
      },
    },
    { name: 'rt-0-not-strict', set: (d) => void (d.notStrict = true) },
  ],
  init: () => ({
    type: null,
    segsleft: [0, 0xffffffff],
    length: null,
    inv: 0,
    res: false,
    addrs: '',
    notStrict: false,
  }),
  save(d) {
    let out = d.type === null ? '' : `${(d.inv & 1) !== 0 ? ' !' : ''} --rt-type ${d.type}`
    if (d.segsleft[0] !== 0 || d.segsleft[1] !== 0xffffffff)
      out += `${(d.inv & 2) !== 0 ? ' !' : ''} --rt-segsleft ${rangeText(d.segsleft)}`
    if (d.length !== null) out += `${(d.inv & 4) !== 0 ? ' !' : ''} --rt-len ${d.length}`
    if (d.res) out += ' --rt-0-res'
    if (d.addrs !== '') out += ` --rt-0-addrs ${d.addrs}`
    return d.notStrict ? `${out} --rt-0-not-strict` : out
  },
  list(d) {
    let out = d.type === null ? ' rt' : ` rt type:${(d.inv & 1) !== 0 ? '!' : ''}${d.type}`
    out += rangeList('segsleft', d.segsleft, (d.inv & 2) !== 0)
    if (d.length !== null) out += ` length:${(d.inv & 4) !== 0 ? '!' : ''}${d.length}`
    if (d.res) out += ' reserved'
    if (d.addrs !== '') out += ` 0-addrs ${d.addrs}`
    return d.notStrict ? `${out} 0-not-strict` : out
  },
  compile(d, c) {
    c.emit(MATCH_RT6, d.type ?? -1, d.segsleft[0], d.segsleft[1], d.length ?? -1, d.inv)
  },
  unmodelled: (d) => (d.res || d.addrs !== '' ? 'match rt --rt-0-addrs' : null),
}

/** `-m ah` */
export const ah6Match: XtMatch<{ spi: Range; inv: boolean; length: number | null; linv: boolean; res: boolean }> = {
  name: 'ah',
  options: [
    {
      name: 'ahspi',
      arg: true,
      invert: true,
      set(d, v, inverted) {
        d.spi = range32('ah', 'ahspi', v)
        d.inv = inverted
      },
    },
    {
      name: 'ahlen',
      arg: true,
      invert: true,
      set(d, v, inverted) {
        d.length = uint('ah', 'ahlen', v)
        d.linv = inverted
      },
    },
    { name: 'ahres', set: (d) => void (d.res = true) },
  ],
  init: () => ({ spi: [0, 0xffffffff], inv: false, length: null, linv: false, res: false }),
  save(d) {
    let out = d.spi[0] === 0 && d.spi[1] === 0xffffffff ? '' : `${d.inv ? ' !' : ''} --ahspi ${rangeText(d.spi)}`
    if (d.length !== null) out += `${d.linv ? ' !' : ''} --ahlen ${d.length}`
    return d.res ? `${out} --ahres` : out
  },
  list(d) {
    let out = ` ah${rangeList('spi', d.spi, d.inv)}`
    if (d.length !== null) out += ` length:${d.linv ? '!' : ''}${d.length}`
    return d.res ? `${out} reserved` : out
  },
  unmodelled: () => 'match ah',
}

const portOption: XtOption<{ types: Range; inv: boolean }> = {
  name: 'mh-type',
  arg: true,
  invert: true,
  set(d, v, inverted) {
    const colon = v.indexOf(':')
    const number = (word: string): number => {
      const n = strtoui(word, 255)
      if (n === null) throw new IptTextError(`Invalid MH type \`${word}' specified`)
      return n
    }
    const lo = number(colon < 0 ? v : v.slice(0, colon) || '0')
    d.types = [lo, colon < 0 ? lo : number(v.slice(colon + 1) || '255')]
    d.inv = inverted
  },
}

/** `-m mh` */
export const mhMatch: XtMatch<{ types: Range; inv: boolean }> = {
  name: 'mh',
  needsProto: [135],
  options: [portOption],
  init: () => ({ types: [0, 255], inv: false }),
  save: (d) => (d.types[0] === 0 && d.types[1] === 255 ? '' : `${d.inv ? ' !' : ''} --mh-type ${rangeText(d.types)}`),
  list: (d) => ` mh${d.types[0] === 0 && d.types[1] === 255 ? '' : ` ${d.inv ? '!' : ''}${rangeText(d.types)}`}`,
  unmodelled: () => 'match mh',
}
