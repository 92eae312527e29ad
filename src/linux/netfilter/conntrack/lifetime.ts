/**
 * Finding, refreshing and ending conntrack entries.
 *
 * Linux: nf_conntrack_find_get, nf_ct_gc_expired, nf_ct_delete, nf_ct_put, __nf_ct_refresh_acct,
 * nf_conntrack_tuple_taken, early_drop (net/netfilter/nf_conntrack_core.c).
 */

import { M_CTINFO, M_LEN, META_SHIFT } from '../../../packet/layout.ts'
import type { World } from '../../world.ts'
import { hashTuple } from './hash.ts'
import {
  ACCT_WORDS,
  C_ACCT,
  C_LISTED,
  C_NET,
  C_REPLY_DST,
  C_REPLY_PORTS,
  C_REPLY_SRC,
  C_STATUS,
  C_USE,
  C_WORDS,
  ctinfo2dir,
  IPS_ASSURED,
  IPS_CONFIRMED,
  IPS_DYING,
  IPS_FIXED_TIMEOUT,
  LISTED_ORIGINAL,
  LISTED_REPLY,
} from './layout.ts'
import type { Conntrack } from './table.ts'
import { Tuple } from './tuple.ts'

/** NF_CT_EVICTION_RANGE: buckets that early drop looks through. */
const NF_CT_EVICTION_RANGE = 8

/**
 * nf_conntrack_find_get without the reference: `id << 1 | direction` of the entry that has the tuple, 0 when none. An
 * entry past its time is removed on the way.
 */
export function nfConntrackFind(ct: Conntrack, t: Tuple): number {
  return findTuple(ct, hashTuple(ct.ns.id, t.src, t.dst, t.ports, t.proto), t.src, t.dst, t.ports, t.proto)
}

/** nfConntrackFind by the words of the tuple and their hash. */
export function findTuple(ct: Conntrack, hash: number, src: number, dst: number, ports: number, proto: number): number {
  const h = ct.hash
  const ref = h.find(hash, ct.ns.id, src, dst, ports, proto)
  if (ref === 0) return 0
  const id = ref >>> 1
  if (h.timeout[id]! <= ct.ns.world.nowNs) {
    killConntrack(ct, id)
    return 0
  }
  if (src === dst && (ref & 1) === 0) {
    // a tuple that is its own inverse: the reply was put at the head of the chain last and is found first
    const e = id * C_WORDS
    const rows = h.rows
    if (rows[e + C_REPLY_SRC] === src && rows[e + C_REPLY_DST] === dst && rows[e + C_REPLY_PORTS] === ports)
      return ref | 1
  }
  return ref
}

/** nf_ct_delete / nf_ct_kill: takes a listed entry out of the table; its row lives on while packets hold it. */
export function killConntrack(ct: Conntrack, id: number): boolean {
  const rows = ct.hash.rows
  const e = id * C_WORDS
  if ((rows[e + C_STATUS]! & IPS_DYING) !== 0) return false
  rows[e + C_STATUS] = rows[e + C_STATUS]! | IPS_DYING
  if ((rows[e + C_LISTED]! & (LISTED_ORIGINAL | LISTED_REPLY)) === 0) return false
  ct.hash.remove(id, 0)
  ct.hash.remove(id, 1)
  putConntrack(ct, id)
  return true
}

/** nf_ct_put: one holder less; the last one frees the row. */
export function putConntrack(ct: Conntrack, id: number): void {
  const h = ct.hash
  const u = id * C_WORDS + C_USE
  const use = h.rows[u]! - 1
  h.rows[u] = use
  if (use <= 0) freeConntrack(ct, id, use)
}

/** nf_ct_destroy */
function freeConntrack(ct: Conntrack, id: number, use: number): void {
  if (use < 0) throw new Error(`conntrack entry ${id} put once too often`)
  const h = ct.hash
  h.removeBysource(id)
  h.free(id)
  ct.count--
}

/** nf_ct_acct_update: counts the packet for its entry, when that counts. */
export function acctPacket(w: World, ct: Conntrack, slot: number, id: number): void {
  const acct = ct.hash.acct
  if (acct === null || ct.hash.rows[id * C_WORDS + C_ACCT] === 0) return
  const m = slot << META_SHIFT
  const at = id * ACCT_WORDS + 2 * ctinfo2dir(w.arena.meta[m + M_CTINFO]!)
  acct[at]! += 1
  acct[at + 1]! += w.arena.meta[m + M_LEN]!
}

/** nf_ct_refresh_acct: `extraNs` from now (from confirmation, while the entry is not listed); the packet is counted. */
export function refreshConntrack(w: World, ct: Conntrack, slot: number, id: number, extraNs: number): void {
  const h = ct.hash
  if (h.acct !== null) acctPacket(w, ct, slot, id)
  const status = h.rows[id * C_WORDS + C_STATUS]!
  if ((status & IPS_FIXED_TIMEOUT) !== 0) return
  h.timeout[id] = (status & IPS_CONFIRMED) !== 0 ? extraNs + ct.ns.world.nowNs : extraNs
}

const ownOrig = new Tuple()
const otherOrig = new Tuple()

/** nf_conntrack_tuple_taken: another entry has this tuple (an entry of the very same flow does not count). */
export function tupleTaken(ct: Conntrack, t: Tuple, ignoredId: number): boolean {
  const ref = nfConntrackFind(ct, t)
  if (ref === 0 || ref >>> 1 === ignoredId) return false
  const rows = ct.hash.rows
  ownOrig.load(rows, ignoredId, 0)
  otherOrig.load(rows, ref >>> 1, 0)
  return !ownOrig.equals(otherOrig)
}

const bucketRefs = new Int32Array(64)

/** early_drop: makes room by ending entries that are not ASSURED, near the bucket of the newcomer's hash. */
export function earlyDrop(ct: Conntrack, hash: number): boolean {
  const size = Math.max(1, ct.ns.sysctl.nf_conntrack_buckets)
  const now = ct.ns.world.nowNs
  let bucket = Math.floor(((hash >>> 0) * size) / 4294967296)
  for (let i = 0; i < NF_CT_EVICTION_RANGE; i++) {
    const first = Math.ceil((bucket * 4294967296) / size)
    const last = Math.ceil(((bucket + 1) * 4294967296) / size) - 1
    const n = ct.hash.collectRange(first, last, bucketRefs)
    let drops = 0
    for (let k = 0; k < n; k++) {
      const id = bucketRefs[k]! >>> 1
      const e = id * C_WORDS
      const rows = ct.hash.rows
      const status = rows[e + C_STATUS]!
      if ((rows[e + C_LISTED]! & LISTED_REPLY) === 0) continue
      if (ct.hash.timeout[id]! <= now) {
        const owner = ct.ns.world.namespaces[rows[e + C_NET]!]?.ct
        if (owner != null) killConntrack(owner, id)
        continue
      }
      if ((status & IPS_ASSURED) !== 0 || rows[e + C_NET] !== ct.ns.id || (status & IPS_DYING) !== 0) continue
      if (killConntrack(ct, id)) drops++
    }
    if (drops > 0) {
      ct.stat.earlyDrop += drops
      return true
    }
    bucket = (bucket + 1) % size
  }
  return false
}

/** Ends every listed entry of the namespace that `pick` names; returns how many (nf_ct_iterate_cleanup_net). */
export function iterateCleanup(ct: Conntrack, pick: (id: number) => boolean): number {
  const h = ct.hash
  let n = 0
  for (let id = 1; id < h.top; id++) {
    const e = id * C_WORDS
    if (h.rows[e + C_NET] !== ct.ns.id || (h.rows[e + C_LISTED]! & LISTED_REPLY) === 0) continue
    if (pick(id) && killConntrack(ct, id)) n++
  }
  return n
}
