/**
 * What of kube-proxy's IPVS mode is modelled, one sentence each; docs tables come from here.
 */
import { type ProxyFeature, partial, supported, unsupported } from '../mode.ts'

/** The features of the IPVS mode. */
export const IPVS_FEATURES: readonly ProxyFeature[] = [
  supported('ClusterIP', 'A virtual server and an address on kube-ipvs0 per ClusterIP; TCP, UDP and SCTP.'),
  supported('NodePort', 'A virtual server per node address, or per address that --nodeport-addresses names.'),
  supported('LoadBalancer', 'Ingress IPs with ipMode VIP, bound to kube-ipvs0 unless another interface has them.'),
  supported('loadBalancerSourceRanges', 'KUBE-PROXY-FIREWALL by ipset, the nodes kept off by KUBE-IPVS-OUT-FILTER.'),
  supported('externalIPs', 'External IPs of any type of Service that has a ClusterIP.'),
  supported('externalTrafficPolicy', 'Cluster and Local; without local endpoints Local falls back to all of them.'),
  supported('internalTrafficPolicy', 'Cluster and Local, with the same fall-back.'),
  supported('sessionAffinity', 'ClientIP as IPVS persistence with its timeout.'),
  supported('schedulers', 'Any scheduler IPVS has, by name; mh with its flag.'),
  supported(
    'graceful termination',
    'Weight 0 while TCP connections last, looked at once a minute; UDP and SCTP at once.',
  ),
  supported('strictARP', 'arp_ignore 1 and arp_announce 2 on all interfaces.'),
  supported('excludeCIDRs', 'Virtual servers of these addresses are left alone.'),
  supported('no endpoints', 'Virtual servers without real ones: IPVS answers with port unreachable.'),
  supported('wrong port of a Service address', 'Rejected by KUBE-IPVS-FILTER, since the address is local.'),
  supported('terminating endpoints', 'Serving and terminating endpoints are used when none is ready.'),
  supported(
    'topology hints',
    'Zone and node hints as the newest kube-proxy reads them; spec.trafficDistribution makes them.',
  ),
  supported('hairpin', 'KUBE-LOOP-BACK masquerades an endpoint that reaches itself.'),
  supported('local-traffic detectors', 'ClusterCIDR, NodeCIDR, BridgeInterface, InterfaceNamePrefix and none.'),
  supported(
    'partial sync',
    'Only differences of servers, addresses and sets; the iptables rules are always all written.',
  ),
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
    'IPv6 sets and rules are written and loaded, IPv6 virtual servers are UNMODELLED; manifests give IPv4.',
  ),
  unsupported('conn_reuse_mode', 'Set by kube-proxy on kernels 4.1 to 5.8 only; the simulated kernel is newer.'),
]
