/**
 * /etc/resolv.conf and /etc/hosts of a pod, as kubelet and the runtime write them.
 *
 * dnsPolicy ClusterFirst, ClusterFirstWithHostNet, Default and None with dnsConfig; hostname, subdomain and hostAliases.
 * With policy Default the file is the node's, which podwalk does not know: its nameservers stay empty.
 * Not modelled: search domains of the node behind the cluster's, the limits on their number and length.
 * Sources: k8s.io/kubernetes pkg/kubelet/network/dns/dns.go, pkg/kubelet/kubelet_pods.go (managedHostsFileContent),
 * resolv.conf(5).
 */
import { nthIpv4, parseIpv4Cidr } from '../addr/cidr.ts'
import { formatIpv4 } from '../addr/ipv4.ts'
import { keyOf } from './services.ts'
import type { ClusterModel, PodModel, PodSpec, Service } from './types.ts'

/** What a pod's /etc/resolv.conf says. */
export interface ResolvConf {
  readonly nameservers: readonly string[]
  readonly searches: readonly string[]
  readonly ndots: number
  /** True when the nameserver is the cluster's. */
  readonly isClusterDns: boolean
}

/** Where a name is resolved from: a pod, or only a namespace. */
export type DnsClient = PodModel | { readonly namespace: string; readonly spec?: undefined }

/** glibc's, without an `options` line. */
export const DEFAULT_NDOTS = 1
const MAX_NDOTS = 15
const CLUSTER_NDOTS = 5

/** The resolv.conf of a pod; of a plain namespace, that of a pod with default settings there. */
export function resolvConfOf(model: ClusterModel, client: DnsClient): ResolvConf {
  const spec: Partial<PodSpec> = client.spec ?? {}
  const domain = model.config.dnsDomain
  const isHost = spec.hostNetwork === true
  const policy = spec.dnsPolicy ?? 'ClusterFirst'
  const isClusterDns = policy === 'ClusterFirstWithHostNet' || (policy === 'ClusterFirst' && !isHost)
  const nameservers = isClusterDns ? [clusterDnsAddress(model)] : []
  const searches = isClusterDns ? [`${client.namespace}.svc.${domain}`, `svc.${domain}`, domain] : []
  let ndots = isClusterDns ? CLUSTER_NDOTS : DEFAULT_NDOTS
  const extra = spec.dnsConfig
  for (const option of extra?.options ?? []) {
    if (option.name === 'ndots' && /^\d+$/.test(option.value ?? '')) ndots = Math.min(MAX_NDOTS, Number(option.value))
  }
  return {
    nameservers: [...new Set([...nameservers, ...(extra?.nameservers ?? [])])],
    searches: [...new Set([...searches, ...(extra?.searches ?? [])])],
    ndots,
    isClusterDns: isClusterDns || (extra?.nameservers ?? []).includes(clusterDnsAddress(model)),
  }
}

/** The file's text; null when it is the node's, which is not known. */
export function resolvConfText(model: ClusterModel, client: DnsClient): string | null {
  const conf = resolvConfOf(model, client)
  const policy = client.spec?.dnsPolicy ?? 'ClusterFirst'
  const isNodes = policy === 'Default' || (policy === 'ClusterFirst' && client.spec?.hostNetwork === true)
  if (isNodes || conf.nameservers.length === 0) return null
  const options = [...(client.spec?.dnsConfig?.options ?? [])]
  if (conf.isClusterDns && !options.some((o) => o.name === 'ndots')) {
    if (policy !== 'None') options.unshift({ name: 'ndots', value: String(CLUSTER_NDOTS) })
  }
  const words = options.map((o) => (o.value === undefined || o.value === '' ? o.name : `${o.name}:${o.value}`))
  const lines = [
    ...(conf.searches.length > 0 ? [`search ${conf.searches.join(' ')}`] : []),
    ...conf.nameservers.map((n) => `nameserver ${n}`),
    ...(words.length > 0 ? [`options ${words.join(' ')}`] : []),
  ]
  return `${lines.join('\n')}\n`
}

/** The Service in front of the cluster's DNS servers, or undefined when the manifests have none. */
export function clusterDnsService(model: ClusterModel): Service | undefined {
  return model.services.find(
    ({ object }) => keyOf(object) === 'kube-system/kube-dns' || keyOf(object) === 'kube-system/coredns',
  )?.object
}

/** The address that kubelets give to pods: of the kube-dns Service, else the tenth of the service network. */
export function clusterDnsAddress(model: ClusterModel): string {
  const clusterIp = clusterDnsService(model)?.spec.clusterIP
  if (clusterIp && clusterIp !== 'None') return clusterIp
  const cidr = parseIpv4Cidr(model.config.serviceCidr)
  return cidr === null ? '' : formatIpv4(nthIpv4(cidr, 10) ?? cidr.ip)
}

/** /etc/hosts. */
export function hostsText(model: ClusterModel, client: DnsClient): string {
  const lines = ['127.0.0.1\tlocalhost', '::1\tlocalhost ip6-localhost ip6-loopback']
  if (client.spec !== undefined) {
    const { spec } = client
    const hostname = spec.hostname ?? client.name
    if (!client.hostNetwork) {
      const domain = `${hostname}.${spec.subdomain}.${client.namespace}.svc.${model.config.dnsDomain}`
      lines.push(spec.subdomain ? `${client.ip}\t${domain}\t${hostname}` : `${client.ip}\t${hostname}`)
    }
    for (const { ip, hostnames } of spec.hostAliases ?? []) lines.push([ip, ...(hostnames ?? [])].join('\t'))
  }
  return `# Kubernetes-managed hosts file.\n${lines.join('\n')}\n`
}

/** The first IPv4 address that a hosts file gives a name, or null. */
export function lookupHosts(text: string, name: string): string | null {
  const wanted = name.replace(/\.$/, '').toLowerCase()
  for (const line of text.split('\n')) {
    const [ip, ...names] = line.replace(/#.*/, '').trim().split(/\s+/)
    if (ip !== undefined && !ip.includes(':') && names.some((n) => n.toLowerCase() === wanted)) return ip
  }
  return null
}
