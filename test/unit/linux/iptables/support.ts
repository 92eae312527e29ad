/** What the iptables tests share: a namespace, recorded cases, packets walked through a table. */
import { readFileSync } from 'node:fs'
import type { NetDevice } from '../../../../src/linux/device/device.ts'
import { iptDoTable } from '../../../../src/linux/netfilter/iptables/eval.ts'
import type { Netns } from '../../../../src/linux/netns.ts'
import { iptablesRestore } from '../../../../src/linux/tools/iptables.ts'
import type { Tracer } from '../../../../src/linux/trace.ts'
import { World } from '../../../../src/linux/world.ts'
import { M_DATA, M_IIF, M_NH, M_PROTO, META_SHIFT } from '../../../../src/packet/layout.ts'

/** A rule and what the real tool made of it. */
export interface RuleCase {
  readonly table: string
  readonly rule: string
  readonly save?: string[]
  readonly list: string[] | null
  readonly error?: string
}

/** A restore text and what the real tool said. */
export interface ErrorCase {
  readonly text: string
  readonly status: number
  readonly stderr: string
}

function fixture(name: string): unknown {
  return JSON.parse(readFileSync(new URL(`./fixtures/${name}`, import.meta.url), 'utf8'))
}

/** Recorded rules. */
export function ruleCases(): RuleCase[] {
  return fixture('rules.json') as RuleCase[]
}

/** Recorded errors. */
export function errorCases(): ErrorCase[] {
  return fixture('errors.json') as ErrorCase[]
}

/** Recorded rules of ip6tables. */
export function ruleCases6(): RuleCase[] {
  return fixture('rules6.json') as RuleCase[]
}

/** Recorded errors of ip6tables-restore. */
export function errorCases6(): ErrorCase[] {
  return fixture('errors6.json') as ErrorCase[]
}

/** Sets that the recorded rules of ip6tables name. */
export const SETS6 = `create ips hash:ip family inet6 counters
create ipp hash:ip,port family inet6
create nets hash:net family inet6
create dyn hash:ip family inet6 timeout 60
`

/** Sets that the recorded rules name. */
export const SETS =
  'create ips hash:ip counters\ncreate ipp hash:ip,port\ncreate nets hash:net\ncreate dyn hash:ip timeout 60\n'

/** A fresh namespace. */
export function newNs(): Netns {
  return new World({ packets: 64, largePackets: 2 }).addNetns('a')
}

/** A trace point as a test sees it. */
export interface Step {
  readonly point: number
  readonly a: number
  readonly b: number
  readonly c: number
  readonly ref: unknown
}

/** Collects trace points. */
export class Recorder implements Tracer {
  readonly wantMisses: boolean
  readonly steps: Step[] = []

  constructor(wantMisses = false) {
    this.wantMisses = wantMisses
  }

  step(
    point: number,
    _slot: number,
    _ns: Netns,
    _dev: NetDevice | null,
    a: number,
    b: number,
    c: number,
    ref: unknown,
  ): void {
    this.steps.push({ point, a, b, c, ref })
  }
}

/** A table of a namespace that packets are walked through. */
export class Walker {
  readonly ns: Netns
  readonly world: World
  readonly table: string

  constructor(table: string, rules: string) {
    this.ns = newNs()
    this.world = this.ns.world
    this.table = table
    this.load(rules)
  }

  load(rules: string): void {
    const r = iptablesRestore(this.ns, `*${this.table}\n${rules.trim()}\nCOMMIT\n`)
    if (!r.ok) throw new Error(JSON.stringify(r.errors))
  }

  /** A slot with the IPv4 packet of the frame (14 bytes of Ethernet header in front). */
  slot(frame: Uint8Array): number {
    const { arena } = this.world
    const slot = arena.fromFrame(frame)
    const m = slot << META_SHIFT
    arena.pull(slot, 14)
    arena.meta[m + M_NH] = arena.meta[m + M_DATA]!
    arena.meta[m + M_PROTO] = 0x0800
    arena.meta[m + M_IIF] = -1
    return slot
  }

  /** Walks a packet; the slot is given back unless `keep`. */
  walk(frame: Uint8Array, hook = 2, inDev: NetDevice | null = null, outDev: NetDevice | null = null): number {
    const slot = this.slot(frame)
    const verdict = this.walkSlot(slot, hook, inDev, outDev)
    this.world.arena.free(slot)
    return verdict
  }

  /** Walks a slot that stays. */
  walkSlot(slot: number, hook = 2, inDev: NetDevice | null = null, outDev: NetDevice | null = null): number {
    this.world.dropReason = 0
    return iptDoTable(this.world, this.ns, this.ns.nf.tables.get(this.table)!, hook, slot, inDev, outDev)
  }
}
