/**
 * What of kube-proxy's nftables mode is modelled, one sentence each; docs tables come from here.
 */
import { type ProxyFeature, partial, supported, unsupported } from '../mode.ts'

/** The features of the nftables mode. */
export const NFTABLES_FEATURES: readonly ProxyFeature[] = [
  supported(
    'ClusterIP',
    'Elements of service-ips and cluster-ips, service- and endpoint- chains for TCP, UDP and SCTP.',
  ),
  supported(
    'NodePort',
    'service-nodeports on the primary address, or on what --nodeport-addresses says; never on loopback.',
  ),
  supported('LoadBalancer', 'Ingress IPs with ipMode VIP; an address with ipMode Proxy is left to the load balancer.'),
  supported(
    'loadBalancerSourceRanges',
    'firewall- chains before the translation, the allowance for the node included.',
  ),
  supported('externalIPs', 'External IPs of any type of Service that has a ClusterIP.'),
  supported('externalTrafficPolicy', 'Cluster and Local, with the short-circuit for pods and for the node itself.'),
  supported('internalTrafficPolicy', 'Cluster and Local.'),
  supported('sessionAffinity', 'ClientIP through a timed set per endpoint that every new connection refreshes.'),
  supported('no endpoints', 'Reject when no node has any, drop when only local ones are missing for a Local policy.'),
  supported('wrong port of a ClusterIP', 'Rejected; addresses of the Service CIDR that no Service has are dropped.'),
  supported('terminating endpoints', 'Serving and terminating endpoints are used when none is ready.'),
  supported(
    'topology hints',
    'Zone and node hints as the newest kube-proxy reads them; spec.trafficDistribution makes them.',
  ),
  supported('hairpin', 'An endpoint that reaches itself through its Service is masqueraded.'),
  supported(
    'local-traffic detectors',
    'ClusterCIDR, NodeCIDR, BridgeInterface, InterfaceNamePrefix and none (iifname, as of 1.31).',
  ),
  supported(
    'partial sync',
    'Changed Services only; elements are diffed; stale chains are flushed now and deleted later.',
  ),
  supported('restart', 'Base chains are made again, elements are read back, endpoint chains stay as they are.'),
  supported(
    'health check NodePort',
    'A server on the node answers 200 or 503 with the JSON body and headers of the real one.',
  ),
  supported(
    'UDP conntrack cleanup',
    'Entries that lead to no serving endpoint are deleted after a change, as of 1.33.',
  ),
  partial(
    'dual stack',
    'The ip6 table is written and loaded for nodes with IPv6 addresses; clusters made of manifests are IPv4.',
  ),
  unsupported('layout before 1.32', 'Filter chains at priority -110 with filter-output-post-dnat are not written.'),
]
