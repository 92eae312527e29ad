/**
 * jhash: Bob Jenkins' lookup3 as the kernel has it.
 *
 * Linux: include/linux/jhash.h (jhash, jhash2). Words are read as a little-endian machine reads them; jhash2 over words is
 * the same function over their bytes.
 */

const JHASH_INITVAL = 0xdeadbeef | 0

/** jhash of the first `length` bytes of `view`, which must be writable up to the next multiple of 12. @returns int32 */
export function jhashBytes(view: DataView, length: number, initval: number): number {
  let a = (JHASH_INITVAL + length + initval) | 0
  let b = a
  let c = a
  let k = 0
  let left = length
  while (left > 12) {
    a = (a + view.getInt32(k, true)) | 0
    b = (b + view.getInt32(k + 4, true)) | 0
    c = (c + view.getInt32(k + 8, true)) | 0
    a = (a - c) ^ rol(c, 4)
    c = (c + b) | 0
    b = (b - a) ^ rol(a, 6)
    a = (a + c) | 0
    c = (c - b) ^ rol(b, 8)
    b = (b + a) | 0
    a = (a - c) ^ rol(c, 16)
    c = (c + b) | 0
    b = (b - a) ^ rol(a, 19)
    a = (a + c) | 0
    c = (c - b) ^ rol(b, 4)
    b = (b + a) | 0
    left -= 12
    k += 12
  }
  if (left === 0) return c
  for (let i = left; i < 12; i++) view.setUint8(k + i, 0)
  a = (a + view.getInt32(k, true)) | 0
  b = (b + view.getInt32(k + 4, true)) | 0
  c = (c + view.getInt32(k + 8, true)) | 0
  c = (c ^ b) - rol(b, 14)
  a = (a ^ c) - rol(c, 11)
  b = (b ^ a) - rol(a, 25)
  c = (c ^ b) - rol(b, 16)
  a = (a ^ c) - rol(c, 4)
  b = (b ^ a) - rol(a, 14)
  c = (c ^ b) - rol(b, 24)
  return c | 0
}

function rol(x: number, n: number): number {
  return (x << n) | (x >>> (32 - n))
}
