/**
 * The generator of hunted labs: a seed names a lab, every lab is a valid scenario, topics steer what is in it.
 */
import { describe, expect, it } from '@jest/globals'
import { formatDiagnostics } from '../../../src/diagnostics/diagnostic.ts'
import { Dice, labSeed } from '../../../src/lab/hunt/dice.ts'
import { TOPICS } from '../../../src/lab/hunt/draft.ts'
import { generateLab } from '../../../src/lab/hunt/generate.ts'
import type { LabScenario } from '../../../src/lab/scenario.ts'
import { parseScenario } from '../../../src/lab/validate.ts'

const SEEDS = Array.from({ length: 100 }, (_, i) => labSeed(77, i))

describe('generateLab', () => {
  it('gives the same lab for the same seed and another for another', () => {
    const texts = SEEDS.map((s) => JSON.stringify(generateLab(s)))
    expect(SEEDS.map((s) => JSON.stringify(generateLab(s)))).toEqual(texts)
    expect(new Set(texts).size).toBe(texts.length)
  })

  it('gives scenarios that validate, with steps, an own name and questions about the state', () => {
    for (const seed of SEEDS) {
      const lab = generateLab(seed)
      const { diagnostics } = parseScenario(JSON.stringify(lab), 'lab.json')
      expect(formatDiagnostics(diagnostics)).toBe('')
      expect(lab.name).toBe(`hunt-${seed.toString(16).padStart(8, '0')}`)
      expect(lab.steps.length).toBeGreaterThan(0)
      expect(lab.state!.length).toBeGreaterThan(0)
    }
  })

  it('never asks the kernel for randomness', () => {
    for (const seed of SEEDS) {
      for (const text of Object.values(generateLab(seed).iptables ?? {})) {
        expect(text).not.toMatch(/--random|--mode random|-j LOG/)
      }
    }
  })

  it.each(TOPICS)('has labs about %s only', (topic) => {
    const labs = SEEDS.slice(0, 20).map((s) => generateLab(s, [topic]))
    expect(labs.every((l) => l.title === `hunted: ${topic}`)).toBe(true)
  })

  it('puts into a topic what the topic is about', () => {
    const share = (topic: (typeof TOPICS)[number], has: (l: LabScenario) => boolean): number =>
      SEEDS.filter((s) => has(generateLab(s, [topic]))).length / SEEDS.length
    const arpFrame = (l: LabScenario): boolean => l.steps.some((s) => s.hex?.slice(24, 28) === '0806')
    expect(share('arp', arpFrame)).toBeGreaterThan(0.6)
    expect(share('arp', arpFrame)).toBeGreaterThan(2 * share('tcp', arpFrame))
    const nat = (l: LabScenario): boolean => Object.values(l.iptables ?? {}).some((t) => t.includes('*nat'))
    expect(share('nat', nat)).toBeGreaterThan(0.7)
    expect(share('ipset', (l) => l.ipset !== undefined)).toBeGreaterThan(0.7)
    const bnf = (l: LabScenario): boolean => JSON.stringify(l.sysctl ?? {}).includes('bridge-nf-call-iptables')
    expect(share('bnf', bnf)).toBeGreaterThan(0.4)
  })
})

describe('Dice', () => {
  it('throws within its bounds and with its weights', () => {
    const d = new Dice(5)
    const counts = [0, 0, 0]
    for (let i = 0; i < 3000; i++) {
      const n = d.between(3, 5)
      expect(n).toBeGreaterThanOrEqual(3)
      expect(n).toBeLessThanOrEqual(5)
      const i2 = d.weighted([
        [1, 0],
        [0, 1],
        [3, 2],
      ])
      counts[i2] = counts[i2]! + 1
    }
    expect(counts[1]).toBe(0)
    expect(counts[2]! / counts[0]!).toBeGreaterThan(2.4)
    expect(counts[2]! / counts[0]!).toBeLessThan(3.7)
    expect(d.shuffle([1, 2, 3, 4]).sort()).toEqual([1, 2, 3, 4])
  })

  it('gives every lab of a hunt another seed', () => {
    expect(new Set(Array.from({ length: 20000 }, (_, i) => labSeed(1, i))).size).toBeGreaterThan(19990)
    expect(labSeed(1, 0)).not.toBe(labSeed(2, 0))
  })
})
