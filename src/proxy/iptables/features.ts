/**
 * What of kube-proxy's iptables mode is modelled, one sentence each; docs tables and UNMODELLED verdicts come from here.
 */
import { type ProxyFeature, partial, supported, unsupported } from '../mode.ts'

/** The features of the iptables mode. */
export const IPTABLES_FEATURES: readonly ProxyFeature[] = [
  supported('ClusterIP', 'KUBE-SERVICES, KUBE-SVC and KUBE-SEP rules for TCP, UDP and SCTP ports.'),
  supported('NodePort', 'KUBE-NODEPORTS with --nodeport-addresses and localhost NodePorts (IPv4).'),
  supported('LoadBalancer', 'Ingress IPs with ipMode VIP; an address with ipMode Proxy is left to the load balancer.'),
  supported('loadBalancerSourceRanges', 'KUBE-FW and KUBE-PROXY-FIREWALL, the allowance for the node itself included.'),
  supported('externalIPs', 'External IPs of any type of Service that has a ClusterIP.'),
  supported('externalTrafficPolicy', 'Cluster and Local, with the short-circuit for pods and for the node itself.'),
  supported('internalTrafficPolicy', 'Cluster and Local.'),
  supported('sessionAffinity', 'ClientIP through the recent match, with its timeout.'),
  supported('no endpoints', 'REJECT when no node has any, DROP when only local ones are missing for a Local policy.'),
  supported('terminating endpoints', 'Serving and terminating endpoints are used when none is ready.'),
  supported(
    'topology hints',
    'Zone and node hints as the newest kube-proxy reads them; spec.trafficDistribution makes them.',
  ),
  supported('hairpin', 'An endpoint that reaches itself through its Service is masqueraded.'),
  supported('local-traffic detectors', 'ClusterCIDR, NodeCIDR, BridgeInterface, InterfaceNamePrefix and none.'),
  supported(
    'partial sync',
    'Only changed services are rewritten, stale chains are deleted, failures force a full sync.',
  ),
  supported('large cluster mode', 'Above 1000 endpoints comments go and stale chains may wait for a later sync.'),
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
    'ip6tables rules are written and loaded for nodes with IPv6 addresses; clusters made of manifests are IPv4.',
  ),
  partial('nfacct counters', 'Rules name the counters they are told of; whether the node can make them is not probed.'),
  partial('kubelet chains', 'KUBE-FIREWALL is made; KUBE-KUBELET-CANARY and KUBE-MARK-DROP are not.'),
  partial('conntrack sysctls', 'nf_conntrack_max, the TCP timeouts and be_liberal; the hash table size is not.'),
  unsupported('topology-mode annotation', 'kube-proxy before 1.31 asks for it; here hints count without it.'),
]
