/** Whether two recordings of one flow say the same: the audit of the flow cache. */
import type { FlowProgram } from './flow-program.ts'

/** Fields that may differ between two recordings of the same walk. */
const OWN: ReadonlySet<string> = new Set(['hits', 'maxLength'])

/** True when every field is equal; arrays and typed arrays element by element, objects by identity. */
export function sameProgram(a: FlowProgram, b: FlowProgram): boolean {
  return (Object.keys(a) as (keyof FlowProgram)[]).every((k) => OWN.has(k) || equal(a[k], b[k]))
}

function equal(a: unknown, b: unknown): boolean {
  const x = listOf(a)
  const y = listOf(b)
  if (x === null || y === null) return a === b
  return x.length === y.length && x.every((v, i) => v === y[i])
}

function listOf(v: unknown): readonly unknown[] | null {
  return Array.isArray(v) ? v : v instanceof Int32Array ? [...v] : null
}
