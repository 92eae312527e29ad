/**
 * ebtables: rules on frames at the hooks of a bridge.
 *
 * Linux: net/bridge/netfilter/ebtables.c, ebt_ip.c, ebt_arp.c, ebt_vlan.c, ebt_mark_m.c, ebt_dnat.c, ebt_snat.c,
 * ebt_redirect.c, ebt_arpreply.c, ebt_mark.c; iptables/nft-bridge.c (the variant that Debian installs as `ebtables`).
 * Tables filter (INPUT, FORWARD, OUTPUT at -200) and nat (PREROUTING -300, OUTPUT 100, POSTROUTING 300).
 * Not modelled, refused by name: among, limit, stp, pkttype, 802_3, ip6, string, log, nflog and vlan priorities.
 */

/** Verdicts of a rule, EBT_* and a chain to jump to. */
export const EBT_ACCEPT = 1
export const EBT_DROP = 2
export const EBT_CONTINUE = 3
export const EBT_RETURN = 4

/** `EbRule.target` */
export const TGT_VERDICT = 0
export const TGT_JUMP = 1
export const TGT_MARK = 2
export const TGT_DNAT = 3
export const TGT_SNAT = 4
export const TGT_REDIRECT = 5
export const TGT_ARPREPLY = 6

/** A MAC address with its mask. */
export interface MacMatch {
  readonly hi: number
  readonly lo: number
  readonly maskHi: number
  readonly maskLo: number
  readonly not: boolean
}

/** A value with a mask, an address as a rule. */
export interface MaskMatch {
  readonly value: number
  readonly mask: number
  readonly not: boolean
}

/** A range of ports, types or a single number. */
export interface RangeMatch {
  readonly from: number
  readonly to: number
  readonly not: boolean
}

/** A device name, `+` at the end for any that begins so. */
export interface NameMatch {
  readonly name: string
  readonly prefix: boolean
  readonly not: boolean
}

/** What a rule asks for; absent fields match everything. */
export interface EbMatch {
  /** ethertype; 0 for frames with a length instead of a type */
  proto?: { readonly value: number; readonly not: boolean }
  src?: MacMatch
  dst?: MacMatch
  in?: NameMatch
  out?: NameMatch
  logicalIn?: NameMatch
  logicalOut?: NameMatch
  ipSrc?: MaskMatch
  ipDst?: MaskMatch
  ipTos?: RangeMatch
  ipProto?: RangeMatch
  ipSport?: RangeMatch
  ipDport?: RangeMatch
  /** type << 8 | code, with the codes' range in the low byte */
  ipIcmp?: RangeMatch & { readonly codeFrom: number; readonly codeTo: number }
  arpOp?: RangeMatch
  arpHtype?: RangeMatch
  arpPtype?: RangeMatch
  arpIpSrc?: MaskMatch
  arpIpDst?: MaskMatch
  arpMacSrc?: MacMatch
  arpMacDst?: MacMatch
  vlanId?: RangeMatch
  vlanEncap?: RangeMatch
  mark?: MaskMatch
}

/** A rule. */
export interface EbRule {
  readonly match: EbMatch
  readonly target: number
  /** EBT_*: what follows the target's work */
  readonly verdict: number
  readonly chain: EbChain | null
  /** TGT_MARK: set, or, and, xor */
  readonly markOp: string
  readonly mark: number
  /** MAC of dnat, snat and arpreply */
  readonly macHi: number
  readonly macLo: number
  /** snat --snat-arp: the sender's address in an ARP packet too */
  readonly snatArp: boolean
  packets: number
  bytes: number
}

/** A chain: one of a hook, or a person's own. */
export interface EbChain {
  name: string
  readonly table: string
  readonly builtIn: boolean
  policy: number
  rules: EbRule[]
}

/** Tables by name, chains in the order in which they are listed. */
export class EbTables {
  readonly input = builtIn('filter', 'INPUT')
  readonly forward = builtIn('filter', 'FORWARD')
  readonly output = builtIn('filter', 'OUTPUT')
  readonly prerouting = builtIn('nat', 'PREROUTING')
  readonly natOutput = builtIn('nat', 'OUTPUT')
  readonly postrouting = builtIn('nat', 'POSTROUTING')
  readonly tables: { readonly [name: string]: EbChain[] } = {
    filter: [this.input, this.forward, this.output],
    nat: [this.prerouting, this.natOutput, this.postrouting],
  }

  /** A chain of a table, undefined when there is none. */
  chain(table: string, name: string): EbChain | undefined {
    return this.tables[table]?.find((c) => c.name === name)
  }
}

function builtIn(table: string, name: string): EbChain {
  return { name, table, builtIn: true, policy: EBT_ACCEPT, rules: [] }
}
