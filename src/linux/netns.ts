/**
 * A network namespace: what `struct net` holds.
 *
 * Linux: include/net/net_namespace.h. Devices, addresses, routes, neighbours, netfilter, conntrack, sockets and settings
 * of one host or pod.
 */

import type { NetDevice } from './device/device.ts'
import type { GeneveDev } from './device/geneve.ts'
import type { GreTunnel } from './device/gre.ts'
import type { IpTunnel } from './device/ipip.ts'
import type { VxlanSock } from './device/vxlan.ts'
import { FragQueues } from './ip/fragment-queue.ts'
import { IcmpLimits } from './ip/icmp.ts'
import { MIB_NAMES } from './ip/mib.ts'
import { Fib6 } from './ipv6/fib6.ts'
import { AF_INET6 } from './ipv6/in6.ts'
import { FragQueues6 } from './ipv6/reassembly.ts'
import type { IpVs } from './ipvs/ipvs.ts'
import { NeighTable } from './neighbour/neighbour.ts'
import type { Conntrack } from './netfilter/conntrack/table.ts'
import type { EbTables } from './netfilter/ebtables/types.ts'
import { NfState } from './netfilter/hooks.ts'
import type { NftTables } from './netfilter/nftables/state.ts'
import { Fib } from './route/fib.ts'
import { SocketTable } from './socket/table.ts'
import { NetSysctl } from './sysctl.ts'
import type { World } from './world.ts'

/** One network namespace. */
export class Netns {
  readonly id: number
  readonly name: string
  readonly world: World
  /** What a person calls the host that it is on (node name, `pod:ns/name`); for traces. */
  label: string
  /** Devices by name. */
  readonly devices = new Map<string, NetDevice>()
  /** Devices by ifindex; holes stay undefined. */
  readonly byIndex: (NetDevice | undefined)[] = []
  readonly sysctl = new NetSysctl()
  readonly neigh: NeighTable
  /** IPv6 neighbours (nd_tbl). */
  readonly nd: NeighTable
  readonly fib: Fib
  /** IPv6 routes and rules. */
  readonly fib6: Fib6
  readonly frags: FragQueues
  /** IPv6 fragments that wait. */
  readonly frags6: FragQueues6
  readonly icmpLimits: IcmpLimits
  readonly nf: NfState
  /** Hooks of PF_INET6. */
  readonly nf6: NfState
  /** Created when the first rule or table needs it (nf_ct_netns_get), null until then. */
  ct: Conntrack | null = null
  /** nftables; null until the first `nft`. */
  nft: NftTables | null = null
  /** ebtables; null until the first command that changes something. */
  ebt: EbTables | null = null
  /** IPVS: null until it is first configured. */
  ipvs: IpVs | null = null
  readonly sockets: SocketTable
  /** UDP sockets of VXLAN devices by port (vxlan_net.sock_list). */
  readonly vxlanSocks = new Map<number, VxlanSock>()
  /** The same over IPv6. */
  readonly vxlanSocks6 = new Map<number, VxlanSock>()
  /** GRE tunnels in order of creation. */
  readonly greTunnels: GreTunnel[] = []
  /** Geneve devices in order of creation. */
  readonly geneves: GeneveDev[] = []
  /** UDP ports of Geneve devices that are up, with the number of devices. */
  readonly genevePorts = new Map<number, number>()
  /** IPIP tunnels in order of creation (ip_tunnel_net), tunl0 among them. */
  readonly ipTunnels: IpTunnel[] = []
  /** The counters of the hot path, by number (ip/mib.ts). */
  readonly mib = new Float64Array(MIB_NAMES.length)
  private readonly counters = new Map<string, number>()
  /**
   * Moves with whatever decides a packet's way here and is not looked at packet by packet: routes, rules, addresses,
   * devices, netfilter tables, sets, settings. A recorded walk of an older generation is void (linux/flow-cache.ts).
   */
  gen = 0
  /** Counters by name that were counted: a walk that moves it is not replayed. */
  counted = 0
  /** The loopback device. */
  lo!: NetDevice

  constructor(world: World, id: number, name: string) {
    this.world = world
    this.id = id
    this.name = name
    this.label = name
    this.neigh = new NeighTable(this)
    this.nd = new NeighTable(this, AF_INET6)
    this.fib = new Fib(this)
    this.fib6 = new Fib6(this)
    this.frags = new FragQueues(this)
    this.frags6 = new FragQueues6(this)
    this.icmpLimits = new IcmpLimits(this)
    this.nf = new NfState(this, 4)
    this.nf6 = new NfState(this, 6)
    this.sockets = new SocketTable(this)
  }

  /** __IP_INC_STATS: counts one event. */
  count(name: string, n = 1): void {
    this.counted++
    this.counters.set(name, (this.counters.get(name) ?? 0) + n)
  }

  /** Counters that are not 0, as in /proc/net/snmp and netstat: `Ip.InReceives` ... */
  get snmp(): Map<string, number> {
    const all = new Map(this.counters)
    for (let i = 0; i < MIB_NAMES.length; i++) {
      const name = MIB_NAMES[i]!
      if (this.mib[i] !== 0) all.set(name, (all.get(name) ?? 0) + this.mib[i]!)
    }
    return all
  }
}
