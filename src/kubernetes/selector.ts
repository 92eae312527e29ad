/**
 * Label selectors: metav1.LabelSelector (workloads, policies, affinity) and plain maps (Services, nodeSelector).
 *
 * A null selector matches nothing, an empty one everything. Gt and Lt exist for node selectors only.
 *
 * Sources: k8s.io/apimachinery/pkg/labels/selector.go, k8s.io/component-helpers/scheduling/corev1/nodeaffinity.
 */
import type { LabelSelector, SelectorRequirement, StringMap } from './types.ts'

/** True when the labels have all pairs of the map. */
export function matchesMap(selector: StringMap, labels: StringMap): boolean {
  for (const key in selector) if (labels[key] !== selector[key]) return false
  return true
}

/** True when the labels satisfy the selector; undefined matches nothing. */
export function matchesSelector(selector: LabelSelector | undefined | null, labels: StringMap): boolean {
  if (selector === undefined || selector === null) return false
  if (selector.matchLabels && !matchesMap(selector.matchLabels, labels)) return false
  return (selector.matchExpressions ?? []).every((requirement) => matchesRequirement(requirement, labels))
}

/** True when the labels satisfy one requirement of a label or node selector. */
export function matchesRequirement(requirement: SelectorRequirement, labels: StringMap): boolean {
  const value = labels[requirement.key]
  const values = requirement.values ?? []
  switch (requirement.operator) {
    case 'In':
      return value !== undefined && values.includes(value)
    case 'NotIn':
      return value === undefined || !values.includes(value)
    case 'Exists':
      return value !== undefined
    case 'DoesNotExist':
      return value === undefined
    case 'Gt':
      return value !== undefined && Number.parseInt(value, 10) > Number.parseInt(values[0] ?? '', 10)
    case 'Lt':
      return value !== undefined && Number.parseInt(value, 10) < Number.parseInt(values[0] ?? '', 10)
    default:
      return false
  }
}
