/**
 * Decisions for received packets, kept by (destination, source, DSCP, device, mark).
 *
 * Linux has none since 3.6 (the routing cache was a target); here it only saves the lookup of the route and of the source
 * (fib_validate_source): the decision itself is the one that Linux keeps in the nexthop (`nhc_rth_input`). Direct mapped, so
 * a flood of addresses costs misses, not memory. Whatever changes a decision (routes, rules, addresses, devices, settings)
 * moves `rt_genid`, which is part of the key. bench: walk/clusterip-cross-node, 3 lookups of about 120 ns become 15 ns.
 */
import type { Rtable } from './rtable.ts'

const ENTRIES = 1024
const WORDS = 6

/** The cache of one namespace. */
export class InputCache {
  private keys: Int32Array | null = null
  private readonly values: (Rtable | null)[] = []

  /** The decision, or null when it is not known. */
  find(genid: number, daddr: number, saddr: number, dscp: number, dev: number, mark: number): Rtable | null {
    const keys = this.keys
    if (keys === null) return null
    const i = slotOf(daddr, saddr, dev)
    const k = i * WORDS
    if (keys[k] !== daddr || keys[k + 1] !== saddr || keys[k + 2] !== genid) return null
    if (keys[k + 3] !== dev || keys[k + 4] !== mark || keys[k + 5] !== dscp) return null
    const rt = this.values[i]!
    return rt !== null && rt.obsolete === 0 && rt.nh!.exceptions === null ? rt : null
  }

  /** Keeps a decision. */
  store(genid: number, daddr: number, saddr: number, dscp: number, dev: number, mark: number, rt: Rtable): void {
    if (this.keys === null) {
      this.keys = new Int32Array(ENTRIES * WORDS)
      for (let i = 0; i < ENTRIES; i++) this.values.push(null)
    }
    const keys = this.keys
    const i = slotOf(daddr, saddr, dev)
    const k = i * WORDS
    keys[k] = daddr
    keys[k + 1] = saddr
    keys[k + 2] = genid
    keys[k + 3] = dev
    keys[k + 4] = mark
    keys[k + 5] = dscp
    this.values[i] = rt
  }
}

function slotOf(daddr: number, saddr: number, dev: number): number {
  const h = Math.imul(daddr ^ Math.imul(saddr, 0x9e3779b1) ^ Math.imul(dev, 0x85ebca6b), 0xc2b2ae35)
  return (h ^ (h >>> 15)) & (ENTRIES - 1)
}
