/**
 * nft list: tables, chains, sets and objects as text.
 *
 * nft: table_print, chain_print, set_print, obj_print (src/rule.c), set_expr_print and calculate_delim (src/expression.c),
 * 1.0.6.
 */
import type { Netns } from '../../netns.ts'
import type { Stmt } from './ast.ts'
import { displayStmts } from './display.ts'
import { limitText, Printer, type PrintOptions } from './print.ts'
import { priorityText } from './priority.ts'
import { elementsOf } from './set-view.ts'
import {
  CounterState,
  type NftChain,
  type NftObject,
  NftRule,
  type NftSet,
  type NftTable,
  QuotaState,
  SET_CONSTANT,
  SET_DYNAMIC,
  SET_INTERVAL,
  SET_TIMEOUT,
} from './state.ts'
import { formatDuration } from './values.ts'

/** Types whose elements stand five to a line; two; all others one. */
const FIVE = new Set([
  'nf_proto',
  'integer',
  'arp_op',
  'inet_proto',
  'inet_service',
  'tcp_flag',
  'mark',
  'iface_index',
  'classid',
  'uid',
  'gid',
  'ct_dir',
  'ct_status',
  'pkt_type',
  'icmpx_code',
  'ct_event',
])
const TWO = new Set(['ipv4_addr', 'ct_state', 'fib_addrtype', 'devgroup', 'iface_type', 'realm'])

/** Text of everything in a table. */
export class Lister {
  readonly p: Printer
  readonly ns: Netns
  readonly o: PrintOptions

  constructor(ns: Netns, o: PrintOptions) {
    this.ns = ns
    this.o = o
    this.p = new Printer(ns, o)
  }

  private handle(n: number): string {
    return this.o.handles ? ` # handle ${n}` : ''
  }

  /** `table ip x { ... }` */
  table(t: NftTable): string {
    const parts: string[] = []
    let head = ''
    if (t.flags.length > 0) head += `\tflags ${t.flags.join(',')}\n`
    if (t.comment !== null) head += `\tcomment "${t.comment}"\n`
    for (const o of t.objects.values()) parts.push(this.object(o))
    for (const s of t.sets.values()) parts.push(this.set(s))
    for (const c of t.chains.values()) parts.push(this.chain(c))
    const sep = head !== '' && parts.length > 0 && t.flags.length > 0 ? '\n' : ''
    return `table ${t.family} ${t.name} {${this.handle(t.handle)}\n${head}${sep}${parts.join('\n')}}\n`
  }

  /** A block around parts of a table, for list chain, list set ... */
  within(t: NftTable, parts: readonly string[]): string {
    return `table ${t.family} ${t.name} {\n${parts.join('')}}\n`
  }

  /** A chain with its rules. */
  chain(c: NftChain, withRules = true): string {
    let out = `\tchain ${c.name} {${this.handle(c.handle)}\n`
    if (c.spec.comment !== undefined) out += `\t\tcomment "${c.spec.comment}"\n`
    const b = c.spec.base
    if (b !== undefined) {
      const devices =
        b.devices.length === 0
          ? ''
          : b.devices.length === 1
            ? ` device "${b.devices[0]}"`
            : ` devices = { ${b.devices.join(', ')} }`
      out += `\t\ttype ${b.type} hook ${b.hook}${devices} priority ${priorityText(c.table.family, b.hook, c.priority)}; policy ${c.policy};\n`
    }
    if (withRules) for (const r of c.rules) out += `\t\t${this.rule(r)}${this.handle(r.handle)}\n`
    return `${out}\t}\n`
  }

  /** A rule with its comment. */
  rule(r: NftRule): string {
    const words = displayStmts(r.owner.table.family, r.stmts).map((s) => this.stmtOf(r, s))
    if (r.comment !== null) words.push(`comment "${r.comment}"`)
    return words.join(' ')
  }

  private stmtOf(r: NftRule, s: Stmt): string {
    const i = r.stmts.indexOf(s)
    return this.p.stmtWithState(s, i < 0 ? null : r.states[i])
  }

  /** A set or map. */
  set(s: NftSet): string {
    let out = `\t${s.isMap ? 'map' : 'set'} ${s.name} {${this.handle(s.handle)}\n`
    out += `\t\t${this.typeLine(s)}\n`
    if ((s.flags & SET_CONSTANT) === 0) {
      if (s.policy === 'memory') out += '\t\tpolicy memory\n'
      if (s.size > 0) out += `\t\tsize ${s.size}\n`
    }
    const flags: string[] = []
    if ((s.flags & SET_CONSTANT) !== 0) flags.push('constant')
    if ((s.flags & SET_DYNAMIC) !== 0) flags.push('dynamic')
    if ((s.flags & SET_INTERVAL) !== 0) flags.push('interval')
    // alone it says no more than the timeout itself
    if ((s.flags & SET_TIMEOUT) !== 0 && (s.timeoutMs === 0 || flags.length > 0)) flags.push('timeout')
    if (flags.length > 0) out += `\t\tflags ${flags.join(',')}\n`
    for (const i of s.stmts) out += `\t\t${i.k === 'counter' ? 'counter' : this.p.stmt(i)}\n`
    if (s.timeoutMs > 0) out += `\t\ttimeout ${formatDuration(s.timeoutMs)}\n`
    if (s.gcIntervalMs > 0) out += `\t\tgc-interval ${formatDuration(s.gcIntervalMs)}\n`
    if (s.autoMerge) out += '\t\tauto-merge\n'
    if (s.comment !== null) out += `\t\tcomment "${s.comment}"\n`
    const hide = this.o.terse || (this.o.stateless && (s.flags & SET_DYNAMIC) !== 0)
    if (!hide) out += this.elements(s)
    return `${out}\t}\n`
  }

  private typeLine(s: NftSet): string {
    if (s.typeofKey !== null) {
      const data =
        s.typeofData === null ? '' : ` : ${typeof s.typeofData === 'string' ? s.typeofData : this.p.expr(s.typeofData)}`
      return `typeof ${this.p.expr(s.typeofKey)}${data}`
    }
    return `type ${typeNames(s)}${dataNames(s) === '' ? '' : ` : ${dataNames(s)}`}`
  }

  private elements(s: NftSet): string {
    const views = elementsOf(this.ns, s)
    if (views.length === 0) return ''
    const per = s.key.length > 1 ? 1 : FIVE.has(s.key[0]!.t.name) ? 5 : TWO.has(s.key[0]!.t.name) ? 2 : 1
    let out = ''
    let inLine = 0
    views.forEach((v, i) => {
      if (i > 0) {
        if (inLine >= per) {
          out += ',\n\t\t\t     '
          inLine = 0
        } else out += ', '
      }
      out += this.p.elem(v)
      inLine++
    })
    return `\t\telements = { ${out} }\n`
  }

  /** A counter, quota, limit or other object. */
  object(o: NftObject): string {
    let out = `\t${o.type} ${o.name} {${this.handle(o.handle)}\n`
    if (o.spec.comment !== undefined) out += `\t\tcomment "${o.spec.comment}"\n`
    const s = o.spec.stmt
    if (o.state instanceof CounterState) {
      if (!this.o.stateless) out += `\t\tpackets ${o.state.packets} bytes ${o.state.bytes}\n`
    } else if (s?.k === 'quota')
      out += `\t\t${this.p.quota(s.bytes, s.over, o.state instanceof QuotaState ? o.state.consumed : 0).slice(6)}\n`
    else if (s?.k === 'limit') out += `\t\t${limitText(s).slice(6)}\n`
    for (const line of o.spec.lines) out += `\t\t${line}\n`
    return `${out}\t}\n`
  }
}

/** `ipv4_addr . inet_service` */
export function typeNames(s: NftSet): string {
  return s.key.map((f) => f.t.name).join(' . ')
}

/** Type of a map's data; empty for a set. */
export function dataNames(s: NftSet): string {
  if (!s.isMap) return ''
  if (s.isVerdictMap) return 'verdict'
  return s.objType !== '' ? s.objType : s.data.map((f) => f.t.name).join(' . ')
}

NftRule.printer = (rule) =>
  new Lister(rule.owner.table.ns, { stateless: true, handles: false, terse: false }).rule(rule)
