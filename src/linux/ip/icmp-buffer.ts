/**
 * The bytes of the ICMP message that is being made.
 *
 * Linux: struct icmp_bxm. One buffer is enough: a message is copied into its packet before the next one is made.
 */

/** Type, code, checksum, the word behind it, then data. */
export const icmpBuffer = new Uint8Array(65536)
/** The same bytes for header access. */
export const icmpView = new DataView(icmpBuffer.buffer)
