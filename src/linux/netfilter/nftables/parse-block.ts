/**
 * The blocks of a ruleset: tables, chains, sets, objects.
 *
 * nft: src/parser_bison.y (1.0.6): table_block, chain_block, set_block, map_block and the blocks of objects. What stands in
 * the block of a ct helper, ct timeout or flow table is kept as its words.
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
import type { Cursor } from './cursor.ts'
import { parseConcat, parseSetLiteral } from './parse-expr.ts'
import { limitBody, parseElementStmt, parseStmts, quotaBody } from './parse-stmt.ts'

/** Families that a command may name. */
export const FAMILIES = ['ip', 'ip6', 'inet', 'arp', 'bridge', 'netdev']
/** Objects that stand by their own word. */
export const OBJECTS = ['counter', 'quota', 'limit', 'secmark', 'synproxy']

/** What all commands have. */
export interface Draft {
  op: Command['op']
  obj: string
  family: string
  table: string
  tableLoc: Loc
  name: string
  nameLoc: Loc
  loc: Loc
}

/** A command to be filled. */
export function draft(op: Command['op'], obj: string, loc: Loc): Draft {
  return { op, obj, family: 'ip', table: '', tableLoc: NO_LOC, name: '', nameLoc: NO_LOC, loc }
}

/** The family, when one is named. */
export function family(c: Cursor, d: Draft): void {
  if (c.peek().kind === 'string' && FAMILIES.includes(c.peek().text)) d.family = c.next().text
}

/** Family and table. */
export function table(c: Cursor, d: Draft): void {
  family(c, d)
  const t = c.name(false, 'string')
  d.table = t.text
  d.tableLoc = t.loc
}

/** The name of a chain, set or object. */
export function named(c: Cursor, d: Draft): void {
  const t = c.name(false, 'string')
  d.name = t.text
  d.nameLoc = t.loc
}

/** The command with its whole place. */
export function done(c: Cursor, d: Draft): Draft {
  return { ...d, loc: span(d.loc, c.lastLoc) }
}

/** The commands that a table block stands for. */
export interface TableBody {
  comment: string | null
  chains: Command[]
  objects: Command[]
  sets: Command[]
  flowtables: Command[]
  rules: Command[]
  elements: Command[]
}

/** What stands between the braces of a table. */
export function parseTableBlock(c: Cursor, d: Draft, flags: string[]): TableBody {
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

/** A chain: its hook, policy and comment; rules go to `rules`. */
export function parseChainBlock(c: Cursor, d: Draft, rules: Command[]): ChainSpec {
  let spec: ChainSpec = {}
  c.needSym('{')
  for (;;) {
    c.skipSeparators()
    if (c.sym('}')) return spec
    if (c.isWord('type') && c.isWord('hook', 2)) spec = { ...spec, base: parseHook(c) }
    else if (c.isWord('policy')) {
      const word = c.next()
      const t = c.name(false)
      if (t.text !== 'accept' && t.text !== 'drop')
        throw new NftError(t.loc, 'syntax error, unexpected string, expecting accept or drop')
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

/** A set or map. */
export function parseSetBlock(c: Cursor, isMap: boolean): SetSpec {
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

/** The words of a counter, quota or limit. */
export function parseObjectInline(c: Cursor, type: string): ObjSpec {
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

/** The block of a named object. */
export function parseObjectBlock(c: Cursor, type: string): ObjSpec {
  c.needSym('{')
  let object: ObjSpec = {
    type,
    stmt: type === 'counter' ? { k: 'counter', packets: 0, bytes: 0, loc: c.lastLoc } : null,
    lines: [],
  }
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

/** The block of a flow table. */
export function parseFlowtable(c: Cursor): ObjSpec {
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
