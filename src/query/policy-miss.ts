/**
 * The rule of a policy that nearly let a packet through: asked of the rule that dropped it.
 *
 * The rule saw the packet as translations had left it, so they are replayed over what the sender sent.
 */
import type { PolicyOrigin } from '../cni/verb.ts'
import type { TraceStep } from '../engine/trace-log.ts'
import { IptRule } from '../linux/netfilter/iptables/types.ts'
import { T_NAT, T_NF_RULE } from '../linux/trace.ts'

/** Addresses as int32, ports 0 where there are none. */
export type PolicyAsked = Parameters<NonNullable<PolicyOrigin['nearest']>>[0]

/** The origin of a rule, when a policy is behind it. */
export function policyOrigin(origin: unknown): PolicyOrigin | null {
  return typeof origin === 'object' && origin !== null && 'at' in origin && 'rule' in origin
    ? (origin as PolicyOrigin)
    : null
}

/** A sentence, or null when no policy dropped the packet. */
export function policyMiss(steps: readonly TraceStep[], sent: PolicyAsked): string | null {
  let asked = sent
  let last: unknown = null
  for (const s of steps) {
    if (s.point === T_NAT) {
      asked = s.a === 0 ? { ...asked, src: s.b, sport: s.c } : { ...asked, dst: s.b, dport: s.c }
    } else if (s.point === T_NF_RULE && s.ref instanceof IptRule) last = s.ref.origin
  }
  return policyOrigin(last)?.nearest?.(asked) ?? null
}
