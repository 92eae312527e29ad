/**
 * JSON input with positions: one value, a stream of values (concatenated or one per line), as kubectl reads them.
 *
 * The values come from JSON.parse; positions from a scanner that walks the text along one path, skipping what is not on
 * it, so a list of 150,000 objects costs one pass for the offsets of its items. Duplicate keys are looked for in files
 * up to DUPLICATE_KEY_LIMIT_CHARS; in larger ones the last one wins silently, as in JSON.parse.
 *
 * Sources: RFC 8259.
 */
import type { Diagnostics } from '../diagnostics/diagnostic.ts'
import type { SourceDocument, SourceFile } from './source.ts'
import { MAX_DEPTH } from './yaml.ts'

/** Above this size duplicate keys are not searched for. */
export const DUPLICATE_KEY_LIMIT_CHARS = 8_000_000

const QUOTE = 34
const BACKSLASH = 92
const OPEN_BRACE = 123
const CLOSE_BRACE = 125
const OPEN_BRACKET = 91
const CLOSE_BRACKET = 93

/**
 * Reads a text whose first character is `{` or `[` as JSON values.
 * @returns null when it is not JSON (flow-style YAML looks alike), with nothing reported
 */
export function readJson(file: SourceFile, diagnostics: Diagnostics): SourceDocument[] | null {
  const documents: SourceDocument[] = []
  const starts: number[] = []
  const text = file.text
  let at = skipSpace(text, 0)
  while (at < text.length) {
    const end = skipValue(text, at)
    if (end < 0) return null
    try {
      documents.push(new JsonDocument(text, at, JSON.parse(text.slice(at, end))))
    } catch {
      // Not JSON: the YAML reader takes the text and names the place.
      return null
    }
    starts.push(at)
    at = skipSpace(text, end)
  }
  if (text.length <= DUPLICATE_KEY_LIMIT_CHARS) {
    for (const start of starts) reportDuplicateKeys(file, start, diagnostics)
  }
  return documents
}

/** Offset of every element of the array that begins at `start`. */
export function jsonItemOffsets(text: string, start: number): number[] {
  const offsets: number[] = []
  let at = skipSpace(text, start + 1)
  while (at < text.length && text.charCodeAt(at) !== CLOSE_BRACKET) {
    offsets.push(at)
    at = skipSpace(text, skipValue(text, at))
    if (text[at] === ',') at = skipSpace(text, at + 1)
  }
  return offsets
}

class JsonDocument implements SourceDocument {
  readonly value: unknown
  private readonly text: string
  private readonly start: number
  private items: { start: number; offsets: number[] } | null = null

  constructor(text: string, start: number, value: unknown) {
    this.text = text
    this.start = start
    this.value = value
  }

  offsetOf(path: readonly (string | number)[]): number {
    let at = this.start
    for (const step of path) {
      const next = typeof step === 'number' ? this.item(at, step) : member(this.text, at, step)
      if (next < 0) return at
      at = next
    }
    return at
  }

  private item(at: number, index: number): number {
    if (this.text.charCodeAt(at) !== OPEN_BRACKET) return -1
    // The last array asked for is remembered: it is the `items` of a List.
    if (this.items === null || this.items.start !== at) {
      const offsets = jsonItemOffsets(this.text, at)
      if (this.items !== null && offsets.length < this.items.offsets.length) return offsets[index] ?? -1
      this.items = { start: at, offsets }
    }
    return this.items.offsets[index] ?? -1
  }
}

function member(text: string, start: number, key: string): number {
  if (text.charCodeAt(start) !== OPEN_BRACE) return -1
  let at = skipSpace(text, start + 1)
  while (text.charCodeAt(at) === QUOTE) {
    const keyEnd = skipString(text, at)
    const name: unknown = JSON.parse(text.slice(at, keyEnd))
    const value = skipSpace(text, skipSpace(text, keyEnd) + 1)
    if (name === key) return value
    at = skipSpace(text, skipValue(text, value))
    if (text[at] === ',') at = skipSpace(text, at + 1)
  }
  return -1
}

function skipSpace(text: string, at: number): number {
  for (;;) {
    const c = text.charCodeAt(at)
    if (c === 32 || c === 10 || c === 13 || c === 9 || c === 0xfeff) at++
    else return at
  }
}

function skipString(text: string, at: number): number {
  for (let i = at + 1; ; ) {
    const quote = text.indexOf('"', i)
    if (quote < 0) return -1
    let slashes = 0
    while (text.charCodeAt(quote - 1 - slashes) === BACKSLASH) slashes++
    if ((slashes & 1) === 0) return quote + 1
    i = quote + 1
  }
}

/** Offset behind the value at `at`, or -1 when it does not end. */
function skipValue(text: string, at: number): number {
  const first = text.charCodeAt(at)
  if (first === QUOTE) return skipString(text, at)
  if (first !== OPEN_BRACE && first !== OPEN_BRACKET) {
    while (at < text.length && !' \t\r\n,]}'.includes(text[at]!)) at++
    return at
  }
  let depth = 0
  for (let i = at; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c === QUOTE) {
      i = skipString(text, i) - 1
      if (i < 0) return -1
    } else if (c === OPEN_BRACE || c === OPEN_BRACKET) {
      // Too deep: the YAML reader, which has the same bound, names the place.
      if (++depth > MAX_DEPTH) return -1
    } else if ((c === CLOSE_BRACE || c === CLOSE_BRACKET) && --depth === 0) return i + 1
  }
  return -1
}

function reportDuplicateKeys(file: SourceFile, start: number, diagnostics: Diagnostics): void {
  const text = file.text
  const stack: (Set<string> | null)[] = []
  for (let i = start; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c === OPEN_BRACE) stack.push(new Set())
    else if (c === OPEN_BRACKET) stack.push(null)
    else if (c === CLOSE_BRACE || c === CLOSE_BRACKET) {
      stack.pop()
      if (stack.length === 0) return
    } else if (c === QUOTE) {
      const end = skipString(text, i)
      const keys = stack[stack.length - 1]
      if (keys !== null && keys !== undefined && text[skipSpace(text, end)] === ':') {
        const key = text.slice(i, end)
        if (keys.has(key)) {
          diagnostics.error('duplicate-key', file.positionAt(i), `expected each key once, found ${key} again`)
        }
        keys.add(key)
      }
      i = end - 1
    }
  }
}
