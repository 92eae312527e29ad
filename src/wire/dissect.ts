/**
 * From bytes to layers: the link and network layers; the transports are in dissect-transport.ts.
 *
 * Follows what the headers say as Linux would deliver them: EtherType, protocol, extension headers, then tunnels by
 * protocol (IPIP, GRE) or destination port (VXLAN 4789 and 8472, Geneve 6081), then the packet quoted by an ICMP error.
 * Never throws: what is cut short becomes a `broken` layer, what is not known a `payload` layer. NOT here: 802.3 LLC,
 * ESP and AH contents, MPLS, application protocols; nesting stops at 8 packets in each other.
 */
import { formatIpv4 } from '../addr/ipv4.ts'
import { formatIpv6 } from '../addr/ipv6.ts'
import { formatMac } from '../addr/mac.ts'
import { ARP_HEADER_BYTES, parseArp } from './arp.ts'
import { internetChecksum, pseudoSumV4, pseudoSumV6 } from './checksum.ts'
import { type DissectContext, dissectTransport, hexOf } from './dissect-transport.ts'
import {
  ETHERNET_HEADER_BYTES,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  parseEthernet,
  VLAN_TAG_BYTES,
} from './ethernet.ts'
import { fragmentOffsetBytes, IP_DF, IP_MF, ipv4HeaderBytes, parseIpv4, walkIpv4Options } from './ipv4.ts'
import { IPV6_HEADER_BYTES, parseIpv6, walkIpv6Extensions } from './ipv6.ts'
import type { Layer } from './layers.ts'
import { viewOf } from './view.ts'

/** How a frame starts: with an Ethernet header, or with an IP header as on tunnel devices. */
export type LinkKind = 'ether' | 'ip'

/** Packets in each other that are followed. */
const MAX_DEPTH = 8

/** The layers of a frame, outermost first; never throws. */
export function dissectFrame(bytes: Uint8Array, link: LinkKind): Layer[] {
  const layers: Layer[] = []
  const ctx: DissectContext = { view: viewOf(bytes), layers, depth: 0, quoted: false, ether: onEther, ip: onIp }
  if (link === 'ether') onEther(ctx, 0, bytes.length)
  else onIp(ctx, 0, bytes.length)
  return layers
}

function onEther(ctx: DissectContext, off: number, end: number): void {
  if (ctx.depth >= MAX_DEPTH) {
    tooDeep(ctx, off, end)
    return
  }
  const eth = parseEthernet(ctx.view, off, end - off)
  if (eth === null) {
    broken(ctx, 'ethernet', off, end)
    return
  }
  ctx.layers.push({
    layer: 'ethernet',
    offset: off,
    headerBytes: ETHERNET_HEADER_BYTES,
    dst: formatMac(eth.dst),
    src: formatMac(eth.src),
    etherType: eth.etherType,
  })
  let at = off + ETHERNET_HEADER_BYTES
  for (const tag of eth.tags) {
    const { tpid, vid, pcp, dei } = tag
    ctx.layers.push({ layer: 'vlan', offset: at - 2, headerBytes: VLAN_TAG_BYTES, tpid, vid, pcp, dei })
    at += VLAN_TAG_BYTES
  }
  if (eth.etherType === ETHERTYPE_ARP) onArp(ctx, at, end)
  else if (eth.etherType === ETHERTYPE_IPV4) onIpv4(ctx, at, end)
  else if (eth.etherType === ETHERTYPE_IPV6) onIpv6(ctx, at, end)
  else payload(ctx, at, end, 'unknown protocol')
}

function onArp(ctx: DissectContext, off: number, end: number): void {
  const arp = parseArp(ctx.view, off, end - off)
  if (arp === null) {
    broken(ctx, 'arp', off, end)
    return
  }
  ctx.layers.push({
    layer: 'arp',
    offset: off,
    headerBytes: ARP_HEADER_BYTES,
    op: arp.op,
    sha: formatMac(arp.sha),
    spa: formatIpv4(arp.spa),
    tha: formatMac(arp.tha),
    tpa: formatIpv4(arp.tpa),
  })
}

/** On raw IP devices the version nibble decides, as in `ip_tunnel_rcv` and Wireshark's raw IP link. */
function onIp(ctx: DissectContext, off: number, end: number): void {
  if (ctx.depth >= MAX_DEPTH) {
    tooDeep(ctx, off, end)
    return
  }
  if (off < end && ctx.view.getUint8(off) >> 4 === 6) onIpv6(ctx, off, end)
  else onIpv4(ctx, off, end)
}

function onIpv4(ctx: DissectContext, off: number, end: number): void {
  const ip = parseIpv4(ctx.view, off, end - off)
  if (ip === null) {
    broken(ctx, 'ipv4', off, end)
    return
  }
  const headerBytes = ipv4HeaderBytes(ip)
  const fragmentOffset = fragmentOffsetBytes(ip.fragOff)
  const mf = (ip.fragOff & IP_MF) !== 0
  ctx.layers.push({
    layer: 'ipv4',
    offset: off,
    headerBytes,
    src: formatIpv4(ip.src),
    dst: formatIpv4(ip.dst),
    ttl: ip.ttl,
    tos: ip.tos,
    id: ip.id,
    totalLength: ip.totalLength,
    df: (ip.fragOff & IP_DF) !== 0,
    mf,
    fragmentOffsetBytes: fragmentOffset,
    protocol: ip.protocol,
    options: (walkIpv4Options(ip.options) ?? []).map((o) => ({ type: o.type, hex: hexOf(o.data) })),
    checksum: ip.checksum,
    checksumOk: internetChecksum(ctx.view, off, headerBytes) === 0,
  })
  const at = off + headerBytes
  const announced = off + Math.max(ip.totalLength, headerBytes)
  const last = Math.min(end, announced)
  if (fragmentOffset > 0) {
    payload(ctx, at, last, 'fragment')
    return
  }
  const whole = announced <= end && !mf && !ctx.quoted
  const pseudoSum = whole ? pseudoSumV4(ip.src, ip.dst, ip.protocol, last - at) : null
  dissectTransport(ctx, ip.protocol, { off: at, end: last, announcedEnd: announced, pseudoSum, version: 4 })
}

function onIpv6(ctx: DissectContext, off: number, end: number): void {
  const ip = parseIpv6(ctx.view, off, end - off)
  if (ip === null) {
    broken(ctx, 'ipv6', off, end)
    return
  }
  const announced = off + IPV6_HEADER_BYTES + ip.payloadLength
  const last = Math.min(end, announced)
  const walk = walkIpv6Extensions(ctx.view, off + IPV6_HEADER_BYTES, last - off - IPV6_HEADER_BYTES, ip.nextHeader)
  ctx.layers.push({
    layer: 'ipv6',
    offset: off,
    headerBytes: walk.off - off,
    src: formatIpv6(ip.src),
    dst: formatIpv6(ip.dst),
    hopLimit: ip.hopLimit,
    trafficClass: ip.trafficClass,
    flowLabel: ip.flowLabel,
    payloadLength: ip.payloadLength,
    protocol: walk.protocol,
    extensions: walk.extensions.map((e) => e.type),
    fragment: walk.fragment,
  })
  if (walk.truncated) {
    broken(ctx, 'ipv6 extension header', walk.off, last)
    return
  }
  if (walk.fragment !== null && walk.fragment.offsetBytes > 0) {
    payload(ctx, walk.off, last, 'fragment')
    return
  }
  const whole = announced <= end && walk.fragment?.more !== true && !ctx.quoted
  const pseudoSum = whole ? pseudoSumV6(ip.src, ip.dst, walk.protocol, last - walk.off) : null
  dissectTransport(ctx, walk.protocol, { off: walk.off, end: last, announcedEnd: announced, pseudoSum, version: 6 })
}

function tooDeep(ctx: DissectContext, off: number, end: number): void {
  payload(ctx, off, end, 'nested too deep')
}

function payload(
  ctx: DissectContext,
  off: number,
  end: number,
  why: 'fragment' | 'unknown protocol' | 'nested too deep',
): void {
  ctx.layers.push({ layer: 'payload', offset: off, headerBytes: 0, bytes: Math.max(0, end - off), why })
}

function broken(ctx: DissectContext, expected: string, off: number, end: number): void {
  ctx.layers.push({ layer: 'broken', offset: off, headerBytes: 0, expected, bytes: Math.max(0, end - off) })
}
