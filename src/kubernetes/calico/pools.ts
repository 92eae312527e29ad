/**
 * Calico's IP pools: from IPPool objects, from the operator's Installation, or from calico-node's environment.
 *
 * Real thing: api/pkg/apis/projectcalico/v3/ippool.go (defaults: blockSize 26, nodeSelector all(), ipipMode and vxlanMode
 * Never), the operator's Installation (calicoNetwork.ipPools), calico-node's start-up (CALICO_IPV4POOL_CIDR, _IPIP,
 * _VXLAN, _BLOCK_SIZE, _NAT_OUTGOING, _NODE_SELECTOR: the pool default-ipv4-ippool). Without any of them the pool is the
 * cluster's pod network with IPIP, as in the manifest calico.yaml. `spec.cni.options` may say ipPools (a list of IPPool
 * specs), or encapsulation, blockSize and natOutgoing, which lie over what was found.
 * Not modelled: IPv6 pools (named in a warning), assignmentMode Manual beside skipping the pool.
 */
import { cidrsOverlap, formatCidr, type Ipv4Cidr, isNetwork, parseCidr, parseIpv4Cidr } from '../../addr/cidr.ts'
import type { Diagnostics, SourcePosition } from '../../diagnostics/diagnostic.ts'
import { NO_POSITION } from '../../diagnostics/diagnostic.ts'
import { groupOf } from '../kinds.ts'
import type { LoadedObject } from '../types.ts'
import { parseCalicoSelector, SelectorError } from './selector.ts'

type Json = Readonly<Record<string, unknown>>

/** When packets between nodes are encapsulated. */
export type EncapMode = 'Never' | 'Always' | 'CrossSubnet'

/** An IPv4 pool. */
export interface CalicoPool {
  readonly name: string
  readonly cidr: Ipv4Cidr
  /** Prefix length of a block. */
  readonly blockSize: number
  readonly ipip: EncapMode
  readonly vxlan: EncapMode
  readonly natOutgoing: boolean
  readonly disabled: boolean
  readonly disableBgpExport: boolean
  readonly nodeSelector: string
  readonly namespaceSelector: string
  readonly allowedUses: readonly string[]
  readonly source: SourcePosition
}

/** calico-node's own pool when nothing else is said. */
export const DEFAULT_POOL_NAME = 'default-ipv4-ippool'
const DEFAULT_BLOCK_SIZE = 26
const GROUPS = ['crd.projectcalico.org', 'projectcalico.org']

/** Objects of a Calico kind, of either API group; names are unique, the first one counts. */
export function calicoObjects(objects: readonly LoadedObject[], kind: string): LoadedObject[] {
  const seen = new Set<string>()
  return objects.filter(({ object }) => {
    if (object.kind !== kind || !GROUPS.includes(groupOf(object.apiVersion))) return false
    const key = `${object.metadata.namespace ?? ''}/${object.metadata.name}`
    if (seen.has(key)) return false
    seen.add(key)
    return true
  })
}

/** Reads the pools; sorted by name, as the datastore lists them. */
export function readCalicoPools(
  objects: readonly LoadedObject[],
  options: Json,
  clusterCidr: Ipv4Cidr,
  diagnostics: Diagnostics,
): CalicoPool[] {
  const found = poolsOf(objects, options, clusterCidr, diagnostics)
  const pools = found.map((p) => overlay(p, options)).sort((a, b) => (a.name < b.name ? -1 : 1))
  for (const [i, a] of pools.entries()) {
    for (const b of pools.slice(i + 1)) {
      if (!cidrsOverlap(a.cidr, b.cidr)) continue
      const message = `IPPool(${b.name}) CIDR ${formatCidr(b.cidr)} overlaps with IPPool(${a.name}) CIDR ${formatCidr(a.cidr)}`
      diagnostics.error('overlapping-cidrs', b.source, message)
    }
  }
  return pools
}

function poolsOf(
  objects: readonly LoadedObject[],
  options: Json,
  clusterCidr: Ipv4Cidr,
  diagnostics: Diagnostics,
): CalicoPool[] {
  const reader = new PoolReader(diagnostics)
  for (const o of calicoObjects(objects, 'IPPool')) {
    reader.read(o.object.metadata.name, (o.object.spec ?? {}) as Json, (field) =>
      o.positionOf(field === '' ? ['spec'] : ['spec', field]),
    )
  }
  if (reader.count > 0) return reader.pools
  const installation = objects.find(
    ({ object }) => groupOf(object.apiVersion) === 'operator.tigera.io' && object.kind === 'Installation',
  )
  if (installation !== undefined) {
    const network = ((installation.object.spec as Json | undefined)?.calicoNetwork ?? {}) as Json
    const given = Array.isArray(network.ipPools) ? (network.ipPools as Json[]) : [{}]
    const at = installation.positionOf(['spec', 'calicoNetwork'])
    given.forEach((p, i) => {
      const cidr = p.cidr ?? formatCidr(clusterCidr)
      const name = String(p.name ?? (i === 0 ? DEFAULT_POOL_NAME : `${String(cidr).replace(/[./]/g, '-')}`))
      reader.read(
        name,
        { ...p, cidr, ...encapsulation(String(p.encapsulation ?? 'IPIP')), natOutgoing: p.natOutgoing !== 'Disabled' },
        () => at,
      )
    })
    return reader.pools
  }
  if (Array.isArray(options.ipPools)) {
    ;(options.ipPools as Json[]).forEach((p, i) => {
      reader.read(String(p.name ?? (i === 0 ? DEFAULT_POOL_NAME : `pool-${i + 1}`)), p, () => NO_POSITION)
    })
    return reader.pools
  }
  const env = (name: string): string | undefined => {
    const value = options[`CALICO_IPV4POOL_${name}`]
    return value === undefined ? undefined : String(value)
  }
  const isManifest = Object.keys(options).some((key) => key.startsWith('CALICO_IPV4POOL_') || key === 'calico_backend')
  const spec = {
    cidr: env('CIDR') ?? formatCidr(clusterCidr),
    ipipMode: modeOf(env('IPIP') ?? (isManifest ? 'Never' : 'Always')),
    vxlanMode: modeOf(env('VXLAN') ?? 'Never'),
    natOutgoing: env('NAT_OUTGOING') !== 'false',
    blockSize: Number(env('BLOCK_SIZE') ?? DEFAULT_BLOCK_SIZE),
    nodeSelector: env('NODE_SELECTOR') ?? 'all()',
  }
  reader.read(DEFAULT_POOL_NAME, spec, () => NO_POSITION)
  return reader.pools
}

/** The spellings that calico-node takes: always, cross-subnet, off ... */
function modeOf(text: string): EncapMode {
  const word = text.toLowerCase().replace('-', '')
  if (word === 'crosssubnet') return 'CrossSubnet'
  return word === 'always' ? 'Always' : 'Never'
}

/** The operator's word for both modes. */
export function encapsulation(text: string): { ipipMode: EncapMode; vxlanMode: EncapMode } {
  const mode: EncapMode = text.endsWith('CrossSubnet') ? 'CrossSubnet' : 'Always'
  return { ipipMode: text.startsWith('IPIP') ? mode : 'Never', vxlanMode: text.startsWith('VXLAN') ? mode : 'Never' }
}

function overlay(pool: CalicoPool, options: Json): CalicoPool {
  const { ipipMode, vxlanMode } = encapsulation(String(options.encapsulation ?? ''))
  return {
    ...pool,
    ...(options.encapsulation !== undefined && { ipip: ipipMode, vxlan: vxlanMode }),
    ...(options.blockSize !== undefined && { blockSize: Number(options.blockSize) }),
    ...(options.natOutgoing !== undefined && { natOutgoing: options.natOutgoing === true }),
  }
}

class PoolReader {
  readonly pools: CalicoPool[] = []
  /** Pools seen, IPv6 ones and bad ones too. */
  count = 0
  private readonly diagnostics: Diagnostics

  constructor(diagnostics: Diagnostics) {
    this.diagnostics = diagnostics
  }

  read(name: string, spec: Json, at: (field: string) => SourcePosition): void {
    this.count++
    const error = (field: string, message: string, hint?: string): void =>
      this.diagnostics.error('bad-ippool', at(field), `IPPool ${name}: ${message}`, { path: `spec.${field}`, hint })
    const text = String(spec.cidr ?? '')
    const cidr = parseIpv4Cidr(text)
    if (cidr === null) {
      if (parseCidr(text)?.family === 6) {
        this.diagnostics.warning(
          'ipv6-not-modelled',
          at('cidr'),
          `IPPool ${name}: ${text} is IPv6: not modelled, ignored`,
        )
      } else error('cidr', `expected an IPv4 CIDR, found ${JSON.stringify(spec.cidr)}`)
      return
    }
    if (!isNetwork(cidr)) error('cidr', `expected a network, found host bits set in ${text}`)
    const blockSize = Number(spec.blockSize ?? DEFAULT_BLOCK_SIZE)
    if (!Number.isInteger(blockSize) || blockSize < 20 || blockSize > 32) {
      error('blockSize', `expected a prefix length from 20 to 32, found ${JSON.stringify(spec.blockSize)}`)
      return
    }
    if (cidr.prefixLength > blockSize) {
      error('cidr', `expected a network of at least one block (/${blockSize}), found ${text}`)
      return
    }
    const ipip = this.mode(spec.ipipMode, 'ipipMode', error)
    const vxlan = this.mode(spec.vxlanMode, 'vxlanMode', error)
    if (ipip !== 'Never' && vxlan !== 'Never')
      error('ipipMode', 'expected ipipMode or vxlanMode, found both', 'set one of them to Never')
    for (const field of ['nodeSelector', 'namespaceSelector']) {
      try {
        parseCalicoSelector(String(spec[field] ?? ''))
      } catch (e) {
        if (!(e instanceof SelectorError)) throw e
        error(field, `bad selector ${JSON.stringify(spec[field])}: ${e.message}`)
        return
      }
    }
    this.pools.push({
      ...{ name, cidr, blockSize, ipip, vxlan },
      natOutgoing: spec.natOutgoing === true,
      disabled: spec.disabled === true || spec.assignmentMode === 'Manual',
      disableBgpExport: spec.disableBGPExport === true,
      nodeSelector: String(spec.nodeSelector ?? 'all()'),
      namespaceSelector: String(spec.namespaceSelector ?? ''),
      allowedUses: Array.isArray(spec.allowedUses) ? spec.allowedUses.map(String) : ['Workload', 'Tunnel'],
      source: at(''),
    })
  }

  private mode(value: unknown, field: string, error: (field: string, message: string) => void): EncapMode {
    if (value === undefined || value === null || value === '') return 'Never'
    if (value === 'Never' || value === 'Always' || value === 'CrossSubnet') return value
    error(field, `expected Always, CrossSubnet or Never, found ${JSON.stringify(value)}`)
    return 'Never'
  }
}
