/**
 * YAML of any document: keys sorted, as the JSON has them. A file of its own, because loading the YAML writer takes longer
 * than most reports.
 */
import { stringify } from 'yaml'
import { sortKeys } from './json.ts'

/** The document as YAML. */
export function toYaml(document: unknown): string {
  return stringify(sortKeys(document), { aliasDuplicateObjects: false, lineWidth: 0 })
}
