/**
 * The Diff document: what two sets of manifests change in who can talk to whom.
 */
import type { Protocol } from '../../kubernetes/types.ts'
import type { ReachBy } from '../reach-types.ts'
import type { API_VERSION } from '../trace-types.ts'

/** Ports that a pair of ends has more, or less. */
export interface DiffConnection {
  readonly src: string
  readonly dst: string
  readonly protocol: Protocol
  readonly ports: string
  /** Changed objects that bring it about by themselves; when none does, all that touch it together. */
  readonly because: readonly string[]
}

/** An object that is not the same on both sides. */
export interface DiffObject {
  readonly change: 'added' | 'removed' | 'changed'
  readonly object: string
  /** Where it stands: in the new set, or in the old one when it is gone. */
  readonly file: string
  readonly line: number
}

/** The document. */
export interface Diff {
  readonly apiVersion: typeof API_VERSION
  readonly kind: 'Diff'
  readonly by: ReachBy
  readonly old: string
  readonly new: string
  readonly added: readonly DiffConnection[]
  readonly removed: readonly DiffConnection[]
  /** Policies that differ. */
  readonly policies: readonly DiffObject[]
  /** Workloads or pods that only one side has. */
  readonly ends: { readonly added: readonly string[]; readonly removed: readonly string[] }
  readonly notes: readonly string[]
}
