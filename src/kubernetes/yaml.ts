/**
 * YAML input with positions: multi-document text to plain values, every syntax error of every document at once.
 *
 * The text is cut at document markers first (`---` at the start of a line can be nothing else, YAML 1.2 section 9.1.2)
 * and the documents are parsed one by one by the `yaml` package, so that one broken document hides no other and memory
 * stays that of the largest. Positions of fields are found by parsing the document again on demand (the last one is
 * kept), so a loaded document holds only its value. Scalars resolve as kubectl's YAML does (sigs.k8s.io/yaml, YAML 1.1
 * booleans and octals); aliases are bounded, merge keys (`<<`) are applied.
 *
 * Not modelled: tags other than the core schema's (an unresolved tag is a warning).
 * Sources: YAML 1.2.2, sigs.k8s.io/yaml goyaml.v2 resolve.go.
 */
import type { CST, Document, Node, ScalarTag, YAMLError, YAMLMap, YAMLSeq } from 'yaml'
import { Composer, isAlias, isMap, isPair, isScalar, isSeq, Lexer, Parser, visit } from 'yaml'
import type { Diagnostics } from '../diagnostics/diagnostic.ts'
import type { SourceDocument, SourceFile } from './source.ts'

/** How often aliases may multiply the size of a document before it is taken for a bomb. */
export const MAX_ALIAS_COUNT = 1000
/** Deepest nesting that is read; real manifests stay below 40. */
export const MAX_DEPTH = 200
/** Tokens of one document before it is refused: about 12 MB of YAML, and some seconds of the parser's time. */
export const MAX_TOKENS = 1_000_000
/** Syntax errors shown per document: after the first few, the rest follow from them. */
const MAX_ERRORS_PER_DOCUMENT = 10

const BOOL_11: ScalarTag = {
  tag: 'tag:yaml.org,2002:bool',
  default: true,
  identify: (value) => typeof value === 'boolean',
  test: /^(?:[Yy]|[Nn]|[Yy]es|YES|[Oo]n|ON|[Nn]o|NO|[Oo]ff|OFF|[Tt]rue|TRUE|[Ff]alse|FALSE)$/,
  resolve: (text) => /^[ytYT]|^[Oo][Nn]$/.test(text),
}

const OCTAL_11: ScalarTag = {
  tag: 'tag:yaml.org,2002:int',
  default: true,
  identify: () => false,
  test: /^[-+]?0[0-7]+$/,
  resolve: (text) => Number.parseInt(text, 8),
}

const PARSE_OPTIONS = {
  version: '1.2',
  merge: true,
  // The parser compares every pair of keys; reportDuplicateKeys uses a set per map.
  uniqueKeys: false,
  strict: true,
  prettyErrors: false,
  logLevel: 'silent',
  customTags: (tags: readonly unknown[]) => [BOOL_11, OCTAL_11, ...tags],
} as const

/** The documents of a text; errors go to `diagnostics`, broken documents are left out. */
export function readYaml(file: SourceFile, diagnostics: Diagnostics): SourceDocument[] {
  const documents: SourceDocument[] = []
  for (const [start, end] of documentRanges(file.text)) {
    const document = readDocument(file, start, end, diagnostics)
    if (document !== null) documents.push(document)
  }
  return documents
}

/** Start and end offset of every document that is not empty, directives included. */
export function documentRanges(text: string): [number, number][] {
  const ranges: [number, number][] = []
  const marker = /^(?:---|\.\.\.)(?=[ \t\r\n]|$)/gm
  let start = 0
  for (let match = marker.exec(text); match !== null; match = marker.exec(text)) {
    if (match[0] === '---' && hasOnlyDirectives(text, start, match.index)) continue
    ranges.push([start, match.index])
    start = match[0] === '---' ? match.index : match.index + 3
  }
  ranges.push([start, text.length])
  return ranges.filter(([from, to]) => /^(?!#|---[ \t]*(?:#.*)?$)[ \t]*[^\s#]/m.test(text.slice(from, to)))
}

function hasOnlyDirectives(text: string, start: number, end: number): boolean {
  const body = text.slice(start, end)
  return body.startsWith('---') ? false : /^(?:\s*(?:#.*|%.*)?\n?)*$/.test(body) && body.includes('%')
}

function readDocument(
  file: SourceFile,
  start: number,
  end: number,
  diagnostics: Diagnostics,
): YamlDocument | null {
  const text = file.text.slice(start, end)
  if (!/[:{?]/.test(text)) {
    const marker = text.startsWith('---') ? 3 : 0
    const at = file.positionAt(start + marker + Math.max(0, text.slice(marker).search(/\S/)))
    diagnostics.error('not-an-object', at, 'expected an object with apiVersion and kind, found plain text')
    return null
  }
  const deep = tooDeepAt(text)
  if (deep >= 0) {
    diagnostics.error('yaml-too-deep', file.positionAt(start + deep), `expected at most ${MAX_DEPTH} levels of nesting`)
    return null
  }
  let parsed: Document.Parsed
  try {
    parsed = parse(text)
  } catch (error) {
    // The parser recurses: what it cannot take is reported as any other syntax error.
    diagnostics.error('yaml-syntax', file.positionAt(start), `expected YAML, found ${messageOf(error)}`)
    return null
  }
  for (const warning of parsed.warnings) {
    diagnostics.warning('yaml-syntax', file.positionAt(start + warning.pos[0]), warning.message)
  }
  if (parsed.errors.length > 0) {
    reportErrors(file, start, text, parsed.errors, diagnostics)
    return null
  }
  if (hasBadNodes(file, start, parsed, diagnostics)) return null
  try {
    return new YamlDocument(text, start, parsed.toJS({ maxAliasCount: MAX_ALIAS_COUNT }), parsed)
  } catch (error) {
    diagnostics.error('yaml-alias', file.positionAt(start), `expected aliases in reasonable number: ${messageOf(error)}`, {
      hint: 'the document multiplies itself through its aliases; write it out, or remove them',
    })
    return null
  }
}

function reportErrors(
  file: SourceFile,
  start: number,
  text: string,
  errors: readonly YAMLError[],
  diagnostics: Diagnostics,
): void {
  const hint = text.includes('{{')
    ? 'this looks like a template: render it first (helm template, kustomize build)'
    : undefined
  const tooDeep = errors.find((error) => error.message.startsWith('Maximum call stack'))
  if (tooDeep !== undefined) {
    const at = file.positionAt(start + tooDeep.pos[0])
    diagnostics.error('yaml-too-deep', at, `expected at most ${MAX_DEPTH} levels of nesting`)
    return
  }
  for (const error of errors.slice(0, MAX_ERRORS_PER_DOCUMENT)) {
        const tabHint = error.code === 'TAB_AS_INDENT' ? 'YAML is indented with spaces' : hint
    diagnostics.error('yaml-syntax', file.positionAt(start + error.pos[0]), oneLine(error.message), { hint: tabHint })
  }
  if (errors.length > MAX_ERRORS_PER_DOCUMENT) {
    const at = file.positionAt(start + errors[MAX_ERRORS_PER_DOCUMENT]!.pos[0])
    diagnostics.error('yaml-syntax', at, `${errors.length - MAX_ERRORS_PER_DOCUMENT} more errors in this document`)
  }
}

function parse(text: string): Document.Parsed {
  const stackTraceLimit = Error.stackTraceLimit
  // Each syntax error is an Error object; millions of them are built for junk, and their stacks are never read.
  Error.stackTraceLimit = 0
  try {
    const composer = new Composer(PARSE_OPTIONS as never)
    let parsed: Document.Parsed | null = null
    for (const document of composer.compose(boundedTokens(text), true, text.length)) parsed ??= document as never
    if (parsed === null) throw new Error('the YAML parser gave no document')
    return parsed
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
}

function* boundedTokens(text: string): Generator<CST.Token, void> {
  const parser = new Parser()
  let tokens = 0
  for (const lexeme of new Lexer().lex(text)) {
    if (++tokens > MAX_TOKENS) {
      throw new Error(`one document of more than ${MAX_TOKENS} tokens; split it with --- or give it as JSON`)
    }
    yield* parser.next(lexeme)
  }
  yield* parser.end()
}

/** Keys that come twice and aliases of nothing: what the parser would find one at a time, or slowly. */
function hasBadNodes(file: SourceFile, start: number, parsed: Document.Parsed, diagnostics: Diagnostics): boolean {
  let found = false
  const anchors = new Set<string>()
  const report = (code: string, node: unknown, message: string): void => {
    found = true
    diagnostics.error(code, file.positionAt(start + ((node as Node).range?.[0] ?? 0)), message)
  }
  visit(parsed, {
    Node(_key, node) {
      const anchor = (node as { anchor?: string }).anchor
      if (anchor !== undefined) anchors.add(anchor)
      if (isAlias(node) && !anchors.has(node.source)) {
        report('yaml-alias', node, `expected an anchor before its alias, found no anchor "&${node.source}"`)
      }
      if (!isMap(node) || node.items.length < 2) return
      const keys = new Set<string>()
      for (const pair of node.items) {
        if (!isScalar(pair.key)) continue
        const key = String(pair.key.value)
        if (key !== '<<' && keys.has(key)) {
          report('duplicate-key', pair.key, `expected each key once, found ${JSON.stringify(key)} again`)
        }
        keys.add(key)
      }
    },
  })
  return found
}

/** The document that was parsed last, with its nodes: positions are asked for in runs. */
let lastParsed: { owner: YamlDocument; document: Document.Parsed } | null = null

class YamlDocument implements SourceDocument {
  readonly value: unknown
  private readonly text: string
  private readonly start: number

  constructor(text: string, start: number, value: unknown, parsed: Document.Parsed) {
    this.text = text
    this.start = start
    this.value = value
    lastParsed = { owner: this, document: parsed }
  }

  offsetOf(path: readonly (string | number)[]): number {
    if (lastParsed?.owner !== this) {
      lastParsed = { owner: this, document: parse(this.text) }
    }
    const document = lastParsed.document
    let offset = document.contents?.range?.[0] ?? 0
    let node: unknown = document.contents
    for (const step of path) {
      if (isAlias(node)) node = node.resolve(document)
      const found = typeof step === 'number' ? itemOf(node, step) : memberOf(node, step, document)
      if (found === null) break
      offset = found.offset
      node = found.node
    }
    return this.start + offset
  }
}

interface Found {
  readonly node: unknown
  readonly offset: number
}

function itemOf(node: unknown, index: number): Found | null {
  if (!isSeq(node)) return null
  const item = (node as YAMLSeq).items[index] as Node | undefined
  return item?.range ? { node: item, offset: item.range[0] } : null
}

function memberOf(node: unknown, key: string, document: Document.Parsed): Found | null {
  if (!isMap(node)) return null
  for (const pair of (node as YAMLMap).items) {
    if (!isPair(pair) || !isScalar(pair.key) || !pair.key.range) continue
    if (String(pair.key.value) === key) return { node: pair.value, offset: pair.key.range[0] }
    if (pair.key.value === '<<') {
      const merged = isAlias(pair.value) ? pair.value.resolve(document) : pair.value
      const found = memberOf(merged, key, document)
      if (found !== null) return found
    }
  }
  return null
}

/** Offset at which flow or block nesting passes MAX_DEPTH, or -1: a cheap bound before the parser recurses. */
function tooDeepAt(text: string): number {
  let depth = 0
  let dashes = 0
  let isLineStart = true
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c === 10) {
      // Brackets in block scalars need not balance, so nesting is only counted within a line.
      isLineStart = true
      dashes = 0
      depth = 0
    } else if (isLineStart && (c === 45 || c === 63) && text.charCodeAt(i + 1) === 32) {
      if (++dashes > MAX_DEPTH) return i
    } else if (c !== 32) isLineStart = false
    if (c === 91 || c === 123) {
      if (++depth > MAX_DEPTH) return i
    } else if ((c === 93 || c === 125) && depth > 0) depth--
  }
  return -1
}

function messageOf(error: unknown): string {
  if (error instanceof RangeError) return 'nesting too deep to read'
  return oneLine(error instanceof Error ? error.message : String(error))
}

function oneLine(text: string): string {
  const line = text.split('\n', 1)[0] ?? ''
  return line.length > 200 ? `${line.slice(0, 200)}...` : line
}
