/**
 * The IPv6 half of a device: struct inet6_dev with its addresses and groups.
 *
 * Linux: include/net/if_inet6.h. Addresses stand in the order of ip(8): wider scopes first, the newest first of equals
 * (ipv6_link_dev_addr). Lifetimes are not modelled: an address is valid and preferred for ever unless it was added with
 * `preferred_lft 0` (IFA_F_DEPRECATED).
 */
import type { NetDevice } from '../device/device.ts'
import type { NeighParms } from '../sysctl.ts'
import { Timer } from '../timers.ts'
import { Ipv6DevConf } from './devconf.ts'

/** IFA_F_* of include/uapi/linux/if_addr.h. */
export const IFA_F_TEMPORARY = 0x01
export const IFA_F_NODAD = 0x02
export const IFA_F_OPTIMISTIC = 0x04
export const IFA_F_DADFAILED = 0x08
export const IFA_F_HOMEADDRESS = 0x10
export const IFA_F_DEPRECATED = 0x20
export const IFA_F_TENTATIVE = 0x40
export const IFA_F_PERMANENT = 0x80
export const IFA_F_NOPREFIXROUTE = 0x200

/** ipv6_addr_scope as the address list has it: IFA_GLOBAL, IFA_LINK ... (RT_SCOPE_* of ip(8) derive from it). */
export const IFA_GLOBAL = 0x0000
export const IFA_HOST = 0x0010
export const IFA_LINK = 0x0020
export const IFA_SITE = 0x0040

/** States of an address, INET6_IFADDR_STATE_*. */
export const IFADDR_PREDAD = 0
export const IFADDR_DAD = 1
export const IFADDR_POSTDAD = 2
export const IFADDR_DEAD = 3

/** An address of a device: struct inet6_ifaddr. */
export class Inet6Ifaddr {
  readonly idev: Inet6Dev
  /** In6Table id. */
  readonly addr: number
  /** `ifp->peer_addr`, 0 when none. */
  readonly peer: number
  readonly prefixLength: number
  /** IFA_GLOBAL, IFA_LINK ... */
  readonly scope: number
  /** IFA_F_* */
  flags: number
  /** `rt_priority`: metric of the prefix route, 0 for the default. */
  readonly metric: number
  state = IFADDR_PREDAD
  dadProbes = 0
  /** Six bytes of RFC 7527's nonce, 0 when none. */
  dadNonce = 0
  /** The local route is in its table. */
  hasRoute = false
  readonly dadTimer: Timer

  constructor(
    idev: Inet6Dev,
    addr: number,
    peer: number,
    prefixLength: number,
    scope: number,
    flags: number,
    metric: number,
  ) {
    this.idev = idev
    this.addr = addr
    this.peer = peer
    this.prefixLength = prefixLength
    this.scope = scope
    this.flags = flags
    this.metric = metric
    this.dadTimer = new Timer(() => dadWork.current!(this))
  }
}

/** addrconf_dad_work, set by dad.ts: keeps this class free of import cycles. */
export const dadWork: { current: ((ifp: Inet6Ifaddr) => void) | null } = { current: null }

/** A multicast group of a device: struct ifmcaddr6. */
export interface Ifmcaddr6 {
  readonly addr: number
  users: number
  /** MAF_NOREPORT: all nodes, and scopes below link-local. */
  readonly noReport: boolean
  /** `mca_crcount`: state changes still to be told. */
  crcount: number
}

/** The IPv6 state of a device. */
export class Inet6Dev {
  readonly dev: NetDevice
  readonly conf: Ipv6DevConf
  /** Settings that were written for this device. */
  readonly ndParms: NeighParms
  addrs: Inet6Ifaddr[] = []
  /** `mc_list`: the newest first. */
  groups: Ifmcaddr6[] = []
  /** `mc_tomb`: groups left whose leaving is still to be told. */
  tombs: Ifmcaddr6[] = []
  /** `ac_list`: anycast addresses (subnet-router) with their users. */
  readonly anycast: { readonly addr: number; users: number }[] = []
  /** IF_READY */
  ready = false
  /** `mc_ifc_count`, `mc_dad_count`: reports still to be sent. */
  mcIfcCount = 0
  mcDadCount = 0
  readonly mcIfcTimer: Timer
  readonly mcDadTimer: Timer
  /** Router solicitations sent (`rs_probes`) and their timer. */
  rsProbes = 0
  rsIntervalMs = 0
  readonly rsTimer: Timer

  constructor(dev: NetDevice, dflt: Ipv6DevConf, neigh: NeighParms, work: Inet6DevWork) {
    this.dev = dev
    this.conf = Object.assign(new Ipv6DevConf(), dflt)
    this.conf.mtu = dev.mtu
    this.ndParms = neigh
    this.mcIfcTimer = new Timer(() => work.mcIfc(this))
    this.mcDadTimer = new Timer(() => work.mcDad(this))
    this.rsTimer = new Timer(() => work.rs(this))
  }
}

/** What the timers of a device do. */
export interface Inet6DevWork {
  mcIfc(idev: Inet6Dev): void
  mcDad(idev: Inet6Dev): void
  rs(idev: Inet6Dev): void
}
