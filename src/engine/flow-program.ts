/**
 * A recorded walk and its replay: what one packet of a flow did on its way, so that the next ones need not walk.
 *
 * A program holds (1) the key: the header words that the walk depended on; (2) what it relied on: generations of the
 * namespaces it crossed, the neighbours, bridge entries and conntrack entries it met; (3) what it did: header words at the
 * end, counters of devices, rules and MIBs, entries refreshed. Replay checks (2) against the world as it is, applies (3)
 * and hands the frame to the device where the walk ended; from there it is walked. Nothing is allocated.
 *
 * Not replayed, so always walked: what depends on chance, rates or other packets (`World.impure`), connections that are
 * not confirmed yet, TCP segments that are not plain data of an established connection, fragments, copies.
 */

import type { BridgePort } from '../linux/bridge/bridge.ts'
import type { Fdb, FdbEntry } from '../linux/bridge/fdb.ts'
import { ethTypeTrans, netifRx } from '../linux/core/dev.ts'
import type { NetDevice } from '../linux/device/device.ts'
import { skbScrubPacket } from '../linux/device/veth.ts'
import type { VxlanFdb, VxlanFdbEntry } from '../linux/device/vxlan-fdb.ts'
import { type Neighbour, NUD_CONNECTED } from '../linux/neighbour/neighbour.ts'
import { swappedSum } from '../linux/netfilter/conntrack/checksum.ts'
import { genericPacket } from '../linux/netfilter/conntrack/generic.ts'
import {
  C_DST,
  C_LISTED,
  C_MARK,
  C_MASQ_INDEX,
  C_NET,
  C_PORTS,
  C_PROTO,
  C_REPLY_DST,
  C_REPLY_PORTS,
  C_REPLY_SRC,
  C_SRC,
  C_STATUS,
  C_WORDS,
  ctinfo2dir,
  IPPROTO_TCP,
  IPPROTO_UDP,
  IPS_ASSURED,
  NF_INET_FORWARD,
} from '../linux/netfilter/conntrack/layout.ts'
import type { Conntrack } from '../linux/netfilter/conntrack/table.ts'
import { tcpPacket } from '../linux/netfilter/conntrack/tcp.ts'
import { tcpWouldPass } from '../linux/netfilter/conntrack/tcp-window.ts'
import { udpSeen } from '../linux/netfilter/conntrack/udp.ts'
import type { Netns } from '../linux/netns.ts'
import type { World } from '../linux/world.ts'
import { ETH_HLEN, M_CTINFO, M_DATA, M_FLAGS, M_HASH, M_LEN, META_SHIFT, SKB_CSUM_OK } from '../packet/layout.ts'
import { foldChecksum, ipFastCsum, pseudoSumV4 } from '../wire/checksum.ts'

/** Offsets in an Ethernet frame with an IPv4 header of 20 bytes. */
export const AT_IP = ETH_HLEN
export const AT_L4 = ETH_HLEN + 20

/** What `check` answers: the packet may be replayed; the program is void; this packet has to be walked. */
export const FITS = 0
export const VOID = 1
export const WALK = 2

/** Words of a conntrack entry that a program compares, in the order of `ctWords`. */
const CT_KEY = [
  C_SRC,
  C_DST,
  C_PORTS,
  C_REPLY_SRC,
  C_REPLY_DST,
  C_REPLY_PORTS,
  C_PROTO,
  C_NET,
  C_MARK,
  C_MASQ_INDEX,
  C_LISTED,
] as const
/** Words per conntrack entry in `ctWords`: CT_KEY, then the status without IPS_ASSURED. */
export const CT_KEY_WORDS = CT_KEY.length + 1
/** Word of the protocol. */
const CT_KEY_PROTO = 6

/** The words of entry `id` that decide about its packets. */
export function ctKeyWords(rows: Int32Array, id: number): number[] {
  const e = id * C_WORDS
  return [...CT_KEY.map((c) => rows[e + c]!), rows[e + C_STATUS]! & ~IPS_ASSURED]
}

/** A recorded walk. */
export class FlowProgram {
  // ---- key: the frame as its first device transmits it
  dev!: NetDevice
  eth0 = 0
  eth4 = 0
  eth8 = 0
  /** Ethertype, version, header length, TOS. */
  eth12 = 0
  /** Fragment field, TTL, protocol. */
  ip8 = 0
  src = 0
  dst = 0
  ports = 0
  tcpFlags = 0
  mark = 0
  hash = 0
  csumOk = 0
  /** Longest IP packet that is known to pass: no MTU on the way is smaller. */
  maxLength = 0

  // ---- what it relied on
  namespaces: Netns[] = []
  gens = new Int32Array(0)
  neighbours: Neighbour[] = []
  /** Upper and lower half of each neighbour's MAC. */
  neighbourMacs = new Int32Array(0)
  fdbs: Fdb[] = []
  fdbGens = new Int32Array(0)
  /** Entries whose `updatedNs` (source learnt) or `usedNs` (forwarded to) is written, and the port they must have. */
  learnt: FdbEntry[] = []
  learntPorts: (BridgePort | null)[] = []
  used: FdbEntry[] = []
  usedPorts: (BridgePort | null)[] = []
  /** The same of VXLAN devices. */
  vxlanFdbs: VxlanFdb[] = []
  vxlanGens = new Int32Array(0)
  vxlanLearnt: VxlanFdbEntry[] = []
  vxlanUsed: VxlanFdbEntry[] = []
  cts: Conntrack[] = []
  ctIds = new Int32Array(0)
  ctInfos = new Int32Array(0)
  ctWords = new Int32Array(0)
  /** Bytes that the packet was longer when conntrack saw it: an outer header. */
  ctExtra = new Int32Array(0)
  /** Conntrack looks at the transport checksum on the way. */
  checksum = false

  // ---- what it did; bytes are `n * length + constant`
  /** Per counted table: packets, bytes, first position in `ruleIndex`. */
  rulePackets: Float64Array[] = []
  ruleBytes: Float64Array[] = []
  ruleStart = new Int32Array(1)
  ruleIndex = new Int32Array(0)
  /** Bytes that the packet was longer when the rule saw it. */
  ruleExtra = new Int32Array(0)
  mibs: Float64Array[] = []
  mibIndex = new Int32Array(0)
  mibAdd = new Int32Array(0)
  mibTimesLength = new Int32Array(0)
  /** Devices that receive and send it, once per packet, and how many bytes longer it is for each. */
  receivers: NetDevice[] = []
  receiverExtra = new Int32Array(0)
  senders: NetDevice[] = []
  senderExtra = new Int32Array(0)
  frames = 0
  /** Namespaces that gave outer headers their IP ID, once per header. */
  idents: Netns[] = []
  outEth0 = 0
  outEth4 = 0
  outEth8 = 0
  outEth12 = 0
  outIp8 = 0
  outSrc = 0
  outDst = 0
  outPorts = 0
  /** What to add to the complemented checksums (RFC 1624), and whether the transport one was touched. */
  ipDelta = 0
  l4Delta = 0
  l4Touched = false
  outHash = 0
  outCsumOk = 0
  final!: NetDevice

  /** Shortest packet that could not be recorded, as it is longer than `maxLength`. */
  refusedFrom = 0x10000
  /** Packets replayed or walked again for an audit. */
  hits = 0
}

/** Whether what the program relied on is still so. */
function holds(w: World, p: FlowProgram): boolean {
  const namespaces = p.namespaces
  for (let i = 0; i < namespaces.length; i++) if (namespaces[i]!.gen !== p.gens[i]) return false
  const neighbours = p.neighbours
  for (let i = 0; i < neighbours.length; i++) {
    const n = neighbours[i]!
    if ((n.state & NUD_CONNECTED) === 0 || n.dead || !n.hh) return false
    if (n.macHi !== p.neighbourMacs[2 * i] || n.macLo !== p.neighbourMacs[2 * i + 1]) return false
  }
  const fdbs = p.fdbs
  for (let i = 0; i < fdbs.length; i++) if (fdbs[i]!.gen !== p.fdbGens[i]) return false
  for (let i = 0; i < p.vxlanFdbs.length; i++) if (p.vxlanFdbs[i]!.gen !== p.vxlanGens[i]) return false
  for (let i = 0; i < p.learnt.length; i++) if (p.learnt[i]!.port !== p.learntPorts[i]) return false
  for (let i = 0; i < p.used.length; i++) if (p.used[i]!.port !== p.usedPorts[i]) return false
  const ids = p.ctIds
  const words = p.ctWords
  for (let i = 0; i < ids.length; i++) {
    const table = p.cts[i]!.hash
    const rows = table.rows
    const id = ids[i]!
    const e = id * C_WORDS
    const k = i * CT_KEY_WORDS
    if (
      table.timeout[id]! <= w.nowNs ||
      rows[e + C_SRC] !== words[k] ||
      rows[e + C_DST] !== words[k + 1] ||
      rows[e + C_PORTS] !== words[k + 2] ||
      rows[e + C_REPLY_SRC] !== words[k + 3] ||
      rows[e + C_REPLY_DST] !== words[k + 4] ||
      rows[e + C_REPLY_PORTS] !== words[k + 5] ||
      rows[e + C_PROTO] !== words[k + 6] ||
      rows[e + C_NET] !== words[k + 7] ||
      rows[e + C_MARK] !== words[k + 8] ||
      rows[e + C_MASQ_INDEX] !== words[k + 9] ||
      rows[e + C_LISTED] !== words[k + 10] ||
      (rows[e + C_STATUS]! & ~IPS_ASSURED) !== words[k + 11]
    )
      return false
  }
  return true
}

/** Whether this packet of the flow is one that the program speaks of. */
function fits(w: World, p: FlowProgram, eth: number, length: number): boolean {
  const view = w.arena.view
  const ip = eth + AT_IP
  const l4 = eth + AT_L4
  if (ipFastCsum(view, ip, 20) !== 0) return false
  const proto = p.ip8 & 0xff
  if (proto === IPPROTO_UDP) {
    const udpLength = view.getUint16(l4 + 4)
    if (udpLength < 8 || udpLength > length - 20) return false
  }
  if (p.checksum && p.csumOk === 0 && !(proto === IPPROTO_UDP && view.getUint16(l4 + 6) === 0)) {
    const sum = pseudoSumV4(p.src, p.dst, proto, length - 20) + swappedSum(view, l4, length - 20)
    if (foldChecksum(sum) !== 0) return false
  }
  if (proto !== IPPROTO_TCP) return true
  const end = ip + length
  for (let i = 0; i < p.ctIds.length; i++) {
    if (p.ctWords[i * CT_KEY_WORDS + CT_KEY_PROTO] !== IPPROTO_TCP) continue
    const rows = p.cts[i]!.hash.rows
    if (!tcpWouldPass(rows, p.ctIds[i]! * C_WORDS, ctinfo2dir(p.ctInfos[i]!), view, l4, end)) return false
  }
  return true
}

/** csum_fold of the old checksum with `delta`; never 0xffff, as the kernel's own steps never make it. */
function adjust(check: number, delta: number): number {
  let sum = (~check & 0xffff) + delta
  sum = (sum & 0xffff) + (sum >>> 16)
  sum = (sum & 0xffff) + (sum >>> 16)
  return ~sum & 0xffff
}

/**
 * Whether the program holds and the packet in `slot` is one that it speaks of. M_DATA at the Ethernet header; the key has
 * been compared, the packet is not longer than `maxLength` and as long as its IP header says.
 */
export function check(w: World, p: FlowProgram, slot: number, length: number): number {
  if (!holds(w, p)) return VOID
  return fits(w, p, w.arena.meta[(slot << META_SHIFT) + M_DATA]!, length) ? FITS : WALK
}

/** Takes a packet that has been checked to where its walk ends. */
export function replay(w: World, p: FlowProgram, slot: number, length: number): void {
  const meta = w.arena.meta
  const view = w.arena.view
  const m = slot << META_SHIFT
  const eth = meta[m + M_DATA]!
  const l4 = eth + AT_L4
  const now = w.nowNs
  const ids = p.ctIds
  // conntrack sees the packet from its IP header on
  meta[m + M_DATA] = eth + AT_IP
  meta[m + M_LEN] = length
  for (let i = 0; i < ids.length; i++) {
    meta[m + M_CTINFO] = p.ctInfos[i]!
    meta[m + M_LEN] = length + p.ctExtra[i]!
    const proto = p.ctWords[i * CT_KEY_WORDS + CT_KEY_PROTO]
    if (proto === IPPROTO_UDP) udpSeen(w, p.cts[i]!, slot, ids[i]!)
    else if (proto === IPPROTO_TCP) tcpPacket(w, p.cts[i]!, NF_INET_FORWARD, slot, ids[i]!, p.ctInfos[i]!, l4)
    else genericPacket(w, p.cts[i]!, slot, ids[i]!)
  }
  meta[m + M_DATA] = eth
  meta[m + M_LEN] = length + AT_IP
  for (let i = 0; i < p.learnt.length; i++) p.learnt[i]!.updatedNs = now
  for (let i = 0; i < p.used.length; i++) p.used[i]!.usedNs = now
  for (let i = 0; i < p.vxlanLearnt.length; i++) p.vxlanLearnt[i]!.updatedNs = now
  for (let i = 0; i < p.vxlanUsed.length; i++) p.vxlanUsed[i]!.usedNs = now
  for (let i = 0; i < p.idents.length; i++) p.idents[i]!.frags.nextIdent()
  count(w, p, length)
  rewrite(view, p, eth, l4)
  skbScrubPacket(w, slot, true)
  if (p.outCsumOk === 0) meta[m + M_FLAGS] = meta[m + M_FLAGS]! & ~SKB_CSUM_OK
  meta[m + M_HASH] = p.outHash
  ethTypeTrans(w, slot, p.final)
  netifRx(w, slot)
  w.softirq()
}

function count(w: World, p: FlowProgram, length: number): void {
  const { ruleStart, ruleIndex, ruleExtra } = p
  for (let t = 0; t < p.rulePackets.length; t++) {
    const packets = p.rulePackets[t]!
    const bytes = p.ruleBytes[t]!
    for (let k = ruleStart[t]!; k < ruleStart[t + 1]!; k++) {
      const i = ruleIndex[k]!
      packets[i]! += 1
      bytes[i]! += length + ruleExtra[k]!
    }
  }
  for (let i = 0; i < p.mibs.length; i++) p.mibs[i]![p.mibIndex[i]!]! += p.mibAdd[i]! + p.mibTimesLength[i]! * length
  const { receivers, receiverExtra, senders, senderExtra } = p
  for (let i = 0; i < receivers.length; i++) {
    const d = receivers[i]!
    d.rxPackets++
    d.rxBytes += length + receiverExtra[i]!
  }
  for (let i = 0; i < senders.length; i++) {
    const d = senders[i]!
    d.txPackets++
    d.txBytes += length + senderExtra[i]!
  }
  w.frameCount += p.frames
}

function rewrite(view: DataView, p: FlowProgram, eth: number, l4: number): void {
  view.setInt32(eth, p.outEth0)
  view.setInt32(eth + 4, p.outEth4)
  view.setInt32(eth + 8, p.outEth8)
  view.setInt32(eth + 12, p.outEth12)
  view.setUint16(eth + 24, adjust(view.getUint16(eth + 24), p.ipDelta))
  view.setInt32(eth + 20, p.outIp8)
  view.setInt32(eth + 26, p.outSrc)
  view.setInt32(eth + 30, p.outDst)
  if (!p.l4Touched) return
  view.setInt32(l4, p.outPorts)
  if ((p.ip8 & 0xff) === IPPROTO_TCP) {
    view.setUint16(l4 + 16, adjust(view.getUint16(l4 + 16), p.l4Delta))
    return
  }
  const old = view.getUint16(l4 + 6)
  if (old === 0) return
  const check = adjust(old, p.l4Delta)
  view.setUint16(l4 + 6, check === 0 ? 0xffff : check)
}
