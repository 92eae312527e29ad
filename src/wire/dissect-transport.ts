/**
 * From bytes to layers: transports, tunnels and the packets that ICMP errors quote.
 *
 * Called by dissect.ts with the bytes behind an IP header. A transport's checksum is judged only when the whole datagram
 * is there (`pseudoSum` is then its pseudo header's sum). NOT here: reassembly, application protocols.
 */
import { formatIpv4 } from '../addr/ipv4.ts'
import { formatIpv6 } from '../addr/ipv6.ts'
import { formatMac } from '../addr/mac.ts'
import { internetChecksum } from './checksum.ts'
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_TEB } from './ethernet.ts'
import { GENEVE_HEADER_BYTES, GENEVE_PORT, parseGeneve } from './geneve.ts'
import { greHeaderBytes, parseGre } from './gre.ts'
import {
  ICMP_DEST_UNREACH,
  ICMP_FRAG_NEEDED,
  ICMP_HEADER_BYTES,
  ICMP_PARAMETERPROB,
  ICMP_REDIRECT,
  icmpName,
  isIcmpError,
  isIcmpQuery,
  parseIcmp,
} from './icmp.ts'
import {
  ICMPV6_ECHO_REPLY,
  ICMPV6_ECHO_REQUEST,
  ICMPV6_HEADER_BYTES,
  ICMPV6_PARAMPROB,
  ICMPV6_PKT_TOOBIG,
  icmpv6Name,
  isIcmpv6Error,
  NDISC_NEIGHBOUR_ADVERTISEMENT,
  parseIcmpv6,
} from './icmpv6.ts'
import {
  IPPROTO_GRE,
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
  IPPROTO_IPIP,
  IPPROTO_IPV6,
  IPPROTO_SCTP,
  IPPROTO_TCP,
  IPPROTO_UDP,
} from './ipv4.ts'
import { NEXTHDR_NONE } from './ipv6.ts'
import type { IcmpLayer, Layer } from './layers.ts'
import {
  NA_OVERRIDE,
  NA_ROUTER,
  NA_SOLICITED,
  ND_OPT_SOURCE_LL_ADDR,
  ND_OPT_TARGET_LL_ADDR,
  ndpLinkAddr,
  parseNdp,
} from './ndp.ts'
import { parseSctp, parseSctpChunks, SCTP_HEADER_BYTES, sctpChecksum, sctpChunkName } from './sctp.ts'
import { parseTcp, tcpFlagLetters, tcpHeaderBytes } from './tcp.ts'
import { parseTcpOptions, type TcpOption } from './tcp-options.ts'
import { parseUdp, UDP_HEADER_BYTES } from './udp.ts'
import { viewOf } from './view.ts'
import { parseVxlan, VXLAN_HEADER_BYTES, VXLAN_PORT, VXLAN_PORT_LINUX } from './vxlan.ts'

/** What the dissectors share while they go through one frame. */
export interface DissectContext {
  readonly view: DataView
  readonly layers: Layer[]
  /** Packets around the current one. */
  depth: number
  /** Whether the current packet is quoted by an ICMP error. */
  quoted: boolean
  readonly ether: (ctx: DissectContext, off: number, end: number) => void
  readonly ip: (ctx: DissectContext, off: number, end: number) => void
}

/** The bytes behind an IP header. */
export interface IpPayload {
  readonly off: number
  /** End of what is there. */
  readonly end: number
  /** End by the IP header's length field. */
  readonly announcedEnd: number
  /** Sum of the pseudo header when the whole datagram is there, else null. */
  readonly pseudoSum: number | null
  readonly version: 4 | 6
}

/** Lower-case hex. */
export function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('')
}

/** Goes on behind an IP header. */
export function dissectTransport(ctx: DissectContext, protocol: number, ip: IpPayload): void {
  switch (protocol) {
    case IPPROTO_ICMP:
      onIcmp(ctx, ip)
      break
    case IPPROTO_ICMPV6:
      onIcmpv6(ctx, ip)
      break
    case IPPROTO_TCP:
      onTcp(ctx, ip)
      break
    case IPPROTO_UDP:
      onUdp(ctx, ip)
      break
    case IPPROTO_SCTP:
      onSctp(ctx, ip)
      break
    case IPPROTO_GRE:
      onGre(ctx, ip)
      break
    case IPPROTO_IPIP:
    case IPPROTO_IPV6:
      nest(ctx, ctx.ip, ip.off, ip.end, false)
      break
    case NEXTHDR_NONE:
      data(ctx, ip.off, ip.end, 'data')
      break
    default:
      data(ctx, ip.off, ip.end, 'unknown protocol')
      break
  }
}

function onIcmp(ctx: DissectContext, ip: IpPayload): void {
  const { view } = ctx
  const icmp = parseIcmp(view, ip.off, ip.end - ip.off)
  if (icmp === null) {
    broken(ctx, 'icmp', ip)
    return
  }
  const { type, code, checksum, rest } = icmp
  const detail: { -readonly [K in keyof IcmpLayer]?: IcmpLayer[K] } = {}
  if (isIcmpQuery(type)) Object.assign(detail, { id: rest >>> 16, seq: rest & 0xffff })
  if (type === ICMP_DEST_UNREACH && code === ICMP_FRAG_NEEDED) detail.mtu = rest & 0xffff
  if (type === ICMP_REDIRECT) detail.gateway = formatIpv4(rest | 0)
  if (type === ICMP_PARAMETERPROB) detail.pointer = rest >>> 24
  const checksumOk = ip.pseudoSum === null ? null : internetChecksum(view, ip.off, ip.end - ip.off) === 0
  const head = { layer: 'icmp', offset: ip.off, headerBytes: ICMP_HEADER_BYTES } as const
  ctx.layers.push({ ...head, type, code, name: icmpName(type, code), checksum, checksumOk, ...detail })
  if (isIcmpError(type)) nest(ctx, ctx.ip, ip.off + ICMP_HEADER_BYTES, ip.end, true)
  else data(ctx, ip.off + ICMP_HEADER_BYTES, ip.end, 'data')
}

function onIcmpv6(ctx: DissectContext, ip: IpPayload): void {
  const { view } = ctx
  const len = ip.end - ip.off
  const icmp = parseIcmpv6(view, ip.off, len)
  if (icmp === null) {
    broken(ctx, 'icmpv6', ip)
    return
  }
  const { type, code, checksum, rest } = icmp
  const detail: { -readonly [K in keyof IcmpLayer]?: IcmpLayer[K] } = {}
  if (type === ICMPV6_ECHO_REQUEST || type === ICMPV6_ECHO_REPLY) {
    Object.assign(detail, { id: rest >>> 16, seq: rest & 0xffff })
  }
  if (type === ICMPV6_PKT_TOOBIG) detail.mtu = rest
  if (type === ICMPV6_PARAMPROB) detail.pointer = rest
  const ndp = parseNdp(view, ip.off, len)
  if (ndp !== null) {
    if (ndp.target !== null) detail.target = formatIpv6(ndp.target)
    if (type === NDISC_NEIGHBOUR_ADVERTISEMENT) {
      detail.naFlags = `${rest & NA_ROUTER ? 'R' : ''}${rest & NA_SOLICITED ? 'S' : ''}${rest & NA_OVERRIDE ? 'O' : ''}`
    }
    const source = ndpLinkAddr(ndp, ND_OPT_SOURCE_LL_ADDR)
    const target = ndpLinkAddr(ndp, ND_OPT_TARGET_LL_ADDR)
    if (source !== null) detail.sourceLinkAddr = formatMac(source)
    if (target !== null) detail.targetLinkAddr = formatMac(target)
  }
  const checksumOk = ip.pseudoSum === null ? null : internetChecksum(view, ip.off, len, ip.pseudoSum) === 0
  const head = { layer: 'icmpv6', offset: ip.off, headerBytes: ICMPV6_HEADER_BYTES } as const
  ctx.layers.push({ ...head, type, code, name: icmpv6Name(type, code), checksum, checksumOk, ...detail })
  if (isIcmpv6Error(type)) nest(ctx, ctx.ip, ip.off + ICMPV6_HEADER_BYTES, ip.end, true)
  else data(ctx, ip.off + ICMPV6_HEADER_BYTES, ip.end, 'data')
}

function onUdp(ctx: DissectContext, ip: IpPayload): void {
  const udp = parseUdp(ctx.view, ip.off, ip.end - ip.off)
  if (udp === null) {
    broken(ctx, 'udp', ip)
    return
  }
  const known = ip.pseudoSum !== null && udp.checksum !== 0
  const checksumOk = known ? internetChecksum(ctx.view, ip.off, ip.end - ip.off, ip.pseudoSum ?? 0) === 0 : null
  ctx.layers.push({ layer: 'udp', offset: ip.off, headerBytes: UDP_HEADER_BYTES, ...udp, checksumOk })
  const at = ip.off + UDP_HEADER_BYTES
  if (udp.dport === VXLAN_PORT || udp.dport === VXLAN_PORT_LINUX) onVxlan(ctx, at, ip.end)
  else if (udp.dport === GENEVE_PORT) onGeneve(ctx, at, ip.end)
  else data(ctx, at, ip.end, 'data')
}

function onVxlan(ctx: DissectContext, off: number, end: number): void {
  const vxlan = parseVxlan(ctx.view, off, end - off)
  if (vxlan === null) {
    data(ctx, off, end, 'data')
    return
  }
  const { vni, flags } = vxlan
  ctx.layers.push({ layer: 'vxlan', offset: off, headerBytes: VXLAN_HEADER_BYTES, vni, flags })
  nest(ctx, ctx.ether, off + VXLAN_HEADER_BYTES, end, ctx.quoted)
}

function onGeneve(ctx: DissectContext, off: number, end: number): void {
  const geneve = parseGeneve(ctx.view, off, end - off)
  if (geneve === null) {
    data(ctx, off, end, 'data')
    return
  }
  const { vni, flags, protocol, options } = geneve
  const headerBytes = GENEVE_HEADER_BYTES + options.length
  ctx.layers.push({ layer: 'geneve', offset: off, headerBytes, vni, flags, protocol, optionBytes: options.length })
  byEtherType(ctx, protocol, off + headerBytes, end)
}

function onGre(ctx: DissectContext, ip: IpPayload): void {
  const gre = parseGre(ctx.view, ip.off, ip.end - ip.off)
  if (gre === null) {
    broken(ctx, 'gre', ip)
    return
  }
  const headerBytes = greHeaderBytes(gre)
  const { protocol, key, seq } = gre
  ctx.layers.push({ layer: 'gre', offset: ip.off, headerBytes, protocol, key, seq })
  byEtherType(ctx, protocol, ip.off + headerBytes, ip.end)
}

function byEtherType(ctx: DissectContext, protocol: number, off: number, end: number): void {
  if (protocol === ETHERTYPE_TEB) nest(ctx, ctx.ether, off, end, ctx.quoted)
  else if (protocol === ETHERTYPE_IPV4 || protocol === ETHERTYPE_IPV6) nest(ctx, ctx.ip, off, end, ctx.quoted)
  else data(ctx, off, end, 'unknown protocol')
}

function onTcp(ctx: DissectContext, ip: IpPayload): void {
  const len = ip.end - ip.off
  const tcp = parseTcp(ctx.view, ip.off, len)
  if (tcp === null) {
    broken(ctx, 'tcp', ip)
    return
  }
  const headerBytes = tcpHeaderBytes(tcp)
  const { sport, dport, seq, ack, window, urgent, checksum } = tcp
  ctx.layers.push({
    layer: 'tcp',
    offset: ip.off,
    headerBytes,
    sport,
    dport,
    seq,
    ack,
    flags: tcpFlagLetters(tcp.flags),
    window,
    urgent,
    options: parseTcpOptions(viewOf(tcp.options), 0, tcp.options.length).map(tcpOptionText),
    payloadBytes: Math.max(0, ip.announcedEnd - ip.off - headerBytes),
    checksum,
    checksumOk: ip.pseudoSum === null ? null : internetChecksum(ctx.view, ip.off, len, ip.pseudoSum) === 0,
  })
  data(ctx, ip.off + headerBytes, ip.end, 'data')
}

function onSctp(ctx: DissectContext, ip: IpPayload): void {
  const len = ip.end - ip.off
  const sctp = parseSctp(ctx.view, ip.off, len)
  if (sctp === null) {
    broken(ctx, 'sctp', ip)
    return
  }
  const chunks = parseSctpChunks(ctx.view, ip.off + SCTP_HEADER_BYTES, len - SCTP_HEADER_BYTES)
  ctx.layers.push({
    layer: 'sctp',
    offset: ip.off,
    headerBytes: SCTP_HEADER_BYTES,
    ...sctp,
    chunks: chunks?.map((c) => sctpChunkName(c.type)) ?? null,
    checksumOk: ip.pseudoSum === null ? null : sctpChecksum(ctx.view, ip.off, len) === sctp.checksum,
  })
}

/** `mss 1460`, `sack 1-2`, ...: one option as tcpdump writes it. */
function tcpOptionText(option: TcpOption): string {
  switch (option.kind) {
    case 'mss':
      return `mss ${option.mssBytes}`
    case 'wscale':
      return `wscale ${option.shift}`
    case 'sack':
      return `sack ${option.blocks.map(([start, end]) => `${start}-${end}`).join(' ')}`
    case 'timestamps':
      return `TS val ${option.value} ecr ${option.echo}`
    case 'unknown':
      return `option ${option.number} ${hexOf(option.data)}`.trimEnd()
    case 'malformed':
      return 'malformed'
    default:
      return option.kind
  }
}

/** Follows a packet inside the current one. */
function nest(ctx: DissectContext, into: DissectContext['ip'], off: number, end: number, quoted: boolean): void {
  if (off >= end) return
  const outerQuoted = ctx.quoted
  ctx.depth++
  ctx.quoted = outerQuoted || quoted
  into(ctx, off, end)
  ctx.depth--
  ctx.quoted = outerQuoted
}

function data(ctx: DissectContext, off: number, end: number, why: 'data' | 'unknown protocol'): void {
  if (end > off) ctx.layers.push({ layer: 'payload', offset: off, headerBytes: 0, bytes: end - off, why })
}

function broken(ctx: DissectContext, expected: string, ip: IpPayload): void {
  const bytes = Math.max(0, ip.end - ip.off)
  const hasPorts = bytes >= 4 && (expected === 'tcp' || expected === 'udp' || expected === 'sctp')
  const ports = hasPorts ? { sport: ctx.view.getUint16(ip.off), dport: ctx.view.getUint16(ip.off + 2) } : {}
  ctx.layers.push({ layer: 'broken', offset: ip.off, headerBytes: 0, expected, bytes, ...ports })
}
