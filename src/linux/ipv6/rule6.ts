/**
 * IPv6 policy rules: struct fib6_rule.
 *
 * Linux: net/ipv6/fib6_rules.c (fib6_rule_match). Everything but the two prefixes is IPv4's rule (route/rule.ts).
 */
import type { Netns } from '../netns.ts'
import { Flowi4 } from '../route/flow.ts'
import { FibRule, type RuleSpec } from '../route/rule.ts'
import type { Flowi6 } from './flow6.ts'

/** A rule as `ip -6 rule` gives it; prefixes are In6Table ids. */
export interface Rule6Spec extends Omit<RuleSpec, 'from' | 'to'> {
  readonly from?: number | undefined
  readonly to?: number | undefined
}

const flow4 = new Flowi4()

/** A rule in force. */
export class Fib6Rule {
  readonly from: number
  readonly fromLength: number
  readonly to: number
  readonly toLength: number
  /** All other selectors and the action, without `not`. */
  readonly base: FibRule
  readonly not: boolean

  constructor(ns: Netns, spec: Rule6Spec, pref: number) {
    const in6 = ns.world.in6
    this.fromLength = spec.fromLength ?? (spec.from === undefined ? 0 : 128)
    this.from = in6.prefix(spec.from ?? 0, this.fromLength)
    this.toLength = spec.toLength ?? (spec.to === undefined ? 0 : 128)
    this.to = in6.prefix(spec.to ?? 0, this.toLength)
    this.not = spec.not ?? false
    this.base = new FibRule({ ...spec, from: undefined, fromLength: 0, to: undefined, toLength: 0, not: false }, pref)
  }

  get pref(): number {
    return this.base.pref
  }

  /** fib_rule_match with fib6_rule_match. */
  matches(ns: Netns, fl: Flowi6): boolean {
    return this.selects(ns, fl) !== this.not
  }

  private selects(ns: Netns, fl: Flowi6): boolean {
    const in6 = ns.world.in6
    if (this.toLength !== 0 && !in6.prefixEqual(fl.daddr, this.to, this.toLength)) return false
    // a source that is not known yet fits no prefix
    if (this.fromLength !== 0 && (fl.saddr === 0 || !in6.prefixEqual(fl.saddr, this.from, this.fromLength)))
      return false
    const f = flow4.reset()
    f.iif = fl.iif
    f.oif = fl.oif
    f.mark = fl.mark
    f.tos = fl.tclass
    f.proto = fl.proto
    f.sport = fl.sport
    f.dport = fl.dport
    return this.base.matches(ns, f)
  }
}
