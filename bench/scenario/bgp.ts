/**
 * BGP at scale: how long fabrics of speakers take until everybody has every block, in memory with virtual time (no simulated
 * TCP), and what it costs in UPDATEs and RIB memory. CPU milliseconds, one run a row for the large ones.
 */
import { converge, fullMesh, reflected, type ScaleResult, twoLevels } from '../../test/support/bgp-scale.ts'
import { type BenchRow, rowOf } from '../harness.ts'
import type { Suite } from '../suites.ts'

type Fabric = readonly [name: string, runs: number, make: () => Parameters<typeof converge>[0]]

const FABRICS: readonly Fabric[] = [
  ['bgp/mesh-50', 5, () => fullMesh(50)],
  ['bgp/mesh-100', 5, () => fullMesh(100)],
  ['bgp/two-level-500', 2, () => twoLevels(500)],
  ['bgp/two-level-1000', 2, () => twoLevels(1000)],
  ['bgp/rr3-500', 2, () => reflected(500)],
  ['bgp/rr3-1000', 2, () => reflected(1000)],
  // minutes and gigabytes: by its own name only
  ['bgp/rr3-5000', 1, () => reflected(5000)],
]
const LARGEST = 'bgp/rr3-5000'

/** bgp/mesh, bgp/two-level, bgp/rr3 */
export const bgpSuite: Suite = async (wanted) => {
  const rows: BenchRow[] = []
  for (const [name, runs, make] of FABRICS) {
    if (name === LARGEST ? !process.argv.includes(LARGEST) : !wanted(name)) continue
    const samples: number[] = []
    let last: ScaleResult | null = null
    for (let i = 0; i < runs; i++) {
      const before = process.cpuUsage()
      last = converge(make())
      const used = process.cpuUsage(before)
      samples.push((used.user + used.system) / 1000)
      if (last.complete !== last.speakers)
        throw new Error(`${name}: ${last.complete} of ${last.speakers} have every block`)
    }
    rows.push(rowOf(name, 'ms', samples))
    rows.push(rowOf(`${name}-updates`, 'messages', [last!.updates]))
    rows.push(rowOf(`${name}-rib`, 'bytes', [last!.ribBytes]))
  }
  return rows
}
