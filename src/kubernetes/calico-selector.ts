/**
 * Calico's selector language: `app == 'web' && !has(tier) || env in {'a', 'b'}`.
 *
 *     expr   = and { "||" and }        and = unary { "&&" unary }        unary = [ "!" ] atom
 *     atom   = "(" expr ")" | all() | global() | has(k) | k == 'v' | k != 'v' | k [not] in { 'v', ... }
 *            | k contains 'v' | k starts with 'v' | k ends with 'v'
 *
 * An empty selector is all(). `!=` and `not in` hold when the label is absent.
 * Sources: projectcalico libcalico-go/lib/selector (parser, tokenizer).
 */
/** A parsed selector; what a key means depends on where the selector stands. */
export type SelectorNode =
  | { readonly op: 'all' | 'global' }
  | { readonly op: 'has'; readonly key: string }
  | { readonly op: 'in'; readonly key: string; readonly values: readonly string[] }
  | { readonly op: 'text'; readonly how: 'contains' | 'starts' | 'ends'; readonly key: string; readonly value: string }
  | { readonly op: 'not'; readonly of: SelectorNode }
  | { readonly op: 'and' | 'or'; readonly of: readonly SelectorNode[] }

/** A selector, or what is wrong with it and where (offset into the text). */
export type ParsedSelector =
  | { readonly node: SelectorNode; readonly error?: undefined }
  | { readonly error: string; readonly offset: number; readonly node?: undefined }

type TokenKind = 'label' | 'string' | 'op' | 'end'

interface Token {
  readonly kind: TokenKind
  readonly text: string
  readonly offset: number
}

const TOKEN =
  /\s*(?:(?<call>(?:all|global)\(\s*\))|(?<has>has\(\s*(?<hasKey>[A-Za-z0-9_./-]+)\s*\))|(?<str>"[^"]*"|'[^']*')|(?<op>==|!=|&&|\|\||[!(){},])|(?<word>not\s+in\b|in\b(?=\s*\{)|contains\b|starts\s+with\b|ends\s+with\b)|(?<label>[A-Za-z0-9_./-]+))/y

class SelectorError extends Error {
  readonly offset: number
  constructor(message: string, offset: number) {
    super(message)
    this.offset = offset
  }
}

/** Parses a selector. */
export function parseCalicoSelector(text: string): ParsedSelector {
  if (text.trim() === '') return { node: { op: 'all' } }
  try {
    return { node: new Parser(tokenize(text)).whole() }
  } catch (error) {
    if (!(error instanceof SelectorError)) throw error
    return { error: error.message, offset: error.offset }
  }
}

function tokenize(text: string): Token[] {
  const tokens: Token[] = []
  let at = 0
  while (at < text.length) {
    if (text.slice(at).trim() === '') break
    TOKEN.lastIndex = at
    const match = TOKEN.exec(text)
    if (match === null) {
      const rest = text.slice(at).trimStart()
      throw new SelectorError(`unexpected "${rest.slice(0, 20)}"`, text.length - rest.length)
    }
    const groups = match.groups as Record<string, string | undefined>
    const offset = at + match[0].length - match[0].trimStart().length
    if (groups.call !== undefined) tokens.push({ kind: 'op', text: groups.call.replace(/\s/g, ''), offset })
    else if (groups.has !== undefined) tokens.push({ kind: 'op', text: `has(${groups.hasKey})`, offset })
    else if (groups.str !== undefined) tokens.push({ kind: 'string', text: groups.str.slice(1, -1), offset })
    else if (groups.op !== undefined) tokens.push({ kind: 'op', text: groups.op, offset })
    else if (groups.word !== undefined) tokens.push({ kind: 'op', text: groups.word.replace(/\s+/g, ' '), offset })
    else tokens.push({ kind: 'label', text: groups.label!, offset })
    at = TOKEN.lastIndex
  }
  tokens.push({ kind: 'end', text: 'the end', offset: text.length })
  return tokens
}

class Parser {
  private at = 0
  private readonly tokens: readonly Token[]

  constructor(tokens: readonly Token[]) {
    this.tokens = tokens
  }

  whole(): SelectorNode {
    const expr = this.or()
    if (this.peek().kind !== 'end') this.fail('the end of the selector')
    return expr
  }

  private peek(): Token {
    return this.tokens[this.at]!
  }

  private fail(expected: string): never {
    const token = this.peek()
    throw new SelectorError(
      `expected ${expected}, found ${token.kind === 'end' ? 'the end' : `"${token.text}"`}`,
      token.offset,
    )
  }

  private take(text: string): boolean {
    const token = this.peek()
    if (token.kind !== 'op' || token.text !== text) return false
    this.at++
    return true
  }

  private or(): SelectorNode {
    const parts = [this.and()]
    while (this.take('||')) parts.push(this.and())
    return parts.length === 1 ? parts[0]! : { op: 'or', of: parts }
  }

  private and(): SelectorNode {
    const parts = [this.unary()]
    while (this.take('&&')) parts.push(this.unary())
    return parts.length === 1 ? parts[0]! : { op: 'and', of: parts }
  }

  private unary(): SelectorNode {
    if (this.take('!')) return { op: 'not', of: this.unary() }
    const token = this.peek()
    if (this.take('(')) {
      const expr = this.or()
      if (!this.take(')')) this.fail('")"')
      return expr
    }
    if (this.take('all()')) return { op: 'all' }
    if (this.take('global()')) return { op: 'global' }
    if (token.kind === 'op' && token.text.startsWith('has(')) {
      this.at++
      return { op: 'has', key: token.text.slice(4, -1) }
    }
    if (token.kind !== 'label') this.fail('a label, has(), all(), "!" or "("')
    this.at++
    return this.comparison(token.text)
  }

  private comparison(key: string): SelectorNode {
    if (this.take('==')) return { op: 'in', key, values: [this.string()] }
    if (this.take('!=')) return { op: 'not', of: { op: 'in', key, values: [this.string()] } }
    if (this.take('in')) return this.list(key)
    if (this.take('not in')) return { op: 'not', of: this.list(key) }
    for (const [word, how] of [
      ['contains', 'contains'],
      ['starts with', 'starts'],
      ['ends with', 'ends'],
    ] as const) {
      if (this.take(word)) return { op: 'text', how, key, value: this.string() }
    }
    return this.fail('==, !=, in, not in, contains, starts with or ends with')
  }

  private list(key: string): SelectorNode {
    if (!this.take('{')) this.fail('"{"')
    const values: string[] = []
    if (!this.take('}')) {
      do values.push(this.string())
      while (this.take(','))
      if (!this.take('}')) this.fail('"," or "}"')
    }
    return { op: 'in', key, values }
  }

  private string(): string {
    const token = this.peek()
    if (token.kind !== 'string') this.fail('a quoted text')
    this.at++
    return token.text
  }
}
