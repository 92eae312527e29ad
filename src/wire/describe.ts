/**
 * One line for a frame, in the manner of tcpdump: a pure function of the layers of dissect.ts.
 *
 *     0a:..:01>0a:..:02 IP 10.244.1.7>10.96.0.10 ttl64 id0000 len60 DF TCP 40000>53 S seq1 ack0 win64240 +0 <mss 1460>
 *     ... ICMP 3/3 port unreachable {IP ...}        the packet that an error quotes, or a tunnel carries, in braces
 *
 * Numbers are decimal but for MAC, IP id, tos, sequence numbers and EtherTypes, which are hex. `bad-csum` stands where a
 * checksum is wrong, `csum0` where UDP over IPv4 has none, `(short)` where a header is cut.
 */
import { dissectFrame, type LinkKind } from './dissect.ts'
import type { ArpLayer, BrokenLayer, IcmpLayer, Ipv4Layer, Ipv6Layer, Layer, PayloadLayer, TcpLayer } from './layers.ts'

/** Layers as this module names them when they are whole. */
const BROKEN_NAMES: Readonly<Record<string, string>> = {
  ethernet: 'ETHER',
  arp: 'ARP',
  ipv4: 'IP',
  ipv6: 'IP6',
  icmp: 'ICMP',
  icmpv6: 'ICMP6',
  udp: 'UDP',
  tcp: 'TCP',
  sctp: 'SCTP',
  gre: 'GRE',
}

/** One line for a frame; never throws, whatever the bytes. */
export function describeFrame(bytes: Uint8Array, link: LinkKind): string {
  return describeLayers(dissectFrame(bytes, link))
}

/** One line for a frame's layers. */
export function describeLayers(layers: readonly Layer[]): string {
  const words: string[] = []
  let braces = 0
  let open = ''
  for (const [i, layer] of layers.entries()) {
    const text = describeLayer(layer, layers.slice(0, i))
    if (text !== '') {
      words.push(open + text)
      open = ''
    }
    const carrier = carrierWord(layer, layers[i + 1])
    if (carrier === null) continue
    if (carrier !== '') words.push(carrier)
    open = '{'
    braces++
  }
  return words.join(' ') + '}'.repeat(braces)
}

/**
 * Null when what follows belongs to the same packet, else the word between a carrier and the packet in it: IP directly
 * in IP has no header to name, so it is named as iproute2 names the tunnel.
 */
function carrierWord(layer: Layer, next: Layer | undefined): string | null {
  if (next === undefined || layer.layer === 'ethernet' || layer.layer === 'vlan') return null
  const outer = layer.layer
  const inner = next.layer === 'broken' ? next.expected : next.layer
  if (outer === 'ipv4' && inner === 'ipv4') return 'IPIP'
  if (outer === 'ipv4' && inner === 'ipv6') return 'SIT'
  if (outer === 'ipv6' && inner === 'ipv4') return 'IPIP6'
  if (outer === 'ipv6' && inner === 'ipv6') return 'IP6IP6'
  if (outer === 'ipv4' || outer === 'ipv6') return null
  return inner === 'ethernet' || inner === 'ipv4' || inner === 'ipv6' ? '' : null
}

function describeLayer(layer: Layer, outer: readonly Layer[]): string {
  switch (layer.layer) {
    case 'ethernet':
      return `${layer.src}>${layer.dst}`
    case 'vlan':
      return `vlan ${layer.vid}${layer.pcp ? ` p${layer.pcp}` : ''}`
    case 'arp':
      return describeArp(layer)
    case 'ipv4':
      return describeIpv4(layer)
    case 'ipv6':
      return describeIpv6(layer)
    case 'icmp':
    case 'icmpv6':
      return describeIcmp(layer)
    case 'udp':
      return `UDP ${layer.sport}>${layer.dport} len${layer.length}${layer.checksum === 0 ? ' csum0' : bad(layer.checksumOk)}`
    case 'tcp':
      return describeTcp(layer)
    case 'sctp':
      return `SCTP ${layer.sport}>${layer.dport} vtag${layer.vtag.toString(16)} ${layer.chunks?.join(',') ?? '(short)'}${bad(layer.checksumOk)}`
    case 'vxlan':
      return `VXLAN vni${layer.vni} fl${layer.flags.toString(16).padStart(2, '0')}`
    case 'geneve':
      return `GENEVE vni${layer.vni} type ${hex4(layer.protocol)}${layer.optionBytes ? ` opts${layer.optionBytes}` : ''}`
    case 'gre':
      return `GRE type ${hex4(layer.protocol)}${layer.key === null ? '' : ` key${layer.key}`}${layer.seq === null ? '' : ` seq${layer.seq}`}`
    case 'payload':
      return describePayload(layer, outer)
    case 'broken':
      return describeBroken(layer)
  }
}

function describeBroken(layer: BrokenLayer): string {
  const ports = layer.sport === undefined ? '' : ` ${layer.sport}>${layer.dport}`
  return `${BROKEN_NAMES[layer.expected] ?? layer.expected}${ports} (short)`
}

function describeArp(arp: ArpLayer): string {
  const op = arp.op === 1 ? 'req' : arp.op === 2 ? 'rep' : String(arp.op)
  return `ARP ${op} ${arp.spa}(${arp.sha}) -> ${arp.tpa}(${arp.tha})`
}

function describeIpv4(ip: Ipv4Layer): string {
  const flags = (ip.df ? 'DF' : '') + (ip.mf ? 'MF' : '') + (ip.fragmentOffsetBytes ? `+${ip.fragmentOffsetBytes}` : '')
  const words = [`IP ${ip.src}>${ip.dst} ttl${ip.ttl} id${hex4(ip.id)} len${ip.totalLength}`]
  if (flags) words.push(flags)
  if (ip.tos) words.push(`tos${ip.tos.toString(16).padStart(2, '0')}`)
  if (ip.options.length > 0) words.push(`opts${ip.options.map((o) => o.type).join(',')}`)
  if (!ip.checksumOk) words.push('bad-csum')
  return words.join(' ')
}

function describeIpv6(ip: Ipv6Layer): string {
  const words = [`IP6 ${ip.src}>${ip.dst} hlim${ip.hopLimit} len${ip.payloadLength}`]
  if (ip.trafficClass) words.push(`tc${ip.trafficClass.toString(16).padStart(2, '0')}`)
  if (ip.flowLabel) words.push(`flow${ip.flowLabel.toString(16).padStart(5, '0')}`)
  if (ip.extensions.length > 0) words.push(`ext${ip.extensions.join(',')}`)
  if (ip.fragment !== null) {
    words.push(`frag${ip.fragment.id.toString(16)}+${ip.fragment.offsetBytes}${ip.fragment.more ? 'MF' : ''}`)
  }
  return words.join(' ')
}

function describeIcmp(icmp: IcmpLayer): string {
  const words = [`${icmp.layer === 'icmp' ? 'ICMP' : 'ICMP6'} ${icmp.type}/${icmp.code} ${icmp.name}`]
  if (icmp.target !== undefined) words.push(icmp.target)
  if (icmp.naFlags) words.push(icmp.naFlags)
  if (icmp.sourceLinkAddr !== undefined) words.push(`slla ${icmp.sourceLinkAddr}`)
  if (icmp.targetLinkAddr !== undefined) words.push(`tlla ${icmp.targetLinkAddr}`)
  if (icmp.id !== undefined) words.push(`id${icmp.id} seq${icmp.seq}`)
  if (icmp.mtu !== undefined) words.push(`mtu${icmp.mtu}`)
  if (icmp.gateway !== undefined) words.push(`gw${icmp.gateway}`)
  if (icmp.pointer !== undefined) words.push(`ptr${icmp.pointer}`)
  return words.join(' ') + bad(icmp.checksumOk)
}

function describeTcp(tcp: TcpLayer): string {
  const options = tcp.options.length > 0 ? ` <${tcp.options.join(',')}>` : ''
  const urgent = tcp.urgent ? ` urg${tcp.urgent}` : ''
  const numbers = `seq${tcp.seq.toString(16)} ack${tcp.ack.toString(16)} win${tcp.window}${urgent} +${tcp.payloadBytes}`
  return `TCP ${tcp.sport}>${tcp.dport} ${tcp.flags || 'none'} ${numbers}${options}${bad(tcp.checksumOk)}`
}

function describePayload(payload: PayloadLayer, outer: readonly Layer[]): string {
  if (payload.why === 'fragment') return 'frag'
  if (payload.why === 'nested too deep') return `(${payload.bytes} more bytes)`
  if (payload.why === 'data') return ''
  const before = outer.at(-1)
  if (before?.layer === 'ipv4' || before?.layer === 'ipv6') return `proto ${before.protocol}`
  const eth = outer.findLast((l) => l.layer === 'ethernet')
  if (eth === undefined || (before?.layer !== 'ethernet' && before?.layer !== 'vlan')) return ''
  return `type ${hex4(eth.etherType)} len ${payload.offset + payload.bytes - eth.offset}`
}

function bad(checksumOk: boolean | null): string {
  return checksumOk === false ? ' bad-csum' : ''
}

function hex4(value: number): string {
  return value.toString(16).padStart(4, '0')
}
