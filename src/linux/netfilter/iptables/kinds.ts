/**
 * Integer kinds of compiled matches and targets: what the evaluator switches on.
 *
 * Layout of a match in IptProgram.words: [kind, word count, arguments ...]; arguments stand beside each constant. `inv` is
 * 0 or 1. Targets have the same layout.
 */

/** sport lo, hi, dport lo, hi, inv bits (1 sport, 2 dport, 4 flags, 8 option), flag mask, flag comp, option */
export const MATCH_TCP = 1
/** sport lo, hi, dport lo, hi, inv bits (1 sport, 2 dport) */
export const MATCH_UDP = 2
/** Same as MATCH_UDP, without chunk types. */
export const MATCH_SCTP = 3
/** type, code lo, code hi, inv */
export const MATCH_ICMP = 4
/**
 * match flags (XT_CONNTRACK_*), invert flags, state mask, status mask, l4 proto, then 4 x (ip, mask), 4 x (port lo, hi),
 * expires lo, hi
 */
export const MATCH_CONNTRACK = 5
/** mark, mask, inv */
export const MATCH_MARK = 6
/** mark, mask, inv */
export const MATCH_CONNMARK = 7
/** which (1 source, 2 destination, 3 either), inv, number of ranges, then lo, hi ... */
export const MATCH_MULTIPORT = 8
/** source mask (bit per RTN_*), destination mask, flags (1 invert source, 2 invert dest, 4 limit in, 8 limit out) */
export const MATCH_ADDRTYPE = 9
/** probability (31 bit fixed point, as unsigned), inv */
export const MATCH_STATISTIC_RANDOM = 10
/** every - 1, count (state), inv */
export const MATCH_STATISTIC_NTH = 11
/** ref, check_set bits, seconds, hit count, inv, side (0 source, 1 dest) */
export const MATCH_RECENT = 12
/** ref, dimensions, source flags (bit per dimension), flags (1 inv, 2 return-nomatch, 4 no counter update) */
export const MATCH_SET = 13
/** in pattern, out pattern, op bits, invert bits */
export const MATCH_PHYSDEV = 14
/** ref */
export const MATCH_LIMIT = 15
/** lo, hi, inv */
export const MATCH_LENGTH = 16
/** value, mask, inv */
export const MATCH_TOS = 17
/** mode (0 eq, 1 ne, 2 lt, 3 gt), ttl */
export const MATCH_TTL = 18
/** mac hi, mac lo, inv */
export const MATCH_MAC = 19
/** type, inv */
export const MATCH_PKTTYPE = 20
/** flags (1 src, 2 dst, 4 inv src, 8 inv dst), src lo, hi, dst lo, hi */
export const MATCH_IPRANGE = 21
/** name index */
export const MATCH_UNMODELLED = 22
/** lo, hi, inv */
export const MATCH_TCPMSS = 24
/** op bits, invert bits, ect */
export const MATCH_ECN = 26
/** flags (RPFILTER_*) */
export const MATCH_RPFILTER = 27
/** type, code lo, code hi, inv */
export const MATCH_ICMP6 = 28
/** inv bits (1 source, 2 destination), then source (4 words), mask (4), destination (4), mask (4): an IPv6 rule's header */
export const MATCH_ADDR6 = 29
/** mode (0 eq, 1 ne, 2 lt, 3 gt), hop limit */
export const MATCH_HL = 30
export const MATCH_EUI64 = 31
/** bits, inv, soft */
export const MATCH_IPV6HEADER = 32
/** id lo, id hi, inv, flags */
export const MATCH_FRAG6 = 33
/** header (0 or 60), length asked, length, inv */
export const MATCH_OPTS6 = 34
/** type or -1, segments lo, hi, length or -1, inv bits */
export const MATCH_RT6 = 35
/** flags (1 src, 2 dst, 4 inv src, 8 inv dst), then source lo, hi, destination lo, hi of 4 words each */
export const MATCH_IPRANGE6 = 36
/** bits, invert, proto, vaddr, vmask, vport, vportctl, method */
export const MATCH_IPVS = 40

/** Standard verdict: verdict (0 drop, 1 accept). */
export const TARGET_VERDICT = 1
/** First rule of the chain, goto (0 or 1). */
export const TARGET_JUMP = 2
export const TARGET_RETURN = 3
/** No target: count and go on. */
export const TARGET_NONE = 4
/** reject kind (REJECT_*) */
export const TARGET_REJECT = 5
/** mark, mask */
export const TARGET_MARK = 6
/** mode (0 set, 1 save, 2 restore), ctmark, ctmask, nfmask, shift dir, shift bits */
export const TARGET_CONNMARK = 7
/** Untrack the packet. */
export const TARGET_NOTRACK = 8
/** flags, min ip, max ip, min port, max port, base port */
export const TARGET_DNAT = 9
export const TARGET_SNAT = 10
/** flags, min port, max port */
export const TARGET_MASQUERADE = 11
export const TARGET_REDIRECT = 12
/** net ip, mask */
export const TARGET_NETMAP = 13
/** value, mask */
export const TARGET_TOS = 14
/** dscp */
export const TARGET_DSCP = 15
/** mss, 0xffff for clamp to path MTU */
export const TARGET_TCPMSS = 16
/** mode (0 set, 1 inc, 2 dec), ttl */
export const TARGET_TTL = 17
/** LOG, NFLOG, TRACE, CHECKSUM: no effect on the packet. */
export const TARGET_CONTINUE = 18
/** add (ref, dims, flags), del (ref, dims, flags), timeout, flags (1 exist) */
export const TARGET_SET = 19
/** name index */
export const TARGET_UNMODELLED = 20
/** The end of a base chain: policy. */
export const TARGET_POLICY = 21
/** priority */
export const TARGET_CLASSIFY = 22
/** reject kind (REJECT6_*) */
export const TARGET_REJECT6 = 23
/** mode (0 set, 1 inc, 2 dec), hop limit */
export const TARGET_HL = 24
/** net (4 words), mask (4 words) */
export const TARGET_NETMAP6 = 25
