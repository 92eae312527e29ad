/**
 * The JSON Schemas (2020-12) of every document that podwalk prints, by kind. `podwalk schema KIND` prints them; tests
 * validate every document against its own.
 */
import { LAB_CHECK_SCHEMA, LAB_RESULT_SCHEMA } from './schema-lab.ts'
import { ADVICE_SCHEMA, CHECK_SCHEMA, DIFF_SCHEMA, LINT_SCHEMA, REACH_SCHEMA, WHY_SCHEMA } from './schema-policy.ts'
import { BGP_STATE_SCHEMA, REASONS_SCHEMA, TABLE_SCHEMAS } from './schema-tables.ts'
import { TRACE_SCHEMA } from './schema-trace.ts'

/** A JSON Schema. */
export type JsonSchema = { readonly [keyword: string]: unknown }

/** Schemas by kind. */
export const SCHEMAS: ReadonlyMap<string, JsonSchema> = new Map<string, JsonSchema>([
  ['Trace', TRACE_SCHEMA],
  ['LabResult', LAB_RESULT_SCHEMA],
  ['LabCheck', LAB_CHECK_SCHEMA],
  ['Reach', REACH_SCHEMA],
  ['Why', WHY_SCHEMA],
  ['Advice', ADVICE_SCHEMA],
  ['Check', CHECK_SCHEMA],
  ['Diff', DIFF_SCHEMA],
  ['Lint', LINT_SCHEMA],
  ...Object.entries(TABLE_SCHEMAS),
  ['BgpState', BGP_STATE_SCHEMA],
  ['Reasons', REASONS_SCHEMA],
])
