/**
 * What a kube-proxy mode reads and what it hands over.
 *
 * kube-proxy watches Services, EndpointSlices and its own Node; a mode turns them into the commands kube-proxy issues
 * on that node. The object shapes here are the parts of the Kubernetes JSON that kube-proxy reads, nothing more, so
 * any fuller type of the same objects can be passed.
 *
 * Not here: API defaulting (objects are read as they are: a missing policy is Cluster, a missing protocol is TCP).
 *
 * Sources: core/v1 Service, discovery.k8s.io/v1 EndpointSlice; pkg/proxy/apis/config KubeProxyConfiguration.
 */

import type { AfterSync } from './after-sync.ts'

/** The address family one proxier instance programs. */
export type IpFamily = 'IPv4' | 'IPv6'

/** Object metadata kube-proxy reads. */
export interface ProxyObjectMeta {
  readonly name: string
  readonly namespace?: string | undefined
  readonly labels?: Readonly<Record<string, string>> | undefined
}

/** One `spec.ports[]` entry of a Service. */
export interface ProxyServicePortSpec {
  readonly name?: string | undefined
  readonly protocol?: string | undefined
  readonly port: number
  readonly nodePort?: number | undefined
}

/** The part of a core/v1 Service that kube-proxy reads. */
export interface ProxyService {
  readonly metadata: ProxyObjectMeta
  readonly spec: {
    readonly type?: string | undefined
    readonly clusterIP?: string | undefined
    readonly clusterIPs?: readonly string[] | undefined
    readonly externalIPs?: readonly string[] | undefined
    readonly ports?: readonly ProxyServicePortSpec[] | undefined
    readonly externalTrafficPolicy?: string | undefined
    readonly internalTrafficPolicy?: string | undefined
    readonly healthCheckNodePort?: number | undefined
    readonly loadBalancerSourceRanges?: readonly string[] | undefined
    readonly sessionAffinity?: string | undefined
    readonly sessionAffinityConfig?:
      | { readonly clientIP?: { readonly timeoutSeconds?: number | undefined } | undefined }
      | undefined
  }
  readonly status?:
    | {
        readonly loadBalancer?:
          | {
              readonly ingress?:
                | readonly { readonly ip?: string | undefined; readonly ipMode?: string | undefined }[]
                | undefined
            }
          | undefined
      }
    | undefined
}

/** One `endpoints[]` entry of an EndpointSlice. */
export interface ProxySliceEndpoint {
  readonly addresses: readonly string[]
  readonly nodeName?: string | undefined
  readonly conditions?:
    | {
        readonly ready?: boolean | undefined
        readonly serving?: boolean | undefined
        readonly terminating?: boolean | undefined
      }
    | undefined
  readonly hints?:
    | {
        readonly forZones?: readonly { readonly name: string }[] | undefined
        readonly forNodes?: readonly { readonly name: string }[] | undefined
      }
    | undefined
}

/** The part of a discovery.k8s.io/v1 EndpointSlice that kube-proxy reads. */
export interface ProxyEndpointSlice {
  readonly metadata: ProxyObjectMeta
  readonly addressType: string
  readonly endpoints?: readonly ProxySliceEndpoint[] | undefined
  readonly ports?:
    | readonly {
        readonly name?: string | undefined
        readonly protocol?: string | undefined
        readonly port?: number | undefined
      }[]
    | undefined
}

/** The node kube-proxy runs on. `ips` are all its addresses, the primary one of each family first. */
export interface ProxyNode {
  readonly name: string
  readonly ips: readonly string[]
  readonly zone?: string | undefined
  readonly labels?: Readonly<Record<string, string>> | undefined
  /** `spec.podCIDRs`, read only by the NodeCIDR detector. */
  readonly podCidrs?: readonly string[] | undefined
}

/** kube-proxy's `--detect-local-mode`; `None` is what it falls back to when the mode has no data. */
export type DetectLocalMode = 'ClusterCIDR' | 'NodeCIDR' | 'BridgeInterface' | 'InterfaceNamePrefix' | 'None'

/** kube-proxy's configuration; every field has kube-proxy's own default. */
export interface ProxyConfig {
  /** `--cluster-cidr`, comma separated for dual stack. Default: empty. */
  readonly clusterCidr?: string | undefined
  /** `--detect-local-mode`. Default: ClusterCIDR. */
  readonly localDetector?: DetectLocalMode | undefined
  /** `--pod-bridge-interface`, for BridgeInterface. */
  readonly bridgeInterface?: string | undefined
  /** `--pod-interface-name-prefix`, for InterfaceNamePrefix. */
  readonly interfaceNamePrefix?: string | undefined
  /** `--masquerade-all`. Default: false. */
  readonly masqueradeAll?: boolean | undefined
  /** `--iptables-masquerade-bit`. Default: 14. */
  readonly masqueradeBit?: number | undefined
  /** `--nodeport-addresses`. Default: empty: every local address, in nftables mode `primary`. */
  readonly nodePortAddresses?: readonly string[] | undefined
  /** `--iptables-localhost-nodeports`. Default: true. */
  readonly localhostNodePorts?: boolean | undefined
  /** Whether the node's iptables has `--random-fully` (1.6.2 and later). Default: true. */
  readonly randomFully?: boolean | undefined
  /** `--conntrack-tcp-be-liberal`, or the sysctl found set. Default: false. */
  readonly tcpBeLiberal?: boolean | undefined
  /** nfacct counters kube-proxy (1.33 and later) could create on the node. Default: none. */
  readonly nfacctCounters?: readonly string[] | undefined
  /** Feature gate LoadBalancerIPMode (on since 1.30). Default: true. */
  readonly loadBalancerIpMode?: boolean | undefined
  /** Feature gate PreferSameTrafficDistribution (node hints; on since 1.34). Default: true. */
  readonly preferSameTrafficDistribution?: boolean | undefined
  /** The cluster's Service CIDRs (ServiceCIDR objects), comma separated. Read by nftables mode. Default: not known. */
  readonly serviceCidr?: string | undefined
  /** Families to program. Default: those the node has an address of. */
  readonly ipFamilies?: readonly IpFamily[] | undefined
  /** `--ipvs-scheduler`. Default: rr. */
  readonly ipvsScheduler?: string | undefined
  /** `--ipvs-strict-arp`. Default: false. */
  readonly strictArp?: boolean | undefined
  /** `--ipvs-exclude-cidrs`: virtual servers that kube-proxy leaves alone when it cleans up. */
  readonly excludeCidrs?: readonly string[] | undefined
  /** `--ipvs-tcp-timeout`, `--ipvs-tcpfin-timeout`, `--ipvs-udp-timeout`, seconds; 0 leaves the kernel's. */
  readonly ipvsTimeouts?: { readonly tcp: number; readonly tcpFin: number; readonly udp: number } | undefined
  /** CPU count, for `nf_conntrack_max`. Default: 4. */
  readonly cpuCores?: number | undefined
}

/** All a proxy mode reads. */
export interface ProxyInput {
  readonly node: ProxyNode
  readonly services: readonly ProxyService[]
  readonly endpointSlices: readonly ProxyEndpointSlice[]
  readonly config: ProxyConfig
}

/**
 * The object that caused a rule. `path` is the field inside it, e.g. `['spec', 'ports', 0, 'nodePort']`, ready for a
 * lookup of its position; `port` is the Service port's name when it has one.
 */
export interface RuleOrigin {
  readonly kind: 'Service' | 'EndpointSlice'
  readonly namespace: string
  readonly name: string
  readonly path: readonly (string | number)[]
  readonly port?: string
}

/** netfilter tables kube-proxy writes to. */
export type IptablesTable = 'filter' | 'nat' | 'mangle'

/** One command of kube-proxy's, in the order it issues them. */
export type ProxyVerb =
  | { readonly verb: 'sysctl'; readonly key: string; readonly value: string }
  | { readonly verb: 'nfacct-add'; readonly name: string }
  | { readonly verb: 'ensure-chain'; readonly family: IpFamily; readonly table: IptablesTable; readonly chain: string }
  | {
      /** `iptables -C || iptables -I`: prepended when absent. */
      readonly verb: 'ensure-rule'
      readonly family: IpFamily
      readonly table: IptablesTable
      readonly chain: string
      readonly args: readonly string[]
    }
  | {
      readonly verb: 'iptables-restore'
      readonly family: IpFamily
      readonly args: readonly string[]
      readonly text: string
    }
  | {
      /** One transaction of `nft -f -`. */
      readonly verb: 'nft'
      readonly family: IpFamily
      readonly text: string
    }
  | {
      /** Lines of `ipset`, in order; kube-proxy runs one command per line. */
      readonly verb: 'ipset'
      readonly family: IpFamily
      readonly text: string
    }
  | {
      /** An `ipset` command that may be refused: kube-proxy logs it and goes on. */
      readonly verb: 'ipset-try'
      readonly family: IpFamily
      readonly args: readonly string[]
    }
  | {
      /** What kube-proxy does to IPVS by netlink, as lines of `ipvsadm -R`. */
      readonly verb: 'ipvs'
      readonly family: IpFamily
      readonly text: string
    }
  | {
      /** What kube-proxy does to links and addresses by netlink, as `ip` commands. */
      readonly verb: 'ip'
      readonly family: IpFamily
      readonly args: readonly string[]
    }

/** Out-of-band origins: by `family table chain`, one entry per rule of the chain in order, null for fixed rules. */
export type RuleOrigins = ReadonlyMap<string, readonly (RuleOrigin | null)[]>

/** The commands that bring one node up to date, and what the next sync needs to know. */
export interface NodeProgram<State = unknown> extends AfterSync {
  readonly verbs: readonly ProxyVerb[]
  /** Origins of every rule on the node after this program ran, the untouched chains' included. */
  readonly origins: RuleOrigins
  /** Origins of what is no rule: elements of verdict maps and virtual servers, by `family container key`. */
  readonly lookups: ReadonlyMap<string, RuleOrigin>
  readonly state: State
}
