/**
 * The Reach document: who can talk to whom.
 */
import type { Protocol } from '../kubernetes/types.ts'
import type { PolicyOptions } from '../policy/model.ts'
import type { API_VERSION } from './trace-types.ts'

/** How ends are named: one by one, or by the object that a user wrote. */
export type ReachBy = 'pod' | 'workload'

/** Whose answer it is: the policies' semantics, the programmed data plane's, or both compared. */
export type ReachEngine = 'policy' | 'packets' | 'both'

/** Ends that are connected on some ports of a protocol. */
export interface ReachConnection {
  /** `ns/pod`, `ns/Kind/name` of a workload, or `ip:first-last`. */
  readonly src: string
  readonly dst: string
  readonly protocol: Protocol
  /** `80,443,8000-8999`, or `all` for 1-65535. */
  readonly ports: string
  /** Set when it holds for some pods of the workloads only. */
  readonly partial?: true
}

/** One port asked of all pairs. */
export interface ReachProbe {
  readonly protocol: Protocol | 'ICMP'
  readonly port: number
  readonly allowed: readonly (readonly [string, string])[]
  readonly denied: readonly (readonly [string, string])[]
}

/** What is open to pods that no manifest has: one line per workload and direction. */
export interface ReachExposure {
  readonly workload: string
  readonly direction: 'ingress' | 'egress'
  /** Who the peer would have to be. */
  readonly peer: string
  readonly protocol: Protocol
  readonly ports: string
}

/** A pair on which the two engines differ. */
export interface ReachDifference {
  readonly src: string
  readonly dst: string
  readonly protocol: Protocol | 'ICMP'
  readonly port: number
  readonly policy: 'allowed' | 'denied'
  readonly packets: string
  /** `not-enforced`, `snat`, `hairpin`, `host-traffic`, `dnat`, `routing` or `unexplained`. */
  readonly cause: string
  readonly text: string
}

/** The document. */
export interface Reach {
  readonly apiVersion: typeof API_VERSION
  readonly kind: 'Reach'
  readonly by: ReachBy
  readonly engine: ReachEngine
  readonly options: PolicyOptions
  /** What is not listed is denied. Sorted. */
  readonly connections: readonly ReachConnection[]
  readonly probes?: readonly ReachProbe[]
  readonly exposure?: readonly ReachExposure[]
  readonly differences?: readonly ReachDifference[]
  /** How the CNI treats policies, when there are some. */
  readonly enforcement: { readonly cni: string; readonly enforces: boolean; readonly ignored: readonly string[] }
  readonly notes: readonly string[]
}
