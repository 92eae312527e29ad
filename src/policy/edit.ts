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
import type { ClassSet } from './class-set.ts'
import type { PolicyEngine } from './engine.ts'
import { ReachMatrix } from './matrix.ts'
import type { Direction, Policy } from './model.ts'
import { intersectPorts, NO_PORTS, type PortSet, samePorts } from './port-set.ts'

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
  const other = direction === 'ingress' ? 'egress' : 'ingress'
  const compare = (peers: ClassSet, was: PortSet, is: PortSet): void => {
    if (samePorts(was, is)) return
    sets.each(peers, (peer) => {
      const cells = before.cellsOf(other, peer)
      const newCells = after.cellsOf(other, peer)
      const theirs = before.portsIn(cells, subject)
      const theirsNow = cells === newCells ? theirs : after.portsIn(newCells, subject)
      if (theirs.length === 0 && theirsNow.length === 0) return
      const [src, dst] = direction === 'ingress' ? [peer, subject] : [subject, peer]
      const pair = { src, dst, before: intersectPorts(was, theirs), after: intersectPorts(is, theirsNow) }
      if (!samePorts(pair.before, pair.after)) pairs.set(src * sets.size + dst, pair)
    })
  }
  let fresh = sets.all()
  for (const b of now) fresh = sets.minus(fresh, b.peers)
  for (const a of old) {
    for (const b of now) compare(sets.and(a.peers, b.peers), a.ports, b.ports)
    compare(sets.and(a.peers, fresh), a.ports, NO_PORTS)
  }
  let closed = sets.all()
  for (const a of old) closed = sets.minus(closed, a.peers)
  for (const b of now) compare(sets.and(b.peers, closed), NO_PORTS, b.ports)
}
