/**
 * NAT set up for a connection: nf_nat_setup_info and the null binding.
 *
 * Linux: nf_nat_setup_info, __nf_nat_alloc_null_binding (net/netfilter/nf_nat_core.c).
 */
import { M_DEV, META_SHIFT } from '../../../packet/layout.ts'
import type { Netns } from '../../netns.ts'
import { T_NAT_SETUP } from '../../trace.ts'
import type { World } from '../../world.ts'
import {
  C_REPLY_DST,
  C_REPLY_PORTS,
  C_REPLY_SRC,
  C_STATUS,
  C_WORDS,
  IPS_CONFIRMED,
  IPS_DST_NAT,
  IPS_DST_NAT_DONE,
  IPS_SRC_NAT,
  IPS_SRC_NAT_DONE,
  NF_ACCEPT,
  NF_DROP,
} from '../conntrack/layout.ts'
import { invertTuple, Tuple } from '../conntrack/tuple.ts'
import { NatRange, NF_NAT_MANIP_DST, NF_NAT_MANIP_SRC, NF_NAT_RANGE_MAP_IPS } from './range.ts'
import { getUniqueTuple } from './unique-tuple.ts'

const current = new Tuple()
const next = new Tuple()
const nullRange = new NatRange()

/** nf_nat_initialized */
export function natInitialized(status: number, manip: number): boolean {
  return (status & (manip === NF_NAT_MANIP_SRC ? IPS_SRC_NAT_DONE : IPS_DST_NAT_DONE)) !== 0
}

/**
 * nf_nat_setup_info: decides what the connection `id` of the packet is translated to within `range`, and remembers it in
 * the reply tuple. The packet itself is rewritten by nfNatInet afterwards.
 */
export function nfNatSetupInfo(w: World, ns: Netns, id: number, slot: number, range: NatRange, manip: number): number {
  const ct = ns.ct
  if (ct === null || id === 0) return NF_DROP
  const h = ct.hash
  const e = id * C_WORDS
  if ((h.rows[e + C_STATUS]! & IPS_CONFIRMED) !== 0) return NF_ACCEPT
  if (natInitialized(h.rows[e + C_STATUS]!, manip)) return NF_DROP
  current.load(h.rows, id, 1)
  invertTuple(current, current)
  getUniqueTuple(ct, next, current, range, id, manip)
  const rows = h.rows
  let status = rows[e + C_STATUS]!
  if (!next.equals(current)) {
    invertTuple(next, next)
    rows[e + C_REPLY_SRC] = next.src
    rows[e + C_REPLY_DST] = next.dst
    rows[e + C_REPLY_PORTS] = next.ports
    status |= manip === NF_NAT_MANIP_SRC ? IPS_SRC_NAT : IPS_DST_NAT
    if (w.tracer !== null) {
      const dev = w.devices[w.arena.meta[(slot << META_SHIFT) + M_DEV]!] ?? null
      w.tracer.step(T_NAT_SETUP, slot, ns, dev, id, manip, 0, null)
    }
  }
  if (manip === NF_NAT_MANIP_SRC) h.addBysource(id)
  rows[e + C_STATUS] = status | (manip === NF_NAT_MANIP_DST ? IPS_DST_NAT_DONE : IPS_SRC_NAT_DONE)
  return NF_ACCEPT
}

/** nf_nat_alloc_null_binding: no rule matched; addresses stay, a clashing source port may still be moved. */
export function natAllocNullBinding(w: World, ns: Netns, id: number, slot: number, manip: number): number {
  const rows = ns.ct!.hash.rows
  const ip = rows[id * C_WORDS + (manip === NF_NAT_MANIP_SRC ? C_REPLY_DST : C_REPLY_SRC)]!
  nullRange.flags = NF_NAT_RANGE_MAP_IPS
  nullRange.minIp = ip
  nullRange.maxIp = ip
  return nfNatSetupInfo(w, ns, id, slot, nullRange, manip)
}
