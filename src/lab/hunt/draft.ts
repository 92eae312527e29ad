/**
 * A lab in the making: the scenario's parts, and what the generators know of each other (interfaces, segments,
 * addresses, services), so that traffic meets the rules and routes instead of missing everything.
 */
import { formatIpv4 } from '../../addr/ipv4.ts'
import type {
  LabAddr,
  LabDevice,
  LabFdb,
  LabLink,
  LabNeigh,
  LabPort,
  LabRoute,
  LabRule,
  LabScenario,
  LabStateQuery,
  LabStep,
} from '../scenario.ts'
import type { Dice } from './dice.ts'

/** What a lab is about: the topics of `--only`. */
export const TOPICS = ['nat', 'mtu', 'l2', 'arp', 'tcp', 'frag', 'policy', 'ipset', 'bnf', 'filter', 'icmp'] as const
/** One of them. */
export type Topic = (typeof TOPICS)[number]

/** An interface with a stack behind it. */
export interface Iface {
  readonly ns: string
  readonly dev: string
  readonly mac: string
  readonly mtu: number
  readonly segment: Segment
  /** Addresses; the first is its main one. */
  readonly ips: number[]
}

/** One L2 domain and its subnet. */
export interface Segment {
  readonly net: number
  readonly len: number
  readonly mtu: number
  readonly ifaces: Iface[]
  used: number
}

/** A virtual service that DNAT rules lead to real addresses. */
export interface Service {
  readonly ip: number
  readonly port: number
  readonly proto: 6 | 17
  readonly backends: readonly { readonly ip: number; readonly port: number }[]
}

/** A conversation that frames belong to. */
export interface Flow {
  readonly proto: number
  readonly src: number
  readonly dst: number
  readonly sport: number
  readonly dport: number
  readonly from: Iface
  seq: number
  sent: number
}

/** The lab. */
export class Draft {
  readonly dice: Dice
  readonly topics: ReadonlySet<Topic>
  readonly netns: string[] = []
  readonly links: LabLink[] = []
  readonly devices: LabDevice[] = []
  readonly ports: LabPort[] = []
  readonly addrs: LabAddr[] = []
  readonly routes: LabRoute[] = []
  readonly rules: LabRule[] = []
  readonly neigh: LabNeigh[] = []
  readonly fdb: LabFdb[] = []
  readonly sysctl: { [ns: string]: { [key: string]: string | number } } = {}
  readonly ipset: { [ns: string]: string } = {}
  readonly iptables: { [ns: string]: string } = {}
  readonly steps: LabStep[] = []
  readonly state: LabStateQuery[] = []

  readonly segments: Segment[] = []
  readonly ifaces: Iface[] = []
  readonly routers = new Set<string>()
  /** Namespaces that own a bridge, with the bridge's name. */
  readonly bridges = new Map<string, string>()
  readonly services: Service[] = []
  readonly flows: Flow[] = []
  /** ipset names with their types, by namespace. */
  readonly sets = new Map<string, { readonly name: string; readonly type: string }[]>()
  usesTcpSockets = false
  private ports16 = 20000
  private macs = 0
  private nets = 0

  constructor(dice: Dice, topics: ReadonlySet<Topic>) {
    this.dice = dice
    this.topics = topics
  }

  /** True when the lab is about one of these. */
  about(...topics: Topic[]): boolean {
    return topics.some((t) => this.topics.has(t))
  }

  /** A port or ICMP id that no other conversation of the lab uses: the kernel draws a new one at random on a clash. */
  port(): number {
    return this.ports16++
  }

  mac(): string {
    const n = ++this.macs
    return `02:00:00:00:${(n >> 8).toString(16).padStart(2, '0')}:${(n & 255).toString(16).padStart(2, '0')}`
  }

  /** A subnet of that length that overlaps with no other. */
  subnet(len: number): number {
    const bases = [0x0a000000, 0xac100000, 0xc0a80000, 0x64400000]
    const n = ++this.nets
    return (bases[n % 4]! + (n << 16) + (len > 24 ? this.dice.below(200) << 8 : 0)) | 0
  }

  /** Sets `key` in namespace `ns`. */
  set(ns: string, key: string, value: string | number): void {
    ;(this.sysctl[ns] ??= {})[key] = value
  }

  /** Interfaces of a namespace. */
  of(ns: string): Iface[] {
    return this.ifaces.filter((i) => i.ns === ns)
  }

  /** Interfaces of namespaces that do not forward. */
  hosts(): Iface[] {
    return this.ifaces.filter((i) => !this.routers.has(i.ns))
  }

  /** Any address that some interface has. */
  ownIp(): number {
    const withIp = this.ifaces.filter((i) => i.ips.length > 0)
    return withIp.length === 0 ? 0x0a000001 : this.dice.pick(this.dice.pick(withIp).ips)
  }

  /** Any address worth sending to or matching on: mostly real ones. */
  anyIp(): number {
    const d = this.dice
    const segment = this.segments.length === 0 ? null : d.pick(this.segments)
    return d.weighted<() => number>([
      [60, () => this.ownIp()],
      [this.services.length > 0 ? 20 : 0, () => d.pick(this.services).ip],
      [5, () => (segment === null ? 0x0a000009 : (segment.net + d.below(256)) | 0)],
      [2, () => (segment === null ? 0x0a0000ff : (segment.net + 2 ** (32 - segment.len) - 1) | 0)],
      [1, () => segment?.net ?? 0x0a000000],
      [4, () => (0xcb007100 + d.below(256)) | 0],
      [
        1,
        () => d.pick([0xffffffff | 0, 0, 0x7f000001, 0xe0000001 | 0, 0xefffff01 | 0, 0xf0000001 | 0, 0xa9fe0101 | 0]),
      ],
    ])()
  }

  /** An address that a host could have. */
  anyHostIp(): number {
    for (let n = 0; n < 20; n++) {
      const ip = this.anyIp()
      const first = ip >>> 24
      if (first !== 0 && first !== 127 && first < 224) return ip
    }
    return this.ownIp()
  }

  /** An address that nobody has: a nexthop must not be local. */
  foreignIp(): number {
    const s = this.segments.length === 0 ? 0x0a000000 : this.dice.pick(this.segments).net
    return this.dice.chance(50) ? (s + 77 + this.dice.below(20)) | 0 : (0xcb007100 + this.dice.between(1, 250)) | 0
  }

  /** A prefix text around an address of the lab. */
  anyPrefix(): string {
    const d = this.dice
    const len = d.weighted([
      [5, 32],
      [3, 24],
      [2, 16],
      [1, 30],
      [1, 8],
    ])
    return `${formatIpv4(maskOf(this.anyIp(), len))}/${len}`
  }

  /** The finished scenario. */
  scenario(name: string, title: string): LabScenario {
    const some = <T>(list: readonly T[]): readonly T[] | undefined => (list.length === 0 ? undefined : list)
    const full = {
      name,
      title,
      // above a jiffy (4 ms at HZ=250), so that rate limits see time pass between steps on both sides
      quiet_ms: 5,
      norm: this.usesTcpSockets ? { tcp: true } : undefined,
      netns: this.netns,
      links: some(this.links),
      devices: some(this.devices),
      ports: some(this.ports),
      addrs: some(this.addrs),
      routes: some(this.routes),
      rules: some(this.rules),
      neigh: some(this.neigh),
      fdb: some(this.fdb),
      sysctl: Object.keys(this.sysctl).length === 0 ? undefined : this.sysctl,
      ipset: Object.keys(this.ipset).length === 0 ? undefined : this.ipset,
      iptables: Object.keys(this.iptables).length === 0 ? undefined : this.iptables,
      steps: this.steps,
      state: some(this.state),
    }
    return JSON.parse(JSON.stringify(full)) as LabScenario
  }
}

/** The address with its host bits cleared. */
export function maskOf(ip: number, len: number): number {
  return len === 0 ? 0 : ip & (-1 << (32 - len))
}
