/**
 * The Trace document: what `podwalk trace` answers, as JSON.
 *
 * The shape is part of the command-line contract; text, mermaid and pcapng are pure functions of it. Sorted, seeded, no wall
 * clock.
 */
import type { Verdict } from '../linux/reasons.ts'

/** apiVersion of every document. */
export const API_VERSION = 'podwalk.dev/v1alpha1'

/** One end of a question, as it was resolved. */
export interface TraceEndpoint {
  /** As the user wrote it. */
  readonly asked: string
  readonly kind: 'pod' | 'node' | 'host' | 'service' | 'ip'
  /** `ns/name` of a pod or Service, name of a node, address of a host. */
  readonly name: string
  /** Node that it is on, for pods and nodes. */
  readonly node?: string
  readonly ip: string
  /** How it was chosen or resolved: `first ready pod of Deployment shop/web`, `shop.svc search list` ... */
  readonly how?: string
}

/** The manifest line that decided. */
export interface DecidedBy {
  readonly kind: string
  readonly namespace: string
  readonly name: string
  /** Field or rule inside it: `spec.ports[0]`. */
  readonly rule: string
  readonly file: string
  readonly line: number
}

/** One hop, in the order in which the packet met it. */
export interface TraceHop {
  /** From 1. */
  readonly n: number
  /** Node name, or null outside the nodes. */
  readonly node: string | null
  /** `pod:ns/name`, `node:n1`, `underlay`, `host:IP`. */
  readonly netns: string
  /** Device, or null where none is meant. */
  readonly device: string | null
  /**
   * Where in the kernel: tx rx bridge learn flood local-in route neigh arp rule policy conntrack nat forward deliver output
   * fragment reassemble icmp socket rpfilter ipset end
   */
  readonly point: string
  /** One line for people. */
  readonly action: string
  /** Index in `frames`, or null. */
  readonly frame: number | null
  /** What the point knows: table, chain, rule number and text, route, neighbour, tuple, origin ... */
  readonly detail: { readonly [key: string]: unknown }
}

/** One captured frame. */
export interface TraceFrame {
  readonly node: string | null
  readonly netns: string
  readonly device: string
  readonly direction: 'rx' | 'tx'
  /** Virtual nanoseconds since the question was asked. */
  readonly atNs: number
  readonly hex: string
  /** Which packet of the conversation this is: numbers as in `packets`. */
  readonly packet: number
}

/** One packet of a conversation (`--flow`, or the ARP that a walk needed). */
export interface TracePacket {
  readonly n: number
  /** Who sent it: netns. */
  readonly from: string
  /** tcpdump-like line of the packet as it was first sent. */
  readonly summary: string
  readonly verdict: Verdict
  readonly reason: string
  /** Where it ended: netns. */
  readonly to: string | null
}

/** What the receiver saw. */
export interface Delivered {
  /** `ns/name`, or null when it is not a pod. */
  readonly pod: string | null
  readonly node: string | null
  readonly src: string
  readonly sport: number
  readonly dst: string
  readonly dport: number
}

/** One DNS query of a resolution. */
export interface TraceDnsQuery {
  readonly name: string
  readonly type: string
  readonly server: string
  readonly transport: 'udp' | 'tcp'
  /** answer, timeout, refused, unreachable */
  readonly outcome: string
  /** `NOERROR`, `NXDOMAIN` ...; null without an answer. */
  readonly rcode: string | null
  /** `NAME TTL TYPE DATA` of each record. */
  readonly answers: readonly string[]
}

/** How the name of the destination became an address: what the resolver of the source did first. */
export interface TraceResolution {
  readonly name: string
  readonly libc: 'glibc' | 'musl'
  readonly searches: readonly string[]
  readonly ndots: number
  readonly queries: readonly TraceDnsQuery[]
  readonly addresses: readonly string[]
  /** False for a cluster whose manifests hold no DNS: the answers came without packets. */
  readonly hasPackets: boolean
  /** The walk of the query that brought the address. */
  readonly walk: readonly TraceHop[]
  readonly reply: readonly TraceHop[]
}

/** What became of a request (`--http`). */
export interface TraceHttp {
  readonly method: string
  readonly url: string
  /** Server name in the ClientHello; null for plain HTTP. */
  readonly serverName: string | null
  /** Of the answer; null without one. */
  readonly status: number | null
  readonly reason: string | null
  /** The beginning of the body. */
  readonly body: string | null
  /** Why there is no answer. */
  readonly failure: string | null
  /** What ingress controllers and gateways decided on the way. */
  readonly decisions: readonly {
    /** `namespace/name` of the controller's pod. */
    readonly pod: string
    readonly controller: string
    readonly what: string
    readonly action: 'forward' | 'respond' | 'passthrough' | 'refuse' | 'unmodelled'
    /** The rule that was chosen. */
    readonly origin: DecidedBy | null
    readonly service: string | null
    readonly upstream: string | null
    readonly status: number | null
    readonly why: string
  }[]
}

/** A connection that somebody on the way opened to go on: a balancer or an ingress controller. */
export interface TraceOnward {
  /** Who opened it: `balancer:203.0.113.5`, `pod:ingress-nginx/controller`. */
  readonly from: string
  readonly verdict: Verdict
  readonly reason: { readonly code: string; readonly text: string }
  readonly delivered: Delivered | null
  readonly walk: readonly TraceHop[]
  readonly reply: readonly TraceHop[]
  readonly replyVerdict: { readonly verdict: Verdict; readonly code: string; readonly text: string } | null
}

/** The whole document. */
export interface Trace {
  readonly apiVersion: typeof API_VERSION
  readonly kind: 'Trace'
  readonly question: {
    readonly src: TraceEndpoint
    readonly dst: TraceEndpoint
    readonly protocol: 'TCP' | 'UDP' | 'SCTP' | 'ICMP'
    readonly sport: number
    readonly dport: number
    readonly size: number
    readonly flow: boolean
    readonly cni: string
    readonly proxyMode: string
    readonly seed: number
  }
  readonly verdict: Verdict
  readonly reason: { readonly code: string; readonly text: string; readonly hint: string }
  /** The nearest thing that would have worked, when something nearly did. */
  readonly nearestMiss: string | null
  readonly decidedBy: DecidedBy | null
  readonly delivered: Delivered | null
  readonly walk: readonly TraceHop[]
  readonly reply: readonly TraceHop[]
  /** Fate of the reply, null when there was none. */
  readonly replyVerdict: { readonly verdict: Verdict; readonly code: string; readonly text: string } | null
  /** With `--flow`: how the conversation went. */
  readonly flow: {
    readonly established: boolean
    readonly requestBytes: number
    readonly responseBytes: number
    readonly closed: boolean
  } | null
  readonly packets: readonly TracePacket[]
  readonly frames: readonly TraceFrame[]
  /** Interfaces in order of first frame, for captures. */
  readonly interfaces: readonly {
    readonly node: string | null
    readonly netns: string
    readonly device: string
    readonly linkType: 'ether' | 'ip'
  }[]
  /** Only when the destination was given by a name and the source is a pod. */
  readonly resolution?: TraceResolution
  /** Only for a question with a request. */
  readonly http?: TraceHttp
  /** The connections behind the one that was asked for, in order; absent without any. */
  readonly onward?: readonly TraceOnward[]
  /** Names of the addresses that occur. */
  readonly names: { readonly [ip: string]: string }
  readonly notes: readonly string[]
}
