/**
 * Operations of compiled rules, and the numbers of what they read.
 *
 * Linux: include/uapi/linux/netfilter/nf_tables.h (NFT_META_*, NFT_CT_*). Each operation is its number followed by its
 * operands, all int32; registers are words of one scratch array.
 */

/** End of the chain. */
export const OP_END = 0
/** RULE index, address of the next rule */
export const OP_RULE = 1
/** LOAD dst, base, byte offset, bytes (1..4), shift, mask */
export const OP_LOAD = 2
/** LOADN dst, base, byte offset, bytes, words */
export const OP_LOADN = 3
/** META dst, key */
export const OP_META = 4
/** CT dst, key, direction */
export const OP_CT = 5
/** FIB dst, result, flags */
export const OP_FIB = 6
/** NUMGEN dst, state, mod, offset, random */
export const OP_NUMGEN = 7
/** JHASH dst, src, seed, mod, offset, fields, then (bytes, host order) of each field */
export const OP_JHASH = 8
/** SYMHASH dst, mod, offset */
export const OP_SYMHASH = 9
/** BITWISE reg, mask, xor */
export const OP_BITWISE = 10
/** SHIFT reg, left, bits */
export const OP_SHIFT = 11
/** CMP reg, operator, value */
export const OP_CMP = 12
/** CMPN reg, operator, words, values */
export const OP_CMPN = 13
/** RANGE reg, negated, words, low, high */
export const OP_RANGE = 14
/** NAME reg, negated, bytes, 4 words: a name's first bytes */
export const OP_NAME = 15
/** ANY reg, mask, negated: some flag is set */
export const OP_ANY = 16
/** LOOKUP set, reg, negated */
export const OP_LOOKUP = 17
/** MAP set, reg, dst */
export const OP_MAP = 18
/** VMAP set, reg */
export const OP_VMAP = 19
/** COUNTER state */
export const OP_COUNTER = 20
/** LIMIT state */
export const OP_LIMIT = 21
/** QUOTA state, bytes, over */
export const OP_QUOTA = 22
/** VERDICT code, chain */
export const OP_VERDICT = 23
/** IMM dst, value */
export const OP_IMM = 24
/**
 * NAT kind, flags, register of the low address or -1, of the high one, of the low port or -1, of the high one, family (4, 6
 * or 0 for either)
 */
export const OP_NAT = 25
/** REJECT kind over IPv4, kind over IPv6; -1: none */
export const OP_REJECT = 26
/** META_SET key, reg */
export const OP_META_SET = 27
/** CT_SET key, reg */
export const OP_CT_SET = 28
/** PAYLOAD_SET base, byte offset, bytes, shift, mask, reg */
export const OP_PAYLOAD_SET = 29
/** NOTRACK */
export const OP_NOTRACK = 30
/** DYNSET operation, set, reg, timeout in ms or 0, data register or -1, index of its statements */
export const OP_DYNSET = 31
/** LOG */
export const OP_LOG = 32
/** UNMODELLED name */
export const OP_UNMODELLED = 33
/** NEVER: what the packet cannot have */
export const OP_NEVER = 34
/** OBJMAP set, reg: a map that names an object */
export const OP_OBJMAP = 35
/** BITOP reg, operator, other register */
export const OP_BITOP = 36

/** EXTHDR dst, header, byte offset, bytes (1..4), shift, mask */
export const OP_EXTHDR = 37
/** EXTHDR_PRESENT dst, header */
export const OP_EXTHDR_PRESENT = 38

/** Operators of comparisons. */
export const CMP_EQ = 0
export const CMP_NEQ = 1
export const CMP_LT = 2
export const CMP_LTE = 3
export const CMP_GT = 4
export const CMP_GTE = 5

/** meta keys that a packet of ours can answer. */
export const META_NUMBERS: Readonly<Record<string, number>> = {
  length: 0,
  protocol: 1,
  priority: 2,
  mark: 3,
  iif: 4,
  oif: 5,
  iifname: 6,
  oifname: 7,
  iiftype: 8,
  oiftype: 9,
  skuid: 10,
  skgid: 11,
  nftrace: 12,
  rtclassid: 13,
  secmark: 14,
  nfproto: 15,
  l4proto: 16,
  pkttype: 17,
  cpu: 18,
  iifgroup: 19,
  oifgroup: 20,
  cgroup: 21,
  random: 22,
  ipsec: 23,
  sdif: 24,
  sdifname: 25,
  ibrname: 26,
  obrname: 27,
}

/** ct keys that podwalk's conntrack can answer. */
export const CT_NUMBERS: Readonly<Record<string, number>> = {
  state: 0,
  direction: 1,
  status: 2,
  mark: 3,
  expiration: 4,
  l3proto: 5,
  protocol: 6,
  'ip saddr': 7,
  'ip daddr': 8,
  'proto-src': 9,
  'proto-dst': 10,
  bytes: 11,
  packets: 12,
  avgpkt: 13,
  zone: 14,
  label: 15,
  'ip6 saddr': 16,
  'ip6 daddr': 17,
}

export const FIB_SADDR = 1
export const FIB_DADDR = 2
export const FIB_MARK = 4
export const FIB_IIF = 8
export const FIB_OIF = 16
export const FIB_RESULT_OIF = 0
export const FIB_RESULT_OIFNAME = 1
export const FIB_RESULT_TYPE = 2
/** `exists` and `missing`: 1 or 0. */
export const FIB_PRESENT = 32
