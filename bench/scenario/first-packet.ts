/**
 * First packets: every packet is a new flow to a Service across nodes, with 10, 1,000 and 10,000 Services. Each makes a
 * conntrack entry on both nodes, walks KUBE-SERVICES and sets up NAT. The Service asked for is the last one written.
 */
import { parseIpv4 } from '../../src/addr/index.ts'
import { injectFrame } from '../../src/linux/core/dev.ts'
import { type BenchRow, measure } from '../harness.ts'
import type { Suite } from '../suites.ts'
import { benchCluster, FAR_VIP, FRAME_BYTES, openPath, udpFrame } from './cluster.ts'

const BATCH = 5_000
const PACKET_NS = 1000
/** Virtual time between batches: the entries of the last one expire (nf_conntrack_udp_timeout). */
const EXPIRE_NS = 200_000_000_000

/** first-packet/N-services */
export const firstPacketSuite: Suite = async (wanted) => {
  const rows: BenchRow[] = []
  for (const services of [10, 1000, 10_000]) {
    const name = `first-packet/${services}-services`
    if (wanted(name)) rows.push(await firstPacket(name, services))
  }
  return rows
}

async function firstPacket(name: string, services: number): Promise<BenchRow> {
  const path = openPath(benchCluster(services), 'far', parseIpv4(FAR_VIP)!)
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
