/**
 * Rules that ask nothing of the packet's bytes: what most of a Kubernetes node's filter rules are for an established flow.
 *
 * A rule without addresses, interfaces, protocol or fragment flag whose only match is the connection's state or the mark,
 * and whose target is a verdict, a jump, RETURN or none, is decided from two words of the packet's metadata. ipt_do_table
 * (eval.ts) walks such rules in a loop of its own and looks at the headers when it meets the first other rule. This is
 * only a shorter way to the answer of ipt_do_table: which rules count, and in which order, is the same.
 */
import { IP_CT_IS_REPLY, IP_CT_UNTRACKED } from '../conntrack/layout.ts'
import {
  MATCH_CONNTRACK,
  MATCH_MARK,
  TARGET_JUMP,
  TARGET_NONE,
  TARGET_POLICY,
  TARGET_RETURN,
  TARGET_VERDICT,
} from './kinds.ts'
import { CT_STATE_DNAT, CT_STATE_INVALID, CT_STATE_SNAT, CT_STATE_UNTRACKED, XT_CT_STATE } from './match-conntrack.ts'

/** The rule needs the whole walk. */
export const QUICK_NO = 0
/** Always matches. */
export const QUICK_ALWAYS = 1
/** Matches when the state bit (XT_CONNTRACK_STATE_BIT) is in `mask`; `!` is folded into the mask. */
export const QUICK_CTSTATE = 2
/** Matches when `(mark & mask) === value`, and the opposite. */
export const QUICK_MARK = 3
export const QUICK_MARK_NOT = 4

/** XT_CONNTRACK_STATE_BIT of a packet, or the bits for packets without an entry. */
export function ctStateBit(id: number, ctinfo: number): number {
  if (id !== 0) return 2 << (ctinfo >= IP_CT_IS_REPLY ? ctinfo - IP_CT_IS_REPLY : ctinfo)
  return ctinfo === IP_CT_UNTRACKED ? CT_STATE_UNTRACKED : CT_STATE_INVALID
}

/** What `quickRule` found out. */
export interface QuickRule {
  readonly kind: number
  readonly mask: number
  readonly value: number
}

const NO: QuickRule = { kind: QUICK_NO, mask: 0, value: 0 }
const ALWAYS: QuickRule = { kind: QUICK_ALWAYS, mask: 0, value: 0 }

/**
 * Judges a compiled rule.
 * @param any the rule's header asks nothing
 * @param match start of its matches in `words`; they end at `target`
 */
export function quickRule(words: readonly number[], any: boolean, match: number, target: number): QuickRule {
  const kind = words[target]
  const plainTarget =
    kind === TARGET_VERDICT ||
    kind === TARGET_JUMP ||
    kind === TARGET_RETURN ||
    kind === TARGET_NONE ||
    kind === TARGET_POLICY
  if (!any || !plainTarget) return NO
  if (match === target) return ALWAYS
  if (match + words[match + 1]! !== target) return NO
  const a = match + 2
  if (words[match] === MATCH_MARK) {
    return { kind: words[a + 2] === 1 ? QUICK_MARK_NOT : QUICK_MARK, mask: words[a + 1]!, value: words[a]! }
  }
  if (words[match] !== MATCH_CONNTRACK || words[a] !== XT_CT_STATE) return NO
  const wanted = words[a + 2]!
  // SNAT and DNAT are asked of the entry's status
  if ((wanted & (CT_STATE_SNAT | CT_STATE_DNAT)) !== 0) return NO
  return { kind: QUICK_CTSTATE, mask: words[a + 1] === 0 ? wanted : ~wanted, value: 0 }
}
