/**
 * FelixConfiguration: what of it packets and texts can show.
 *
 * Real thing: felix/config/config_params.go (defaults), api/pkg/apis/projectcalico/v3/felixconfig.go. Sources lie over
 * each other as in Felix: environment (FELIX_ of the DaemonSet) over the node's FelixConfiguration over `default`; the
 * operator and the manifests set DefaultEndpointToHostAction to Accept, which is assumed here. `spec.cni.options.felix` lies over all of them.
 */
import { calicoObjects } from '../../kubernetes/calico/pools.ts'
import type { ClusterModel } from '../../kubernetes/types.ts'

type Json = Readonly<Record<string, unknown>>

/** A port that host endpoints always let through. */
export interface FailsafePort {
  readonly protocol: string
  readonly port: number
  readonly net: string
}

/** Felix's settings. */
export interface FelixConfig {
  readonly chainInsertMode: 'insert' | 'append'
  readonly filterAllowAction: 'ACCEPT' | 'RETURN'
  readonly mangleAllowAction: 'ACCEPT' | 'RETURN'
  readonly filterDenyAction: 'DROP' | 'REJECT'
  readonly endpointToHostAction: 'DROP' | 'RETURN' | 'ACCEPT'
  readonly disableConntrackInvalidCheck: boolean
  readonly serviceLoopPrevention: 'Drop' | 'Reject' | 'Disabled'
  readonly failsafeIn: readonly FailsafePort[]
  readonly failsafeOut: readonly FailsafePort[]
  readonly logPrefix: string
  readonly natPortRange: string
  readonly natOutgoingAddress: string
  readonly natOutgoingInterfaceFilter: string
  readonly vxlanPort: number
  readonly vxlanVni: number
  /** 0: from the underlay's. */
  readonly vxlanMtu: number
  readonly ipipMtu: number
  readonly allowVxlanFromWorkloads: boolean
  readonly allowIpipFromWorkloads: boolean
  readonly interfacePrefix: string
  readonly bpfEnabled: boolean
  readonly wireguardEnabled: boolean
  readonly nftablesMode: string
  readonly externalNodes: readonly string[]
  readonly programsClusterRoutes: boolean | null
}

const FAILSAFE_IN = 'tcp:22,udp:68,tcp:179,tcp:2379,tcp:2380,tcp:5473,tcp:6443,tcp:6666,tcp:6667'
const FAILSAFE_OUT = 'udp:53,udp:67,tcp:179,tcp:2379,tcp:2380,tcp:5473,tcp:6443,tcp:6666,tcp:6667'

/** Raw settings by lower-case name, for one node. */
function settings(model: ClusterModel, node: string): Map<string, unknown> {
  const out = new Map<string, unknown>()
  const add = (spec: unknown): void => {
    if (typeof spec !== 'object' || spec === null) return
    for (const [key, value] of Object.entries(spec)) out.set(key.toLowerCase(), value)
  }
  // Felix itself would say Drop; the manifests and the operator write Accept
  add({ defaultEndpointToHostAction: 'Accept' })
  const options = model.config.cni.options
  const objects = calicoObjects(model.otherObjects, 'FelixConfiguration')
  for (const name of ['default', `node.${node}`]) {
    add(objects.find((o) => o.object.metadata.name === name)?.object.spec)
  }
  for (const [key, value] of Object.entries(options))
    if (key.startsWith('FELIX_')) out.set(key.slice(6).toLowerCase(), value)
  add(options.felix)
  return out
}

function ports(value: unknown, fallback: string): FailsafePort[] {
  if (Array.isArray(value)) {
    return (value as Json[]).map((p) => ({
      protocol: String(p.protocol ?? 'tcp').toLowerCase(),
      port: Number(p.port),
      net: String(p.net ?? ''),
    }))
  }
  const text = typeof value === 'string' ? value : fallback
  if (text === 'none') return []
  return text.split(',').flatMap((word) => {
    const m = /^\s*(?:(tcp|udp|sctp):)?(?:([\d./]+):)?(\d+)\s*$/i.exec(word)
    return m === null ? [] : [{ protocol: (m[1] ?? 'tcp').toLowerCase(), net: m[2] ?? '', port: Number(m[3]) }]
  })
}

/** Felix's settings on a node. */
export function felixConfig(model: ClusterModel, node: string): FelixConfig {
  const s = settings(model, node)
  const text = (key: string, fallback: string): string => {
    const v = s.get(key.toLowerCase())
    return v === undefined || v === null || v === '' ? fallback : String(v)
  }
  const isTrue = (key: string): boolean => /^(true|1|yes|enabled)$/i.test(text(key, 'false'))
  const action = <T extends string>(key: string, fallback: T): T => text(key, fallback).toUpperCase() as T
  const clusterRoutes = text('programClusterRoutes', '')
  return {
    chainInsertMode: text('chainInsertMode', 'insert').toLowerCase() as 'insert',
    filterAllowAction: action('iptablesFilterAllowAction', 'ACCEPT'),
    mangleAllowAction: action('iptablesMangleAllowAction', 'ACCEPT'),
    filterDenyAction: action('iptablesFilterDenyAction', 'DROP'),
    endpointToHostAction: action('defaultEndpointToHostAction', 'DROP'),
    disableConntrackInvalidCheck: isTrue('disableConntrackInvalidCheck'),
    serviceLoopPrevention: text('serviceLoopPrevention', 'Drop') as 'Drop',
    failsafeIn: ports(s.get('failsafeinboundhostports'), FAILSAFE_IN),
    failsafeOut: ports(s.get('failsafeoutboundhostports'), FAILSAFE_OUT),
    logPrefix: text('logPrefix', 'calico-packet'),
    natPortRange: text('natPortRange', '').replace(':', '-'),
    natOutgoingAddress: text('natOutgoingAddress', ''),
    natOutgoingInterfaceFilter: text('iptablesNATOutgoingInterfaceFilter', ''),
    vxlanPort: Number(text('vxlanPort', '4789')),
    vxlanVni: Number(text('vxlanVNI', '4096')),
    vxlanMtu: Number(text('vxlanMTU', '0')),
    ipipMtu: Number(text('ipipMTU', text('ipInIpMtu', '0'))),
    allowVxlanFromWorkloads: isTrue('allowVXLANPacketsFromWorkloads'),
    allowIpipFromWorkloads: isTrue('allowIPIPPacketsFromWorkloads'),
    interfacePrefix: text('interfacePrefix', 'cali').split(',')[0]!,
    bpfEnabled: isTrue('bpfEnabled'),
    wireguardEnabled: isTrue('wireguardEnabled'),
    nftablesMode: text('nftablesMode', 'Disabled'),
    externalNodes: ((v) => (Array.isArray(v) ? v.map(String) : []))(s.get('externalnodescidrlist')),
    programsClusterRoutes: clusterRoutes === '' ? null : clusterRoutes === 'Enabled',
  }
}
