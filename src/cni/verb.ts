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
      readonly mtu?: number
      /** netlink.LinkSetHardwareAddr */
      readonly mac?: string
    }
  | { readonly verb: 'addr-add'; readonly dev: string; readonly address: string; readonly broadcast?: string }
  | {
      readonly verb: 'route-add'
      readonly dst: string
      readonly dev: string
      readonly via?: string
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
  | { readonly verb: 'iptables-chain'; readonly table: string; readonly chain: string }
  | { readonly verb: 'iptables'; readonly args: readonly string[]; readonly ensure: 'append' | 'prepend' }
)
