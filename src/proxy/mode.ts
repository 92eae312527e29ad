/**
 * The interface of a kube-proxy mode.
 *
 * A mode only turns objects into the commands kube-proxy issues on a node; it never sees a packet. What it models is
 * declared in its feature list, from which docs and UNMODELLED verdicts are made.
 */
import type { NodeProgram, ProxyInput } from './types.ts'

/** How far a feature is modelled, and in one sentence what that means. */
export interface ProxyFeature {
  readonly name: string
  readonly support: 'supported' | 'partial' | 'not'
  readonly sentence: string
}

/** How one sync runs. */
export interface SyncOptions {
  /** Forces a full resync, as kube-proxy does after a failed restore or when its canary chain has vanished. */
  readonly full?: boolean
  /** In large cluster mode: the last stale-chain clean-up is less than a syncPeriod ago, so this one is left out. */
  readonly skipCleanup?: boolean
}

/** One mode of kube-proxy (`--proxy-mode`). */
export interface ProxyMode<State = unknown> {
  readonly name: string
  readonly features: readonly ProxyFeature[]
  /**
   * The commands of one sync. Without `previous` the node is bare (kube-proxy has just started); with the program of
   * the sync before, only what changed is written, as kube-proxy's partial sync does.
   */
  program(input: ProxyInput, previous?: NodeProgram<State>, options?: SyncOptions): NodeProgram<State>
}
