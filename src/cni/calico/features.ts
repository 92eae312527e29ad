/**
 * What the Calico driver models.
 */
import type { CniFeature } from '../driver.ts'

/** Declared features of Calico. */
export const CALICO_FEATURES: readonly CniFeature[] = [
  {
    name: 'versions',
    support: 'supported',
    sentence:
      'v3.26 to v3.33 by `spec.cni.options.version` or the image of calico-node; names, marks and texts differ.',
  },
  {
    name: 'configuration',
    support: 'supported',
    sentence:
      'The manifests (ConfigMap, DaemonSet), Installation, IPPool, FelixConfiguration, KubeControllersConfiguration; `spec.cni.options` lie over them.',
  },
  {
    name: 'IPAM',
    support: 'supported',
    sentence:
      "Blocks with the host's deterministic first block, borrowing, reservations, pool selectors, the annotations ipv4pools and ipAddrs, tunnel addresses.",
  },
  {
    name: 'pod wiring',
    support: 'supported',
    sentence: 'veth named by hash, proxy ARP for 169.254.1.1, /32 routes, the sysctls of plugin and Felix.',
  },
  {
    name: 'VXLAN',
    support: 'supported',
    sentence: 'Always and CrossSubnet: vxlan.calico, its MAC, neighbours, fdb, routes.',
  },
  {
    name: 'IPIP',
    support: 'supported',
    sentence: 'Always and CrossSubnet: tunl0 and onlink routes, of BIRD or of Felix.',
  },
  { name: 'no encapsulation', support: 'supported', sentence: 'Plain routes to the other nodes, as BGP leaves them.' },
  {
    name: 'iptables data plane',
    support: 'supported',
    sentence: "Felix's chains, marks, ip sets and rule tags, with the origin of every policy rule.",
  },
  {
    name: 'policies',
    support: 'supported',
    sentence:
      'NetworkPolicy of Kubernetes and of Calico, GlobalNetworkPolicy, tiers, network sets, host endpoints with doNotTrack, preDNAT and failsafes.',
  },
  {
    name: 'ClusterNetworkPolicy and AdminNetworkPolicy',
    support: 'partial',
    sentence: 'As tiers of their own; peers by node or domain name are named in a warning.',
  },
  { name: 'staged policies', support: 'supported', sentence: 'Named, and not programmed, as Felix has it.' },
  {
    name: 'BGP',
    support: 'supported',
    sentence:
      'Mesh, global and node peers, route reflectors, AS per node, BGPFilter, Service addresses: sessions over the data plane; BFD and passwords are not played.',
  },
  {
    name: 'bird.cfg',
    support: 'supported',
    sentence: 'As confd renders it, at /etc/calico/confd/config on every node; BIRD 1.6 accepts it but for krt_tunnel.',
  },
  { name: 'nftables data plane', support: 'not', sentence: 'The verdict is UNMODELLED.' },
  { name: 'eBPF data plane', support: 'not', sentence: 'The verdict is UNMODELLED.' },
  { name: 'WireGuard', support: 'not', sentence: 'The verdict is UNMODELLED.' },
  {
    name: 'hostPort (portmap)',
    support: 'partial',
    sentence: 'CNI-HOSTPORT chains for TCP and UDP; SCTP is named in a warning.',
  },
  {
    name: 'HTTP rules, QoS, floating IPs, egress gateways',
    support: 'not',
    sentence: 'HTTP rules are named in a warning and left out.',
  },
  { name: 'IPv6', support: 'not', sentence: 'Single-stack IPv4; IPv6 pools are named in a warning.' },
]
