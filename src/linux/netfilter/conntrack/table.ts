/**
 * The conntrack table: entries of all namespaces in typed arrays, found by either tuple.
 *
 * Linux: nf_conntrack_hash is one table for all namespaces too (the namespace is part of the key); entries are counted per
 * namespace. Here: rows of C_WORDS int32, ids from 1, a free list, and an open addressing table over (namespace, tuple)
 * with linear probing and backward-shift deletion, so that no tombstones pile up. A slot's home is its hash's top bits:
 * slots lie in the order of hashes, which early drop relies on. nat_bysource (nf_nat_core.c) is a chained hash beside it.
 *
 * Not modelled: the gc worker (entries past their time are removed when met and never shown), chain length limits.
 */
import type { Netns } from '../../netns.ts'
import {
  NF_INET_LOCAL_IN,
  NF_INET_LOCAL_OUT,
  NF_INET_POST_ROUTING,
  NF_INET_PRE_ROUTING,
  NFH_CONFIRM,
  NFH_CONNTRACK,
  NFH_DEFRAG,
} from '../hooks.ts'
import { ConntrackHash } from './hash.ts'
import {
  C_DST,
  C_LISTED,
  C_MARK,
  C_NET,
  C_PORTS,
  C_PROTO,
  C_SRC,
  C_STATUS,
  C_TCP_STATE,
  C_TUPLE_WORDS,
  C_WORDS,
  CT_V6,
  LISTED_ORIGINAL,
} from './layout.ts'

/** A namespace's view of the table: its count, and accessors by entry id (what M_CT holds). */
export class Conntrack {
  readonly ns: Netns
  /** Entries of all namespaces of this world. */
  readonly hash: ConntrackHash
  /** `cnet->count`: entries of this namespace, unconfirmed ones included. */
  count = 0
  /** nf_conntrack_stat, summed over CPUs: shown by `conntrack -S`. */
  readonly stat = { found: 0, invalid: 0, insert: 0, insertFailed: 0, drop: 0, earlyDrop: 0, error: 0, clashResolve: 0 }

  constructor(ns: Netns) {
    this.ns = ns
    ns.world.conntrack ??= new ConntrackHash()
    this.hash = ns.world.conntrack
  }

  /** IPS_* bits. */
  status(id: number): number {
    return this.hash.rows[id * C_WORDS + C_STATUS]!
  }

  /** `ct->mark` (CONNMARK). */
  mark(id: number): number {
    return this.hash.rows[id * C_WORDS + C_MARK]!
  }

  /** Writes `ct->mark`. */
  setMark(id: number, mark: number): void {
    this.hash.rows[id * C_WORDS + C_MARK] = mark
  }

  /** IP protocol. */
  proto(id: number): number {
    return this.hash.rows[id * C_WORDS + C_PROTO]! & 0xff
  }

  /** nf_ct_l3num: the addresses are ids of World.in6. */
  isIpv6(id: number): boolean {
    return (this.hash.rows[id * C_WORDS + C_PROTO]! & CT_V6) !== 0
  }

  /** Source address of the tuple of direction `dir` (0 original, 1 reply). */
  src(id: number, dir: number): number {
    return this.hash.rows[id * C_WORDS + dir * C_TUPLE_WORDS + C_SRC]!
  }

  /** Destination address of the tuple of direction `dir`. */
  dst(id: number, dir: number): number {
    return this.hash.rows[id * C_WORDS + dir * C_TUPLE_WORDS + C_DST]!
  }

  /** Source port (ICMP: id) of the tuple of direction `dir`. */
  sport(id: number, dir: number): number {
    return this.hash.rows[id * C_WORDS + dir * C_TUPLE_WORDS + C_PORTS]! >>> 16
  }

  /** Destination port (ICMP: type << 8 | code) of the tuple of direction `dir`. */
  dport(id: number, dir: number): number {
    return this.hash.rows[id * C_WORDS + dir * C_TUPLE_WORDS + C_PORTS]! & 0xffff
  }

  /** TCP_CONNTRACK_* of a TCP entry. */
  tcpState(id: number): number {
    return this.hash.rows[id * C_WORDS + C_TCP_STATE]!
  }

  /** nf_ct_expires: nanoseconds that the entry has left, 0 when it is over. */
  expiresNs(id: number): number {
    return Math.max(0, this.hash.timeout[id]! - this.ns.world.nowNs)
  }

  /** Ids of this namespace's listed entries whose time is not over, in order of id. */
  entries(): number[] {
    const { rows, timeout, top } = this.hash
    const out: number[] = []
    for (let id = 1; id < top; id++) {
      const e = id * C_WORDS
      if (rows[e + C_NET] !== this.ns.id || (rows[e + C_LISTED]! & LISTED_ORIGINAL) === 0) continue
      if (timeout[id]! > this.ns.world.nowNs) out.push(id)
    }
    return out
  }
}

/** nf_ct_netns_get: the namespace's conntrack, with defrag, conntrack and confirm on the hooks of the family. */
export function nfConntrackGet(ns: Netns, family: 4 | 6 = 4): Conntrack {
  const ct = ns.ct ?? new Conntrack(ns)
  ns.ct = ct
  const nf = family === 6 ? ns.nf6 : ns.nf
  if ((nf.kinds[NF_INET_LOCAL_IN]! & (1 << NFH_CONFIRM)) !== 0) return ct
  nf.register(NF_INET_PRE_ROUTING, NFH_DEFRAG)
  nf.register(NF_INET_LOCAL_OUT, NFH_DEFRAG)
  nf.register(NF_INET_PRE_ROUTING, NFH_CONNTRACK)
  nf.register(NF_INET_LOCAL_OUT, NFH_CONNTRACK)
  nf.register(NF_INET_POST_ROUTING, NFH_CONFIRM)
  nf.register(NF_INET_LOCAL_IN, NFH_CONFIRM)
  return ct
}
