/**
 * The flow cache: the second packet of a flow is recorded while it is walked, later ones are replayed (flow-program.ts).
 *
 * A replay that no longer holds (a table was written, a neighbour went stale, an entry expired) drops its program; the
 * packet is walked and recorded anew. Every AUDIT_EVERY-th packet of a flow is walked and recorded again although its
 * program holds, and both recordings must be equal: `stats.mismatches` counts those that are not, and must stay 0. While
 * somebody traces or captures, every packet is walked.
 */
import type { NetDevice } from '../linux/device/device.ts'
import type { FlowCache } from '../linux/flow-cache.ts'
import { IPPROTO_TCP, IPPROTO_UDP } from '../linux/netfilter/conntrack/layout.ts'
import type { World } from '../linux/world.ts'
import { M_DATA, M_FLAGS, M_HASH, M_LEN, M_MARK, META_SHIFT, SKB_CSUM_OK } from '../packet/layout.ts'
import { AT_IP, AT_L4, check, FITS, FlowProgram, replay, WALK } from './flow-program.ts'
import { WalkRecorder } from './flow-recorder.ts'
import { sameProgram } from './same-program.ts'

/** Packets between two audits of a program. */
const AUDIT_EVERY = 1024
/** Packets that a flow is walked after a recording that was of no use. */
const WAIT = 16
/** Ethernet and IPv4 without options, as the first two bytes behind the type say; 8 bytes of transport. */
const MIN_FRAME = AT_L4 + 8
const IPV4_PLAIN = 0x08004500
const TCP_ACK = 0x10
const TCP_PSH = 0x08

/** Options of the cache. */
export interface FlowCacheOptions {
  /** Places for programs, a power of two. Default 65,536. */
  readonly places?: number
  /** Packets of a flow between two audits, a power of two. Default 1,024. */
  readonly auditEvery?: number
}

/** What the cache did. */
export interface FlowCacheStats {
  replayed: number
  recorded: number
  /** Recordings that cannot be replayed. */
  refused: number
  /** Programs that no longer held. */
  voided: number
  audits: number
  /** Audits whose recording differed from the program: a defect. */
  mismatches: number
}

/** A world's flow cache. Set it with `enableFlowCache`. */
export class PacketFlowCache implements FlowCache {
  readonly stats: FlowCacheStats = { replayed: 0, recorded: 0, refused: 0, voided: 0, audits: 0, mismatches: 0 }
  private readonly mask: number
  private readonly auditMask: number
  private readonly programs: (FlowProgram | null)[]
  /** Fingerprint of the flow that was last walked here, and how many packets it is still to be walked. */
  private readonly seen: Int32Array
  private readonly wait: Uint8Array
  private readonly recorder = new WalkRecorder()
  private recordingAt = 0
  private recordingLength = 0
  private audited: FlowProgram | null = null

  constructor(options: FlowCacheOptions = {}) {
    const places = options.places ?? 65536
    this.mask = places - 1
    this.auditMask = (options.auditEvery ?? AUDIT_EVERY) - 1
    this.programs = new Array<FlowProgram | null>(places).fill(null)
    this.seen = new Int32Array(places)
    this.wait = new Uint8Array(places)
  }

  transmit(w: World, slot: number, dev: NetDevice): boolean {
    if (w.tracer !== null || w.tap !== null || w.arena.vlan[slot] !== 0) return false
    const meta = w.arena.meta
    const view = w.arena.view
    const m = slot << META_SHIFT
    const frame = meta[m + M_LEN]!
    if (frame < MIN_FRAME) return false
    const eth = meta[m + M_DATA]!
    const eth12 = view.getInt32(eth + 12)
    if ((eth12 & 0xffffff00) !== IPV4_PLAIN) return false
    const ip8 = view.getInt32(eth + AT_IP + 6)
    const length = view.getUint16(eth + AT_IP + 2)
    if ((ip8 & 0x3fff0000) !== 0 || length !== frame - AT_IP) return false
    const proto = ip8 & 0xff
    let flags = 0
    if (proto === IPPROTO_TCP) {
      if (frame < AT_L4 + 20) return false
      flags = view.getUint8(eth + AT_L4 + 13)
      if ((flags & ~TCP_PSH) !== TCP_ACK) return false
    } else if (proto !== IPPROTO_UDP) return false
    const src = view.getInt32(eth + AT_IP + 12)
    const dst = view.getInt32(eth + AT_IP + 16)
    const ports = view.getInt32(eth + AT_L4)
    let h = Math.imul(src ^ dev.id, 0x9e3779b1) ^ dst
    h = Math.imul(h ^ (h >>> 15) ^ ports, 0x85ebca6b)
    h = Math.imul(h ^ (h >>> 13) ^ ip8 ^ flags, 0xc2b2ae35)
    h ^= h >>> 16
    const at = h & this.mask
    const p = this.programs[at]!
    if (
      p !== null &&
      p.dev === dev &&
      p.src === src &&
      p.dst === dst &&
      p.ports === ports &&
      p.ip8 === ip8 &&
      p.eth12 === eth12 &&
      p.eth0 === view.getInt32(eth) &&
      p.eth4 === view.getInt32(eth + 4) &&
      p.eth8 === view.getInt32(eth + 8) &&
      p.tcpFlags === flags &&
      p.mark === meta[m + M_MARK] &&
      p.hash === meta[m + M_HASH] &&
      p.csumOk === (meta[m + M_FLAGS]! & SKB_CSUM_OK)
    ) {
      if (length <= p.maxLength) {
        const answer = check(w, p, slot, length)
        if (answer === FITS) {
          if ((++p.hits & this.auditMask) !== 0) {
            replay(w, p, slot, length)
            this.stats.replayed++
            return true
          }
          this.record(w, slot, dev, at, length, p)
          return false
        }
        if (answer === WALK) return false
        this.stats.voided++
        this.programs[at] = null
      }
      if (length < p.refusedFrom) this.record(w, slot, dev, at, length, null)
      return false
    }
    if (this.seen[at] !== h) {
      this.seen[at] = h
      this.wait[at] = 1
    } else if (this.wait[at]! > 1) this.wait[at]!--
    else this.record(w, slot, dev, at, length, null)
    return false
  }

  recorded(): void {
    const p = this.recorder.finish()
    const old = this.audited
    this.audited = null
    if (old !== null) {
      this.stats.audits++
      if (p !== null && sameProgram(old, p)) return
      // the program held, and yet the packet went another way; unless this time more or less of it can be replayed
      if (p !== null && p.final === old.final) this.stats.mismatches++
    }
    const known = this.programs[this.recordingAt]!
    if (p === null) {
      this.stats.refused++
      if (old === null && known !== null && this.recordingLength > known.maxLength)
        known.refusedFrom = this.recordingLength
      else {
        this.programs[this.recordingAt] = null
        this.wait[this.recordingAt] = WAIT
      }
      return
    }
    this.stats.recorded++
    this.programs[this.recordingAt] = p
  }

  private record(
    w: World,
    slot: number,
    dev: NetDevice,
    at: number,
    length: number,
    audited: FlowProgram | null,
  ): void {
    const { meta, view } = w.arena
    const m = slot << META_SHIFT
    const eth = meta[m + M_DATA]!
    const key = new FlowProgram()
    key.dev = dev
    key.eth0 = view.getInt32(eth)
    key.eth4 = view.getInt32(eth + 4)
    key.eth8 = view.getInt32(eth + 8)
    key.eth12 = view.getInt32(eth + 12)
    key.ip8 = view.getInt32(eth + AT_IP + 6)
    key.src = view.getInt32(eth + AT_IP + 12)
    key.dst = view.getInt32(eth + AT_IP + 16)
    key.ports = view.getInt32(eth + AT_L4)
    key.tcpFlags = (key.ip8 & 0xff) === IPPROTO_TCP ? view.getUint8(eth + AT_L4 + 13) : 0
    key.mark = meta[m + M_MARK]!
    key.hash = meta[m + M_HASH]!
    key.csumOk = meta[m + M_FLAGS]! & SKB_CSUM_OK
    key.maxLength = length
    this.recordingAt = at
    this.recordingLength = length
    this.audited = audited
    this.recorder.begin(w, slot, key)
  }
}

/** Gives the world a flow cache. @returns it */
export function enableFlowCache(w: World, options: FlowCacheOptions = {}): PacketFlowCache {
  const cache = new PacketFlowCache(options)
  w.flows = cache
  return cache
}
