/**
 * The judge of the flow cache: one scenario in two worlds, with the cache and without, and everything that both hold.
 */
import { enableFlowCache, type PacketFlowCache } from '../../src/engine/flow-cache.ts'
import { buildLab } from '../../src/lab/build.ts'
import { LabOps } from '../../src/lab/ops.ts'
import type { LabScenario } from '../../src/lab/scenario.ts'
import { rawOpen, rawRecv } from '../../src/linux/socket/api.ts'
import type { RawSock } from '../../src/linux/socket/raw.ts'
import { execTool } from '../../src/linux/tools/exec.ts'
import type { World } from '../../src/linux/world.ts'

const NS_PER_MS = 1_000_000

/** What a world holds, in a form that can be compared. */
function dump(w: World): unknown {
  return {
    now: w.nowNs,
    random: w.random.a,
    frames: w.frameCount,
    unmodelled: w.unmodelled,
    namespaces: w.namespaces.map((ns) => ({
      name: ns.name,
      snmp: [...ns.snmp].sort(),
      devices: [...ns.devices.values()].map((d) => [
        d.name,
        [d.rxPackets, d.rxBytes, d.txPackets, d.txBytes, d.rxDropped, d.txDropped, d.rxErrors, d.txErrors],
      ]),
      iptables: execTool(ns, ['iptables-save', '-c']).stdout.replace(/^#.*$/gm, ''),
      conntrack: execTool(ns, ['conntrack', '-L']).stdout.split('\n').sort(),
      tcp: ns.ct === null ? null : [...ns.ct.hash.timeout.subarray(0, ns.ct.hash.top)],
      neighbours: ns.neigh.list().map((n) => [n.ip, n.state, n.usedNs, n.confirmedNs, n.updatedNs, n.macHi, n.macLo]),
      fdb: [...ns.devices.values()].map((d) =>
        (d.bridge?.fdb.entries() ?? []).map((e) => [e.macHi, e.macLo, e.port?.dev.name, e.updatedNs, e.usedNs]),
      ),
    })),
  }
}

/** Plays the scenario, every packet `times` times. @returns results, packets at raw sockets and the world's dump */
export function playTwin(
  scenario: LabScenario,
  cached: boolean,
  times: number,
): { dump: unknown; cache: PacketFlowCache | null } {
  const w = buildLab(scenario)
  const cache = cached ? enableFlowCache(w, { places: 1024, auditEvery: 4 }) : null
  const raws = w.namespaces.flatMap((ns) => [6, 17].map((proto) => rawOpen(ns, proto))) as RawSock[]
  const ops = new LabOps(w, scenario)
  const results: unknown[] = []
  const packets: unknown[] = []
  w.runUntilQuiet(30 * NS_PER_MS, 6000 * NS_PER_MS)
  for (const step of scenario.steps) {
    const repeat = step.op === 'frame' || step.op === 'udp_send' || step.op === 'tcp_send' ? times : 1
    for (let i = 0; i < repeat; i++) results.push(ops.run(step))
    w.runUntilQuiet((step.quiet_ms ?? scenario.quiet_ms ?? 25) * NS_PER_MS, 6000 * NS_PER_MS)
    for (const raw of raws) {
      for (let p = rawRecv(raw); typeof p !== 'number'; p = rawRecv(raw)) packets.push(p)
    }
  }
  return { dump: { results, packets, world: dump(w) }, cache }
}
