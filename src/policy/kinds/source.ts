/**
 * Places inside the manifest of a policy.
 */
import type { SourcePosition } from '../../diagnostics/diagnostic.ts'
import type { FieldPath, KubernetesObject, Sourced } from '../../kubernetes/types.ts'

/** Where a field of the object is; the object itself when it came from no file. */
export function positionIn(
  sourced: Sourced<KubernetesObject>,
  prefix: FieldPath = [],
): (path: FieldPath) => SourcePosition {
  return (path) => sourced.positionOf?.([...prefix, ...path]) ?? sourced.source
}
