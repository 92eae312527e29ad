/**
 * Takes a walk down as a program.
 *
 * While it records it is the world's tracer: trace points say where the packet went, counters are compared before and
 * after (a device or namespace is noted when the packet first touches it), rules and neighbours are reported to it. The
 * program ends where the packet is received by a device for the last time: what happens there, and whatever it sets off,
 * is walked again for each packet. Where something happens that a replay could not repeat, it ends one device earlier.
 */
import type { Fdb, FdbEntry } from '../linux/bridge/fdb.ts'
import { DEV_BRIDGE, DEV_IPIP, DEV_NIC, DEV_VETH, DEV_VXLAN, type NetDevice } from '../linux/device/device.ts'
import type { VxlanFdb, VxlanFdbEntry } from '../linux/device/vxlan-fdb.ts'
import type { FlowRecorder } from '../linux/flow-cache.ts'
import { MIB_IN_OCTETS, MIB_IN_RECEIVES, MIB_OUT_OCTETS, MIB_OUT_TRANSMITS } from '../linux/ip/mib.ts'
import { type Neighbour, NUD_CONNECTED } from '../linux/neighbour/neighbour.ts'
import {
  C_PROTO,
  C_STATUS,
  C_TCP_STATE,
  C_WORDS,
  IP_CT_ESTABLISHED,
  IP_CT_ESTABLISHED_REPLY,
  IP_CT_NEW,
  IPPROTO_TCP,
  IPPROTO_UDP,
  IPS_CONFIRMED,
  IPS_DYING,
} from '../linux/netfilter/conntrack/layout.ts'
import type { Conntrack } from '../linux/netfilter/conntrack/table.ts'
import { TCP_CONNTRACK_ESTABLISHED } from '../linux/netfilter/conntrack/tcp-states.ts'
import type { IptProgram } from '../linux/netfilter/iptables/program.ts'
import type { Netns } from '../linux/netns.ts'
import * as T from '../linux/trace.ts'
import type { World } from '../linux/world.ts'
import {
  ETH_HLEN,
  M_DATA,
  M_FLAGS,
  M_HASH,
  M_ID,
  M_LEN,
  M_MAC,
  M_MARK,
  META_SHIFT,
  SKB_CSUM_OK,
} from '../packet/layout.ts'
import { AT_IP, AT_L4, ctKeyWords, FlowProgram } from './flow-program.ts'

const IPPROTO_IPIP = 4

/** Trace points of what a replay repeats, or need not. */
const HARMLESS: ReadonlySet<number> = new Set([
  T.T_TX,
  T.T_RX,
  T.T_BR_INPUT,
  T.T_BR_FORWARD,
  T.T_BR_LOCAL,
  T.T_BR_NETFILTER,
  T.T_FIB_INPUT,
  T.T_RPFILTER,
  T.T_IP_FORWARD,
  T.T_IP_OUTPUT,
  T.T_NEIGH,
  T.T_NF_RULE,
  T.T_NF_POLICY,
  T.T_CT,
  T.T_NAT,
  T.T_WIRE,
  T.T_FIB_OUTPUT,
  T.T_IP_LOCAL,
  T.T_TUNNEL_ENCAP,
  T.T_TUNNEL_DECAP,
])

/** Devices whose counters and effects are known here. */
const DEVICES: ReadonlySet<number> = new Set([DEV_VETH, DEV_NIC, DEV_BRIDGE, DEV_VXLAN, DEV_IPIP])

interface DeviceBefore {
  readonly dev: NetDevice
  rxPackets: number
  rxBytes: number
  readonly txPackets: number
  readonly txBytes: number
  readonly faults: number
}

interface NetnsBefore {
  readonly ns: Netns
  readonly gen: number
  readonly mib: Float64Array
  readonly counted: number
  readonly idents: number
}

interface RuleHit {
  readonly program: IptProgram
  readonly i: number
  readonly extra: number
}

interface CtSeen {
  readonly extra: number
  readonly ct: Conntrack
  readonly id: number
  readonly info: number
}

function faults(d: NetDevice): number {
  return d.rxDropped + d.txDropped + d.rxErrors + d.txErrors
}

/** Devices by the packets that they counted: one entry per packet. */
class Counted {
  readonly devices: NetDevice[] = []
  readonly extra: number[] = []

  add(dev: NetDevice, packets: number, bytes: number, length: number): void {
    for (let i = 0; i < packets; i++) {
      this.devices.push(dev)
      // the last one takes what is left when they differ
      this.extra.push(i < packets - 1 ? 0 : bytes - packets * length)
    }
  }
}

/** Records one walk at a time. */
export class WalkRecorder implements T.Tracer, FlowRecorder {
  readonly wantMisses = false
  private w!: World
  private packet = 0
  private key!: FlowProgram
  private devices: DeviceBefore[] = []
  private namespaces: NetnsBefore[] = []
  private hits: RuleHit[] = []
  private cts: CtSeen[] = []
  private neighbours: Neighbour[] = []
  private learnt: FdbEntry[] = []
  private used: FdbEntry[] = []
  private fdbs: Fdb[] = []
  private vxlanFdbs: VxlanFdb[] = []
  private vxlanLearnt: VxlanFdbEntry[] = []
  private vxlanUsed: VxlanFdbEntry[] = []
  private transmits = 0
  private frames = 0
  private armed = 0
  private drawn = 0
  /** Something that a replay cannot repeat has happened since the last mark. */
  private foreign = false
  /** What had been recorded when the packet was last received, null before. */
  private mark: FlowProgram | null = null

  /** Starts: the frame in `slot` is about to be transmitted by `dev`. `key` holds the flow's key and length. */
  begin(w: World, slot: number, key: FlowProgram): void {
    this.w = w
    this.packet = w.arena.meta[(slot << META_SHIFT) + M_ID]!
    this.key = key
    this.devices = []
    this.namespaces = []
    this.hits = []
    this.cts = []
    this.neighbours = []
    this.learnt = []
    this.used = []
    this.fdbs = []
    this.vxlanFdbs = []
    this.vxlanLearnt = []
    this.vxlanUsed = []
    this.transmits = 0
    this.frames = w.frameCount
    this.armed = w.timers.armed
    this.drawn = w.random.a
    this.foreign = false
    this.mark = null
    w.impure = false
    w.tracer = this
    w.recorder = this
  }

  /** Ends. @returns the program, or null when the walk cannot be replayed */
  finish(): FlowProgram | null {
    this.w.tracer = null
    this.w.recorder = null
    const program = this.mark
    this.mark = null
    return program
  }

  rule(program: IptProgram, i: number, bytes: number): void {
    this.hits.push({ program, i, extra: bytes - this.key.maxLength })
  }

  sentBehind(e: VxlanFdbEntry, fdb: VxlanFdb): void {
    this.vxlanFdbs.push(fdb)
    this.vxlanUsed.push(e)
  }

  learntBehind(e: VxlanFdbEntry, fdb: VxlanFdb): void {
    this.vxlanFdbs.push(fdb)
    this.vxlanLearnt.push(e)
  }

  neighbour(n: Neighbour): void {
    if ((n.state & NUD_CONNECTED) === 0 || !n.hh) this.foreign = true
    this.neighbours.push(n)
  }

  step(
    point: number,
    slot: number,
    ns: Netns,
    dev: NetDevice | null,
    a: number,
    b: number,
    c: number,
    ref: unknown,
  ): void {
    if (this.foreign) return
    const meta = this.w.arena.meta
    const m = slot << META_SHIFT
    if (slot < 0 || meta[m + M_ID] !== this.packet) {
      this.foreign = true
      return
    }
    if (!HARMLESS.has(point)) this.foreign = true
    switch (point) {
      case T.T_TX:
        this.noteDevice(dev!)
        this.transmits++
        return
      case T.T_RX:
        this.noteReceiver(dev!, slot)
        if (dev!.kind === DEV_VETH || dev!.kind === DEV_NIC) this.setMark(slot, dev!, a)
        return
      case T.T_BR_INPUT:
        this.noteLearnt(slot, dev!)
        return
      case T.T_BR_FORWARD:
        if (ref === null) this.foreign = true
        else this.used.push(ref as FdbEntry)
        return
      case T.T_CT:
        this.noteConntrack(slot, ns, a, b, c)
        return
      default:
    }
  }

  private noteNetns(ns: Netns): void {
    if (this.namespaces.some((n) => n.ns === ns)) return
    const { gen, counted } = ns
    this.namespaces.push({ ns, gen, mib: ns.mib.slice(), counted, idents: ns.frags.idents })
  }

  private noteDevice(dev: NetDevice): DeviceBefore {
    // VLAN, macvlan and tc hooks are not in a program
    if (!DEVICES.has(dev.kind) || dev.hooks !== 0) this.foreign = true
    this.noteNetns(dev.ns)
    const known = this.devices.find((d) => d.dev === dev)
    if (known !== undefined) return known
    const { rxPackets, rxBytes, txPackets, txBytes } = dev
    const made = { dev, rxPackets, rxBytes, txPackets, txBytes, faults: faults(dev) }
    this.devices.push(made)
    return made
  }

  /** A receiver has counted the frame (`length` bytes of it) before it says so. */
  private noteReceiver(dev: NetDevice, slot: number): void {
    const isNew = !this.devices.some((d) => d.dev === dev)
    const d = this.noteDevice(dev)
    if (!isNew) return
    d.rxPackets--
    const inner = dev.kind === DEV_VXLAN || dev.kind === DEV_IPIP
    d.rxBytes -= this.w.arena.meta[(slot << META_SHIFT) + M_LEN]! + (inner ? 0 : ETH_HLEN)
  }

  /** br_handle_frame_finish will refresh the entry of the frame's source. */
  private noteLearnt(slot: number, dev: NetDevice): void {
    const port = dev.port!
    const fdb = port.bridge.fdb
    if (port.bridge.vlanGroup !== null) this.foreign = true
    if (!this.fdbs.includes(fdb)) this.fdbs.push(fdb)
    if (!port.learning || port.bridge.ageingNs === 0) return
    const { meta, view } = this.w.arena
    const mac = meta[(slot << META_SHIFT) + M_MAC]!
    const e = fdb.find(view.getUint16(mac + 6), view.getInt32(mac + 8))
    if (e === undefined || (!e.isLocal && e.port !== port)) this.foreign = true
    else if (!e.isLocal) this.learnt.push(e)
  }

  private noteConntrack(slot: number, ns: Netns, id: number, info: number, isNew: number): void {
    const ct = ns.ct!
    const known = info === IP_CT_ESTABLISHED || info === IP_CT_ESTABLISHED_REPLY || info === IP_CT_NEW
    const e = id * C_WORDS
    const rows = ct.hash.rows
    if (!known || isNew === 1) this.foreign = true
    const proto = rows[e + C_PROTO]!
    if (proto !== IPPROTO_TCP && proto !== IPPROTO_UDP && proto !== IPPROTO_IPIP) this.foreign = true
    if (proto === IPPROTO_TCP && (info === IP_CT_NEW || rows[e + C_TCP_STATE] !== TCP_CONNTRACK_ESTABLISHED))
      this.foreign = true
    if ((rows[e + C_STATUS]! & (IPS_CONFIRMED | IPS_DYING)) !== IPS_CONFIRMED) this.foreign = true
    const extra = this.w.arena.meta[(slot << META_SHIFT) + M_LEN]! - this.key.maxLength
    this.cts.push({ ct, id, info, extra })
  }

  /** The packet was received by `dev`: so far the walk can be replayed, or not. */
  private setMark(slot: number, dev: NetDevice, length: number): void {
    const w = this.w
    // what is behind the last mark is walked each time
    if (this.foreign || w.impure || w.timers.armed !== this.armed || w.random.a !== this.drawn) {
      this.foreign = true
      return
    }
    // the first link alone is not worth a program
    if (this.transmits < 2) return
    const p = this.compile(dev, length)
    if (p === null) this.foreign = true
    else if (this.takeHeader(p, slot)) this.mark = p
  }

  private compile(final: NetDevice, frameLength: number): FlowProgram | null {
    const key = this.key
    const p = Object.assign(new FlowProgram(), key)
    const length = key.maxLength
    p.final = final
    for (const n of this.namespaces) {
      if (n.ns.gen !== n.gen || n.ns.counted !== n.counted) return null
    }
    p.namespaces = this.namespaces.map((n) => n.ns)
    p.gens = Int32Array.from(p.namespaces, (n) => n.gen)
    p.idents = this.namespaces.flatMap((n) => new Array<Netns>(n.ns.frags.idents - n.idents).fill(n.ns))
    p.neighbours = [...this.neighbours]
    p.neighbourMacs = Int32Array.from(this.neighbours.flatMap((n) => [n.macHi, n.macLo]))
    p.fdbs = [...this.fdbs]
    p.fdbGens = Int32Array.from(this.fdbs, (f) => f.gen)
    p.learnt = [...this.learnt]
    p.learntPorts = this.learnt.map((e) => e.port)
    p.used = [...this.used]
    p.usedPorts = this.used.map((e) => e.port)
    p.vxlanFdbs = [...this.vxlanFdbs]
    p.vxlanGens = Int32Array.from(this.vxlanFdbs, (f) => f.gen)
    p.vxlanLearnt = [...this.vxlanLearnt]
    p.vxlanUsed = [...this.vxlanUsed]
    p.cts = this.cts.map((c) => c.ct)
    p.ctIds = Int32Array.from(this.cts, (c) => c.id)
    p.ctExtra = Int32Array.from(this.cts, (c) => c.extra)
    p.ctInfos = Int32Array.from(this.cts, (c) => c.info)
    p.ctWords = Int32Array.from(this.cts.flatMap((c) => ctKeyWords(c.ct.hash.rows, c.id)))
    p.checksum = this.cts.some((c) => c.ct.ns.sysctl.nf_conntrack_checksum !== 0)
    this.compileRules(p)
    this.compileMibs(p, length)
    if (!this.compileDevices(p, length, final, frameLength)) return null
    // the last device counts the frame itself
    p.frames = this.w.frameCount - this.frames - 1
    return p
  }

  private compileRules(p: FlowProgram): void {
    const programs = [...new Set(this.hits.map((h) => h.program))]
    const start = [0]
    const index: number[] = []
    const extra: number[] = []
    for (const program of programs) {
      for (const h of this.hits) {
        if (h.program !== program) continue
        index.push(h.i)
        extra.push(h.extra)
      }
      start.push(index.length)
    }
    p.rulePackets = programs.map((x) => x.packets)
    p.ruleBytes = programs.map((x) => x.bytes)
    p.ruleStart = Int32Array.from(start)
    p.ruleIndex = Int32Array.from(index)
    p.ruleExtra = Int32Array.from(extra)
  }

  private compileMibs(p: FlowProgram, length: number): void {
    const index: number[] = []
    const add: number[] = []
    const times: number[] = []
    const mibs: Float64Array[] = []
    for (const n of this.namespaces) {
      for (let i = 0; i < n.mib.length; i++) {
        const d = n.ns.mib[i]! - n.mib[i]!
        if (d === 0) continue
        const packets =
          i === MIB_IN_OCTETS
            ? n.ns.mib[MIB_IN_RECEIVES]! - n.mib[MIB_IN_RECEIVES]!
            : i === MIB_OUT_OCTETS
              ? n.ns.mib[MIB_OUT_TRANSMITS]! - n.mib[MIB_OUT_TRANSMITS]!
              : 0
        mibs.push(n.ns.mib)
        index.push(i)
        times.push(packets)
        add.push(d - packets * length)
      }
    }
    p.mibs = mibs
    p.mibIndex = Int32Array.from(index)
    p.mibAdd = Int32Array.from(add)
    p.mibTimesLength = Int32Array.from(times)
  }

  private compileDevices(p: FlowProgram, length: number, final: NetDevice, frameLength: number): boolean {
    const rx = new Counted()
    const tx = new Counted()
    for (const d of this.devices) {
      const dev = d.dev
      if (faults(dev) !== d.faults) return false
      const isFinal = dev === final
      const rxPackets = dev.rxPackets - d.rxPackets - (isFinal ? 1 : 0)
      const rxBytes = dev.rxBytes - d.rxBytes - (isFinal ? frameLength : 0)
      rx.add(dev, rxPackets, rxBytes, length)
      tx.add(dev, dev.txPackets - d.txPackets, dev.txBytes - d.txBytes, length)
    }
    p.receivers = rx.devices
    p.receiverExtra = Int32Array.from(rx.extra)
    p.senders = tx.devices
    p.senderExtra = Int32Array.from(tx.extra)
    return true
  }

  /** The header words with which the frame arrived. @returns false when it is not the frame that was sent: it is inside another */
  private takeHeader(p: FlowProgram, slot: number): boolean {
    const { meta, view } = this.w.arena
    const m = slot << META_SHIFT
    const eth = meta[m + M_MAC]!
    if (meta[m + M_DATA]! - eth !== ETH_HLEN || meta[m + M_LEN] !== p.maxLength || meta[m + M_MARK] !== 0) return false
    p.outEth0 = view.getInt32(eth)
    p.outEth4 = view.getInt32(eth + 4)
    p.outEth8 = view.getInt32(eth + 8)
    p.outEth12 = view.getInt32(eth + 12)
    p.outIp8 = view.getInt32(eth + AT_IP + 6)
    p.outSrc = view.getInt32(eth + AT_IP + 12)
    p.outDst = view.getInt32(eth + AT_IP + 16)
    p.outPorts = view.getInt32(eth + AT_L4)
    p.outHash = meta[m + M_HASH]!
    p.outCsumOk = meta[m + M_FLAGS]! & SKB_CSUM_OK
    p.ipDelta =
      changed(p.eth12 & 0xffff, p.outEth12 & 0xffff) +
      changedWord(p.ip8, p.outIp8) +
      changedWord(p.src, p.outSrc) +
      changedWord(p.dst, p.outDst)
    p.l4Touched = p.src !== p.outSrc || p.dst !== p.outDst || p.ports !== p.outPorts
    p.l4Delta = changedWord(p.src, p.outSrc) + changedWord(p.dst, p.outDst) + changedWord(p.ports, p.outPorts)
    return true
  }
}

/** What replacing 16 bits adds to the complement of a checksum (RFC 1624): ~m + m'. */
function changed(from: number, to: number): number {
  return from === to ? 0 : (~from & 0xffff) + to
}

function changedWord(from: number, to: number): number {
  return changed(from >>> 16, to >>> 16) + changed(from & 0xffff, to & 0xffff)
}
