/**
 * IPVS of a namespace: struct netns_ipvs.
 *
 * Linux: include/net/ip_vs.h, ip_vs_service_find, ip_vs_has_real_service, ip_vs_find_tunnel, ip_vs_todrop
 * (net/netfilter/ipvs/ip_vs_ctl.c). The hooks are registered with the first service and go with the last.
 *
 * Not modelled: the sync daemon, application helpers (FTP), persistence engines (SIP), IPv6, AH and ESP, the defence
 * strategies that watch memory (drop_entry, and modes 1 and 2 of drop_packet and secure_tcp: memory is never short here).
 */
import type { Netns } from '../netns.ts'
import { Timer } from '../timers.ts'
import type { World } from '../world.ts'
import { expireConn, expireNodestConns } from './conn.ts'
import { IpVsConnTable } from './conn-table.ts'
import { IP_VS_CONN_F_MASQ, IP_VS_CONN_F_TUNNEL, IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP } from './flags.ts'
import { ProtoTimeouts } from './proto-states.ts'
import type { IpVsDest, IpVsService, ServiceId } from './service.ts'
import { IpVsStats } from './stats.ts'
import { trashExpire } from './trash.ts'

/** One namespace's IPVS. */
export class IpVs {
  readonly ns: Netns
  readonly w: World
  /** A service has existed: `ipvs->enable`. */
  enabled = false
  /** All services in order of their making. */
  readonly services: IpVsService[] = []
  readonly conns: IpVsConnTable
  readonly timeouts = new ProtoTimeouts()
  /** Real servers that were removed, the last one first. */
  readonly trash: IpVsDest[] = []
  readonly trashTimer: Timer
  /** Delayed work of expire_nodest_conn. */
  readonly nodestTimer: Timer
  readonly totalStats: IpVsStats
  private readonly byAddress = new Map<number, Map<number, IpVsService>>([
    [IPPROTO_TCP, new Map<number, IpVsService>()],
    [IPPROTO_UDP, new Map<number, IpVsService>()],
    [IPPROTO_SCTP, new Map<number, IpVsService>()],
  ])
  private readonly byMark = new Map<number, IpVsService>()
  /** Services of port 0 and of the FTP port. */
  private portZero = 0
  private ftp = 0
  private dropCounter = 0

  constructor(ns: Netns) {
    this.ns = ns
    this.w = ns.world
    this.conns = new IpVsConnTable(ns, (id) => expireConn(this, id))
    this.trashTimer = new Timer(() => trashExpire(this))
    this.nodestTimer = new Timer(() => expireNodestConns(this))
    this.totalStats = new IpVsStats(ns.world.nowNs)
  }

  /** ip_vs_svc_hash */
  hash(svc: IpVsService): void {
    this.services.push(svc)
    if (svc.fwmark !== 0) this.byMark.set(svc.fwmark, svc)
    else this.byAddress.get(svc.protocol)?.set(addressKey(svc.addr, svc.port), svc)
    if (svc.port === 21) this.ftp++
    else if (svc.port === 0) this.portZero++
  }

  /** ip_vs_svc_unhash */
  unhash(svc: IpVsService): void {
    this.services.splice(this.services.indexOf(svc), 1)
    if (svc.fwmark !== 0) this.byMark.delete(svc.fwmark)
    else this.byAddress.get(svc.protocol)?.delete(addressKey(svc.addr, svc.port))
    if (svc.port === 21) this.ftp--
    else if (svc.port === 0) this.portZero--
  }

  /** The service with exactly this identity. */
  exact(id: ServiceId): IpVsService | null {
    if (id.fwmark !== 0) return this.byMark.get(id.fwmark) ?? null
    return this.at(id.protocol, id.addr, id.port)
  }

  /** ip_vs_service_find: by mark, by address and port, the FTP service for its data ports, the service of port 0. */
  find(mark: number, protocol: number, addr: number, port: number): IpVsService | null {
    if (mark !== 0 && this.byMark.size > 0) {
      const svc = this.byMark.get(mark >>> 0)
      if (svc !== undefined) return svc
    }
    let svc = this.at(protocol, addr, port)
    if (svc === null && this.ftp > 0 && protocol === IPPROTO_TCP && (port === 20 || port >= 1024)) {
      svc = this.at(protocol, addr, 21)
    }
    if (svc === null && this.portZero > 0) svc = this.at(protocol, addr, 0)
    return svc
  }

  /** ip_vs_has_real_service: a masqueraded real server with this address and port. */
  hasRealService(protocol: number, addr: number, port: number): boolean {
    for (const svc of this.services) {
      if (svc.protocol !== protocol && svc.fwmark === 0) continue
      const d = svc.findDest(addr, port)
      if (d !== null && d.fwdMethod === IP_VS_CONN_F_MASQ) return true
    }
    return false
  }

  /** ip_vs_find_tunnel: the newest real server that is reached by a tunnel to this address and port. */
  findTunnel(addr: number, tunPort: number): IpVsDest | null {
    for (let i = this.services.length - 1; i >= 0; i--) {
      for (let d = this.services[i]!.head; d !== null; d = d.next) {
        if (d.fwdMethod === IP_VS_CONN_F_TUNNEL && d.addr === addr && d.tunPort === tunPort) return d
      }
    }
    return null
  }

  /** ip_vs_todrop: with drop_packet=3 every am_droprate-th new connection, the first among them. */
  toDrop(): boolean {
    if (this.ns.sysctl.vs_drop_packet !== 3) return false
    if (--this.dropCounter > 0) return false
    this.dropCounter = this.ns.sysctl.vs_am_droprate
    return true
  }

  private at(protocol: number, addr: number, port: number): IpVsService | null {
    return this.byAddress.get(protocol)?.get(addressKey(addr, port)) ?? null
  }
}

function addressKey(addr: number, port: number): number {
  return (addr >>> 0) * 65536 + port
}

/** The namespace's IPVS, made when it is first asked for (the module is loaded). */
export function ipVsGet(ns: Netns): IpVs {
  ns.ipvs ??= new IpVs(ns)
  return ns.ipvs
}
