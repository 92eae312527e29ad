/**
 * What if: the manifests with other files over them and without some objects, before anything is built.
 *
 * An object of `--with` takes the place of the one with its kind, namespace and name, or is new. `--without` names an object
 * as `Kind/NS/NAME`, `Kind/NAME`, `NS/NAME` or `NAME`, of any policy kind when the kind is not given.
 */
import { type Diagnostic, NO_POSITION } from '../diagnostics/diagnostic.ts'
import type { Loaded } from '../kubernetes/load.ts'
import { nearest } from '../kubernetes/names.ts'
import type { KubernetesObject, LoadedObject } from '../kubernetes/types.ts'

/** The changed set, and what was changed. */
export interface WhatIf {
  readonly loaded: Loaded
  /** One line for each object that was added, replaced or left out. */
  readonly notes: readonly string[]
}

function keyOf(o: KubernetesObject): string {
  const group = o.apiVersion.includes('/') ? o.apiVersion.split('/')[0] : ''
  return `${group}/${o.kind}/${o.metadata.namespace ?? 'default'}/${o.metadata.name}`
}

function titleOf(o: KubernetesObject): string {
  return `${o.kind} ${o.metadata.namespace ? `${o.metadata.namespace}/` : ''}${o.metadata.name}`
}

/** Applies both; what is wrong becomes diagnostics of the result. */
export function applyWhatIf(loaded: Loaded, over: Loaded | null, without: readonly string[]): WhatIf {
  const notes: string[] = []
  const diagnostics: Diagnostic[] = [...loaded.diagnostics, ...(over?.diagnostics ?? [])]
  let objects: LoadedObject[] = [...loaded.objects]
  const added = new Map((over?.objects ?? []).map((o) => [keyOf(o.object), o]))
  objects = objects.map((o) => {
    const key = keyOf(o.object)
    const replacement = added.get(key)
    if (replacement === undefined) return o
    added.delete(key)
    notes.push(`with: ${titleOf(o.object)} replaced`)
    return replacement
  })
  for (const o of added.values()) {
    notes.push(`with: ${titleOf(o.object)} added`)
    objects.push(o)
  }
  for (const name of without) {
    const left = objects.filter((o) => !isNamed(o.object, name))
    if (left.length === objects.length) diagnostics.push(notFound(name, objects))
    for (const o of objects) if (!left.includes(o)) notes.push(`without: ${titleOf(o.object)}`)
    objects = left
  }
  return { loaded: { objects, diagnostics, files: [...loaded.files, ...(over?.files ?? [])] }, notes }
}

function isNamed(o: KubernetesObject, text: string): boolean {
  const parts = text.split('/')
  const { name, namespace = 'default' } = o.metadata
  if (parts[parts.length - 1] !== name) return false
  const isPolicy = o.kind.endsWith('NetworkPolicy')
  switch (parts.length) {
    case 1:
      return isPolicy
    case 2:
      return parts[0]!.toLowerCase() === o.kind.toLowerCase() || (isPolicy && parts[0] === namespace)
    default:
      return parts[0]!.toLowerCase() === o.kind.toLowerCase() && parts[1] === namespace
  }
}

function notFound(name: string, objects: readonly LoadedObject[]): Diagnostic {
  const policies = objects.filter((o) => o.object.kind.endsWith('NetworkPolicy')).map((o) => o.object.metadata.name)
  const near = nearest(name.split('/').pop()!, new Set(policies))
  return {
    code: 'unresolvable',
    severity: 'error',
    message: `--without ${name}: no such object`,
    ...NO_POSITION,
    ...(near.length > 0 && { hint: `did you mean ${near.join(', ')}?` }),
  }
}
