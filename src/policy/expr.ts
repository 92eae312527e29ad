/**
 * Label expressions: what every selector of every policy kind is compiled to.
 *
 * A Kubernetes LabelSelector, Calico's selector language and Cilium's EndpointSelector differ in how they are written and
 * in which labels they look at, not in what can be said. A label is a scope and a key: `pod`, `namespace`,
 * `serviceaccount` and `node` labels, and `meta` for what the system itself knows (namespace and ServiceAccount name,
 * Cilium's reserved identities).
 *
 * `NotIn` and `!=` are true when the key is absent (k8s.io/apimachinery pkg/labels Requirement.Matches; Calico
 * libcalico-go/lib/selector).
 */
import type { LabelSelector, StringMap } from '../kubernetes/types.ts'

/** Which labels a key is looked up in. */
export type LabelScope = 'pod' | 'namespace' | 'serviceaccount' | 'node' | 'meta'

/** A boolean expression over labels. */
export type Expr =
  | { readonly op: 'true' }
  | { readonly op: 'false' }
  | { readonly op: 'in'; readonly scope: LabelScope; readonly key: string; readonly values: readonly string[] }
  | { readonly op: 'has'; readonly scope: LabelScope; readonly key: string }
  | {
      readonly op: 'text'
      readonly how: 'contains' | 'starts' | 'ends'
      readonly scope: LabelScope
      readonly key: string
      readonly value: string
    }
  | { readonly op: 'not'; readonly of: Expr }
  | { readonly op: 'and' | 'or'; readonly of: readonly Expr[] }

/** Whoever has labels. */
export interface Labelled {
  readonly labels: Readonly<Record<LabelScope, StringMap>>
}

/** Matches everything. */
export const TRUE: Expr = { op: 'true' }
/** Matches nothing. */
export const FALSE: Expr = { op: 'false' }

/** The key has this value. */
export function eq(scope: LabelScope, key: string, value: string): Expr {
  return { op: 'in', scope, key, values: [value] }
}

/** All of them; simplified. */
export function and(parts: readonly Expr[]): Expr {
  const of = parts.filter((p) => p.op !== 'true')
  if (of.some((p) => p.op === 'false')) return FALSE
  return of.length === 0 ? TRUE : of.length === 1 ? of[0]! : { op: 'and', of }
}

/** One of them; simplified. */
export function or(parts: readonly Expr[]): Expr {
  const of = parts.filter((p) => p.op !== 'false')
  if (of.some((p) => p.op === 'true')) return TRUE
  return of.length === 0 ? FALSE : of.length === 1 ? of[0]! : { op: 'or', of }
}

/** The opposite. */
export function not(of: Expr): Expr {
  if (of.op === 'true') return FALSE
  if (of.op === 'false') return TRUE
  return of.op === 'not' ? of.of : { op: 'not', of }
}

/** A metav1.LabelSelector that is present; an empty one matches everything. */
export function selectorExpr(selector: LabelSelector, scope: LabelScope): Expr {
  const parts: Expr[] = []
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) parts.push(eq(scope, key, value ?? ''))
  for (const r of selector.matchExpressions ?? []) {
    const values = r.values ?? []
    switch (r.operator) {
      case 'In':
        parts.push({ op: 'in', scope, key: r.key, values })
        break
      case 'NotIn':
        parts.push(not({ op: 'in', scope, key: r.key, values }))
        break
      case 'Exists':
        parts.push({ op: 'has', scope, key: r.key })
        break
      case 'DoesNotExist':
        parts.push(not({ op: 'has', scope, key: r.key }))
        break
      default:
        // An operator that validation refuses: nothing is selected rather than everything.
        parts.push(FALSE)
    }
  }
  return and(parts)
}

function lookup(labels: StringMap, key: string): string | undefined {
  return Object.hasOwn(labels, key) ? labels[key] : undefined
}

/** True when the labels satisfy the expression. */
export function matches(expr: Expr, who: Labelled): boolean {
  switch (expr.op) {
    case 'true':
      return true
    case 'false':
      return false
    case 'in': {
      const value = lookup(who.labels[expr.scope], expr.key)
      return value !== undefined && expr.values.includes(value)
    }
    case 'has':
      return Object.hasOwn(who.labels[expr.scope], expr.key)
    case 'text': {
      const value = lookup(who.labels[expr.scope], expr.key)
      if (value === undefined) return false
      if (expr.how === 'contains') return value.includes(expr.value)
      return expr.how === 'starts' ? value.startsWith(expr.value) : value.endsWith(expr.value)
    }
    case 'not':
      return !matches(expr.of, who)
    case 'and':
      for (const part of expr.of) if (!matches(part, who)) return false
      return true
    case 'or':
      for (const part of expr.of) if (matches(part, who)) return true
      return false
  }
}

/** The expression as people write it: `app=web,tier notin (db),has(team)`. */
export function exprText(expr: Expr): string {
  switch (expr.op) {
    case 'true':
      return 'everything'
    case 'false':
      return 'nothing'
    case 'in':
      return expr.values.length === 1 ? `${expr.key}=${expr.values[0]}` : `${expr.key} in (${expr.values.join(', ')})`
    case 'has':
      return `has ${expr.key}`
    case 'text':
      return `${expr.key} ${expr.how} "${expr.value}"`
    case 'not': {
      const of = expr.of
      if (of.op === 'in') {
        return of.values.length === 1 ? `${of.key}!=${of.values[0]}` : `${of.key} notin (${of.values.join(', ')})`
      }
      return of.op === 'has' ? `no ${of.key}` : `not (${exprText(of)})`
    }
    case 'and':
    case 'or':
      return expr.of
        .map((p) => (p.op === 'and' || p.op === 'or' ? `(${exprText(p)})` : exprText(p)))
        .join(expr.op === 'and' ? ', ' : ' or ')
  }
}

/** The parts of a conjunction that do not hold, for a nearest miss. */
export function failingParts(expr: Expr, who: Labelled): Expr[] {
  if (expr.op === 'and') return expr.of.flatMap((p) => failingParts(p, who))
  return matches(expr, who) ? [] : [expr]
}

/** Keys of a scope that the expression names. */
export function keysOf(expr: Expr, scope: LabelScope): string[] {
  switch (expr.op) {
    case 'true':
    case 'false':
      return []
    case 'not':
      return keysOf(expr.of, scope)
    case 'and':
    case 'or':
      return expr.of.flatMap((p) => keysOf(p, scope))
    default:
      return expr.scope === scope ? [expr.key] : []
  }
}
