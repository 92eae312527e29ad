/**
 * Calico's settings for a cluster: version, backend, MTU; what cannot be played is named.
 *
 * Real thing: the manifests (ConfigMap calico-config, DaemonSet calico-node) or the operator's Installation; podwalk's own
 * `spec.cni.options` lie over them: version, dataplane (iptables, nftables, bpf), encapsulation, blockSize, natOutgoing,
 * ipPools, felix (keys of FelixConfiguration), bgp (keys of BGPConfiguration), autoHostEndpoints, strictAffinity, mtu.
 */
import type { Diagnostic } from '../../diagnostics/diagnostic.ts'
import { groupOf } from '../../kubernetes/kinds.ts'
import type { ClusterModel } from '../../kubernetes/types.ts'
import type { CniProgram } from '../driver.ts'
import { felixConfig } from './felix-config.ts'
import { CALICO_DEFAULT, CALICO_NEWEST, CALICO_OLDEST, type CalicoVersion, calicoVersion } from './version.ts'

type Json = Readonly<Record<string, unknown>>

const OWN_OPTIONS = [
  ...['version', 'dataplane', 'encapsulation', 'blockSize', 'natOutgoing', 'ipPools', 'felix', 'bgp', 'mtu'],
  ...[
    'autoHostEndpoints',
    'strictAffinity',
    'bgpSessions',
    'installation',
    'calico_backend',
    'veth_mtu',
    'IP',
    'IP_AUTODETECTION_METHOD',
  ],
]
const OVERHEAD = { ipip: 20, vxlan: 50 } as const

/** The settings. */
export interface CalicoConfig {
  readonly version: CalicoVersion
  /** BIRD runs: routes between nodes may come by BGP. */
  readonly bird: boolean
  readonly ipip: boolean
  readonly vxlan: boolean
  readonly ipipMtu: number
  readonly vxlanMtu: number
  /** Of pods. */
  readonly podMtu: number
}

/** The settings, or what stands in their way. */
export interface CalicoSettings {
  readonly config: CalicoConfig
  readonly unmodelled: CniProgram['unmodelled']
  readonly diagnostics: readonly Diagnostic[]
}

/** Image of calico-node in the manifests: its tag is the version. */
function imageVersion(model: ClusterModel): string | null {
  for (const pod of model.pods) {
    for (const c of pod.spec.containers) {
      const m = /(?:calico\/node|calico-node|calico\/calico):([\w.-]+)/.exec(String(c.image ?? ''))
      if (m !== null) return m[1]!
    }
  }
  return null
}

function installation(model: ClusterModel): Json {
  const found = model.otherObjects.find(
    ({ object }) => object.kind === 'Installation' && groupOf(object.apiVersion) === 'operator.tigera.io',
  )
  return ((found?.object.spec as Json | undefined)?.calicoNetwork ?? {}) as Json
}

/** Reads the cluster's Calico settings. */
export function readCalicoConfig(model: ClusterModel): CalicoSettings {
  const diagnostics: Diagnostic[] = []
  const o = model.config.cni.options
  const say = (severity: Diagnostic['severity'], code: string, message: string): void => {
    diagnostics.push({ code, severity, message, file: '', line: 0, col: 0 })
  }
  for (const key of Object.keys(o)) {
    if (OWN_OPTIONS.includes(key) || /^(FELIX_|CALICO_)/.test(key)) continue
    say('warning', 'cni-option', `calico has no option "${key}"`)
  }
  const text = String(o.version ?? imageVersion(model) ?? `v3.${CALICO_DEFAULT}`)
  const version = calicoVersion(text)
  if (version === null)
    say('error', 'cni-option', `calico: version: expected v3.${CALICO_OLDEST} or newer, found ${text}`)
  else if (version.minor < CALICO_OLDEST || version.minor > CALICO_NEWEST) {
    const known = version.minor < CALICO_OLDEST ? CALICO_OLDEST : CALICO_NEWEST
    say('warning', 'unmodelled', `calico ${text} is UNMODELLED: the rules are those of v3.${known}`)
  }
  const felix = felixConfig(model, '')
  const network = installation(model)
  const dataplane = String(
    o.dataplane ??
      (felix.bpfEnabled
        ? 'bpf'
        : felix.nftablesMode === 'Enabled'
          ? 'nftables'
          : (network.linuxDataplane ?? 'Iptables')),
  ).toLowerCase()
  const pools = (model.calico?.pools ?? []).filter((p) => !p.disabled)
  const ipip = pools.some((p) => p.ipip !== 'Never')
  const vxlan = pools.some((p) => p.vxlan !== 'Never')
  const mtu = (given: number, overhead: number): number => (given > 0 ? given : model.config.mtu - overhead)
  const ipipMtu = mtu(felix.ipipMtu, OVERHEAD.ipip)
  const vxlanMtu = mtu(felix.vxlanMtu, OVERHEAD.vxlan)
  const given = Number(o.mtu ?? network.mtu ?? o.veth_mtu ?? 0)
  const encapsulated = Math.min(ipip ? ipipMtu : 65535, vxlan ? vxlanMtu : 65535, model.config.mtu)
  const config: CalicoConfig = {
    version: version ?? calicoVersion(`v3.${CALICO_DEFAULT}`)!,
    bird: !['vxlan', 'none'].includes(String(o.calico_backend ?? 'bird')) && network.bgp !== 'Disabled',
    ...{ ipip, vxlan, ipipMtu, vxlanMtu },
    podMtu: given > 0 ? given : encapsulated,
  }
  return { config, unmodelled: unmodelledPart(dataplane, felix.wireguardEnabled), diagnostics }
}

function unmodelledPart(dataplane: string, wireguard: boolean): CniProgram['unmodelled'] {
  const modelled = ['calico data plane iptables']
  if (dataplane === 'bpf') return { what: 'calico data plane "bpf"', modelled }
  if (dataplane === 'nftables') return { what: 'calico data plane "nftables"', modelled }
  if (dataplane !== 'iptables') return { what: `calico data plane "${dataplane}"`, modelled }
  return wireguard ? { what: 'calico with WireGuard', modelled } : undefined
}
