/**
 * Where BIRD, FRR and GoBGP differ although all follow the RFCs: timers, what an OPEN offers, what is answered to an error.
 *
 * Measured with BIRD 2.0.12, FRR 8.4.4 and GoBGP 3.10 (docs/bgp.md has the tables); connect and idle-hold times are from
 * their documentation and sources: proto/bgp/bgp.c (bgp_active, bgp_update_startup_delay), bgpd/bgp_fsm.c
 * (BGP_INIT_START_TIMER, bgp_stop), pkg/server/fsm.go (idle hold after reset, minConnectRetryInterval).
 */
import type { AttributeFault } from '../wire/bgp-types.ts'
import type { BgpImplementation } from './config.ts'

/** What to do with a fault of an attribute. */
export type FaultAction = 'withdraw' | 'discard' | 'reset'

/** A daemon's ways. Times in seconds. */
export interface Profile {
  readonly holdTime: number
  readonly connectRetryTime: number
  /** Before the first connect, and before the next after a lost attempt. */
  readonly connectDelayTime: number
  /** Timers run 75 to 100 % of their time. */
  readonly jitter: boolean
  /** Idle hold after an error: the first, and the longest of those that double. */
  readonly errorWaitTime: readonly [number, number]
  /** From Established to the first UPDATE, milliseconds. */
  readonly initialUpdateMs: number
  /** Between UPDATEs that changes cause, milliseconds. */
  readonly updateMs: number
  /** End-of-RIB: always, if the peer offers graceful restart, or only when it is configured. */
  readonly endOfRib: 'always' | 'peer-gr' | 'configured'
  /** Routes go back to the neighbour that they came from. */
  readonly sendsBack: boolean
  /** Collisions: RFC 4271 by router id, or whoever is further stays. */
  readonly collision: 'router-id' | 'first'
  readonly asPathExtended: boolean
  /** MED 0 of own networks, to everyone. */
  readonly networkMed: boolean
  /** A session whose peer agrees to none of the families stays up. */
  readonly toleratesNoFamily: boolean
  readonly tos: number
  readonly ttl: { readonly ibgp: number; readonly accepted: number }
  /** BoRR and EoRR around the answer to a refresh. */
  readonly enhancedRefresh: boolean
  /** Delays the answer to a refresh, milliseconds. */
  readonly refreshMs: number
  /** Name of the kernel's route protocol and priority of its routes. */
  readonly kernel: { readonly protocol: 'bird' | 'bgp'; readonly metric: number }
  fault(f: AttributeFault): FaultAction
}

const BIRD: Profile = {
  holdTime: 240,
  connectRetryTime: 120,
  connectDelayTime: 5,
  jitter: true,
  errorWaitTime: [60, 300],
  initialUpdateMs: 50,
  updateMs: 0,
  endOfRib: 'always',
  sendsBack: false,
  collision: 'router-id',
  asPathExtended: false,
  networkMed: false,
  toleratesNoFamily: false,
  tos: 0xc0,
  ttl: { ibgp: 64, accepted: 64 },
  enhancedRefresh: true,
  refreshMs: 0,
  kernel: { protocol: 'bird', metric: 32 },
  fault(f) {
    switch (f.kind) {
      // bgp_finish_attrs puts 100 in
      case 'missing-local-pref':
        return 'discard'
      case 'unknown-well-known':
        return 'withdraw'
      default:
        return f.action
    }
  },
}

const FRR: Profile = {
  holdTime: 180,
  connectRetryTime: 120,
  connectDelayTime: 1,
  jitter: false,
  errorWaitTime: [1, 60],
  initialUpdateMs: 1050,
  updateMs: 50,
  endOfRib: 'peer-gr',
  sendsBack: true,
  collision: 'router-id',
  asPathExtended: true,
  networkMed: true,
  toleratesNoFamily: false,
  tos: 0xc0,
  ttl: { ibgp: 255, accepted: 255 },
  enhancedRefresh: true,
  refreshMs: 500,
  kernel: { protocol: 'bgp', metric: 20 },
  fault(f) {
    return f.kind === 'invalid-origin' || f.kind === 'duplicate' ? 'reset' : f.action
  },
}

const GOBGP: Profile = {
  holdTime: 90,
  connectRetryTime: 120,
  connectDelayTime: 5,
  jitter: false,
  errorWaitTime: [30, 30],
  initialUpdateMs: 0,
  updateMs: 0,
  endOfRib: 'configured',
  sendsBack: false,
  collision: 'first',
  asPathExtended: false,
  networkMed: false,
  toleratesNoFamily: true,
  tos: 0,
  ttl: { ibgp: 64, accepted: 255 },
  enhancedRefresh: false,
  refreshMs: 0,
  kernel: { protocol: 'bgp', metric: 20 },
  fault(f) {
    return f.kind === 'missing-local-pref' ? 'discard' : f.action
  },
}

/** By name. */
export const PROFILES: { readonly [name in BgpImplementation]: Profile } = { bird: BIRD, frr: FRR, gobgp: GOBGP }
