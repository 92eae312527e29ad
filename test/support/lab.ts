/**
 * Kernel-lab scenarios in tests: load a fixture, run it in the simulator, say clearly what differs.
 *
 * LAB=NAME[,NAME...] limits the conformance suite to those scenarios and prints the whole decoded run of each.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { formatDiagnostics } from '../../src/diagnostics/diagnostic.ts'
import type { LabResult, LabScenario } from '../../src/lab/scenario.ts'
import { parseScenario } from '../../src/lab/validate.ts'

const FIXTURES = fileURLToPath(new URL('../fixtures/kernel-lab/', import.meta.url))

/** Names of all scenario fixtures. */
export function labNames(): string[] {
  return readdirSync(`${FIXTURES}scenarios`)
    .map((f) => f.replace(/\.json$/, ''))
    .sort()
}

/** The scenario of that name; a fixture that does not validate is an error. */
export function labScenario(name: string): LabScenario {
  const file = `${FIXTURES}scenarios/${name}.json`
  const { scenario, diagnostics } = parseScenario(readFileSync(file, 'utf8'), file)
  if (scenario === null) throw new Error(formatDiagnostics(diagnostics))
  return scenario
}

/** What the real kernel did with the scenario of that name. */
export function labGolden(name: string): LabResult {
  return JSON.parse(readFileSync(`${FIXTURES}golden/${name}.json`, 'utf8')) as LabResult
}

/** Scenarios that the LAB variable asks for, null when it asks for none. */
export function labSelection(): readonly string[] | null {
  const names = process.env.LAB
  return names === undefined || names === '' ? null : names.split(',')
}
