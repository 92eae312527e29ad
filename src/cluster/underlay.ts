/**
 * The network under the nodes: one switch, a gateway, and machines outside the cluster.
 *
 * Real thing: the docker network of kind, a rack's switch, a cloud subnet. It is built of the same Linux parts (a namespace
 * with a bridge and wires), so that nothing on the path is special. The gateway is the first address of the node network;
 * a machine outside it is reached through the gateway by its own wire.
 */
import {
  cidrContainsIpv4,
  formatIpv4,
  type Ipv4Cidr,
  lastIpv4,
  nthIpv4,
  parseIpv4,
  parseIpv4Cidr,
} from '../addr/index.ts'
import type { NetDevice } from '../linux/device/device.ts'
import { inetAddrAdd } from '../linux/device/inet.ts'
import { createBridge, createLink, setMaster, setUp } from '../linux/device/ops.ts'
import type { Netns } from '../linux/netns.ts'
import { RTN_BLACKHOLE } from '../linux/route/rtn.ts'
import { sysctlSet } from '../linux/sysctl.ts'
import type { World } from '../linux/world.ts'
import { ArpResponder } from './balancer/arp-responder.ts'

/** Name of the underlay's namespace. */
export const UNDERLAY = 'underlay'

/** The underlay. */
export class Underlay {
  readonly ns: Netns
  readonly cidr: Ipv4Cidr
  readonly gateway: number
  private readonly world: World
  private readonly bridge: NetDevice
  private readonly mtu: number
  private ports = 0
  private responder: ArpResponder | null = null

  constructor(world: World, nodeCidr: string, mtuBytes: number) {
    const cidr = parseIpv4Cidr(nodeCidr)
    if (cidr === null) throw new Error(`bad node CIDR ${nodeCidr}`)
    this.world = world
    this.cidr = cidr
    this.mtu = mtuBytes
    this.gateway = nthIpv4(cidr, 1)!
    this.ns = world.addNetns(UNDERLAY)
    sysctlSet(this.ns, 'net.bridge.bridge-nf-call-iptables', '0')
    sysctlSet(this.ns, 'net.ipv4.ip_forward', '1')
    setUp(this.ns.lo)
    this.bridge = createBridge(this.ns, 'br0')
    this.bridge.bridge!.forwardDelayNs = 0
    setUp(this.bridge)
    inetAddrAdd(this.bridge, { ip: this.gateway, prefixLength: cidr.prefixLength, broadcast: lastIpv4(cidr) })
  }

  /** Plugs a host's `eth0` into the switch, with its address and a default route by the gateway. */
  attach(ns: Netns, ip: number): NetDevice {
    const [eth0, port] = createLink({ ns, name: 'eth0' }, { ns: this.ns, name: `p${this.ports++}` }, this.mtu)
    setMaster(port, this.bridge)
    setUp(port)
    setUp(ns.lo)
    setUp(eth0)
    inetAddrAdd(eth0, { ip, prefixLength: this.cidr.prefixLength, broadcast: lastIpv4(this.cidr) })
    this.defaultRoute(ns, eth0, this.gateway)
    return eth0
  }

  /** A machine outside the cluster: on the switch when its address is of the node network, else behind the gateway. */
  addHost(ipText: string): Netns {
    const ip = parseIpv4(ipText)
    if (ip === null) throw new Error(`bad address ${ipText}`)
    const ns = this.world.addNetns(`host:${ipText}`)
    if (cidrContainsIpv4(this.cidr, ip)) {
      this.attach(ns, ip)
      return ns
    }
    const [eth0, port] = createLink({ ns, name: 'eth0' }, { ns: this.ns, name: `w${this.ports++}` }, this.mtu)
    setUp(port)
    setUp(ns.lo)
    setUp(eth0)
    // a point-to-point wire: the router has a route to the one address and answers ARP for everything else
    sysctlSet(this.ns, `net.ipv4.conf.${port.name}.proxy_arp`, '1')
    sysctlSet(this.ns, `net.ipv4.neigh.${port.name}.proxy_delay`, '0')
    this.must(this.ns.fib.addRoute({ dst: ip, prefixLength: 32, nexthops: [{ dev: port }] }))
    inetAddrAdd(eth0, { ip, prefixLength: 32 })
    this.must(ns.fib.addRoute({ dst: this.gateway, prefixLength: 32, nexthops: [{ dev: eth0 }] }))
    this.defaultRoute(ns, eth0, this.gateway)
    return ns
  }

  /** The machine with that address, if it was made. */
  hostOf(ipText: string): Netns | undefined {
    return this.world.netnsByName.get(`host:${ipText}`)
  }

  /**
   * The fabric hands packets for `ip` to one of the nodes, by the hash of the 5-tuple; without nodes it drops them. For an
   * address of the nodes' own network the gateway answers ARP.
   */
  routeToNodes(ip: number, nodeIps: readonly number[]): void {
    sysctlSet(this.ns, 'net.ipv4.fib_multipath_hash_policy', '1')
    const nexthops = nodeIps.map((via) => ({ dev: this.bridge, via }))
    const none = { type: RTN_BLACKHOLE }
    this.must(this.ns.fib.addRoute({ dst: ip, prefixLength: 32, ...(nexthops.length > 0 ? { nexthops } : none) }))
    if (cidrContainsIpv4(this.cidr, ip)) {
      this.responder ??= new ArpResponder(this.bridge)
      this.responder.announce(ip)
    }
  }

  private defaultRoute(ns: Netns, dev: NetDevice, via: number): void {
    this.must(ns.fib.addRoute({ dst: 0, prefixLength: 0, nexthops: [{ dev, via }] }))
  }

  private must(errno: number): void {
    if (errno !== 0) throw new Error(`underlay route refused: ${errno} (gateway ${formatIpv4(this.gateway)})`)
  }
}
