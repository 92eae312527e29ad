/**
 * A frame at one of ebtables' chains.
 *
 * Linux: net/bridge/netfilter/ebtables.c (ebt_do_table, ebt_basic_match) and the ebt_* modules. At every hook the data
 * stands behind the Ethernet header, which M_MAC points at. Counters count the bytes behind it.
 */
import {
  ETH_P_8021AD,
  ETH_P_8021Q,
  ETH_P_ARP,
  ETH_P_IP,
  M_DATA,
  M_LEN,
  M_MAC,
  M_MARK,
  M_PKTTYPE,
  M_PROTO,
  META_SHIFT,
  PACKET_BROADCAST,
  PACKET_HOST,
  PACKET_MULTICAST,
  PACKET_OTHERHOST,
  VLAN_TAG_8021AD,
  VLAN_TAG_PRESENT,
  VLAN_VID_MASK,
} from '../../../packet/layout.ts'
import { freeSkb } from '../../core/skb.ts'
import type { NetDevice } from '../../device/device.ts'
import { arpSend } from '../../neighbour/arp.ts'
import { R_EBTABLES_DROP } from '../../reasons.ts'
import { T_EBTABLES } from '../../trace.ts'
import type { World } from '../../world.ts'
import {
  EBT_ACCEPT,
  EBT_CONTINUE,
  EBT_DROP,
  EBT_RETURN,
  type EbChain,
  type EbMatch,
  type EbRule,
  type MacMatch,
  type MaskMatch,
  type NameMatch,
  type RangeMatch,
  TGT_ARPREPLY,
  TGT_DNAT,
  TGT_JUMP,
  TGT_MARK,
  TGT_REDIRECT,
  TGT_SNAT,
} from './types.ts'

const ARPOP_REQUEST = 1
const ARPOP_REPLY = 2
const MAX_DEPTH = 16

/**
 * One chain of a hook. `inDev` and `outDev` are the ports, or the bridge for its own side; `logIn` and `logOut` the
 * bridges.
 * @returns true when the frame goes on, false when it was dropped
 */
export function ebtDoTable(
  w: World,
  slot: number,
  chain: EbChain,
  inDev: NetDevice | null,
  outDev: NetDevice | null,
): boolean {
  if (chain.rules.length === 0 && chain.policy === EBT_ACCEPT) return true
  w.impure = true
  const verdict = runChain(w, slot, chain, inDev, outDev, 0)
  const end = verdict === EBT_CONTINUE || verdict === EBT_RETURN ? chain.policy : verdict
  if (end === EBT_ACCEPT) return true
  freeSkb(w, slot, R_EBTABLES_DROP, 0, chain)
  return false
}

/** @returns a verdict; EBT_RETURN at the end of a chain */
function runChain(
  w: World,
  slot: number,
  chain: EbChain,
  inDev: NetDevice | null,
  outDev: NetDevice | null,
  depth: number,
): number {
  for (let i = 0; i < chain.rules.length; i++) {
    const rule = chain.rules[i]!
    if (!matches(w, slot, rule.match, inDev, outDev)) continue
    rule.packets++
    rule.bytes += w.arena.meta[(slot << META_SHIFT) + M_LEN]!
    const verdict = rule.target === TGT_JUMP ? jump(w, slot, rule, inDev, outDev, depth) : act(w, slot, rule, inDev)
    if (w.tracer !== null) {
      const dev = inDev ?? outDev
      if (dev !== null) w.tracer.step(T_EBTABLES, slot, dev.ns, dev, i + 1, verdict, 0, chain)
    }
    if (verdict !== EBT_CONTINUE) return verdict
  }
  return EBT_RETURN
}

function jump(
  w: World,
  slot: number,
  rule: EbRule,
  inDev: NetDevice | null,
  outDev: NetDevice | null,
  depth: number,
): number {
  const chain = rule.chain!
  if (depth >= MAX_DEPTH) return EBT_DROP
  const verdict = runChain(w, slot, chain, inDev, outDev, depth + 1)
  if (verdict !== EBT_RETURN) return verdict
  return chain.policy === EBT_RETURN ? EBT_CONTINUE : chain.policy
}

/** skb_protocol as the payload of nftables sees it: the tag's type where one stands beside the frame. */
function etherType(w: World, slot: number): number {
  const tag = w.arena.vlan[slot]!
  if ((tag & VLAN_TAG_PRESENT) !== 0) return (tag & VLAN_TAG_8021AD) !== 0 ? ETH_P_8021AD : ETH_P_8021Q
  return w.arena.meta[(slot << META_SHIFT) + M_PROTO]!
}

/** ebt_basic_match and every extension that the rule has. */
function matches(w: World, slot: number, r: EbMatch, inDev: NetDevice | null, outDev: NetDevice | null): boolean {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const mac = meta[m + M_MAC]!
  if (r.proto !== undefined) {
    const type = etherType(w, slot)
    if ((r.proto.value === 0 ? type < 0x600 : type === r.proto.value) === r.proto.not) return false
  }
  if (r.dst !== undefined && !macFits(w, mac, r.dst)) return false
  if (r.src !== undefined && !macFits(w, mac + 6, r.src)) return false
  if (r.in !== undefined && !nameFits(inDev, r.in)) return false
  if (r.out !== undefined && !nameFits(outDev, r.out)) return false
  if (r.logicalIn !== undefined && !nameFits(bridgeOf(inDev), r.logicalIn)) return false
  if (r.logicalOut !== undefined && !nameFits(bridgeOf(outDev), r.logicalOut)) return false
  if (r.mark !== undefined && !maskFits(meta[m + M_MARK]!, r.mark)) return false
  if (hasIp(r) && !ipFits(w, slot, r)) return false
  if (hasArp(r) && !arpFits(w, slot, r)) return false
  return vlanFits(w, slot, r)
}

function hasIp(r: EbMatch): boolean {
  return (
    r.ipSrc !== undefined ||
    r.ipDst !== undefined ||
    r.ipTos !== undefined ||
    r.ipProto !== undefined ||
    r.ipSport !== undefined ||
    r.ipDport !== undefined ||
    r.ipIcmp !== undefined
  )
}

function hasArp(r: EbMatch): boolean {
  return (
    r.arpOp !== undefined ||
    r.arpHtype !== undefined ||
    r.arpPtype !== undefined ||
    r.arpIpSrc !== undefined ||
    r.arpIpDst !== undefined ||
    r.arpMacSrc !== undefined ||
    r.arpMacDst !== undefined
  )
}

function bridgeOf(dev: NetDevice | null): NetDevice | null {
  return dev === null ? null : dev.bridge !== null ? dev : (dev.port?.bridge.dev ?? null)
}

function nameFits(dev: NetDevice | null, n: NameMatch): boolean {
  const fits = dev !== null && (n.prefix ? dev.name.startsWith(n.name) : dev.name === n.name)
  return fits !== n.not
}

function macFits(w: World, at: number, x: MacMatch): boolean {
  const v = w.arena.view
  const fits = ((v.getUint16(at) ^ x.hi) & x.maskHi) === 0 && ((v.getInt32(at + 2) ^ x.lo) & x.maskLo) === 0
  return fits !== x.not
}

function maskFits(value: number, x: MaskMatch): boolean {
  return (((value ^ x.value) & x.mask) === 0) !== x.not
}

function rangeFits(value: number, x: RangeMatch): boolean {
  return (value >= x.from && value <= x.to) !== x.not
}

/** ebt_ip_mt */
function ipFits(w: World, slot: number, r: EbMatch): boolean {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const v = w.arena.view
  const iph = meta[m + M_DATA]!
  const len = meta[m + M_LEN]!
  if (meta[m + M_PROTO] !== ETH_P_IP || len < 20) return false
  if (r.ipTos !== undefined && !rangeFits(v.getUint8(iph + 1), r.ipTos)) return false
  if (r.ipSrc !== undefined && !maskFits(v.getInt32(iph + 12), r.ipSrc)) return false
  if (r.ipDst !== undefined && !maskFits(v.getInt32(iph + 16), r.ipDst)) return false
  if (r.ipProto === undefined) return true
  if (!rangeFits(v.getUint8(iph + 9), r.ipProto)) return false
  if (r.ipSport === undefined && r.ipDport === undefined && r.ipIcmp === undefined) return true
  if ((v.getUint16(iph + 6) & 0x1fff) !== 0) return false
  const th = iph + ((v.getUint8(iph) & 15) << 2)
  if (th + 4 > iph + len) return false
  if (r.ipDport !== undefined && !rangeFits(v.getUint16(th + 2), r.ipDport)) return false
  if (r.ipSport !== undefined && !rangeFits(v.getUint16(th), r.ipSport)) return false
  if (r.ipIcmp === undefined) return true
  const type = v.getUint8(th)
  const code = v.getUint8(th + 1)
  const fits = type >= r.ipIcmp.from && type <= r.ipIcmp.to && code >= r.ipIcmp.codeFrom && code <= r.ipIcmp.codeTo
  return fits !== r.ipIcmp.not
}

/** ebt_arp_mt */
function arpFits(w: World, slot: number, r: EbMatch): boolean {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const v = w.arena.view
  const arp = meta[m + M_DATA]!
  if (meta[m + M_PROTO] !== ETH_P_ARP || meta[m + M_LEN]! < 8) return false
  if (r.arpOp !== undefined && !rangeFits(v.getUint16(arp + 6), r.arpOp)) return false
  if (r.arpHtype !== undefined && !rangeFits(v.getUint16(arp), r.arpHtype)) return false
  if (r.arpPtype !== undefined && !rangeFits(v.getUint16(arp + 2), r.arpPtype)) return false
  const asks = r.arpIpSrc !== undefined || r.arpIpDst !== undefined
  const asksMac = r.arpMacSrc !== undefined || r.arpMacDst !== undefined
  if (!asks && !asksMac) return true
  if (meta[m + M_LEN]! < 28 || v.getUint8(arp + 4) !== 6) return false
  if (asks && (v.getUint8(arp + 5) !== 4 || v.getUint16(arp + 2) !== ETH_P_IP)) return false
  if (r.arpIpSrc !== undefined && !maskFits(v.getInt32(arp + 14), r.arpIpSrc)) return false
  if (r.arpIpDst !== undefined && !maskFits(v.getInt32(arp + 24), r.arpIpDst)) return false
  if (r.arpMacSrc !== undefined && !macFits(w, arp + 8, r.arpMacSrc)) return false
  return r.arpMacDst === undefined || macFits(w, arp + 18, r.arpMacDst)
}

/** ebt_vlan_mt */
function vlanFits(w: World, slot: number, r: EbMatch): boolean {
  if (r.vlanId === undefined && r.vlanEncap === undefined) return true
  const tag = w.arena.vlan[slot]!
  if ((tag & VLAN_TAG_PRESENT) === 0) return false
  if (r.vlanId !== undefined && !rangeFits(tag & VLAN_VID_MASK, r.vlanId)) return false
  return r.vlanEncap === undefined || rangeFits(w.arena.meta[(slot << META_SHIFT) + M_PROTO]!, r.vlanEncap)
}

/** The targets. @returns EBT_* */
function act(w: World, slot: number, rule: EbRule, inDev: NetDevice | null): number {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const v = w.arena.view
  const mac = meta[m + M_MAC]!
  switch (rule.target) {
    case TGT_MARK:
      meta[m + M_MARK] = markOf(meta[m + M_MARK]!, rule)
      return rule.verdict
    case TGT_DNAT:
      v.setUint16(mac, rule.macHi)
      v.setInt32(mac + 2, rule.macLo)
      // ebt_dnat_tg: at OUTPUT there is no device that the frame came by
      if (inDev !== null) meta[m + M_PKTTYPE] = typeFor(rule, bridgeOf(inDev) ?? inDev)
      return rule.verdict
    case TGT_SNAT:
      v.setUint16(mac + 6, rule.macHi)
      v.setInt32(mac + 8, rule.macLo)
      if (rule.snatArp && meta[m + M_PROTO] === ETH_P_ARP && meta[m + M_LEN]! >= 14) {
        const arp = meta[m + M_DATA]!
        if (v.getUint8(arp + 4) === 6) {
          v.setUint16(arp + 8, rule.macHi)
          v.setInt32(arp + 10, rule.macLo)
        }
      }
      return rule.verdict
    case TGT_REDIRECT: {
      const br = bridgeOf(inDev)
      if (br === null) return rule.verdict
      v.setUint16(mac, br.macHi)
      v.setInt32(mac + 2, br.macLo)
      meta[m + M_PKTTYPE] = PACKET_HOST
      return rule.verdict
    }
    case TGT_ARPREPLY:
      return arpReply(w, slot, rule, inDev)
    default:
      return rule.verdict
  }
}

function markOf(mark: number, rule: EbRule): number {
  if (rule.markOp === 'set') return rule.mark
  if (rule.markOp === 'or') return mark | rule.mark
  return rule.markOp === 'and' ? mark & rule.mark : mark ^ rule.mark
}

/** `skb->pkt_type` of a frame with a new destination. */
function typeFor(rule: EbRule, dev: NetDevice): number {
  if ((rule.macHi & 0x100) !== 0) {
    return rule.macHi === 0xffff && rule.macLo === -1 ? PACKET_BROADCAST : PACKET_MULTICAST
  }
  return rule.macHi === dev.macHi && rule.macLo === dev.macLo ? PACKET_HOST : PACKET_OTHERHOST
}

/** ebt_arpreply_tg: answers a request for any address with the rule's MAC. */
function arpReply(w: World, slot: number, rule: EbRule, inDev: NetDevice | null): number {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const v = w.arena.view
  const arp = meta[m + M_DATA]!
  if (inDev === null || meta[m + M_PROTO] !== ETH_P_ARP || meta[m + M_LEN]! < 28) return EBT_DROP
  const ethernetIp = v.getUint16(arp) === 1 && v.getUint16(arp + 2) === ETH_P_IP
  if (!ethernetIp || v.getUint8(arp + 4) !== 6 || v.getUint8(arp + 5) !== 4) return EBT_CONTINUE
  if (v.getUint16(arp + 6) !== ARPOP_REQUEST) return EBT_CONTINUE
  const hi = v.getUint16(arp + 8)
  const lo = v.getInt32(arp + 10)
  const [asked, asker] = [v.getInt32(arp + 24), v.getInt32(arp + 14)]
  arpSend(w, ARPOP_REPLY, inDev, asked, asker, hi, lo, hi, lo, rule.macHi, rule.macLo)
  return rule.verdict
}
