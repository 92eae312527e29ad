/** The forwarding database of a bridge with 1,000 MACs. */
import { Fdb } from '../../src/linux/bridge/fdb.ts'
import { Random } from '../../src/linux/random.ts'
import { measure } from '../harness.ts'
import type { Suite } from '../suites.ts'

const MACS = 1000
const BATCH = 500_000

/** micro/fdb-lookup */
export const fdbSuite: Suite = async () => {
  const random = new Random(1)
  const fdb = new Fdb()
  const lo = new Int32Array(MACS)
  for (let i = 0; i < MACS; i++) {
    lo[i] = random.u32() | 0
    const at = { vid: 0, updatedNs: 0, usedNs: 0, createdNs: 0 }
    fdb.insert({ macHi: 0x0200, macLo: lo[i]!, port: null, isLocal: false, isStatic: false, addedByUser: false, ...at })
  }
  let found = 0
  const row = await measure({
    name: 'micro/fdb-lookup',
    unit: 'ops/s',
    operations: BATCH,
    run() {
      found = 0
      for (let i = 0; i < BATCH; i++) if (fdb.find(0x0200, lo[i % MACS]!) !== undefined) found++
    },
    verify() {
      if (found !== BATCH) throw new Error(`found ${found} of ${BATCH}`)
    },
  })
  return [row]
}
