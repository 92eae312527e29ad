/**
 * The reach query: which pods and outside addresses can talk to which, on which ports.
 *
 * Pods come from the all-pairs matrix by class; pairs with a host-network pod, and everything outside the cluster, are
 * asked one by one over representatives (address atoms). Workload level is the union over the pods; where they differ the
 * connection is marked partial.
 */
import type { ClusterModel, Protocol } from '../kubernetes/types.ts'
import type { PolicyEngine } from '../policy/engine.ts'
import { externalAtoms } from '../policy/external.ts'
import { externalParty, type PolicyPod } from '../policy/input.ts'
import { ReachMatrix } from '../policy/matrix.ts'
import type { Party } from '../policy/model.ts'
import {
  intersectPorts,
  type PolicyProtocol,
  type PortSet,
  portRange,
  portsText,
  unionPorts,
} from '../policy/port-set.ts'
import { type AddressRanges, rangesText, unionRanges } from '../policy/ranges.ts'
import { enforcementOf } from './enforcement.ts'
import { exposureOf } from './exposure.ts'
import type { Parties } from './parties.ts'
import type { Reach, ReachBy, ReachConnection, ReachProbe } from './reach-types.ts'
import { API_VERSION } from './trace-types.ts'

/** What is asked. */
export interface ReachQuestion {
  readonly by: ReachBy
  /** Only from these; undefined is everyone. */
  readonly src?: Parties
  /** Only to these. */
  readonly dst?: Parties
  /** Connections that touch one of these. */
  readonly focus?: Parties
  /** Ports asked of all pairs. */
  readonly probes: readonly { readonly protocol: Protocol | 'ICMP'; readonly port: number }[]
  readonly exposure: boolean
}

const PROTOCOLS: readonly Protocol[] = ['TCP', 'UDP', 'SCTP']

/** Answers with the policy engine. */
export function reachQuery(engine: PolicyEngine, model: ClusterModel, question: ReachQuestion): Reach {
  const table = new ConnectionTable(engine, question)
  table.addPods()
  table.addExternal()
  const probes = question.probes.map((p) => probe(engine, question, p))
  const notes = [...new Set([question.src, question.dst].flatMap((p) => p?.notes ?? []))]
  return {
    apiVersion: API_VERSION,
    kind: 'Reach',
    by: question.by,
    engine: 'policy',
    options: engine.options,
    connections: table.connections(),
    ...(probes.length > 0 && { probes }),
    ...(question.exposure && { exposure: exposureOf(engine) }),
    enforcement: enforcementOf(engine, model),
    notes,
  }
}

/** The name of a party in the document. */
export function partyName(party: Party, by: ReachBy): string {
  if (party.kind === 'pod') return by === 'pod' ? party.name : `${party.namespace}/${(party as PolicyPod).workload}`
  return party.kind === 'node' ? `node/${party.name}` : `ip:${party.name}`
}

/** Who is in the question: everyone, or what was asked for. */
function ends(engine: PolicyEngine, asked: Parties | undefined): readonly Party[] {
  return asked?.parties ?? engine.input.pods
}

function probe(
  engine: PolicyEngine,
  question: ReachQuestion,
  { protocol, port }: { readonly protocol: Protocol | 'ICMP'; readonly port: number },
): ReachProbe {
  const allowed: [string, string][] = []
  const denied: [string, string][] = []
  const byName = new Map<string, { yes: number; no: number; pair: [string, string] }>()
  for (const src of ends(engine, question.src)) {
    for (const dst of ends(engine, question.dst)) {
      if (src === dst) continue
      const family = engine.familyOf(src, dst)
      if (family === null) continue
      const asked: PolicyProtocol = protocol === 'ICMP' && family === 6 ? 'ICMPv6' : protocol
      const of = protocol === 'ICMP' && family === 6 && port === 8 ? 128 : port
      const yes = engine.isAllowed(engine.flow(src, dst, asked, of, { family }))
      const pair: [string, string] = [partyName(src, question.by), partyName(dst, question.by)]
      const key = pair.join(' ')
      const entry = byName.get(key) ?? { yes: 0, no: 0, pair }
      if (yes) entry.yes++
      else entry.no++
      byName.set(key, entry)
    }
  }
  // a workload pair counts as allowed only when every pod pair is
  for (const { no, pair } of byName.values()) (no === 0 ? allowed : denied).push(pair)
  return { protocol, port, allowed: allowed.sort(comparePairs), denied: denied.sort(comparePairs) }
}

function comparePairs(a: readonly [string, string], b: readonly [string, string]): number {
  return compareText(a[0], b[0]) || compareText(a[1], b[1])
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

interface Entry {
  src: string
  dst: string
  /** On which ports some, and on which all pairs of pods are connected. */
  some: PortSet
  every: PortSet | null
  pairs: number
}

class ConnectionTable {
  private readonly engine: PolicyEngine
  private readonly question: ReachQuestion
  private readonly entries = new Map<string, Entry>()
  private readonly external: { src: string; dst: string; ports: PortSet }[] = []

  constructor(engine: PolicyEngine, question: ReachQuestion) {
    this.engine = engine
    this.question = question
  }

  private isAsked(src: Party, dst: Party): boolean {
    const focus = this.question.focus?.parties
    return focus === undefined || focus.includes(src) || focus.includes(dst)
  }

  private add(src: Party, dst: Party, all: PortSet): void {
    if (src === dst || !this.isAsked(src, dst)) return
    const ports = this.limit(dst, all)
    const { by } = this.question
    const names = [partyName(src, by), partyName(dst, by)] as const
    const key = names.join(' ')
    const entry = this.entries.get(key)
    if (entry === undefined)
      this.entries.set(key, { src: names[0], dst: names[1], some: ports, every: ports, pairs: 1 })
    else {
      entry.some = unionPorts(entry.some, ports)
      entry.every = entry.every === null ? ports : intersectPorts(entry.every, ports)
      entry.pairs++
    }
  }

  /** To a Service only its targetPorts count. */
  private limit(dst: Party, ports: PortSet): PortSet {
    const targets = this.question.dst?.targets?.get(dst.name)
    if (targets === undefined) return ports
    const set = targets.map((t) => portRange(t.protocol, t.port)).reduce(unionPorts, [] as PortSet)
    return intersectPorts(ports, set)
  }

  /** All pairs of pods: by class, and one by one where nodes are in play. */
  addPods(): void {
    const { engine, question } = this
    const srcs = ends(engine, question.src)
    const dsts = ends(engine, question.dst)
    const rows = new Map<string, PortSet>()
    const ask = (src: Party, dst: Party): PortSet => {
      const [a, b] = [engine.classOf(src), engine.classOf(dst)]
      if (a < 0 || b < 0 || src.hostNetwork || dst.hostNetwork || src === dst) return engine.connectionPorts(src, dst)
      const key = `${a} ${b}`
      let ports = rows.get(key)
      if (ports === undefined) {
        ports = engine.connectionPorts(src, dst)
        rows.set(key, ports)
      }
      return ports
    }
    if (srcs.length * dsts.length > MATRIX_ABOVE) this.fillFromMatrix(rows)
    for (const src of srcs)
      for (const dst of dsts) if (isInside(src) || isInside(dst)) this.add(src, dst, ask(src, dst))
  }

  private fillFromMatrix(rows: Map<string, PortSet>): void {
    const { engine } = this
    const family = engine.input.pods.some((p) => p.v4 !== null) ? 4 : 6
    const matrix = new ReachMatrix(engine, family)
    const { count, representatives } = engine.classes
    const isIn = (c: number): boolean =>
      !representatives[c]!.hostNetwork && (family === 4 ? representatives[c]!.v4 : representatives[c]!.v6) !== null
    matrix.rows(({ src, cells }) => {
      if (!isIn(src)) return
      for (let dst = 0; dst < count; dst++) if (isIn(dst)) rows.set(`${src} ${dst}`, [])
      for (const cell of cells) {
        matrix.sets.each(cell.peers, (dst) => {
          if (isIn(dst)) rows.set(`${src} ${dst}`, cell.ports)
        })
      }
    })
  }

  /** Pods and everything outside: only when no end was named, which then would be asked for itself. */
  addExternal(): void {
    const { engine, question } = this
    const atoms = externalAtoms(engine)
    for (const [pods, isOut] of [
      [question.dst === undefined ? ends(engine, question.src) : [], true],
      [question.src === undefined ? ends(engine, question.dst) : [], false],
    ] as const) {
      const byPorts = new Map<string, { name: string; ports: PortSet; ranges: AddressRanges[] }>()
      for (const [key, { party, names }] of this.distinct(pods)) {
        for (const atom of atoms) {
          const outside = externalParty(atom.representative)
          const [src, dst] = isOut ? [party, outside] : [outside, party]
          const ports = isOut ? engine.connectionPorts(src, dst) : this.limit(dst, engine.connectionPorts(src, dst))
          if (ports.length === 0) continue
          for (const name of names) {
            const id = `${key} ${name} ${ports.join()}`
            const entry = byPorts.get(id) ?? { name, ports, ranges: [] }
            entry.ranges.push(atom.ranges)
            byPorts.set(id, entry)
          }
        }
      }
      for (const { name, ports, ranges } of byPorts.values()) {
        for (const text of rangesText(unionRanges(ranges))) {
          const [src, dst] = isOut ? [name, `ip:${text}`] : [`ip:${text}`, name]
          this.external.push({ src, dst, ports })
        }
      }
    }
  }

  /** Pods of one class once, with the names that they stand for. */
  private distinct(parties: readonly Party[]): Map<string, { party: Party; names: Set<string> }> {
    const found = new Map<string, { party: Party; names: Set<string> }>()
    for (const party of parties) {
      if (!isInside(party) || !this.isAsked(party, party)) continue
      const number = this.engine.classOf(party)
      const key = number >= 0 && !party.hostNetwork ? `c${number}` : party.name
      const entry = found.get(key) ?? { party, names: new Set<string>() }
      entry.names.add(partyName(party, this.question.by))
      found.set(key, entry)
    }
    return found
  }

  connections(): ReachConnection[] {
    const found: ReachConnection[] = []
    const add = (src: string, dst: string, some: PortSet, every: PortSet): void => {
      for (const protocol of PROTOCOLS) {
        const ports = portsText(some, protocol)
        if (ports === '') continue
        found.push({
          src,
          dst,
          protocol,
          ports,
          ...(portsText(every, protocol) !== ports && { partial: true as const }),
        })
      }
    }
    for (const e of this.entries.values()) add(e.src, e.dst, e.some, e.every ?? e.some)
    const outside = new Map<string, { src: string; dst: string; ports: PortSet }>()
    for (const e of this.external) {
      const key = `${e.src} ${e.dst}`
      const before = outside.get(key)
      outside.set(key, before === undefined ? e : { ...e, ports: unionPorts(before.ports, e.ports) })
    }
    for (const e of outside.values()) add(e.src, e.dst, e.ports, e.ports)
    return found.sort(
      (a, b) => compareText(a.src, b.src) || compareText(a.dst, b.dst) || compareText(a.protocol, b.protocol),
    )
  }
}

/** Pairs of parties above which the matrix is worth its building. */
const MATRIX_ABOVE = 40_000

function isInside(party: Party): boolean {
  return party.kind !== 'external'
}
