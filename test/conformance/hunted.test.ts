/**
 * Labs that once differed from the real kernel, shrunk and recorded by the hunter (npm run hunt): they must stay equal.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from '@jest/globals'
import { checkLab, formatDifferences } from '../../src/lab/compare.ts'
import { runLab } from '../../src/lab/run.ts'
import type { LabResult } from '../../src/lab/scenario.ts'
import { parseScenario } from '../../src/lab/validate.ts'

const FOLDER = fileURLToPath(new URL('../fixtures/hunted/', import.meta.url))
const names = readdirSync(`${FOLDER}scenarios`)
  .map((f) => f.replace(/\.json$/, ''))
  .sort()

describe('hunted labs give what the real kernel gave', () => {
  it.each(names)('%s', (name) => {
    const file = `${FOLDER}scenarios/${name}.json`
    const { scenario, diagnostics } = parseScenario(readFileSync(file, 'utf8'), file)
    expect(diagnostics).toEqual([])
    const kernel = JSON.parse(readFileSync(`${FOLDER}golden/${name}.json`, 'utf8')) as LabResult
    expect(kernel.kernel).not.toBe('podwalk')
    expect(formatDifferences(checkLab(runLab(scenario!, { strict: true }), kernel))).toBe('')
  })
})
