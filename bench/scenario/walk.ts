/**
 * The walk: packets of an established UDP flow, from the client pod's eth0 through bridge, netfilter, NAT and routing to
 * the far pod's eth0, per second of CPU on one core; then the same path on the real kernel.
 *
 * Each packet goes the whole way before the next one starts, with fresh bytes in the arena; time passes (1 us a packet),
 * timers fire. Every packet must be counted by the far eth0, and the last one must be the right bytes: translated
 * addresses and ports, TTL, both checksums. `-traced` records every step in a ring (TraceLog).
 */
import { parseIpv4 } from '../../src/addr/index.ts'
import { enableFlowCache, type PacketFlowCache } from '../../src/engine/flow-cache.ts'
import { TraceLog } from '../../src/engine/trace-log.ts'
import { injectFrame } from '../../src/linux/core/dev.ts'
import type { PacketTap } from '../../src/linux/trace.ts'
import { foldChecksum, pseudoSumV4, sumWords } from '../../src/wire/checksum.ts'
import { type BenchRow, measure } from '../harness.ts'
import { kernelRate } from '../kernel/path.ts'
import type { Suite } from '../suites.ts'
import {
  type BenchCni,
  benchCluster,
  CLIENT_PORT,
  ECHO_PORT,
  FAR_VIP,
  NEAR_VIP,
  openPath,
  type Path,
} from './cluster.ts'

const BATCH = 20_000
const PACKET_NS = 1000
/** Records that the ring of the traced walk keeps. */
const RING = 1 << 16

interface Walk {
  readonly to: 'near' | 'far'
  readonly vip: string | null
  readonly cni?: BenchCni
  readonly traced?: true
  /** With the flow cache: recorded once, then replayed. */
  readonly replayed?: true
  /** Routers on the way. */
  readonly hops: number
}

const WALKS: { readonly [row: string]: Walk } = {
  'walk/same-node-bridge': { to: 'near', vip: null, hops: 0 },
  'walk/clusterip-same-node': { to: 'near', vip: NEAR_VIP, hops: 0 },
  'walk/clusterip-cross-node': { to: 'far', vip: FAR_VIP, hops: 2 },
  'walk/clusterip-vxlan-cross-node': { to: 'far', vip: FAR_VIP, hops: 2, cni: 'flannel-vxlan' },
  'walk/calico-routed-policy': { to: 'far', vip: FAR_VIP, hops: 2, cni: 'calico-routed' },
  'replay/clusterip-vxlan-cross-node': {
    ...{ to: 'far', vip: FAR_VIP, hops: 2, cni: 'flannel-vxlan', replayed: true },
  },
  'replay/clusterip-same-node': { to: 'near', vip: NEAR_VIP, hops: 0, replayed: true },
  'replay/clusterip-cross-node': { to: 'far', vip: FAR_VIP, hops: 2, replayed: true },
  'walk/clusterip-cross-node-traced': { to: 'far', vip: FAR_VIP, hops: 2, traced: true },
}

/** The suite of one row. */
export function walkSuite(name: string): Suite {
  return async () => {
    const walk = WALKS[name]!
    const path = openPath(benchCluster(0, walk.cni), walk.to, walk.vip === null ? null : parseIpv4(walk.vip)!)
    const w = path.cluster.world
    checkLastFrame(path, walk.hops)
    // the far pod drops what arrives, as the kernel's does at tc ingress: no frame is addressed to its card any more
    const card = path.serverDev.macLo
    path.serverDev.macLo = card ^ 1
    const log = walk.traced === true ? new TraceLog(w, { ring: RING }) : null
    w.tracer = log
    const cache = walk.replayed === true ? enableFlowCache(w) : null
    let before = 0
    let steps = 0
    const row = await measure({
      name,
      unit: 'packets/s',
      operations: BATCH,
      run() {
        before = path.serverDev.rxPackets
        steps = log?.length ?? 0
        for (let i = 0; i < BATCH; i++) {
          w.nowNs += PACKET_NS
          injectFrame(w, path.clientDev, path.frame)
        }
      },
      verify() {
        const arrived = path.serverDev.rxPackets - before
        if (arrived < BATCH) throw new Error(`${name}: ${arrived} of ${BATCH} arrived`)
        if (log !== null && log.length - steps < 10 * BATCH)
          throw new Error(`${name}: ${log.length - steps} steps recorded`)
        if (cache !== null) checkCache(name, cache)
        w.runUntil(w.nowNs)
      },
    })
    w.tracer = null
    path.serverDev.macLo = card
    checkLastFrame(path, walk.hops)
    const kernel = kernelRate(path)
    if (typeof kernel === 'string') process.stderr.write(`bench: ${name}: no kernel figure: ${kernel}\n`)
    else withKernel(row, kernel)
    return [row]
  }
}

function withKernel(row: BenchRow, kernelValue: number): void {
  row.kernelValue = Math.round(kernelValue)
  row.ratioToKernel = Number((row.value / kernelValue).toFixed(2))
}

/** Nearly all packets were replayed, the audits agree. */
function checkCache(name: string, cache: PacketFlowCache): void {
  const { replayed, audits, mismatches } = cache.stats
  if (mismatches > 0) throw new Error(`${name}: ${mismatches} of ${audits} audits differ from what was replayed`)
  if (replayed < 0.99 * BATCH) throw new Error(`${name}: ${replayed} of ${BATCH} packets replayed`)
}

/** Sends one more packet and looks at what the far eth0 receives. */
function checkLastFrame(path: Path, hops: number): void {
  const w = path.cluster.world
  let seen: Uint8Array | null = null
  const tap: PacketTap = {
    frame(direction, slot, dev) {
      if (direction === 0 && dev === path.serverDev) seen = w.arena.frameBytes(slot)
    },
  }
  w.tap = tap
  injectFrame(w, path.clientDev, path.frame)
  w.tap = null
  if (seen === null) throw new Error('the last frame did not arrive')
  const bytes: Uint8Array = seen
  const v = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const wrong: string[] = []
  const expect = (what: string, got: number, want: number): void => {
    if (got !== want) wrong.push(`${what} is ${got}, expected ${want}`)
  }
  expect('length', bytes.length, path.frame.length)
  expect('destination MAC', v.getInt32(2), path.serverDev.macLo)
  expect('source', v.getInt32(26), path.src)
  expect('destination', v.getInt32(30), path.serverIp)
  expect('TTL', v.getUint8(22), 64 - hops)
  expect('source port', v.getUint16(34), CLIENT_PORT)
  expect('destination port', v.getUint16(36), ECHO_PORT)
  expect('IP checksum', foldChecksum(sumWords(v, 14, 20)), 0)
  const l4 = bytes.length - 34
  expect('UDP checksum', foldChecksum(sumWords(v, 34, l4, pseudoSumV4(path.src, path.serverIp, 17, l4))), 0)
  for (let i = 42; i < bytes.length; i++) expect(`payload byte ${i}`, bytes[i]!, path.frame[i]!)
  if (wrong.length > 0) throw new Error(wrong.join('\n'))
}
