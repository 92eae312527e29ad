/**
 * The IP layer against the real kernel: scenarios recorded on Linux 6.18 (frames on every interface, results of the
 * steps, counters, tables) played in the simulator. Each fixture holds the scenario and what the kernel did.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from '@jest/globals'
import { checkLab, formatDifferences } from '../../../../src/lab/compare.ts'
import { runLab } from '../../../../src/lab/run.ts'
import type { LabResult } from '../../../../src/lab/scenario.ts'
import { parseScenario } from '../../../../src/lab/validate.ts'

const FIXTURES = new URL('./fixtures/', import.meta.url)

interface Recording {
  readonly scenario: { readonly title: string }
  readonly golden: LabResult
}

describe('the IP layer does what the recorded kernel did', () => {
  for (const file of readdirSync(FIXTURES).sort()) {
    const recording = JSON.parse(readFileSync(new URL(file, FIXTURES), 'utf8')) as Recording
    it(`${file.replace('.json', '')}: ${recording.scenario.title}`, () => {
      const { scenario, diagnostics } = parseScenario(JSON.stringify(recording.scenario), file)
      expect(diagnostics).toEqual([])
      const differences = checkLab(runLab(scenario!), recording.golden)
      expect(formatDifferences(differences)).toBe('')
    })
  }
})
