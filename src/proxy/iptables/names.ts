/**
 * Chain names of kube-proxy's iptables mode.
 *
 * Per-service and per-endpoint chains end in 16 characters of a base32 SHA-256, so that a name fits the 28 characters
 * the kernel allows and stays the same from sync to sync.
 *
 * Sources: pkg/proxy/iptables/proxier.go (portProtoHash, servicePortEndpointChainName), RFC 4648 section 6.
 */
import { chainHash } from '../../kubernetes/chain-hash.ts'

/** Both tables: what a packet to a service address or NodePort goes through. */
export const KUBE_SERVICES = 'KUBE-SERVICES'
/** nat: NodePorts; filter: health check NodePorts. */
export const KUBE_NODEPORTS = 'KUBE-NODEPORTS'
/** filter: rejects and drops for external addresses without endpoints. */
export const KUBE_EXTERNAL_SERVICES = 'KUBE-EXTERNAL-SERVICES'
/** filter: what FORWARD accepts for kube-proxy. */
export const KUBE_FORWARD = 'KUBE-FORWARD'
/** filter: drops what loadBalancerSourceRanges did not let through. */
export const KUBE_PROXY_FIREWALL = 'KUBE-PROXY-FIREWALL'
/** filter: the chain kube-proxy shares with the kubelet. */
export const KUBE_FIREWALL = 'KUBE-FIREWALL'
/** nat: masquerades marked packets. */
export const KUBE_POSTROUTING = 'KUBE-POSTROUTING'
/** nat: sets the masquerade mark. */
export const KUBE_MARK_MASQ = 'KUBE-MARK-MASQ'
/** Empty chain in mangle, nat and filter: its absence tells kube-proxy that someone flushed the tables. */
export const KUBE_PROXY_CANARY = 'KUBE-PROXY-CANARY'

/** The chains of one service port. */
export interface ServiceChains {
  readonly svc: string
  readonly svl: string
  readonly ext: string
  readonly fw: string
}

const GENERATED = /^KUBE-(?:SVC|SVL|SEP|EXT|FW)-/

/** The chains of the service port `name` (`namespace/name:port`) and lower-case protocol. */
export function serviceChains(name: string, protocol: string): ServiceChains {
  const hash = chainHash(name + protocol)
  return { svc: `KUBE-SVC-${hash}`, svl: `KUBE-SVL-${hash}`, ext: `KUBE-EXT-${hash}`, fw: `KUBE-FW-${hash}` }
}

/** The chain of the endpoint `target` (`ip:port`) of a service port. */
export function endpointChain(name: string, protocol: string, target: string): string {
  return `KUBE-SEP-${chainHash(name + protocol + target)}`
}

/** True for chains that kube-proxy makes per service or endpoint, and deletes when they are stale. */
export function isGeneratedChain(chain: string): boolean {
  return GENERATED.test(chain)
}
