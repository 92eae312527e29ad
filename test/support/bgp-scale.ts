/**
 * Fabrics of thousands of speakers with one /26 block each, in memory with virtual time: a full mesh, two levels of route
 * reflectors, three reflectors for everybody.
 */
import { VirtualClock } from '../../src/bgp/clock.ts'
import type { BgpPeerSpec } from '../../src/bgp/config.ts'
import { MemoryNetwork } from '../../src/bgp/memory-network.ts'
import { Speaker } from '../../src/bgp/speaker.ts'
import { RouteStore } from '../../src/bgp/store.ts'

const ASN = 64512
/** Nobody waits longer than this for convergence, virtual seconds. */
const LONGEST_MS = 600_000
const STEP_MS = 500

/** What a run cost. */
export interface ScaleResult {
  readonly speakers: number
  readonly sessions: number
  readonly messages: number
  readonly updates: number
  readonly paths: number
  /** Bytes of the RIBs' arrays. */
  readonly ribBytes: number
  /** Virtual seconds until nothing changed any more. */
  readonly virtualS: number
  readonly wallMs: number
  /** Speakers that have every block. */
  readonly complete: number
  /** Blocks of all speakers. */
  readonly blocks: number
}

interface Draft {
  readonly address: string
  readonly peers: BgpPeerSpec[]
  readonly clusterId?: string
  readonly block: boolean
}

const address = (i: number): string => `10.${128 + (i >>> 16)}.${(i >>> 8) & 255}.${i & 255}`
const block = (i: number): string => {
  const ip = (0x64400000 + i * 64) >>> 0
  return `${ip >>> 24}.${(ip >>> 16) & 255}.${(ip >>> 8) & 255}.${ip & 255}/26`
}
/** Calico's timers. */
const TIMERS = { asn: ASN, connectDelayTime: 1, connectRetryTime: 3 } as const

function link(a: Draft, b: Draft, aServes: boolean, bServes: boolean): void {
  a.peers.push({ ...TIMERS, address: b.address, ...(aServes ? { routeReflectorClient: true } : {}), passive: true })
  b.peers.push({ ...TIMERS, address: a.address, ...(bServes ? { routeReflectorClient: true } : {}) })
}

const draft = (i: number, isReflector: boolean, cluster = 1): Draft => ({
  address: address(i),
  peers: [],
  block: !isReflector,
  ...(isReflector ? { clusterId: `244.0.0.${cluster}` } : {}),
})

/** Everybody with everybody. */
export function fullMesh(n: number): Draft[] {
  const all = Array.from({ length: n }, (_, i) => draft(i, false))
  for (let i = 0; i < n; i++) for (let j = i + 1; j < n; j++) link(all[i]!, all[j]!, false, false)
  return all
}

/** Two reflectors at the top, a pair for every `perPair` nodes below them. */
export function twoLevels(n: number, perPair = 100): Draft[] {
  let next = n
  const tops = [draft(next++, true, 250), draft(next++, true, 251)]
  link(tops[0]!, tops[1]!, false, false)
  const all: Draft[] = []
  const reflectors: Draft[] = []
  for (let from = 0, pair = 1; from < n; from += perPair, pair++) {
    const pairOf = [draft(next++, true, pair), draft(next++, true, pair)]
    reflectors.push(...pairOf)
    for (const r of pairOf) for (const t of tops) link(t, r, true, false)
    for (let i = from; i < Math.min(n, from + perPair); i++) {
      const node = draft(i, false)
      for (const r of pairOf) link(r, node, true, false)
      all.push(node)
    }
  }
  return [...tops, ...reflectors, ...all]
}

/** Every node with all reflectors, which know each other. */
export function reflected(n: number, reflectors = 3): Draft[] {
  const tops = Array.from({ length: reflectors }, (_, i) => draft(n + i, true))
  tops.forEach((a, i) => {
    for (const b of tops.slice(i + 1)) link(a, b, false, false)
  })
  const nodes = Array.from({ length: n }, (_, i) => draft(i, false))
  for (const node of nodes) for (const t of tops) link(t, node, true, false)
  return [...tops, ...nodes]
}

/** Runs a fabric until it stands still. */
export function converge(drafts: readonly Draft[]): ScaleResult {
  const start = process.hrtime.bigint()
  const clock = new VirtualClock()
  const network = new MemoryNetwork(clock)
  const store = new RouteStore()
  let seed = 1
  const random = (): number => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
    return seed / 2 ** 32
  }
  let blocks = 0
  const speakers = drafts.map((d) => {
    const { address: routerId, peers, clusterId } = d
    const base = { name: routerId, implementation: 'bird' as const, asn: ASN, routerId, peers, install: null }
    const routes = d.block ? [{ prefix: block(blocks++) }] : []
    return new Speaker(
      { ...base, routes, ...(clusterId === undefined ? {} : { clusterId }) },
      { clock, transport: network.transport(routerId), random, store },
    )
  })
  for (const s of speakers) s.start()
  let last = -1
  let quietSince = 0
  const changes = (): number => speakers.reduce((n, s) => n + s.counters.decisions, 0)
  while (clock.nowMs() < LONGEST_MS) {
    clock.runUntil(clock.nowMs() + STEP_MS)
    const now = changes()
    if (now !== last) {
      last = now
      quietSince = clock.nowMs()
    } else if (clock.nowMs() - quietSince >= 3000) break
  }
  const wallMs = Number(process.hrtime.bigint() - start) / 1e6
  return {
    speakers: speakers.length,
    sessions: speakers.reduce((n, s) => n + s.peers.filter((p) => p.state === 'Established').length, 0) / 2,
    messages: network.messages,
    updates: network.updates,
    paths: speakers.reduce((n, s) => n + s.rib.count, 0),
    ribBytes: speakers.reduce((n, s) => n + s.rib.bytes, 0),
    virtualS: quietSince / 1000,
    wallMs,
    complete: speakers.filter((s) => s.rib.prefixCount === blocks).length,
    blocks,
  }
}
