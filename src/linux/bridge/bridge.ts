/**
 * A bridge and its ports: struct net_bridge, struct net_bridge_port, and how they are set up.
 *
 * Linux: net/bridge/br_if.c (br_add_if, br_del_if), br_fdb.c (br_fdb_change_mac_address, br_fdb_cleanup), br_stp_if.c
 * (br_stp_recalculate_bridge_id), br_netlink.c. The newest port stands first: that is the order in which Linux floods.
 * VLANs of ports are kept from the first time on that VLAN filtering is touched (`vlanAware`): until then the bridge is one
 * of a kernel without CONFIG_BRIDGE_VLAN_FILTERING. Not modelled: STP (state is set when a port comes up), multicast snooping.
 */
import { ETH_P_8021Q } from '../../packet/layout.ts'
import { DEV_NIC, DEV_VETH, type NetDevice } from '../device/device.ts'
import { carrierChanged, macChanged } from '../device/ops.ts'
import { addrconfMtuChange } from '../ipv6/addrconf.ts'
import type { Rtable } from '../route/rtable.ts'
import { Timer } from '../timers.ts'
import { Fdb, type FdbEntry } from './fdb.ts'
import { VlanGroup } from './vlan.ts'

/** Port states, include/uapi/linux/if_bridge.h. */
export const BR_STATE_DISABLED = 0
export const BR_STATE_LISTENING = 1
export const BR_STATE_LEARNING = 2
export const BR_STATE_FORWARDING = 3
export const BR_STATE_BLOCKING = 4

const MS = 1_000_000
/** br_fdb_cleanup runs at least this far apart. */
const GC_MIN_NS = 10 * MS
/** Bytes of an Ethernet payload: the MTU of a bridge without ports. */
const ETH_DATA_LEN = 1500
/** Delay of the first run after the bridge comes up (HZ / 10). */
const GC_FIRST_NS = 100 * MS

/** A port. */
export class BridgePort {
  readonly dev: NetDevice
  readonly bridge: Bridge
  /** port_no, from 1 */
  readonly number: number
  state = BR_STATE_DISABLED
  /** BR_HAIRPIN_MODE */
  hairpin = false
  /** BR_LEARNING */
  learning = true
  /** BR_FLOOD, BR_MCAST_FLOOD, BR_BCAST_FLOOD */
  flood = true
  mcastFlood = true
  bcastFlood = true
  /** BR_ISOLATED */
  isolated = false
  /** BR_BPDU_GUARD, BR_ROOT_BLOCK, BR_MULTICAST_FAST_LEAVE: held and printed. */
  guard = false
  rootBlock = false
  fastleave = false
  mcastToUnicast = false
  neighSuppress = false
  proxyArp = false
  proxyArpWifi = false
  vlanTunnel = false
  locked = false
  priority = 32
  cost = 2
  groupFwdMask = 0
  /** null until the bridge is VLAN aware. */
  vlanGroup: VlanGroup | null = null

  constructor(dev: NetDevice, bridge: Bridge, number: number) {
    this.dev = dev
    this.bridge = bridge
    this.number = number
    // port_cost: 10 Gbit/s by ethtool, or what a device without link settings gets
    this.cost = dev.kind === DEV_VETH || dev.kind === DEV_NIC ? 2 : 100
  }
}

/** A bridge. */
export class Bridge {
  readonly dev: NetDevice
  /** Newest first. */
  ports: BridgePort[] = []
  readonly fdb = new Fdb()
  private ageing = 300_000 * MS
  forwardDelayNs = 15_000 * MS
  helloTimeNs = 2_000 * MS
  maxAgeNs = 20_000 * MS
  stp = false
  groupFwdMask = 0
  mcastSnooping = true
  /** BROPT_VLAN_ENABLED: set through setVlanFiltering. */
  vlanFiltering = false
  vlanProto = ETH_P_8021Q
  vlanDefaultPvid = 1
  /** VLANs of the bridge device itself; null until the bridge is VLAN aware. */
  vlanGroup: VlanGroup | null = null
  /** `fake_rtable`, made when br_netfilter first needs it. */
  fakeRtable: Rtable | null = null
  /** BROPT_NF_CALL_IPTABLES */
  nfCallIptables = false
  /** BROPT_NF_CALL_IP6TABLES */
  nfCallIp6tables = false
  /** The MAC was given and does not follow the ports (BROPT, addr_assign_type NET_ADDR_SET). */
  macSet: boolean
  /** The MTU was given and does not follow the ports. */
  mtuSet = false
  private readonly gc: Timer

  constructor(dev: NetDevice, macSet: boolean) {
    this.dev = dev
    this.macSet = macSet
    this.gc = new Timer(() => this.fdbCleanup())
    if (macSet) this.addLocal(dev.macHi, dev.macLo, null)
  }

  private get nowNs(): number {
    return this.dev.ns.world.nowNs
  }

  /** br_fdb_update: learns or moves a source MAC. @returns the entry and 1 new, 2 moved, 0 nothing changed */
  fdbUpdate(port: BridgePort, hi: number, lo: number, vid = 0): FdbEntry | null {
    this.learned = 0
    if (this.ageingNs === 0) return null
    const now = this.nowNs
    const e = this.fdb.find(hi, lo, vid)
    if (e === undefined) {
      const made = entry(hi, lo, vid, port, now)
      this.fdb.insert(made)
      this.learned = 1
      return made
    }
    if (e.isLocal) return e
    if (e.port !== port) {
      e.port = port
      this.learned = 2
    }
    e.updatedNs = now
    return e
  }

  /** What the last fdbUpdate did: 0 nothing, 1 new entry, 2 moved. */
  learned = 0

  /** fdb_add_local: the MAC of a port or (port null) of the bridge. */
  addLocal(hi: number, lo: number, port: BridgePort | null): void {
    this.addLocalIn(hi, lo, port, 0)
    const vg = port === null ? this.vlanGroup : port.vlanGroup
    if (vg !== null) for (const vid of vg.vlans.keys()) this.addLocalIn(hi, lo, port, vid)
  }

  private addLocalIn(hi: number, lo: number, port: BridgePort | null, vid: number): void {
    const old = this.fdb.find(hi, lo, vid)
    if (old !== undefined) {
      if (old.isLocal) return
      this.fdb.remove(old)
    }
    const e = entry(hi, lo, vid, port, this.nowNs)
    e.isLocal = true
    e.isStatic = true
    this.fdb.insert(e)
  }

  /** br_add_if: the device becomes a port; it goes to forwarding when it is up. */
  addPort(dev: NetDevice): BridgePort {
    // find_portno: the lowest number that is free
    let number = 1
    while (this.ports.some((q) => q.number === number)) number++
    const p = new BridgePort(dev, this, number)
    dev.port = p
    this.ports.unshift(p)
    dev.ns.gen++
    // nbp_vlan_init
    if (this.vlanGroup !== null) p.vlanGroup = this.defaultVlans()
    this.addLocal(dev.macHi, dev.macLo, p)
    this.recalculate()
    this.portChanged(p)
    this.mtuAutoAdjust()
    return p
  }

  /** br_del_if */
  delPort(dev: NetDevice): void {
    const p = dev.port
    if (p === null || p.bridge !== this) return
    p.state = BR_STATE_DISABLED
    dev.ns.gen++
    this.ports = this.ports.filter((q) => q !== p)
    this.portStateSelection()
    for (const e of [...this.fdb.entries()]) if (e.port === p) this.deleteOf(e, p)
    dev.port = null
    this.recalculate()
    this.mtuAutoAdjust()
  }

  /** br_fdb_changeaddr: the port's device has a new MAC already. */
  portMacChanged(p: BridgePort): void {
    for (const e of [...this.fdb.entries()]) if (e.port === p && e.isLocal && !e.addedByUser) this.deleteOf(e, p)
    this.addLocal(p.dev.macHi, p.dev.macLo, p)
    this.recalculate()
  }

  /** fdb_delete_local: the entry stays when another port or the bridge itself has that MAC too. */
  private deleteOf(e: FdbEntry, p: BridgePort | null): void {
    if (e.isLocal) {
      const carries = (vg: VlanGroup | null): boolean => e.vid === 0 || vg?.vlans.has(e.vid) === true
      const other = this.ports.find(
        (q) => q !== p && q.dev.macHi === e.macHi && q.dev.macLo === e.macLo && carries(q.vlanGroup),
      )
      const own = carries(this.vlanGroup)
      if (other !== undefined || (p !== null && own && this.dev.macHi === e.macHi && this.dev.macLo === e.macLo)) {
        e.port = other ?? null
        e.addedByUser = false
        return
      }
    }
    this.fdb.remove(e)
  }

  /** br_port_carrier_check, br_stp_enable_port: state follows the device; a port going down forgets what it learned. */
  portChanged(p: BridgePort): void {
    p.dev.ns.gen++
    const on = p.dev.up && p.dev.carrier && this.dev.up
    if (on && p.state === BR_STATE_DISABLED) p.state = BR_STATE_FORWARDING
    else if (!on && p.state !== BR_STATE_DISABLED) {
      p.state = BR_STATE_DISABLED
      this.fdb.removeIf((e) => e.port === p && !e.isLocal && !e.isStatic)
    } else return
    this.portStateSelection()
  }

  /** br_dev_open, br_dev_stop */
  devChanged(): void {
    for (const p of this.ports) this.portChanged(p)
    if (this.dev.up) this.dev.ns.world.timers.arm(this.gc, this.nowNs + GC_FIRST_NS)
    else this.dev.ns.world.timers.cancel(this.gc)
  }

  /**
   * The end of br_port_state_selection: carrier while a port forwards. It only runs when a port's state changes, so a
   * bridge that never had a port keeps the carrier it was born with (until it is given an address).
   */
  portStateSelection(): void {
    carrierChanged(
      this.dev,
      this.ports.some((p) => p.state === BR_STATE_FORWARDING),
    )
  }

  /** br_stp_recalculate_bridge_id: the lowest MAC of the ports, zero without ports, unless it was set. */
  recalculate(): void {
    if (this.macSet) return
    let hi = 0
    let lo = 0
    for (let i = 0; i < this.ports.length; i++) {
      const d = this.ports[i]!.dev
      if (i === 0 || d.macHi < hi || (d.macHi === hi && d.macLo >>> 0 < lo >>> 0)) {
        hi = d.macHi
        lo = d.macLo
      }
    }
    if (hi !== this.dev.macHi || lo !== this.dev.macLo) this.changeMac(hi, lo)
  }

  /** br_mtu_auto_adjust: the smallest MTU of the ports, unless it was set. */
  mtuAutoAdjust(): void {
    if (this.mtuSet) return
    let mtu = 0
    for (const p of this.ports) if (mtu === 0 || p.dev.mtu < mtu) mtu = p.dev.mtu
    this.dev.mtu = mtu === 0 ? ETH_DATA_LEN : mtu
    addrconfMtuChange(this.dev)
  }

  /** br_fdb_change_mac_address, then NETDEV_CHANGEADDR: the host forgets its neighbours behind the bridge. */
  changeMac(hi: number, lo: number): void {
    for (const vid of [0, ...(this.vlanGroup?.vlans.keys() ?? [])]) {
      const old = this.fdb.find(this.dev.macHi, this.dev.macLo, vid)
      if (old?.isLocal && old.port === null && !old.addedByUser) this.deleteOf(old, null)
    }
    this.dev.macHi = hi
    this.dev.macLo = lo
    this.dev.ns.gen++
    if (hi !== 0 || lo !== 0) this.addLocal(hi, lo, null)
    macChanged(this.dev)
    this.dev.ns.neigh.flushDev(this.dev)
    this.dev.ns.fib.flushCache()
    // br_stp_change_bridge_id ends in br_port_state_selection
    this.portStateSelection()
  }

  /** `ageing_time` */
  get ageingNs(): number {
    return this.ageing
  }

  /** br_set_ageing_time: the garbage collector looks again at once. */
  set ageingNs(ns: number) {
    this.ageing = ns
    if (this.dev.up) this.dev.ns.world.timers.arm(this.gc, this.nowNs)
  }

  /** The VLANs that a port starts with: the default PVID, untagged. */
  defaultVlans(): VlanGroup {
    const vg = new VlanGroup()
    if (this.vlanDefaultPvid !== 0) vg.add(this.vlanDefaultPvid, true, true)
    return vg
  }

  /** From now on the bridge and its ports have VLANs, the default one first (br_vlan_init, nbp_vlan_init). */
  vlanAware(): VlanGroup {
    if (this.vlanGroup !== null) return this.vlanGroup
    this.vlanGroup = this.defaultVlans()
    for (const p of [...this.ports].reverse()) {
      p.vlanGroup = this.defaultVlans()
      this.addLocal(p.dev.macHi, p.dev.macLo, p)
    }
    if (this.dev.macHi !== 0 || this.dev.macLo !== 0) this.addLocal(this.dev.macHi, this.dev.macLo, null)
    return this.vlanGroup
  }

  /** br_vlan_filter_toggle */
  setVlanFiltering(on: boolean): void {
    if (on) this.vlanAware()
    this.vlanFiltering = on
  }

  /** __br_vlan_set_default_pvid: ports whose PVID is still the old default follow. */
  setDefaultPvid(pvid: number): void {
    const old = this.vlanDefaultPvid
    const groups: (readonly [VlanGroup, BridgePort | null])[] = [[this.vlanAware(), null]]
    for (const p of this.ports) if (p.vlanGroup !== null) groups.push([p.vlanGroup, p])
    this.vlanDefaultPvid = pvid
    for (const [vg, p] of groups) {
      if (vg.pvid !== old && !(old === 0 && vg.pvid === 0)) continue
      if (pvid !== 0) this.vlanAdd(p, pvid, true, true)
      if (old !== 0 && vg.vlans.has(old)) this.vlanDelete(p, old)
    }
  }

  /** br_vlan_add, nbp_vlan_add: of the bridge itself when `p` is null. */
  vlanAdd(p: BridgePort | null, vid: number, pvid: boolean, untagged: boolean): void {
    const own = this.vlanAware()
    const vg = p === null ? own : p.vlanGroup
    const dev = p === null ? this.dev : p.dev
    if (vg?.add(vid, pvid, untagged) === true && (dev.macHi !== 0 || dev.macLo !== 0)) {
      this.addLocalIn(dev.macHi, dev.macLo, p, vid)
    }
  }

  /** br_vlan_delete, nbp_vlan_delete: entries of that VLAN behind the port go. @returns whether it was there */
  vlanDelete(p: BridgePort | null, vid: number): boolean {
    const own = this.vlanAware()
    const vg = p === null ? own : p.vlanGroup
    if (vg?.delete(vid) !== true) return false
    const gone = this.fdb.entries().filter((e) => e.vid === vid && e.port === p && (e.isLocal || p !== null))
    for (const e of gone) this.deleteOf(e, p)
    return true
  }

  /** br_fdb_flush: forgets learned entries. */
  fdbFlush(): void {
    this.fdb.removeIf((e) => !e.isStatic && !e.isLocal)
  }

  private fdbCleanup(): void {
    const now = this.nowNs
    let delay = this.ageingNs
    this.fdb.removeIf((e) => {
      if (e.isStatic || e.isLocal) return false
      const left = e.updatedNs + this.ageingNs - now
      if (left <= 0) return true
      if (left < delay) delay = left
      return false
    })
    this.dev.ns.world.timers.arm(this.gc, now + Math.max(delay, GC_MIN_NS))
  }
}

function entry(macHi: number, macLo: number, vid: number, port: BridgePort | null, now: number): FdbEntry {
  return {
    macHi,
    macLo,
    vid,
    port,
    isLocal: false,
    isStatic: false,
    addedByUser: false,
    updatedNs: now,
    usedNs: now,
    createdNs: now,
  }
}
