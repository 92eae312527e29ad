/**
 * What `dissectFrame` tells about a frame: a flat list of layers, outermost first, plain data that JSON keeps as it is.
 *
 * A tunnel's inner packet and the packet that an ICMP error quotes follow their carrier in the same list. `offset` is
 * from the frame's start, `headerBytes` what the layer's own header takes, so a viewer can mark the bytes.
 * `checksumOk` is null where nothing can be said: a fragment, a cut or quoted packet, UDP without a checksum.
 */

interface LayerBase {
  readonly offset: number
  readonly headerBytes: number
}

/** Ethernet II. */
export interface EthernetLayer extends LayerBase {
  readonly layer: 'ethernet'
  readonly dst: string
  readonly src: string
  /** EtherType after all tags. */
  readonly etherType: number
}

/** One 802.1Q or 802.1ad tag. */
export interface VlanLayer extends LayerBase {
  readonly layer: 'vlan'
  readonly tpid: number
  readonly vid: number
  readonly pcp: number
  readonly dei: boolean
}

/** ARP for IPv4. */
export interface ArpLayer extends LayerBase {
  readonly layer: 'arp'
  readonly op: number
  readonly sha: string
  readonly spa: string
  readonly tha: string
  readonly tpa: string
}

/** IPv4. */
export interface Ipv4Layer extends LayerBase {
  readonly layer: 'ipv4'
  readonly src: string
  readonly dst: string
  readonly ttl: number
  readonly tos: number
  readonly id: number
  readonly totalLength: number
  readonly df: boolean
  readonly mf: boolean
  readonly fragmentOffsetBytes: number
  readonly protocol: number
  readonly options: readonly { readonly type: number; readonly hex: string }[]
  readonly checksum: number
  readonly checksumOk: boolean
}

/** IPv6 with its extension headers. */
export interface Ipv6Layer extends LayerBase {
  readonly layer: 'ipv6'
  readonly src: string
  readonly dst: string
  readonly hopLimit: number
  readonly trafficClass: number
  readonly flowLabel: number
  readonly payloadLength: number
  /** Upper protocol behind the extension headers. */
  readonly protocol: number
  readonly extensions: readonly number[]
  readonly fragment: { readonly offsetBytes: number; readonly more: boolean; readonly id: number } | null
}

/** ICMP and ICMPv6; the optional fields stand where the type has them. */
export interface IcmpLayer extends LayerBase {
  readonly layer: 'icmp' | 'icmpv6'
  readonly type: number
  readonly code: number
  readonly name: string
  readonly checksum: number
  readonly checksumOk: boolean | null
  readonly id?: number
  readonly seq?: number
  readonly mtu?: number
  readonly gateway?: string
  readonly pointer?: number
  /** Target of a neighbour solicitation, advertisement or redirect. */
  readonly target?: string
  /** R, S, O of a neighbour advertisement. */
  readonly naFlags?: string
  readonly sourceLinkAddr?: string
  readonly targetLinkAddr?: string
}

/** UDP. */
export interface UdpLayer extends LayerBase {
  readonly layer: 'udp'
  readonly sport: number
  readonly dport: number
  readonly length: number
  readonly checksum: number
  readonly checksumOk: boolean | null
}

/** TCP. */
export interface TcpLayer extends LayerBase {
  readonly layer: 'tcp'
  readonly sport: number
  readonly dport: number
  readonly seq: number
  readonly ack: number
  /** Letters, lowest bit first: `S`, `SA`, `FA`, `R`, `PA` ... */
  readonly flags: string
  readonly window: number
  readonly urgent: number
  /** `mss 1460`, `sackOK`, `wscale 7`, ... in order. */
  readonly options: readonly string[]
  /** By the IP header's length, also when the capture is cut. */
  readonly payloadBytes: number
  readonly checksum: number
  readonly checksumOk: boolean | null
}

/** SCTP. */
export interface SctpLayer extends LayerBase {
  readonly layer: 'sctp'
  readonly sport: number
  readonly dport: number
  readonly vtag: number
  /** `INIT`, `DATA`, ...; null when their lengths are impossible. */
  readonly chunks: readonly string[] | null
  readonly checksum: number
  readonly checksumOk: boolean | null
}

/** VXLAN. */
export interface VxlanLayer extends LayerBase {
  readonly layer: 'vxlan'
  readonly vni: number
  readonly flags: number
}

/** Geneve. */
export interface GeneveLayer extends LayerBase {
  readonly layer: 'geneve'
  readonly vni: number
  readonly flags: number
  readonly protocol: number
  readonly optionBytes: number
}

/** GRE. */
export interface GreLayer extends LayerBase {
  readonly layer: 'gre'
  readonly protocol: number
  readonly key: number | null
  readonly seq: number | null
}

/** Bytes behind the last header that is understood; `why` says when they are not plain data. */
export interface PayloadLayer extends LayerBase {
  readonly layer: 'payload'
  readonly bytes: number
  readonly why: 'data' | 'fragment' | 'unknown protocol' | 'nested too deep'
}

/** A header that should start at `offset` and is cut short or broken. */
export interface BrokenLayer extends LayerBase {
  readonly layer: 'broken'
  readonly expected: string
  readonly bytes: number
  /** Ports of a cut TCP, UDP or SCTP header: an ICMP error may quote no more than 8 bytes. */
  readonly sport?: number
  readonly dport?: number
}

/** One layer of a frame. */
export type Layer =
  | EthernetLayer
  | VlanLayer
  | ArpLayer
  | Ipv4Layer
  | Ipv6Layer
  | IcmpLayer
  | UdpLayer
  | TcpLayer
  | SctpLayer
  | VxlanLayer
  | GeneveLayer
  | GreLayer
  | PayloadLayer
  | BrokenLayer
