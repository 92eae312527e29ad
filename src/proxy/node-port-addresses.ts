/**
 * On which addresses NodePorts answer (`--nodeport-addresses`, `--iptables-localhost-nodeports`).
 *
 * Without prefixes of the family every local address takes NodePorts; in nftables mode an empty setting means
 * `primary`. On 127.0.0.0/8 they work only for IPv4, only
 * with localhost NodePorts on, and only when the prefixes do not leave loopback out.
 *
 * Not modelled: addresses that appear on an interface later (kube-proxy reads the interfaces at every sync; the
 * addresses here are the node's).
 *
 * Source: pkg/proxy/util/nodeport_addresses.go, pkg/proxy/iptables/proxier.go (NewProxier, syncProxyRules).
 */
import { familyOf, formatIp, isLoopback, type Prefix, parseIp, parsePrefix, prefixContains } from './addresses.ts'
import type { IpFamily, ProxyConfig, ProxyNode } from './types.ts'

/** The resolved setting of one family. */
export interface NodePortAddresses {
  /** Every local address takes NodePorts. */
  readonly matchAll: boolean
  /** Otherwise these do. */
  readonly ips: readonly string[]
  /** NodePorts answer on 127.0.0.0/8. */
  readonly onLocalhost: boolean
}

/** The word for the node's first address of each family (kube-proxy 1.31 and later). */
export const PRIMARY = 'primary'
const LOOPBACK_ADDRESSES = ['127.0.0.1', '::1']

/** Resolves `--nodeport-addresses` for one family on one node; `whenEmpty` is what the mode puts in its place. */
export function nodePortAddresses(
  config: ProxyConfig,
  node: ProxyNode,
  family: IpFamily,
  whenEmpty: readonly string[] = [],
): NodePortAddresses {
  const given = config.nodePortAddresses ?? []
  const settings = given.length === 0 ? whenEmpty : given
  const prefixes = acceptedPrefixes(settings, node).filter((prefix) => familyOf(prefix) === family)
  const matchAll = prefixes.length === 0 || prefixes.some((prefix) => prefix.prefixLength === 0)
  const withLoopback = matchAll || prefixes.some(holdsLoopback)
  const onLocalhost = family === 'IPv4' && (config.localhostNodePorts ?? true) && withLoopback
  if (matchAll) return { matchAll, ips: [], onLocalhost }
  const local = [...node.ips, ...LOOPBACK_ADDRESSES].map(parseIp).filter((ip) => ip !== null)
  const taken = prefixes.flatMap((prefix) => local.filter((ip) => prefixContains(prefix, ip)))
  const usable = taken.filter((ip) => onLocalhost || !isLoopback(ip))
  return { matchAll, ips: [...new Set(usable.map(formatIp))], onLocalhost }
}

function acceptedPrefixes(settings: readonly string[], node: ProxyNode): Prefix[] {
  if (settings.length !== 1 || settings[0] !== PRIMARY) return settings.map(parsePrefix).filter((p) => p !== null)
  const ips = node.ips.map(parseIp).filter((ip) => ip !== null)
  return ips.filter((ip, i) => ips.findIndex((other) => other.family === ip.family) === i)
}

function holdsLoopback(prefix: Prefix): boolean {
  const loopback = parseIp('127.0.0.1')
  return (loopback !== null && prefixContains(prefix, loopback)) || isLoopback(prefix)
}
