/**
 * What the data path tells a tracer: numbered trace points, called behind one null check (`world.tracer`).
 *
 * Linux: the tracepoints and pwru-like probes a person would set. A step carries the packet's id, the place, up to three
 * integers and one reference to a long-lived object (rule, route, neighbour, conntrack entry's number ...): no text is
 * made on the path. The meaning of `a`, `b`, `c` and `ref` per point stands beside each constant.
 */

import type { NetDevice } from './device/device.ts'
import type { Netns } from './netns.ts'

/** Frame handed to the device for transmission. a=length */
export const T_TX = 1
/** Frame received from the device. a=length */
export const T_RX = 2
/** Bridge took the frame from a port (dev = port). ref=bridge device */
export const T_BR_INPUT = 3
/** Bridge forwards to one port found in the fdb (dev = out port). ref=FdbEntry */
export const T_BR_FORWARD = 4
/** Bridge floods (dev = bridge). a=number of ports */
export const T_BR_FLOOD = 5
/** Bridge hands the frame up to the host (dev = bridge). */
export const T_BR_LOCAL = 6
/** Bridge learned or moved a source MAC (dev = port). a=1 new, 2 moved. ref=FdbEntry */
export const T_BR_LEARN = 7
/** br_netfilter runs the IPv4 hooks on a bridged frame. a=hook */
export const T_BR_NETFILTER = 8
/** Route looked up for an incoming packet. a=route type, b=gateway ip, c=table id; dev=out device; ref=FibRoute|null */
export const T_FIB_INPUT = 9
/** Route looked up for a packet of this host. Same fields as T_FIB_INPUT */
export const T_FIB_OUTPUT = 10
/** ip_forward: a=TTL after the decrement; dev = out device */
export const T_IP_FORWARD = 11
/** ip_local_deliver. a=protocol */
export const T_IP_LOCAL = 12
/** ip_output to the device. a=length */
export const T_IP_OUTPUT = 13
/** Fragmented into a pieces; b=mtu */
export const T_IP_FRAGMENT = 14
/** Reassembled; a=length, b=largest fragment */
export const T_IP_REASM = 15
/** Neighbour used. a=next hop ip, b=NUD state; ref=Neighbour */
export const T_NEIGH = 16
/** Packet queued until the neighbour answers. a=next hop ip; ref=Neighbour */
export const T_NEIGH_QUEUE = 17
/** ARP packet handled. a=op, b=sender ip, c=target ip */
export const T_ARP = 18
/** A rule matched. a=hook, b=rule index in chain (1-based), c=verdict; ref=IptRule */
export const T_NF_RULE = 19
/** A rule was looked at and did not match (verbose only). Same fields */
export const T_NF_MISS = 20
/** The policy of a built-in chain decided. a=hook, b=0, c=verdict; ref=IptChain */
export const T_NF_POLICY = 21
/** Conntrack looked the packet up. a=conntrack id, b=ctinfo, c=1 when the entry is new */
export const T_CT = 22
/** Conntrack confirmed a new entry. a=conntrack id */
export const T_CT_CONFIRM = 23
/** NAT set up for a connection. a=conntrack id, b=0 source / 1 destination */
export const T_NAT_SETUP = 24
/** NAT rewrote the packet. a=0 source / 1 destination, b=new ip, c=new port or id; ref=null; conntrack id is in the slot */
export const T_NAT = 25
/** An ICMP error or reply is sent because of this packet. a=type, b=code, c=info */
export const T_ICMP_SEND = 26
/** Delivered to a socket. a=socket id, b=protocol, c=local port */
export const T_SOCK = 27
/** The packet's end. a=reason code (reasons.ts), b=detail integer; ref=detail object or string constant */
export const T_END = 28
/** The conntrack marked the packet INVALID or UNTRACKED. a=ctinfo, b=detail */
export const T_CT_INVALID = 29
/** A new packet was made. a=its id, b=1 when it is a copy or a piece of this one, 0 when this one caused it (ICMP, RST) */
export const T_CHILD = 30
/** Source address check (rp_filter). a=1 passed, 0 failed */
export const T_RPFILTER = 31
/** TCP state change of a socket. a=socket id, b=old state, c=new state */
export const T_TCP_STATE = 32
/** A packet enters a link between hosts (physical wire, cloud fabric). ref=link */
export const T_WIRE = 33
/** ipset looked up. a=1 matched; ref=IpSet */
export const T_IPSET = 34
/** A tunnel device puts an outer header on. a=outer source, b=outer destination, c=VNI; ref=VxlanRdst|null */
export const T_TUNNEL_ENCAP = 35
/** A tunnel device took the outer header off. a=outer source, b=outer destination, c=VNI; ref=VxlanDev|null */
export const T_TUNNEL_DECAP = 36
/** IPVS gave a new connection its real server. a=connection id, b=real server's ip, c=port; ref=IpVsDest */
export const T_IPVS_SCHED = 37
/** IPVS sends the packet on. a=method (0 masq, 1 local, 2 tunnel, 3 direct routing, 4 bypass, 8 reply that gets the service's address), b=ip, c=port; ref=IpVsDest|null */
export const T_IPVS_XMIT = 38
/** IPv6 neighbour used. a=next hop (In6Table id), b=NUD state; ref=Neighbour */
export const T_NEIGH6 = 39
/** Route looked up for an incoming IPv6 packet. a=route type, b=gateway (In6Table id, 0 none), c=table id; dev=out device; ref=Fib6Route|null */
export const T_FIB6_INPUT = 40
/** Route looked up for an IPv6 packet of this host. Same fields as T_FIB6_INPUT */
export const T_FIB6_OUTPUT = 41
/** NDISC message handled or sent. a=ICMPv6 type, b=target (In6Table id), c=1 when sent */
export const T_NDISC = 42
/** An ICMPv6 error or reply is sent because of this packet. a=type, b=code, c=info */
export const T_ICMP6_SEND = 43
/** Extension header walked. a=next header value, b=its offset from the IPv6 header */
export const T_EXTHDR = 44
/** NAT rewrote an IPv6 packet. a=0 source / 1 destination, b=new address (In6Table id), c=new port or id */
export const T_NAT6 = 45
/** A tc filter's action ran. a=pref of the filter (0: mirred), b=TC_ACT_* verdict, c=1 ingress, 0 egress, 2 mirred sends the packet or a copy; ref=TcAction */
export const T_TC = 60

/** An ebtables rule matched. a=rule index in chain (1-based), b=EBT_* verdict; ref=EbChain */
export const T_EBTABLES = 61

/** Receives trace points and frames. */
export interface Tracer {
  /** Whether rules that did not match are wanted (T_NF_MISS): costs time on long chains. */
  readonly wantMisses: boolean
  /** A trace point. `slot` is valid during the call only; `dev` may be null. */
  step(
    point: number,
    slot: number,
    ns: Netns,
    dev: NetDevice | null,
    a: number,
    b: number,
    c: number,
    ref: unknown,
  ): void
}

/** Sees every frame on every device, as a packet socket bound to all devices would (AF_PACKET, ETH_P_ALL). */
export interface PacketTap {
  /** `direction` 0 = rx, 1 = tx; the frame's bytes are `arena.frameBytes(slot)` at this moment. */
  frame(direction: 0 | 1, slot: number, dev: NetDevice): void
}
