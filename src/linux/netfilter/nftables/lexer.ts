/**
 * nft's words: src/scanner.l (1.0.6).
 *
 * A newline ends a statement unless a backslash stands before it; comments run to the end of the line. `define` and `$name`
 * are replaced here, so that the parser sees their values. `include` is not modelled: there is no file system to read.
 */
import { type Loc, NftError } from './ast.ts'

/** Kinds of tokens, with the names that nft's grammar gives them in errors. */
export type TokenKind = 'string' | 'quoted' | 'number' | 'newline' | 'eof' | 'sym'

export interface Token {
  readonly kind: TokenKind
  readonly text: string
  readonly loc: Loc
}

const WORD = /(?:[A-Za-z_][A-Za-z0-9/\-_.]*(?:\\?\*)?|\\?\*)/y
const MAC = /(?:[0-9a-fA-F]{1,2}:){5}[0-9a-fA-F]{1,2}(?![0-9a-fA-F:])/y
const IP6 = /(?:[0-9a-fA-F]{0,4}:){2,7}(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-fA-F]{0,4})/y
const IP4 = /\d{1,3}(?:\.\d{1,3}){3}/y
const DURATION = /(?:\d+(?:ms|[dhms]))+(?![A-Za-z0-9_])/y
const NUMBER = /0[xX][0-9a-fA-F]+|\d+/y
const NUMBER_WORD = /\d[A-Za-z0-9_.-]*/y
const CLASSID = /[0-9a-fA-F]{1,4}:[0-9a-fA-F]{1,4}(?![0-9A-Za-z_.:])/y
const QUOTED = /"[^"\n]*"/y
const SYMBOLS = [
  '==',
  '!=',
  '<=',
  '>=',
  '<<',
  '>>',
  '<',
  '>',
  '=',
  '!',
  '{',
  '}',
  '(',
  ')',
  '[',
  ']',
  ';',
  ':',
  ',',
  '.',
  '@',
  '$',
  '/',
  '-',
  '+',
  '*',
  '&',
  '|',
  '^',
]

function match(re: RegExp, text: string, at: number): string | null {
  re.lastIndex = at
  return re.exec(text)?.[0] ?? null
}

/** All tokens of a text, `eof` last. */
export function tokenize(text: string): Token[] {
  const out: Token[] = []
  const lines = text.split('\n')
  for (let n = 0; n < lines.length; n++) {
    const line = lines[n]!
    let i = 0
    let joined = false
    while (i < line.length) {
      const c = line[i]!
      if (c === ' ' || c === '\t' || c === '\r') {
        i++
        continue
      }
      if (c === '#') break
      if (c === '\\' && line.slice(i + 1).trim() === '') {
        joined = true
        break
      }
      const [kind, word] = wordAt(line, i)
      const loc: Loc = { line: n + 1, first: i + 1, last: i + word.length }
      if (word === '') throw new NftError({ line: n + 1, first: i + 1, last: i + 1 }, 'syntax error, unexpected junk')
      out.push({ kind, text: kind === 'quoted' ? word.slice(1, -1) : word.replace('\\*', '*'), loc })
      i += word.length
    }
    const end: Loc = { line: n + 1, first: line.length + 1, last: line.length + 1 }
    if (n < lines.length - 1) {
      if (!joined) out.push({ kind: 'newline', text: '\n', loc: end })
    } else out.push({ kind: 'eof', text: '', loc: end })
  }
  return substitute(out)
}

function wordAt(line: string, i: number): [TokenKind, string] {
  const quoted = match(QUOTED, line, i)
  if (quoted !== null) return ['quoted', quoted]
  const c = line[i]!
  if (c === ':' || /[0-9a-fA-F]/.test(c)) {
    const mac = match(MAC, line, i)
    if (mac !== null) return ['string', mac]
    const ip6 = match(IP6, line, i)
    if (ip6 !== null) return ['string', ip6]
  }
  if (c >= '0' && c <= '9') {
    const ip4 = match(IP4, line, i)
    if (ip4 !== null) return ['string', ip4]
    const classid = match(CLASSID, line, i)
    if (classid !== null) return ['string', classid]
    const duration = match(DURATION, line, i)
    if (duration !== null) return ['string', duration]
    const number = match(NUMBER, line, i)!
    const word = match(NUMBER_WORD, line, i)!
    if (word.length > number.length && /[A-Za-z_]/.test(word[number.length]!)) return ['string', word]
    return ['number', number]
  }
  const word = match(WORD, line, i)
  if (word !== null) return ['string', word]
  for (const s of SYMBOLS) if (line.startsWith(s, i)) return ['sym', s]
  return ['sym', '']
}

/** define, redefine, undefine, $name */
function substitute(tokens: Token[]): Token[] {
  if (!tokens.some((t) => t.text === '$' || t.text === 'define')) return tokens
  const values = new Map<string, Token[]>()
  const out: Token[] = []
  let i = 0
  const expand = (list: Token[]): Token[] => {
    const done: Token[] = []
    for (let j = 0; j < list.length; j++) {
      const t = list[j]!
      if (t.kind !== 'sym' || t.text !== '$') {
        done.push(t)
        continue
      }
      const name = list[++j]
      const value = values.get(name?.text ?? '')
      if (name === undefined || value === undefined) {
        throw new NftError(name?.loc ?? t.loc, `unknown identifier '${name?.text ?? ''}'`)
      }
      for (const v of value) done.push({ ...v, loc: name.loc })
    }
    return done
  }
  while (i < tokens.length) {
    const t = tokens[i]!
    const starts = out.length === 0 || out.at(-1)!.kind === 'newline' || ['{', ';', '}'].includes(out.at(-1)!.text)
    if (
      starts &&
      t.kind === 'string' &&
      (t.text === 'define' || t.text === 'redefine') &&
      tokens[i + 2]?.text === '='
    ) {
      const name = tokens[i + 1]!
      if (t.text === 'define' && values.has(name.text)) {
        throw new NftError(name.loc, `redefinition of symbol '${name.text}'`)
      }
      let depth = 0
      let j = i + 3
      const body: Token[] = []
      for (; j < tokens.length; j++) {
        const b = tokens[j]!
        if (b.text === '{' && b.kind === 'sym') depth++
        if (b.text === '}' && b.kind === 'sym') depth--
        if (depth <= 0 && (b.kind === 'newline' || b.kind === 'eof' || (b.kind === 'sym' && b.text === ';'))) break
        if (b.kind !== 'newline') body.push(b)
      }
      values.set(name.text, expand(body))
      i = j
      continue
    }
    if (starts && t.kind === 'string' && t.text === 'undefine') {
      values.delete(tokens[i + 1]!.text)
      i += 2
      continue
    }
    if (t.kind === 'sym' && t.text === '$') {
      out.push(...expand([t, tokens[i + 1]!]))
      i += 2
      continue
    }
    out.push(t)
    i++
  }
  return out
}
