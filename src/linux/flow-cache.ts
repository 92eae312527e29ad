/**
 * Where the data path meets a flow cache: who may take a packet instead of walking it, and who listens to a walk.
 *
 * The cache itself (recording, replay, audits) is src/engine/flow-cache.ts. The data path knows two places: a packet that
 * a device transmits while nothing else runs may be taken (`transmit`), and a walk that is recorded reports the rules it
 * counted and the neighbours it asked, which trace points do not carry (`FlowRecorder`).
 */
import type { NetDevice } from './device/device.ts'
import type { VxlanFdb, VxlanFdbEntry } from './device/vxlan-fdb.ts'
import type { Neighbour } from './neighbour/neighbour.ts'
import type { IptProgram } from './netfilter/iptables/program.ts'
import type { World } from './world.ts'

/** Replays recorded walks. */
export interface FlowCache {
  /**
   * A frame that `dev` (veth or NIC) is about to transmit, M_DATA at its Ethernet header; nothing else runs.
   * @returns true when the packet was taken: it has arrived where its walk ends
   */
  transmit(w: World, slot: number, dev: NetDevice): boolean
  /** The walk that `transmit` began to record is over. */
  recorded(): void
}

/** Listens to a walk that is being recorded. */
export interface FlowRecorder {
  /** Rule `i` of a compiled table matched and counted `bytes`. */
  rule(program: IptProgram, i: number, bytes: number): void
  /** A VXLAN device found where to send a frame, or saw a source behind the VTEP that it knew. */
  sentBehind(e: VxlanFdbEntry, fdb: VxlanFdb): void
  learntBehind(e: VxlanFdbEntry, fdb: VxlanFdb): void
  /** A neighbour gave the link header. */
  neighbour(n: Neighbour): void
}
