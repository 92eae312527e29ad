/**
 * TCP options: reading those of a segment, writing ours in Linux's order.
 *
 * Linux: tcp_parse_options (net/ipv4/tcp_input.c), tcp_options_write (net/ipv4/tcp_output.c). RFC 9293, 7323, 2018.
 * Not modelled: MD5 and AO signatures, Fast Open, MPTCP, SMC.
 */
import type { World } from '../world.ts'

/** Options of the last segment parsed; valid until the next call of parseTcpOptions. */
export const rxOpt = {
  mss: 0,
  hasWscale: false,
  wscale: 0,
  sackPermitted: false,
  sawTstamp: false,
  tsval: 0,
  tsecr: 0,
  /** Offset of the first SACK block in the arena, 0 when none. */
  sackAt: 0,
  sackBlocks: 0,
}

/** tcp_parse_options: from absolute offset `at` to `end`. `syn`: options that only a SYN may carry count. */
export function parseTcpOptions(w: World, at: number, end: number, syn: boolean): void {
  const o = rxOpt
  o.mss = 0
  o.hasWscale = false
  o.wscale = 0
  o.sackPermitted = false
  o.sawTstamp = false
  o.sackBlocks = 0
  o.sackAt = 0
  const b = w.arena.bytes
  const v = w.arena.view
  let p = at
  while (p < end) {
    const kind = b[p]!
    if (kind === 0) return
    if (kind === 1) {
      p++
      continue
    }
    const size = p + 1 < end ? b[p + 1]! : 0
    if (size < 2 || p + size > end) return
    if (kind === 2 && size === 4 && syn) o.mss = v.getUint16(p + 2)
    else if (kind === 3 && size === 3 && syn) {
      o.hasWscale = true
      o.wscale = Math.min(b[p + 2]!, 14)
    } else if (kind === 4 && size === 2 && syn) o.sackPermitted = true
    else if (kind === 8 && size === 10) {
      o.sawTstamp = true
      o.tsval = v.getInt32(p + 2)
      o.tsecr = v.getInt32(p + 6)
    } else if (kind === 5 && size >= 10 && (size - 2) % 8 === 0) {
      o.sackAt = p + 2
      o.sackBlocks = (size - 2) / 8
    }
    p += size
  }
}

/** What a SYN or SYN/ACK announces. */
export interface SynOptions {
  mss: number
  sack: boolean
  ts: boolean
  tsval: number
  tsecr: number
  wscale: boolean
  wscaleValue: number
}

/** Bytes that writeSynOptions will write. */
export function synOptionBytes(o: SynOptions): number {
  return 4 + (o.ts ? 12 : o.sack ? 4 : 0) + (o.wscale ? 4 : 0)
}

/** tcp_options_write for a SYN: MSS, SACK permitted with or without timestamps, window scale. */
export function writeSynOptions(w: World, at: number, o: SynOptions): void {
  const v = w.arena.view
  let p = at
  v.setInt32(p, 0x02040000 | o.mss)
  p += 4
  if (o.ts) {
    v.setInt32(p, o.sack ? 0x0402080a : 0x0101080a)
    v.setInt32(p + 4, o.tsval)
    v.setInt32(p + 8, o.tsecr)
    p += 12
  } else if (o.sack) {
    v.setInt32(p, 0x01010402)
    p += 4
  }
  if (o.wscale) v.setInt32(p, 0x01030300 | o.wscaleValue)
}
