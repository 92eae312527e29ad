/** Frames that no sane sender makes, out of those that a kernel sent. */
import type { Random } from '../../src/linux/random.ts'
import { internetChecksum } from '../../src/wire/checksum.ts'
import { parseIpv6, walkIpv6Extensions } from '../../src/wire/ipv6.ts'

/** Edits, cuts, extensions, and headers put in front; half of the frames get a right checksum again. */
export function mutateIpv6(r: Random, frame: Uint8Array): Uint8Array {
  let f: Uint8Array = frame.slice()
  for (let i = r.below(6); i > 0; i--) f[14 + r.below(Math.max(f.length - 14, 1))] = r.u32() & 255
  const how = r.below(10)
  if (how === 0) f = f.subarray(0, 14 + r.below(f.length - 13))
  else if (how === 1) f = Uint8Array.from([...f, ...Array.from({ length: r.below(64) }, () => r.u32() & 255)])
  else if (how === 2) for (let i = 14; i < f.length; i++) f[i] = r.u32() & 255
  else if (how === 3 && f.length > 54) {
    // an extension header of a random kind between the fixed header and the rest
    const kind = [0, 43, 44, 60, 51][r.below(5)]!
    const ext = Array.from({ length: 8 }, () => r.u32() & 255)
    ext[0] = f[20]!
    if (kind !== 44) ext[1] = r.below(2)
    f = Uint8Array.from([...f.subarray(0, 54), ...ext, ...f.subarray(54)])
    f[20] = kind
    new DataView(f.buffer).setUint16(18, f.length - 54)
  }
  if (r.below(2) === 0) mendChecksum(f)
  return f
}

function mendChecksum(f: Uint8Array): void {
  const view = new DataView(f.buffer, f.byteOffset, f.byteLength)
  const head = parseIpv6(view, 14, f.length - 14)
  if (head === null) return
  const walk = walkIpv6Extensions(view, 54, f.length - 54, head.nextHeader)
  const at = { 58: 2, 17: 6, 6: 16 }[walk.protocol]
  const len = 54 + head.payloadLength - walk.off
  if (at === undefined || len < at + 2 || walk.off + len > f.length) return
  let pseudo = walk.protocol + len
  for (let i = 22; i < 54; i += 2) pseudo += view.getUint16(i)
  view.setUint16(walk.off + at, 0)
  view.setUint16(walk.off + at, internetChecksum(view, walk.off, len, pseudo))
}
