/**
 * The kernel-lab scenario and result formats: a declarative lab and what was recorded of it.
 *
 * A scenario names network namespaces, links, devices, addresses, routes, rules and an exact sequence of frames and
 * socket calls. The simulator and the real kernel run the same file, and both give a LabResult that compares byte for
 * byte once what a kernel draws at random is normalised (norm.ts).
 *
 * Types only; validate.ts reads a file into them.
 */

/** [netns, device, MAC] of one end of a veth pair. */
export type LabLinkEnd = readonly [string, string, string]

/** A veth pair. */
export interface LabLink {
  readonly type: 'veth'
  readonly a: LabLinkEnd
  readonly b: LabLinkEnd
  readonly mtu?: number
}

/** A device made after the links: `ip link add NAME type TYPE`. */
export interface LabDevice {
  readonly ns: string
  readonly name: string
  readonly type: string
  /** The device below (vlan, macvlan, ipvlan): `ip link add link LINK`. */
  readonly link?: string
  /** The namespace that the device is put into when it is made. */
  readonly netns?: string
  readonly mac?: string
  readonly mtu?: number
  readonly ageing_cs?: number
  readonly vni?: number
  readonly dstport?: number
  readonly local?: string
  readonly remote?: string
  readonly dev?: string | null
  readonly ttl?: number | string
  readonly tos?: number | string
  readonly df?: string
  readonly srcport?: readonly [number, number]
  readonly learning?: boolean
  readonly udpcsum?: boolean
  readonly nopmtudisc?: boolean
  readonly opts?: string
}

/** A device made a port of a bridge, in the order in which they join. */
export interface LabPort {
  readonly ns: string
  readonly bridge: string
  readonly dev: string
  readonly flags?: string
}

/** `ip addr add ADDR dev DEV OPTS`. */
export interface LabAddr {
  readonly ns: string
  readonly dev: string
  readonly addr: string
  readonly opts?: string
}

/** One nexthop of a multipath route. */
export interface LabNexthop {
  readonly via?: string
  readonly dev: string
  readonly weight?: number
}

/** `ip route add`. */
export interface LabRoute {
  readonly ns: string
  readonly dst: string
  readonly via?: string
  readonly dev?: string
  readonly type?: string
  readonly table?: number | string
  readonly metric?: number
  readonly src?: string
  readonly scope?: string
  readonly tos?: number | string
  readonly onlink?: boolean
  readonly mtu?: number | string
  readonly nexthops?: readonly LabNexthop[]
}

/** `ip rule add`. */
export interface LabRule {
  readonly ns: string
  readonly rule: string
}

/** `ip neigh replace`. */
export interface LabNeigh {
  readonly ns: string
  readonly dev: string
  readonly ip: string
  readonly mac: string
  readonly nud?: string
}

/** `bridge fdb append`. */
export interface LabFdb {
  readonly ns: string
  readonly dev: string
  readonly mac: string
  readonly opts?: string
}

/** What the normaliser rewrites, see norm.ts. */
export interface LabNormSpec {
  readonly tcp?: boolean
  readonly vxsport?: boolean
  readonly ports?: readonly [number, number]
  readonly known_ports?: readonly number[]
}

/** [address, port] as a socket call takes it. */
export type LabSockaddr = readonly [string, number]

/** One step: the fields that its `op` has. */
export interface LabStep {
  readonly op: string
  readonly ns?: string
  readonly dev?: string
  readonly hex?: string
  readonly note?: string
  readonly quiet_ms?: number
  readonly ms?: number
  readonly argv?: readonly string[]
  readonly stdin?: string
  readonly may_fail?: boolean
  readonly text?: string
  readonly args?: readonly string[]
  readonly id?: string
  readonly as?: string
  readonly bind?: LabSockaddr
  readonly connect?: LabSockaddr
  readonly to?: LabSockaddr
  readonly pmtudisc?: number
  readonly tos?: number
  readonly ttl?: number
  readonly mark?: number
  readonly broadcast?: boolean
  readonly v6only?: boolean
  readonly data?: string
  readonly len?: number
  readonly reply?: boolean
  readonly sock?: string
  readonly src?: string
  readonly dst?: string
  readonly icmp_id?: number
  readonly seq?: number
}

/** A question about the state at the end. */
export interface LabStateQuery {
  readonly ns: string
  readonly kind:
    | 'conntrack'
    | 'iptables'
    | 'ip6tables'
    | 'ipvs'
    | 'neigh'
    | 'neigh6'
    | 'fdb'
    | 'snmp'
    | 'routes'
    | 'cmd'
  readonly table?: number | string
  readonly argv?: readonly string[]
}

/** A scenario file. */
export interface LabScenario {
  readonly name: string
  readonly title?: string
  readonly covers?: readonly string[]
  readonly requires?: readonly string[]
  readonly random?: boolean
  readonly property?: string
  readonly backend?: string
  readonly capture_lo?: boolean
  /** IPv6 is on in every namespace; off otherwise. */
  readonly ipv6?: boolean
  readonly quiet_ms?: number
  readonly norm?: LabNormSpec
  readonly netns: readonly string[]
  readonly down?: readonly string[]
  readonly tunl0?: readonly string[]
  readonly links?: readonly LabLink[]
  readonly devices?: readonly LabDevice[]
  readonly ports?: readonly LabPort[]
  readonly addrs?: readonly LabAddr[]
  readonly routes?: readonly LabRoute[]
  readonly rules?: readonly LabRule[]
  readonly neigh?: readonly LabNeigh[]
  readonly fdb?: readonly LabFdb[]
  readonly sysctl?: { readonly [ns: string]: { readonly [key: string]: string | number } }
  readonly ipset?: { readonly [ns: string]: string }
  readonly iptables?: { readonly [ns: string]: string }
  readonly ip6tables?: { readonly [ns: string]: string }
  readonly ipvs?: { readonly [ns: string]: string }
  readonly nft?: { readonly [ns: string]: string }
  readonly steps: readonly LabStep[]
  readonly state?: readonly LabStateQuery[]
}

/** Frame direction as seen on the interface. */
export type LabDirection = 'tx' | 'rx'

/** [step, "ns/dev", direction, index into the interface's frames]; step -1 is the set-up. */
export type LabEvent = readonly [number, string, LabDirection, number]

/** Link type of an interface: `ip` frames start at the IP header. */
export type LabLinkType = 'ether' | 'ip'

/** What one step gave: the fields of its op, or `errno`. */
export interface LabOpResult {
  readonly step: number
  readonly op: string
  readonly [field: string]: unknown
}

/** [offset, length, why] of a field that the normaliser rewrote. */
export type LabVolatileField = readonly [number, number, string]

/** Answers to the state queries by `ns:kind` (`ns:argv` for cmd): lines, or counters for snmp. */
export interface LabState {
  [query: string]: readonly string[] | { readonly [counter: string]: number }
}

/** The recording of a scenario. */
export interface LabResult {
  readonly scenario: string
  readonly title: string
  readonly kernel: string
  readonly iptables_backend: string | null
  readonly link_types: { readonly [iface: string]: LabLinkType }
  /** Normalised frames as hex, rx and tx mixed, in order, by `ns/dev`. */
  readonly ifaces: { readonly [iface: string]: readonly string[] }
  readonly events: readonly LabEvent[]
  readonly ops: readonly LabOpResult[]
  readonly state: LabState
  readonly volatile?: readonly (readonly [string, number, readonly LabVolatileField[]])[]
  readonly raw?: { readonly [iface: string]: readonly string[] }
  readonly csum_partial_seen?: boolean
}

/** A scenario asks for something that podwalk does not model: verdict UNMODELLED, never a wrong answer. */
export class UnmodelledError extends Error {
  /** What is not modelled: `vxlan`, `ipip`, a command ... */
  readonly feature: string

  constructor(feature: string, where: string) {
    super(`UNMODELLED: ${feature} (${where})`)
    this.name = 'UnmodelledError'
    this.feature = feature
  }
}

/** The scenario could not be built or a command in it failed: the command with its output. */
export class LabError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'LabError'
  }
}
