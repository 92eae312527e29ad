/**
 * Which entries a conntrack(8) command means: its parameters, and how they match.
 *
 * conntrack-tools 1.4.7: src/conntrack.c (nfct_filter, nfct_nat filters), extensions/libct_proto_*.c. Port and state
 * options belong to the protocol given by -p before them, as in the tool. The NAT filters look at ports too, which makes
 * every ICMP entry match -n and -g (its id is compared with its type): the real tool does that, so do we.
 */
import { parseIpv4 } from '../../../addr/ipv4.ts'
import { type Ipv6Words, parseIpv6 } from '../../../addr/ipv6.ts'
import { hostBits, type IpValue, mask6 } from '../iptables/ip-values.ts'
import {
  IPPROTO_DCCP,
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
  IPPROTO_SCTP,
  IPPROTO_TCP,
  IPPROTO_UDP,
  IPPROTO_UDPLITE,
  IPS_ASSURED,
  IPS_CONFIRMED,
  IPS_DST_NAT_DONE,
  IPS_EXPECTED,
  IPS_FIXED_TIMEOUT,
  IPS_SEEN_REPLY,
  IPS_SRC_NAT_DONE,
} from './layout.ts'
import { CONNTRACK_PROTO_NAMES } from './print.ts'
import type { Conntrack } from './table.ts'
import { TCP_CONNTRACK_NAMES } from './tcp-states.ts'

interface AddressFilter {
  readonly ip: IpValue
  readonly mask: IpValue
}

/** Parameters of a command; null = any. */
export class ConntrackFilter {
  /** 4 or 6 after -f or an address; 0: both families. */
  family: 0 | 4 | 6 = 0
  proto: number | null = null
  /** orig src, orig dst, reply src, reply dst */
  readonly addresses: (AddressFilter | null)[] = [null, null, null, null]
  /** orig sport, orig dport, reply sport, reply dport */
  readonly ports: (number | null)[] = [null, null, null, null]
  icmpType: number | null = null
  icmpCode: number | null = null
  icmpId: number | null = null
  tcpState: number | null = null
  /** Value and mask. */
  mark: readonly [number, number] | null = null
  /** IPS_* bits that must be set. */
  status = 0
  /** -u UNREPLIED / UNSET words: bits that must be clear. */
  statusClear = 0
  srcNat = false
  dstNat = false
  anyNat = false
  /** Address after -n, -g or -j: [ip, port or -1]. */
  natAddress: readonly [IpValue, number] | null = null

  /** -f, or the family of an address: one command is of one family. */
  setFamily(family: 4 | 6): void {
    if (this.family !== 0 && this.family !== family) throw new ConntrackUsageError('mismatched address family')
    this.family = family
  }

  /** True when no parameter was given. */
  get isEmpty(): boolean {
    const none = new ConntrackFilter()
    return JSON.stringify(this) === JSON.stringify(none)
  }
}

/** A parameter that cannot be taken: the text that the tool prints after its name. */
export class ConntrackUsageError extends Error {}

const ADDRESS_OPTIONS: { readonly [name: string]: number } = {
  '-s': 0,
  '--src': 0,
  '--orig-src': 0,
  '-d': 1,
  '--dst': 1,
  '--orig-dst': 1,
  '-r': 2,
  '--reply-src': 2,
  '-q': 3,
  '--reply-dst': 3,
}
const PORT_OPTIONS: { readonly [name: string]: number } = {
  '--sport': 0,
  '--orig-port-src': 0,
  '--dport': 1,
  '--orig-port-dst': 1,
  '--reply-port-src': 2,
  '--reply-port-dst': 3,
}
const STATUS_WORDS: { readonly [name: string]: readonly [number, number] } = {
  EXPECTED: [IPS_EXPECTED, 0],
  ASSURED: [IPS_ASSURED, 0],
  SEEN_REPLY: [IPS_SEEN_REPLY, 0],
  CONFIRMED: [IPS_CONFIRMED, 0],
  FIXED_TIMEOUT: [IPS_FIXED_TIMEOUT, 0],
  SRC_NAT: [IPS_SRC_NAT_DONE, 0],
  DST_NAT: [IPS_DST_NAT_DONE, 0],
  UNREPLIED: [0, IPS_SEEN_REPLY],
}

function parseAddress(f: ConntrackFilter, text: string): AddressFilter {
  const [ipText, maskText] = text.split('/', 2)
  const words = parseIpv6(ipText ?? '')
  const ip = words === null ? parseIpv4(ipText ?? '') : null
  if (words === null && ip === null) throw new ConntrackUsageError(`Invalid IP address \`${ipText ?? ''}'`)
  f.setFamily(words === null ? 4 : 6)
  const bits = maskText !== undefined && /^\d+$/.test(maskText) ? Number(maskText) : null
  if (words !== null) {
    const mask =
      maskText === undefined ? mask6(128) : bits === null ? parseIpv6(maskText) : bits > 128 ? null : mask6(bits)
    if (mask === null) throw new ConntrackUsageError('Invalid netmask')
    return { ip: [words[0] & mask[0], words[1] & mask[1], words[2] & mask[2], words[3] & mask[3]], mask }
  }
  const mask = maskText === undefined ? -1 : bits === null ? parseIpv4(maskText) : bits > 32 ? null : prefixMask(bits)
  if (mask === null) throw new ConntrackUsageError('Invalid netmask')
  return { ip: ip! & mask, mask }
}

function prefixMask(length: number): number {
  return length === 0 ? 0 : (-1 << (32 - length)) | 0
}

function parseNumber(text: string, max: number, what: string): number {
  const n = Number(text)
  if (text === '' || !Number.isInteger(n) || n < 0 || n > max)
    throw new ConntrackUsageError(`Invalid ${what} \`${text}'`)
  return n
}

function parseProto(text: string): number {
  for (const [number, name] of CONNTRACK_PROTO_NAMES) if (name === text.toLowerCase()) return number
  if (/^\d+$/.test(text) && Number(text) < 256) return Number(text)
  throw new ConntrackUsageError(`\`${text}' unsupported protocol`)
}

/**
 * Takes the option at `argv[i]` into the filter.
 * @returns how many words it took, 0 when it is no parameter of a filter
 */
export function takeFilterOption(f: ConntrackFilter, argv: readonly string[], i: number): number {
  const name = argv[i]!
  const value = argv[i + 1]
  const need = (): string => {
    if (value === undefined) throw new ConntrackUsageError(`option \`${name}' requires an argument`)
    return value
  }
  const address = ADDRESS_OPTIONS[name]
  if (address !== undefined) {
    f.addresses[address] = parseAddress(f, need())
    return 2
  }
  const port = PORT_OPTIONS[name]
  if (port !== undefined && hasPortOptions(f.proto)) {
    f.ports[port] = parseNumber(need(), 65535, 'port')
    return 2
  }
  switch (name) {
    case '-p':
    case '--proto':
    case '--protonum':
      f.proto = parseProto(need())
      return 2
    case '--state': {
      if (f.proto !== IPPROTO_TCP) return 0
      const state = TCP_CONNTRACK_NAMES.indexOf(need())
      if (state < 0) throw new ConntrackUsageError(`unknown state \`${value}'`)
      f.tcpState = state
      return 2
    }
    case '--icmp-type':
    case '--icmp-code':
    case '--icmp-id':
    case '--icmpv6-type':
    case '--icmpv6-code':
    case '--icmpv6-id': {
      if (f.proto !== (name.startsWith('--icmpv6') ? IPPROTO_ICMPV6 : IPPROTO_ICMP)) return 0
      const n = parseNumber(need(), name.endsWith('-id') ? 65535 : 255, name.slice(2))
      if (name.endsWith('-type')) f.icmpType = n
      else if (name.endsWith('-code')) f.icmpCode = n
      else f.icmpId = n
      return 2
    }
    case '-m':
    case '--mark': {
      const [v, mask] = need().split('/', 2)
      f.mark = [
        parseNumber(v!, 0xffffffff, 'mark') | 0,
        mask === undefined ? -1 : parseNumber(mask, 0xffffffff, 'mark') | 0,
      ]
      return 2
    }
    case '-u':
    case '--status':
      for (const word of need().split(',')) {
        const bits = STATUS_WORDS[word]
        if (bits === undefined) throw new ConntrackUsageError(`Bad parameter \`${value}'`)
        f.status |= bits[0]
        f.statusClear |= bits[1]
      }
      return 2
    case '-n':
    case '--src-nat':
      f.srcNat = true
      return takeNatAddress(f, value)
    case '-g':
    case '--dst-nat':
      f.dstNat = true
      return takeNatAddress(f, value)
    case '-j':
    case '--any-nat':
      f.anyNat = true
      return takeNatAddress(f, value)
    default:
      return 0
  }
}

function hasPortOptions(proto: number | null): boolean {
  return (
    proto === IPPROTO_TCP ||
    proto === IPPROTO_UDP ||
    proto === IPPROTO_SCTP ||
    proto === IPPROTO_DCCP ||
    proto === IPPROTO_UDPLITE
  )
}

function takeNatAddress(f: ConntrackFilter, value: string | undefined): number {
  if (value === undefined || value.startsWith('-')) return 1
  const bracketed = /^\[(.*)\](?::(.*))?$/.exec(value)
  const plain6 = bracketed === null && value.indexOf(':') !== value.lastIndexOf(':')
  const [ipText, portText] = plain6 ? [value] : bracketed === null ? value.split(':', 2) : [bracketed[1], bracketed[2]]
  const words = parseIpv6(ipText ?? '')
  const ip = words ?? parseIpv4(ipText ?? '')
  if (ip !== null) f.setFamily(words === null ? 4 : 6)
  if (ip === null) throw new ConntrackUsageError(`Invalid IP address \`${value}'`)
  f.natAddress = [ip, portText === undefined ? -1 : parseNumber(portText, 65535, 'port')]
  return 2
}

/** True when the entry is meant. */
export function filterMatches(f: ConntrackFilter, ct: Conntrack, id: number): boolean {
  const proto = ct.proto(id)
  const ipv6 = ct.isIpv6(id)
  if (f.family !== 0 && ipv6 !== (f.family === 6)) return false
  if (f.proto !== null && f.proto !== proto) return false
  for (let i = 0; i < 4; i++) {
    const dir = i >> 1
    const a = f.addresses[i]
    if (a != null && !addressMatches(ct, (i & 1) === 0 ? ct.src(id, dir) : ct.dst(id, dir), a.ip, a.mask)) return false
    const p = f.ports[i]
    if (p != null && p !== ((i & 1) === 0 ? ct.sport(id, dir) : ct.dport(id, dir))) return false
  }
  if (f.icmpType !== null && ct.dport(id, 0) >>> 8 !== f.icmpType) return false
  if (f.icmpCode !== null && (ct.dport(id, 0) & 0xff) !== f.icmpCode) return false
  if (f.icmpId !== null && ct.sport(id, 0) !== f.icmpId) return false
  if (f.tcpState !== null && ct.tcpState(id) !== f.tcpState) return false
  if (f.mark !== null && (ct.mark(id) & f.mark[1]) !== f.mark[0]) return false
  const status = ct.status(id)
  if ((status & f.status) !== f.status || (status & f.statusClear) !== 0) return false
  return natMatches(f, ct, id, status)
}

/** An address of an entry against a value and a mask of the entry's family. */
function addressMatches(ct: Conntrack, address: number, ip: IpValue, mask: IpValue): boolean {
  if (typeof ip === 'number') return (address & (mask as number)) === ip
  const in6 = ct.ns.world.in6
  return ip.every((word, i) => (in6.word(address, i) & (mask as Ipv6Words)[i]!) === word)
}

/** filter_nat */
function natMatches(f: ConntrackFilter, ct: Conntrack, id: number, status: number): boolean {
  if (!f.srcNat && !f.dstNat && !f.anyNat) return true
  const isIcmp = ct.proto(id) === IPPROTO_ICMP || ct.proto(id) === IPPROTO_ICMPV6
  const snat = (status & IPS_SRC_NAT_DONE) !== 0 && ct.dst(id, 1) !== ct.src(id, 0)
  const dnat = (status & IPS_DST_NAT_DONE) !== 0 && ct.src(id, 1) !== ct.dst(id, 0)
  const spat = (status & IPS_SRC_NAT_DONE) !== 0 && (isIcmp || ct.dport(id, 1) !== ct.sport(id, 0))
  const dpat = (status & IPS_DST_NAT_DONE) !== 0 && (isIcmp || ct.sport(id, 1) !== ct.dport(id, 0))
  let isSrc = snat || spat
  let isDst = dnat || dpat
  if (f.natAddress !== null) {
    const [ip, port] = f.natAddress
    isSrc =
      snat &&
      addressMatches(ct, ct.dst(id, 1), ip, hostBits(typeof ip === 'number' ? 4 : 6)) &&
      (port < 0 || (spat && ct.dport(id, 1) === port))
    isDst =
      dnat &&
      addressMatches(ct, ct.src(id, 1), ip, hostBits(typeof ip === 'number' ? 4 : 6)) &&
      (port < 0 || (dpat && ct.sport(id, 1) === port))
  }
  if (f.anyNat) return isSrc || isDst
  return (!f.srcNat || isSrc) && (!f.dstNat || isDst)
}
