/**
 * Which status bit says that a packet must be rewritten at a hook.
 *
 * Linux: the statusbit rule of nf_nat_packet and nf_nat_icmp_reply_translation (net/netfilter).
 */
import {
  IP_CT_DIR_REPLY,
  IPS_DST_NAT,
  IPS_NAT_MASK,
  IPS_SRC_NAT,
  NF_INET_LOCAL_IN,
  NF_INET_POST_ROUTING,
} from '../conntrack/layout.ts'
import { NF_NAT_MANIP_DST, NF_NAT_MANIP_SRC } from './range.ts'

/** IPS_SRC_NAT or IPS_DST_NAT for a manipulation of kind `mtype` in direction `dir`. */
export function natStatusBit(mtype: number, dir: number): number {
  const bit = mtype === NF_NAT_MANIP_SRC ? IPS_SRC_NAT : IPS_DST_NAT
  return dir === IP_CT_DIR_REPLY ? bit ^ IPS_NAT_MASK : bit
}

/** HOOK2MANIP */
export function hook2manip(hook: number): number {
  return hook === NF_INET_POST_ROUTING || hook === NF_INET_LOCAL_IN ? NF_NAT_MANIP_SRC : NF_NAT_MANIP_DST
}
