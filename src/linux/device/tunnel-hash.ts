/**
 * The flow hash of a frame, from which a tunnel draws its UDP source port.
 *
 * Linux: skb_get_hash, __flow_hash_from_keys, __flow_hash_consistentify (net/core/flow_dissector.c), udp_flow_src_port
 * (include/net/udp.h). Both directions of a flow give the same hash. The kernel's hash is siphash with a key drawn at boot,
 * the same for all namespaces; here it is a 32-bit mix with a key of the world's seed: which port a flow gets differs, that
 * flows keep theirs and spread over the range does not. A packet that carries a hash already (M_HASH: the sending
 * socket's) keeps it.
 * Dissected: 802.1Q tags, IPv4 and IPv6 (fixed header, flow label), ports of TCP, UDP, SCTP and DCCP, IP in IP. Not
 * dissected, where Linux does: GRE, MPLS, PPPoE, IPv6 extension headers: such flows hash by what stands before.
 */
import {
  ETH_P_8021AD,
  ETH_P_8021Q,
  ETH_P_IP,
  ETH_P_IPV6,
  M_DATA,
  M_HASH,
  M_LEN,
  META_SHIFT,
} from '../../packet/layout.ts'
import type { World } from '../world.ts'

const IPPROTO_IPIP = 4
const IPPROTO_IPV6 = 41

function mix(h: number, word: number): number {
  h = Math.imul(h ^ word, 0x9e3779b1)
  return h ^ (h >>> 15)
}

/** proto_ports_offset: protocols whose first four bytes are ports. */
function hasPorts(proto: number): boolean {
  return proto === 6 || proto === 17 || proto === 132 || proto === 33 || proto === 136
}

/** skb_get_hash of the Ethernet frame at M_DATA: an unsigned number, never 0. */
export function skbGetHash(w: World, slot: number): number {
  const a = w.arena
  const m = slot << META_SHIFT
  const known = a.meta[m + M_HASH]!
  if (known !== 0) return known >>> 0
  const v = a.view
  const eth = a.meta[m + M_DATA]!
  const end = eth + a.meta[m + M_LEN]!
  let off = eth + 12
  let h = w.hashKey
  let proto = v.getUint16(off)
  off += 2
  while ((proto === ETH_P_8021Q || proto === ETH_P_8021AD) && off + 4 <= end) {
    h = mix(h, v.getUint16(off) & 0xefff)
    proto = v.getUint16(off + 2)
    off += 4
  }
  h = mix(h, proto)
  for (;;) {
    let ipProto: number
    let ports = true
    if (proto === ETH_P_IP && off + 20 <= end) {
      // __flow_hash_consistentify: the smaller address and port first
      const src = v.getUint32(off + 12)
      const dst = v.getUint32(off + 16)
      h = mix(mix(h, Math.min(src, dst)), Math.max(src, dst))
      ipProto = v.getUint8(off + 9)
      ports = (v.getUint16(off + 6) & 0x3fff) === 0
      off += (v.getUint8(off) & 15) << 2
    } else if (proto === ETH_P_IPV6 && off + 40 <= end) {
      let s = 0
      let d = 0
      for (let i = 0; i < 16; i += 4) {
        s = mix(s, v.getInt32(off + 8 + i))
        d = mix(d, v.getInt32(off + 24 + i))
      }
      h = mix(h, s ^ d)
      const label = v.getUint32(off) & 0xfffff
      ipProto = v.getUint8(off + 6)
      if (label !== 0) {
        h = mix(h, label)
        ports = false
      }
      off += 40
    } else break
    if (ports && ipProto === IPPROTO_IPIP) proto = ETH_P_IP
    else if (ports && ipProto === IPPROTO_IPV6) proto = ETH_P_IPV6
    else {
      h = mix(h, ipProto)
      if (ports && hasPorts(ipProto) && off + 4 <= end) {
        const sport = v.getUint16(off)
        const dport = v.getUint16(off + 2)
        h = mix(h, sport < dport ? (sport << 16) | dport : (dport << 16) | sport)
      }
      break
    }
  }
  h = Math.imul(h ^ (h >>> 13), 0x85ebca6b)
  h = (h ^ (h >>> 16)) >>> 0
  return h === 0 ? 1 : h
}

/** udp_flow_src_port: `min` to below `max`; an empty range stands for the host's ephemeral ports. */
export function udpFlowSrcPort(hash: number, min: number, max: number): number {
  const spread = (hash ^ (hash << 16)) >>> 0
  return Math.floor((spread * (max - min)) / 4294967296) + min
}
