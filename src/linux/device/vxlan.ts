/**
 * VXLAN devices: creation, configuration, the UDP sockets they share, ageing.
 *
 * Linux: drivers/net/vxlan/vxlan_core.c (vxlan_config_validate, vxlan_config_apply, vxlan_open, vxlan_stop, vxlan_cleanup,
 * vxlan_sock_add, vxlan_change_mtu). Sending is in vxlan-xmit.ts, receiving in vxlan-rcv.ts. RFC 7348.
 * The underlay is IPv4 or IPv6 (`cfg.six`: then addresses are In6Table ids). Not modelled: multicast groups, vnifilter
 * mode, tunnel metadata (an external device receives, what it is given to send is dropped), GBP, GPE, remote checksum,
 * UDP without a checksum over IPv6, proxy (ARP answers), rsc, l2miss and l3miss messages, MDB, nexthop groups.
 */
import { EADDRINUSE, EEXIST, EINVAL } from '../errno.ts'
import { AF_INET6 } from '../ipv6/in6.ts'
import type { Netns } from '../netns.ts'
import { Timer } from '../timers.ts'
import { DEV_VXLAN, type NetDevice } from './device.ts'
import { randomMac, registerNetdevice } from './register.ts'
import { FDB_NUD_NOARP, FDB_NUD_PERMANENT, FDB_NUD_REACHABLE, VxlanFdb, VxlanRdst } from './vxlan-fdb.ts'

/** vxlan_headroom: outer IPv4, UDP, VXLAN, inner Ethernet. */
export const VXLAN_HEADROOM = 50
/** The same with an outer IPv6 header. */
export const VXLAN6_HEADROOM = 70
/** The driver's own default port. */
export const VXLAN_DEFAULT_PORT = 8472
/** VXLAN_DF_* */
export const VXLAN_DF_UNSET = 0
export const VXLAN_DF_SET = 1
export const VXLAN_DF_INHERIT = 2
/** `tos inherit` as the kernel keeps it. */
export const VXLAN_TOS_INHERIT = 1

const ETH_MIN_MTU = 68
const ETH_MAX_MTU = 65535
const SECOND_NS = 1_000_000_000
/** FDB_AGE_INTERVAL */
const AGE_INTERVAL_NS = 10 * SECOND_NS

/** What `ip link add ... type vxlan` sets; struct vxlan_config. */
export interface VxlanConfig {
  vni: number
  dstport: number
  /** VXLAN_F_IPV6: the underlay is IPv6 */
  six: boolean
  /** 0: chosen by the route */
  local: number
  /** 0: no default destination */
  remote: number
  lowerdev: NetDevice | null
  ttl: number
  ttlInherit: boolean
  tos: number
  df: number
  portMin: number
  portMax: number
  learning: boolean
  udpcsum: boolean
  /** VXLAN_F_LOCALBYPASS */
  localbypass: boolean
  ageingS: number
  maxAddress: number
  /** VXLAN_F_COLLECT_METADATA: takes every VNI, sends what carries tunnel metadata */
  external: boolean
}

/** The driver's defaults for a VNI. */
export function vxlanDefaults(vni: number): VxlanConfig {
  return {
    vni,
    dstport: VXLAN_DEFAULT_PORT,
    six: false,
    local: 0,
    remote: 0,
    lowerdev: null,
    ttl: 0,
    ttlInherit: false,
    tos: 0,
    df: VXLAN_DF_UNSET,
    portMin: 0,
    portMax: 0,
    learning: true,
    udpcsum: true,
    localbypass: true,
    ageingS: 300,
    maxAddress: 0,
    external: false,
  }
}

/** A UDP socket that VXLAN devices of one port share: struct vxlan_sock. */
export class VxlanSock {
  readonly port: number
  /** Devices by VNI. */
  readonly devs = new Map<number, VxlanDev>()
  /** The device in external mode, which has the socket for itself. */
  external: VxlanDev | null = null

  constructor(port: number) {
    this.port = port
  }
}

/** The private part of a VXLAN device: struct vxlan_dev. */
export class VxlanDev {
  readonly dev: NetDevice
  /** `vxlan->net`: where the underlay is, even after the device moved. */
  readonly net: Netns
  readonly cfg: VxlanConfig
  readonly fdb = new VxlanFdb()
  /** `vn4_sock`, null while the device is down. */
  sock: VxlanSock | null = null
  /** Ports for udpFlowSrcPort: `cfg` or, for an empty range, the host's ephemeral ports at the time of use. */
  readonly defaultRdst: VxlanRdst
  private readonly ageTimer: Timer
  private agedNs = 0

  constructor(dev: NetDevice, cfg: VxlanConfig) {
    this.dev = dev
    this.net = dev.ns
    this.cfg = cfg
    this.fdb.max = cfg.maxAddress
    this.defaultRdst = new VxlanRdst(cfg.remote, cfg.dstport, cfg.vni, cfg.lowerdev)
    this.ageTimer = new Timer(() => this.cleanup())
  }

  /** Something that ages is in the table: the next run of vxlan_cleanup is due. */
  armAgeing(): void {
    if (this.cfg.ageingS === 0 || this.ageTimer.armed || !this.dev.up) return
    const w = this.net.world
    const ticks = Math.floor((w.nowNs - this.agedNs) / AGE_INTERVAL_NS) + 1
    w.timers.arm(this.ageTimer, this.agedNs + ticks * AGE_INTERVAL_NS)
  }

  /** mod_timer(&vxlan->age_timer, jiffies): a new ageing time counts at once. */
  ageNow(): void {
    if (!this.dev.up) return
    this.net.world.timers.cancel(this.ageTimer)
    this.cleanup()
  }

  /** Starts the phase of the ageing timer (vxlan_open). */
  startAgeing(): void {
    this.agedNs = this.net.world.nowNs
    if (this.fdb.entries().some(ages)) this.armAgeing()
  }

  /** vxlan_stop */
  stopAgeing(): void {
    this.net.world.timers.cancel(this.ageTimer)
  }

  /** vxlan_cleanup: runs every 10 s, or when the next entry is due. */
  private cleanup(): void {
    const now = this.net.world.nowNs
    this.agedNs = now
    if (this.cfg.ageingS === 0) return
    const ageNs = this.cfg.ageingS * SECOND_NS
    this.fdb.removeIf((e) => ages(e) && e.updatedNs + ageNs <= now)
    let next = Infinity
    for (const e of this.fdb.entries()) if (ages(e)) next = Math.min(next, e.updatedNs + ageNs)
    if (next !== Infinity) this.net.world.timers.arm(this.ageTimer, Math.min(next, now + AGE_INTERVAL_NS))
  }
}

function ages(e: { state: number; externLearn: boolean }): boolean {
  return (e.state & (FDB_NUD_PERMANENT | FDB_NUD_NOARP)) === 0 && !e.externLearn
}

/** The VXLAN part of a device of kind DEV_VXLAN. */
export function vxlanPriv(dev: NetDevice): VxlanDev {
  return dev.priv as VxlanDev
}

/** All VXLAN devices whose underlay is `net` (vxlan_net.vxlan_list). */
function vxlansOf(net: Netns): VxlanDev[] {
  return net.world.devices
    .filter((d): d is NetDevice => d !== null && d.kind === DEV_VXLAN)
    .map(vxlanPriv)
    .filter((x) => x.net === net)
}

/** ip link add NAME type vxlan. @returns the device, or -EEXIST when VNI and port are taken */
export function createVxlan(
  ns: Netns,
  name: string,
  cfg: VxlanConfig,
  mac: { hi: number; lo: number } | null = null,
  mtu: number | null = null,
): NetDevice | number {
  if (vxlansOf(ns).some((x) => x.cfg.vni === cfg.vni && x.cfg.dstport === cfg.dstport)) return EEXIST
  const most = vxlanMaxMtu(cfg)
  const wanted = mtu ?? (cfg.lowerdev === null ? 1500 : most)
  const dev = registerNetdevice(ns, name, DEV_VXLAN, mac ?? randomMac(ns), Math.min(wanted, most))
  const vxlan = new VxlanDev(dev, cfg)
  dev.priv = vxlan
  if (cfg.remote !== 0) {
    const state = FDB_NUD_REACHABLE | FDB_NUD_PERMANENT
    vxlan.fdb.update(0, 0, vxlan.defaultRdst, state, false, 'add', ns.world.nowNs)
  }
  return dev
}

/** vxlan_headroom */
export function vxlanHeadroom(cfg: VxlanConfig): number {
  return cfg.six ? VXLAN6_HEADROOM : VXLAN_HEADROOM
}

/** Largest MTU by the lower device. */
function vxlanMaxMtu(cfg: VxlanConfig): number {
  return cfg.lowerdev === null ? ETH_MAX_MTU : Math.max(cfg.lowerdev.mtu - vxlanHeadroom(cfg), ETH_MIN_MTU)
}

/** vxlan_change_mtu. @returns 0 or -EINVAL */
export function vxlanChangeMtu(dev: NetDevice, mtu: number): number {
  const cfg = vxlanPriv(dev).cfg
  if (cfg.lowerdev !== null && mtu > cfg.lowerdev.mtu - vxlanHeadroom(cfg)) return EINVAL
  return 0
}

/** Whether a socket of this host has the port in the underlay's family (the tunnel's own is v6only). */
function portTaken(vxlan: VxlanDev, port: number): boolean {
  const list = vxlan.net.sockets.udp.get(port) ?? []
  return list.some((sk) => (sk.family === AF_INET6) === vxlan.cfg.six || (!vxlan.cfg.six && !sk.v6only))
}

/** vxlan_open: takes the UDP port. @returns 0 or -EADDRINUSE when a socket of this host has it */
export function vxlanOpen(dev: NetDevice): number {
  const vxlan = vxlanPriv(dev)
  const port = vxlan.cfg.dstport
  const socks = vxlan.cfg.six ? vxlan.net.vxlanSocks6 : vxlan.net.vxlanSocks
  let sock = socks.get(port)
  if (sock === undefined) {
    if (portTaken(vxlan, port)) return EADDRINUSE
    sock = new VxlanSock(port)
    socks.set(port, sock)
  }
  // vxlan_find_sock: devices share a socket when their VXLAN_F_RCV_FLAGS are equal
  else if (vxlan.cfg.external !== (sock.external !== null)) return EADDRINUSE
  sock.devs.set(vxlan.cfg.vni, vxlan)
  if (vxlan.cfg.external) sock.external = vxlan
  vxlan.sock = sock
  vxlan.startAgeing()
  return 0
}

/** vxlan_stop: gives the port back when it was the last user, forgets what was learned. */
export function vxlanStop(dev: NetDevice): void {
  const vxlan = vxlanPriv(dev)
  const sock = vxlan.sock
  if (sock !== null) {
    sock.devs.delete(vxlan.cfg.vni)
    const socks = vxlan.cfg.six ? vxlan.net.vxlanSocks6 : vxlan.net.vxlanSocks
    if (sock.devs.size === 0) socks.delete(sock.port)
    vxlan.sock = null
  }
  vxlan.stopAgeing()
  vxlan.fdb.removeIf((e) => (e.state & (FDB_NUD_PERMANENT | FDB_NUD_NOARP)) === 0)
}

/** vxlan_handle_lowerdev_unregister: devices that go with `lower`. */
export function vxlansOver(lower: NetDevice): NetDevice[] {
  return vxlansOf(lower.ns)
    .filter((x) => x.cfg.lowerdev === lower)
    .map((x) => x.dev)
}
