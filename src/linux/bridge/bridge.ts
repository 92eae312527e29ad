/**
 * A bridge and its ports: struct net_bridge, struct net_bridge_port, and how they are set up.
 *
 * Linux: net/bridge/br_if.c (br_add_if, br_del_if), br_fdb.c (br_fdb_change_mac_address, br_fdb_cleanup), br_stp_if.c
 * (br_stp_recalculate_bridge_id), br_netlink.c. The newest port stands first: that is the order in which Linux floods.
 * Not modelled: STP (state is set when a port comes up), VLAN filtering, multicast snooping.
 */
import type { NetDevice } from '../device/device.ts'
import { Timer } from '../timers.ts'
import { Fdb, type FdbEntry } from './fdb.ts'

/** Port states, include/uapi/linux/if_bridge.h. */
export const BR_STATE_DISABLED = 0
export const BR_STATE_LISTENING = 1
export const BR_STATE_LEARNING = 2
export const BR_STATE_FORWARDING = 3
export const BR_STATE_BLOCKING = 4

const MS = 1_000_000
/** br_fdb_cleanup runs at least this far apart. */
const GC_MIN_NS = 10 * MS
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

  constructor(dev: NetDevice, bridge: Bridge, number: number) {
    this.dev = dev
    this.bridge = bridge
    this.number = number
  }
}

/** A bridge. */
export class Bridge {
  readonly dev: NetDevice
  /** Newest first. */
  ports: BridgePort[] = []
  readonly fdb = new Fdb()
  ageingNs = 300_000 * MS
  forwardDelayNs = 15_000 * MS
  helloTimeNs = 2_000 * MS
  maxAgeNs = 20_000 * MS
  stp = false
  groupFwdMask = 0
  mcastSnooping = true
  vlanFiltering = false
  /** BROPT_NF_CALL_IPTABLES */
  nfCallIptables = false
  /** The MAC was given and does not follow the ports (BROPT, addr_assign_type NET_ADDR_SET). */
  macSet: boolean
  /** The MTU was given and does not follow the ports. */
  mtuSet = false
  private nextPort = 1
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
  fdbUpdate(port: BridgePort, hi: number, lo: number): FdbEntry | null {
    this.learned = 0
    if (this.ageingNs === 0) return null
    const now = this.nowNs
    const e = this.fdb.find(hi, lo)
    if (e === undefined) {
      const made = entry(hi, lo, port, now)
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
    const old = this.fdb.find(hi, lo)
    if (old !== undefined) {
      if (old.isLocal) return
      this.fdb.remove(old)
    }
    const e = entry(hi, lo, port, this.nowNs)
    e.isLocal = true
    e.isStatic = true
    this.fdb.insert(e)
  }

  /** br_add_if: the device becomes a port; it goes to forwarding when it is up. */
  addPort(dev: NetDevice): BridgePort {
    const p = new BridgePort(dev, this, this.nextPort++)
    dev.port = p
    this.ports.unshift(p)
    this.addLocal(dev.macHi, dev.macLo, p)
    this.recalculate()
    this.portChanged(p)
    return p
  }

  /** br_del_if */
  delPort(dev: NetDevice): void {
    const p = dev.port
    if (p === null || p.bridge !== this) return
    this.ports = this.ports.filter((q) => q !== p)
    this.fdb.removeIf((e) => e.port === p)
    dev.port = null
    this.recalculate()
  }

  /** br_port_carrier_check, br_stp_enable_port: state follows the device; a port going down forgets what it learned. */
  portChanged(p: BridgePort): void {
    const on = p.dev.up && p.dev.carrier && this.dev.up
    if (on && p.state === BR_STATE_DISABLED) p.state = BR_STATE_FORWARDING
    else if (!on && p.state !== BR_STATE_DISABLED) {
      p.state = BR_STATE_DISABLED
      this.fdb.removeIf((e) => e.port === p && !e.isLocal && !e.isStatic)
    }
    this.updateCarrier()
  }

  /** br_dev_open, br_dev_stop */
  devChanged(): void {
    for (const p of this.ports) this.portChanged(p)
    if (this.dev.up) this.dev.ns.world.timers.arm(this.gc, this.nowNs + GC_FIRST_NS)
    else this.dev.ns.world.timers.cancel(this.gc)
    this.updateCarrier()
  }

  /** The bridge has carrier when one of its ports forwards. A bridge without ports keeps its carrier. */
  private updateCarrier(): void {
    this.dev.carrier = this.ports.length === 0 || this.ports.some((p) => p.state === BR_STATE_FORWARDING)
  }

  /** br_stp_recalculate_bridge_id and br_mtu_auto_adjust: lowest port MAC, smallest port MTU, unless they were set. */
  recalculate(): void {
    if (!this.macSet) {
      let best: NetDevice | null = null
      for (const p of this.ports) {
        const d = p.dev
        if (best === null || d.macHi < best.macHi || (d.macHi === best.macHi && d.macLo >>> 0 < best.macLo >>> 0)) best = d
      }
      if (best !== null && (best.macHi !== this.dev.macHi || best.macLo !== this.dev.macLo)) this.changeMac(best.macHi, best.macLo)
    }
    if (!this.mtuSet && this.ports.length > 0) this.dev.mtu = Math.min(...this.ports.map((p) => p.dev.mtu))
  }

  /** br_fdb_change_mac_address */
  changeMac(hi: number, lo: number): void {
    const old = this.fdb.find(this.dev.macHi, this.dev.macLo)
    if (old?.isLocal && old.port === null && !old.addedByUser) {
      this.fdb.remove(old)
      const p = this.ports.find((q) => q.dev.macHi === old.macHi && q.dev.macLo === old.macLo)
      if (p !== undefined) this.addLocal(old.macHi, old.macLo, p)
    }
    this.dev.macHi = hi
    this.dev.macLo = lo
    this.addLocal(hi, lo, null)
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

function entry(macHi: number, macLo: number, port: BridgePort | null, now: number): FdbEntry {
  return { macHi, macLo, port, isLocal: false, isStatic: false, addedByUser: false, updatedNs: now, usedNs: now, createdNs: now }
}
