/**
 * cni-conf.json of the ConfigMap: what flannel's CNI plugin delegates to the bridge plugin, and whether portmap follows.
 *
 * Real thing: 10-flannel.conflist; flannel-io/cni-plugin (flannel_linux.go doCmdAdd) fills in ipMasq, mtu, isGateway and
 * the ipam part of the delegate. Not modelled: a delegate of another type than bridge, vlan and promiscMode, plugins
 * other than portmap behind it; each is named in a warning.
 */
import type { Diagnostic } from '../../diagnostics/diagnostic.ts'
import type { LoadedObject } from '../../kubernetes/types.ts'

type Json = Readonly<Record<string, unknown>>

/** What the bridge plugin and portmap are told. */
export interface DelegateConfig {
  /** Name of the network: part of the names of chains. */
  readonly name: string
  readonly bridge: string
  readonly hairpinMode: boolean
  readonly isDefaultGateway: boolean
  readonly portmap: boolean
}

/** As the manifest that flannel ships has it. */
const SHIPPED: DelegateConfig = {
  name: 'cbr0',
  bridge: 'cni0',
  hairpinMode: true,
  isDefaultGateway: true,
  portmap: true,
}
const DELEGATE_KEYS = ['type', 'bridge', 'hairpinMode', 'isDefaultGateway', 'isGateway', 'forceAddress']

function parse(text: string): Json | null {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : null
  } catch {
    return null
  }
}

/** Reads `cni-conf.json`; without it the shipped one counts. */
export function readCniConf(map: LoadedObject | undefined, diagnostics: Diagnostic[]): DelegateConfig {
  const text = (map?.object.data as Json | undefined)?.['cni-conf.json']
  if (map === undefined || typeof text !== 'string') return SHIPPED
  const at = map.positionOf(['data', 'cni-conf.json'])
  const unmodelled = (what: string): void => {
    diagnostics.push({ code: 'unmodelled', severity: 'warning', message: `flannel: ${what} is UNMODELLED`, ...at })
  }
  const conf = parse(text)
  const plugins = conf === null ? null : Array.isArray(conf.plugins) ? (conf.plugins as Json[]) : [conf]
  const flannel = plugins?.find((p) => p.type === 'flannel')
  if (conf === null || plugins === null || flannel === undefined) {
    diagnostics.push({
      code: 'embedded-configuration',
      severity: 'error',
      message: 'cni-conf.json: expected a list of plugins with one of type flannel',
      hint: 'without it the kubelet has no network for pods',
      ...at,
    })
    return SHIPPED
  }
  const delegate = (flannel.delegate ?? {}) as Json
  for (const key of Object.keys(delegate)) if (!DELEGATE_KEYS.includes(key)) unmodelled(`delegate.${key}`)
  if ((delegate.type ?? 'bridge') !== 'bridge') unmodelled(`delegate of type ${String(delegate.type)}`)
  for (const { type } of plugins) if (type !== 'flannel' && type !== 'portmap') unmodelled(`plugin ${String(type)}`)
  return {
    name: String(conf.name ?? ''),
    bridge: String(delegate.bridge ?? SHIPPED.bridge),
    hairpinMode: delegate.hairpinMode === true,
    isDefaultGateway: delegate.isDefaultGateway === true,
    portmap: plugins.some((p) => p.type === 'portmap'),
  }
}
