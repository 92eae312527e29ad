/**
 * The registers of the rule walk: struct nft_regs.
 *
 * Linux: 20 registers of 32 bits. Here as many as the largest statement takes: concatenated keys and a map's data.
 */

/** One array for the process: a walk never comes back to an outer one that still needs it. */
export const regs = new Int32Array(256)
