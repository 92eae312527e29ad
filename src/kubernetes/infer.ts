/**
 * Inference: what the manifests of a CNI, of kubeadm, of kube-proxy or of kind say about the cluster.
 *
 * Every fact carries the line that it was read from, so that stderr can say `inferred cni flannel (vxlan) from
 * kube-flannel.yml:123`. Facts of the same subject: the first one wins, a different one is a warning. A Cluster object
 * and the command line override all of them.
 *
 * Not modelled: Helm values, operators' own defaults beyond the ones named here.
 * Sources: flannel Documentation/configuration.md, Calico reference (node configuration, IPPool, Installation), Cilium
 * cilium-config keys, kubeadm v1beta3/v1beta4, KubeProxyConfiguration v1alpha1, kind v1alpha4.
 */
import { parse as parseYamlText } from 'yaml'
import { parseIpv4Cidr } from '../addr/cidr.ts'
import type { Diagnostics, SourcePosition } from '../diagnostics/diagnostic.ts'
import { formatPosition } from '../diagnostics/diagnostic.ts'
import { groupOf } from './kinds.ts'
import { didYouMean } from './names.ts'
import type { Container, FieldPath, InferredFact, KubernetesObject, LoadedObject, PodSpec } from './types.ts'
import type { ValidObjects } from './validate.ts'

type Json = Record<string, unknown>

/** A node that a kind configuration describes. */
export interface KindNode {
  readonly name: string
  readonly isControlPlane: boolean
  readonly labels: Record<string, string>
  readonly source: SourcePosition
}

/** What was inferred; absent where nothing was said. */
export interface Inferred {
  cni?: { name: string; options: Json }
  proxyMode?: string
  proxyOptions?: Json
  clusterCidr?: string
  nodeCidrMaskSize?: number
  serviceCidr?: string
  dnsDomain?: string
  mtu?: number
  kindNodes?: KindNode[]
  readonly facts: InferredFact[]
}

/** Reads everything that the objects say about the cluster's settings. */
export function inferSettings(valid: ValidObjects, diagnostics: Diagnostics): Inferred {
  const reader = new Reader(diagnostics)
  for (const loaded of valid.others) readConfigurationObject(loaded, reader)
  for (const loaded of valid.of('v1/ConfigMap')) readConfigMap(loaded, reader)
  for (const loaded of valid.of('apps/v1/DaemonSet')) readDaemonSet(loaded, reader)
  settleCalicoPool(reader)
  return reader.inferred
}

class Reader {
  readonly inferred: Inferred = { facts: [] }
  private readonly diagnostics: Diagnostics
  /** Where the CNI was found. */
  cniSource: SourcePosition | null = null
  private readonly otherCnis = new Set<string>()

  constructor(diagnostics: Diagnostics) {
    this.diagnostics = diagnostics
  }

  /** A setting with which the component would not start. */
  error(code: string, at: SourcePosition, message: string, hint: string): void {
    this.diagnostics.error(code, at, message, { hint })
  }

  /** Takes a CNI; false when another one was found before, whose settings then count. */
  cni(name: string, detail: string, options: Json, loaded: LoadedObject, path: FieldPath): boolean {
    const current = this.inferred.cni
    const at = loaded.positionOf(path)
    if (current === undefined) {
      this.inferred.cni = { name, options }
      this.cniSource = at
      this.fact('cni', `cni ${name}${detail === '' ? '' : ` (${detail})`}`, at)
      return true
    }
    if (current.name === name) {
      // A later object of the same CNI adds what the first did not say.
      current.options = { ...options, ...current.options }
      return true
    }
    if (this.otherCnis.has(name)) return false
    this.otherCnis.add(name)
    const first = formatPosition(this.cniSource!)
    this.diagnostics.warning(
      'several-cnis',
      at,
      `found cni ${name} beside ${current.name} of ${first}: using ${current.name}`,
      {
        hint: 'choose one with --cni',
      },
    )
    return false
  }

  set<K extends 'clusterCidr' | 'serviceCidr' | 'dnsDomain' | 'proxyMode'>(
    key: K,
    value: unknown,
    label: string,
    at: () => SourcePosition,
  ): void {
    if (typeof value !== 'string' || value === '') return
    // Dual-stack settings are a list: its IPv4 part is what is modelled.
    const text = key.endsWith('Cidr')
      ? value
          .split(',')
          .find((part) => parseIpv4Cidr(part.trim()) !== null)
          ?.trim()
      : value
    if (text === undefined) {
      this.diagnostics.warning('ipv6-not-modelled', at(), `${label} ${value} has no IPv4 part: not modelled, ignored`)
      return
    }
    if (this.inferred[key] !== undefined) {
      if (this.inferred[key] !== text) {
        this.diagnostics.warning(
          'contradiction',
          at(),
          `${label} ${text} contradicts ${this.inferred[key]}, which is used`,
        )
      }
      return
    }
    this.inferred[key] = text
    this.fact(key, `${label} ${text}`, at())
  }

  number(key: 'nodeCidrMaskSize' | 'mtu', value: unknown, label: string, at: () => SourcePosition): void {
    const n = Number(value)
    if (!Number.isInteger(n) || n <= 0 || this.inferred[key] !== undefined) return
    this.inferred[key] = n
    this.fact(key, `${label} ${n}`, at())
  }

  /** Parses text inside a ConfigMap; broken text is a warning, since the cluster component would not start. */
  embedded(loaded: LoadedObject, key: string): Json | null {
    const text = (loaded.object.data as Json | undefined)?.[key]
    if (typeof text !== 'string') return null
    try {
      const value: unknown = parseYamlText(text, { maxAliasCount: 100, logLevel: 'error' })
      if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json
    } catch {
      // Reported below together with text that parses to something else.
    }
    const at = loaded.positionOf(['data', key])
    this.diagnostics.warning('embedded-configuration', at, `expected a configuration object in ${key}: ignored`, {
      path: `data[${key}]`,
    })
    return null
  }

  fact(subject: string, what: string, source: SourcePosition): void {
    this.inferred.facts.push({ subject, text: `inferred ${what} from ${source.file}:${source.line}`, source })
  }
}

function readConfigMap(loaded: LoadedObject, reader: Reader): void {
  const data = (loaded.object.data ?? {}) as Json
  const name = loaded.object.metadata.name
  if ('net-conf.json' in data) {
    const conf = reader.embedded(loaded, 'net-conf.json')
    if (conf === null) return
    const backend = (conf.Backend ?? {}) as Json
    const at = (): SourcePosition => loaded.positionOf(['data', 'net-conf.json'])
    if (!reader.cni('flannel', String(backend.Type ?? 'udp'), conf, loaded, ['data', 'net-conf.json'])) return
    reader.set('clusterCidr', conf.Network, 'pod network', at)
    reader.number('nodeCidrMaskSize', conf.SubnetLen, 'node CIDR mask size', at)
  } else if (name === 'calico-config') {
    const backend = String(data.calico_backend ?? 'bird')
    const options: Json = { calico_backend: backend }
    if (data.veth_mtu !== undefined) options.veth_mtu = data.veth_mtu
    reader.cni('calico', backend, options, loaded, ['data', 'calico_backend'])
  } else if (name === 'cilium-config') readCiliumConfig(data, loaded, reader)
  else if (name === 'kubeadm-config' && 'ClusterConfiguration' in data) {
    const conf = reader.embedded(loaded, 'ClusterConfiguration')
    if (conf !== null) readKubeadm(conf, loaded, ['data', 'ClusterConfiguration'], reader)
  } else if ('config.conf' in data && String(data['config.conf']).includes('KubeProxyConfiguration')) {
    const conf = reader.embedded(loaded, 'config.conf')
    if (conf !== null) readKubeProxy(conf, loaded, ['data', 'config.conf'], reader)
  }
}

function readCiliumConfig(data: Json, loaded: LoadedObject, reader: Reader): void {
  const routing = String(data['routing-mode'] ?? (data.tunnel === 'disabled' ? 'native' : 'tunnel'))
  const tunnel = String(data['tunnel-protocol'] ?? data.tunnel ?? 'vxlan')
  if (!reader.cni('cilium', routing === 'native' ? 'native routing' : tunnel, data, loaded, ['data'])) return
  const poolKey = 'cluster-pool-ipv4-cidr'
  const at = (): SourcePosition => loaded.positionOf(['data', poolKey])
  reader.set(
    'clusterCidr',
    typeof data[poolKey] === 'string' ? data[poolKey].split(/\s+/)[0] : undefined,
    'pod network',
    at,
  )
  const maskKey = 'cluster-pool-ipv4-mask-size'
  reader.number('nodeCidrMaskSize', data[maskKey], 'node CIDR mask size', () => loaded.positionOf(['data', maskKey]))
  const replacement = data['kube-proxy-replacement']
  if (replacement === 'true' || replacement === 'strict') {
    reader.set('proxyMode', 'none', 'kube-proxy mode', () => loaded.positionOf(['data', 'kube-proxy-replacement']))
  }
}

function readKubeadm(conf: Json, loaded: LoadedObject, path: FieldPath, reader: Reader): void {
  const networking = (conf.networking ?? {}) as Json
  const at = (field: string) => (): SourcePosition => loaded.positionOf([...path, 'networking', field])
  reader.set('clusterCidr', networking.podSubnet, 'pod network', at('podSubnet'))
  reader.set('serviceCidr', networking.serviceSubnet, 'service CIDR', at('serviceSubnet'))
  reader.set('dnsDomain', networking.dnsDomain, 'DNS domain', at('dnsDomain'))
  const extra = (conf.controllerManager as Json | undefined)?.extraArgs
  const mask = Array.isArray(extra)
    ? (extra as Json[]).find((arg) => arg.name === 'node-cidr-mask-size')?.value
    : (extra as Json | undefined)?.['node-cidr-mask-size']
  reader.number('nodeCidrMaskSize', mask, 'node CIDR mask size', () =>
    loaded.positionOf([...path, 'controllerManager']),
  )
}

/** validateProxyMode of pkg/proxy/apis/config/validation; kernelspace is Windows'. */
const KUBE_PROXY_MODES: readonly string[] = ['', 'iptables', 'ipvs', 'nftables', 'kernelspace']

function readKubeProxy(conf: Json, loaded: LoadedObject, path: FieldPath, reader: Reader): void {
  const at = (field: string) => (): SourcePosition => loaded.positionOf([...path, field])
  if (typeof conf.mode === 'string' && !KUBE_PROXY_MODES.includes(conf.mode)) {
    const meant = didYouMean(conf.mode, KUBE_PROXY_MODES)
    const hint = meant === undefined ? 'iptables, ipvs or nftables' : `did you mean ${meant}?`
    reader.error('kube-proxy-mode', at('mode')(), `unknown kube-proxy mode "${conf.mode}"`, hint)
    return
  }
  // An empty mode is the platform's default: iptables on Linux.
  reader.set(
    'proxyMode',
    conf.mode === '' || conf.mode === undefined ? 'iptables' : conf.mode,
    'kube-proxy mode',
    at('mode'),
  )
  reader.set('clusterCidr', conf.clusterCIDR, 'pod network', at('clusterCIDR'))
  reader.inferred.proxyOptions ??= conf
}

function readConfigurationObject(loaded: LoadedObject, reader: Reader): void {
  const object = loaded.object as KubernetesObject & Json
  const group = groupOf(object.apiVersion)
  const spec = (object.spec ?? {}) as Json
  switch (`${group}/${object.kind}`) {
    case 'kubeadm.k8s.io/ClusterConfiguration':
      readKubeadm(object, loaded, [], reader)
      return
    case 'kubeproxy.config.k8s.io/KubeProxyConfiguration':
      readKubeProxy(object, loaded, [], reader)
      return
    case 'kind.x-k8s.io/Cluster':
      readKind(object, loaded, reader)
      return
    case 'crd.projectcalico.org/IPPool':
    case 'projectcalico.org/IPPool': {
      const isVxlan = spec.vxlanMode !== undefined && spec.vxlanMode !== 'Never'
      const isIpip = spec.ipipMode !== undefined && spec.ipipMode !== 'Never'
      const options = { ipPools: [spec] }
      const detail = isVxlan ? 'vxlan' : isIpip ? 'ipip' : 'no encapsulation'
      if (!reader.cni('calico', detail, options, loaded, ['spec'])) return
      // further pools are beside the cluster's network, no contradiction of it
      if (reader.inferred.clusterCidr !== undefined) return
      reader.set('clusterCidr', spec.cidr, 'pod network', () => loaded.positionOf(['spec', 'cidr']))
      return
    }
    case 'operator.tigera.io/Installation': {
      const network = (spec.calicoNetwork ?? {}) as Json
      const pools = (network.ipPools ?? []) as Json[]
      const pool = pools.find((p) => parseIpv4Cidr(String(p.cidr)) !== null)
      const encapsulation = String(pool?.encapsulation ?? 'IPIP')
      if (!reader.cni('calico', encapsulation, { installation: spec }, loaded, ['spec', 'calicoNetwork'])) return
      reader.number('mtu', network.mtu, 'MTU', () => loaded.positionOf(['spec', 'calicoNetwork', 'mtu']))
      reader.set('clusterCidr', pool?.cidr, 'pod network', () =>
        loaded.positionOf(['spec', 'calicoNetwork', 'ipPools']),
      )
      return
    }
  }
}

function readKind(conf: Json, loaded: LoadedObject, reader: Reader): void {
  const networking = (conf.networking ?? {}) as Json
  const at = (field: string) => (): SourcePosition => loaded.positionOf(['networking', field])
  reader.set('clusterCidr', networking.podSubnet, 'pod network', at('podSubnet'))
  // kind's own default differs from kubeadm's.
  reader.set('serviceCidr', networking.serviceSubnet ?? '10.96.0.0/16', 'service CIDR', at('serviceSubnet'))
  reader.set('proxyMode', networking.kubeProxyMode, 'kube-proxy mode', at('kubeProxyMode'))
  const name = typeof conf.name === 'string' ? conf.name : 'kind'
  const nodes = Array.isArray(conf.nodes) ? (conf.nodes as Json[]) : [{ role: 'control-plane' }]
  const counts = { 'control-plane': 0, worker: 0 }
  reader.inferred.kindNodes = nodes.map((node, i) => {
    const role = node.role === 'worker' ? 'worker' : 'control-plane'
    const n = ++counts[role]
    return {
      name: `${name}-${role}${n === 1 ? '' : n}`,
      isControlPlane: role === 'control-plane',
      labels: (node.labels ?? {}) as Record<string, string>,
      source: loaded.positionOf(['nodes', i]),
    }
  })
  reader.fact('nodes', `${nodes.length} nodes of kind cluster ${name}`, loaded.positionOf(['nodes']))
}

/** calico-node and its operator make a pool of 192.168.0.0/16 when nobody says another network. */
function settleCalicoPool(reader: Reader): void {
  const { cni, clusterCidr } = reader.inferred
  if (cni?.name !== 'calico' || clusterCidr !== undefined || reader.cniSource === null) return
  reader.set('clusterCidr', '192.168.0.0/16', "pod network (Calico's default)", () => reader.cniSource!)
}

/** CNIs that are recognised by their DaemonSet alone. */
const DAEMON_SETS: Readonly<Record<string, string>> = {
  'weave-net': 'weave',
  'kube-router': 'kube-router',
  'aws-node': 'aws-vpc-cni',
  kindnet: 'kindnet',
  cilium: 'cilium',
  'kube-flannel-ds': 'flannel',
  'calico-node': 'calico',
  antrea: 'antrea',
  'antrea-agent': 'antrea',
}

function readDaemonSet(loaded: LoadedObject, reader: Reader): void {
  const name = DAEMON_SETS[loaded.object.metadata.name]
  if (name === undefined) return
  const options: Json = {}
  const spec = (loaded.object.spec as { template: { spec: PodSpec } }).template.spec
  if (reader.cni(name, '', options, loaded, ['metadata', 'name']) && name === 'calico') {
    readCalicoEnvironment(spec.containers, loaded, reader)
  }
}

function readCalicoEnvironment(containers: readonly Container[], loaded: LoadedObject, reader: Reader): void {
  const options = reader.inferred.cni!.options
  for (const [i, container] of containers.entries()) {
    const env = (container.env ?? []) as { name: string; value?: string }[]
    for (const [j, { name, value }] of env.entries()) {
      if (value === undefined || !/^(CALICO_IPV[46]POOL|FELIX_|IP$|IP_AUTO)/.test(name)) continue
      options[name] ??= value
      if (name !== 'CALICO_IPV4POOL_CIDR') continue
      const path = ['spec', 'template', 'spec', 'containers', i, 'env', j]
      reader.set('clusterCidr', value, 'pod network', () => loaded.positionOf(path))
    }
  }
}
