/**
 * What differs between Calico's versions, as far as packets and texts show it.
 *
 * Source: the tagged source of v3.26 to v3.32 and the development branch after it (v3.33), as the features of each name.
 */

/** The oldest and the newest version that is known, as minor numbers of v3. */
export const CALICO_OLDEST = 26
export const CALICO_NEWEST = 33
/** The version that is assumed when nothing says one. */
export const CALICO_DEFAULT = 31

/** Mark bits of Felix within its mask 0xffff0000. */
export interface FelixMarks {
  readonly accept: number
  readonly pass: number
  /** 0 before v3.30: a deny rule drops directly. */
  readonly drop: number
  readonly scratch0: number
  readonly scratch1: number
  readonly endpointMask: number
  readonly nonCaliEndpoint: number
}

/** Marks of a version. */
export function felixMarks(minor: number): FelixMarks {
  const isOld = minor < 30
  return {
    accept: 0x10000,
    pass: 0x20000,
    drop: isOld ? 0 : 0x40000,
    scratch0: isOld ? 0x40000 : 0x80000,
    scratch1: isOld ? 0x80000 : 0x100000,
    endpointMask: isOld ? 0xfff00000 : 0xffe00000,
    nonCaliEndpoint: isOld ? 0x100000 : 0x200000,
  }
}

/** What a version does. */
export interface CalicoVersion {
  /** 31 for v3.31 */
  readonly minor: number
  readonly text: string
  readonly marks: FelixMarks
  /** Policies with one selector share a chain cali-gi-/cali-go-. */
  readonly hasPolicyGroups: boolean
  /** RETURN rules at the end of a policy's chain are left out. */
  readonly stripsReturns: boolean
  /** A deny rule marks, then drops what is marked. */
  readonly marksDrops: boolean
  /** The jump in nat POSTROUTING is appended instead of inserted. */
  readonly appendsPostrouting: boolean
  /** Pools that natOutgoing leaves alone are in this set. */
  readonly allPoolsSet: string
  /** Felix gives pod routes this metric; 0: none. */
  readonly podRouteMetric: number
  /** Felix programs IPIP routes, BIRD does not. */
  readonly felixProgramsIpip: boolean
  /** Policy chains are named by kind: knp/ns/name. */
  readonly namesByKind: boolean
}

/** The version of `text` (`v3.30.2`, `3.30`, `master`); null when it is not one. */
export function calicoVersion(text: string): CalicoVersion | null {
  const m = /^v?3\.(\d+)/.exec(text)
  const minor = /^(master|latest)$/.test(text) ? CALICO_NEWEST : m === null ? null : Number(m[1])
  if (minor === null) return null
  const known = Math.min(Math.max(minor, CALICO_OLDEST), CALICO_NEWEST)
  return {
    minor,
    text: `v3.${minor}`,
    marks: felixMarks(known),
    hasPolicyGroups: known >= 28,
    stripsReturns: known >= 28,
    marksDrops: known >= 30,
    appendsPostrouting: known >= 28,
    allPoolsSet: known >= 31 ? 'network-ip-pools' : 'all-ipam-pools',
    podRouteMetric: known >= 32 ? 1024 : 0,
    felixProgramsIpip: known >= 33,
    namesByKind: known >= 32,
  }
}
