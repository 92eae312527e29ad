/**
 * YAML input with positions: multi-document text to plain values, every syntax error of every document at once.
 *
 * The text is cut at document markers first (`---` at the start of a line can be nothing else, YAML 1.2 section 9.1.2)
 * and the documents are parsed one by one by the `yaml` package, so that one broken document hides no other and memory
 * stays that of the largest. Positions of fields are found by parsing the document again on demand (the last one is
 * kept), so a loaded document holds only its value. Scalars resolve as kubectl's YAML does (sigs.k8s.io/yaml, YAML 1.1
 * booleans and octals, but a bare y or n stays text: it names things far more often than it means yes); aliases are bounded, merge keys (`<<`) are applied.
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
/** Lists longer than this are parsed item by item. */
const SPLIT_LIST_CHARS = 50_000
/** Syntax errors shown per document: after the first few, the rest follow from them. */
const MAX_ERRORS_PER_DOCUMENT = 10

const BOOL_11: ScalarTag = {
  tag: 'tag:yaml.org,2002:bool',
  default: true,
  identify: (value) => typeof value === 'boolean',
  test: /^(?:[Yy]es|YES|[Oo]n|ON|[Nn]o|NO|[Oo]ff|OFF|[Tt]rue|TRUE|[Ff]alse|FALSE)$/,
  resolve: (text) => /^[ytYT]|^[Oo][Nn]$/.test(text),
}

const INT_11: ScalarTag = {
  tag: 'tag:yaml.org,2002:int',
  default: true,
  identify: () => false,
  test: /^[-+]?(?:0[0-7_]+|0b[01_]+|[0-9]+_[0-9_]*)$/,
  resolve: (text) => {
    const digits = text.replaceAll('_', '').replace(/^[-+]/, '')
    const value = digits.startsWith('0b') ? Number(digits) : Number.parseInt(digits, digits.startsWith('0') ? 8 : 10)
    return text.startsWith('-') ? -value : value
  },
}

const PARSE_OPTIONS = {
  version: '1.2',
  merge: true,
  // The parser compares every pair of keys; reportDuplicateKeys uses a set per map.
  uniqueKeys: false,
  strict: true,
  prettyErrors: false,
  logLevel: 'silent',
  customTags: (tags: readonly unknown[]) => [BOOL_11, INT_11, ...tags],
} as const

/** The documents of a text; errors go to `diagnostics`, broken documents are left out. */
export function readYaml(file: SourceFile, diagnostics: Diagnostics): SourceDocument[] {
  const documents: SourceDocument[] = []
  for (const [start, end] of documentRanges(file.text)) {
    const list = end - start > SPLIT_LIST_CHARS ? splitList(file.text, start, end) : null
    const document =
      list === null ? readDocument(file, { start, end, isItem: false }, diagnostics) : readList(file, list, diagnostics)
    if (document !== null) documents.push(document)
  }
  return documents
}

/** Part of a file that is parsed by itself. */
interface Part {
  readonly start: number
  readonly end: number
  /** An item of a block list: its dash is read as a space. */
  readonly isItem: boolean
}

/** A `kind: List` cut into its items. */
interface SplitList {
  /** Start of the document. */
  readonly start: number
  /** The fields beside `items`. */
  readonly head: string
  readonly items: readonly Part[]
}

/** The text of a part, as long as in the file so that offsets stay. */
function partText(text: string, part: Part): string {
  const slice = text.slice(part.start, part.end)
  return part.isItem ? slice.replace('-', ' ') : slice
}

/**
 * Cuts the output of `kubectl get -o yaml` into its items: a top-level `items:` with a block list. The lines that begin
 * an item are the ones with a dash in the column of the first, since whatever is inside an item is indented more.
 * @returns null when the document has another form, or anchors, which may be used across items
 */
function splitList(text: string, start: number, end: number): SplitList | null {
  const body = text.slice(start, end)
  const first = /^items:[ \t]*\r?\n( *)- /m.exec(body)
  if (first === null || /(?:^|[\s[,])&[\w-]+(?=\s)/.test(body)) return null
  const indent = first[1]!
  const itemsStart = first.index + first[0].length - 2 - indent.length
  const itemLine = new RegExp(`^${indent}(?:- |-\\r?$)`, 'gm')
  itemLine.lastIndex = itemsStart
  const starts: number[] = []
  for (let match = itemLine.exec(body); match !== null; match = itemLine.exec(body)) starts.push(match.index)
  const afterLine = /^[^\s#-].*$/gm
  afterLine.lastIndex = starts[starts.length - 1]!
  const itemsEnd = afterLine.exec(body)?.index ?? body.length
  return {
    start,
    head: `${body.slice(0, first.index)}${body.slice(itemsEnd)}`,
    items: starts.map((from, i) => ({ start: start + from, end: start + (starts[i + 1] ?? itemsEnd), isItem: true })),
  }
}

function readList(file: SourceFile, list: SplitList, diagnostics: Diagnostics): SourceDocument | null {
  const head = parse(list.head)
  const fields: unknown = head.errors.length === 0 ? head.toJS({ maxAliasCount: MAX_ALIAS_COUNT }) : null
  if (typeof fields !== 'object' || fields === null) {
    diagnostics.error('yaml-syntax', file.positionAt(list.start), 'expected a list with apiVersion, kind and items')
    return null
  }
  const items: SourceDocument[] = []
  for (const part of list.items) {
    const item = readDocument(file, part, diagnostics)
    if (item !== null) items.push(item)
  }
  return {
    value: { ...fields, items: items.map((item) => item.value) },
    offsetOf(path) {
      const item = path[0] === 'items' && typeof path[1] === 'number' ? items[path[1]] : undefined
      return item === undefined ? list.start : item.offsetOf(path.slice(2))
    },
  }
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
  // Line by line: one expression over all lines takes time that doubles with every line of a long comment.
  return !body.startsWith('---') && /^%/m.test(body) && body.split('\n').every((line) => /^\s*(?:[#%].*)?$/.test(line))
}

function readDocument(file: SourceFile, part: Part, diagnostics: Diagnostics): YamlDocument | null {
  const { start } = part
  const text = partText(file.text, part)
  if (!/[:{?]/.test(text)) {
    const marker = text.startsWith('---') ? 3 : 0
    const at = file.positionAt(start + marker + Math.max(0, text.slice(marker).search(/\S/)))
    const found = /^(?:-[ \t\r\n]|\[)/.test(text.slice(marker).trimStart()) ? 'a list' : 'plain text'
    diagnostics.error('not-an-object', at, `expected an object with apiVersion and kind, found ${found}`)
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
    return new YamlDocument(file.text, part, parsed.toJS({ maxAliasCount: MAX_ALIAS_COUNT }), parsed)
  } catch (error) {
    diagnostics.error(
      'yaml-alias',
      file.positionAt(start),
      `expected aliases in reasonable number: ${messageOf(error)}`,
      {
        hint: 'the document multiplies itself through its aliases; write it out, or remove them',
      },
    )
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
        if (isMergeKey(pair.key.value)) continue
        const key = String(pair.key.value)
        if (keys.has(key)) {
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
  private readonly part: Part

  constructor(text: string, part: Part, value: unknown, parsed: Document.Parsed) {
    this.text = text
    this.part = part
    this.value = value
    lastParsed = { owner: this, document: parsed }
  }

  offsetOf(path: readonly (string | number)[]): number {
    if (lastParsed?.owner !== this) lastParsed = { owner: this, document: parse(partText(this.text, this.part)) }
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
    return this.part.start + offset
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
  let inherited: Found | null = null
  for (const pair of (node as YAMLMap).items) {
    if (!isPair(pair) || !isScalar(pair.key) || !pair.key.range) continue
    const name = pair.key.value
    if (isMergeKey(name)) {
      const merged = isAlias(pair.value) ? pair.value.resolve(document) : pair.value
      const found = memberOf(merged, key, document)
      inherited ??= found
    } else if (String(name) === key) return { node: pair.value, offset: pair.key.range[0] }
  }
  return inherited
}

/** `<<`, which the parser's merge tag turns into a symbol. */
function isMergeKey(key: unknown): boolean {
  return key === '<<' || (typeof key === 'symbol' && key.description === '<<')
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
