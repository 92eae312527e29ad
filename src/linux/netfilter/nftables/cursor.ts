/**
 * A reader over nft's tokens, and the errors of its grammar.
 *
 * nft: src/parser_bison.y (1.0.6). Errors are bison's: `syntax error, unexpected X`. What bison adds when only few tokens
 * could follow (`, expecting Y`) is said where the caller knows it.
 */
import { type Loc, NftError } from './ast.ts'
import type { Token } from './lexer.ts'

/** Words that nft's scanner knows as tokens of their own: an error names them instead of `string`. */
const KEYWORDS = new Set(
  (
    'add create insert replace delete get list reset flush rename table tables chain chains rule rules set sets map maps ' +
    'element elements counter counters quota quotas limit limits ruleset hook type policy priority handle index position comment ' +
    'ip ip6 inet bridge netdev arp tcp udp udplite sctp dccp icmp icmpv6 igmp ether vlan th ah esp comp meta ct fib rt ' +
    'saddr daddr sport dport accept drop continue jump goto return log reject masquerade snat dnat redirect with to vmap ' +
    'mark iif oif iifname oifname numgen jhash symhash notrack queue flags timeout size typeof expires update ' +
    'flowtable helper quotas dup fwd last over rate burst mod offset seed'
  ).split(' '),
)

const SYMBOL_NAMES: Readonly<Record<string, string>> = {
  ';': 'semicolon',
  ':': 'colon',
  ',': 'comma',
  '.': '.',
  '@': '@',
  '/': '/',
  '*': '*',
  '-': '-',
  '=': '=',
  '!': '!',
  '==': '==',
  '!=': '!=',
}

/** bison's name of a token. */
export function tokenName(t: Token): string {
  switch (t.kind) {
    case 'newline':
      return 'newline'
    case 'eof':
      return 'end of file'
    case 'number':
      return 'number'
    case 'quoted':
      return 'quoted string'
    case 'sym':
      return SYMBOL_NAMES[t.text] ?? `'${t.text}'`
    default:
      return KEYWORDS.has(t.text) ? t.text : 'string'
  }
}

/** Where the parser stands. */
export class Cursor {
  private readonly tokens: readonly Token[]
  private at = 0

  constructor(tokens: readonly Token[]) {
    this.tokens = tokens
  }

  /** The token `ahead` of the next one. */
  peek(ahead = 0): Token {
    return this.tokens[Math.min(this.at + ahead, this.tokens.length - 1)]!
  }

  /** Takes the next token. */
  next(): Token {
    const t = this.peek()
    if (this.at < this.tokens.length - 1) this.at++
    return t
  }

  /** The place of the token that was taken last. */
  get lastLoc(): Loc {
    return this.tokens[Math.max(0, this.at - 1)]!.loc
  }

  /** True when the next token is that symbol. */
  isSym(text: string, ahead = 0): boolean {
    const t = this.peek(ahead)
    return t.kind === 'sym' && t.text === text
  }

  /** True when the next token is that word. */
  isWord(text: string, ahead = 0): boolean {
    const t = this.peek(ahead)
    return t.kind === 'string' && t.text === text
  }

  /** Takes the symbol when it is next. */
  sym(text: string): boolean {
    if (!this.isSym(text)) return false
    this.next()
    return true
  }

  /** Takes the word when it is next. */
  word(text: string): boolean {
    if (!this.isWord(text)) return false
    this.next()
    return true
  }

  /** bison's complaint about the next token. */
  unexpected(expecting = ''): never {
    const t = this.peek()
    throw new NftError(
      t.loc,
      `syntax error, unexpected ${tokenName(t)}${expecting === '' ? '' : `, expecting ${expecting}`}`,
    )
  }

  /** Takes the symbol or complains. */
  needSym(text: string, expecting = ''): Token {
    if (!this.isSym(text)) this.unexpected(expecting)
    return this.next()
  }

  /** Takes the word or complains. */
  needWord(text: string, expecting = ''): Token {
    if (!this.isWord(text)) this.unexpected(expecting)
    return this.next()
  }

  /** An identifier: a word, or a quoted string where `quoted` allows one. */
  name(quoted = true, expecting = ''): Token {
    const t = this.peek()
    if (t.kind !== 'string' && !(quoted && t.kind === 'quoted')) this.unexpected(expecting)
    return this.next()
  }

  /** A number. */
  number(expecting = ''): number {
    const t = this.peek()
    if (t.kind !== 'number') this.unexpected(expecting)
    this.next()
    return Number(t.text)
  }

  /** A duration in milliseconds: `1h30m`, or a number of seconds. */
  duration(): number {
    const t = this.next()
    if (t.kind === 'number') return Number(t.text) * 1000
    const ms = parseDuration(t.text)
    if (ms === null) throw new NftError(t.loc, `syntax error, unexpected ${tokenName(t)}`)
    return ms
  }

  /** True at the end of a statement. */
  get atEnd(): boolean {
    const t = this.peek()
    return t.kind === 'newline' || t.kind === 'eof' || (t.kind === 'sym' && (t.text === ';' || t.text === '}'))
  }

  /** Skips newlines and semicolons. */
  skipSeparators(): void {
    for (;;) {
      const t = this.peek()
      if (t.kind !== 'newline' && !(t.kind === 'sym' && t.text === ';')) return
      this.next()
    }
  }

  /** Skips newlines inside braces. */
  skipNewlines(): void {
    while (this.peek().kind === 'newline') this.next()
  }

  /** Position, to come back to. */
  mark(): number {
    return this.at
  }

  /** Goes back to a position. */
  reset(at: number): void {
    this.at = at
  }

  /** yyerror recovery: after the end of the line. */
  skipLine(): void {
    while (this.peek().kind !== 'newline' && this.peek().kind !== 'eof') this.next()
  }
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** time_parse: `2d3h4m5s` in milliseconds, null when it is no duration. */
export function parseDuration(text: string): number | null {
  if (!/^(?:\d+(?:ms|[dhms]))+$/.test(text)) return null
  let ms = 0
  for (const m of text.matchAll(/(\d+)(ms|[dhms])/g)) ms += Number(m[1]) * UNITS[m[2]!]!
  return ms
}
