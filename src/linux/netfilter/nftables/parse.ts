/**
 * Commands of nft's grammar, and the blocks of a ruleset file.
 *
 * nft: src/parser_bison.y (1.0.6), src/rule.c nft_cmd_expand: a table block becomes the commands that build it: the table,
 * its chains, objects, sets and flow tables, then all rules, then the sets' elements.
 */
import {
  type ChainSpec,
  type Command,
  type HookSpec,
  type Loc,
  NftError,
  NO_LOC,
  type ObjSpec,
  type SetSpec,
  type Stmt,
  span,
  type TypeWord,
} from './ast.ts'
import { Cursor } from './cursor.ts'
import { tokenize } from './lexer.ts'
import { parseConcat, parseSetLiteral } from './parse-expr.ts'
import { limitBody, parseElementStmt, parseStmts, quotaBody } from './parse-stmt.ts'

const FAMILIES = ['ip', 'ip6', 'inet', 'arp', 'bridge', 'netdev']
const OBJECTS = ['counter', 'quota', 'limit', 'secmark', 'synproxy']
const LISTABLE = [
  'tables', 'table', 'chains', 'chain', 'sets', 'set', 'maps', 'map', 'ruleset', 'counters', 'counter', 'quotas', 'quota',
  'limits', 'limit', 'flowtables', 'flowtable', 'meters', 'meter', 'hooks', 'rules', 'rule', 'secmarks', 'secmark', 'synproxys', 'synproxy',
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

interface Draft {
  op: Command['op']
  obj: string
  family: string
  table: string
  tableLoc: Loc
  name: string
  nameLoc: Loc
  loc: Loc
}

function draft(op: Command['op'], obj: string, loc: Loc): Draft {
  return { op, obj, family: 'ip', table: '', tableLoc: NO_LOC, name: '', nameLoc: NO_LOC, loc }
}

function family(c: Cursor, d: Draft): void {
  if (c.peek().kind === 'string' && FAMILIES.includes(c.peek().text)) d.family = c.next().text
}

function table(c: Cursor, d: Draft): void {
  family(c, d)
  const t = c.name(false, 'string')
  d.table = t.text
  d.tableLoc = t.loc
}

function named(c: Cursor, d: Draft): void {
  const t = c.name(false, 'string')
  d.name = t.text
  d.nameLoc = t.loc
}

function done(c: Cursor, d: Draft): Draft {
  return { ...d, loc: span(d.loc, c.lastLoc) }
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
      return parseAdd(c, op, start, out)
    case 'delete':
    case 'destroy':
    case 'flush':
      return parseDelete(c, op, start, out)
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
      if (body !== null) out.push(...body.chains, ...body.objects, ...body.sets, ...body.flowtables, ...body.rules, ...body.elements)
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
      return parseRuleCommand(c, op, start, out)
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

interface TableBody {
  comment: string | null
  chains: Command[]
  objects: Command[]
  sets: Command[]
  flowtables: Command[]
  rules: Command[]
  elements: Command[]
}

function parseTableBlock(c: Cursor, d: Draft, flags: string[]): TableBody {
  const body: TableBody = { comment: null, chains: [], objects: [], sets: [], flowtables: [], rules: [], elements: [] }
  c.needSym('{')
  for (;;) {
    c.skipSeparators()
    if (c.sym('}')) return body
    const t = c.peek()
    if (t.kind !== 'string') c.unexpected()
    const inner = (obj: string): Draft => {
      c.next()
      const x = { ...d, op: 'add' as const, obj, loc: t.loc }
      named(c, x)
      return x
    }
    switch (t.text) {
      case 'flags':
        c.next()
        do flags.push(c.name(false).text)
        while (c.sym(','))
        break
      case 'comment':
        c.next()
        body.comment = c.name().text
        break
      case 'chain': {
        const x = inner('chain')
        const chain = parseChainBlock(c, x, body.rules)
        body.chains.push({ ...done(c, x), chain })
        break
      }
      case 'set':
      case 'map': {
        const x = inner('set')
        const set = parseSetBlock(c, t.text === 'map')
        body.sets.push({ ...done(c, x), set })
        if (set.elems !== undefined) body.elements.push({ ...done(c, x), obj: 'element', elems: set.elems })
        break
      }
      case 'flowtable': {
        const x = inner('flowtable')
        body.flowtables.push({ ...x, object: parseFlowtable(c) })
        break
      }
      case 'ct': {
        c.next()
        const x = inner(`ct ${c.peek().text}`)
        body.objects.push({ ...x, object: parseObjectBlock(c, x.obj) })
        break
      }
      default: {
        if (!OBJECTS.includes(t.text)) c.unexpected()
        const x = inner(t.text)
        body.objects.push({ ...x, object: parseObjectBlock(c, t.text) })
      }
    }
  }
}

function parseChainBlock(c: Cursor, d: Draft, rules: Command[]): ChainSpec {
  let spec: ChainSpec = {}
  c.needSym('{')
  for (;;) {
    c.skipSeparators()
    if (c.sym('}')) return spec
    if (c.isWord('type') && c.isWord('hook', 2)) spec = { ...spec, base: parseHook(c) }
    else if (c.isWord('policy')) {
      const word = c.next()
      const t = c.name(false)
      if (t.text !== 'accept' && t.text !== 'drop') throw new NftError(t.loc, 'syntax error, unexpected string, expecting accept or drop')
      spec = { ...spec, policy: t.text, policyLoc: span(word.loc, t.loc) }
    } else if (c.isWord('comment')) {
      c.next()
      spec = { ...spec, comment: c.name().text }
    } else if (c.isWord('flags')) {
      c.next()
      c.name(false)
    } else {
      const start = c.peek().loc
      const { stmts, comment } = parseStmts(c)
      rules.push({
        ...d,
        op: 'add',
        obj: 'rule',
        loc: span(start, c.lastLoc),
        stmts,
        ...(comment === null ? {} : { comment }),
      })
      if (!c.atEnd) c.unexpected()
    }
  }
}

function parseHook(c: Cursor): HookSpec {
  c.needWord('type')
  const type = c.name(false)
  c.needWord('hook')
  const hook = c.name(false)
  const devices: string[] = []
  if (c.word('device')) devices.push(c.name().text)
  if (c.word('devices')) {
    c.needSym('=')
    c.needSym('{')
    do devices.push(c.name().text)
    while (c.sym(','))
    c.needSym('}')
  }
  const word = c.needWord('priority')
  const t = c.peek()
  let name = ''
  let offset = 0
  if (c.sym('-')) offset = -c.number()
  else if (t.kind === 'number') offset = c.number()
  else {
    name = c.name(false).text
    if (c.sym('+')) offset = c.number()
    else if (c.sym('-')) offset = -c.number()
  }
  return {
    type: type.text,
    hook: hook.text,
    priority: { name, offset, loc: span(word.loc, c.lastLoc) },
    devices,
    typeLoc: type.loc,
    hookLoc: hook.loc,
  }
}

function typeWords(c: Cursor): TypeWord[] {
  const words: TypeWord[] = []
  do {
    const t = c.name(false)
    words.push({ name: t.text, loc: t.loc })
  } while (c.sym('.'))
  return words
}

function parseSetBlock(c: Cursor, isMap: boolean): SetSpec {
  let s: SetSpec = { isMap, flags: [], autoMerge: false, stmts: [] }
  const open = c.needSym('{', "'{'")
  for (;;) {
    c.skipSeparators()
    const last = c.lastLoc
    if (c.sym('}')) return { ...s, blockLoc: span(open.loc, last) }
    const t = c.peek()
    if (t.kind !== 'string') c.unexpected()
    switch (t.text) {
      case 'type':
        c.next()
        s = { ...s, key: typeWords(c) }
        if (isMap && !c.isSym(':')) c.unexpected('colon or .')
        if (c.sym(':')) {
          const data = typeWords(c)
          const obj = data.length === 1 && ['counter', 'quota', 'limit', 'secmark', 'synproxy'].includes(data[0]!.name)
          s = obj ? { ...s, objType: data[0]!.name } : { ...s, data }
        }
        break
      case 'typeof':
        c.next()
        s = { ...s, typeofKey: parseConcat(c) }
        if (c.sym(':')) {
          const v = c.peek()
          s = v.text === 'verdict' ? { ...s, typeofData: c.next().text } : { ...s, typeofData: parseConcat(c) }
        }
        break
      case 'flags': {
        c.next()
        const flags = [...s.flags]
        do flags.push(c.name(false).text)
        while (c.sym(','))
        s = { ...s, flags }
        break
      }
      case 'timeout':
        c.next()
        s = { ...s, timeout: c.duration() }
        break
      case 'gc-interval':
        c.next()
        s = { ...s, gcInterval: c.duration() }
        break
      case 'size':
        c.next()
        s = { ...s, size: c.number() }
        break
      case 'policy':
        c.next()
        s = { ...s, policy: c.name(false).text }
        break
      case 'auto-merge':
        c.next()
        s = { ...s, autoMerge: true }
        break
      case 'comment':
        c.next()
        s = { ...s, comment: c.name().text }
        break
      case 'elements':
        c.next()
        c.needSym('=')
        c.skipNewlines()
        s = { ...s, elems: parseSetLiteral(c) }
        break
      case 'counter':
      case 'limit':
      case 'quota':
      case 'ct':
        s = { ...s, stmts: [...s.stmts, parseElementStmt(c)] }
        break
      default:
        c.unexpected()
    }
    if (!c.atEnd) c.unexpected()
  }
}

function parseObjectInline(c: Cursor, type: string): ObjSpec {
  const head = c.lastLoc
  let stmt: Stmt | null = null
  if (type === 'counter') {
    const packets = c.word('packets') ? c.number() : 0
    const bytes = c.word('bytes') ? c.number() : 0
    stmt = { k: 'counter', packets, bytes, loc: head }
  } else if (type === 'quota' && !c.atEnd) stmt = quotaBody(c, head)
  else if (type === 'limit' && !c.atEnd) {
    c.needWord('rate')
    stmt = limitBody(c, head)
  }
  return { type, stmt, lines: [] }
}

function parseObjectBlock(c: Cursor, type: string): ObjSpec {
  c.needSym('{')
  let object: ObjSpec = { type, stmt: type === 'counter' ? { k: 'counter', packets: 0, bytes: 0, loc: c.lastLoc } : null, lines: [] }
  for (;;) {
    c.skipSeparators()
    if (c.sym('}')) return object
    if (c.isWord('comment')) {
      c.next()
      object = { ...object, comment: c.name().text }
    } else if (type === 'counter' || type === 'quota' || type === 'limit') {
      object = { ...object, stmt: parseObjectInline(c, type).stmt }
    } else {
      const words: string[] = []
      let depth = 0
      while (!(depth === 0 && c.atEnd)) {
        const t = c.next()
        if (t.text === '{') depth++
        if (t.text === '}') depth--
        words.push(t.kind === 'quoted' ? `"${t.text}"` : t.text)
      }
      object = { ...object, lines: [...object.lines, words.join(' ').replaceAll(' ,', ',')] }
    }
  }
}

function parseFlowtable(c: Cursor): ObjSpec {
  const lines: string[] = []
  if (!c.sym('{')) return { type: 'flowtable', stmt: null, lines }
  for (;;) {
    c.skipSeparators()
    if (c.sym('}')) return { type: 'flowtable', stmt: null, lines }
    const words: string[] = []
    let depth = 0
    while (!(depth === 0 && c.atEnd)) {
      const t = c.next()
      if (t.text === '{') depth++
      if (t.text === '}') depth--
      words.push(t.kind === 'quoted' ? `"${t.text}"` : t.text)
    }
    lines.push(words.join(' '))
  }
}
