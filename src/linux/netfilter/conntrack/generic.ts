/**
 * Tracking of GRE and of protocols without a tracker of their own.
 *
 * Linux: generic_packet (net/netfilter/nf_conntrack_core.c), nf_conntrack_gre_packet (nf_conntrack_proto_gre.c). GRE is
 * told apart by addresses only, as GRE version 0 is in Linux; PPTP's call ids (version 1) are not modelled.
 */
import type { World } from '../../world.ts'
import { C_STATUS, C_WORDS, IPS_ASSURED, IPS_SEEN_REPLY, NF_ACCEPT } from './layout.ts'
import { refreshConntrack } from './lifetime.ts'
import type { Conntrack } from './table.ts'

const GRE_UNREPLIED_NS = 30e9
const GRE_REPLIED_NS = 180e9

/** generic_packet */
export function genericPacket(w: World, ct: Conntrack, slot: number, id: number): number {
  refreshConntrack(w, ct, slot, id, ct.ns.sysctl.nf_conntrack_generic_timeout * 1e9)
  return NF_ACCEPT
}

/** nf_conntrack_gre_packet */
export function grePacket(w: World, ct: Conntrack, slot: number, id: number): number {
  const rows = ct.hash.rows
  const s = id * C_WORDS + C_STATUS
  if ((rows[s]! & IPS_SEEN_REPLY) !== 0) {
    refreshConntrack(w, ct, slot, id, GRE_REPLIED_NS)
    rows[s] = rows[s]! | IPS_ASSURED
  } else refreshConntrack(w, ct, slot, id, GRE_UNREPLIED_NS)
  return NF_ACCEPT
}
