/**
 * What the kubenet driver models.
 */
import type { CniFeature } from '../driver.ts'

/** Declared features of kubenet. */
export const KUBENET_FEATURES: readonly CniFeature[] = [
  {
    name: 'cbr0 bridge',
    support: 'supported',
    sentence: 'One bridge per node, made with the first pod, first address of the pod CIDR.',
  },
  {
    name: 'host-local IPAM',
    support: 'supported',
    sentence: 'Addresses in the order in which the reference plugin hands them out.',
  },
  {
    name: 'hairpin-veth',
    support: 'supported',
    sentence: 'The hairpin flag is set on each port (kubelet --hairpin-mode=hairpin-veth).',
  },
  {
    name: 'promiscuous-bridge',
    support: 'supported',
    sentence:
      "kubelet's own default: cbr0 is promiscuous and the ebtables chain KUBE-DEDUP drops the host's second copy of a bridged packet (option hairpinMode; podwalk's default is hairpin-veth).",
  },
  {
    name: 'non-masquerade CIDR',
    support: 'supported',
    sentence: 'Traffic that leaves 10.0.0.0/8 (or the option) is masqueraded.',
  },
  {
    name: 'routes between nodes',
    support: 'supported',
    sentence:
      'A static route per node and pod CIDR, as an administrator or a route controller sets them on an L2 underlay.',
  },
  { name: 'cloud route table', support: 'not', sentence: 'Routes inside a cloud fabric instead of on the nodes.' },
  {
    name: 'hostPort',
    support: 'partial',
    sentence:
      "The hostport manager's KUBE-HOSTPORTS chains for TCP and UDP; SCTP is named in a warning, the kubelet's socket on the port is not held.",
  },
  { name: 'bandwidth shaping', support: 'not', sentence: 'HTB on cbr0.' },
  {
    name: 'NetworkPolicy',
    support: 'not',
    sentence: 'kubenet enforces no policy; podwalk says so for every policy that is present.',
  },
  { name: 'IPv6', support: 'not', sentence: 'Single-stack IPv4 only.' },
]
