/**
 * Why a packet ended: the closed table of reason codes.
 *
 * Linux: enum skb_drop_reason (include/net/dropreason-core.h) names most of them; what Linux leaves unnamed (a rule's
 * verdict, a route type) has a name here. Codes are stable and never reused; each has a sentence, a hint for a reader of
 * a trace, and the verdict that a trace draws from it.
 */

/** The verdicts of a trace, see the command-line contract. */
export type Verdict =
  | 'DELIVERED'
  | 'DROPPED'
  | 'REJECTED'
  | 'UNREACHABLE'
  | 'TTL_EXCEEDED'
  | 'FRAG_NEEDED'
  | 'LOOP'
  | 'UNMODELLED'

/** One row of the table. */
export interface Reason {
  readonly code: number
  readonly symbol: string
  readonly verdict: Verdict
  /** What happened, one sentence. */
  readonly text: string
  /** What to look at. */
  readonly hint: string
}

const table: Reason[] = []
function reason(code: number, symbol: string, verdict: Verdict, text: string, hint: string): number {
  table[code] = { code, symbol, verdict, text, hint }
  return code
}

export const R_NONE = reason(0, 'NONE', 'DELIVERED', 'The packet is still on its way.', 'No fate yet.')
export const R_CONSUMED = reason(1, 'CONSUMED', 'DELIVERED', 'A socket or the stack took the packet.', 'It arrived.')
export const R_NOMEM = reason(
  2,
  'NOMEM',
  'DROPPED',
  'The packet arena is full.',
  'Raise the arena size: too many packets are queued at once.',
)
export const R_DEV_DOWN = reason(3, 'DEV_DOWN', 'DROPPED', 'The device is administratively down.', 'ip link set DEV up')
export const R_NO_CARRIER = reason(
  4,
  'NO_CARRIER',
  'DROPPED',
  'The other end of the link is down or gone.',
  'Look at the peer device.',
)
export const R_OTHERHOST = reason(
  5,
  'OTHERHOST',
  'DROPPED',
  'The frame is addressed to another MAC.',
  'The sender has a stale neighbour entry or the bridge flooded the frame.',
)
export const R_UNHANDLED_PROTO = reason(
  6,
  'UNHANDLED_PROTO',
  'DROPPED',
  'No protocol handler for this ethertype.',
  'Only IPv4, ARP and bridged frames are handled by a host.',
)
export const R_MTU = reason(
  7,
  'PKT_TOO_BIG',
  'DROPPED',
  'The frame is larger than the device can send.',
  'Compare the MTU of both ends.',
)
export const R_BRIDGE_NO_PORT = reason(
  8,
  'BRIDGE_NO_FORWARD',
  'DROPPED',
  'The bridge has no port to forward the frame to.',
  'Hairpin is off, the port is isolated, or flooding is off.',
)
export const R_BRIDGE_PORT_DISABLED = reason(
  9,
  'BRIDGE_PORT_DISABLED',
  'DROPPED',
  'The bridge port does not forward.',
  'Look at the port state.',
)
export const R_BRIDGE_LINK_LOCAL = reason(
  10,
  'BRIDGE_LINK_LOCAL',
  'DROPPED',
  'A link-local group frame (01:80:c2:00:00:0x) is not forwarded by a bridge.',
  'group_fwd_mask lets some of them through.',
)
export const R_IP_HDR = reason(
  11,
  'IP_INHDR',
  'DROPPED',
  'The IP header is malformed.',
  'Version, header length or total length is wrong.',
)
export const R_IP_CSUM = reason(
  12,
  'IP_CSUM',
  'DROPPED',
  'The IP header checksum is wrong.',
  'The sender or a device on the way broke it.',
)
export const R_PKT_TRUNC = reason(
  13,
  'PKT_TOO_SMALL',
  'DROPPED',
  'The packet is shorter than its header says.',
  'Truncated on the way.',
)
export const R_NO_ROUTE = reason(
  14,
  'IP_INNOROUTES',
  'UNREACHABLE',
  'There is no route to the destination.',
  'ip route get DST on that node shows the same.',
)
export const R_ROUTE_UNREACHABLE = reason(
  15,
  'ROUTE_UNREACHABLE',
  'UNREACHABLE',
  'An unreachable route matches.',
  'ip route shows it.',
)
export const R_ROUTE_PROHIBIT = reason(
  16,
  'ROUTE_PROHIBIT',
  'UNREACHABLE',
  'A prohibit route matches.',
  'ip route shows it.',
)
export const R_ROUTE_BLACKHOLE = reason(
  17,
  'ROUTE_BLACKHOLE',
  'DROPPED',
  'A blackhole route matches.',
  'ip route shows it.',
)
export const R_MARTIAN_SOURCE = reason(
  18,
  'IP_INVALID_SOURCE',
  'DROPPED',
  'The source address cannot come from outside (martian).',
  'Its own, loopback, multicast or broadcast address as a source.',
)
export const R_MARTIAN_DEST = reason(
  19,
  'IP_INVALID_DEST',
  'DROPPED',
  'The destination address is not routable here (martian).',
  '0.0.0.0/8 or 127.0.0.0/8 from outside; route_localnet.',
)
export const R_RPFILTER = reason(
  20,
  'IP_RPFILTER',
  'DROPPED',
  'Reverse path filter: the source is not reachable by the incoming device.',
  'net.ipv4.conf.DEV.rp_filter, and the route back.',
)
export const R_NOT_FORWARDING = reason(
  21,
  'IP_FORWARDING_OFF',
  'DROPPED',
  'Forwarding is off and the packet is not for this host.',
  'net.ipv4.ip_forward',
)
export const R_TTL = reason(
  22,
  'TTL_EXCEEDED',
  'TTL_EXCEEDED',
  'The TTL ran out.',
  'A routing loop, or a sender with a low TTL.',
)
export const R_FRAG_NEEDED = reason(
  23,
  'PKT_TOO_BIG_DF',
  'FRAG_NEEDED',
  'The packet is larger than the next link and must not be fragmented.',
  'MTU of the route; the sender gets ICMP fragmentation needed.',
)
export const R_NEIGH_FAILED = reason(
  24,
  'NEIGH_FAILED',
  'UNREACHABLE',
  'The next hop does not answer ARP.',
  'The next hop is down, or not on this link.',
)
export const R_NEIGH_QUEUEFULL = reason(
  25,
  'NEIGH_QUEUEFULL',
  'DROPPED',
  'Too many packets wait for this neighbour.',
  'net.ipv4.neigh.DEV.unres_qlen_bytes',
)
export const R_NEIGH_DEAD = reason(
  26,
  'NEIGH_DEAD',
  'DROPPED',
  'The neighbour entry was removed while packets waited.',
  'The device went down.',
)
export const R_NF_DROP = reason(
  27,
  'NETFILTER_DROP',
  'DROPPED',
  'A netfilter rule dropped the packet.',
  '-o wide shows the rule and the manifest line it came from.',
)
export const R_NF_REJECT = reason(
  28,
  'NETFILTER_REJECT',
  'REJECTED',
  'A netfilter rule rejected the packet with an answer.',
  '-o wide shows the rule and the manifest line it came from.',
)
export const R_NF_POLICY = reason(
  29,
  'NETFILTER_POLICY',
  'DROPPED',
  'The policy of a built-in chain dropped the packet.',
  'No rule accepted it before.',
)
export const R_CT_FULL = reason(
  30,
  'CONNTRACK_FULL',
  'DROPPED',
  'The conntrack table is full.',
  'net.netfilter.nf_conntrack_max',
)
export const R_CT_CLASH = reason(
  31,
  'CONNTRACK_CLASH',
  'DROPPED',
  'Another packet confirmed the same connection first.',
  'A race of two first packets.',
)
export const R_NAT_NO_TUPLE = reason(
  32,
  'NAT_NO_TUPLE',
  'DROPPED',
  'No free port or address is left for this translation.',
  'Widen the range.',
)
export const R_ICMP_RATELIMIT = reason(33, 'ICMP_RATELIMIT', 'DROPPED', 'ICMP rate limit.', 'net.ipv4.icmp_ratelimit')
export const R_NO_SOCKET = reason(
  34,
  'NO_SOCKET',
  'REJECTED',
  'No socket listens on that port.',
  'The process is not there or bound to another address.',
)
export const R_SOCKET_FILTER = reason(
  35,
  'SOCKET_RCVBUFF',
  'DROPPED',
  'The receive queue of the socket is full.',
  'The process does not read.',
)
export const R_L4_CSUM = reason(
  36,
  'L4_CSUM',
  'DROPPED',
  'The transport checksum is wrong.',
  'The sender or a device on the way broke it.',
)
export const R_L4_HDR = reason(
  37,
  'L4_HDR',
  'DROPPED',
  'The transport header is malformed.',
  'Truncated or with a bad length.',
)
export const R_FRAG_TIMEOUT = reason(
  38,
  'FRAG_REASM_TIMEOUT',
  'DROPPED',
  'Not all fragments arrived in time.',
  'One fragment was lost on the way.',
)
export const R_FRAG_BAD = reason(
  39,
  'FRAG_INVALID',
  'DROPPED',
  'A fragment overlaps or does not fit.',
  'The sender fragments wrongly.',
)
export const R_FRAG_TOO_FAR = reason(
  40,
  'FRAG_TOO_FAR',
  'DROPPED',
  'The fragment queue was given up.',
  'net.ipv4.ipfrag_*',
)
export const R_IP_OPTIONS = reason(
  41,
  'IP_OPTIONS',
  'DROPPED',
  'The IP options are malformed or not allowed.',
  'Source routes are refused by default.',
)
export const R_NO_PROTO = reason(
  42,
  'IP_NOPROTO',
  'REJECTED',
  'No handler for this IP protocol on the host.',
  'The protocol is not spoken there.',
)
export const R_ARP_IGNORED = reason(
  43,
  'ARP_IGNORED',
  'DROPPED',
  'The ARP packet needs no answer from this host.',
  'It asks for an address that is not here.',
)
export const R_UNMODELLED = reason(
  44,
  'UNMODELLED',
  'UNMODELLED',
  'The packet met something that podwalk does not model yet.',
  'The trace names it.',
)
export const R_LOOP = reason(
  45,
  'LOOP',
  'LOOP',
  'The packet goes round in circles.',
  'Look at the repeating part of the walk.',
)
export const R_TCP_STATE = reason(
  46,
  'TCP_INVALID',
  'DROPPED',
  'The segment does not fit the state of the connection.',
  'Old, out of window or for a closed connection.',
)
export const R_TCP_RESET = reason(
  47,
  'TCP_RESET',
  'REJECTED',
  'The peer answered with a reset.',
  'No process listens on that port.',
)
export const R_SEND_BLOCKED = reason(
  48,
  'SEND_FAILED',
  'DROPPED',
  'The sender got an error from its own stack.',
  'The error number is in the detail.',
)
export const R_MULTICAST = reason(
  49,
  'MULTICAST',
  'DROPPED',
  'Nobody joined this multicast group here.',
  'Multicast routing is not modelled.',
)
export const R_UNICAST_IN_L2_MULTICAST = reason(
  50,
  'UNICAST_IN_L2_MULTICAST',
  'DROPPED',
  'A unicast IP packet came in a broadcast frame.',
  'It is not forwarded by a router.',
)
export const R_INVALID_TX = reason(
  51,
  'TX_INVALID',
  'DROPPED',
  'The frame is shorter than a link header.',
  'The sender made a runt.',
)
export const R_ECHO_IGNORED = reason(
  52,
  'ICMP_ECHO_IGNORED',
  'DROPPED',
  'The host is told not to answer this echo.',
  'net.ipv4.icmp_echo_ignore_*',
)
export const R_UNDERLAY = reason(
  53,
  'UNDERLAY_NO_ROUTE',
  'DROPPED',
  'The underlay has no route for this destination.',
  'A cloud fabric drops what its route table does not hold.',
)
export const R_NO_TX_TARGET = reason(
  54,
  'NO_TX_TARGET',
  'DROPPED',
  'The tunnel device has no destination for this MAC address.',
  'bridge fdb show dev DEV: no entry for the MAC and none for 00:00:00:00:00:00.',
)
export const R_TUNNEL_NO_ROUTE = reason(
  55,
  'TUNNEL_NO_ROUTE',
  'UNREACHABLE',
  'The underlay has no route to the far end of the tunnel.',
  'ip route get ADDRESS of the tunnel endpoint.',
)
export const R_TUNNEL_ECN = reason(
  56,
  'IP_TUNNEL_ECN',
  'DROPPED',
  'The outer header reports congestion to an inner packet that knows no ECN.',
  'A router marked the outer packet CE.',
)
export const R_VXLAN_HDR = reason(
  57,
  'VXLAN_INVALID_HDR',
  'DROPPED',
  'The VXLAN header is short, lacks its flag or has reserved bits set.',
  'The sender speaks another dialect (GBP, GPE) or is not VXLAN.',
)
export const R_VXLAN_VNI = reason(
  58,
  'VXLAN_VNI_NOT_FOUND',
  'DROPPED',
  'No VXLAN device here has this VNI on this port.',
  'Compare `id` and `dstport` of both ends: ip -d link.',
)
export const R_VXLAN_LOCAL_MAC = reason(
  59,
  'LOCAL_MAC',
  'DROPPED',
  "The inner frame carries the VXLAN device's own MAC as its source.",
  'Two VTEPs with the same MAC, or a loop.',
)
export const R_VXLAN_ENTRY_EXISTS = reason(
  60,
  'VXLAN_ENTRY_EXISTS',
  'DROPPED',
  'A learning VXLAN device has a static entry for this MAC behind another VTEP.',
  'bridge fdb show dev DEV; use nolearning with static entries.',
)
export const R_TUNNEL_UNKNOWN = reason(
  61,
  'TUNNEL_UNKNOWN',
  'REJECTED',
  'No tunnel device takes packets from this outer source.',
  'Compare `local` and `remote` of the tunnels: ip -d link.',
)
export const R_IPVS_NO_DEST = reason(
  62,
  'IPVS_NO_DESTINATION',
  'REJECTED',
  'The IPVS service has no real server that can take a new connection.',
  'ipvsadm -Ln: no real server, weight 0, or above the threshold.',
)
export const R_IPVS_DEST_GONE = reason(
  63,
  'IPVS_DEST_GONE',
  'DROPPED',
  'The real server of this IPVS connection was removed.',
  'net.ipv4.vs.expire_nodest_conn ends such connections.',
)
export const R_IPVS_OLD_CONNTRACK = reason(
  64,
  'IPVS_OLD_CONNTRACK',
  'DROPPED',
  'A new connection uses the ends of an old one whose conntrack entry still stands.',
  'The client sends again; net.ipv4.vs.conntrack and conn_reuse_mode.',
)
export const R_IPVS_DROP_PACKET = reason(
  65,
  'IPVS_DROP_PACKET',
  'DROPPED',
  'IPVS drops every n-th new connection.',
  'net.ipv4.vs.drop_packet and am_droprate.',
)
export const R_IPVS_BOUNDARY = reason(
  66,
  'IPVS_BOUNDARY',
  'DROPPED',
  'IPVS would send the packet across the border between this host and others.',
  'A real server that is local or loopback where that is not allowed.',
)
export const R_IPVS_NO_CONN = reason(
  67,
  'IPVS_NO_CONNECTION',
  'REJECTED',
  'A real server answers for a connection that IPVS does not know.',
  'net.ipv4.vs.nat_icmp_send',
)
export const R_BRIDGE_VLAN = reason(
  80,
  'BRIDGE_VLAN',
  'DROPPED',
  'The bridge filters VLANs and the port does not carry this one.',
  'bridge vlan show',
)
export const R_IP6_EXTHDR = reason(
  68,
  'IPV6_BAD_EXTHDR',
  'DROPPED',
  'An IPv6 extension header is malformed, or carries an option or a routing type that is refused.',
  'RFC 8200 4.2: the upper two bits of an option say what becomes of the packet; segment routing needs seg6_enabled.',
)
export const R_IP6_ADDRESS = reason(
  69,
  'IPV6_BAD_ADDRESS',
  'DROPPED',
  'The IPv6 source or destination may not appear here: loopback, multicast source, link-local across links.',
  'Link-local packets are not forwarded; ::1 never crosses a wire.',
)
export const R_NDISC_BAD = reason(
  70,
  'IPV6_NDISC_BAD',
  'DROPPED',
  'The neighbour discovery message breaks a rule of RFC 4861.',
  'Hop limit 255, code 0, well-formed options, no fragments.',
)
export const R_NDISC_IGNORED = reason(
  71,
  'IPV6_NDISC_IGNORED',
  'DROPPED',
  'The neighbour discovery message does not concern this host.',
  'The target is no address, anycast address or proxied address of this device: ip -6 addr, ip -6 neigh show proxy.',
)
export const R_TUNNEL_SEQ = reason(
  81,
  'TUNNEL_SEQ',
  'DROPPED',
  'The tunnel wants sequence numbers and this packet has none, or an old one.',
  'ip -d link: iseq at this end, oseq at the other.',
)
export const R_TC_DROP = reason(
  82,
  'TC_DROP',
  'DROPPED',
  'A tc filter dropped the packet, or redirects to a device that is down.',
  'tc -s filter show dev DEV ingress (or egress)',
)
export const R_EBTABLES_DROP = reason(
  83,
  'EBTABLES_DROP',
  'DROPPED',
  'A rule or the policy of an ebtables chain dropped the frame.',
  'ebtables -t filter -L --Lc, ebtables -t nat -L --Lc',
)

/** All reasons, by code. */
export const REASONS: readonly Reason[] = table

/** The reason's row; an unknown code is our bug. */
export function reasonOf(code: number): Reason {
  const r = table[code]
  if (r === undefined) throw new Error(`unknown reason code ${code}`)
  return r
}
