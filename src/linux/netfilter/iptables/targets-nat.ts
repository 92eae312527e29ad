/**
 * The targets DNAT, SNAT, MASQUERADE, REDIRECT, NETMAP.
 *
 * iptables: extensions/libxt_NAT.c, libxt_MASQUERADE.c, libipt_NETMAP.c. Kernel: net/netfilter/xt_nat.c,
 * xt_MASQUERADE.c, xt_REDIRECT.c, xt_NETMAP.c.
 */
import { formatIpv4, parseIpv4 } from '../../../addr/ipv4.ts'
import { TARGET_DNAT, TARGET_MASQUERADE, TARGET_NETMAP, TARGET_REDIRECT, TARGET_SNAT } from './kinds.ts'
import { IptTextError, type ParseContext, type XtOption, type XtTarget } from './types.ts'
import { hostMask, maskLength, strtoui } from './values.ts'

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
  minIp: number
  maxIp: number
  minPort: number
  maxPort: number
  basePort: number
}

const init = (): NatData => ({ flags: 0, minIp: 0, maxIp: 0, minPort: 0, maxPort: 0, basePort: 0 })

function needPorts(x: ParseContext): void {
  if (x.protoInverted || ![6, 17, 1, 33, 132, 136].includes(x.proto)) {
    throw new IptTextError('Need TCP, UDP, SCTP or DCCP with port specification')
  }
}

/** parse_ports: `80`, `80-90`, `80-90/1000`. */
function parsePorts(d: NatData, text: string, x: ParseContext): void {
  needPorts(x)
  const m = /^([^-/]+)(?:-([^/]+))?(?:\/(.+))?$/.exec(text)
  const number = (t: string | undefined): number => {
    const v = t === undefined ? null : strtoui(t, 65535)
    if (v === null) throw new IptTextError(`Port range "${text}" is invalid\n`)
    return v
  }
  if (m === null) throw new IptTextError(`Port \`${text}' not valid\n`)
  if (strtoui(m[1]!, 65535) === null) throw new IptTextError(`Port \`${text}' not valid\n`)
  d.minPort = number(m[1])
  d.maxPort = m[2] === undefined ? d.minPort : number(m[2])
  if (d.minPort > d.maxPort) throw new IptTextError(`Port range \`${text}' funky\n`)
  d.flags |= NF_NAT_RANGE_PROTO_SPECIFIED
  if (m[3] !== undefined) {
    d.basePort = number(m[3])
    d.flags |= NF_NAT_RANGE_PROTO_OFFSET
  }
}

/** parse_to: `a[-b][:ports]` or `:ports`. */
function parseTo(d: NatData, text: string, x: ParseContext): void {
  const colon = text.indexOf(':')
  if (colon >= 0) parsePorts(d, text.slice(colon + 1), x)
  const ips = colon < 0 ? text : text.slice(0, colon)
  if (ips === '') return
  d.flags |= NF_NAT_RANGE_MAP_IPS
  const dash = ips.indexOf('-')
  const lo = parseIpv4(dash < 0 ? ips : ips.slice(0, dash))
  const hi = dash < 0 ? lo : parseIpv4(ips.slice(dash + 1))
  if (lo === null) throw new IptTextError(`Bad IP address "${dash < 0 ? ips : ips.slice(0, dash)}"\n`)
  if (hi === null) throw new IptTextError(`Bad IP address "${ips.slice(dash + 1)}"\n`)
  d.minIp = lo
  d.maxIp = hi
}

function portsText(d: NatData): string {
  if ((d.flags & NF_NAT_RANGE_PROTO_SPECIFIED) === 0) return ''
  const base = (d.flags & NF_NAT_RANGE_PROTO_OFFSET) !== 0 ? `/${d.basePort}` : ''
  return (d.minPort === d.maxPort ? `${d.minPort}` : `${d.minPort}-${d.maxPort}`) + base
}

function rangeText(d: NatData): string {
  let out = ''
  if ((d.flags & NF_NAT_RANGE_MAP_IPS) !== 0) {
    out = formatIpv4(d.minIp)
    if (d.maxIp !== d.minIp) out += `-${formatIpv4(d.maxIp)}`
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
    c.emit(TARGET_DNAT, d.flags, d.minIp, d.maxIp, d.minPort, d.maxPort, d.basePort)
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
    c.emit(TARGET_SNAT, d.flags, d.minIp, d.maxIp, d.minPort, d.maxPort, d.basePort)
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

/** `-j NETMAP` */
export const netmapTarget: XtTarget<{ ip: number; mask: number }> = {
  name: 'NETMAP',
  tables: ['nat'],
  hooks: (1 << 0) | (1 << 1) | (1 << 3) | (1 << 4),
  options: [
    {
      name: 'to',
      arg: true,
      set(d, v) {
        ;[d.ip, d.mask] = hostMask(v)
        if (maskLength(d.mask) < 0) throw new IptTextError(`Bad netmask "${v}"`)
      },
    },
  ],
  init: () => ({ ip: 0, mask: -1 }),
  check(_d, seen) {
    if (seen.size === 0) throw new IptTextError('NETMAP: option "--to" must be specified')
  },
  save: (d) => ` --to ${formatIpv4(d.ip)}/${maskLength(d.mask)}`,
  list: (d) => ` to:${formatIpv4(d.ip)}/${maskLength(d.mask)}`,
  compile(d, c) {
    c.emit(TARGET_NETMAP, d.ip, d.mask)
  },
}
