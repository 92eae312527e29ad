/**
 * Policy rules: struct fib4_rule and its selectors.
 *
 * Linux: net/core/fib_rules.c (fib_rules_lookup, fib_rule_match), net/ipv4/fib_rules.c (fib4_rule_match,
 * fib4_rule_action, fib4_rule_suppress). Modelled: from, to, iif, oif, fwmark, tos, ipproto, sport, dport, not, lookup,
 * goto, nop, blackhole, unreachable, prohibit, suppress_prefixlength.
 * Not modelled: uidrange, tun_id, l3mdev, realms, suppress_ifgroup.
 */
import type { Netns } from '../netns.ts'
import { prefixMask } from './fib-table.ts'
import type { Flowi4 } from './flow.ts'

/** FR_ACT_* of include/uapi/linux/fib_rules.h. */
export const FR_ACT_TO_TBL = 1
export const FR_ACT_GOTO = 2
export const FR_ACT_NOP = 3
export const FR_ACT_BLACKHOLE = 6
export const FR_ACT_UNREACHABLE = 7
export const FR_ACT_PROHIBIT = 8

/** A rule as `ip rule` gives it; absent fields match everything. */
export interface RuleSpec {
  /** Absent: the kernel chooses one just below the second rule's (fib_default_rule_pref). */
  readonly pref?: number | undefined
  readonly from?: number | undefined
  readonly fromLength?: number | undefined
  readonly to?: number | undefined
  readonly toLength?: number | undefined
  readonly iif?: string | undefined
  readonly oif?: string | undefined
  readonly fwmark?: number | undefined
  readonly fwmask?: number | undefined
  readonly tos?: number | undefined
  readonly ipproto?: number | undefined
  readonly sport?: readonly [number, number] | undefined
  readonly dport?: readonly [number, number] | undefined
  readonly not?: boolean | undefined
  /** FR_ACT_*; lookup by default */
  readonly action?: number | undefined
  readonly table?: number | undefined
  /** Preference of the target of `goto`. */
  readonly target?: number | undefined
  readonly suppressPrefixlength?: number | undefined
  readonly protocol?: number | undefined
}

/** A rule in force. */
export class FibRule implements RuleSpec {
  readonly pref: number
  readonly from: number
  readonly fromLength: number
  readonly to: number
  readonly toLength: number
  readonly iif: string | undefined
  readonly oif: string | undefined
  readonly fwmark: number
  readonly fwmask: number
  readonly tos: number
  readonly ipproto: number
  readonly sport: readonly [number, number] | undefined
  readonly dport: readonly [number, number] | undefined
  readonly not: boolean
  readonly action: number
  readonly table: number
  readonly target: number
  /** -1: no suppressor */
  readonly suppressPrefixlength: number
  readonly protocol: number

  constructor(spec: RuleSpec, pref: number) {
    this.pref = pref
    this.fromLength = spec.fromLength ?? (spec.from === undefined ? 0 : 32)
    this.from = (spec.from ?? 0) & prefixMask(this.fromLength)
    this.toLength = spec.toLength ?? (spec.to === undefined ? 0 : 32)
    this.to = (spec.to ?? 0) & prefixMask(this.toLength)
    this.iif = spec.iif
    this.oif = spec.oif
    this.fwmask = spec.fwmask ?? (spec.fwmark === undefined ? 0 : -1)
    this.fwmark = spec.fwmark ?? 0
    this.tos = spec.tos ?? 0
    this.ipproto = spec.ipproto ?? 0
    this.sport = spec.sport
    this.dport = spec.dport
    this.not = spec.not ?? false
    this.action = spec.action ?? FR_ACT_TO_TBL
    this.table = spec.table ?? 0
    this.target = spec.target ?? 0
    this.suppressPrefixlength = spec.suppressPrefixlength ?? -1
    this.protocol = spec.protocol ?? 3
  }

  /** fib_rule_requires_fldissect: the selector reads transport ports or the protocol. */
  get needsPorts(): boolean {
    return this.ipproto !== 0 || this.sport !== undefined || this.dport !== undefined
  }

  /** fib_rule_match with fib4_rule_match. */
  matches(ns: Netns, fl: Flowi4): boolean {
    return this.selects(ns, fl) !== this.not
  }

  private selects(ns: Netns, fl: Flowi4): boolean {
    if (this.iif !== undefined && ns.devices.get(this.iif)?.id !== fl.iif) return false
    if (this.oif !== undefined && ns.devices.get(this.oif)?.id !== fl.oif) return false
    if (((this.fwmark ^ fl.mark) & this.fwmask) !== 0) return false
    if (((fl.saddr ^ this.from) & prefixMask(this.fromLength)) !== 0) return false
    if (((fl.daddr ^ this.to) & prefixMask(this.toLength)) !== 0) return false
    if (this.tos !== 0 && this.tos !== (fl.tos & 0x1c)) return false // fib_dscp_masked_match
    if (this.ipproto !== 0 && this.ipproto !== fl.proto) return false
    if (this.sport !== undefined && (fl.sport < this.sport[0] || fl.sport > this.sport[1])) return false
    return this.dport === undefined || (fl.dport >= this.dport[0] && fl.dport <= this.dport[1])
  }
}

/** True when `r` is a rule that a new or deleted one described by `spec` names (rule_find / rule_exists). */
export function sameRule(r: FibRule, spec: RuleSpec, exact: boolean): boolean {
  const o = new FibRule(spec, spec.pref ?? r.pref)
  if (spec.pref !== undefined && r.pref !== spec.pref) return false
  const open = !exact
  return (
    (open && spec.action === undefined ? true : r.action === o.action) &&
    (open && spec.table === undefined ? true : r.table === o.table) &&
    (open && spec.iif === undefined ? true : r.iif === o.iif) &&
    (open && spec.oif === undefined ? true : r.oif === o.oif) &&
    (open && spec.fwmark === undefined ? true : r.fwmark === o.fwmark) &&
    (open && spec.fwmask === undefined && spec.fwmark === undefined ? true : r.fwmask === o.fwmask) &&
    (open && spec.from === undefined ? true : r.from === o.from && r.fromLength === o.fromLength) &&
    (open && spec.to === undefined ? true : r.to === o.to && r.toLength === o.toLength) &&
    (open && spec.tos === undefined ? true : r.tos === o.tos) &&
    (open && spec.ipproto === undefined ? true : r.ipproto === o.ipproto) &&
    (open && spec.sport === undefined ? true : samePorts(r.sport, o.sport)) &&
    (open && spec.dport === undefined ? true : samePorts(r.dport, o.dport)) &&
    (open && spec.suppressPrefixlength === undefined ? true : r.suppressPrefixlength === o.suppressPrefixlength) &&
    (open && spec.not === undefined ? true : r.not === o.not)
  )
}

function samePorts(a: readonly [number, number] | undefined, b: readonly [number, number] | undefined): boolean {
  return a === b || (a !== undefined && b !== undefined && a[0] === b[0] && a[1] === b[1])
}
