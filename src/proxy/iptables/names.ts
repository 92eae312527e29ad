/**
 * Chain names of kube-proxy's iptables mode.
 *
 * Per-service and per-endpoint chains end in 16 characters of a base32 SHA-256, so that a name fits the 28 characters
 * the kernel allows and stays the same from sync to sync.
 *
 * Sources: pkg/proxy/iptables/proxier.go (portProtoHash, servicePortEndpointChainName), RFC 4648 section 6.
 */
import { createHash } from 'node:crypto'

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

const HASH_CHARACTERS = 16
const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'
const GENERATED = /^KUBE-(?:SVC|SVL|SEP|EXT|FW)-/

/** The chains of the service port `name` (`namespace/name:port`) and lower-case protocol. */
export function serviceChains(name: string, protocol: string): ServiceChains {
  const hash = hash16(name + protocol)
  return { svc: `KUBE-SVC-${hash}`, svl: `KUBE-SVL-${hash}`, ext: `KUBE-EXT-${hash}`, fw: `KUBE-FW-${hash}` }
}

/** The chain of the endpoint `target` (`ip:port`) of a service port. */
export function endpointChain(name: string, protocol: string, target: string): string {
  return `KUBE-SEP-${hash16(name + protocol + target)}`
}

/** True for chains that kube-proxy makes per service or endpoint, and deletes when they are stale. */
export function isGeneratedChain(chain: string): boolean {
  return GENERATED.test(chain)
}

/** The first 16 characters of the base32 of the SHA-256: ten bytes hold exactly 80 bits. */
function hash16(text: string): string {
  const digest = createHash('sha256').update(text).digest()
  let out = ''
  let bits = 0
  let held = 0
  for (let i = 0; out.length < HASH_CHARACTERS; i++) {
    held = (held << 8) | (digest[i] ?? 0)
    bits += 8
    while (bits >= 5) {
      bits -= 5
      out += BASE32[(held >> bits) & 31]
    }
    held &= (1 << bits) - 1
  }
  return out
}
