/**
 * The world: all namespaces and devices, one clock, one CPU's softirq backlog, one packet arena.
 *
 * Linux: what is per CPU (softnet_data, timers) or global here stands once: podwalk models one CPU, so that packets are
 * handled in one defined order. Packets sent in process context are handled to the end of the backlog before the call
 * returns (local_bh_enable -> do_softirq), as on a quiet machine.
 */

import { PacketArena } from '../packet/arena.ts'
import { M_NEXT, META_SHIFT } from '../packet/layout.ts'
import { processBacklogSlot } from './core/dev.ts'
import { freeSkb } from './core/skb.ts'
import type { NetDevice } from './device/device.ts'
import { ipipInitNet } from './device/ipip.ts'
import { createLoopback } from './device/loopback.ts'
import type { FlowCache, FlowRecorder } from './flow-cache.ts'
import { In6Table } from './ipv6/in6.ts'
import type { ConntrackHash } from './netfilter/conntrack/hash.ts'
import { Netns } from './netns.ts'
import { Random } from './random.ts'
import { R_LOOP } from './reasons.ts'
import { type Timer, TimerQueue } from './timers.ts'
import type { PacketTap, Tracer } from './trace.ts'

/** Options of a world. */
export interface WorldOptions {
  /** Seed of everything that Linux would draw at random. Default 1. */
  readonly seed?: number
  /** Key of the flow hash (skb_get_hash) that tunnels draw UDP source ports from. Default: from `seed`. */
  readonly hashSeed?: number
  /** Packets that may exist at once. Default 2048. */
  readonly packets?: number
  /** Packets above 2 KiB that may exist at once. Default 48. */
  readonly largePackets?: number
}

/** Packets handled in one softirq run before the rest is called a loop: no lab of ours comes near it. */
export const LOOP_LIMIT = 1_000_000

/** Everything that exists. */
export class World {
  readonly arena: PacketArena
  readonly random: Random
  /** `hashrnd` of the flow dissector. */
  readonly hashKey: number
  readonly timers = new TimerQueue()
  /** Numbers of the IPv6 addresses seen. */
  readonly in6 = new In6Table()
  readonly namespaces: Netns[] = []
  readonly netnsByName = new Map<string, Netns>()
  /** Devices of all namespaces by id; a deleted device leaves null. */
  readonly devices: (NetDevice | null)[] = []
  /** Virtual time in nanoseconds. */
  nowNs = 0
  /** Receives trace points; null costs one check. */
  tracer: Tracer | null = null
  /** Sees frames on all devices; null costs one check. */
  tap: PacketTap | null = null
  /** Replays recorded walks; null: every packet is walked. */
  flows: FlowCache | null = null
  /** Takes down what the packet's walk does, while one is being recorded. */
  recorder: FlowRecorder | null = null
  /** Set by whatever makes a walk depend on more than its flow and the tables: chance, rates, other packets. */
  impure = false
  /** True while the backlog is being processed or a timer runs: transmits then only enqueue. */
  inSoftirq = false
  /** The ipip module is there: every namespace has tunl0. */
  ipipLoaded = false
  /** The ip_gre module is there: GRE is a known protocol. */
  greLoaded = false
  /** dev_xmit_recursion: transmits of stacked devices inside each other right now. */
  xmitRecursion = 0
  /** Reason that a hook function leaves behind with NF_DROP, R_NONE when it left none. */
  dropReason = 0
  /** With dropReason R_UNMODELLED: its name. */
  dropWhat = ''
  /** NF_DROP_ERR: the errno that a hook function leaves behind with NF_DROP for a local sender, 0 for EPERM. */
  dropErrno = 0
  /** Conntrack entries of all namespaces (nf_conntrack_hash is global too); null until one namespace tracks. */
  conntrack: ConntrackHash | null = null
  /** Frames seen on any device. */
  frameCount = 0
  /** Packets whose verdict was UNMODELLED. */
  unmodelled = 0
  /** What the last of them met, when it has a name. */
  unmodelledRef: unknown = null
  private head = -1
  private tail = -1

  constructor(options: WorldOptions = {}) {
    this.arena = new PacketArena(options.packets ?? 2048, options.largePackets ?? 48)
    this.random = new Random(options.seed ?? 1)
    this.hashKey = new Random(options.hashSeed ?? ~(options.seed ?? 1)).u32() | 0
  }

  /** ip netns add: a namespace with its loopback device (down). */
  addNetns(name: string): Netns {
    if (this.netnsByName.has(name)) throw new Error(`netns ${name} exists`)
    const ns = new Netns(this, this.namespaces.length, name)
    this.namespaces.push(ns)
    this.netnsByName.set(name, ns)
    createLoopback(ns)
    if (this.ipipLoaded) ipipInitNet(ns)
    return ns
  }

  /** enqueue_to_backlog: puts a received packet (M_DEV set) at the end. */
  enqueueBacklog(slot: number): void {
    this.arena.meta[(slot << META_SHIFT) + M_NEXT] = -1
    if (this.tail < 0) this.head = slot
    else this.arena.meta[(this.tail << META_SHIFT) + M_NEXT] = slot
    this.tail = slot
  }

  /** Nothing waits and nothing runs: a packet sent now is walked to its end before the sender goes on. */
  get idle(): boolean {
    return !this.inSoftirq && this.head < 0
  }

  /** local_bh_enable after process-context work: runs the backlog unless a softirq is running already. */
  softirq(): void {
    if (this.inSoftirq || this.head < 0) return
    this.inSoftirq = true
    let budget = LOOP_LIMIT
    while (this.head >= 0) {
      const slot = this.head
      const m = (slot << META_SHIFT) + M_NEXT
      this.head = this.arena.meta[m]!
      if (this.head < 0) this.tail = -1
      this.arena.meta[m] = -1
      if (--budget < 0) freeSkb(this, slot, R_LOOP)
      else processBacklogSlot(this, slot)
    }
    this.inSoftirq = false
  }

  /** Runs `t` in softirq context, then the backlog. */
  private fireTimer(t: Timer): void {
    this.nowNs = Math.max(this.nowNs, t.atNs)
    this.inSoftirq = true
    t.fire()
    this.inSoftirq = false
    this.softirq()
  }

  /** Lets virtual time pass: fires every timer up to `untilNs` and leaves the clock there. */
  runUntil(untilNs: number): void {
    this.softirq()
    while (this.timers.nextNs() <= untilNs) this.fireTimer(this.timers.pop()!)
    if (untilNs > this.nowNs) this.nowNs = untilNs
  }

  /** Lets time pass until no frame was seen for `quietNs`, at most `maxNs` from now. The clock stands where that was known. */
  runUntilQuiet(quietNs: number, maxNs: number): void {
    this.softirq()
    const end = this.nowNs + maxNs
    let quiet = this.nowNs + quietNs
    let seen = this.frameCount
    for (;;) {
      const next = this.timers.nextNs()
      const stop = Math.min(quiet, end)
      if (next > stop) {
        this.nowNs = Math.max(this.nowNs, stop)
        return
      }
      this.fireTimer(this.timers.pop()!)
      if (this.frameCount !== seen) {
        seen = this.frameCount
        quiet = this.nowNs + quietNs
      }
    }
  }
}
