/**
 * Fabrics of many speakers come to rest with every block everywhere; bench/scenario/bgp.ts has the large ones.
 */
import { describe, expect, it } from '@jest/globals'
import { converge, fullMesh, reflected, twoLevels } from '../../support/bgp-scale.ts'

describe('a fabric', () => {
  it('of a full mesh of 40: every node hears of every block once', () => {
    const r = converge(fullMesh(40))
    expect(r).toMatchObject({ speakers: 40, sessions: 780, complete: 40, blocks: 40, paths: 1600 })
    // an UPDATE and an End-of-RIB from everybody to everybody
    expect(r.updates).toBe(2 * 40 * 39)
  })

  it('of two levels of route reflectors: no loop, no gap', () => {
    const r = converge(twoLevels(90, 30))
    expect(r).toMatchObject({ speakers: 98, complete: 98, blocks: 90 })
  })

  it('of three reflectors for all: three paths of every block but the own, one cluster', () => {
    const r = converge(reflected(80))
    expect(r).toMatchObject({ speakers: 83, sessions: 243, complete: 83, blocks: 80 })
    // a node: its own block, three paths of each other; a reflector: one of each (its sisters have its cluster id)
    expect(r.paths).toBe(80 * (1 + 3 * 79) + 3 * 80)
  })
})
