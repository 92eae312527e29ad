/**
 * What is outside the cluster, as a few ranges of addresses: cut where policies cut, whole where they do not.
 */
import { type AddressAtom, AddressAtoms } from './atoms.ts'
import { allBlocks } from './classes.ts'
import type { PolicyEngine } from './engine.ts'

const known = new WeakMap<PolicyEngine, readonly AddressAtom[]>()

/** The atoms of all blocks that policies name; IPv6 only when a pod has an IPv6 address. */
export function externalAtoms(engine: PolicyEngine): readonly AddressAtom[] {
  let atoms = known.get(engine)
  if (atoms === undefined) {
    const families = new Set(engine.input.pods.flatMap((p) => p.addresses.map((a) => a.family)))
    if (families.size === 0) families.add(4)
    atoms = new AddressAtoms(allBlocks(engine.policies)).all().filter((a) => families.has(a.family))
    known.set(engine, atoms)
  }
  return atoms
}
