/**
 * Commands of nft's grammar, and the blocks of a ruleset file.
 *
 * nft: src/parser_bison.y (1.0.6), src/rule.c nft_cmd_expand: a table block becomes the commands that build it: the table,
 * its chains, objects, sets and flow tables, then all rules, then the sets' elements.
 */
import { type Command, type Loc, NftError, span } from './ast.ts'
import { Cursor } from './cursor.ts'
import { tokenize } from './lexer.ts'
import {
  done,
  draft,
  FAMILIES,
  family,
  named,
  OBJECTS,
  parseChainBlock,
  parseFlowtable,
  parseObjectBlock,
  parseObjectInline,
  parseSetBlock,
  parseTableBlock,
  table,
} from './parse-block.ts'
import { parseSetLiteral } from './parse-expr.ts'
import { parseStmts } from './parse-stmt.ts'

const LISTABLE = [
  'tables',
  'table',
  'chains',
  'chain',
  'sets',
  'set',
  'maps',
  'map',
  'ruleset',
  'counters',
  'counter',
  'quotas',
  'quota',
  'limits',
  'limit',
  'flowtables',
  'flowtable',
  'meters',
  'meter',
  'hooks',
  'rules',
  'rule',
  'secmarks',
  'secmark',
  'synproxys',
  'synproxy',
]
const OPS = ['add', 'create', 'insert', 'replace', 'delete', 'destroy', 'flush', 'list', 'reset', 'rename']

/** Result of a parse: commands in order, or errors. */
export interface ParseResult {
  readonly commands: Command[]
  readonly errors: NftError[]
}

/** The parser goes on behind a bad line, up to this many errors. */
const MAX_ERRORS = 10

/** A whole file, or a command line. */
export function parseNft(text: string): ParseResult {
  const commands: Command[] = []
  const errors: NftError[] = []
  let c: Cursor
  try {
    c = new Cursor(tokenize(text))
  } catch (e) {
    if (!(e instanceof NftError)) throw e
    return { commands, errors: [e] }
  }
  while (errors.length < MAX_ERRORS) {
    c.skipSeparators()
    if (c.peek().kind === 'eof') break
    try {
      const first = commands.length
      parseCommand(c, commands)
      const t = c.peek()
      if (t.kind !== 'newline' && t.kind !== 'eof' && !(t.kind === 'sym' && t.text === ';')) c.unexpected()
      // a command's place reaches over the newline that ends it
      const last = commands.at(-1)
      if (t.kind !== 'eof' && commands.length === first + 1 && last !== undefined) {
        commands[first] = { ...last, loc: span(last.loc, t.loc) }
      }
    } catch (e) {
      if (!(e instanceof NftError)) throw e
      errors.push(e)
      c.skipLine()
    }
  }
  return { commands, errors }
}

function parseCommand(c: Cursor, out: Command[]): void {
  const t = c.peek()
  if (t.kind !== 'string') c.unexpected()
  let op: Command['op'] = 'add'
  if (OPS.includes(t.text)) {
    op = t.text as Command['op']
    c.next()
  }
  const start = t.loc
  const what = c.peek()
  switch (op) {
    case 'add':
    case 'create':
    case 'insert':
    case 'replace':
      parseAdd(c, op, start, out)
      return
    case 'delete':
    case 'destroy':
    case 'flush':
      parseDelete(c, op, start, out)
      return
    case 'rename': {
      const d = draft(op, 'chain', start)
      c.needWord('chain')
      table(c, d)
      named(c, d)
      const newName = c.name(false, 'string').text
      out.push({ ...done(c, d), newName })
      return
    }
    default: {
      if (what.kind !== 'string' || !(LISTABLE.includes(what.text) || what.text === 'ct')) c.unexpected()
      c.next()
      const obj = what.text === 'ct' ? `ct ${c.name(false).text}` : what.text
      const d = draft(op, obj, start)
      const familyGiven = c.peek().kind === 'string' && FAMILIES.includes(c.peek().text)
      if (!familyGiven && (obj.endsWith('s') || obj === 'ruleset')) d.family = ''
      if (obj.endsWith('s') || obj === 'ruleset') {
        family(c, d)
        c.word('table')
        if (c.peek().kind === 'string' && !c.atEnd) named(c, d)
        if (d.name !== '') {
          d.table = d.name
          d.tableLoc = d.nameLoc
        }
      } else {
        table(c, d)
        if (obj !== 'table') named(c, d)
      }
      out.push(done(c, d))
    }
  }
}

function parseAdd(c: Cursor, op: Command['op'], start: Loc, out: Command[]): void {
  const what = c.peek()
  const word = what.kind === 'string' ? what.text : ''
  switch (word) {
    case 'table': {
      c.next()
      const d = draft(op, 'table', start)
      table(c, d)
      const tableFlags: string[] = []
      const body = c.isSym('{') ? parseTableBlock(c, d, tableFlags) : null
      const comment = body?.comment ?? null
      out.push({ ...done(c, d), flags: tableFlags, ...(comment === null ? {} : { comment }) })
      if (body !== null)
        out.push(...body.chains, ...body.objects, ...body.sets, ...body.flowtables, ...body.rules, ...body.elements)
      return
    }
    case 'chain': {
      c.next()
      const d = draft(op, 'chain', start)
      table(c, d)
      named(c, d)
      const rules: Command[] = []
      const chain = c.isSym('{') ? parseChainBlock(c, d, rules) : {}
      out.push({ ...done(c, d), chain }, ...rules)
      return
    }
    case 'rule':
      c.next()
      parseRuleCommand(c, op, start, out)
      return
    case 'set':
    case 'map': {
      c.next()
      const d = draft(op, 'set', start)
      table(c, d)
      named(c, d)
      const set = parseSetBlock(c, word === 'map')
      out.push({ ...done(c, d), set })
      if (set.elems !== undefined) out.push({ ...done(c, d), op: 'add', obj: 'element', elems: set.elems })
      return
    }
    case 'element': {
      c.next()
      const d = draft(op, 'element', start)
      table(c, d)
      named(c, d)
      if (!c.isSym('{')) c.unexpected("'{' or '$'")
      const elems = parseSetLiteral(c)
      out.push({ ...done(c, d), elems })
      return
    }
    case 'flowtable': {
      c.next()
      const d = draft(op, 'flowtable', start)
      table(c, d)
      named(c, d)
      const object = parseFlowtable(c)
      out.push({ ...done(c, d), object })
      return
    }
    case 'ct': {
      c.next()
      const type = `ct ${c.name(false).text}`
      const d = draft(op, type, start)
      table(c, d)
      named(c, d)
      out.push({ ...done(c, d), object: parseObjectBlock(c, type) })
      return
    }
    default:
      break
  }
  if (OBJECTS.includes(word)) {
    c.next()
    const d = draft(op, word, start)
    table(c, d)
    named(c, d)
    const object = c.isSym('{') ? parseObjectBlock(c, word) : parseObjectInline(c, word)
    out.push({ ...done(c, d), object })
    return
  }
  parseRuleCommand(c, op, start, out)
}

function parseRuleCommand(c: Cursor, op: Command['op'], start: Loc, out: Command[]): void {
  const d = draft(op, 'rule', start)
  table(c, d)
  named(c, d)
  let handle: number | undefined
  let handleLoc: Loc | undefined
  let position: number | undefined
  let index: number | undefined
  const where = c.peek().loc
  if (c.word('handle')) {
    handle = c.number('number')
    handleLoc = c.lastLoc
  } else if (c.word('position')) {
    position = c.number('number')
    handleLoc = span(where, c.lastLoc)
  } else if (c.word('index')) {
    index = c.number('number')
    handleLoc = span(where, c.lastLoc)
  } else if (op === 'replace') c.unexpected('handle')
  const { stmts, comment } = parseStmts(c)
  out.push({
    ...done(c, d),
    stmts,
    ...(comment === null ? {} : { comment }),
    ...(handle === undefined ? {} : { handle }),
    ...(position === undefined ? {} : { position }),
    ...(index === undefined ? {} : { index }),
    ...(handleLoc === undefined ? {} : { handleLoc }),
  })
}

function parseDelete(c: Cursor, op: Command['op'], start: Loc, out: Command[]): void {
  const what = c.peek()
  const word = what.kind === 'string' ? what.text : ''
  if (op === 'flush') {
    if (!['ruleset', 'table', 'chain', 'set', 'map', 'meter', 'flowtable'].includes(word)) c.unexpected()
    c.next()
    const d = draft(op, word === 'map' || word === 'meter' ? 'set' : word, start)
    if (word === 'ruleset') {
      d.family = ''
      family(c, d)
    } else {
      table(c, d)
      if (word !== 'table') named(c, d)
    }
    out.push({ ...done(c, d), ...(word === 'set' || word === 'map' ? { wantsMap: word === 'map' } : {}) })
    return
  }
  if (!['table', 'chain', 'rule', 'set', 'map', 'element', 'flowtable', 'ct', ...OBJECTS].includes(word)) c.unexpected()
  c.next()
  const obj = word === 'map' ? 'set' : word === 'ct' ? `ct ${c.name(false).text}` : word
  const d = draft(op, obj, start)
  let handle: number | undefined
  let handleLoc: Loc | undefined
  const byHandle = (): boolean => {
    if (!c.word('handle')) return false
    handle = c.number('number')
    handleLoc = c.lastLoc
    return true
  }
  if (obj === 'table') {
    family(c, d)
    if (!byHandle()) {
      const t = c.name(false, 'string')
      d.table = t.text
      d.tableLoc = t.loc
    }
  } else {
    table(c, d)
    if (obj === 'rule') {
      named(c, d)
      if (!byHandle()) c.unexpected('handle')
    } else if (!byHandle()) named(c, d)
  }
  if (obj === 'element' && !c.isSym('{')) c.unexpected("'{' or '$'")
  const elems = obj === 'element' ? parseSetLiteral(c) : undefined
  if (obj === 'chain' && c.isSym('{')) parseChainBlock(c, d, [])
  out.push({
    ...done(c, d),
    ...(elems === undefined ? {} : { elems }),
    ...(handle === undefined ? {} : { handle }),
    ...(handleLoc === undefined ? {} : { handleLoc }),
  })
}
