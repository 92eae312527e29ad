/**
 * Hashes that rules compute: jhash and symhash.
 *
 * Linux: include/linux/jhash.h (Jenkins' lookup3, words read as the CPU reads them: little-endian), net/netfilter/nft_hash.c,
 * __skb_get_hash_symmetric. symhash's secret is the kernel's own: here the addresses and ports, in one order for both
 * directions, are hashed with a fixed one.
 */

import { jhashBytes } from '../../jhash.ts'
import type { World } from '../../world.ts'
import { evalState } from '../iptables/eval-state.ts'
import { regs } from './registers.ts'

const bytes = new Uint8Array(256)
const view = new DataView(bytes.buffer)

/** reciprocal_scale */
export function reciprocalScale(v: number, range: number): number {
  return Math.floor(((v >>> 0) * range) / 4294967296)
}

/** jhash of a key in registers; fields are (bytes, host order) pairs at `at`. */
export function jhash(src: number, code: Int32Array, at: number, fields: number, seed: number): number {
  let len = 0
  let r = src
  for (let f = 0; f < fields; f++) {
    const n = code[at + f * 2]!
    const words = (n + 3) >>> 2
    putField(len, r, n, words, code[at + f * 2 + 1] === 1)
    r += words
    // a key of several fields is padded to registers
    len += fields > 1 ? words * 4 : n
  }
  return jhashBytes(view, len, seed)
}

/** The bytes of one field as the kernel's register has them. */
function putField(to: number, reg: number, n: number, words: number, hostOrder: boolean): void {
  for (let i = 0; i < words * 4; i++) bytes[to + i] = 0
  for (let i = 0; i < n; i++) {
    // byte i from the least significant end of the big-endian words
    const fromEnd = n - 1 - i
    const word = regs[reg + words - 1 - (fromEnd >>> 2)]!
    const b = (word >>> ((fromEnd & 3) * 8)) & 0xff
    bytes[to + (hostOrder ? fromEnd : i)] = b
  }
}

/** A hash that is the same for both directions of a flow. */
export function symhash(w: World): number {
  const s = evalState
  const v = w.arena.view
  // of IPv6 the ids stand for the addresses
  let a = s.family === 6 ? w.in6.read(v, s.nh + 8) : v.getInt32(s.nh + 12)
  let b = s.family === 6 ? w.in6.read(v, s.nh + 24) : v.getInt32(s.nh + 16)
  let ports = 0
  if (s.fragOff === 0 && (s.proto === 6 || s.proto === 17) && s.th + 4 <= s.end) {
    const p = v.getUint16(s.th)
    const q = v.getUint16(s.th + 2)
    ports = p < q ? (p << 16) | q : (q << 16) | p
  }
  if (a >>> 0 > b >>> 0) {
    const t = a
    a = b
    b = t
  }
  view.setInt32(0, a)
  view.setInt32(4, b)
  view.setInt32(8, ports)
  bytes[12] = s.proto
  return jhashBytes(view, 13, 0x5eed)
}
