/**
 * TCPMSS: lowers, or adds, the MSS option of a SYN.
 *
 * Linux: net/netfilter/xt_TCPMSS.c (tcpmss_mangle_packet, tcpmss_tg4, tcpmss_tg6).
 */
import { M_DATA, M_LEN, META_SHIFT } from '../../../packet/layout.ts'
import { Flowi6 } from '../../ipv6/flow6.ts'
import { ip6RouteOutput } from '../../ipv6/route.ts'
import type { Rt6 } from '../../ipv6/rt6.ts'
import type { Netns } from '../../netns.ts'
import { Flowi4 } from '../../route/flow.ts'
import { dstMtu, ipRouteOutput } from '../../route/route.ts'
import type { Rtable } from '../../route/rtable.ts'
import type { World } from '../../world.ts'
import { evalState } from './eval-state.ts'

/** `mss` value that stands for --clamp-mss-to-pmtu. */
export const TCPMSS_CLAMP_PMTU = 0xffff
const MIN_HEADERS = 40
const MIN_HEADERS6 = 60
const flow = new Flowi4()
const flow6 = new Flowi6()

/** One's complement change of the 16-bit field at `at` from `from` to `to` (inet_proto_csum_replace2). */
function replaceSum(view: DataView, at: number, from: number, to: number): void {
  let sum = (~view.getUint16(at) & 0xffff) + (~from & 0xffff) + to
  sum = (sum & 0xffff) + (sum >>> 16)
  sum = (sum & 0xffff) + (sum >>> 16)
  view.setUint16(at, ~sum & 0xffff)
}

/** False when the packet must be dropped. */
export function tcpmssMangle(w: World, ns: Netns, slot: number, mssArg: number): boolean {
  const s = evalState
  if (s.fragOff !== 0) return true
  const view = w.arena.view
  const minHeaders = s.family === 6 ? MIN_HEADERS6 : MIN_HEADERS
  const len = s.end - s.th
  if (len < 20) return false
  const headerBytes = (view.getUint8(s.th + 12) >>> 4) * 4
  if (len < headerBytes || headerBytes < 20) return false
  let mss = mssArg
  if (mss === TCPMSS_CLAMP_PMTU) {
    const mtu = s.family === 6 ? pathMtu6(w, ns, slot) : pathMtu(w, ns, slot)
    if (mtu < 0) return true
    if (mtu <= minHeaders) return false
    mss = mtu - minHeaders
  }
  for (let i = 20; i <= headerBytes - 4; ) {
    const kind = view.getUint8(s.th + i)
    if (kind === 2 && view.getUint8(s.th + i + 1) === 4) {
      const old = view.getUint16(s.th + i + 2)
      if (old <= mss) return true
      view.setUint16(s.th + i + 2, mss)
      // behind an odd number of bytes the sum should see the two bytes swapped: the kernel leaves it wrong, so do we
      replaceSum(view, s.th + 16, old, mss)
      return true
    }
    i += kind < 2 ? 1 : view.getUint8(s.th + i + 1) || 1
  }
  if (len > headerBytes || headerBytes >= 60) return true
  return addOption(w, slot, Math.min(mss, s.family === 6 ? 1220 : 536), len)
}

/** The path MTU there and back; -1 without a route. */
function pathMtu(w: World, ns: Netns, slot: number): number {
  const rt = w.arena.dst[slot] as Rtable | null
  if (rt === null) return -1
  flow.reset()
  flow.daddr = w.arena.view.getInt32(evalState.nh + 12)
  const back = ipRouteOutput(ns, flow)
  return Math.min(dstMtu(rt), back === null ? 0xffffffff : dstMtu(back))
}

function pathMtu6(w: World, ns: Netns, slot: number): number {
  const rt = w.arena.dst[slot] as Rt6 | null
  if (rt === null) return -1
  flow6.reset()
  flow6.daddr = w.in6.read(w.arena.view, evalState.nh + 8)
  const back = ip6RouteOutput(ns, flow6)
  return Math.min(rt.mtu(), back.error !== 0 ? 0xffffffff : back.mtu())
}

/** Makes room after the fixed header and puts the option there. */
function addOption(w: World, slot: number, mss: number, len: number): boolean {
  const s = evalState
  const { arena } = w
  const m = slot << META_SHIFT
  const size = arena.meta[m + M_LEN]!
  const start = arena.meta[m + M_DATA]!
  if (!arena.resize(slot, size + 4)) return false
  const moved = arena.meta[m + M_DATA]! - start
  s.nh += moved
  s.th += moved
  arena.meta[m + M_LEN] = size + 4
  s.end = arena.meta[m + M_DATA]! + size + 4
  const view = arena.view
  const opt = s.th + 20
  arena.bytes.copyWithin(opt + 4, opt, s.th + len)
  replaceSum(view, s.th + 16, len, len + 4)
  view.setUint16(opt, 0x0204)
  view.setUint16(opt + 2, mss)
  replaceSum(view, s.th + 16, 0, 0x0204)
  replaceSum(view, s.th + 16, 0, mss)
  const old = view.getUint16(s.th + 12)
  view.setUint8(s.th + 12, view.getUint8(s.th + 12) + 0x10)
  replaceSum(view, s.th + 16, old, view.getUint16(s.th + 12))
  if (s.family === 6) {
    view.setUint16(s.nh + 4, view.getUint16(s.nh + 4) + 4)
    return true
  }
  const total = view.getUint16(s.nh + 2)
  view.setUint16(s.nh + 2, total + 4)
  replaceSum(view, s.nh + 10, total, total + 4)
  return true
}
