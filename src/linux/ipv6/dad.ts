/**
 * Duplicate address detection and router solicitations.
 *
 * Linux: net/ipv6/addrconf.c (addrconf_dad_start, addrconf_dad_begin, addrconf_dad_kick, addrconf_dad_work,
 * addrconf_dad_completed, addrconf_dad_failure, addrconf_rs_timer). Sources: RFC 4862 5.4, RFC 4429, RFC 7527, RFC 4861
 * 6.3.7. Not modelled: stable privacy retries, accept_dad=2's disabling of the device after a link-local duplicate.
 */
import { IFF_LOOPBACK, IFF_NOARP } from '../device/device.ts'
import { insertLocalRoute, LINKLOCAL_ALLNODES, LINKLOCAL_ALLROUTERS, notifyNew } from './addrconf.ts'
import {
  dadWork,
  IFA_F_DADFAILED,
  IFA_F_NODAD,
  IFA_F_OPTIMISTIC,
  IFA_F_PERMANENT,
  IFA_F_TENTATIVE,
  IFA_LINK,
  IFADDR_DAD,
  IFADDR_DEAD,
  IFADDR_POSTDAD,
  IFADDR_PREDAD,
  type Inet6Dev,
  type Inet6Ifaddr,
} from './inet6-dev.ts'
import { ipv6DevMcInc, ipv6McDadComplete } from './mcast.ts'
import { ndiscSendNa, ndiscSendNs, ndiscSendRs } from './ndisc-send.ts'

const MS = 1_000_000
const SECOND = 1_000_000_000
/** HZ / 100 at HZ = 250 */
const MIN_RETRANS_NS = 12 * MS
const NONCE_MAX = 2 ** 48

/** addrconf_dad_start: begins at once here (Linux: by a work item right after). */
export function addrconfDadStart(ifp: Inet6Ifaddr): void {
  if (ifp.state === IFADDR_DEAD) return
  ifp.state = IFADDR_PREDAD
  dadBegin(ifp)
}

/** addrconf_dad_begin */
function dadBegin(ifp: Inet6Ifaddr): void {
  const idev = ifp.idev
  const dev = idev.dev
  const ns = dev.ns
  if (ifp.state !== IFADDR_PREDAD) return
  ifp.state = IFADDR_DAD
  ipv6DevMcInc(idev, ns.world.in6.solicitedNode(ifp.addr))
  const off = ns.sysctl.ipv6.all.accept_dad < 1 && idev.conf.accept_dad < 1
  if (
    (dev.flags & (IFF_NOARP | IFF_LOOPBACK)) !== 0 ||
    off ||
    (ifp.flags & IFA_F_TENTATIVE) === 0 ||
    (ifp.flags & IFA_F_NODAD) !== 0
  ) {
    ifp.flags &= ~(IFA_F_TENTATIVE | IFA_F_OPTIMISTIC | IFA_F_DADFAILED)
    dadCompleted(ifp, false)
    return
  }
  if (!idev.ready) {
    // addrconf_dad_stop(ifp, 0): stays tentative until the link is there
    ifp.state = IFADDR_PREDAD
    return
  }
  if ((ifp.flags & IFA_F_OPTIMISTIC) !== 0) insertLocalRoute(ifp)
  dadKick(ifp)
}

/** addrconf_dad_kick */
function dadKick(ifp: Inet6Ifaddr): void {
  const idev = ifp.idev
  const w = idev.dev.ns.world
  const delayMs = idev.conf.router_solicitation_delay * 1000
  const wait = (ifp.flags & IFA_F_OPTIMISTIC) !== 0 || delayMs <= 0 ? 0 : w.random.below(delayMs)
  ifp.dadNonce = 0
  const enhanced = idev.conf.enhanced_dad !== 0 || idev.dev.ns.sysctl.ipv6.all.enhanced_dad !== 0
  while (enhanced && ifp.dadNonce === 0) ifp.dadNonce = (w.random.u32() * 65536 + (w.random.u32() & 0xffff)) % NONCE_MAX
  ifp.dadProbes = idev.conf.dad_transmits
  w.timers.arm(ifp.dadTimer, w.nowNs + wait * MS)
}

/** addrconf_dad_work in state DAD */
function dadTimer(ifp: Inet6Ifaddr): void {
  const idev = ifp.idev
  const dev = idev.dev
  const w = dev.ns.world
  if (ifp.state === IFADDR_DEAD || !idev.ready) return
  if (ifp.dadProbes === 0) {
    ifp.flags &= ~(IFA_F_TENTATIVE | IFA_F_OPTIMISTIC | IFA_F_DADFAILED)
    dadCompleted(ifp, true)
    return
  }
  ifp.dadProbes--
  w.timers.arm(ifp.dadTimer, w.nowNs + Math.max(idev.ndParms.retrans_time_ms * MS, MIN_RETRANS_NS))
  ndiscSendNs(w, dev, ifp.addr, w.in6.solicitedNode(ifp.addr), 0, ifp.dadNonce)
}
dadWork.current = dadTimer

/** ipv6_lonely_lladdr: the first link-local address that is ready. */
function lonelyLladdr(ifp: Inet6Ifaddr): boolean {
  for (const a of ifp.idev.addrs) {
    if (a.scope !== IFA_LINK || a === ifp) continue
    if ((a.flags & (IFA_F_PERMANENT | IFA_F_TENTATIVE | IFA_F_OPTIMISTIC | IFA_F_DADFAILED)) === IFA_F_PERMANENT) {
      return false
    }
  }
  return true
}

/** ipv6_accept_ra */
export function acceptsRa(idev: Inet6Dev): boolean {
  return idev.conf.forwarding !== 0 ? idev.conf.accept_ra === 2 : idev.conf.accept_ra !== 0
}

/** addrconf_dad_completed */
function dadCompleted(ifp: Inet6Ifaddr, sendNa: boolean): void {
  const idev = ifp.idev
  const dev = idev.dev
  const ns = dev.ns
  const w = ns.world
  w.timers.cancel(ifp.dadTimer)
  ifp.state = IFADDR_POSTDAD
  notifyNew(ifp)
  const first = ifp.scope === IFA_LINK && lonelyLladdr(ifp)
  const sendRs = first && acceptsRa(idev) && idev.conf.router_solicitations !== 0 && (dev.flags & IFF_LOOPBACK) === 0
  if (first) ipv6McDadComplete(idev)
  if (sendNa && (idev.conf.ndisc_notify !== 0 || ns.sysctl.ipv6.all.ndisc_notify !== 0)) {
    ndiscSendNa(w, dev, w.in6.intern(...LINKLOCAL_ALLNODES), ifp.addr, idev.conf.forwarding !== 0, false, true, true)
  }
  if (!sendRs) return
  ndiscSendRs(w, dev, ifp.addr, w.in6.intern(...LINKLOCAL_ALLROUTERS))
  idev.rsIntervalMs = rfc3315Init(idev)
  idev.rsProbes = 1
  w.timers.arm(idev.rsTimer, w.nowNs + idev.rsIntervalMs * MS)
}

/** rfc3315_s14_backoff_init: 0.9 to 1.1 of the interval. */
function rfc3315Init(idev: Inet6Dev): number {
  const ms = idev.conf.router_solicitation_interval * 1000
  return Math.floor((ms * (900 + idev.dev.ns.world.random.below(200))) / 1000)
}

/** rfc3315_s14_backoff_update */
function rfc3315Update(idev: Inet6Dev): number {
  const r = idev.dev.ns.world.random
  const max = idev.conf.router_solicitation_max_interval * 1000
  let ms = Math.floor((idev.rsIntervalMs * (1900 + r.below(200))) / 1000)
  if (ms > max) ms = Math.floor((max * (900 + r.below(200))) / 1000)
  return ms
}

/** addrconf_rs_timer: asks again until a router answers or router_solicitations were sent. */
export function addrconfRsTimer(idev: Inet6Dev): void {
  const dev = idev.dev
  const w = dev.ns.world
  if (!idev.ready || !acceptsRa(idev)) return
  const most = idev.conf.router_solicitations
  if (idev.rsProbes++ >= most && most >= 0) return
  const lladdr = idev.addrs.find((a) => a.scope === IFA_LINK && (a.flags & IFA_F_TENTATIVE) === 0)
  if (lladdr === undefined) return
  ndiscSendRs(w, dev, lladdr.addr, w.in6.intern(...LINKLOCAL_ALLROUTERS))
  idev.rsIntervalMs = rfc3315Update(idev)
  const last = idev.rsProbes === most
  w.timers.arm(idev.rsTimer, w.nowNs + (last ? idev.conf.router_solicitation_delay * SECOND : idev.rsIntervalMs * MS))
}

/** addrconf_dad_run: the link is there; addresses that waited begin. */
export function addrconfDadRun(idev: Inet6Dev): void {
  for (const ifp of [...idev.addrs]) {
    if ((ifp.flags & IFA_F_TENTATIVE) !== 0 && ifp.state === IFADDR_PREDAD) dadBegin(ifp)
  }
}

/** addrconf_dad_failure: somebody else has the address. */
export function addrconfDadFailure(ifp: Inet6Ifaddr): void {
  const w = ifp.idev.dev.ns.world
  if (ifp.state !== IFADDR_DAD) return
  ifp.state = IFADDR_POSTDAD
  w.timers.cancel(ifp.dadTimer)
  // addrconf_dad_stop(ifp, 1): a permanent address stays, tentative for ever
  ifp.flags |= IFA_F_TENTATIVE | IFA_F_DADFAILED
  ifp.flags &= ~IFA_F_OPTIMISTIC
}
