/**
 * Commands on the tables of a namespace: one transaction, all or nothing.
 *
 * nft: src/rule.c (do_command), src/evaluate.c (cmd_evaluate). Kernel: net/netfilter/nf_tables_api.c
 * (nf_tables_newtable ... nf_tables_delsetelem, nft_chain_validate). Errors of evaluation keep the kernel from being asked;
 * the kernel names all commands it refuses. Not modelled: nft's guesses (`; did you mean chain ...?`) behind an error.
 */
import type { Netns } from '../../netns.ts'
import { type Command, type Expr, type Loc, NftError, type Stmt } from './ast.ts'
import { checkBaseChain, checkLoops, checkRule } from './check.ts'
import { type BoundSet, EvalContext } from './evaluate.ts'
import { evalStmts } from './evaluate-stmt.ts'
import { priorityNumber } from './priority.ts'
import { syncHooks } from './register.ts'
import { addElements, deleteElements, elementStates, flushSet, KERNEL, makeSet } from './set-build.ts'
import {
  CounterState,
  NftChain,
  NftObject,
  NftRule,
  type NftSet,
  NftTable,
  NftTables,
  QuotaState,
  SET_DYNAMIC,
  SET_INTERVAL,
} from './state.ts'

/** The namespace's tables, made when first asked for. */
export function nftTables(ns: Netns): NftTables {
  ns.nft ??= new NftTables(ns)
  return ns.nft
}

/** Runs the changing commands of one transaction; `check` takes them back again. @returns the errors; none when it was kept */
export function runTransaction(ns: Netns, commands: readonly Command[], origin = '', check = false): NftError[] {
  const tables = nftTables(ns)
  const run = new Transaction(tables, origin)
  tables.begin()
  const evaluation: NftError[] = []
  const kernel: NftError[] = []
  for (const c of commands) {
    try {
      run.command(c)
    } catch (e) {
      if (!(e instanceof NftError)) throw e
      if (e.kernel) kernel.push(e)
      else {
        evaluation.push(e)
        if (evaluation.length >= 10) break
      }
    }
  }
  if (evaluation.length === 0 && kernel.length === 0) kernel.push(...run.validate())
  const errors = evaluation.length > 0 ? evaluation : kernel
  if (errors.length > 0 || check) {
    tables.abort()
    return errors
  }
  tables.commit()
  syncHooks(tables)
  return []
}

class Transaction {
  private readonly tables: NftTables
  private readonly origin: string
  /** Commands that added rules or verdicts, to validate at the end. */
  private readonly changed = new Map<NftTable, Loc>()

  constructor(tables: NftTables, origin: string) {
    this.tables = tables
    this.origin = origin
  }

  command(c: Command): void {
    switch (c.op) {
      case 'add':
      case 'create':
      case 'insert':
      case 'replace':
        this.add(c)
        return
      case 'delete':
      case 'destroy':
        this.remove(c)
        return
      case 'flush':
        this.flush(c)
        return
      case 'rename': {
        const chain = this.chain(this.table(c), c.name, c.nameLoc)
        const t = chain.table
        if (t.chains.has(c.newName!)) fail(c.loc, KERNEL.EEXIST)
        const old = chain.name
        const order = [...t.chains.values()]
        chain.name = c.newName!
        rebuild(t.chains, order, (x) => x.name)
        this.tables.onAbort(() => {
          chain.name = old
          rebuild(t.chains, order, (x) => x.name)
        })
        return
      }
      default:
        return
    }
  }

  /** The table that a command names, or nft's error. */
  private table(c: Command): NftTable {
    const t = this.tables.table(c.family, c.table)
    if (t === undefined) {
      throw new NftError(c.tableLoc, 'No such file or directory')
    }
    return t
  }

  private chain(t: NftTable, name: string, loc: Loc): NftChain {
    const chain = t.chains.get(name)
    if (chain === undefined) {
      throw new NftError(loc, 'No such file or directory')
    }
    return chain
  }

  private set(t: NftTable, c: Command): NftSet {
    const set = t.sets.get(c.name)
    if (set === undefined) {
      throw new NftError(c.nameLoc, 'No such file or directory')
    }
    return set
  }

  private add(c: Command): void {
    switch (c.obj) {
      case 'table':
        this.addTable(c)
        return
      case 'chain':
        this.addChain(c)
        return
      case 'rule':
        this.addRule(c)
        return
      case 'set': {
        const t = this.table(c)
        const x = new EvalContext(this.tables, t)
        const old = t.sets.get(c.name)
        if (old !== undefined) {
          if (c.op === 'create') fail(c.nameLoc, KERNEL.EEXIST)
          return
        }
        const set = makeSet(x, c.name, c.set!, c.set!.blockLoc ?? c.nameLoc)
        if ((set.flags & SET_DYNAMIC) !== 0 && (set.flags & SET_INTERVAL) !== 0) fail(c.loc, KERNEL.EOPNOTSUPP)
        t.sets.set(c.name, set)
        this.tables.onAbort(() => void t.sets.delete(c.name))
        return
      }
      case 'element': {
        const t = this.table(c)
        const set = this.set(t, c)
        const x = this.context(t, c)
        this.changed.set(t, c.loc)
        addElements(x, set, c.elems!.elems, c.op === 'create')
        return
      }
      case 'flowtable':
        fail(c.nameLoc, KERNEL.ENOENT)
        return
      default:
        this.addObject(c)
        return
    }
  }

  private context(t: NftTable, c: Command): EvalContext {
    const x = new EvalContext(this.tables, t)
    return Object.assign(x, { cmdLoc: c.loc })
  }

  private addTable(c: Command): void {
    const old = this.tables.table(c.family, c.table)
    if (old !== undefined) {
      if (c.op === 'create') fail(c.tableLoc, KERNEL.EEXIST)
      const flags = old.flags
      old.flags = c.flags ?? []
      this.tables.onAbort(() => {
        old.flags = flags
      })
      return
    }
    const t = new NftTable(
      this.tables.ns,
      c.family,
      c.table,
      this.tables.takeTableHandle(),
      c.flags ?? [],
      c.comment ?? null,
    )
    this.tables.tables.push(t)
    this.tables.onAbort(() => void this.tables.tables.splice(this.tables.tables.indexOf(t), 1))
  }

  private addChain(c: Command): void {
    const t = this.table(c)
    const spec = c.chain!
    let priority = 0
    const b = spec.base
    if (b !== undefined) {
      checkBaseChain(c.family, b, c.loc)
      if (b.priority.name === '') priority = b.priority.offset
      else {
        const n = priorityNumber(c.family, b.hook, b.priority.name)
        if (n === null) throw new NftError(b.priority.loc, 'invalid priority expression value in this context.')
        priority = n + b.priority.offset
      }
    }
    const old = t.chains.get(c.name)
    if (old !== undefined) {
      if (c.op === 'create') fail(c.nameLoc, KERNEL.EEXIST)
      const was = old.spec.base
      if (b !== undefined) {
        if (was === undefined) fail(c.nameLoc, KERNEL.EEXIST)
        if (was.type !== b.type || was.hook !== b.hook || old.priority !== priority) fail(c.loc, KERNEL.EOPNOTSUPP)
      }
      if (spec.policy !== undefined) {
        if (old.spec.base === undefined) fail(spec.policyLoc ?? c.loc, KERNEL.EOPNOTSUPP)
        const policy = old.policy
        old.policy = spec.policy
        old.program = null
        this.tables.onAbort(() => {
          old.policy = policy
          old.program = null
        })
      }
      return
    }
    if (spec.policy !== undefined && b === undefined) fail(spec.policyLoc ?? c.loc, KERNEL.EOPNOTSUPP)
    if (b?.type === 'nat' && priority <= -200) fail(c.loc, KERNEL.EOPNOTSUPP)
    const chain = new NftChain(t, c.name, ++t.nextHandle, spec, priority, this.tables.chains.length)
    this.tables.chains.push(chain)
    t.chains.set(c.name, chain)
    this.tables.onAbort(() => {
      t.chains.delete(c.name)
      this.tables.chains[chain.id] = null
    })
  }

  private addRule(c: Command): void {
    const t = this.table(c)
    const chain = this.chain(t, c.name, c.nameLoc)
    const x = this.context(t, c)
    evalStmts(x, c.stmts!)
    checkRule(chain, x.out, c.loc)
    for (const s of x.out) if (s.k === 'set' && s.op !== 'delete') this.makeDynamic(t.sets.get(s.set)!)
    const rules = chain.rules.slice()
    let at = c.op === 'insert' ? 0 : rules.length
    if (c.handle !== undefined || c.position !== undefined) {
      const handle = c.handle ?? c.position!
      const i = rules.findIndex((r) => r.handle === handle)
      if (i < 0) {
        if (c.op === 'replace') throw new NftError(c.handleLoc ?? c.loc, 'No such file or directory', [], true)
        fail(c.handleLoc ?? c.loc, KERNEL.ENOENT)
      }
      at = c.op === 'add' || c.op === 'create' ? i + 1 : i
    } else if (c.index !== undefined) {
      if (c.index >= rules.length) fail(c.handleLoc ?? c.loc, KERNEL.ENOENT)
      at = c.op === 'insert' ? c.index : c.index + 1
    }
    // a replaced rule's number goes to its successor
    const handle = c.op === 'replace' ? c.handle! : ++t.nextHandle
    const rule = new NftRule(chain, handle, x.out, c.comment ?? null, x.sets)
    rule.origin = this.origin === '' ? '' : `${this.origin}:${c.loc.line}`
    rule.states = elementStates(x.out, this.tables.ns.world.nowNs)
    const removed = c.op === 'replace' ? rules.splice(at, 1) : []
    rules.splice(at, 0, rule)
    this.setRules(chain, rules)
    this.use(t, rule, 1)
    for (const r of removed) this.use(t, r, -1)
    this.changed.set(t, c.loc)
  }

  private setRules(chain: NftChain, rules: NftRule[]): void {
    const old = chain.rules
    chain.rules = rules
    chain.program = null
    this.tables.onAbort(() => {
      chain.rules = old
      chain.program = null
    })
  }

  /** nft_dynset_init: a set that packets fill has a bound. */
  private makeDynamic(set: NftSet): void {
    if (set.size !== 0) return
    set.size = 65535
    this.tables.onAbort(() => {
      set.size = 0
    })
  }

  /** Counts what a rule refers to. */
  private use(t: NftTable, rule: NftRule, by: number): void {
    const targets: { uses: number }[] = []
    for (const s of rule.stmts) {
      if (s.k === 'verdict' && s.e.k === 'verdict' && s.e.chain !== '') {
        const chain = t.chains.get(s.e.chain)
        if (chain !== undefined) targets.push(chain)
      }
      if (s.k === 'objref' && s.name.k === 'sym') {
        const o = t.objects.get(`${s.type} ${s.name.text}`)
        if (o !== undefined) targets.push(o)
      }
      if (s.k === 'set') {
        const set = t.sets.get(s.set)
        if (set !== undefined) targets.push(set)
      }
      for (const set of setsOf(s)) if (!set.anonymous) targets.push(set)
    }
    for (const set of rule.sets) {
      if (!set.isVerdictMap) continue
      for (const row of set.store.rows(-Infinity)) {
        const code = set.store.data[row * 2]!
        const chain = code === -3 || code === -4 ? this.tables.chains[set.store.data[row * 2 + 1]!] : null
        // the elements counted the chain when they were made
        if (chain != null && by < 0) targets.push(chain)
      }
    }
    for (const x of targets) x.uses += by
    this.tables.onAbort(() => {
      for (const x of targets) x.uses -= by
    })
  }

  private addObject(c: Command): void {
    const t = this.table(c)
    const key = `${c.obj} ${c.name}`
    if (t.objects.has(key)) {
      if (c.op === 'create') fail(c.nameLoc, KERNEL.EEXIST)
      return
    }
    const spec = c.object!
    const state = spec.stmt === null ? null : elementStates([spec.stmt], this.tables.ns.world.nowNs)[0]
    const o = new NftObject(t, c.obj, c.name, ++t.nextHandle, spec, state)
    t.objects.set(key, o)
    this.tables.onAbort(() => void t.objects.delete(key))
  }

  private remove(c: Command): void {
    const quiet = c.op === 'destroy'
    if (c.obj === 'table') {
      const t =
        c.handle === undefined
          ? this.tables.table(c.family, c.table)
          : this.tables.tables.find((x) => x.family === c.family && x.handle === c.handle)
      if (t === undefined) {
        if (quiet) return
        fail(c.handleLoc ?? c.tableLoc, KERNEL.ENOENT)
      }
      this.removeTable(t)
      return
    }
    if (quiet && this.tables.table(c.family, c.table) === undefined) return
    const t = this.table(c)
    switch (c.obj) {
      case 'chain': {
        const chain =
          c.handle === undefined ? t.chains.get(c.name) : [...t.chains.values()].find((x) => x.handle === c.handle)
        if (chain === undefined) {
          if (quiet) return
          if (c.handle !== undefined) fail(c.handleLoc!, KERNEL.ENOENT)
          this.chain(t, c.name, c.nameLoc)
          return
        }
        for (const r of chain.rules) this.use(t, r, -1)
        this.setRules(chain, [])
        if (chain.uses > 0) fail(c.handleLoc ?? c.nameLoc, KERNEL.EBUSY)
        this.removeChain(chain)
        return
      }
      case 'rule': {
        const chain = this.chain(t, c.name, c.nameLoc)
        const i = chain.rules.findIndex((r) => r.handle === c.handle)
        if (i < 0) {
          if (quiet) return
          throw new NftError(c.handleLoc!, 'No such file or directory', [], true)
        }
        const rules = chain.rules.slice()
        const [rule] = rules.splice(i, 1)
        this.setRules(chain, rules)
        this.use(t, rule!, -1)
        return
      }
      case 'set': {
        const set =
          c.handle === undefined ? t.sets.get(c.name) : [...t.sets.values()].find((x) => x.handle === c.handle)
        if (set === undefined) {
          if (quiet) return
          fail(c.handleLoc ?? c.nameLoc, KERNEL.ENOENT)
        }
        if (set.uses > 0) fail(c.handleLoc ?? c.nameLoc, KERNEL.EBUSY)
        flushSet(this.tables, set)
        this.removeFrom(t.sets, set.name, set)
        return
      }
      case 'element':
        deleteElements(this.context(t, c), this.set(t, c), c.elems!.elems, quiet)
        return
      default: {
        const key = `${c.obj} ${c.name}`
        const o =
          c.handle === undefined ? t.objects.get(key) : [...t.objects.values()].find((x) => x.handle === c.handle)
        if (o === undefined) {
          if (quiet) return
          fail(c.handleLoc ?? c.nameLoc, KERNEL.ENOENT)
        }
        if (o.uses > 0) fail(c.handleLoc ?? c.nameLoc, KERNEL.EBUSY)
        this.removeFrom(t.objects, `${o.type} ${o.name}`, o)
        return
      }
    }
  }

  private removeFrom<T>(map: Map<string, T>, key: string, x: T): void {
    const order = [...map.entries()]
    map.delete(key)
    this.tables.onAbort(() => {
      map.clear()
      for (const [k, v] of order) map.set(k, v)
    })
    void x
  }

  private removeChain(chain: NftChain): void {
    this.removeFrom(chain.table.chains, chain.name, chain)
    this.tables.chains[chain.id] = null
    this.tables.onAbort(() => {
      this.tables.chains[chain.id] = chain
    })
  }

  private removeTable(t: NftTable): void {
    const list = this.tables.tables
    const at = list.indexOf(t)
    list.splice(at, 1)
    for (const chain of t.chains.values()) this.tables.chains[chain.id] = null
    this.tables.onAbort(() => {
      list.splice(at, 0, t)
      for (const chain of t.chains.values()) this.tables.chains[chain.id] = chain
    })
  }

  private flush(c: Command): void {
    if (c.obj === 'ruleset') {
      for (const t of this.tables.tables.slice()) if (c.family === '' || t.family === c.family) this.removeTable(t)
      return
    }
    if (c.obj === 'table' && this.tables.table(c.family, c.table) === undefined) fail(c.tableLoc, KERNEL.ENOENT)
    const t = this.table(c)
    if (c.obj === 'chain' && !t.chains.has(c.name)) fail(c.nameLoc, KERNEL.ENOENT)
    const empty = (chain: NftChain): void => {
      for (const r of chain.rules) this.use(t, r, -1)
      this.setRules(chain, [])
    }
    if (c.obj === 'table') for (const chain of t.chains.values()) empty(chain)
    else if (c.obj === 'chain') empty(this.chain(t, c.name, c.nameLoc))
    else if (c.obj === 'set') {
      const set = this.set(t, c)
      if (c.wantsMap !== undefined && set.isMap !== c.wantsMap)
        throw new NftError(c.nameLoc, 'No such file or directory')
      flushSet(this.tables, set)
    }
  }

  /** nft_table_validate: jumps go in no circle. */
  validate(): NftError[] {
    const errors: NftError[] = []
    for (const [t, loc] of this.changed) if (checkLoops(this.tables, t)) errors.push(new NftError(loc, KERNEL.EMLINK))
    return errors
  }
}

/** The kernel refuses: errno at a place. */
function fail(loc: Loc, message: string): never {
  throw new NftError(loc, message)
}

function rebuild<T>(map: Map<string, T>, order: readonly T[], key: (x: T) => string): void {
  map.clear()
  for (const x of order) map.set(key(x), x)
}

/** Sets that a statement looks up. */
export function setsOf(s: Stmt): NftSet[] {
  const out: NftSet[] = []
  const see = (e: Expr | undefined): void => {
    if (e === undefined) return
    if (e.k === 'setref') {
      const set = (e as BoundSet).set
      if (set !== undefined) out.push(set)
    } else if (e.k === 'map') {
      see(e.key)
      see(e.data)
    } else if (e.k === 'binop') {
      see(e.l)
      see(e.r)
    } else if (e.k === 'concat') for (const i of e.items) see(i)
  }
  switch (s.k) {
    case 'match':
      see(s.l)
      see(s.r)
      break
    case 'verdict':
      see(s.e)
      break
    case 'nat':
      see(s.addr)
      see(s.port)
      break
    case 'assign':
      see(s.value)
      break
    case 'objref':
      see(s.name)
      break
    default:
      break
  }
  return out
}

/** nft reset counters, quotas: the values before, then zero. */
export function resetObject(o: NftObject): void {
  if (o.state instanceof CounterState) {
    o.state.packets = 0
    o.state.bytes = 0
  } else if (o.state instanceof QuotaState) o.state.consumed = 0
}
