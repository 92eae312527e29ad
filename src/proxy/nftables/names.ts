/**
 * Names of kube-proxy's nftables mode: fixed chains, sets and maps, and those of a service port or an endpoint.
 *
 * Per-service names are `kind-HASH-namespace/service/protocol/port`, endpoints' have `__ip/port` behind it. The hash is
 * of the whole rest, so a name that had to be cut at 240 characters stays unique. Fixed names have no slash.
 *
 * Source: pkg/proxy/nftables/proxier.go (servicePortChainNameBase, hashAndTruncate, isServiceChainName).
 */
import { chainHash } from '../../kubernetes/chain-hash.ts'
import type { ServiceEndpoint } from '../endpoint.ts'
import type { ServicePort } from '../service-port.ts'

/** The one table of each family. */
export const TABLE = 'kube-proxy'

export const SERVICES = 'services'
export const SERVICE_IPS = 'service-ips'
export const SERVICE_NODEPORTS = 'service-nodeports'
export const NODEPORT_IPS = 'nodeport-ips'
export const CLUSTER_IPS = 'cluster-ips'
export const SERVICE_ENDPOINTS_CHECK = 'service-endpoints-check'
export const NODEPORT_ENDPOINTS_CHECK = 'nodeport-endpoints-check'
export const NO_ENDPOINT_SERVICES = 'no-endpoint-services'
export const NO_ENDPOINT_NODEPORTS = 'no-endpoint-nodeports'
export const REJECT_CHAIN = 'reject-chain'
export const CLUSTER_IPS_CHECK = 'cluster-ips-check'
export const FIREWALL_IPS = 'firewall-ips'
export const FIREWALL_CHECK = 'firewall-check'
export const MARK_FOR_MASQUERADE = 'mark-for-masquerade'
export const MASQUERADING = 'masquerading'

const HASH_CHARACTERS = 8
const LONGEST_BASE = 240
const CUT = '...'

/** The chains of one service port. */
export interface ServicePortChains {
  readonly cluster: string
  readonly local: string
  readonly external: string
  readonly firewall: string
}

/** The chain of an endpoint and the set that remembers its clients. */
export interface EndpointNames {
  readonly chain: string
  readonly affinity: string
}

/** The chains of a service port. */
export function servicePortChains(port: ServicePort): ServicePortChains {
  const base = hashAndTruncate(servicePath(port))
  return {
    cluster: `service-${base}`,
    local: `local-${base}`,
    external: `external-${base}`,
    firewall: `firewall-${base}`,
  }
}

/** The names of one endpoint of a service port. */
export function endpointNames(port: ServicePort, endpoint: Pick<ServiceEndpoint, 'ip' | 'port'>): EndpointNames {
  const base = hashAndTruncate(`${servicePath(port)}__${endpoint.ip.replaceAll(':', '.')}/${endpoint.port}`)
  return { chain: `endpoint-${base}`, affinity: `affinity-${base}` }
}

/** True for chains of service ports and endpoints. */
export function isServiceChain(chain: string): boolean {
  return chain.includes('/')
}

function servicePath(port: ServicePort): string {
  return `${port.serviceName}/${port.protocol}/${port.portName}`
}

function hashAndTruncate(name: string): string {
  const full = `${chainHash(name).slice(0, HASH_CHARACTERS)}-${name}`
  return full.length > LONGEST_BASE ? full.slice(0, LONGEST_BASE - CUT.length) + CUT : full
}
