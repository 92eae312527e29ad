/**
 * The addresses and ports of a frame, as a reader follows them along a walk.
 *
 * The outermost IPv4 header counts: inside a tunnel the outer addresses are the ones the network sees; what the tunnel
 * carries follows in brackets. The packet that
 * an ICMP error quotes is named after the error itself.
 */

import type { Trace, TraceFrame } from '../query/trace-types.ts'
import { dissectFrame } from '../wire/dissect.ts'
import { dnsDataText, parseDns } from '../wire/dns.ts'
import type { Layer } from '../wire/layers.ts'

/** Who speaks to whom. Ports are 0 where the protocol has none. */
export interface Flow {
  readonly src: string
  readonly sport: number
  readonly dst: string
  readonly dport: number
}

/** A frame in one line. */
export interface FrameText {
  /** Null for what is not IP. */
  readonly flow: Flow | null
  /** `SYN`, `ACK, 77 bytes`, `who has 10.244.1.1`, `echo request` ... */
  readonly what: string
}

/** `10.244.1.2:40000 > 10.96.0.10:80`, without ports where there are none. */
export function flowText(flow: Flow): string {
  return `${endText(flow.src, flow.sport)} > ${endText(flow.dst, flow.dport)}`
}

/** `10.244.1.2:40000` or `10.244.1.2`. */
export function endText(ip: string, port: number): string {
  return port === 0 ? ip : `${ip}:${port}`
}

/** Addresses and meaning of a frame. */
export function readFrame(trace: Trace, frame: TraceFrame): FrameText {
  const iface = trace.interfaces.find(
    (i) => i.node === frame.node && i.netns === frame.netns && i.device === frame.device,
  )
  const bytes = Buffer.from(frame.hex, 'hex')
  return readLayers(dissectFrame(bytes, iface?.linkType ?? 'ether'), bytes)
}

function readLayers(layers: readonly Layer[], bytes: Uint8Array): FrameText {
  const at = layers.findIndex((l) => l.layer === 'ipv4' || l.layer === 'ipv6')
  const ip = layers[at]
  if (ip === undefined || (ip.layer !== 'ipv4' && ip.layer !== 'ipv6')) {
    const arp = layers.find((l) => l.layer === 'arp')
    if (arp === undefined) return { flow: null, what: 'not IP' }
    return { flow: null, what: arp.op === 1 ? `ARP who has ${arp.tpa}` : `ARP ${arp.spa} is at ${arp.sha}` }
  }
  const above = layers[at + 1]
  const { src, dst } = ip
  switch (above?.layer) {
    case 'tcp': {
      const data = above.payloadBytes > 0 ? `, ${above.payloadBytes} bytes` : ''
      return { flow: { src, sport: above.sport, dst, dport: above.dport }, what: tcpFlags(above.flags) + data }
    }
    case 'udp':
      if (layers[at + 2]?.layer === 'vxlan') {
        const inside = insideText(readLayers(layers.slice(at + 3), bytes))
        return { flow: { src, sport: above.sport, dst, dport: above.dport }, what: `VXLAN ${inside}` }
      }
      return {
        flow: { src, sport: above.sport, dst, dport: above.dport },
        what: dnsWords(above, bytes) ?? `UDP ${above.length - 8} bytes`,
      }
    case 'sctp':
      return {
        flow: { src, sport: above.sport, dst, dport: above.dport },
        what: `SCTP ${above.chunks?.join(' ') ?? ''}`,
      }
    case 'icmp':
    case 'icmpv6':
      return { flow: { src, sport: 0, dst, dport: 0 }, what: above.name }
    case 'ipv4': {
      const inside = insideText(readLayers(layers.slice(at + 1), bytes))
      return { flow: { src, sport: 0, dst, dport: 0 }, what: `IPIP ${inside}` }
    }
    default: {
      const isFragment = ip.layer === 'ipv4' && ip.fragmentOffsetBytes > 0
      return { flow: { src, sport: 0, dst, dport: 0 }, what: isFragment ? 'fragment' : `protocol ${ip.protocol}` }
    }
  }
}

const DNS_PORT = 53
const UDP_HEADER_BYTES = 8

/** `DNS A? api.shop.svc.cluster.local` or `DNS 10.96.20.1`, null for what is no DNS. */
function dnsWords(udp: Extract<Layer, { layer: 'udp' }>, bytes: Uint8Array): string | null {
  if (udp.sport !== DNS_PORT && udp.dport !== DNS_PORT) return null
  const at = udp.offset + UDP_HEADER_BYTES
  const m = parseDns(bytes.subarray(at, udp.offset + udp.length))
  const q = m?.questions[0]
  if (m === null || q === undefined) return null
  if (!m.isResponse) return `DNS ${q.type}? ${q.name}`
  const data = m.answers.map((r) => `${r.type} ${dnsDataText(r)}`).join(', ')
  const cutOff = m.isTruncated ? ', truncated' : ''
  return `DNS ${m.rcode === 'NOERROR' ? data || 'no data' : m.rcode}${cutOff}`
}

/** `[10.244.0.2:40000 > 10.244.1.2:80 SYN]`: the packet that a tunnel carries. */
function insideText({ flow, what }: FrameText): string {
  return `[${flow === null ? '' : `${flowText(flow)} `}${what}]`
}

const FLAG_NAMES: { readonly [letter: string]: string } = { S: 'SYN', A: 'ACK', F: 'FIN', R: 'RST', P: 'PSH', U: 'URG' }

function tcpFlags(letters: string): string {
  const names = [...letters].map((l) => FLAG_NAMES[l] ?? l)
  // "PSH, ACK" says nothing more to a reader than that there is data.
  const shown = names.filter((n) => n !== 'PSH')
  return shown.length === 0 ? 'no flags' : shown.join('+')
}
