/**
 * A network device and its addresses: struct net_device with its in_device.
 *
 * Linux: include/linux/netdevice.h, net/ipv4/devinet.c. One class for all kinds, so that the data path stays monomorphic;
 * what a kind needs beyond it hangs in `priv` and is reached through an integer `kind`.
 */

import type { Bridge, BridgePort } from '../bridge/bridge.ts'
import type { Inet6Dev } from '../ipv6/inet6-dev.ts'
import type { Netns } from '../netns.ts'
import type { PacketSock } from '../socket/packet.ts'
import { Ipv4Conf, NeighParms } from '../sysctl.ts'
import type { DevTc } from '../tc/types.ts'

/** Device kinds, dispatched by integer in devHardStartXmit. */
export const DEV_LOOPBACK = 1
export const DEV_VETH = 2
export const DEV_BRIDGE = 3
export const DEV_NIC = 4
export const DEV_DUMMY = 5
export const DEV_VXLAN = 6
export const DEV_IPIP = 7
export const DEV_VLAN = 8
export const DEV_MACVLAN = 9
export const DEV_IPVLAN = 10
export const DEV_GRE = 11
export const DEV_GRETAP = 12
export const DEV_GENEVE = 13
export const DEV_WIREGUARD = 14

/** `NetDevice.hooks`: a filter stands at the device's ingress (tcx_ingress, sch_handle_ingress). */
export const RX_TC = 1
/** `NetDevice.hooks`: VLAN devices stand on the device (vlan_info). */
export const RX_VLAN = 2
/** `NetDevice.hooks`: macvlan devices stand on the device (rx_handler macvlan_handle_frame). */
export const RX_MACVLAN = 4
/** `NetDevice.hooks`: ipvlan devices stand on the device (rx_handler ipvlan_handle_frame). */
export const RX_IPVLAN = 8
/** `NetDevice.hooks`: a filter stands at the device's egress (sch_handle_egress). */
export const TX_TC = 16
/** `NetDevice.hooks`: packet sockets look at what the device receives (ptype_specific). */
export const RX_PACKET = 32
/** `NetDevice.hooks`: nftables chains at ingress (nf_ingress). */
export const RX_NFT = 64
/** `NetDevice.hooks`: nftables chains at egress (nf_hook_egress). */
export const TX_NFT = 128

/** net_device flags, include/uapi/linux/if.h. */
export const IFF_UP = 1
export const IFF_BROADCAST = 2
export const IFF_LOOPBACK = 8
export const IFF_POINTOPOINT = 16
export const IFF_NOARP = 128
export const IFF_PROMISC = 256
export const IFF_MULTICAST = 4096

/** Address and route scopes, include/uapi/linux/rtnetlink.h. */
export const RT_SCOPE_UNIVERSE = 0
export const RT_SCOPE_SITE = 200
export const RT_SCOPE_LINK = 253
export const RT_SCOPE_HOST = 254
export const RT_SCOPE_NOWHERE = 255

/** An IPv4 address on a device: struct in_ifaddr. */
export interface Ifaddr {
  /** `ifa_local`, signed int32 */
  readonly ip: number
  /** `ifa_address`: the peer for point-to-point, else the same */
  readonly peer: number
  readonly prefixLength: number
  /** `ifa_broadcast`, 0 when none */
  readonly broadcast: number
  readonly scope: number
  readonly secondary: boolean
  readonly label: string
  readonly noprefixroute: boolean
}

/** A network device. */
export class NetDevice {
  /** Index in World.devices; the number in M_DEV. */
  readonly id: number
  /** ifindex in its namespace */
  ifindex: number
  name: string
  readonly kind: number
  ns: Netns
  /** Upper 16 bits of the hardware address. */
  macHi: number
  /** Lower 32 bits, signed. */
  macLo: number
  mtu: number
  flags: number
  /** True for devices whose frames start with an Ethernet header. */
  readonly ether: boolean
  txqueuelen = 1000
  group = 0
  /** Carrier: false when the peer is down or missing. */
  carrier = true
  /** Peer of a veth pair or the far end of a link. */
  peer: NetDevice | null = null
  /** Set when the device is a bridge. */
  bridge: Bridge | null = null
  /** Set when the device is a port of a bridge. */
  port: BridgePort | null = null
  /** RX_* and TX_TC bits: what looks at frames besides bridge and protocols; 0 for most devices. */
  hooks = 0
  /** Packet sockets bound to the device, null without. */
  packetSocks: PacketSock[] | null = null
  /** VLAN devices on this one by VLAN_TAG_8021AD and id (vlan_group), null without. */
  vlanGroup: Map<number, NetDevice> | null = null
  /** The device under this one (vlan, macvlan, ipvlan): IFLA_LINK. */
  lower: NetDevice | null = null
  /** Devices that stand on this one, in order of creation (netdev_adjacent upper list of vlan, macvlan, ipvlan). */
  uppers: NetDevice[] = []
  /** The address came with creation or `ip link set address` (NET_ADDR_SET), not from the device below. */
  macSet = false
  /** `dev->promiscuity`: users of promiscuous mode; IFF_PROMISC in `flags` is only the one that a person asked for. */
  promiscuity = 0
  /** Unicast addresses beside the own one (`dev->uc`), by number. */
  ucCount = 0
  /** `perm_addr` of an ipvlan device, null without. */
  permMac: { readonly hi: number; readonly lo: number } | null = null
  /** What tc has configured here, null until then. */
  tc: DevTc | null = null
  /** State of a kind that lives in its own file. */
  priv: unknown = null
  /** IPv6 state (`dev->ip6_ptr`), null when the MTU is too small for it. */
  in6: Inet6Dev | null = null
  /** IPv4 addresses in order of listing: primaries first. */
  addrs: Ifaddr[] = []
  readonly conf: Ipv4Conf
  /** `cnf.state`: settings that were written for this device; others follow conf.default until an address comes. */
  readonly confSet = new Set<string>()
  /** `arp_parms->data_state`, the same for neigh settings. */
  readonly neighSet = new Set<string>()
  /** ipv4_devconf_setall was called: nothing follows the defaults any more. */
  confSetAll = false
  readonly neighParms: NeighParms
  rxPackets = 0
  rxBytes = 0
  txPackets = 0
  txBytes = 0
  rxDropped = 0
  txDropped = 0
  rxErrors = 0
  txErrors = 0

  constructor(
    id: number,
    ifindex: number,
    name: string,
    kind: number,
    ns: Netns,
    mac: { hi: number; lo: number },
    mtu: number,
  ) {
    this.id = id
    this.ifindex = ifindex
    this.name = name
    this.kind = kind
    this.ns = ns
    this.macHi = mac.hi
    this.macLo = mac.lo
    this.mtu = mtu
    this.ether = kind !== DEV_IPIP && kind !== DEV_GRE && kind !== DEV_WIREGUARD
    this.flags = kind === DEV_LOOPBACK ? IFF_LOOPBACK : this.ether ? IFF_BROADCAST | IFF_MULTICAST : IFF_NOARP
    // wg_setup
    if (kind === DEV_WIREGUARD) this.flags = IFF_POINTOPOINT | IFF_NOARP
    // dummy_setup
    if (kind === DEV_DUMMY) this.flags = IFF_BROADCAST | IFF_NOARP
    this.conf = Object.assign(new Ipv4Conf(), ns.sysctl.dflt)
    if (kind === DEV_LOOPBACK) {
      // inetdev_init: no policy on loopback
      this.conf.disable_policy = 1
      this.conf.disable_xfrm = 1
    }
    this.neighParms = Object.assign(new NeighParms(), ns.sysctl.neighDefault)
  }

  /** netif_running */
  get up(): boolean {
    return (this.flags & IFF_UP) !== 0
  }

  /** IN_DEV_RPFILTER: the larger of `all` and the device. */
  rpFilter(): number {
    return Math.max(this.conf.rp_filter, this.ns.sysctl.all.rp_filter)
  }

  /** IN_DEV_FORWARD */
  forwarding(): boolean {
    return this.conf.forwarding !== 0
  }

  /** IN_DEV_ROUTE_LOCALNET (ORCONF) */
  routeLocalnet(): boolean {
    return this.conf.route_localnet !== 0 || this.ns.sysctl.all.route_localnet !== 0
  }
}
