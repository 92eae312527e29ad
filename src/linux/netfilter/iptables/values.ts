/**
 * Values in iptables text: numbers, ports, addresses, masks, marks, protocols, and how they print.
 *
 * iptables: libxtables/xtoptions.c, libxtables/xtables.c (xtables_save_string, xtables_ipmask_to_numeric),
 * iptables/xshared.c (save_ipv4_addr, save_proto). Host names are not resolved; of service and protocol names the ones
 * of Debian's netbase that rules use are known.
 */
import { formatIpv4, parseIpv4 } from '../../../addr/ipv4.ts'
import { IptTextError } from './types.ts'

/** xtables_strtoui: decimal, 0x hex or octal within [0, max]; null otherwise. */
export function strtoui(text: string, max = 0xffffffff): number | null {
  let value: number
  if (/^\d+$/.test(text))
    value = text.length > 1 && text[0] === '0' ? (/^[0-7]+$/.test(text) ? Number.parseInt(text, 8) : NaN) : Number(text)
  else if (/^0[xX][0-9a-fA-F]+$/.test(text)) value = Number.parseInt(text.slice(2), 16)
  else return null
  return value >= 0 && value <= max ? value : null
}

/** An unsigned option value, or the error of xtables_parse (`bad value for option`). */
export function uint(ext: string, option: string, text: string, max = 0xffffffff, min = 0): number {
  const v = strtoui(text, max)
  if (v === null || v < min) {
    throw new IptTextError(`${ext}: bad value for option "--${option}", or out of range (${min}-${max}).\n`)
  }
  return v
}

const SERVICES: Readonly<Record<string, number>> = {
  'ftp-data': 20,
  ftp: 21,
  ssh: 22,
  telnet: 23,
  smtp: 25,
  domain: 53,
  bootps: 67,
  bootpc: 68,
  tftp: 69,
  http: 80,
  kerberos: 88,
  pop3: 110,
  sunrpc: 111,
  ntp: 123,
  imap2: 143,
  snmp: 161,
  'snmp-trap': 162,
  bgp: 179,
  ldap: 389,
  https: 443,
  isakmp: 500,
  syslog: 514,
  ldaps: 636,
  imaps: 993,
  pop3s: 995,
  nfs: 2049,
  mysql: 3306,
  postgresql: 5432,
  'http-alt': 8080,
}

/** A port number or service name. */
export function port(text: string): number {
  const v = strtoui(text, 65535) ?? SERVICES[text]
  if (v === undefined) throw new IptTextError(`invalid port/service \`${text}' specified`)
  return v
}

/** `80` or `80:90` (open ends allowed): [min, max]. */
export function portRange(text: string): [number, number] {
  const colon = text.indexOf(':')
  if (colon < 0) {
    const p = port(text)
    return [p, p]
  }
  const lo = colon === 0 ? 0 : port(text.slice(0, colon))
  const hi = colon === text.length - 1 ? 65535 : port(text.slice(colon + 1))
  if (lo > hi) throw new IptTextError('invalid portrange (min > max)')
  return [lo, hi]
}

/** `v` or `v/m` in any base; the mask is all ones when missing. */
export function markMask(ext: string, option: string, text: string): [number, number] {
  const slash = text.indexOf('/')
  const v = strtoui(slash < 0 ? text : text.slice(0, slash))
  const m = slash < 0 ? 0xffffffff : strtoui(text.slice(slash + 1))
  if (v === null || m === null) {
    throw new IptTextError(`${ext}: bad integer value for option "--${option}", or out of range.\n`)
  }
  return [v | 0, m | 0]
}

/** `0x1f` of an int32. */
export function hex(value: number): string {
  return `0x${(value >>> 0).toString(16)}`
}

/** `0x10` with two digits. */
export function hex2(value: number): string {
  return `0x${(value >>> 0).toString(16).padStart(2, '0')}`
}

const PLAIN = /^[\w-]+$/

/** xtables_save_string: a leading space, quotes where a character needs them. */
export function saveString(text: string): string {
  return PLAIN.test(text) ? ` ${text}` : ` "${text.replace(/["\\']/g, '\\$&')}"`
}

/** Prefix length of a contiguous mask, -1 otherwise. */
export function maskLength(mask: number): number {
  const inv = ~mask
  return (inv & (inv + 1)) === 0 ? Math.clz32(inv) : -1
}

/** xtables_ipmask_to_numeric: `` for /32, `/24`, or `/255.0.255.0`. */
export function maskSuffix(mask: number): string {
  const length = maskLength(mask)
  return length === 32 ? '' : length >= 0 ? `/${length}` : `/${formatIpv4(mask)}`
}

/** A mask as prefix length or dotted quad. */
export function parseMask(text: string): number | null {
  if (text.includes('.')) return parseIpv4(text)
  const n = strtoui(text, 32)
  return n === null ? null : n === 0 ? 0 : -1 << (32 - n)
}

/** One address with optional mask, host bits cleared; throws iptables' words. */
export function hostMask(text: string): [number, number] {
  const slash = text.indexOf('/')
  const ipText = slash < 0 ? text : text.slice(0, slash)
  const mask = slash < 0 ? -1 : parseMask(text.slice(slash + 1))
  if (mask === null) throw new IptTextError(`invalid mask \`${text.slice(slash + 1)}' specified`)
  const ip = parseIpv4(ipText) ?? (slash < 0 ? null : shortIpv4(ipText))
  if (ip === null) throw new IptTextError(`host/network \`${ipText}' not found`)
  return [ip & mask, mask]
}

/** `10` and `192.168` in front of a mask: missing octets are zero. */
function shortIpv4(text: string): number | null {
  const dots = text.split('.').length
  return dots > 3 ? null : parseIpv4(text + '.0'.repeat(4 - dots))
}

/** An address without mask. */
export function host(text: string): number {
  const ip = parseIpv4(text)
  if (ip === null) throw new IptTextError(`host/network \`${text}' not found`)
  return ip
}

/** Names of /etc/protocols as iptables-save prints them, by number. */
export const PROTO_NAMES: Readonly<Record<number, string>> = {
  0: 'ip',
  1: 'icmp',
  2: 'igmp',
  3: 'ggp',
  4: 'ipencap',
  5: 'st',
  6: 'tcp',
  8: 'egp',
  9: 'igp',
  12: 'pup',
  17: 'udp',
  20: 'hmp',
  22: 'xns-idp',
  27: 'rdp',
  29: 'iso-tp4',
  33: 'dccp',
  36: 'xtp',
  37: 'ddp',
  38: 'idpr-cmtp',
  41: 'ipv6',
  43: 'ipv6-route',
  44: 'ipv6-frag',
  45: 'idrp',
  46: 'rsvp',
  47: 'gre',
  50: 'esp',
  51: 'ah',
  57: 'skip',
  58: 'ipv6-icmp',
  59: 'ipv6-nonxt',
  60: 'ipv6-opts',
  73: 'rspf',
  81: 'vmtp',
  88: 'eigrp',
  89: 'ospf',
  93: 'ax.25',
  94: 'ipip',
  97: 'etherip',
  98: 'encap',
  103: 'pim',
  108: 'ipcomp',
  112: 'vrrp',
  115: 'l2tp',
  124: 'isis',
  132: 'sctp',
  133: 'fc',
  135: 'mobility-header',
  136: 'udplite',
  137: 'mpls-in-ip',
  138: 'manet',
  139: 'hip',
  140: 'shim6',
  141: 'wesp',
  142: 'rohc',
  143: 'ethernet',
}
const PROTO_NUMBERS = new Map<string, number>(Object.entries(PROTO_NAMES).map(([n, name]) => [name, Number(n)]))
for (const [name, n] of [
  ['all', 0],
  ['icmpv6', 58],
  ['mh', 135],
] as const)
  PROTO_NUMBERS.set(name, n)

/** xtables_parse_protocol */
export function parseProtocol(text: string): number {
  const name = text.toLowerCase()
  const n = strtoui(name, 255) ?? PROTO_NUMBERS.get(name)
  if (n === undefined || n > 255) throw new IptTextError(`unknown protocol "${name}" specified`)
  return n
}

/** Name of a protocol, its number when it has none. */
export function protoName(proto: number): string {
  return PROTO_NAMES[proto] ?? String(proto)
}

/** Bit names joined by a comma, in the table's order. */
export function bitNames(bits: number, names: readonly (readonly [number, string])[]): string {
  return names
    .filter(([bit]) => (bits & bit) !== 0)
    .map(([, name]) => name)
    .join(',')
}
