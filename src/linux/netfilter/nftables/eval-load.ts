/**
 * meta, ct and fib: what a rule reads beside the packet's bytes.
 *
 * Linux: net/netfilter/nft_meta.c, nft_ct.c, net/ipv4/netfilter/nft_fib_ipv4.c. Locally made packets belong to root.
 */
import {
  M_CT,
  M_CTINFO,
  M_IIF,
  M_MARK,
  M_PKTTYPE,
  M_PRIORITY,
  M_PROTO,
  M_SK,
  META_SHIFT,
  PACKET_BROADCAST,
  PACKET_LOOPBACK,
  PACKET_MULTICAST,
} from '../../../packet/layout.ts'
import { DEV_LOOPBACK, type NetDevice } from '../../device/device.ts'
import type { Netns } from '../../netns.ts'
import { FIB_LOOKUP_IGNORE_LINKSTATE, FibResult } from '../../route/fib-table.ts'
import { Flowi4 } from '../../route/flow.ts'
import { inetAddrTypeDev } from '../../route/route.ts'
import { RTN_LOCAL } from '../../route/rtn.ts'
import type { World } from '../../world.ts'
import { ACCT_WORDS, C_ACCT, C_WORDS, ctinfo2dir, IP_CT_UNTRACKED } from '../conntrack/layout.ts'
import type { Conntrack } from '../conntrack/table.ts'
import { evalState } from '../iptables/eval-state.ts'
import { loadFib6 } from './eval-fib6.ts'
import {
  FIB_DADDR,
  FIB_IIF,
  FIB_MARK,
  FIB_OIF,
  FIB_PRESENT,
  FIB_RESULT_OIF,
  FIB_RESULT_OIFNAME,
  FIB_RESULT_TYPE,
} from './ops.ts'
import { regs } from './registers.ts'
import { putName } from './values.ts'

const ARPHRD_ETHER = 1
const ARPHRD_LOOPBACK = 772
const ARPHRD_TUNNEL = 768
const fl = new Flowi4()
const res = new FibResult()

/** nft_meta_get_eval: false breaks the rule. */
export function loadMeta(w: World, slot: number, dst: number, key: number): boolean {
  const s = evalState
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  switch (key) {
    case 0:
      regs[dst] = s.len
      return true
    case 1:
      regs[dst] = meta[m + M_PROTO]!
      return true
    case 2:
      regs[dst] = meta[m + M_PRIORITY]!
      return true
    case 3:
      regs[dst] = meta[m + M_MARK]!
      return true
    case 4:
      regs[dst] = s.inDev === null ? 0 : s.inDev.ifindex
      return true
    case 5:
      regs[dst] = s.outDev === null ? 0 : s.outDev.ifindex
      return true
    case 6:
      putName(s.inDev === null ? '' : s.inDev.name, regs, dst)
      return true
    case 7:
      putName(s.outDev === null ? '' : s.outDev.name, regs, dst)
      return true
    case 8:
      return deviceType(s.inDev, dst)
    case 9:
      return deviceType(s.outDev, dst)
    case 10:
    case 11:
      if (meta[m + M_SK] === 0) return false
      regs[dst] = 0
      return true
    case 15:
      regs[dst] = s.family === 6 ? 10 : 2
      return true
    case 16:
      if (s.proto < 0) return false
      regs[dst] = s.proto
      return true
    case 17:
      regs[dst] = packetType(w, meta[m + M_PKTTYPE]!)
      return true
    case 19:
      return group(s.inDev, dst)
    case 20:
      return group(s.outDev, dst)
    case 22:
      regs[dst] = w.random.u32()
      return true
    case 24:
      regs[dst] = 0
      return true
    case 25:
      putName('', regs, dst)
      return true
    case 26:
    case 27: {
      const dev = key === 26 ? s.inDev : s.outDev
      putName(dev?.port?.bridge.dev.name ?? '', regs, dst)
      return true
    }
    default:
      // nftrace, rtclassid, secmark, cpu, cgroup, ipsec: 0 on a host that uses none of them
      regs[dst] = 0
      return true
  }
}

function deviceType(dev: NetDevice | null, dst: number): boolean {
  if (dev === null) return false
  regs[dst] = dev.kind === DEV_LOOPBACK ? ARPHRD_LOOPBACK : dev.ether ? ARPHRD_ETHER : ARPHRD_TUNNEL
  return true
}

function group(dev: NetDevice | null, dst: number): boolean {
  if (dev === null) return false
  regs[dst] = dev.group
  return true
}

/** nft_meta_get_eval_pkttype, _pkttype_lo */
function packetType(w: World, type: number): number {
  if (type !== PACKET_LOOPBACK) return type
  if (evalState.family === 6) return PACKET_MULTICAST
  return (w.arena.view.getUint8(evalState.nh + 16) & 0xf0) === 0xe0 ? PACKET_MULTICAST : PACKET_BROADCAST
}

/** nft_ct_get_eval */
export function loadCt(w: World, ns: Netns, slot: number, dst: number, key: number, dir: number): boolean {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const id = meta[m + M_CT]!
  const ctinfo = meta[m + M_CTINFO]!
  const ct = ns.ct
  if (key === 0) {
    // NF_CT_STATE_BIT, NF_CT_STATE_UNTRACKED_BIT, NF_CT_STATE_INVALID_BIT
    regs[dst] = id !== 0 ? 1 << ((ctinfo % 3) + 1) : ctinfo === IP_CT_UNTRACKED ? 64 : 1
    return true
  }
  if (id === 0 || ct === null) return false
  switch (key) {
    case 1:
      regs[dst] = ctinfo2dir(ctinfo)
      return true
    case 2:
      regs[dst] = ct.status(id)
      return true
    case 3:
      regs[dst] = ct.mark(id)
      return true
    case 4:
      regs[dst] = Math.floor(ct.expiresNs(id) / 1e6)
      return true
    case 5:
      regs[dst] = ct.isIpv6(id) ? 10 : 2
      return true
    case 6:
      regs[dst] = ct.proto(id)
      return true
    case 7:
    case 8: {
      // NFT_CT_SRC_IP: a connection of the other family has no such address
      if (ct.isIpv6(id)) return false
      regs[dst] = key === 7 ? ct.src(id, dir & 1) : ct.dst(id, dir & 1)
      return true
    }
    case 16:
    case 17: {
      if (!ct.isIpv6(id)) return false
      const at = 4 * (key === 16 ? ct.src(id, dir & 1) : ct.dst(id, dir & 1))
      for (let i = 0; i < 4; i++) regs[dst + i] = w.in6.words[at + i]!
      return true
    }
    case 9:
      regs[dst] = ct.sport(id, dir & 1)
      return true
    case 10:
      regs[dst] = ct.dport(id, dir & 1)
      return true
    case 11:
    case 12:
    case 13: {
      const value = accounted(ct, id, key, dir)
      regs[dst] = Math.floor(value / 4294967296)
      regs[dst + 1] = value | 0
      return true
    }
    case 15:
      regs.fill(0, dst, dst + 4)
      return true
    default:
      regs[dst] = 0
      return true
  }
}

/** nft_ct_get_eval_counter: bytes (11), packets (12) or bytes per packet (13); `dir` 2 is both directions. */
function accounted(ct: Conntrack, id: number, key: number, dir: number): number {
  const acct = ct.hash.acct
  if (acct === null || ct.hash.rows[id * C_WORDS + C_ACCT] === 0) return 0
  let packets = 0
  let bytes = 0
  for (let d = 0; d < 2; d++) {
    if (dir !== 2 && dir !== d) continue
    packets += acct[id * ACCT_WORDS + 2 * d]!
    bytes += acct[id * ACCT_WORDS + 2 * d + 1]!
  }
  if (key === 11) return bytes
  return key === 12 ? packets : packets === 0 ? 0 : Math.floor(bytes / packets)
}

/** nft_ct_set_eval for the mark. */
export function setCtMark(w: World, ns: Netns, slot: number, mark: number): void {
  const id = w.arena.meta[(slot << META_SHIFT) + M_CT]!
  if (id !== 0 && ns.ct !== null) ns.ct.setMark(id, mark)
}

/** nft_fib4_eval, nft_fib4_eval_type */
export function loadFib(w: World, ns: Netns, slot: number, dst: number, result: number, flags: number): boolean {
  const s = evalState
  if (s.family === 0) return false
  if (s.family === 6) return loadFib6(w, ns, slot, dst, result, flags)
  const view = w.arena.view
  const dev = (flags & FIB_IIF) !== 0 ? s.inDev : (flags & FIB_OIF) !== 0 ? s.outDev : null
  const daddr = view.getInt32(s.nh + 16)
  const saddr = view.getInt32(s.nh + 12)
  if (result === FIB_RESULT_TYPE) {
    regs[dst] = inetAddrTypeDev(ns, dev, (flags & FIB_DADDR) !== 0 ? daddr : saddr)
    return true
  }
  const found = fibDevice(w, ns, slot, flags, dev, saddr, daddr)
  if ((flags & FIB_PRESENT) !== 0) regs[dst] = found === null ? 0 : 1
  else if (result === FIB_RESULT_OIF) regs[dst] = found === null ? 0 : found.ifindex
  else if (result === FIB_RESULT_OIFNAME) putName(found === null ? '' : found.name, regs, dst)
  return true
}

function fibDevice(
  w: World,
  ns: Netns,
  slot: number,
  flags: number,
  oif: NetDevice | null,
  saddr: number,
  daddr: number,
): NetDevice | null {
  const s = evalState
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  if (s.hook === 0 && s.inDev !== null && (s.inDev.kind === DEV_LOOPBACK || meta[m + M_PKTTYPE] === PACKET_LOOPBACK))
    return s.inDev
  if (saddr >>> 24 === 0 && (daddr === -1 || daddr >>> 8 === 0xe00000)) return w.devices[meta[m + M_IIF]!] ?? s.inDev
  fl.reset()
  fl.tos = w.arena.view.getUint8(s.nh + 1) & 0xfc
  if ((flags & FIB_MARK) !== 0) fl.mark = meta[m + M_MARK]!
  const other = (flags & FIB_DADDR) !== 0 ? saddr : daddr
  fl.daddr = (flags & FIB_DADDR) !== 0 ? daddr : saddr
  // get_saddr: addresses that no host has are not asked for
  fl.saddr = other >>> 24 === 0 || other >>> 28 >= 14 ? 0 : other
  if (ns.fib.lookup(fl, res, FIB_LOOKUP_IGNORE_LINKSTATE) !== 0 || res.type === RTN_LOCAL) return null
  if (oif === null) return res.nh?.dev ?? null
  const nhs = res.route!.nexthops
  for (let i = 0; i < nhs.length; i++) if (nhs[i]!.dev === oif) return oif
  return null
}
