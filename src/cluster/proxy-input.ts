/**
 * What kube-proxy on one node reads: objects of the cluster, its node, its configuration.
 *
 * Fields of KubeProxyConfiguration (kubeproxy.config.k8s.io/v1alpha1) are taken by their real names; kubeadm's defaults
 * stand where nothing was written: clusterCIDR is the cluster's, the local detector is ClusterCIDR.
 */
import { formatIpv4 } from '../addr/index.ts'
import type { ClusterModel, NodeModel } from '../kubernetes/types.ts'
import type { Netns } from '../linux/netns.ts'
import type { DetectLocalMode, ProxyConfig, ProxyInput } from '../proxy/types.ts'

/** kube-proxy's own interface in IPVS mode: its addresses are Services', not the node's. */
const IPVS_DEVICE = 'kube-ipvs0'

type Options = Readonly<Record<string, unknown>>

function sub(options: Options, key: string): Options {
  const v = options[key]
  return typeof v === 'object' && v !== null ? (v as Options) : {}
}

/** KubeProxyConfiguration to the settings that a proxy mode takes. */
export function proxyConfig(model: ClusterModel): ProxyConfig {
  const o = model.config.proxy.options
  const { mode } = model.config.proxy
  const iptables = sub(o, 'iptables')
  // iptables.masqueradeAll and masqueradeBit count in IPVS mode too
  const marking = mode === 'nftables' ? sub(o, 'nftables') : iptables
  const detect = sub(o, 'detectLocal')
  const conntrack = sub(o, 'conntrack')
  const ipvs = sub(o, 'ipvs')
  return {
    clusterCidr: typeof o.clusterCIDR === 'string' && o.clusterCIDR !== '' ? o.clusterCIDR : model.config.clusterCidr,
    localDetector:
      typeof o.detectLocalMode === 'string' && o.detectLocalMode !== ''
        ? (o.detectLocalMode as DetectLocalMode)
        : undefined,
    bridgeInterface: typeof detect.bridgeInterface === 'string' ? detect.bridgeInterface : undefined,
    interfaceNamePrefix: typeof detect.interfaceNamePrefix === 'string' ? detect.interfaceNamePrefix : undefined,
    masqueradeAll: typeof marking.masqueradeAll === 'boolean' ? marking.masqueradeAll : undefined,
    masqueradeBit: typeof marking.masqueradeBit === 'number' ? marking.masqueradeBit : undefined,
    localhostNodePorts: typeof iptables.localhostNodePorts === 'boolean' ? iptables.localhostNodePorts : undefined,
    nodePortAddresses: Array.isArray(o.nodePortAddresses) ? o.nodePortAddresses.map(String) : undefined,
    tcpBeLiberal: typeof conntrack.tcpBeLiberal === 'boolean' ? conntrack.tcpBeLiberal : undefined,
    ipvsScheduler: typeof ipvs.scheduler === 'string' ? ipvs.scheduler : undefined,
    strictArp: typeof ipvs.strictARP === 'boolean' ? ipvs.strictARP : undefined,
    excludeCidrs: Array.isArray(ipvs.excludeCIDRs) ? ipvs.excludeCIDRs.map(String) : undefined,
    ipvsTimeouts: {
      tcp: goSeconds(ipvs.tcpTimeout),
      tcpFin: goSeconds(ipvs.tcpFinTimeout),
      udp: goSeconds(ipvs.udpTimeout),
    },
    serviceCidr: model.config.serviceCidr,
    ipFamilies: ['IPv4'],
  }
}

const UNIT_SECONDS: { readonly [unit: string]: number } = { ms: 0.001, s: 1, m: 60, h: 3600 }

/** A metav1.Duration (`15m0s`) in whole seconds, 0 when there is none. */
function goSeconds(value: unknown): number {
  if (typeof value !== 'string') return 0
  let sum = 0
  for (const [, n = '', unit = ''] of value.matchAll(/([\d.]+)(ms|s|m|h)/g))
    sum += Number(n) * (UNIT_SECONDS[unit] ?? 0)
  return Math.floor(sum)
}

/** The input of a sync on `node`. */
export function proxyInput(model: ClusterModel, node: NodeModel, ns: Netns): ProxyInput {
  const ips = [node.internalIp]
  for (const dev of ns.devices.values()) {
    for (const a of dev.addrs) {
      const text = formatIpv4(a.ip)
      if (dev !== ns.lo && dev.name !== IPVS_DEVICE && !ips.includes(text)) ips.push(text)
    }
  }
  return {
    node: { name: node.name, ips, zone: node.zone, labels: node.labels, podCidrs: node.podCidrs },
    services: model.services.map((s) => s.object),
    endpointSlices: model.endpointSlices.map((s) => s.object),
    config: proxyConfig(model),
  }
}
