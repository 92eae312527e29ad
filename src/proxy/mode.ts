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
  /**
   * kube-proxy has just started on a node that `previous` programmed: a full sync which keeps what is there as far as
   * kube-proxy does.
   */
  readonly restart?: boolean
  /** When the sync runs, in seconds of any clock. Default: long enough after the sync before. */
  readonly atSeconds?: number
  /** IPVS: connections (active and inactive) that the kernel counts at a real server now. Default: none. */
  readonly connections?: (server: string, destination: string) => number
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
  /** What the mode does once a minute between syncs, when it does something. */
  tick?(previous: NodeProgram<State>, options?: SyncOptions): NodeProgram<State>
}

/** A feature that is modelled. */
export function supported(name: string, sentence: string): ProxyFeature {
  return { name, support: 'supported', sentence }
}

/** A feature that is modelled in part. */
export function partial(name: string, sentence: string): ProxyFeature {
  return { name, support: 'partial', sentence }
}

/** A feature that is not modelled. */
export function unsupported(name: string, sentence: string): ProxyFeature {
  return { name, support: 'not', sentence }
}
