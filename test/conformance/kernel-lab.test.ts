/**
 * Conformance with the real kernel: every recorded scenario gives the same frames on every interface, the same order of
 * events, the same results of the steps and the same state at the end.
 */
import { describe, expect, it } from '@jest/globals'
import { checkLab, formatDifferences } from '../../src/lab/compare.ts'
import { runLab } from '../../src/lab/run.ts'
import { UnmodelledError } from '../../src/lab/scenario.ts'
import { showLab } from '../../src/lab/show.ts'
import { labGolden, labNames, labScenario, labSelection } from '../support/lab.ts'

/** Scenarios that need what is not modelled yet, with the name that the simulator must give. */
const UNMODELLED: { readonly [name: string]: string } = {}
/** Scenarios whose outcome the kernel draws at random: their property is checked instead. */
const RANDOM = ['nf-statistic-random']

const selection = labSelection()
const names = labNames().filter((name) => selection === null || selection.includes(name))
const modelled = names.filter((name) => UNMODELLED[name] === undefined && !RANDOM.includes(name))
const unmodelled = names.filter((name) => UNMODELLED[name] !== undefined)

if (modelled.length > 0) {
  describe('the simulator gives what the real kernel gave', () => {
    it.each(modelled)('%s', (name) => {
      const got = runLab(labScenario(name))
      const differences = checkLab(got, labGolden(name))
      if (differences.length === 0) return
      const whole =
        selection === null
          ? ''
          : `\n--- the simulator's run\n${showLab(got)}--- the kernel's run\n${showLab(labGolden(name))}`
      throw new Error(
        `${name}: ${differences.length} differences (expected = kernel, got = simulator)\n${formatDifferences(differences)}${whole}`,
      )
    })
  })
}

if (unmodelled.length > 0) {
  describe('what is not modelled is named, not answered wrongly', () => {
    it.each(unmodelled)('%s', (name) => {
      let feature = ''
      try {
        runLab(labScenario(name))
      } catch (e) {
        if (!(e instanceof UnmodelledError)) throw e
        feature = e.feature
      }
      expect(feature).toBe(UNMODELLED[name])
    })
  })
}

if (names.includes('nf-statistic-random')) {
  describe('nf-statistic-random', () => {
    it('spreads 300 connections over three endpoints as a binomial(300, 1/3) would', () => {
      const got = runLab(labScenario('nf-statistic-random'))
      const counts = new Map<string, number>()
      for (const iface of ['h2/eth0', 'h3/eth0']) {
        for (const hex of got.ifaces[iface] ?? []) {
          const destination = hex.slice(60, 68)
          counts.set(destination, (counts.get(destination) ?? 0) + 1)
        }
      }
      expect([...counts.keys()].sort()).toEqual(['0a020002', '0a020016', '0a030002'])
      expect([...counts.values()].reduce((a, b) => a + b, 0)).toBe(300)
      const sigma = Math.sqrt((300 * 2) / 9)
      for (const n of counts.values()) expect(Math.abs(n - 100)).toBeLessThan(5 * sigma)
    })
  })
}
