/**
 * Flannel: a flat pod network, a subnet per node, one of several ways between the nodes.
 *
 * Real thing: flanneld on every node (device of the backend, its rules, one set of entries per other node), then for each
 * pod the CNI plugin flannel, which has the bridge plugin do the work, and portmap. Subnets are the nodes' pod CIDRs
 * (--kube-subnet-mgr). What is not modelled stands in features.ts.
 * Source: flannel-io/flannel main.go, pkg/subnet/kube/kube.go; flannel-io/cni-plugin flannel_linux.go.
 */
import { cidrContainsIpv4, parseIpv4Cidr } from '../../addr/index.ts'
import type { Diagnostic } from '../../diagnostics/diagnostic.ts'
import type { ClusterModel, NodeModel, PodModel } from '../../kubernetes/types.ts'
import type { CniDriver, CniProgram } from '../driver.ts'
import { isOnLink, offLinkWarning } from '../on-link.ts'
import { hostPorts, portmapNodeVerbs, portmapPodVerbs } from '../portmap.ts'
import type { CniVerb, NetnsName } from '../verb.ts'
import { vethName } from '../veth-name.ts'
import { deviceVerbs, flannelMtu, peerVerbs, publicIp } from './backend.ts'
import { type BridgeConfig, bridgeVerbs, gatewayVerbs, ipMasqVerbs, podVerbs } from './bridge-plugin.ts'
import { type FlannelConfig, readFlannelConfig } from './config.ts'
import { FLANNEL_FEATURES } from './features.ts'
import { forwardVerbs, masqVerbs, nftVerb } from './masq.ts'

/** Bytes that the default backend, vxlan, puts in front of a packet. */
const VXLAN_OVERHEAD = 50

/** What keeps flanneld of a node from starting, in its words. */
function nodeErrors(node: NodeModel, config: FlannelConfig): Diagnostic[] {
  const said: string[] = []
  const network = parseIpv4Cidr(config.network)
  const subnet = parseIpv4Cidr(node.podCidr)
  if (network === null) said.push(`flannel: Network: expected an IPv4 CIDR, found ${JSON.stringify(config.network)}`)
  else if (subnet !== null && !(subnet.prefixLength >= network.prefixLength && cidrContainsIpv4(network, subnet.ip))) {
    const where = `doesn't contain "${node.podCidr}" PodCIDR of the "${node.name}" node`
    said.push(`flannel: subnet "${config.network}" specified in the flannel net config ${where}`)
  }
  if (config.backend.type === 'host-gw' && publicIp(node) !== node.internalIp) {
    const why = "meaning that probably you're on a NAT, which is not supported by host-gw backend"
    said.push(`flannel: node ${node.name}: your PublicIP differs from interface IP, ${why}`)
  }
  return said.map((message) => ({ code: 'cni-option', severity: 'error', message, ...node.source }))
}

function* flanneldVerbs(node: NodeModel, nodes: readonly NodeModel[], config: FlannelConfig): Generator<CniVerb> {
  const netns: NetnsName = `node:${node.name}`
  const origin = node.source
  yield { verb: 'sysctl', netns, origin, key: 'net.bridge.bridge-nf-call-iptables', value: '1' }
  yield { verb: 'sysctl', netns, origin, key: 'net.ipv4.ip_forward', value: '1' }
  yield* deviceVerbs(node, config.backend)
  if (config.nftables) yield nftVerb(node, config.network, config)
  else {
    if (config.ipMasq) yield* masqVerbs(node, config.network, config.randomFully)
    if (config.forwardRules) yield* forwardVerbs(node, config.network)
  }
  for (const other of nodes) if (other !== node) yield* peerVerbs(node, other, config.backend)
}

/** hostPorts that nothing publishes, named. */
function portWarnings(pod: PodModel, isPortmap: boolean): Diagnostic[] {
  return hostPorts(pod)
    .filter((p) => !isPortmap || p.protocol === 'SCTP')
    .map((p) => {
      const why = isPortmap ? 'is UNMODELLED' : 'has no effect: cni-conf.json names no portmap plugin'
      return {
        code: isPortmap ? 'unmodelled' : 'hostport-not-published',
        severity: 'warning' as const,
        message: `pod ${pod.namespace}/${pod.name}: hostPort ${p.hostPort}/${p.protocol} ${why}`,
        ...pod.source,
      }
    })
}

function program(model: ClusterModel): CniProgram {
  const hostDevices = new Map<string, string>()
  const { config, unmodelled, diagnostics: said } = readFlannelConfig(model)
  const diagnostics = [...said]
  if (config === null) {
    return { verbs: [], diagnostics, hostDevices, ...(unmodelled === undefined ? {} : { unmodelled }) }
  }
  for (const node of model.nodes) {
    diagnostics.push(...nodeErrors(node, config))
    if (config.backend.type !== 'host-gw') continue
    for (const other of model.nodes) {
      if (other !== node && !isOnLink(node, other.internalIp))
        diagnostics.push(offLinkWarning('flannel host-gw', node, other))
    }
  }
  const verbs: CniVerb[] = []
  for (const node of model.nodes) verbs.push(...flanneldVerbs(node, model.nodes, config))
  const bridge: BridgeConfig = {
    ...config.delegate,
    mtu: flannelMtu(config.backend),
    network: config.network,
    ipMasq: !config.ipMasq,
  }
  const byName = new Map(model.nodes.map((n) => [n.name, n]))
  const bridged = new Set<string>()
  const published = new Set<string>()
  for (const pod of model.pods) {
    if (pod.hostNetwork) continue
    const node = byName.get(pod.node)!
    const isFirst = !bridged.has(node.name)
    bridged.add(node.name)
    const host = vethName('veth', `${pod.namespace}/${pod.name}`)
    hostDevices.set(`${pod.namespace}/${pod.name}`, host)
    if (isFirst) verbs.push(...bridgeVerbs(node, bridge))
    verbs.push(...podVerbs(node, pod, host, bridge))
    if (isFirst) verbs.push(...gatewayVerbs(node, bridge))
    verbs.push(...ipMasqVerbs(node, pod, bridge))
    diagnostics.push(...portWarnings(pod, bridge.portmap))
    if (!bridge.portmap || hostPorts(pod).length === 0) continue
    if (!published.has(node.name)) verbs.push(...portmapNodeVerbs(node, bridge.bridge))
    published.add(node.name)
    verbs.push(...portmapPodVerbs(node, pod, bridge.name, node.podCidr))
  }
  return { verbs, diagnostics, hostDevices }
}

/** The driver. */
export const flannel = {
  name: 'flannel',
  features: FLANNEL_FEATURES,
  enforcesNetworkPolicy: false,
  podMtu: (underlayMtuBytes: number) => underlayMtuBytes - VXLAN_OVERHEAD,
  program,
} satisfies CniDriver
