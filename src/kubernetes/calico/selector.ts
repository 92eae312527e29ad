/**
 * Calico's selector language: `app == 'web' && has(tier) || role in {'a', 'b'}`.
 *
 * Real thing: libcalico-go/lib/selector (tokenizer, parser, ast). `||` binds less than `&&`; `!` negates one operation;
 * nothing at all selects everything. The canonical text (Selector.String) decides the names of ip sets, so it keeps the
 * grouping as written: an operand that was in parentheses stays a group of its own.
 * Not modelled: the limits on a label's length.
 */

/** A parsed selector. */
export interface CalicoSelector {
  /** The canonical text. */
  readonly text: string
  matches(labels: ReadonlyMap<string, string>): boolean
}

/** A selector that cannot be read, in Calico's words. */
export class SelectorError extends Error {}

const TOKEN =
  /\s*(?:(&&|\|\||==|!=|[(){},!])|"([^"]*)"|'([^']*)'|(has)\(\s*([A-Za-z0-9_./-]+)\s*\)|(all)\(\s*\)|(global)\(\s*\)|(not\s+in|in|contains|starts\s*with|ends\s*with)(?![A-Za-z0-9_./-])|([A-Za-z0-9_./-]+))/y

interface Token {
  readonly kind: string
  readonly value: string
}

function tokenize(text: string): Token[] {
  const out: Token[] = []
  TOKEN.lastIndex = 0
  while (TOKEN.lastIndex < text.trimEnd().length) {
    const at = TOKEN.lastIndex
    const m = TOKEN.exec(text)
    if (m === null) throw new SelectorError(`unexpected character at ${at}: ${text.slice(at, at + 20)}`)
    if (m[1] !== undefined) out.push({ kind: m[1], value: m[1] })
    else if (m[2] !== undefined || m[3] !== undefined) out.push({ kind: 'string', value: m[2] ?? m[3]! })
    else if (m[4] !== undefined) out.push({ kind: 'has', value: m[5]! })
    else if (m[6] !== undefined) out.push({ kind: 'all', value: '' })
    else if (m[7] !== undefined) out.push({ kind: 'global', value: '' })
    else if (m[8] !== undefined && isOperatorPlace(out)) out.push({ kind: m[8].replace(/\s+/g, ' '), value: '' })
    else out.push({ kind: 'label', value: m[8] ?? m[9]! })
  }
  out.push({ kind: 'end', value: '' })
  return out
}

/** A word such as `in` is an operator only behind a label. */
function isOperatorPlace(out: readonly Token[]): boolean {
  return out.at(-1)?.kind === 'label'
}

function quote(value: string): string {
  const mark = value.includes('"') ? "'" : '"'
  return mark + value + mark
}

class Parser {
  private at = 0
  private readonly tokens: readonly Token[]

  constructor(text: string, prefix = '') {
    this.tokens = tokenize(text).map((t) =>
      t.kind === 'label' || t.kind === 'has' ? { kind: t.kind, value: prefix + t.value } : t,
    )
  }

  root(): CalicoSelector {
    if (this.tokens[0]!.kind === 'end') return ALL
    const node = this.or()
    if (this.peek() !== 'end') throw new SelectorError('unexpected content at end of selector')
    return node
  }

  private peek(): string {
    return this.tokens[this.at]!.kind
  }

  private next(): Token {
    return this.tokens[this.at++]!
  }

  private or(): CalicoSelector {
    const nodes = [this.and()]
    while (this.peek() === '||') {
      this.at++
      nodes.push(this.and())
    }
    if (nodes.length === 1) return nodes[0]!
    const text = `(${nodes.map((n) => n.text).join(' || ')})`
    return { text, matches: (labels) => nodes.some((n) => n.matches(labels)) }
  }

  private and(): CalicoSelector {
    const nodes = [this.operation()]
    while (this.peek() === '&&') {
      this.at++
      nodes.push(this.operation())
    }
    if (nodes.length === 1) return nodes[0]!
    const text = `(${nodes.map((n) => n.text).join(' && ')})`
    return { text, matches: (labels) => nodes.every((n) => n.matches(labels)) }
  }

  private operation(): CalicoSelector {
    let isNegated = false
    while (this.peek() === '!') {
      this.at++
      isNegated = !isNegated
    }
    const node = this.positive()
    return isNegated ? { text: `!${node.text}`, matches: (labels) => !node.matches(labels) } : node
  }

  private positive(): CalicoSelector {
    const token = this.next()
    switch (token.kind) {
      case 'has':
        return { text: `has(${token.value})`, matches: (labels) => labels.has(token.value) }
      case 'all':
        return ALL
      case 'global':
        return { text: 'global()', matches: (labels) => !labels.has('projectcalico.org/namespace') }
      case 'label':
        return this.comparison(token.value)
      case '(': {
        const node = this.or()
        if (this.next().kind !== ')') throw new SelectorError('expected )')
        return node
      }
      default:
        throw new SelectorError(`unexpected token: ${token.value === '' ? token.kind : token.value}`)
    }
  }

  private string(): string {
    const token = this.next()
    if (token.kind !== 'string') throw new SelectorError('expected string')
    return token.value
  }

  private comparison(key: string): CalicoSelector {
    const operator = this.next().kind
    if (operator === 'in' || operator === 'not in') {
      const values = this.set()
      const text = `${key} ${operator} {${values.map(quote).join(', ')}}`
      if (operator === 'in') return { text, matches: (labels) => values.includes(labels.get(key) ?? '\0') }
      return { text, matches: (labels) => !values.includes(labels.get(key) ?? '\0') }
    }
    const test = COMPARISONS[operator]
    if (test === undefined) throw new SelectorError(`expected == or != not: ${operator}`)
    const value = this.string()
    return { text: `${key} ${operator} ${quote(value)}`, matches: (labels) => test(labels.get(key), value) }
  }

  private set(): string[] {
    if (this.next().kind !== '{') throw new SelectorError('expected set literal')
    const values = new Set<string>()
    while (this.peek() === 'string') {
      values.add(this.next().value)
      if (this.peek() === ',') this.at++
      else break
    }
    if (this.next().kind !== '}') throw new SelectorError('expected }')
    return [...values].sort()
  }
}

const COMPARISONS: Readonly<Record<string, (label: string | undefined, value: string) => boolean>> = {
  '==': (label, value) => label === value,
  '!=': (label, value) => label !== value,
  contains: (label, value) => label?.includes(value) === true,
  'starts with': (label, value) => label?.startsWith(value) === true,
  'ends with': (label, value) => label?.endsWith(value) === true,
}

const ALL: CalicoSelector = { text: 'all()', matches: () => true }

const parsed = new Map<string, CalicoSelector>()

/**
 * Parses a selector.
 * @throws SelectorError when it cannot be read
 */
export function parseCalicoSelector(text: string): CalicoSelector {
  let selector = parsed.get(text)
  if (selector === undefined) {
    selector = new Parser(text).root()
    if (parsed.size > 10_000) parsed.clear()
    parsed.set(text, selector)
  }
  return selector
}

/** Every label of the selector with `prefix` in front (pcns., pcsa.), as canonical text. */
export function prefixLabels(text: string, prefix: string): string {
  return new Parser(text, prefix).root().text
}
