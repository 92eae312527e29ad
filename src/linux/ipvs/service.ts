/**
 * Virtual services and their real servers.
 *
 * Linux: struct ip_vs_service, struct ip_vs_dest (include/net/ip_vs.h). A service's real servers are a doubly linked list
 * with the newest at the head: schedulers walk it and remember places in it, so the list is intrusive here too.
 */
import type { Rtable } from '../route/rtable.ts'
import { IP_VS_CONN_F_FWD_MASK, IP_VS_DEST_F_AVAILABLE, IP_VS_DEST_F_OVERLOAD } from './flags.ts'
import type { SchedulerData } from './scheduler.ts'
import { IpVsStats } from './stats.ts'

/** What identifies a service: an address, a port and a protocol, or a firewall mark. */
export interface ServiceId {
  readonly protocol: number
  readonly addr: number
  readonly port: number
  readonly fwmark: number
}

/** A virtual service. */
export class IpVsService implements ServiceId {
  readonly protocol: number
  readonly addr: number
  readonly port: number
  readonly fwmark: number
  /** IP_VS_SVC_F_* */
  flags = 0
  /** Persistence timeout in seconds. */
  timeout = 0
  /** Mask of the client's address for persistence. */
  netmask = -1
  /** Name of the scheduler, `none` without one. */
  scheduler = 'none'
  /** What the scheduler keeps (`svc->sched_data`). */
  schedData: SchedulerData = null
  head: IpVsDest | null = null
  tail: IpVsDest | null = null
  numDests = 0
  readonly stats: IpVsStats

  constructor(id: ServiceId, nowNs: number) {
    this.protocol = id.protocol
    this.addr = id.addr
    this.port = id.port
    this.fwmark = id.fwmark
    this.stats = new IpVsStats(nowNs)
  }

  /** list_add: the newest real server is the first. */
  addDest(d: IpVsDest): void {
    d.prev = null
    d.next = this.head
    if (this.head === null) this.tail = d
    else this.head.prev = d
    this.head = d
    this.numDests++
  }

  /** list_del; `d.prev` keeps its predecessor for the scheduler's del_dest. */
  unlinkDest(d: IpVsDest): void {
    if (d.prev === null) this.head = d.next
    else d.prev.next = d.next
    if (d.next === null) this.tail = d.prev
    else d.next.prev = d.prev
    this.numDests--
  }

  /** ip_vs_lookup_dest */
  findDest(addr: number, port: number): IpVsDest | null {
    for (let d = this.head; d !== null; d = d.next) if (d.addr === addr && d.port === port) return d
    return null
  }
}

/** What `-a` and `-e` say about a real server. */
export interface DestSpec {
  readonly addr: number
  readonly port: number
  /** IP_VS_CONN_F_MASQ, _TUNNEL, _DROUTE */
  readonly fwdMethod: number
  readonly weight: number
  readonly upperThreshold: number
  readonly lowerThreshold: number
  readonly tunType: number
  readonly tunPort: number
  readonly tunFlags: number
}

/** A real server of a service. */
export class IpVsDest {
  readonly addr: number
  readonly port: number
  /** The service that it belongs to, or belonged to while it is in the trash. */
  svc: IpVsService
  next: IpVsDest | null = null
  prev: IpVsDest | null = null
  /** IP_VS_DEST_F_* */
  flags = 0
  /** IP_VS_CONN_F_* that its connections start with. */
  connFlags = 0
  weight = 0
  /** The last weight that was not 0: what mh goes by. */
  lastWeight = 0
  upperThreshold = 0
  lowerThreshold = 0
  tunType = 0
  tunPort = 0
  tunFlags = 0
  activeConns = 0
  inactConns = 0
  persistConns = 0
  /** Connections and scheduler entries that hold it. */
  refs = 0
  /** Virtual ns since when nothing holds it in the trash, -1 while something does. */
  idleStartNs = -1
  /** `dest->dest_dst`: cached route and its source address. */
  rt: Rtable | null = null
  /** The cached decision that `rt` was made from: its validity is what counts. */
  rtBase: Rtable | null = null
  rtSaddr = 0
  readonly stats: IpVsStats

  constructor(svc: IpVsService, addr: number, port: number, nowNs: number) {
    this.svc = svc
    this.addr = addr
    this.port = port
    this.stats = new IpVsStats(nowNs)
  }

  /** IP_VS_DFWD_METHOD */
  get fwdMethod(): number {
    return this.connFlags & IP_VS_CONN_F_FWD_MASK
  }

  /** In a service, not in the trash. */
  get available(): boolean {
    return (this.flags & IP_VS_DEST_F_AVAILABLE) !== 0
  }

  /** Above its upper threshold. */
  get overloaded(): boolean {
    return (this.flags & IP_VS_DEST_F_OVERLOAD) !== 0
  }

  /** ip_vs_dest_conn_overhead */
  get overhead(): number {
    return this.activeConns * 256 + this.inactConns
  }
}
