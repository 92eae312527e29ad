/**
 * Loading: input paths to Kubernetes objects with their places.
 *
 * Takes what `kubectl get -o yaml|json`, `helm template` and `kustomize build` print: multi-document YAML, JSON, JSON
 * streams, `kind: List` and typed lists. Nothing is judged here beyond "this is an object with apiVersion, kind and a
 * name"; see validate.ts. Every problem of every file is reported, none stops the others.
 *
 * Sources: kubectl cli-runtime pkg/resource/visitor.go (StreamVisitor, FlattenListVisitor).
 */
import type { Diagnostic, SourcePosition } from '../diagnostics/diagnostic.ts'
import { Diagnostics, NO_POSITION } from '../diagnostics/diagnostic.ts'
import type { InputOptions } from './inputs.ts'
import { readInputs } from './inputs.ts'
import { readJson } from './json.ts'
import type { SourceDocument } from './source.ts'
import { SourceFile } from './source.ts'
import type { FieldPath, KubernetesObject, LoadedObject } from './types.ts'
import { readYaml } from './yaml.ts'

/** The objects of all inputs, in input order. */
export interface Loaded {
  readonly objects: readonly LoadedObject[]
  readonly diagnostics: readonly Diagnostic[]
  /** Names of the files that were read. */
  readonly files: readonly string[]
}

/** Loads files, directories, globs and `-`. */
export function loadInputs(paths: readonly string[], options: InputOptions = {}): Loaded {
  const diagnostics = new Diagnostics()
  const objects: LoadedObject[] = []
  const files = readInputs(paths, diagnostics, options)
  for (const file of files) loadFile(file.source, file.isExplicit, objects, diagnostics)
  if (objects.length === 0 && !diagnostics.hasErrors) {
    const where = files.length === 0 ? 'no input' : `nothing in ${files.map((f) => f.source.name).join(', ')}`
    diagnostics.error('empty-input', NO_POSITION, `expected Kubernetes objects, found ${where}`, {
      hint: 'give manifests with -f: a file, a directory, a glob or - for stdin',
    })
  }
  return { objects, diagnostics: diagnostics.sorted(), files: files.map((f) => f.source.name) }
}

/** Loads one text, for tests and for callers that hold manifests in memory. */
export function loadText(text: string, name = 'input.yaml'): Loaded {
  return loadTexts([{ name, text }])
}

/** Loads several texts as if they were files. */
export function loadTexts(texts: readonly { readonly name: string; readonly text: string }[]): Loaded {
  const diagnostics = new Diagnostics()
  const objects: LoadedObject[] = []
  for (const { name, text } of texts) loadFile(new SourceFile(name, text), true, objects, diagnostics)
  if (objects.length === 0 && !diagnostics.hasErrors) {
    diagnostics.error('empty-input', NO_POSITION, 'expected Kubernetes objects, found nothing')
  }
  return { objects, diagnostics: diagnostics.sorted(), files: texts.map((t) => t.name) }
}

function loadFile(file: SourceFile, isExplicit: boolean, objects: LoadedObject[], diagnostics: Diagnostics): void {
  const looksLikeJson = /^\s*[[{]/.test(file.text)
  const documents = (looksLikeJson ? readJson(file, diagnostics) : null) ?? readYaml(file, diagnostics)
  for (const document of documents) addValue(file, document, [], document.value, isExplicit, objects, diagnostics)
}

function addValue(
  file: SourceFile,
  document: SourceDocument,
  prefix: FieldPath,
  value: unknown,
  isExplicit: boolean,
  objects: LoadedObject[],
  diagnostics: Diagnostics,
): void {
  if (value === null || value === undefined) return
  const source = file.positionAt(document.offsetOf(prefix))
  if (typeof value !== 'object' || Array.isArray(value)) {
    const found = Array.isArray(value) ? 'a list' : `${typeof value} ${shorten(JSON.stringify(value))}`
    diagnostics.error('not-an-object', source, `expected an object with apiVersion and kind, found ${found}`)
    return
  }
  const candidate = value as Record<string, unknown>
  const { apiVersion, kind } = candidate
  if (isList(kind, candidate)) {
    ;(candidate.items ?? []).forEach((item, i) => {
      const path = [...prefix, 'items', i]
      addValue(file, document, path, withListType(item, apiVersion, kind), isExplicit, objects, diagnostics)
    })
    return
  }
  if (apiVersion === undefined && kind === undefined && !isExplicit) {
    diagnostics.warning('not-an-object', source, 'skipped: neither apiVersion nor kind, not a Kubernetes object')
    return
  }
  const fieldAt = (field: string): SourcePosition => file.positionAt(document.offsetOf([...prefix, field]))
  if (!isIdentified(candidate, source, fieldAt, diagnostics)) return
  objects.push(new FileObject(candidate as KubernetesObject, source, file, document, prefix))
}

/** An empty list of Go may be written as null, or be left out. */
function isList(kind: unknown, value: Record<string, unknown>): value is { items?: unknown[] | null } {
  if (kind === 'List' && (value.items === null || value.items === undefined)) return true
  return typeof kind === 'string' && kind.endsWith('List') && Array.isArray(value.items)
}

/** Items of a typed list (`PodList`) may leave out what the list says. */
function withListType(item: unknown, apiVersion: unknown, listKind: unknown): unknown {
  if (listKind === 'List' || item === null || typeof item !== 'object' || 'kind' in item) return item
  return { apiVersion, kind: String(listKind).slice(0, -'List'.length), ...item }
}

function isIdentified(
  value: Record<string, unknown>,
  source: SourcePosition,
  fieldAt: (field: string) => SourcePosition,
  diagnostics: Diagnostics,
): boolean {
  let isGood = true
  for (const field of ['apiVersion', 'kind'] as const) {
    const text = value[field]
    if (typeof text === 'string' && text !== '') continue
    const found = text === undefined || text === null ? 'nothing' : shorten(JSON.stringify(text))
    diagnostics.error(
      'missing-type',
      text === undefined ? source : fieldAt(field),
      `expected a string, found ${found}`,
      { path: field },
    )
    isGood = false
  }
  const metadata = value.metadata
  if (metadata === undefined || metadata === null) value.metadata = {}
  else if (typeof metadata !== 'object' || Array.isArray(metadata)) {
    diagnostics.error(
      'wrong-type',
      fieldAt('metadata'),
      `expected an object, found ${shorten(JSON.stringify(metadata))}`,
      {
        path: 'metadata',
      },
    )
    isGood = false
  }
  return isGood
}

class FileObject implements LoadedObject {
  readonly object: KubernetesObject
  readonly source: SourcePosition
  private readonly file: SourceFile
  private readonly document: SourceDocument
  private readonly prefix: FieldPath

  constructor(
    object: KubernetesObject,
    source: SourcePosition,
    file: SourceFile,
    document: SourceDocument,
    prefix: FieldPath,
  ) {
    this.object = object
    this.source = source
    this.file = file
    this.document = document
    this.prefix = prefix
  }

  positionOf(path: FieldPath): SourcePosition {
    return this.file.positionAt(this.document.offsetOf([...this.prefix, ...path]))
  }
}

function shorten(text: string): string {
  return text.length > 60 ? `${text.slice(0, 57)}...` : text
}
