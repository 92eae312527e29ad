/**
 * CRC-32C (Castagnoli), the checksum of SCTP.
 *
 * Linux: crc32c(), sctp_compute_cksum (include/net/sctp/checksum.h). Reflected polynomial 0x82f63b78, initial and final
 * complement. The result goes on the wire least significant byte first (RFC 9260 appendix A).
 */

const TABLE = buildTable()

/** CRC-32C of `len` bytes at `off`, with four bytes at `zeroAt` taken as zero (the checksum field itself), -1 for none. */
export function crc32c(view: DataView, off: number, len: number, zeroAt = -1): number {
  let crc = -1
  for (let i = off; i < off + len; i++) {
    const byte = zeroAt >= 0 && i >= zeroAt && i < zeroAt + 4 ? 0 : view.getUint8(i)
    crc = (crc >>> 8) ^ TABLE[(crc ^ byte) & 0xff]!
  }
  return ~crc >>> 0
}

function buildTable(): Int32Array {
  const table = new Int32Array(256)
  for (let n = 0; n < 256; n++) {
    let c = n
    for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1
    table[n] = c
  }
  return table
}
