/**
 * Connection tracking: which connection a packet belongs to, and the life of an entry.
 *
 * Linux: net/netfilter/nf_conntrack_core.c (nf_conntrack_in, resolve_normal_ct, init_conntrack, __nf_conntrack_confirm,
 * nf_ct_resolve_clash, early_drop, nf_conntrack_attach), nf_conntrack_proto.c (ipv4_conntrack_local, nf_confirm),
 * net/ipv4/netfilter/nf_defrag_ipv4.c. An entry past its time is removed when a lookup meets it and is never shown, so
 * expiry is exact without a timer per entry.
 *
 * Not modelled: zones, expectations and helpers, events, labels, templates other than NOTRACK; the protocols
 * in `unmodelledProto` give the verdict UNMODELLED.
 */
import {
  M_CT,
  M_CTINFO,
  M_DATA,
  M_DEV,
  M_FLAGS,
  M_LEN,
  M_NFB_STATE,
  META_SHIFT,
  NFB_IN_PREROUTING,
  SKB_IGNORE_DF,
} from '../../../packet/layout.ts'
import {
  IP_DEFRAG_CONNTRACK_BRIDGE_IN,
  IP_DEFRAG_CONNTRACK_IN,
  IP_DEFRAG_CONNTRACK_OUT,
  ipDefrag,
} from '../../ip/fragment-queue.ts'
import type { Netns } from '../../netns.ts'
import { R_CT_CLASH, R_CT_FULL, R_UNMODELLED } from '../../reasons.ts'
import { T_CT, T_CT_CONFIRM } from '../../trace.ts'
import type { World } from '../../world.ts'
import { genericPacket, grePacket } from './generic.ts'
import { hashTuple } from './hash.ts'
import { icmpPacket, icmpv4Error } from './icmp.ts'
import { icmpv6Packet } from './icmpv6.ts'
import { CTI_HEADER, CTI_ICMP_NO_INVERSE, CTI_SHORT, CTI_UNTRACKED, traceInvalid } from './invalid.ts'
import {
  ACCT_WORDS,
  C_ACCT,
  C_DST,
  C_HASH,
  C_NET,
  C_PORTS,
  C_PROTO,
  C_REPLY_DST,
  C_REPLY_PORTS,
  C_REPLY_SRC,
  C_SRC,
  C_STATUS,
  C_USE,
  C_WORDS,
  CT_ICMPV6,
  CT_V6,
  ctinfo2dir,
  IP_CT_DIR_ORIGINAL,
  IP_CT_ESTABLISHED,
  IP_CT_ESTABLISHED_REPLY,
  IP_CT_NEW,
  IP_CT_RELATED,
  IP_CT_RELATED_REPLY,
  IP_CT_UNTRACKED,
  IPPROTO_DCCP,
  IPPROTO_GRE,
  IPPROTO_ICMP,
  IPPROTO_SCTP,
  IPPROTO_TCP,
  IPPROTO_UDP,
  IPPROTO_UDPLITE,
  IPS_CONFIRMED,
  IPS_DYING,
  IPS_EXPECTED,
  IPS_FIXED_TIMEOUT,
  IPS_NAT_CLASH,
  IPS_SEEN_REPLY,
  NF_ACCEPT,
  NF_DROP,
  NF_INET_LOCAL_OUT,
  NF_INET_PRE_ROUTING,
  NF_REPEAT,
  NF_STOLEN,
} from './layout.ts'
import { earlyDrop, findTuple, nfConntrackFind, putConntrack } from './lifetime.ts'
import type { Conntrack } from './table.ts'
import { tcpPacket } from './tcp.ts'
import { getL4Offset, invertTuple, Tuple, tupleKeyBytes } from './tuple.ts'
import { udpPacket } from './udp.ts'

export {
  IP_CT_ESTABLISHED,
  IP_CT_ESTABLISHED_REPLY,
  IP_CT_IS_REPLY,
  IP_CT_NEW,
  IP_CT_RELATED,
  IP_CT_RELATED_REPLY,
  IP_CT_UNTRACKED,
} from './layout.ts'

const CLASH_TIMEOUT_NS = 1e9

const tuple = new Tuple()
const repl = new Tuple()

/** Protocols that Linux tracks with a state machine that is not modelled here. */
export function unmodelledProto(proto: number): boolean {
  return proto === IPPROTO_SCTP || proto === IPPROTO_DCCP || proto === IPPROTO_UDPLITE
}

/**
 * nf_conntrack_in (NFH_CONNTRACK): finds or makes the packet's entry and sets M_CT and M_CTINFO.
 * @returns NF_ACCEPT also for packets that are INVALID (M_CT stays 0); NF_DROP when the table is full
 */
export function nfConntrackIn(w: World, ns: Netns, hook: number, slot: number): number {
  const ct = ns.ct
  if (ct === null) return NF_ACCEPT
  const { meta, view } = w.arena
  const m = slot << META_SHIFT
  if (meta[m + M_CT] !== 0) return NF_ACCEPT
  if (meta[m + M_CTINFO] === IP_CT_UNTRACKED) {
    traceInvalid(w, ns, slot, IP_CT_UNTRACKED, CTI_UNTRACKED)
    return NF_ACCEPT
  }
  const nh = meta[m + M_DATA]!
  const end = nh + meta[m + M_LEN]!
  // ipv4_conntrack_local: IP_NODEFRAG or raw sockets may send fragments
  if (hook === NF_INET_LOCAL_OUT && (view.getUint16(nh + 6) & 0x3fff) !== 0) return NF_ACCEPT
  const hl = getL4Offset(view, nh, end)
  if (hl <= 0) {
    ct.stat.invalid++
    traceInvalid(w, ns, slot, 0, CTI_HEADER)
    return NF_ACCEPT
  }
  const proto = view.getUint8(nh + 9)
  if (proto > IPPROTO_UDP && unmodelledProto(proto)) {
    w.dropReason = R_UNMODELLED
    w.dropWhat = `conntrack of protocol ${proto}`
    return NF_DROP
  }
  const l4 = nh + hl
  if (proto === IPPROTO_ICMP) {
    const ret = icmpv4Error(w, ct, hook, slot, l4)
    if (ret <= 0) {
      ct.stat.error++
      return -ret
    }
    if (meta[m + M_CT] !== 0) {
      traceLookup(w, ns, slot, 0)
      return NF_ACCEPT
    }
  }
  // nf_ct_get_tuple
  const key = tupleKeyBytes(proto)
  if (l4 + key > end) {
    traceInvalid(w, ns, slot, 0, CTI_SHORT)
    ct.stat.invalid++
    return NF_ACCEPT
  }
  const src = view.getInt32(nh + 12)
  const dst = view.getInt32(nh + 16)
  const ports = key === 4 ? view.getInt32(l4) : key === 0 ? 0 : (view.getUint16(l4 + 4) << 16) | view.getUint16(l4)
  return resolveConntrack(w, ns, ct, hook, slot, l4, src, dst, ports, proto)
}

/**
 * resolve_normal_ct and nf_conntrack_handle_packet: the entry of the tuple, found or made, takes the packet.
 * @param proto as tuples have it, with CT_V6 for IPv6
 */
export function resolveConntrack(
  w: World,
  ns: Netns,
  ct: Conntrack,
  hook: number,
  slot: number,
  l4: number,
  src: number,
  dst: number,
  ports: number,
  proto: number,
): number {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const hash = hashTuple(ns.id, src, dst, ports, proto)
  for (;;) {
    // resolve_normal_ct
    let ref = findTuple(ct, hash, src, dst, ports, proto)
    if (ref === 0) {
      ref = initConntrack(ct, hash, src, dst, ports, proto)
      if (ref === NO_INVERSE) {
        traceInvalid(w, ns, slot, 0, CTI_ICMP_NO_INVERSE)
        ct.stat.invalid++
        return NF_ACCEPT
      }
      if (ref === TABLE_FULL) {
        ct.stat.drop++
        w.dropReason = R_CT_FULL
        return NF_DROP
      }
    }
    const id = ref >>> 1
    const e = id * C_WORDS
    const rows = ct.hash.rows
    const status = rows[e + C_STATUS]!
    rows[e + C_USE] = rows[e + C_USE]! + 1
    const ctinfo =
      (ref & 1) !== 0
        ? IP_CT_ESTABLISHED_REPLY
        : (status & IPS_SEEN_REPLY) !== 0
          ? IP_CT_ESTABLISHED
          : (status & IPS_EXPECTED) !== 0
            ? IP_CT_RELATED
            : IP_CT_NEW
    meta[m + M_CT] = id
    meta[m + M_CTINFO] = ctinfo
    const ret =
      (proto & 0xff) === IPPROTO_TCP
        ? tcpPacket(w, ct, hook, slot, id, ctinfo, l4)
        : handlePacket(w, ct, hook, slot, id, l4, proto)
    if (ret <= 0) {
      putConntrack(ct, id)
      meta[m + M_CT] = 0
      meta[m + M_CTINFO] = 0
      if (ret === -NF_REPEAT) continue
      ct.stat.invalid++
      if (ret === NF_DROP) ct.stat.drop++
      return -ret
    }
    if (ctinfo === IP_CT_ESTABLISHED_REPLY) rows[e + C_STATUS] = rows[e + C_STATUS]! | IPS_SEEN_REPLY
    if (w.tracer !== null) traceLookup(w, ns, slot, (rows[e + C_STATUS]! & IPS_CONFIRMED) === 0 ? 1 : 0)
    return ret
  }
}

/** nf_confirm (NFH_CONFIRM): lists the entry of a connection's first packet when it leaves the host or is delivered. */
export function nfConntrackConfirm(w: World, ns: Netns, slot: number): number {
  const ct = ns.ct
  const m = slot << META_SHIFT
  const meta = w.arena.meta
  const id = meta[m + M_CT]!
  if (id === 0 || ct === null) return NF_ACCEPT
  const t = ct.hash
  const e = id * C_WORDS
  const rows = t.rows
  const status = rows[e + C_STATUS]!
  if ((status & IPS_CONFIRMED) !== 0) return NF_ACCEPT
  // ipt_REJECT attaches the entry to its answer: that one does not confirm it
  if (ctinfo2dir(meta[m + M_CTINFO]!) !== IP_CT_DIR_ORIGINAL) return NF_ACCEPT
  rows[e + C_STATUS] = status | IPS_CONFIRMED
  if ((status & IPS_DYING) !== 0) {
    ct.stat.insertFailed++
    return NF_DROP
  }
  // the original tuple never changes: its hash is the one that nf_conntrack_in looked with
  const hash = rows[e + C_HASH]!
  const proto = rows[e + C_PROTO]!
  let ref = findTuple(ct, hash, rows[e + C_SRC]!, rows[e + C_DST]!, rows[e + C_PORTS]!, proto)
  const replyHash = t.hashOf(id, 1)
  if (ref === 0)
    ref = findTuple(ct, replyHash, rows[e + C_REPLY_SRC]!, rows[e + C_REPLY_DST]!, rows[e + C_REPLY_PORTS]!, proto)
  if (ref !== 0) return resolveClash(w, ct, slot, id, ref)
  t.timeout[id] = t.timeout[id]! + w.nowNs
  rows[e + C_USE] = rows[e + C_USE]! + 1
  t.insert(id, 0, hash)
  t.insert(id, 1, replyHash)
  ct.stat.insert++
  if (w.tracer !== null) w.tracer.step(T_CT_CONFIRM, slot, ns, w.devices[meta[m + M_DEV]!] ?? null, id, 0, 0, null)
  return NF_ACCEPT
}

/** ipv4_conntrack_defrag (NFH_DEFRAG): NF_STOLEN while fragments are missing, then the slot holds the whole datagram. */
export function ipv4ConntrackDefrag(w: World, ns: Netns, hook: number, slot: number): number {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  if (meta[m + M_CT] === 0 && meta[m + M_CTINFO] === IP_CT_UNTRACKED) return NF_ACCEPT
  if ((w.arena.view.getUint16(meta[m + M_DATA]! + 6) & 0x3fff) === 0) return NF_ACCEPT
  const user =
    (meta[m + M_NFB_STATE]! & NFB_IN_PREROUTING) !== 0
      ? IP_DEFRAG_CONNTRACK_BRIDGE_IN
      : hook === NF_INET_PRE_ROUTING
        ? IP_DEFRAG_CONNTRACK_IN
        : IP_DEFRAG_CONNTRACK_OUT
  if (ipDefrag(w, ns, slot, user) !== 0) return NF_STOLEN
  meta[m + M_FLAGS] = meta[m + M_FLAGS]! | SKB_IGNORE_DF
  return NF_ACCEPT
}

/** nf_ct_attach: an ICMP error or RST made because of `oldSlot` belongs to its connection as RELATED, the other way. */
export function nfCtAttach(w: World, _ns: Netns, newSlot: number, oldSlot: number): void {
  const meta = w.arena.meta
  const o = oldSlot << META_SHIFT
  const n = newSlot << META_SHIFT
  const id = meta[o + M_CT]!
  if (id === 0) return
  meta[n + M_CT] = id
  meta[n + M_CTINFO] = ctinfo2dir(meta[o + M_CTINFO]!) === IP_CT_DIR_ORIGINAL ? IP_CT_RELATED_REPLY : IP_CT_RELATED
  nfConntrackHold(w, newSlot)
}

/** nf_conntrack_get: one more packet (a clone, whose M_CT was copied) holds the entry. */
export function nfConntrackHold(w: World, slot: number): void {
  const rows = w.conntrack!.rows
  const u = w.arena.meta[(slot << META_SHIFT) + M_CT]! * C_WORDS + C_USE
  rows[u] = rows[u]! + 1
}

/** nf_conntrack_put: the packet lets go of its entry; one that was never confirmed ends here. M_CT is cleared. */
export function nfConntrackPut(w: World, slot: number): void {
  const m = (slot << META_SHIFT) + M_CT
  const id = w.arena.meta[m]!
  if (id === 0) return
  w.arena.meta[m] = 0
  const rows = w.conntrack!.rows
  const e = id * C_WORDS
  const use = rows[e + C_USE]!
  if (use > 1) rows[e + C_USE] = use - 1
  else {
    const ct = w.namespaces[rows[e + C_NET]!]?.ct
    if (ct == null) throw new Error(`conntrack entry ${id} has no namespace`)
    putConntrack(ct, id)
  }
}

/** nf_reset_ct: the packet forgets its connection (it left the namespace, or reached a socket). */
export function nfResetCt(w: World, slot: number): void {
  const m = slot << META_SHIFT
  if (w.arena.meta[m + M_CT] !== 0) nfConntrackPut(w, slot)
  w.arena.meta[m + M_CTINFO] = 0
}

const TABLE_FULL = 0
const NO_INVERSE = -1

/**
 * init_conntrack with __nf_conntrack_alloc: an unconfirmed entry for the tuple.
 * @param hash of the tuple
 * @returns its id << 1, TABLE_FULL or NO_INVERSE
 */
function initConntrack(ct: Conntrack, hash: number, src: number, dst: number, ports: number, proto: number): number {
  tuple.src = src
  tuple.dst = dst
  tuple.ports = ports
  tuple.proto = proto
  if (!invertTuple(repl, tuple)) return NO_INVERSE
  const max = ct.ns.sysctl.nf_conntrack_max
  if (max !== 0 && ct.count + 1 > max && !earlyDrop(ct, hash)) return TABLE_FULL
  const id = ct.hash.alloc()
  ct.count++
  const e = id * C_WORDS
  const rows = ct.hash.rows
  rows[e + C_SRC] = src
  rows[e + C_DST] = dst
  rows[e + C_PORTS] = ports
  rows[e + C_REPLY_SRC] = repl.src
  rows[e + C_REPLY_DST] = repl.dst
  rows[e + C_REPLY_PORTS] = repl.ports
  rows[e + C_PROTO] = proto
  rows[e + C_NET] = ct.ns.id
  rows[e + C_HASH] = hash
  if (ct.ns.sysctl.nf_conntrack_acct !== 0) ct.hash.countEntry(id)
  return id << 1
}

/** nf_conntrack_handle_packet, all but TCP: above 0 the packet is valid; else the negated verdict. */
function handlePacket(
  w: World,
  ct: Conntrack,
  hook: number,
  slot: number,
  id: number,
  l4: number,
  proto: number,
): number {
  switch (proto) {
    case IPPROTO_UDP:
    case CT_V6 | IPPROTO_UDP:
      return udpPacket(w, ct, hook, slot, id, l4)
    case CT_ICMPV6:
      return icmpv6Packet(w, ct, slot, id)
    case IPPROTO_ICMP:
      return icmpPacket(w, ct, slot, id)
    case IPPROTO_GRE:
    case CT_V6 | IPPROTO_GRE:
      return grePacket(w, ct, slot, id)
    default:
      return genericPacket(w, ct, slot, id)
  }
}

/**
 * nf_ct_resolve_clash: the tuple of an entry that wants in is taken. UDP may share the entry of the same flow, or be
 * listed in reply direction only; everything else is dropped.
 */
function resolveClash(w: World, ct: Conntrack, slot: number, id: number, ref: number): number {
  const t = ct.hash
  const proto = t.rows[id * C_WORDS + C_PROTO]!
  if ((proto & 0xff) === IPPROTO_UDP) {
    if (mergeClash(w, ct, slot, id, ref >>> 1)) return NF_ACCEPT
    tuple.load(t.rows, id, 1)
    const other = nfConntrackFind(ct, tuple)
    if (other === 0) {
      const e = id * C_WORDS
      t.timeout[id] = w.nowNs + CLASH_TIMEOUT_NS
      t.rows[e + C_STATUS] = t.rows[e + C_STATUS]! | IPS_FIXED_TIMEOUT | IPS_NAT_CLASH
      t.rows[e + C_USE] = t.rows[e + C_USE]! + 1
      t.insert(id, 1)
      ct.stat.clashResolve++
      return NF_ACCEPT
    }
    if (mergeClash(w, ct, slot, id, other >>> 1)) return NF_ACCEPT
  }
  ct.stat.drop++
  ct.stat.insertFailed++
  w.dropReason = R_CT_CLASH
  return NF_DROP
}

/** __nf_ct_resolve_clash: the packet moves to the listed entry `winner` when both describe the same flow. */
function mergeClash(w: World, ct: Conntrack, slot: number, loser: number, winner: number): boolean {
  const rows = ct.hash.rows
  tuple.load(rows, loser, 0)
  repl.load(rows, loser, 1)
  let same = false
  for (let dir = 0; dir < 2 && !same; dir++) {
    clashA.load(rows, winner, dir)
    clashB.load(rows, winner, 1 - dir)
    same = clashA.equals(tuple) && clashB.equals(repl)
  }
  if (!same) return false
  const acct = ct.hash.acct
  if (acct !== null && rows[winner * C_WORDS + C_ACCT] !== 0) {
    // nf_ct_acct_merge
    const to = winner * ACCT_WORDS + 2 * ctinfo2dir(w.arena.meta[(slot << META_SHIFT) + M_CTINFO]!)
    acct[to]! += acct[loser * ACCT_WORDS]!
    acct[to + 1]! += acct[loser * ACCT_WORDS + 1]!
  }
  rows[winner * C_WORDS + C_USE] = rows[winner * C_WORDS + C_USE]! + 1
  w.arena.meta[(slot << META_SHIFT) + M_CT] = winner
  putConntrack(ct, loser)
  ct.stat.clashResolve++
  return true
}
const clashA = new Tuple()
const clashB = new Tuple()

/** T_CT */
export function traceLookup(w: World, ns: Netns, slot: number, isNew: number): void {
  if (w.tracer === null) return
  const m = slot << META_SHIFT
  const meta = w.arena.meta
  const dev = w.devices[meta[m + M_DEV]!] ?? null
  w.tracer.step(T_CT, slot, ns, dev, meta[m + M_CT]!, meta[m + M_CTINFO]!, isNew, null)
}
