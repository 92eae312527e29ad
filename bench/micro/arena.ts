/** The packet arena: taking and giving back a slot, copying a packet. */
import { PacketArena } from '../../src/packet/arena.ts'
import { type BenchRow, measure } from '../harness.ts'
import type { Suite } from '../suites.ts'

const BATCH = 200_000

/** micro/arena-* */
export const arenaSuite: Suite = async (wanted) => {
  const rows: BenchRow[] = []
  const arena = new PacketArena()
  const verify = (): void => {
    if (arena.inUse !== 0) throw new Error(`${arena.inUse} slots leaked`)
  }
  if (wanted('micro/arena-alloc-free')) {
    rows.push(
      await measure({
        name: 'micro/arena-alloc-free',
        unit: 'ops/s',
        operations: BATCH,
        run() {
          for (let i = 0; i < BATCH; i++) arena.free(arena.alloc(60))
        },
        verify,
      }),
    )
  }
  if (wanted('micro/arena-clone')) {
    rows.push(
      await measure({
        name: 'micro/arena-clone',
        unit: 'ops/s',
        operations: BATCH,
        run() {
          const slot = arena.fromFrame(new Uint8Array(60))
          for (let i = 0; i < BATCH; i++) arena.free(arena.clone(slot))
          arena.free(slot)
        },
        verify,
      }),
    )
  }
  return rows
}
