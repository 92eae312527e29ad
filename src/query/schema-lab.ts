/**
 * JSON Schemas of the lab: of a comparison (`podwalk lab check`), and of a recording (`podwalk lab run`), which is in the format of the kernel lab, so that a
 * recording of the simulator and one of the real kernel are compared as they are.
 */
import { BOOL, COUNT, documentOf, exactly, listOf, orNull, TEXT, TEXTS, words } from './schema-parts.ts'

const HEX = { type: 'string', pattern: '^([0-9a-f]{2})*$' }
const byInterface = (value: object): { readonly [k: string]: unknown } => ({
  type: 'object',
  additionalProperties: value,
})
const row = (...items: readonly object[]): { readonly [k: string]: unknown } => ({
  type: 'array',
  prefixItems: items,
  items: false,
  minItems: items.length,
})

/** Schema of a recording. */
export const LAB_RESULT_SCHEMA = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  $id: 'https://podwalk.dev/schemas/v1alpha1/LabResult.json',
  title: 'The recording of a lab scenario',
  ...exactly(
    {
      apiVersion: { const: 'podwalk.dev/v1alpha1' },
      kind: { const: 'LabResult' },
      scenario: TEXT,
      title: TEXT,
      kernel: TEXT,
      iptables_backend: orNull(TEXT),
      link_types: byInterface(words('ether', 'ip')),
      ifaces: byInterface(listOf(HEX)),
      events: listOf(row({ type: 'integer', minimum: -1 }, TEXT, words('tx', 'rx'), COUNT)),
      ops: listOf({
        type: 'object',
        properties: { step: COUNT, op: TEXT },
        required: ['step', 'op'],
        description: 'What a step gave: the fields of its op, or errno.',
      }),
      state: {
        type: 'object',
        additionalProperties: { anyOf: [TEXTS, { type: 'object', additionalProperties: { type: 'number' } }] },
      },
      volatile: listOf(row(TEXT, COUNT, listOf(row(COUNT, COUNT, TEXT)))),
      raw: byInterface(listOf(HEX)),
      csum_partial_seen: BOOL,
    },
    // What the kernel lab's own recorder writes has neither.
    ['apiVersion', 'kind', 'volatile', 'raw', 'csum_partial_seen'],
  ),
}

/** Schema of a comparison with a recording. */
export const LAB_CHECK_SCHEMA = documentOf('LabCheck', 'A scenario compared with its recording', {
  scenario: TEXT,
  equal: BOOL,
  differences: listOf(
    exactly({ kind: words('frames', 'order', 'ops', 'state'), place: TEXT, message: TEXT, expected: TEXT, got: TEXT }, [
      'expected',
      'got',
    ]),
  ),
})
