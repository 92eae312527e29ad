/**
 * First packets: every packet is a new flow to a Service across nodes, with 10 to 30,000 Services. Each makes a
 * conntrack entry on both nodes and sets up NAT. In iptables mode a kernel walks KUBE-SERVICES rule by rule. The Service asked for is the last one written.
 */
import { parseIpv4 } from '../../src/addr/index.ts'
import { TraceLog } from '../../src/engine/trace-log.ts'
import { injectFrame } from '../../src/linux/core/dev.ts'
import { T_NF_MISS, T_NF_RULE } from '../../src/linux/trace.ts'
import { type BenchRow, measure, rowOf } from '../harness.ts'
import type { Suite } from '../suites.ts'
import { benchCluster, FAR_VIP, FRAME_BYTES, openPath, udpFrame } from './cluster.ts'

const BATCH = 5_000
const PACKET_NS = 1000
/** Virtual time between batches: the entries of the last one expire (nf_conntrack_udp_timeout; IPVS keeps UDP for 300 s). */
const EXPIRE_NS = 400_000_000_000

/** Numbers of Services. */
export const SIZES = [10, 1000, 10_000, 30_000] as const

/** first-packet/N-services: iptables mode */
export const firstPacketSuite: Suite = async (wanted) => {
  const rows: BenchRow[] = []
  for (const services of SIZES) {
    const name = `first-packet/${services}-services`
    if (wanted(name)) rows.push(await firstPacket(name, services, 'iptables'))
  }
  return rows
}

/** first-packet/MODE-N-services of the other modes, and first-packet/MODE-N-rules: what a kernel looks at for it */
export function firstPacketModeSuite(mode: string): Suite {
  return async (wanted) => {
    const rows: BenchRow[] = []
    for (const services of SIZES) {
      const name = `first-packet/${mode}-${services}-services`
      if (mode !== 'iptables' && wanted(name)) rows.push(await firstPacket(name, services, mode))
      const rules = `first-packet/${mode}-${services}-rules`
      if (wanted(rules)) rows.push(rowOf(rules, 'rules', [rulesLookedAt(services, mode)]))
    }
    return rows
  }
}

/** Rules that the first packet of a flow meets on the client's node, matching or not. */
function rulesLookedAt(services: number, mode: string): number {
  const path = openPath(benchCluster(services, 'kubenet', mode), 'far', parseIpv4(FAR_VIP)!)
  const w = path.cluster.world
  const log = new TraceLog(w, { misses: true })
  const v = new DataView(path.frame.buffer)
  const to = { hi: v.getUint16(0), lo: v.getInt32(2) }
  w.tracer = log
  injectFrame(
    w,
    path.clientDev,
    udpFrame(path.clientDev, to, path.src, path.dst, 19_999, path.dport, new Uint8Array(FRAME_BYTES - 42)),
  )
  w.tracer = null
  const node = path.cluster.nodes.get('n1')?.id
  let rules = 0
  for (const step of log.steps()) {
    if (step.netns === node && (step.point === T_NF_RULE || step.point === T_NF_MISS)) rules++
  }
  if (rules === 0) throw new Error(`${mode}: no rule was looked at`)
  return rules
}

async function firstPacket(name: string, services: number, mode: string): Promise<BenchRow> {
  const path = openPath(benchCluster(services, 'kubenet', mode), 'far', parseIpv4(FAR_VIP)!)
  const w = path.cluster.world
  const v = new DataView(path.frame.buffer)
  const to = { hi: v.getUint16(0), lo: v.getInt32(2) }
  const frames: Uint8Array[] = []
  for (let i = 0; i < BATCH; i++) {
    frames.push(
      udpFrame(path.clientDev, to, path.src, path.dst, 20_000 + i, path.dport, new Uint8Array(FRAME_BYTES - 42)),
    )
  }
  let before = 0
  return measure({
    name,
    unit: 'packets/s',
    operations: BATCH,
    warmUp: 3,
    run() {
      before = path.serverDev.rxPackets
      for (let i = 0; i < BATCH; i++) {
        w.nowNs += PACKET_NS
        injectFrame(w, path.clientDev, frames[i]!)
      }
    },
    verify() {
      const arrived = path.serverDev.rxPackets - before
      if (arrived < BATCH) throw new Error(`${name}: ${arrived} of ${BATCH} arrived`)
      w.runUntil(w.nowNs + EXPIRE_NS)
    },
  })
}
