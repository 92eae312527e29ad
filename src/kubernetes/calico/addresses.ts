/**
 * The addresses of a Calico cluster: tunnels first, then the addresses that pods have or ask for, then the others.
 *
 * Real thing: calico-node's start-up allocates tunnel addresses (node/pkg/allocateip) before its node has pods; the CNI
 * plugin calico-ipam then serves ADDs in order, and reads the annotations ipv4pools (pod, then namespace) and ipAddrs.
 */

import type { Ipv4Cidr } from '../../addr/cidr.ts'
import { formatIpv4, parseIpv4 } from '../../addr/ipv4.ts'
import type { Diagnostics } from '../../diagnostics/diagnostic.ts'
import type { IpamResult } from '../host-local.ts'
import type { LoadedObject, NodeModel, StringMap } from '../types.ts'
import { type CalicoAddressing, CalicoIpam } from './ipam.ts'
import { calicoObjects, readCalicoPools } from './pools.ts'

type Json = Readonly<Record<string, unknown>>

/** What the allocator must know of a pod. */
export interface AddressedPod {
  readonly namespace: string
  readonly annotations: StringMap
}

const ANNOTATION = 'cni.projectcalico.org/'

/** The IPAM of a Calico cluster. */
export class CalicoAddresses {
  readonly hint = 'a larger pool, or smaller blocks (blockSize) of which each node needs fewer'
  private readonly ipam: CalicoIpam
  private readonly tunnels = { ipip: new Map<string, string>(), vxlan: new Map<string, string>() }
  private readonly namespaces: ReadonlyMap<string, { labels: StringMap; annotations: StringMap }>

  constructor(
    nodes: readonly NodeModel[],
    namespaces: ReadonlyMap<string, { labels: StringMap; annotations: StringMap }>,
    objects: readonly LoadedObject[],
    options: Json,
    clusterCidr: Ipv4Cidr,
    diagnostics: Diagnostics,
  ) {
    this.namespaces = namespaces
    const pools = readCalicoPools(objects, options, clusterCidr, diagnostics)
    const reserved = calicoObjects(objects, 'IPReservation').flatMap((o) => {
      const cidrs = (o.object.spec as Json | undefined)?.reservedCIDRs
      return Array.isArray(cidrs) ? cidrs.map((c) => (String(c).includes('/') ? String(c) : `${c}/32`)) : []
    })
    const config = [...calicoObjects(objects, 'IPAMConfiguration'), ...calicoObjects(objects, 'IPAMConfig')][0]
    const spec = (config?.object.spec ?? {}) as Json
    this.ipam = new CalicoIpam(pools, reserved, {
      strictAffinity: spec.strictAffinity === true || options.strictAffinity === true,
      maxBlocksPerHost: Number(spec.maxBlocksPerHost ?? 0),
    })
    for (const kind of ['ipip', 'vxlan'] as const) {
      if (!pools.some((p) => p[kind] !== 'Never' && !p.disabled)) continue
      for (const node of nodes) {
        const result = this.ipam.allocate(node, 'Tunnel', null, null, (p) => p[kind] !== 'Never')
        if (result.error === undefined) this.tunnels[kind].set(node.name, formatIpv4(result.ip))
        else
          diagnostics.warning(
            'no-tunnel-address',
            node.source,
            `node ${node.name}: no ${kind} tunnel address: ${result.error}`,
          )
      }
    }
  }

  /** An address that the pod already has. */
  reserve(node: NodeModel, ip: number): IpamResult {
    return this.ipam.reserve(node, ip)
  }

  /** An ADD. */
  allocate(node: NodeModel, pod: AddressedPod): IpamResult {
    const fixed = jsonList(pod.annotations[`${ANNOTATION}ipAddrs`])
    if (fixed.length > 0) {
      const ip = parseIpv4(fixed[0]!)
      return ip === null ? { error: `cannot parse ipAddrs ${JSON.stringify(fixed)}` } : this.ipam.reserve(node, ip)
    }
    const namespace = this.namespaces.get(pod.namespace)
    const given = pod.annotations[`${ANNOTATION}ipv4pools`] ?? namespace?.annotations[`${ANNOTATION}ipv4pools`]
    const wanted = jsonList(given)
    const labels = new Map(Object.entries(namespace?.labels ?? {}))
    return this.ipam.allocate(node, 'Workload', wanted.length === 0 ? null : wanted, labels)
  }

  /** Where addresses come from, for messages. */
  home(): string {
    return 'a Calico pool that is free'
  }

  /** What was given out. */
  addressing(): CalicoAddressing {
    return this.ipam.addressing(this.tunnels)
  }
}

function jsonList(text: string | undefined): string[] {
  if (text === undefined) return []
  try {
    const value: unknown = JSON.parse(text)
    return Array.isArray(value) ? value.map(String) : []
  } catch {
    return []
  }
}
