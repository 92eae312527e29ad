/**
 * The interface of a CNI driver.
 *
 * A driver reads the cluster as data and answers with verbs (verb.ts); the cluster builder applies them in order. It never
 * sees a packet, and the data path never knows a driver's name. Adding a driver is one folder and one registry line.
 */
import type { BgpPlan } from '../bgp/config.ts'
import type { Diagnostic } from '../diagnostics/diagnostic.ts'
import type { ClusterModel } from '../kubernetes/types.ts'
import type { CniVerb } from './verb.ts'

/** How far a feature is modelled, and in one sentence what that means. */
export interface CniFeature {
  readonly name: string
  readonly support: 'supported' | 'partial' | 'not'
  readonly sentence: string
}

/** What a driver makes of a cluster. */
export interface CniProgram {
  /** In the order in which the real plugin and its daemon would issue them; read once, so that they may be made one by one. */
  readonly verbs: Iterable<CniVerb>
  /** What the daemon puts right after kube-proxy wrote its rules: an agent that insists on its place in a chain. */
  readonly resync?: Iterable<CniVerb>
  readonly diagnostics: readonly Diagnostic[]
  /** Name of the host-side device of each pod (`ns/name`), for pictures and `get links`. */
  readonly hostDevices: ReadonlyMap<string, string>
  /** BGP speakers that the driver runs: the builder starts them and lets them converge. */
  readonly bgp?: BgpPlan | undefined
  /** Set when the settings ask for something that the driver does not model: the verdict is UNMODELLED with its name. */
  readonly unmodelled?: { readonly what: string; readonly modelled: readonly string[] } | undefined
}

/** A CNI driver. */
export interface CniDriver {
  readonly name: string
  readonly features: readonly CniFeature[]
  /** Whether the driver enforces NetworkPolicy at all; when not, every policy that is present is named in a warning. */
  readonly enforcesNetworkPolicy: boolean
  /** Default MTU of pods for an underlay MTU, in bytes. */
  podMtu(underlayMtuBytes: number): number
  program(model: ClusterModel): CniProgram
}
