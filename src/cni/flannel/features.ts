/**
 * What the flannel driver models.
 */
import type { CniFeature } from '../driver.ts'

/** Declared features of flannel. */
export const FLANNEL_FEATURES: readonly CniFeature[] = [
  {
    name: 'net-conf.json and cni-conf.json',
    support: 'supported',
    sentence: 'Read from the ConfigMap; `spec.cni.options` lie over net-conf.json, key by key.',
  },
  {
    name: 'backend vxlan',
    support: 'supported',
    sentence:
      'VNI, Port, MTU, Learning: device with its /32, permanent neighbours and fdb entries, onlink routes. GBP is UNMODELLED.',
  },
  {
    name: 'DirectRouting',
    support: 'supported',
    sentence: 'Plain routes to nodes that are on link, for vxlan and ipip.',
  },
  { name: 'backend host-gw', support: 'supported', sentence: 'A plain route per node, MTU of the underlay.' },
  {
    name: 'backend ipip',
    support: 'supported',
    sentence: 'flannel.ipip without remote, nopmtudisc, TTL copied from the packet inside.',
  },
  { name: 'backend wireguard', support: 'not', sentence: 'The verdict is UNMODELLED and names the backend.' },
  { name: 'backend udp', support: 'not', sentence: 'The default of a net-conf.json without Backend: UNMODELLED.' },
  {
    name: 'backends ipsec, alloc, extension and of clouds',
    support: 'not',
    sentence: 'The verdict is UNMODELLED and names the backend.',
  },
  {
    name: 'masquerade and forward rules',
    support: 'supported',
    sentence:
      'FLANNEL-POSTRTG and FLANNEL-FWD with the flags of flanneld, text of v0.28; other versions are a warning.',
  },
  {
    name: 'EnableNFTables',
    support: 'supported',
    sentence: "Table flannel-ipv4 with its forward and postrtg chains, flannel's swapped fourth rule included.",
  },
  {
    name: 'bridge and host-local',
    support: 'supported',
    sentence:
      "cni0, hairpin, the pod network's route and the default route in each pod, addresses in the plugin's order.",
  },
  {
    name: 'hostPort (portmap)',
    support: 'partial',
    sentence: 'CNI-HOSTPORT chains for TCP and UDP; SCTP is named in a warning.',
  },
  { name: 'node annotations', support: 'partial', sentence: "The VTEP's MAC and public-ip-overwrite are read." },
  {
    name: 'nodes that join and leave',
    support: 'not',
    sentence: 'The cluster stands still: every node is known to every other.',
  },
  { name: 'etcd subnet manager', support: 'not', sentence: 'Subnets are the pod CIDRs of the nodes.' },
  {
    name: 'NetworkPolicy',
    support: 'not',
    sentence: 'flannel enforces no policy; podwalk says so for every policy that is present.',
  },
  { name: 'IPv6', support: 'not', sentence: 'Single-stack IPv4; EnableIPv6 is a warning.' },
]
