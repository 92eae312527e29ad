/**
 * Validation: which of the loaded objects the API server would accept, and everything it would say about the others.
 *
 * Per object: the kind is known, the shape fits its schema (schema.ts), the name is a name; then the rules between
 * fields (validate-fields.ts). Over all: no object twice. Objects with an error are left out of what is returned, so
 * that the rest can still be built and judged.
 *
 * Sources: k8s.io/kubernetes/pkg/apis/{core,apps,batch,discovery,networking}/validation.
 */
import type { Diagnostics } from '../diagnostics/diagnostic.ts'
import { formatPosition } from '../diagnostics/diagnostic.ts'
import type { KnownKind } from './kinds.ts'
import { allKindNames, hasNoEffect, knownKind, replacementOf } from './kinds.ts'
import { badLabel, badLabel1035, badSubdomain, didYouMean } from './names.ts'
import { checkSchema, describe } from './schema.ts'
import type { KubernetesObject, LoadedObject } from './types.ts'
import { checkTiers } from './validate-calico-policy.ts'
import { checkFields } from './validate-fields.ts'

/** The objects that passed, by kind, in input order. */
export class ValidObjects {
  private readonly byKind = new Map<string, LoadedObject[]>()
  /** Objects of kinds that podwalk does not build from. */
  readonly others: LoadedObject[] = []

  /** Objects of one of podwalk's known kinds, given as `apiVersion/kind`. */
  of<T extends KubernetesObject>(kind: string): readonly LoadedObject<T>[] {
    return (this.byKind.get(kind) ?? []) as unknown as LoadedObject<T>[]
  }

  /** Files an object under its kind. */
  add(kind: string, object: LoadedObject): void {
    const list = this.byKind.get(kind)
    if (list === undefined) this.byKind.set(kind, [object])
    else list.push(object)
  }
}

/** Checks all objects; findings go to `diagnostics`. */
export function validateObjects(objects: readonly LoadedObject[], diagnostics: Diagnostics): ValidObjects {
  const valid = new ValidObjects()
  const unknown = new Map<string, LoadedObject[]>()
  const seen = new Map<string, LoadedObject>()
  for (const loaded of objects) {
    const { apiVersion, kind } = loaded.object
    const known = knownKind(apiVersion, kind)
    if (known === undefined) {
      valid.others.push(loaded)
      if (hasNoEffect(apiVersion, kind)) continue
      const key = `${apiVersion}/${kind}`
      const list = unknown.get(key)
      if (list === undefined) unknown.set(key, [loaded])
      else list.push(loaded)
      continue
    }
    const before = loaded.object.metadata.name
    let isGood = checkSchema(loaded, known.schema, diagnostics)
    isGood = checkName(loaded, known, diagnostics) && isGood
    if (known.isNamespaced && !loaded.object.metadata.namespace) loaded.object.metadata.namespace = 'default'
    if (typeof before === 'string') isGood = checkUnique(loaded, seen, diagnostics) && isGood
    if (isGood) isGood = checkFields(loaded, diagnostics)
    if (isGood) valid.add(`${apiVersion}/${kind}`, loaded)
  }
  reportUnknownKinds(unknown, diagnostics)
  checkTiers(objects, diagnostics)
  return valid
}

function checkName(loaded: LoadedObject, known: KnownKind, diagnostics: Diagnostics): boolean {
  const { name, generateName, namespace } = loaded.object.metadata as Record<string, unknown>
  let isGood = true
  if (name === undefined || name === null || name === '') {
    if (typeof generateName === 'string' && generateName !== '') return true
    // A cluster description needs no name.
    if (loaded.object.kind === 'Cluster') return true
    diagnostics.error(
      'missing-field',
      loaded.positionOf(['metadata']),
      'expected a name or generateName, found neither',
      {
        path: 'metadata.name',
      },
    )
    isGood = false
  } else if (typeof name === 'string') {
    const check = { subdomain: badSubdomain, label: badLabel, label1035: badLabel1035 }[known.name]
    const expected = check(name)
    if (expected !== null) {
      const lower = name.toLowerCase().replaceAll('_', '-')
      diagnostics.error(
        'bad-name',
        loaded.positionOf(['metadata', 'name']),
        `expected ${expected}, found ${describe(name)}`,
        {
          path: 'metadata.name',
          hint: check(lower) === null ? `for example "${lower}"` : undefined,
        },
      )
      isGood = false
    }
  }
  if (typeof namespace === 'string' && namespace !== '') {
    const expected = badLabel(namespace)
    if (expected !== null) {
      const at = loaded.positionOf(['metadata', 'namespace'])
      diagnostics.error('bad-name', at, `expected ${expected}, found ${describe(namespace)}`, {
        path: 'metadata.namespace',
      })
      isGood = false
    }
  }
  return isGood
}

function checkUnique(loaded: LoadedObject, seen: Map<string, LoadedObject>, diagnostics: Diagnostics): boolean {
  const { kind, apiVersion, metadata } = loaded.object
  const key = `${apiVersion}/${kind} ${metadata.namespace ?? ''}/${metadata.name}`
  const first = seen.get(key)
  if (first === undefined) {
    seen.set(key, loaded)
    return true
  }
  const name = metadata.namespace ? `${metadata.namespace}/${metadata.name}` : metadata.name
  if (kind === 'Namespace') {
    // Several charts of one install bring their namespace; applying it again changes nothing.
    diagnostics.info(
      'duplicate-object',
      loaded.source,
      `Namespace ${name} again, first at ${formatPosition(first.source)}`,
    )
    return false
  }
  diagnostics.error(
    'duplicate-object',
    loaded.positionOf(['metadata', 'name']),
    `expected each object once, found ${kind} ${name} again`,
    { path: 'metadata.name', hint: `the first one is at ${formatPosition(first.source)}` },
  )
  return false
}

function reportUnknownKinds(unknown: ReadonlyMap<string, LoadedObject[]>, diagnostics: Diagnostics): void {
  for (const list of unknown.values()) {
    const first = list[0]!
    const { apiVersion, kind } = first.object
    const count = list.length === 1 ? '' : `, ${list.length} objects`
    const replacement = replacementOf(apiVersion)
    const meant = didYouMean(kind, allKindNames())
    const hint =
      replacement !== undefined
        ? `${apiVersion} is no longer served: use ${replacement}`
        : meant === undefined
          ? undefined
          : meant === kind
            ? `podwalk knows ${kind} of another apiVersion`
            : `did you mean "${meant}"?`
    diagnostics.warning('unknown-kind', first.source, `unknown kind "${kind}" (${apiVersion})${count}: not modelled`, {
      hint,
    })
  }
}
