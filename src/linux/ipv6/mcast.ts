/**
 * Multicast groups of a device and what MLDv2 tells about them.
 *
 * Linux: net/ipv6/mcast.c (__ipv6_dev_mc_inc, igmp6_group_added, igmp6_group_dropped, mld_ifc_event, mld_send_cr,
 * mld_send_initial_cr, mld_newpack, mld_sendpack). A joined group is reported twice: after two jiffies and once more
 * within the unsolicited report interval. Sources: RFC 3810 6.1, 5.2. Not modelled: queries (nobody asks in a lab without
 * a multicast router), MLDv1, source filters of sockets.
 *
 *     ICMPv6 143: type, code, checksum | reserved (2) | number of records (2) | records
 *     record: type (1) | aux len (1) | number of sources (2) | group (16)
 */
import { HEADROOM_BYTES } from '../../packet/arena.ts'
import { M_DATA, M_DEV, M_FLAGS, M_NH, M_TH, META_SHIFT, SKB_CSUM_OK } from '../../packet/layout.ts'
import { foldChecksum, sumWords } from '../../wire/checksum.ts'
import type { World } from '../world.ts'
import { ipv6GetLladdr } from './addrconf.ts'
import { IFA_F_TENTATIVE, type Ifmcaddr6, type Inet6Dev } from './inet6-dev.ts'
import { ndiscXmit } from './ndisc-send.ts'

const MS = 1_000_000
/** One jiffy at HZ = 250. */
const JIFFY_NS = 4 * MS
const MLD2_CHANGE_TO_INCLUDE = 3
const MLD2_CHANGE_TO_EXCLUDE = 4
/** mc_qrv: the robustness variable. */
const QRV = 2
const ICMPV6_MLD2_REPORT = 143
const RECORD_BYTES = 20
const HOPOPTS_BYTES = 8

/** __ipv6_dev_mc_inc */
export function ipv6DevMcInc(idev: Inet6Dev, addr: number): void {
  const known = idev.groups.find((g) => g.addr === addr)
  if (known !== undefined) {
    known.users++
    return
  }
  const in6 = idev.dev.ns.world.in6
  const allNodes = in6.word(addr, 0) === (0xff020000 | 0) && in6.word(addr, 3) === 1 && in6.word(addr, 1) === 0
  const noReport = (allNodes && in6.word(addr, 2) === 0) || ((in6.word(addr, 0) >>> 16) & 15) < 2
  const g: Ifmcaddr6 = { addr, users: 1, noReport, crcount: 0 }
  idev.groups.unshift(g)
  idev.tombs = idev.tombs.filter((t) => t.addr !== addr)
  groupAdded(idev, g)
}

/** igmp6_group_added */
function groupAdded(idev: Inet6Dev, g: Ifmcaddr6): void {
  if (!idev.dev.up || g.noReport) return
  g.crcount = QRV
  ifcEvent(idev)
}

/** __ipv6_dev_mc_dec */
export function ipv6DevMcDec(idev: Inet6Dev, addr: number): void {
  const i = idev.groups.findIndex((g) => g.addr === addr)
  if (i < 0) return
  const g = idev.groups[i]!
  if (--g.users > 0) return
  idev.groups.splice(i, 1)
  if (g.noReport) return
  g.crcount = QRV
  idev.tombs.unshift(g)
  ifcEvent(idev)
}

/** ipv6_mc_up: groups are told (again). */
export function ipv6McUp(idev: Inet6Dev): void {
  for (const g of idev.groups) {
    idev.tombs = idev.tombs.filter((t) => t.addr !== g.addr)
    groupAdded(idev, g)
  }
}

/** ipv6_mc_down: nothing more is told until the device is up again; groups left meanwhile are told then. */
export function ipv6McDown(idev: Inet6Dev): void {
  const timers = idev.dev.ns.world.timers
  timers.cancel(idev.mcIfcTimer)
  timers.cancel(idev.mcDadTimer)
  idev.mcIfcCount = 0
  idev.mcDadCount = 0
}

/** mld_ifc_event */
function ifcEvent(idev: Inet6Dev): void {
  idev.mcIfcCount = QRV
  const w = idev.dev.ns.world
  if (idev.dev.up) w.timers.arm(idev.mcIfcTimer, w.nowNs + 2 * JIFFY_NS)
}

function laterNs(idev: Inet6Dev): number {
  const jiffies = Math.ceil((idev.conf.mldv2_unsolicited_report_interval * MS) / JIFFY_NS)
  return (idev.dev.ns.world.random.below(Math.max(jiffies, 1)) + 2) * JIFFY_NS
}

/** mld_ifc_work */
export function mldIfcWork(idev: Inet6Dev): void {
  const w = idev.dev.ns.world
  sendCr(idev)
  if (idev.mcIfcCount > 0 && --idev.mcIfcCount > 0) w.timers.arm(idev.mcIfcTimer, w.nowNs + laterNs(idev))
}

/** ipv6_mc_dad_complete: the first link-local address is there; what was told from :: is told again. */
export function ipv6McDadComplete(idev: Inet6Dev): void {
  idev.mcDadCount = QRV
  initialCr(idev)
  const w = idev.dev.ns.world
  if (--idev.mcDadCount > 0) w.timers.arm(idev.mcDadTimer, w.nowNs + laterNs(idev))
}

/** mld_dad_work */
export function mldDadWork(idev: Inet6Dev): void {
  const w = idev.dev.ns.world
  initialCr(idev)
  if (idev.mcDadCount > 0 && --idev.mcDadCount > 0) w.timers.arm(idev.mcDadTimer, w.nowNs + laterNs(idev))
}

/** mld_send_initial_cr */
function initialCr(idev: Inet6Dev): void {
  const told = idev.groups.filter((g) => !g.noReport)
  sendReport(
    idev,
    told.map((g) => [MLD2_CHANGE_TO_EXCLUDE, g.addr]),
  )
}

/** mld_send_cr: groups left, then groups joined. */
function sendCr(idev: Inet6Dev): void {
  const records: [number, number][] = []
  for (const g of idev.tombs) {
    records.push([MLD2_CHANGE_TO_INCLUDE, g.addr])
    g.crcount--
  }
  idev.tombs = idev.tombs.filter((g) => g.crcount > 0)
  for (const g of idev.groups) {
    if (g.crcount === 0) continue
    records.push([MLD2_CHANGE_TO_EXCLUDE, g.addr])
    g.crcount--
  }
  sendReport(idev, records)
}

/** mld_newpack, mld_sendpack */
function sendReport(idev: Inet6Dev, records: readonly (readonly [number, number])[]): void {
  if (records.length === 0 || !idev.dev.up) return
  const w: World = idev.dev.ns.world
  const a = w.arena
  const icmpLength = 8 + records.length * RECORD_BYTES
  const slot = a.alloc(40 + HOPOPTS_BYTES + icmpLength, HEADROOM_BYTES)
  if (slot < 0) return
  const m = slot << META_SHIFT
  const v = a.view
  const nh = a.meta[m + M_DATA]!
  const in6 = w.in6
  const saddr = ipv6GetLladdr(idev.dev, IFA_F_TENTATIVE)
  const daddr = in6.intern(0xff020000 | 0, 0, 0, 0x16)
  v.setInt32(nh, 0x60000000)
  v.setUint16(nh + 4, HOPOPTS_BYTES + icmpLength)
  v.setUint8(nh + 6, 0)
  v.setUint8(nh + 7, 1)
  in6.write(v, nh + 8, saddr)
  in6.write(v, nh + 24, daddr)
  // hop-by-hop: ICMPv6 follows, router alert 0, PadN
  v.setInt32(nh + 40, 0x3a000502)
  v.setInt32(nh + 44, 0x00000100)
  const ih = nh + 40 + HOPOPTS_BYTES
  v.setUint8(ih, ICMPV6_MLD2_REPORT)
  v.setUint8(ih + 1, 0)
  v.setUint16(ih + 2, 0)
  v.setUint16(ih + 4, 0)
  v.setUint16(ih + 6, records.length)
  let at = ih + 8
  for (const [type, addr] of records) {
    v.setInt32(at, type << 24)
    in6.write(v, at + 4, addr)
    at += RECORD_BYTES
  }
  v.setUint16(ih + 2, foldChecksum(sumWords(v, ih, icmpLength, in6.pseudoSum(saddr, daddr, 58, icmpLength))))
  a.meta[m + M_NH] = nh
  a.meta[m + M_TH] = ih
  a.meta[m + M_DEV] = idev.dev.id
  a.meta[m + M_FLAGS] = SKB_CSUM_OK
  ndiscXmit(w, slot, idev.dev, daddr)
}
