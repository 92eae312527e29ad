/**
 * A JSON reader that remembers where every value stood, for diagnostics with line and column.
 *
 * RFC 8259 exactly (no comments, no trailing commas). Nesting is limited so that no file can exhaust the stack.
 * Positions are keyed by path: `steps[3].hex`. Only objects' and arrays' children have paths, the document is ''.
 */

/** Where a value starts; both from 1. */
export interface JsonPosition {
  readonly line: number
  readonly col: number
}

/** A read document, or the first syntax error. */
export type JsonDocument =
  | { readonly ok: true; readonly value: unknown; readonly at: (path: string) => JsonPosition }
  | { readonly ok: false; readonly message: string; readonly position: JsonPosition }

const MAX_DEPTH = 200

class JsonSyntaxError extends Error {
  readonly offset: number

  constructor(message: string, offset: number) {
    super(message)
    this.offset = offset
  }
}

/** `a` + field `b` = `a.b`; array indexes come as `[3]`. */
export function joinPath(parent: string, field: string | number): string {
  if (typeof field === 'number') return `${parent}[${field}]`
  return parent === '' ? field : `${parent}.${field}`
}

/** Reads a JSON text. */
export function parseJson(text: string): JsonDocument {
  const starts = lineStarts(text)
  const reader = new Reader(text)
  try {
    const value = reader.document()
    return { ok: true, value, at: (path) => place(starts, reader.nearest(path)) }
  } catch (e) {
    if (!(e instanceof JsonSyntaxError)) throw e
    return { ok: false, message: e.message, position: place(starts, e.offset) }
  }
}

function lineStarts(text: string): number[] {
  const starts = [0]
  for (let i = text.indexOf('\n'); i >= 0; i = text.indexOf('\n', i + 1)) starts.push(i + 1)
  return starts
}

function place(starts: readonly number[], offset: number): JsonPosition {
  let lo = 0
  let hi = starts.length - 1
  while (lo < hi) {
    const mid = (lo + hi + 1) >> 1
    if (starts[mid]! <= offset) lo = mid
    else hi = mid - 1
  }
  return { line: lo + 1, col: offset - starts[lo]! + 1 }
}

class Reader {
  private readonly text: string
  private readonly offsets = new Map<string, number>()
  private i = 0

  constructor(text: string) {
    this.text = text
  }

  /** The offset of the path, or of its nearest ancestor that exists. */
  nearest(path: string): number {
    for (let p = path; ; p = p.replace(/(^|\.)[^.[\]]*$|\[\d+\]$/, '')) {
      const o = this.offsets.get(p)
      if (o !== undefined) return o
      if (p === '') return 0
    }
  }

  document(): unknown {
    const value = this.value('', 0)
    this.space()
    if (this.i < this.text.length) this.fail('unexpected text after the document')
    return value
  }

  private fail(message: string): never {
    throw new JsonSyntaxError(message, this.i)
  }

  private space(): void {
    while (this.i < this.text.length && ' \t\r\n'.includes(this.text[this.i]!)) this.i++
  }

  private value(path: string, depth: number): unknown {
    this.space()
    if (depth > MAX_DEPTH) this.fail(`nested deeper than ${MAX_DEPTH}`)
    this.offsets.set(path, this.i)
    const c = this.text[this.i]
    if (c === '{') return this.object(path, depth)
    if (c === '[') return this.array(path, depth)
    if (c === '"') return this.string()
    const m = /(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)/y
    m.lastIndex = this.i
    const hit = m.exec(this.text)
    if (hit === null) this.fail(c === undefined ? 'unexpected end of file' : `unexpected ${JSON.stringify(c)}`)
    this.i = m.lastIndex
    return JSON.parse(hit[0])
  }

  private object(path: string, depth: number): unknown {
    const out: { [key: string]: unknown } = Object.create(null)
    this.i++
    this.space()
    if (this.text[this.i] === '}') {
      this.i++
      return out
    }
    for (;;) {
      this.space()
      if (this.text[this.i] !== '"') this.fail('expected a field name in double quotes')
      const key = this.string()
      if (key in out) this.fail(`field ${JSON.stringify(key)} stands twice`)
      this.space()
      if (this.text[this.i] !== ':') this.fail("expected ':'")
      this.i++
      out[key] = this.value(joinPath(path, key), depth + 1)
      this.space()
      const c = this.text[this.i]
      if (c === '}') break
      if (c !== ',') this.fail("expected ',' or '}'")
      this.i++
    }
    this.i++
    return out
  }

  private array(path: string, depth: number): unknown[] {
    const out: unknown[] = []
    this.i++
    this.space()
    if (this.text[this.i] === ']') {
      this.i++
      return out
    }
    for (;;) {
      out.push(this.value(joinPath(path, out.length), depth + 1))
      this.space()
      const c = this.text[this.i]
      if (c === ']') break
      if (c !== ',') this.fail("expected ',' or ']'")
      this.i++
    }
    this.i++
    return out
  }

  private string(): string {
    const start = this.i
    for (this.i++; ; this.i++) {
      const c = this.text[this.i]
      if (c === undefined) this.fail('unterminated string')
      if (c === '"') break
      if (c === '\\') this.i++
    }
    this.i++
    try {
      return JSON.parse(this.text.slice(start, this.i)) as string
    } catch {
      // A control character or a bad escape: JSON.parse says only that it is bad, the place is ours to tell.
      this.i = start
      this.fail('malformed string')
    }
  }
}
