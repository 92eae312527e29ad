/**
 * What the labels of Calico's selectors mean, by where the selector stands: on endpoints, namespaces or ServiceAccounts.
 *
 * Sources: projectcalico libcalico-go/lib/backend/k8s/conversion (pcns. and pcsa. prefixes), api/v3 constants.go.
 */
import { parseCalicoSelector, type SelectorNode } from '../../kubernetes/calico-selector.ts'
import { and, type Expr, FALSE, type LabelScope, not, or, TRUE } from '../expr.ts'

/** What a label name means: which scope it is looked up in. */
export type LabelOf = (key: string) => { readonly scope: LabelScope; readonly key: string }

/** A selector as an expression; a broken one, which validation has reported, selects nothing. */
export function calicoExpr(text: string | undefined, labelOf: LabelOf, global: Expr = FALSE, all: Expr = TRUE): Expr {
  const parsed = parseCalicoSelector(text ?? '')
  return parsed.node === undefined ? FALSE : toExpr(parsed.node, labelOf, global, all)
}

function toExpr(node: SelectorNode, labelOf: LabelOf, global: Expr, all: Expr): Expr {
  switch (node.op) {
    case 'all':
      return all
    case 'global':
      return global
    case 'has':
      return { op: 'has', ...labelOf(node.key) }
    case 'in':
      return node.values.length === 0 ? FALSE : { op: 'in', ...labelOf(node.key), values: node.values }
    case 'text':
      return { op: 'text', how: node.how, ...labelOf(node.key), value: node.value }
    case 'not':
      return not(toExpr(node.of, labelOf, global, all))
    case 'and':
      return and(node.of.map((n) => toExpr(n, labelOf, global, all)))
    case 'or':
      return or(node.of.map((n) => toExpr(n, labelOf, global, all)))
  }
}

/** Labels of a workload endpoint: the pod's own, and the ones that Calico adds. */
export const workloadLabel: LabelOf = (key) => {
  if (key.startsWith('pcns.')) return { scope: 'namespace', key: key.slice(5) }
  if (key.startsWith('pcsa.')) return { scope: 'serviceaccount', key: key.slice(5) }
  if (key === 'projectcalico.org/namespace') return { scope: 'meta', key: 'namespace' }
  if (key === 'projectcalico.org/serviceaccount') return { scope: 'meta', key: 'serviceaccount' }
  if (key === 'projectcalico.org/orchestrator') return { scope: 'meta', key: 'orchestrator' }
  return { scope: 'pod', key }
}

/** Labels of a namespace. */
export const namespaceLabel: LabelOf = (key) => {
  if (key === 'projectcalico.org/name' || key === 'projectcalico.org/namespace')
    return { scope: 'meta', key: 'namespace' }
  return { scope: 'namespace', key }
}

/** Labels of a ServiceAccount. */
export const serviceAccountLabel: LabelOf = (key) => {
  if (key === 'projectcalico.org/name') return { scope: 'meta', key: 'serviceaccount' }
  return { scope: 'serviceaccount', key }
}
