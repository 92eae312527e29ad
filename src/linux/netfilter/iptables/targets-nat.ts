/**
 * The targets DNAT, SNAT, MASQUERADE, REDIRECT, NETMAP.
 *
 * iptables: extensions/libxt_NAT.c, libxt_MASQUERADE.c, libipt_NETMAP.c. Kernel: net/netfilter/xt_nat.c,
 * xt_MASQUERADE.c, xt_REDIRECT.c, xt_NETMAP.c.
 */
import { parseIpv4 } from '../../../addr/ipv4.ts'
import { type Ipv6Words, parseIpv6 } from '../../../addr/ipv6.ts'
import {
  anyIp,
  formatIp,
  hostBits,
  hostMaskOf,
  type IptFamily,
  type IpValue,
  prefixLengthOf,
  sameIp,
} from './ip-values.ts'
import { TARGET_DNAT, TARGET_MASQUERADE, TARGET_NETMAP, TARGET_NETMAP6, TARGET_REDIRECT, TARGET_SNAT } from './kinds.ts'
import { IptTextError, type ParseContext, type XtOption, type XtTarget } from './types.ts'
import { strtoui } from './values.ts'

/** NF_NAT_RANGE_* flags, include/uapi/linux/netfilter/nf_nat.h. */
export const NF_NAT_RANGE_MAP_IPS = 1
export const NF_NAT_RANGE_PROTO_SPECIFIED = 2
export const NF_NAT_RANGE_PROTO_RANDOM = 4
export const NF_NAT_RANGE_PERSISTENT = 8
export const NF_NAT_RANGE_PROTO_RANDOM_FULLY = 16
export const NF_NAT_RANGE_PROTO_OFFSET = 32
export const NF_NAT_RANGE_NETMAP = 64

interface NatData {
  flags: number
  minIp: IpValue
  maxIp: IpValue
  minPort: number
  maxPort: number
  basePort: number
}

const init = (family: IptFamily): NatData => ({
  flags: 0,
  minIp: anyIp(family),
  maxIp: anyIp(family),
  minPort: 0,
  maxPort: 0,
  basePort: 0,
})

function needPorts(x: ParseContext): void {
  if (x.protoInverted || ![6, 17, x.family === 6 ? 58 : 1, 33, 132, 136].includes(x.proto)) {
    throw new IptTextError('Need TCP, UDP, SCTP or DCCP with port specification')
  }
}

/** parse_ports: `80`, `80-90`, `80-90/1000`. */
function parsePorts(d: NatData, text: string, x: ParseContext): void {
  needPorts(x)
  const number = (word: string): number => {
    const v = strtoui(word, 65535)
    if (v === null) throw new IptTextError(`Port \`${word}' not valid\n`)
    return v
  }
  const slash = text.indexOf('/')
  const range = slash < 0 ? text : text.slice(0, slash)
  const dash = range.indexOf('-')
  d.minPort = number(dash < 0 ? range : range.slice(0, dash))
  d.maxPort = dash < 0 ? d.minPort : number(range.slice(dash + 1))
  if (d.minPort > d.maxPort) throw new IptTextError(`Port range \`${d.maxPort}' funky\n`)
  d.flags |= NF_NAT_RANGE_PROTO_SPECIFIED
  if (slash >= 0) {
    d.basePort = number(text.slice(slash + 1))
    d.flags |= NF_NAT_RANGE_PROTO_OFFSET
  }
}

/** parse_to: `a[-b][:ports]`, `[a[-b]]:ports` or `:ports`. */
function parseTo(d: NatData, text: string, x: ParseContext): void {
  const [ips, ports] = x.family === 6 ? splitPorts6(text) : splitPorts4(text)
  if (ports !== null) parsePorts(d, ports, x)
  if (ips === '') return
  d.flags |= NF_NAT_RANGE_MAP_IPS
  const one = (word: string): IpValue => {
    const ip = x.family === 6 ? parseIpv6(word) : parseIpv4(word)
    if (ip === null) throw new IptTextError(`Bad IP address "${word}"\n`)
    return ip
  }
  const dash = ips.indexOf('-')
  d.minIp = one(dash < 0 ? ips : ips.slice(0, dash))
  d.maxIp = dash < 0 ? d.minIp : one(ips.slice(dash + 1))
}

function splitPorts4(text: string): [string, string | null] {
  const colon = text.indexOf(':')
  return colon < 0 ? [text, null] : [text.slice(0, colon), text.slice(colon + 1)]
}

function splitPorts6(text: string): [string, string | null] {
  const open = text.indexOf('[')
  if (open < 0) {
    // one colon is a port, several are an address
    const colon = text.indexOf(':')
    return colon < 0 || text.indexOf(':', colon + 1) >= 0 ? [text, null] : splitPorts4(text)
  }
  const close = text.indexOf(']', open)
  if (close < 0) throw new IptTextError('Invalid address format')
  const colon = text.indexOf(':', close)
  return [text.slice(open + 1, close), colon < 0 ? null : text.slice(colon + 1)]
}

function portsText(d: NatData): string {
  if ((d.flags & NF_NAT_RANGE_PROTO_SPECIFIED) === 0) return ''
  const base = (d.flags & NF_NAT_RANGE_PROTO_OFFSET) !== 0 ? `/${d.basePort}` : ''
  return (d.minPort === d.maxPort ? `${d.minPort}` : `${d.minPort}-${d.maxPort}`) + base
}

function rangeText(d: NatData): string {
  let out = ''
  if ((d.flags & NF_NAT_RANGE_MAP_IPS) !== 0) {
    out = formatIp(d.minIp)
    if (!sameIp(d.maxIp, d.minIp)) out += `-${formatIp(d.maxIp)}`
    if (typeof d.minIp !== 'number' && (d.flags & NF_NAT_RANGE_PROTO_SPECIFIED) !== 0) out = `[${out}]`
  }
  const ports = portsText(d)
  return ports === '' ? out : `${out}:${ports}`
}

function flagsText(d: NatData, prefix: string): string {
  let out = ''
  if ((d.flags & NF_NAT_RANGE_PROTO_RANDOM) !== 0) out += ` ${prefix}random`
  if ((d.flags & NF_NAT_RANGE_PROTO_RANDOM_FULLY) !== 0) out += ` ${prefix}random-fully`
  if ((d.flags & NF_NAT_RANGE_PERSISTENT) !== 0) out += ` ${prefix}persistent`
  return out
}

const RANDOM: XtOption<NatData> = { name: 'random', set: (d) => void (d.flags |= NF_NAT_RANGE_PROTO_RANDOM) }
const RANDOM_FULLY: XtOption<NatData> = {
  name: 'random-fully',
  set: (d) => void (d.flags |= NF_NAT_RANGE_PROTO_RANDOM_FULLY),
}
const PERSISTENT: XtOption<NatData> = { name: 'persistent', set: (d) => void (d.flags |= NF_NAT_RANGE_PERSISTENT) }

/** `-j DNAT` */
export const dnatTarget: XtTarget<NatData> = {
  name: 'DNAT',
  tables: ['nat'],
  hooks: (1 << 0) | (1 << 3),
  options: [{ name: 'to-destination', arg: true, set: (d, v, _i, x) => parseTo(d, v, x) }, RANDOM, PERSISTENT],
  init,
  check(_d, seen) {
    if (!seen.has('to-destination')) throw new IptTextError('DNAT: option "--to-destination" must be specified')
  },
  save: (d) => ` --to-destination ${rangeText(d)}${flagsText(d, '--')}`,
  list: (d) => ` to:${rangeText(d)}${flagsText(d, '')}`,
  compile(d, c) {
    c.emit(TARGET_DNAT, d.flags, c.ip(d.minIp), c.ip(d.maxIp), d.minPort, d.maxPort, d.basePort)
  },
}

/** `-j SNAT` */
export const snatTarget: XtTarget<NatData> = {
  name: 'SNAT',
  tables: ['nat'],
  hooks: (1 << 1) | (1 << 4),
  options: [{ name: 'to-source', arg: true, set: (d, v, _i, x) => parseTo(d, v, x) }, RANDOM, RANDOM_FULLY, PERSISTENT],
  init,
  check(_d, seen) {
    if (!seen.has('to-source')) throw new IptTextError('SNAT: option "--to-source" must be specified')
  },
  save: (d) => ` --to-source ${rangeText(d)}${flagsText(d, '--')}`,
  list: (d) => ` to:${rangeText(d)}${flagsText(d, '')}`,
  compile(d, c) {
    c.emit(TARGET_SNAT, d.flags, c.ip(d.minIp), c.ip(d.maxIp), d.minPort, d.maxPort, d.basePort)
  },
}

/** `-j MASQUERADE` */
export const masqueradeTarget: XtTarget<NatData> = {
  name: 'MASQUERADE',
  tables: ['nat'],
  hooks: 1 << 4,
  options: [{ name: 'to-ports', arg: true, set: (d, v, _i, x) => parsePorts(d, v, x) }, RANDOM, RANDOM_FULLY],
  init,
  save(d) {
    const ports = portsText(d)
    return (ports === '' ? '' : ` --to-ports ${ports}`) + flagsText(d, '--')
  },
  list(d) {
    const ports = portsText(d)
    return (ports === '' ? '' : ` masq ports: ${ports}`) + flagsText(d, '')
  },
  compile(d, c) {
    c.emit(TARGET_MASQUERADE, d.flags, d.minPort, d.maxPort)
  },
}

/** `-j REDIRECT` */
export const redirectTarget: XtTarget<NatData> = {
  name: 'REDIRECT',
  tables: ['nat'],
  hooks: (1 << 0) | (1 << 3),
  options: [{ name: 'to-ports', arg: true, set: (d, v, _i, x) => parsePorts(d, v, x) }, RANDOM],
  init,
  save(d) {
    const ports = portsText(d)
    return (ports === '' ? '' : ` --to-ports ${ports}`) + flagsText(d, '--')
  },
  list(d) {
    const ports = portsText(d)
    return (ports === '' ? '' : ` redir ports ${ports}`) + flagsText(d, '')
  },
  compile(d, c) {
    c.emit(TARGET_REDIRECT, d.flags, d.minPort, d.maxPort)
  },
}

/** XTTYPE_HOSTMASK of --to */
function netmapRange(x: ParseContext, text: string): [IpValue, IpValue] {
  if (x.family === 4) return hostMaskOf(4, text)
  const bits = text.includes('/') ? strtoui(text.slice(text.indexOf('/') + 1)) : null
  if (bits === null || bits <= 128) return hostMaskOf(6, text)
  throw new IptTextError('NETMAP: bad value for option "--to", neither a valid network mask nor valid CIDR (0-128).\n')
}

/** `-j NETMAP` */
export const netmapTarget: XtTarget<{ ip: IpValue; mask: IpValue }> = {
  name: 'NETMAP',
  tables: ['nat'],
  hooks: (1 << 0) | (1 << 1) | (1 << 3) | (1 << 4),
  options: [
    {
      name: 'to',
      arg: true,
      set(d, v, _i, x) {
        ;[d.ip, d.mask] = netmapRange(x, v)
        if (prefixLengthOf(d.mask) < 0) throw new IptTextError(`Bad netmask "${v}"`)
      },
    },
  ],
  init: (family) => ({ ip: anyIp(family), mask: hostBits(family) }),
  check(_d, seen) {
    if (seen.size === 0) throw new IptTextError('NETMAP: option "--to" must be specified')
  },
  save: (d) => ` --to ${formatIp(d.ip)}/${prefixLengthOf(d.mask)}`,
  list: (d) => ` to:${formatIp(d.ip)}/${prefixLengthOf(d.mask)}`,
  compile(d, c) {
    if (typeof d.ip === 'number') c.emit(TARGET_NETMAP, d.ip, d.mask as number)
    else c.emit(TARGET_NETMAP6, ...d.ip, ...(d.mask as Ipv6Words))
  },
}
