/**
 * Flannel's settings: net-conf.json, cni-conf.json, the flags of flanneld.
 *
 * Real thing: the ConfigMap kube-flannel-cfg (pkg/subnet/config.go ParseConfig, pkg/backend/vxlan/vxlan.go and its
 * siblings), flags of main.go. The Cluster object's `spec.cni.options` are the keys of net-conf.json and lie over the
 * ConfigMap's, key by key. Without any ConfigMap the manifest that flannel ships is assumed.
 * Not modelled, refused by name: backends udp, wireguard, ipsec, alloc, extension and the clouds'; IPv6.
 */
import type { Diagnostic, SourcePosition } from '../../diagnostics/diagnostic.ts'
import type { ClusterModel } from '../../kubernetes/types.ts'
import type { CniProgram } from '../driver.ts'
import { type DelegateConfig, readCniConf } from './cni-conf.ts'

type Json = Readonly<Record<string, unknown>>

/** Backends that can be played. */
export const FLANNEL_BACKENDS = ['vxlan', 'host-gw', 'ipip'] as const
/** The version whose rules are written. */
export const FLANNEL_VERSION = 'v0.28.9'

/** What a backend needs to know. */
export interface BackendConfig {
  readonly type: (typeof FLANNEL_BACKENDS)[number]
  readonly vni: number
  /** 0: the kernel's own default, 8472 */
  readonly port: number
  readonly learning: boolean
  readonly directRouting: boolean
  /** MTU of the external interface, or what Backend.MTU puts in its place. */
  readonly extMtu: number
}

/** Everything that the driver goes by. */
export interface FlannelConfig {
  readonly network: string
  readonly backend: BackendConfig
  /** --ip-masq */
  readonly ipMasq: boolean
  /** EnableNFTables: a table of its own instead of chains in iptables. */
  readonly nftables: boolean
  /** --iptables-forward-rules */
  readonly forwardRules: boolean
  /** Not --ip-masq-fully-random-disable */
  readonly randomFully: boolean
  readonly delegate: DelegateConfig
}

/** The settings, or what stands in their way. */
export interface FlannelSettings {
  readonly config: FlannelConfig | null
  readonly unmodelled: CniProgram['unmodelled']
  readonly diagnostics: readonly Diagnostic[]
}

const NET_CONF_KEYS = [
  ...['Network', 'SubnetLen', 'SubnetMin', 'SubnetMax', 'Backend', 'EnableIPv4', 'EnableNFTables'],
  ...['EnableIPv6', 'IPv6Network', 'IPv6SubnetLen', 'IPv6SubnetMin', 'IPv6SubnetMax'],
]
/** Keys of podwalk's own, for clusters without a DaemonSet to read them from. */
const OWN_KEYS = ['ipMasq', 'version']
const BACKEND_KEYS: Readonly<Record<(typeof FLANNEL_BACKENDS)[number], readonly string[]>> = {
  vxlan: ['Type', 'VNI', 'Port', 'MTU', 'GBP', 'Learning', 'DirectRouting'],
  'host-gw': ['Type'],
  ipip: ['Type', 'DirectRouting'],
}

class Reader {
  readonly diagnostics: Diagnostic[] = []
  private readonly at: SourcePosition

  constructor(at: SourcePosition) {
    this.at = at
  }

  say(severity: Diagnostic['severity'], code: string, message: string, hint?: string): void {
    this.diagnostics.push({ code, severity, message, ...(hint === undefined ? {} : { hint }), ...this.at })
  }

  integer(o: Json, key: string, low: number, high: number, fallback: number): number {
    const value = o[key] ?? fallback
    if (typeof value === 'number' && Number.isInteger(value) && value >= low && value <= high) return value
    const range = `expected a whole number from ${low} to ${high}`
    this.say('error', 'cni-option', `flannel: Backend.${key}: ${range}, found ${JSON.stringify(value)}`)
    return fallback
  }

  boolean(o: Json, key: string, fallback: boolean): boolean {
    const value = o[key] ?? fallback
    if (typeof value === 'boolean') return value
    this.say('error', 'cni-option', `flannel: ${key}: expected true or false, found ${JSON.stringify(value)}`)
    return fallback
  }

  unknown(o: Json, known: readonly string[], where: string): void {
    for (const key of Object.keys(o)) {
      if (known.includes(key)) continue
      this.say('warning', 'cni-option', `flannel${where} has no option "${key}"`, `known options: ${known.join(', ')}`)
    }
  }
}

/** The object with its keys as Go's encoding/json finds them: `Directrouting` is DirectRouting. */
function foldKeys(o: Json, known: readonly string[]): Json {
  const fold = (key: string): string => known.find((k) => k.toLowerCase() === key.toLowerCase()) ?? key
  return Object.fromEntries(Object.entries(o).map(([key, value]) => [fold(key), value]))
}

/** The words with which flanneld is started, and its image; null when no manifest has it. */
function flanneld(model: ClusterModel): { readonly words: readonly string[]; readonly version: string | null } | null {
  for (const pod of model.pods) {
    for (const c of pod.spec.containers) {
      const { command, args, image } = c as { command?: unknown; args?: unknown; image?: unknown }
      const words = [command, args].flatMap((list) => (Array.isArray(list) ? list.map(String) : []))
      if (!words.some((w) => /(^|\/)flanneld$/.test(w))) continue
      return { words, version: /:(v\d+\.\d+\.\d+)/.exec(String(image))?.[1] ?? null }
    }
  }
  return null
}

/** A Go boolean flag: `--x`, `--x=true`, `-x=false`. */
function flag(words: readonly string[], name: string, fallback: boolean): boolean {
  const word = words.find((w) => w.replace(/^--?/, '').split('=')[0] === name)
  return word === undefined ? fallback : !/=(false|f|0)$/i.test(word)
}

function readBackend(reader: Reader, b: Json, type: BackendConfig['type'], mtu: number): BackendConfig {
  reader.unknown(b, BACKEND_KEYS[type], ` backend ${type}`)
  const isVxlan = type === 'vxlan'
  return {
    type,
    vni: isVxlan ? reader.integer(b, 'VNI', 1, 0xffffff, 1) : 0,
    port: isVxlan ? reader.integer(b, 'Port', 0, 65535, 0) : 0,
    learning: isVxlan && reader.boolean(b, 'Learning', false),
    directRouting: type !== 'host-gw' && reader.boolean(b, 'DirectRouting', false),
    extMtu: isVxlan ? reader.integer(b, 'MTU', 576, 65535, mtu) : mtu,
  }
}

/** What the settings ask for and podwalk cannot play. */
function unmodelledPart(o: Json, type: string): string | null {
  if (!FLANNEL_BACKENDS.some((t) => t === type)) return `flannel backend "${type}"`
  if (o.EnableIPv4 === false) return 'flannel without IPv4'
  return (o.Backend as Json | undefined)?.GBP === true ? 'flannel backend "vxlan" with GBP' : null
}

/** Reads the cluster's flannel settings. */
export function readFlannelConfig(model: ClusterModel): FlannelSettings {
  const map = model.otherObjects.find(
    ({ object }) =>
      object.kind === 'ConfigMap' && 'net-conf.json' in ((object.data ?? {}) as Readonly<Record<string, unknown>>),
  )
  const reader = new Reader(map?.positionOf(['data', 'net-conf.json']) ?? { file: '', line: 0, col: 0 })
  const known = [...NET_CONF_KEYS, ...OWN_KEYS]
  const o = foldKeys(model.config.cni.options, known)
  reader.unknown(o, known, '')
  const given = o.Backend ?? (map === undefined ? { Type: 'vxlan' } : { Type: 'udp' })
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    const found = JSON.stringify(given)
    reader.say('error', 'cni-option', `flannel: Backend: expected an object, found ${found}`, 'for example Type: vxlan')
    return { config: null, unmodelled: undefined, diagnostics: reader.diagnostics }
  }
  const b = foldKeys(given as Json, BACKEND_KEYS.vxlan)
  const type = String(b.Type ?? '').toLowerCase()
  const missing = unmodelledPart(o, type)
  if (missing !== null) {
    const modelled = FLANNEL_BACKENDS.map((t) => `flannel backend ${t}`)
    return { config: null, unmodelled: { what: missing, modelled }, diagnostics: reader.diagnostics }
  }
  if (o.EnableIPv6 === true) reader.say('warning', 'unmodelled', 'flannel: EnableIPv6 is UNMODELLED: IPv4 only')
  const daemon = flanneld(model)
  const version = String(o.version ?? daemon?.version ?? FLANNEL_VERSION)
  if (!/^v?0\.28(\.|$)/.test(version)) {
    reader.say('warning', 'unmodelled', `flannel ${version} is UNMODELLED: the rules are those of ${FLANNEL_VERSION}`)
  }
  // A manifest's flanneld says what it does; without one the shipped manifest's flags count.
  const words = daemon?.words ?? ['--ip-masq']
  const delegate = readCniConf(map, reader.diagnostics)
  const config: FlannelConfig = {
    network: String(o.Network ?? model.config.clusterCidr),
    backend: readBackend(reader, b, type as BackendConfig['type'], model.config.mtu),
    ipMasq: reader.boolean(o, 'ipMasq', flag(words, 'ip-masq', false)),
    nftables: o.EnableNFTables === true,
    forwardRules: flag(words, 'iptables-forward-rules', true),
    randomFully: !flag(words, 'ip-masq-fully-random-disable', false),
    delegate,
  }
  return { config, unmodelled: undefined, diagnostics: reader.diagnostics }
}
