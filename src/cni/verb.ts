/**
 * The verbs with which a CNI driver programs a host: what the real plugin asks of netlink, sysctl and iptables.
 *
 * Field names follow vishvananda/netlink, which the reference plugins use. A verb names the namespace that it acts in; it
 * carries the place in the manifests that caused it, so that a trace can name the line. Nothing here sees a packet.
 */
import type { SourcePosition } from '../diagnostics/diagnostic.ts'

/** Which namespace a verb acts in: a node's own, or a pod's. */
export type NetnsName = `node:${string}` | `pod:${string}`

/** A link to be made. */
export type LinkSpec =
  | { readonly type: 'bridge'; readonly name: string; readonly mac?: string; readonly mtu?: number }
  | {
      readonly type: 'veth'
      readonly name: string
      readonly mac?: string
      readonly mtu?: number
      readonly peer: { readonly netns: NetnsName; readonly name: string; readonly mac?: string }
    }
  | {
      readonly type: 'vxlan'
      readonly name: string
      readonly mac?: string
      readonly mtu?: number
      readonly vni: number
      /** Left out: the kernel's own, 8472. */
      readonly dstport?: number
      readonly local: string
      /** Device of the underlay. */
      readonly dev: string
      readonly learning: boolean
    }
  | {
      readonly type: 'ipip'
      readonly name: string
      readonly mtu?: number
      readonly local: string
      readonly remote?: string
      readonly pmtudisc: boolean
    }
  | { readonly type: 'dummy'; readonly name: string; readonly mac?: string; readonly mtu?: number }

/** What a policy's rule in a table comes from: the object, and the place when somebody asks. */
export interface PolicyOrigin {
  readonly kind: string
  /** Empty for objects without one. */
  readonly namespace: string
  readonly name: string
  /** `spec.ingress[0]`, or in words why no rule of the object is meant. */
  readonly rule: string
  readonly at: () => SourcePosition
  /** The rule that was nearest to letting a packet through, in a sentence. */
  readonly nearest?: (asked: {
    readonly src: number
    readonly sport: number
    readonly dst: number
    readonly dport: number
    /** `TCP` */
    readonly protocol: string
  }) => string
}

/** One step of configuration. */
export type CniVerb = { readonly netns: NetnsName; readonly origin?: SourcePosition } & (
  | { readonly verb: 'sysctl'; readonly key: string; readonly value: string }
  | { readonly verb: 'link-add'; readonly link: LinkSpec }
  | {
      readonly verb: 'link-set'
      readonly dev: string
      readonly up?: boolean
      readonly master?: string
      readonly hairpin?: boolean
      /** netlink.SetPromiscOn */
      readonly promisc?: boolean
      readonly mtu?: number
      /** netlink.LinkSetHardwareAddr */
      readonly mac?: string
    }
  | { readonly verb: 'addr-add'; readonly dev: string; readonly address: string; readonly broadcast?: string }
  | {
      readonly verb: 'route-add'
      readonly dst: string
      /** Left out for a blackhole. */
      readonly dev?: string
      readonly via?: string
      readonly type?: 'unicast' | 'blackhole'
      /** RTPROT_*: 3 (boot) when left out. */
      readonly protocol?: number
      readonly metric?: number
      readonly mtu?: number
      readonly scope?: 'global' | 'link' | 'host'
      readonly onlink?: boolean
    }
  /** netlink.NeighSet of a permanent neighbour. */
  | {
      readonly verb: 'neigh-replace'
      readonly dev: string
      readonly ip: string
      readonly mac: string
    }
  /** netlink.NeighSet, family bridge, NTF_SELF: a permanent entry of a VXLAN device. */
  | {
      readonly verb: 'fdb-replace'
      readonly dev: string
      readonly mac: string
      readonly dst: string
    }
  /** Loads a kernel module of the host: ipip makes tunl0. */
  | { readonly verb: 'modprobe'; readonly module: 'ipip' }
  /** A file on the node, for `exec NODE -- cat`; its text is made when somebody reads it. */
  | { readonly verb: 'file'; readonly path: string; readonly text: () => string }
  /** `nft -f -` of the text. */
  | { readonly verb: 'nft'; readonly text: string }
  /** `ipset restore` of the text. */
  | { readonly verb: 'ipset-restore'; readonly text: string }
  /** `iptables-restore --noflush` of the text; `origins` says what caused the rule of a line (1-based). */
  | {
      readonly verb: 'iptables-restore'
      readonly text: string
      readonly origins: ReadonlyMap<number, unknown>
    }
  /** `ebtables ARGS`; the kubelet goes on when a chain exists already. */
  | { readonly verb: 'ebtables'; readonly args: readonly string[] }
  | { readonly verb: 'iptables-chain'; readonly table: string; readonly chain: string }
  | { readonly verb: 'iptables'; readonly args: readonly string[]; readonly ensure: 'append' | 'prepend' }
)
