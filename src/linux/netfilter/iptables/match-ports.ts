/**
 * The matches tcp, udp, sctp, icmp, multiport.
 *
 * iptables: extensions/libxt_tcp.c, libxt_udp.c, libxt_sctp.c, libipt_icmp.c, libxt_multiport.c. Kernel:
 * net/netfilter/xt_tcpudp.c, xt_sctp.c, xt_multiport.c, net/ipv4/netfilter/ip_tables.c (icmp_match).
 * Not modelled in evaluation: sctp chunk types.
 */
import type { CompileSink } from './compile-sink.ts'
import { MATCH_ICMP, MATCH_MULTIPORT, MATCH_SCTP, MATCH_TCP, MATCH_UDP } from './kinds.ts'
import { IptTextError, type ParseContext, type XtMatch, type XtOption } from './types.ts'
import { bitNames, port, portRange, strtoui } from './values.ts'

interface Ports {
  sport: [number, number]
  dport: [number, number]
  /** 1 sport, 2 dport, 4 flags, 8 option */
  inv: number
}

function portOptions<D extends Ports>(): XtOption<D>[] {
  const option = (name: string, which: 'sport' | 'dport', bit: number): XtOption<D> => ({
    name,
    key: which,
    once: `Only one \`--${which === 'sport' ? 'source' : 'destination'}-port' allowed`,
    arg: true,
    invert: true,
    set(d, v, inverted) {
      d[which] = portRange(v)
      if (inverted) d.inv |= bit
    },
  })
  return [
    option('source-port', 'sport', 1),
    option('sport', 'sport', 1),
    option('destination-port', 'dport', 2),
    option('dport', 'dport', 2),
  ]
}

function savePort(name: string, range: [number, number], inverted: boolean): string {
  const [lo, hi] = range
  if (lo === 0 && hi === 65535) return ''
  return `${inverted ? ' !' : ''} --${name} ${lo === hi ? lo : `${lo}:${hi}`}`
}

function listPort(name: string, range: [number, number], inverted: boolean): string {
  const [lo, hi] = range
  if (lo === 0 && hi === 65535 && !inverted) return ''
  return ` ${name}${lo === hi ? `:${inverted ? '!' : ''}${lo}` : `s:${inverted ? '!' : ''}${lo}:${hi}`}`
}

function savePorts(d: Ports): string {
  return savePort('sport', d.sport, (d.inv & 1) !== 0) + savePort('dport', d.dport, (d.inv & 2) !== 0)
}

function listPorts(d: Ports): string {
  return listPort('spt', d.sport, (d.inv & 1) !== 0) + listPort('dpt', d.dport, (d.inv & 2) !== 0)
}

const TCP_FLAGS = [
  [1, 'FIN'],
  [2, 'SYN'],
  [4, 'RST'],
  [8, 'PSH'],
  [16, 'ACK'],
  [32, 'URG'],
] as const

function parseTcpFlags(text: string): number {
  let bits = 0
  for (const word of text.split(',')) {
    const name = word.toUpperCase()
    const flag = TCP_FLAGS.find(([, n]) => n === name)
    if (flag !== undefined) bits |= flag[0]
    else if (name === 'ALL') bits |= 0x3f
    else if (name !== 'NONE') throw new IptTextError(`Unknown TCP flag \`${word}'`)
  }
  return bits
}

/** Options of `-m tcp`. */
export interface TcpData extends Ports {
  flagMask: number
  flagComp: number
  option: number
}

/** `-m tcp` */
export const tcpMatch: XtMatch<TcpData> = {
  name: 'tcp',
  needsProto: [6],
  options: [
    ...portOptions<TcpData>(),
    {
      name: 'syn',
      key: 'tcp-flags',
      once: "Only one of `--syn' or `--tcp-flags'  allowed",
      invert: true,
      set(d, _v, inverted) {
        d.flagMask = 0x17
        d.flagComp = 2
        if (inverted) d.inv |= 4
      },
    },
    {
      name: 'tcp-flags',
      once: "Only one of `--syn' or `--tcp-flags'  allowed",
      arg: true,
      arg2: true,
      invert: true,
      set(d, v, inverted, _x, v2) {
        d.flagMask = parseTcpFlags(v)
        d.flagComp = parseTcpFlags(v2)
        if (inverted) d.inv |= 4
      },
    },
    {
      name: 'tcp-option',
      arg: true,
      invert: true,
      set(d, v, inverted) {
        const n = strtoui(v, 255)
        if (n === null || n < 1) throw new IptTextError(`Bad TCP option "${v}"`)
        d.option = n
        if (inverted) d.inv |= 8
      },
    },
  ],
  init: () => ({ sport: [0, 65535], dport: [0, 65535], inv: 0, flagMask: 0, flagComp: 0, option: 0 }),
  save(d) {
    let out = savePorts(d)
    if (d.option !== 0 || (d.inv & 8) !== 0) out += `${(d.inv & 8) !== 0 ? ' !' : ''} --tcp-option ${d.option}`
    if (d.flagMask !== 0 || (d.inv & 4) !== 0) {
      const names = (bits: number): string => (bits === 0 ? 'NONE' : bitNames(bits, TCP_FLAGS))
      out += `${(d.inv & 4) !== 0 ? ' !' : ''} --tcp-flags ${names(d.flagMask)} ${names(d.flagComp)}`
    }
    return out
  },
  list(d) {
    let out = ` tcp${listPorts(d)}`
    if (d.option !== 0 || (d.inv & 8) !== 0) out += ` option=${(d.inv & 8) !== 0 ? '!' : ''}${d.option}`
    if (d.flagMask !== 0 || (d.inv & 4) !== 0) {
      const upper = (v: number): string => `0x${v.toString(16).toUpperCase().padStart(2, '0')}`
      out += ` flags:${(d.inv & 4) !== 0 ? '!' : ''}${upper(d.flagMask)}/${upper(d.flagComp)}`
    }
    return out
  },
  compile(d, c) {
    c.emit(MATCH_TCP, ...d.sport, ...d.dport, d.inv, d.flagMask, d.flagComp, d.option)
  },
}

function udpLike(name: string, kind: number, proto: number): XtMatch<Ports> {
  return {
    name,
    needsProto: [proto],
    options: portOptions<Ports>(),
    init: () => ({ sport: [0, 65535], dport: [0, 65535], inv: 0 }),
    save: savePorts,
    list: (d) => ` ${name}${listPorts(d)}`,
    compile(d: Ports, c: CompileSink) {
      c.emit(kind, ...d.sport, ...d.dport, d.inv)
    },
  }
}

/** `-m udp` */
export const udpMatch: XtMatch<Ports> = { ...udpLike('udp', MATCH_UDP, 17), needsProto: [17, 136] }

interface SctpData extends Ports {
  chunks: string
  chunksInverted: boolean
}

/** `-m sctp`; chunk types are kept as written and not evaluated. */
export const sctpMatch: XtMatch<SctpData> = {
  name: 'sctp',
  needsProto: [132],
  options: [
    ...portOptions<SctpData>(),
    {
      name: 'chunk-types',
      arg: true,
      arg2: true,
      invert: true,
      set(d, v, inverted, _x, v2) {
        if (v !== 'all' && v !== 'any' && v !== 'only') {
          throw new IptTextError('Match type has to be one of "ALL", "ANY" or "ONLY"')
        }
        d.chunks = `${v} ${v2}`
        d.chunksInverted = inverted
      },
    },
  ],
  init: () => ({ sport: [0, 65535], dport: [0, 65535], inv: 0, chunks: '', chunksInverted: false }),
  save: (d) => savePorts(d) + (d.chunks === '' ? '' : `${d.chunksInverted ? ' !' : ''} --chunk-types ${d.chunks}`),
  list: (d) => ` sctp${listPorts(d)}${d.chunks === '' ? '' : ` ${d.chunksInverted ? '!' : ''}${d.chunks}`}`,
  compile(d, c) {
    c.emit(MATCH_SCTP, ...d.sport, ...d.dport, d.inv)
  },
  unmodelled: (d) => (d.chunks === '' ? null : 'match sctp --chunk-types'),
}

const ICMP_NAMES: readonly (readonly [string, number, number, number])[] = [
  ['any', 0xff, 0, 0xff],
  ['echo-reply', 0, 0, 0xff],
  ['pong', 0, 0, 0xff],
  ['destination-unreachable', 3, 0, 0xff],
  ['network-unreachable', 3, 0, 0],
  ['host-unreachable', 3, 1, 1],
  ['protocol-unreachable', 3, 2, 2],
  ['port-unreachable', 3, 3, 3],
  ['fragmentation-needed', 3, 4, 4],
  ['source-route-failed', 3, 5, 5],
  ['network-unknown', 3, 6, 6],
  ['host-unknown', 3, 7, 7],
  ['network-prohibited', 3, 9, 9],
  ['host-prohibited', 3, 10, 10],
  ['TOS-network-unreachable', 3, 11, 11],
  ['TOS-host-unreachable', 3, 12, 12],
  ['communication-prohibited', 3, 13, 13],
  ['host-precedence-violation', 3, 14, 14],
  ['precedence-cutoff', 3, 15, 15],
  ['source-quench', 4, 0, 0xff],
  ['redirect', 5, 0, 0xff],
  ['network-redirect', 5, 0, 0],
  ['host-redirect', 5, 1, 1],
  ['TOS-network-redirect', 5, 2, 2],
  ['TOS-host-redirect', 5, 3, 3],
  ['echo-request', 8, 0, 0xff],
  ['ping', 8, 0, 0xff],
  ['router-advertisement', 9, 0, 0xff],
  ['router-solicitation', 10, 0, 0xff],
  ['time-exceeded', 11, 0, 0xff],
  ['ttl-exceeded', 11, 0, 0xff],
  ['ttl-zero-during-transit', 11, 0, 0],
  ['ttl-zero-during-reassembly', 11, 1, 1],
  ['parameter-problem', 12, 0, 0xff],
  ['ip-header-bad', 12, 0, 0],
  ['required-option-missing', 12, 1, 1],
  ['timestamp-request', 13, 0, 0xff],
  ['timestamp-reply', 14, 0, 0xff],
  ['address-mask-request', 17, 0, 0xff],
  ['address-mask-reply', 18, 0, 0xff],
]

interface IcmpData {
  type: number
  codeLo: number
  codeHi: number
  inv: boolean
}

/** `-m icmp` */
export const icmpMatch: XtMatch<IcmpData> = {
  name: 'icmp',
  needsProto: [1],
  options: [
    {
      name: 'icmp-type',
      arg: true,
      invert: true,
      set(d, v, inverted) {
        const wanted = v.toLowerCase()
        const named = ICMP_NAMES.filter(([name]) => name.toLowerCase().startsWith(wanted))
        const exact = named.find(([name]) => name.toLowerCase() === wanted) ?? named[0]
        d.inv = inverted
        if (exact !== undefined) {
          if (named.length > 1 && exact[0].toLowerCase() !== wanted) {
            throw new IptTextError(`Ambiguous ICMP type \`${v}': \`${named[0]![0]}' or \`${named[1]![0]}'?`)
          }
          ;[, d.type, d.codeLo, d.codeHi] = exact
          return
        }
        const slash = v.indexOf('/')
        const type = strtoui(slash < 0 ? v : v.slice(0, slash), 255)
        const code = slash < 0 ? -1 : strtoui(v.slice(slash + 1), 255)
        if (type === null && !/^\d/.test(v)) throw new IptTextError(`Unknown ICMP type \`${v}'\n`)
        if (type === null) throw new IptTextError(`Invalid ICMP type \`${v}'\n`)
        if (code === null) throw new IptTextError(`Invalid ICMP code \`${v.slice(slash + 1)}'\n`)
        d.type = type
        d.codeLo = Math.max(0, code)
        d.codeHi = code < 0 ? 0xff : code
      },
    },
  ],
  init: () => ({ type: 0xff, codeLo: 0, codeHi: 0xff, inv: false }),
  check(_d, seen) {
    if (seen.size === 0) throw new IptTextError('icmp: option "--icmp-type" must be specified')
  },
  save(d) {
    const inv = d.inv ? ' !' : ''
    if (d.type === 0xff) return `${inv} --icmp-type any`
    return `${inv} --icmp-type ${d.type}${d.codeLo === 0 && d.codeHi === 0xff ? '' : `/${d.codeLo}`}`
  },
  list(d) {
    const type = ` icmp${d.inv ? ' !' : ''}type ${d.type}`
    return d.type !== 0xff && d.codeLo === d.codeHi ? `${type} code ${d.codeLo}` : type
  },
  compile(d, c) {
    c.emit(MATCH_ICMP, d.type, d.codeLo, d.codeHi, d.inv ? 1 : 0)
  },
}

interface MultiportData {
  which: number
  inv: boolean
  ranges: [number, number][]
}

function parsePorts(d: MultiportData, which: number, text: string, inverted: boolean, x: ParseContext): void {
  if (x.proto !== 0 && !x.protoInverted && ![6, 17, 33, 132, 136].includes(x.proto))
    throw new IptTextError('multiport only works with TCP, UDP, UDPLITE, SCTP and DCCP')
  if (x.proto === 0 || x.protoInverted) {
    throw new IptTextError("multiport needs `-p tcp', `-p udp', `-p udplite', `-p sctp' or `-p dccp'")
  }
  d.which = which
  d.inv = inverted
  let words = 0
  for (const part of text.split(',')) {
    const colon = part.indexOf(':')
    words += colon < 0 ? 1 : 2
    if (words > 15) throw new IptTextError('too many ports specified')
    const lo = port(colon < 0 ? part : part.slice(0, colon))
    const hi = colon < 0 ? lo : port(part.slice(colon + 1))
    if (colon >= 0 && lo >= hi) throw new IptTextError('invalid portrange specified')
    d.ranges.push([lo, hi])
  }
}

const MULTIPORT_NAMES = ['', 'sports', 'dports', 'ports']

/** `-m multiport` */
export const multiportMatch: XtMatch<MultiportData> = {
  name: 'multiport',
  options: [
    ['source-ports', 1],
    ['sports', 1],
    ['destination-ports', 2],
    ['dports', 2],
    ['ports', 3],
  ].map(([name, which]) => ({
    name: String(name),
    arg: true,
    invert: true,
    set: (d: MultiportData, v: string, inverted: boolean, x: ParseContext) =>
      parsePorts(d, Number(which), v, inverted, x),
  })),
  init: () => ({ which: 0, inv: false, ranges: [] }),
  check(d) {
    if (d.which === 0) throw new IptTextError('multiport expection an option')
  },
  save: (d) => `${d.inv ? ' !' : ''} --${MULTIPORT_NAMES[d.which]} ${rangesText(d)}`,
  list: (d) => ` multiport ${MULTIPORT_NAMES[d.which]} ${d.inv ? ' !' : ''}${rangesText(d)}`,
  compile(d, c) {
    c.emit(MATCH_MULTIPORT, d.which, d.inv ? 1 : 0, d.ranges.length, ...d.ranges.flat())
  },
}

function rangesText(d: MultiportData): string {
  return d.ranges.map(([lo, hi]) => (lo === hi ? `${lo}` : `${lo}:${hi}`)).join(',')
}

export interface LengthData {
  lo: number
  hi: number
  inv: boolean
}

function parseLength(ext: string, option: string, v: string): [number, number] {
  const colon = v.indexOf(':')
  const number = (text: string): number => {
    const n = strtoui(text, 65535)
    if (n !== null) return n
    throw new IptTextError(`${ext}: bad value for option "--${option}" near "${text}", or out of range (0-65535).\n`)
  }
  const lo = colon === 0 ? 0 : number(colon < 0 ? v : v.slice(0, colon))
  const hi = colon < 0 ? lo : colon === v.length - 1 ? 65535 : number(v.slice(colon + 1))
  if (lo > hi) throw new IptTextError(`${ext}: range value for option "--${option}" is invalid`)
  return [lo, hi]
}

/** Builds `-m length` and `-m tcpmss`: one 16-bit range. */
export function rangeMatch(
  name: string,
  option: string,
  kind: number,
  label: string,
  needsProto?: number[],
): XtMatch<LengthData> {
  return {
    name,
    ...(needsProto === undefined ? {} : { needsProto }),
    options: [
      {
        name: option,
        arg: true,
        invert: true,
        set(d, v, inverted) {
          ;[d.lo, d.hi] = parseLength(name, option, v)
          d.inv = inverted
        },
      },
    ],
    init: () => ({ lo: 0, hi: 0, inv: false }),
    check(_d, seen) {
      if (seen.size === 0) throw new IptTextError(`${name}: option "--${option}" must be specified`)
    },
    save: (d) => `${d.inv ? ' !' : ''} --${option} ${d.lo === d.hi ? d.lo : `${d.lo}:${d.hi}`}`,
    list: (d) => ` ${label} ${d.inv ? '!' : ''}${d.lo === d.hi ? d.lo : `${d.lo}:${d.hi}`}`,
    compile(d, c) {
      c.emit(kind, d.lo, d.hi, d.inv ? 1 : 0)
    },
  }
}
