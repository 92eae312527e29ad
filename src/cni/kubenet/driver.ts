/**
 * kubenet: one Linux bridge per node, addresses from the node's pod CIDR, no overlay.
 *
 * Real thing: kubelet's dockershim plugin (pkg/kubelet/dockershim/network/kubenet, today in cri-dockerd) with the CNI
 * plugins bridge and host-local; MAC of a pod is 0a:58 and its address, as the plugins of that time set it. Verbs stand
 * in the order of the plugin's ADD: bridge, veth pair, attach and hairpin, addresses and routes in the pod, gateway on
 * the bridge, ip_forward. What is not modelled stands in features.ts.
 */
import { formatIpv4, parseCidr, parseIpv4 } from '../../addr/index.ts'
import type { Diagnostic } from '../../diagnostics/diagnostic.ts'
import type { ClusterModel, NodeModel, PodModel } from '../../kubernetes/types.ts'
import type { CniDriver, CniProgram } from '../driver.ts'
import { isOnLink, offLinkWarning } from '../on-link.ts'
import type { CniVerb, NetnsName } from '../verb.ts'
import { vethName } from '../veth-name.ts'
import { KUBENET_FEATURES } from './features.ts'
import { hostPorts, hostportNodeVerbs, hostportPodVerbs } from './hostport.ts'

/** kubenet's bridge. */
const BRIDGE = 'cbr0'
/** The ebtables chain of promiscuous-bridge mode. */
const DEDUP_CHAIN = 'KUBE-DEDUP'
/** --non-masquerade-cidr */
const NON_MASQUERADE_CIDR = '10.0.0.0/8'

/** kubelet --hairpin-mode */
const HAIRPIN_MODES = ['promiscuous-bridge', 'hairpin-veth', 'none']

interface KubenetOptions {
  readonly hairpinMode: string
  readonly nonMasqueradeCidr: string
  readonly mtu: number
}

function readOptions(model: ClusterModel, diagnostics: Diagnostic[]): KubenetOptions {
  const o = model.config.cni.options
  const known = ['hairpinMode', 'nonMasqueradeCidr', 'mtu']
  for (const key of Object.keys(o)) {
    if (known.includes(key)) continue
    diagnostics.push({
      code: 'cni-option',
      severity: 'warning',
      message: `kubenet has no option "${key}"`,
      hint: `known options: ${known.join(', ')}`,
      file: '',
      line: 0,
      col: 0,
    })
  }
  const bad = (message: string, hint: string): void => {
    diagnostics.push({ code: 'cni-option', severity: 'error', message, hint, file: '', line: 0, col: 0 })
  }
  const hairpin = o.hairpinMode ?? 'hairpin-veth'
  if (!HAIRPIN_MODES.includes(String(hairpin))) {
    bad(
      `kubenet: hairpinMode: expected ${HAIRPIN_MODES.join(', ')}, found ${JSON.stringify(hairpin)}`,
      'the modes of kubelet --hairpin-mode',
    )
  }
  const cidr = o.nonMasqueradeCidr ?? NON_MASQUERADE_CIDR
  if (typeof cidr !== 'string' || parseCidr(cidr) === null) {
    bad(`kubenet: nonMasqueradeCidr: expected a CIDR, found ${JSON.stringify(cidr)}`, 'for example 10.0.0.0/8')
  }
  const mtu = o.mtu ?? model.config.mtu
  if (typeof mtu !== 'number' || !Number.isInteger(mtu) || mtu < 576 || mtu > 65535) {
    bad(
      `kubenet: mtu: expected bytes from 576 to 65535, found ${JSON.stringify(mtu)}`,
      'leave it out to follow the node',
    )
  }
  return { hairpinMode: String(hairpin), nonMasqueradeCidr: String(cidr), mtu: Number(mtu) }
}

/** The pod's MAC: 0a:58 and the four bytes of its address. */
export function podMac(ipText: string): string {
  const ip = parseIpv4(ipText)!
  const bytes = [ip >>> 24, (ip >>> 16) & 255, (ip >>> 8) & 255, ip & 255]
  return ['0a', '58', ...bytes.map((b) => b.toString(16).padStart(2, '0'))].join(':')
}

function broadcastOf(cidr: string): string {
  const c = parseCidr(cidr)!
  return formatIpv4((c.ip as number) | ~(c.prefixLength === 0 ? 0 : -1 << (32 - c.prefixLength)))
}

function gatewayOf(cidr: string): string {
  return formatIpv4((parseCidr(cidr)!.ip as number) + 1)
}

/** Verbs of the first pod's ADD that concern the node. */
function* bridgeVerbs(node: NodeModel, mtu: number): Generator<CniVerb> {
  const netns: NetnsName = `node:${node.name}`
  const prefix = parseCidr(node.podCidr)!.prefixLength
  yield { verb: 'link-add', netns, link: { type: 'bridge', name: BRIDGE, mtu }, origin: node.source }
  yield { verb: 'link-set', netns, dev: BRIDGE, up: true, origin: node.source }
  yield {
    verb: 'addr-add',
    netns,
    dev: BRIDGE,
    address: `${gatewayOf(node.podCidr)}/${prefix}`,
    broadcast: broadcastOf(node.podCidr),
    origin: node.source,
  }
}

/**
 * kubenet's setup after a pod's ADD in promiscuous-bridge mode: the bridge takes every frame, and what the host then sends
 * a second time (from the bridge's MAC, an address of the pod CIDR other than the gateway) is dropped (SetPromiscOn,
 * syncEbtablesDedupRules).
 */
function* dedupVerbs(node: NodeModel): Generator<CniVerb> {
  const netns: NetnsName = `node:${node.name}`
  const origin = node.source
  const gateway = gatewayOf(node.podCidr)
  const common = ['-p', 'IPv4', '-s', podMac(gateway), '-o', 'veth+', '--ip-src']
  const ebtables = (...args: readonly string[]): CniVerb => ({ verb: 'ebtables', netns, args, origin })
  // the bridge plugin of that time gives the bridge the MAC of its address (ip.SetHWAddrByIP)
  yield { verb: 'link-set', netns, dev: BRIDGE, mac: podMac(gateway), promisc: true, origin }
  yield ebtables('-t', 'filter', '-N', DEDUP_CHAIN)
  yield ebtables('-t', 'filter', '-A', 'OUTPUT', '-j', DEDUP_CHAIN)
  yield ebtables('-t', 'filter', '-F', DEDUP_CHAIN)
  yield ebtables('-t', 'filter', '-I', DEDUP_CHAIN, ...common, gateway, '-j', 'ACCEPT')
  yield ebtables('-t', 'filter', '-A', DEDUP_CHAIN, ...common, node.podCidr, '-j', 'DROP')
}

/** Verbs of one pod's ADD. */
function* podVerbs(node: NodeModel, pod: PodModel, host: string, options: KubenetOptions): Generator<CniVerb> {
  const { mtu } = options
  const nodeNs: NetnsName = `node:${node.name}`
  const podNs: NetnsName = `pod:${pod.namespace}/${pod.name}`
  const origin = pod.source
  const prefix = parseCidr(node.podCidr)!.prefixLength
  yield {
    verb: 'link-add',
    netns: nodeNs,
    link: { type: 'veth', name: host, mtu, peer: { netns: podNs, name: 'eth0', mac: podMac(pod.ip) } },
    origin,
  }
  yield { verb: 'link-set', netns: nodeNs, dev: host, up: true, origin }
  yield {
    verb: 'link-set',
    netns: nodeNs,
    dev: host,
    master: BRIDGE,
    hairpin: options.hairpinMode === 'hairpin-veth',
    origin,
  }
  yield { verb: 'sysctl', netns: podNs, key: 'net.ipv4.conf.eth0.arp_notify', value: '1', origin }
  yield {
    verb: 'addr-add',
    netns: podNs,
    dev: 'eth0',
    address: `${pod.ip}/${prefix}`,
    broadcast: broadcastOf(node.podCidr),
    origin,
  }
  yield { verb: 'link-set', netns: podNs, dev: 'eth0', up: true, origin }
  yield { verb: 'route-add', netns: podNs, dst: 'default', dev: 'eth0', via: gatewayOf(node.podCidr), origin }
}

function program(model: ClusterModel): CniProgram {
  const diagnostics: Diagnostic[] = []
  const options = readOptions(model, diagnostics)
  const verbs: CniVerb[] = []
  const hostDevices = new Map<string, string>()
  const byName = new Map(model.nodes.map((n) => [n.name, n]))
  for (const node of model.nodes) {
    const netns: NetnsName = `node:${node.name}`
    const origin = node.source
    verbs.push({ verb: 'sysctl', netns, key: 'net.bridge.bridge-nf-call-iptables', value: '1', origin })
    verbs.push({ verb: 'sysctl', netns, key: 'net.ipv4.ip_forward', value: '1', origin })
    if (parseCidr(options.nonMasqueradeCidr)?.prefixLength !== 0) {
      verbs.push({
        verb: 'iptables',
        netns,
        ensure: 'append',
        origin,
        args: [
          ...['-t', 'nat', 'POSTROUTING', '!', '-d', options.nonMasqueradeCidr],
          ...['-m', 'comment', '--comment', 'kubenet: SNAT for outbound traffic from cluster'],
          ...['-m', 'addrtype', '!', '--dst-type', 'LOCAL', '-j', 'MASQUERADE'],
        ],
      })
    }
    for (const other of model.nodes) {
      if (other === node) continue
      const route = { dst: other.podCidr, dev: 'eth0', via: other.internalIp, origin: other.source }
      if (isOnLink(node, other.internalIp)) verbs.push({ verb: 'route-add', netns, ...route })
      else diagnostics.push(offLinkWarning('kubenet', node, other))
    }
  }
  const bridged = new Set<string>()
  const published = new Set<string>()
  const deduped = new Set<string>()
  for (const pod of model.pods) {
    if (pod.hostNetwork) continue
    const node = byName.get(pod.node)!
    if (!bridged.has(node.name)) {
      bridged.add(node.name)
      verbs.push(...bridgeVerbs(node, options.mtu))
    }
    const host = vethName('veth', `${pod.namespace}/${pod.name}`)
    hostDevices.set(`${pod.namespace}/${pod.name}`, host)
    verbs.push(...podVerbs(node, pod, host, options))
    // EnsureRule: the same rules again with the next pod change nothing
    if (options.hairpinMode === 'promiscuous-bridge' && !deduped.has(node.name)) verbs.push(...dedupVerbs(node))
    deduped.add(node.name)
    const ports = hostPorts(pod)
    if (ports.length === 0) continue
    if (!published.has(node.name)) verbs.push(...hostportNodeVerbs(node, BRIDGE))
    published.add(node.name)
    verbs.push(...hostportPodVerbs(node, pod))
    for (const p of ports) {
      if (p.protocol !== 'SCTP') continue
      diagnostics.push({
        code: 'unmodelled',
        severity: 'warning',
        message: `pod ${pod.namespace}/${pod.name}: hostPort ${p.hostPort}/SCTP is UNMODELLED`,
        ...pod.source,
      })
    }
  }
  return { verbs, diagnostics, hostDevices }
}

/** The driver. */
export const kubenet = {
  name: 'kubenet',
  features: KUBENET_FEATURES,
  enforcesNetworkPolicy: false,
  podMtu: (underlayMtuBytes: number) => underlayMtuBytes,
  program,
} satisfies CniDriver
