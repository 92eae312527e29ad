/**
 * One edit of a cluster's policies, re-verified: what changes, without evaluating the rest again.
 *
 * The pods that the old or the new policy selects get new lists of policies; the others keep theirs, and the matrix keeps
 * the cells of their groups. Pairs whose answer changes are read from the cells that differ. An edit that brings a tier, or
 * a block that tells pods of one class apart, makes the index anew (`isRebuilt`).
 *
 *     const state = { engine, matrix: new ReachMatrix(engine) }
 *     const { engine, matrix, changed } = editPolicies(state, { remove: [old], add: [compiled] })
 */
import type { PolicyEngine } from './engine.ts'
import { ReachMatrix } from './matrix.ts'
import type { Direction, Policy } from './model.ts'
import { type PortSet, samePorts } from './port-set.ts'

/** An engine and its matrix of one family. */
export interface PolicyState {
  readonly engine: PolicyEngine
  readonly matrix: ReachMatrix
}

/** Compiled policies to take out and to put in. */
export interface PolicyChange {
  readonly remove: readonly Policy[]
  readonly add: readonly Policy[]
}

/** Two classes whose connection is another one now. */
export interface ChangedPair {
  readonly src: number
  readonly dst: number
  readonly before: PortSet
  readonly after: PortSet
}

/** The state after the edit, and what it did. */
export interface EditResult extends PolicyState {
  /** Sorted by source, then destination; class numbers of the new engine, the same as before unless rebuilt. */
  readonly changed: readonly ChangedPair[]
  /** The index was made anew: classes have other numbers and `changed` is empty. */
  readonly isRebuilt: boolean
}

/** Applies the edit. */
export function editPolicies(state: PolicyState, change: PolicyChange): EditResult {
  const { engine, matrix } = state
  const edited = engine.edit(change)
  if (edited === null) {
    const removed = new Set(change.remove)
    const rebuilt = engine.withPolicies([...engine.policies.filter((p) => !removed.has(p)), ...change.add])
    return { engine: rebuilt, matrix: new ReachMatrix(rebuilt, matrix.family), changed: [], isRebuilt: true }
  }
  const after = matrix.edited(edited.engine, edited.affected)
  const pairs = new Map<number, ChangedPair>()
  for (const direction of ['ingress', 'egress'] as const) {
    for (const subject of edited.affected[direction]) changedPairs(matrix, after, direction, subject, pairs)
  }
  const changed = [...pairs.values()].sort((a, b) => a.src - b.src || a.dst - b.dst)
  return { engine: edited.engine, matrix: after, changed, isRebuilt: false }
}

/** Pairs of one subject whose own side differs: only these can have another answer. */
function changedPairs(
  before: ReachMatrix,
  after: ReachMatrix,
  direction: Direction,
  subject: number,
  pairs: Map<number, ChangedPair>,
): void {
  const { sets } = before
  const old = before.cellsOf(direction, subject)
  const now = after.cellsOf(direction, subject)
  if (old === now) return
  let touched = sets.none()
  for (const cell of old) touched = sets.or(touched, cell.peers)
  for (const cell of now) touched = sets.or(touched, cell.peers)
  for (const a of old) {
    // the same ports in both: nothing changed for these peers
    for (const b of now) if (samePorts(a.ports, b.ports)) touched = sets.minus(touched, sets.and(a.peers, b.peers))
  }
  sets.each(touched, (peer) => {
    const [src, dst] = direction === 'ingress' ? [peer, subject] : [subject, peer]
    const key = src * sets.size + dst
    if (pairs.has(key)) return
    const was = before.ports(src, dst)
    const is = after.ports(src, dst)
    if (!samePorts(was, is)) pairs.set(key, { src, dst, before: was, after: is })
  })
}
