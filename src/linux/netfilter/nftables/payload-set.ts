/**
 * `ip ttl set`, `tcp dport set` ...: header fields that rules write.
 *
 * Linux: nft_payload_set_eval (net/netfilter/nft_payload.c): the IPv4 header's checksum follows, and the transport
 * checksum follows its own bytes and the addresses (NFT_PAYLOAD_L4CSUM_PSEUDOHDR); a UDP checksum of 0 stays when only
 * addresses change, and becomes wrong when a port is set, as in the kernel.
 */
import type { World } from '../../world.ts'
import { evalState } from '../iptables/eval-state.ts'
import { regs } from './registers.ts'

/** Runs PAYLOAD_SET at `pc`; false breaks the rule. */
export function setPayload(w: World, code: Int32Array, pc: number): boolean {
  const s = evalState
  const view = w.arena.view
  const base = code[pc + 1]
  const bytes = code[pc + 3]!
  const shift = code[pc + 4]!
  const mask = code[pc + 5]!
  const at = (base === 1 ? s.nh : s.th) + code[pc + 2]!
  if ((base === 2 && s.fragOff !== 0) || at + bytes > s.end) return false
  const value = regs[code[pc + 6]!]! & mask
  // whole 16-bit words around the field, for the checksum
  const start = at & ~1
  const end = (at + bytes + 1) & ~1
  const odd = (base === 1 ? s.nh : s.th) & 1
  let before = 0
  for (let i = start + odd; i < end + odd; i += 2) before += view.getUint16(i)
  write(view, at, bytes, shift, mask, value)
  let after = 0
  for (let i = start + odd; i < end + odd; i += 2) after += view.getUint16(i)
  const diff = (after - before) | 0
  if (base === 1) {
    if (s.family === 6) {
      if (at - s.nh >= 8) fixTransport(view, diff, false)
    } else {
      if (at - s.nh !== 10) fix(view, s.nh + 10, diff)
      if (at - s.nh >= 12) fixTransport(view, diff, false)
    }
  } else fixTransport(view, diff, true)
  return true
}

function write(view: DataView, at: number, bytes: number, shift: number, mask: number, value: number): void {
  let old = 0
  for (let i = 0; i < bytes; i++) old = (old << 8) | view.getUint8(at + i)
  const v = (old & ~(mask << shift)) | (value << shift)
  for (let i = 0; i < bytes; i++) view.setUint8(at + i, (v >>> ((bytes - 1 - i) * 8)) & 0xff)
}

/** `ownBytes`: the transport header itself changed; an ICMP checksum does not cover the addresses. */
function fixTransport(view: DataView, diff: number, ownBytes: boolean): void {
  const s = evalState
  if (s.fragOff !== 0) return
  // ICMPv6's checksum covers the addresses
  if (s.proto === 58 && s.th + 8 <= s.end) fix(view, s.th + 2, diff)
  else if (s.proto === 1 && s.th + 8 <= s.end) {
    if (ownBytes) fix(view, s.th + 2, diff)
  } else if (s.proto === 6 && s.th + 20 <= s.end) fix(view, s.th + 16, diff)
  else if (s.proto === 17 && s.th + 8 <= s.end && (ownBytes || view.getUint16(s.th + 6) !== 0)) {
    // nft_payload_csum_inet asks nobody whether there was a checksum: only the addresses' change does
    fix(view, s.th + 6, diff)
    if (view.getUint16(s.th + 6) === 0) view.setUint16(s.th + 6, 0xffff)
  }
}

/** RFC 1624: HC' = ~(~HC + (m' - m)) */
function fix(view: DataView, at: number, diff: number): void {
  let sum = (~view.getUint16(at) & 0xffff) + (diff < 0 ? diff + 0xffff * 4 : diff)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  view.setUint16(at, ~sum & 0xffff)
}
