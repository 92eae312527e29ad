/**
 * All pairs: which classes reach which, on which ports, without asking pair by pair.
 *
 * For one direction, classes with the same policies (and the same named ports and own matches, where a rule looks at them)
 * are one group. A group's policies are run once over sets of peer classes: the peers are split into cells that the rules
 * have treated alike so far, each with the ports that are decided and open; a rule splits the cells that its peers cut. What
 * is left are a few disjoint cells (peers, ports). A pair of classes is connected on the ports of the source's egress cell
 * that holds the destination, met with those of the destination's ingress cell that holds the source; rows are put together
 * a source class at a time, so that the whole matrix is never in memory (500,000 pods would be 31 GB of bits).
 *
 * Host-network pods and nodes are not in the matrix: whether they are policed depends on the pair (evaluate.ts).
 */
import { type ClassSet, type ClassSets, classSets } from './class-set.ts'
import type { PolicyEngine } from './engine.ts'
import { EPHEMERAL_PORT } from './engine.ts'
import type { PlacedPolicy } from './evaluate.ts'
import { alternativeHolds, isEndpoint, resolvePorts, sourceProtocols } from './match.ts'
import type { Alternative, Direction, Party, PortMatch, Rule } from './model.ts'
import { ALL_PORTS, intersectPorts, NO_PORTS, type PortSet, subtractPorts, unionPorts } from './port-set.ts'
import type { Family } from './ranges.ts'

/** Peers that get through on some ports. */
export interface Cell {
  readonly peers: ClassSet
  readonly ports: PortSet
}

/** Classes with the same answer in one direction. */
export interface Group {
  readonly members: readonly number[]
  /** Disjoint; peers that are in none get nothing through. */
  readonly cells: readonly Cell[]
}

/** What one class reaches. */
export interface Row {
  readonly src: number
  readonly cells: readonly Cell[]
}

/** Port sets by content: equal sets are the same object, so that meets are remembered by number. */
class PortTable {
  private readonly byText = new Map<string, number>()
  readonly sets: PortSet[] = []
  private readonly meets = new Map<number, number>()

  number(set: PortSet): number {
    const text = set.join()
    let n = this.byText.get(text)
    if (n === undefined) {
      n = this.sets.length
      this.byText.set(text, n)
      this.sets.push(set)
    }
    return n
  }

  meet(a: number, b: number): number {
    if (a === b) return a
    const key = a < b ? a * 0x1000000 + b : b * 0x1000000 + a
    let n = this.meets.get(key)
    if (n === undefined) {
      n = this.number(intersectPorts(this.sets[a]!, this.sets[b]!))
      this.meets.set(key, n)
    }
    return n
  }
}

interface State {
  peers: ClassSet
  allowed: PortSet
  open: PortSet
  passed: PortSet
}

/** What a matrix takes over. */
interface MatrixParts {
  /** A matrix of the same pods. */
  readonly before?: ReachMatrix
  /** Classes whose policies are others now. */
  readonly affected?: Readonly<Record<Direction, readonly number[]>>
  /** Form of the sets, for tests of both. */
  readonly dense?: boolean
}

/** All pairs of a cluster for one family. */
export class ReachMatrix {
  readonly sets: ClassSets
  readonly family: Family
  private readonly engine: PolicyEngine
  private readonly table: PortTable
  private readonly pieces: Map<Rule, readonly Cell[]>
  private readonly cellsByKey: Map<string, readonly Cell[]>
  /** Cells of each class, made when first asked for. */
  private readonly cells: Readonly<Record<Direction, (readonly Cell[] | undefined)[]>>

  constructor(engine: PolicyEngine, family: Family = 4, others: MatrixParts = {}) {
    const { before, affected } = others
    this.engine = engine
    this.family = family
    const { count } = engine.classes
    this.sets = before?.sets ?? classSets(count, others.dense)
    this.table = before?.table ?? new PortTable()
    this.pieces = before?.pieces ?? new Map()
    this.cellsByKey = before?.cellsByKey ?? new Map()
    const inherit = (direction: Direction): (readonly Cell[] | undefined)[] => {
      if (before === undefined) return new Array(count)
      const copy = before.cells[direction].slice()
      for (const c of affected?.[direction] ?? []) copy[c] = undefined
      return copy
    }
    this.cells = { ingress: inherit('ingress'), egress: inherit('egress') }
  }

  /** The matrix after an edit that changed the policies of some classes. */
  edited(engine: PolicyEngine, affected: Readonly<Record<Direction, readonly number[]>>): ReachMatrix {
    return new ReachMatrix(engine, this.family, { before: this, affected })
  }

  /** What gets through one side of a class: disjoint cells; peers in none get nothing through. */
  cellsOf(direction: Direction, number: number): readonly Cell[] {
    const known = this.cells[direction][number]
    if (known !== undefined) return known
    const pod = this.engine.classes.representatives[number]!
    const policies = this.engine.policiesOfClass(number, direction)
    const key = `${direction}${groupKey(policies, direction, pod, this.family, this.engine)}`
    let cells = this.cellsByKey.get(key)
    if (cells === undefined) {
      cells = this.run(policies, direction, pod)
      this.cellsByKey.set(key, cells)
    }
    this.cells[direction][number] = cells
    return cells
  }

  /** Ports on which a class reaches another. */
  ports(src: number, dst: number): PortSet {
    const out = this.portsIn(this.cellsOf('egress', src), dst)
    return out.length === 0 ? out : intersectPorts(out, this.portsIn(this.cellsOf('ingress', dst), src))
  }

  /** The ports of the cell that holds a peer. */
  portsIn(cells: readonly Cell[], peer: number): PortSet {
    for (const cell of cells) if (this.sets.has(cell.peers, peer)) return cell.ports
    return NO_PORTS
  }

  /** The groups of a direction; each class of pods is in exactly one. */
  groups(direction: Direction): readonly Group[] {
    const byCells = new Map<readonly Cell[], number[]>()
    const { representatives } = this.engine.classes
    for (let c = 0; c < representatives.length; c++) {
      if (!isEndpoint(representatives[c]!, true, this.engine.options)) continue
      const cells = this.cellsOf(direction, c)
      const members = byCells.get(cells)
      if (members === undefined) byCells.set(cells, [c])
      else members.push(c)
    }
    return [...byCells].map(([cells, members]) => ({ members, cells }))
  }

  /** The rows of all classes that are pods, in order. */
  rows(visit: (row: Row) => void): void {
    const { sets, table } = this
    const inbound = this.inbound()
    const egress = this.groups('egress')
    const groupOfClass = new Int32Array(sets.size).fill(-1)
    const egressCells = egress.map((g) => g.cells.map((c) => ({ peers: c.peers, ports: table.number(c.ports) })))
    for (const [g, group] of egress.entries()) for (const c of group.members) groupOfClass[c] = g
    const none = table.number(NO_PORTS)
    for (let src = 0; src < sets.size; src++) {
      const g = groupOfClass[src]!
      if (g < 0) continue
      const cells: Cell[] = []
      const into = inbound(src)
      for (const out of egressCells[g]!) {
        for (const [ports, dst] of into) {
          const met = table.meet(out.ports, ports)
          if (met === none) continue
          const peers = sets.and(out.peers, dst)
          if (!sets.isEmpty(peers)) cells.push({ peers, ports: table.sets[met]! })
        }
      }
      visit({ src, cells })
    }
  }

  /** For a source class: the destinations that let it in, by ports (as numbers of the table). */
  private inbound(): (src: number) => Map<number, ClassSet> {
    const { sets, table } = this
    // who is let in by a group that lets few in, and who is not by one that lets nearly everyone in
    const few: (Entry[] | undefined)[] = new Array(sets.size)
    const without: (Entry[] | undefined)[] = new Array(sets.size)
    const everyone = new Map<number, (readonly number[])[]>()
    const file = (map: (Entry[] | undefined)[], at: number, entry: Entry): void => {
      const list = map[at]
      if (list === undefined) map[at] = [entry]
      else list.push(entry)
    }
    for (const { members, cells } of this.groups('ingress')) {
      for (const cell of cells) {
        const entry = { ports: table.number(cell.ports), members }
        if (sets.count(cell.peers) * 2 <= sets.size) {
          sets.each(cell.peers, (src) => file(few, src, entry))
          continue
        }
        const list = everyone.get(entry.ports)
        if (list === undefined) everyone.set(entry.ports, [members])
        else list.push(members)
        sets.each(sets.minus(sets.all(), cell.peers), (src) => file(without, src, entry))
      }
    }
    const base = new Map([...everyone].map(([ports, lists]) => [ports, sets.ofAll(lists)]))
    const add = (row: Map<number, ClassSet>, entries: readonly Entry[], op: 'or' | 'minus'): void => {
      for (const [ports, lists] of byPorts(entries)) {
        const before = row.get(ports)
        const set = sets.ofAll(lists)
        row.set(ports, before === undefined ? set : sets[op](before, set))
      }
    }
    return (src) => {
      const row = new Map(base)
      add(row, without[src] ?? [], 'minus')
      add(row, few[src] ?? [], 'or')
      return row
    }
  }

  /** Runs the policies of a group over all peers at once. */
  private run(policies: readonly PlacedPolicy[], direction: Direction, subject: Party): readonly Cell[] {
    const { sets } = this
    let cells: State[] = [{ peers: sets.all(), allowed: NO_PORTS, open: ALL_PORTS, passed: NO_PORTS }]
    for (let i = 0; i < policies.length; ) {
      const { tier, denies } = policies[i]!
      let isIsolated = false
      for (; i < policies.length && policies[i]!.tier === tier; i++) {
        const way = policies[i]!.policy[direction]!
        if (way.isolates) isIsolated = true
        for (const rule of way.rules) {
          if (rule.action === 'Log') continue
          for (const piece of this.piecesOf(rule, direction, subject)) cells = this.apply(cells, piece, rule)
        }
      }
      for (const cell of cells) {
        cell.open = isIsolated && denies ? cell.passed : unionPorts(cell.open, cell.passed)
        cell.passed = NO_PORTS
      }
      cells = this.mergeEqual(cells)
    }
    return cells
      .map((c) => ({ peers: c.peers, ports: unionPorts(c.allowed, c.open) }))
      .filter((c) => c.ports.length > 0)
  }

  private apply(cells: readonly State[], piece: Cell, rule: Rule): State[] {
    const { sets } = this
    const out: State[] = []
    for (const cell of cells) {
      const matched = intersectPorts(cell.open, piece.ports)
      if (matched.length === 0) {
        out.push(cell)
        continue
      }
      const inside = sets.and(cell.peers, piece.peers)
      if (sets.isEmpty(inside)) {
        out.push(cell)
        continue
      }
      const outside = sets.minus(cell.peers, piece.peers)
      if (!sets.isEmpty(outside)) out.push({ ...cell, peers: outside })
      out.push({
        peers: inside,
        open: subtractPorts(cell.open, matched),
        allowed: rule.action === 'Allow' ? unionPorts(cell.allowed, matched) : cell.allowed,
        passed: rule.action === 'Pass' ? unionPorts(cell.passed, matched) : cell.passed,
      })
    }
    return out.length > MERGE_ABOVE ? this.mergeEqual(out) : out
  }

  /** Cells with the same ports become one, so that their number stays that of different answers. */
  private mergeEqual(cells: readonly State[]): State[] {
    if (cells.length < 2) return [...cells]
    const byKey = new Map<string, State>()
    for (const cell of cells) {
      const key = `${cell.allowed.join()};${cell.open.join()};${cell.passed.join()}`
      const same = byKey.get(key)
      if (same === undefined) byKey.set(key, { ...cell })
      else same.peers = this.sets.or(same.peers, cell.peers)
    }
    return [...byKey.values()]
  }

  /** The peers and ports that a rule matches: its alternatives, split by what named ports mean at the destination. */
  private piecesOf(rule: Rule, direction: Direction, subject: Party): readonly Cell[] {
    const isStatic = rule.self === null && (direction === 'egress' || !hasNames(rule.ports))
    const known = isStatic ? this.pieces.get(rule) : undefined
    if (known !== undefined) return known
    const pieces = this.computePieces(rule, direction, subject)
    if (isStatic) this.pieces.set(rule, pieces)
    return pieces
  }

  private computePieces(rule: Rule, direction: Direction, subject: Party): Cell[] {
    const { sets, engine, family } = this
    if (rule.family !== null && rule.family !== family) return []
    if (rule.self !== null && !alternativeHolds(rule.self, subject, subject, family, engine.options)) return []
    // named source ports are of listening sockets: no connection comes from them
    const protocols =
      rule.sourcePorts === null
        ? ALL_PORTS
        : sourceProtocols({ ...rule.sourcePorts, names: [] }, subject, EPHEMERAL_PORT, engine.options)
    const found: Cell[] = []
    for (const a of rule.peers ?? [null]) {
      const peers = a === null ? sets.all() : this.peersOf(a)
      if (sets.isEmpty(peers)) continue
      const limit = intersectPorts(a?.ports ?? ALL_PORTS, protocols)
      for (const { peers: part, ports } of this.byPorts(rule.ports, direction, subject, peers)) {
        const both = intersectPorts(ports, limit)
        if (both.length > 0) found.push({ peers: part, ports: both })
      }
    }
    return found
  }

  private byPorts(match: PortMatch | null, direction: Direction, subject: Party, peers: ClassSet): Cell[] {
    if (match === null) return [{ peers, ports: ALL_PORTS }]
    const { sets, engine } = this
    if (direction === 'ingress') return [{ peers, ports: resolvePorts(match, subject, engine.options) }]
    if (!hasNames(match)) return [{ peers, ports: resolvePorts(match, subject, engine.options) }]
    const byText = new Map<string, { ids: number[]; ports: PortSet }>()
    sets.each(peers, (id) => {
      const ports = resolvePorts(match, engine.classes.representatives[id]!, engine.options)
      const text = ports.join()
      const entry = byText.get(text)
      if (entry === undefined) byText.set(text, { ids: [id], ports })
      else entry.ids.push(id)
    })
    return [...byText.values()].map(({ ids, ports }) => ({ peers: sets.of(ids), ports }))
  }

  private peersOf(a: Alternative): ClassSet {
    return this.sets.of(this.engine.classes.select(a, null, this.family))
  }
}

/** Destinations that treat a source alike. */
interface Entry {
  readonly ports: number
  readonly members: readonly number[]
}

function byPorts(entries: readonly Entry[]): Map<number, (readonly number[])[]> {
  const found = new Map<number, (readonly number[])[]>()
  for (const { ports, members } of entries) {
    const list = found.get(ports)
    if (list === undefined) found.set(ports, [members])
    else list.push(members)
  }
  return found
}

/** Cells of a group before equal ones are looked for. */
const MERGE_ABOVE = 16

function hasNames(match: PortMatch | null): boolean {
  return match !== null && (match.names.length > 0 || (match.except?.names.length ?? 0) > 0)
}

/** What makes two classes answer alike: their policies, and where rules look at the pod itself, what they see. */
function groupKey(
  policies: readonly PlacedPolicy[],
  direction: Direction,
  pod: Party,
  family: Family,
  engine: PolicyEngine,
): string {
  let key = ''
  for (const p of policies) {
    key += `${policyNumber(p)},`
    for (const rule of p.policy[direction]!.rules) {
      if (rule.self !== null) key += alternativeHolds(rule.self, pod, pod, family, engine.options) ? '+' : '-'
      if (direction === 'ingress' && hasNames(rule.ports))
        key += `[${resolvePorts(rule.ports!, pod, engine.options).join()}]`
    }
  }
  return key
}

const numbers = new WeakMap<object, number>()
let nextNumber = 0

/** A number for a compiled policy, the same for as long as it lives: keys of unchanged groups survive an edit. */
function policyNumber(placed: PlacedPolicy): number {
  let n = numbers.get(placed.policy)
  if (n === undefined) {
    n = nextNumber++
    numbers.set(placed.policy, n)
  }
  return n * 2 + (placed.denies ? 1 : 0)
}
