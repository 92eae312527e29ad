/**
 * The load balancer addresses of a cluster: MetalLB's when there are pools, else a cloud's.
 *
 * A cloud's addresses are given in the Services' status (as `kubectl get -o yaml` of a running cluster has them), or come
 * from `spec.loadBalancer.addresses` of the Cluster object, in order. ipMode Proxy, or `spec.loadBalancer.mode: proxy`, is
 * a balancer that opens its own connections to the NodePorts; ipMode VIP, the API's default, one that hands packets on
 * with their destination unchanged. Sources: KEP-1860 (ipMode), service-load-balancer docs.
 */
import { lastIpv4, parseIpv4Cidr } from '../../addr/cidr.ts'
import { formatIpv4, parseIpv4 } from '../../addr/ipv4.ts'
import type { Diagnostics } from '../../diagnostics/diagnostic.ts'
import { keyOf } from '../services.ts'
import type { InferredFact, Service, Sourced } from '../types.ts'
import { type MetalLbInput, runMetalLb } from './metallb.ts'
import type { LoadBalancerAddress, LoadBalancerModel } from './types.ts'

/** `spec.loadBalancer` of the Cluster object. */
export interface CloudSpec {
  addresses?: string
  mode?: 'passthrough' | 'proxy'
}

/** Gives every Service of type LoadBalancer its address. */
export function buildLoadBalancers(
  services: readonly Sourced<Service>[],
  metallb: MetalLbInput,
  cloud: CloudSpec | undefined,
  facts: InferredFact[],
  diagnostics: Diagnostics,
): LoadBalancerModel {
  if (metallb.pools.length > 0) return runMetalLb(services, metallb, diagnostics)
  const wanted = services.filter(({ object }) => object.spec.type === 'LoadBalancer')
  const taken = new Set(wanted.flatMap(({ object }) => object.status?.loadBalancer?.ingress?.map((i) => i.ip) ?? []))
  const free = [...freeAddresses(cloud?.addresses)].filter((ip) => !taken.has(ip))
  const addresses: LoadBalancerAddress[] = []
  for (const { object, source } of wanted) {
    const given = object.status?.loadBalancer?.ingress ?? []
    if (given.length === 0 && cloud?.addresses !== undefined) {
      const ip = free.shift()
      if (ip === undefined) {
        const message = `Service ${keyOf(object)} gets no address: spec.loadBalancer.addresses is used up`
        diagnostics.warning('no-load-balancer-address', source, message)
        continue
      }
      given.push({ ip, ipMode: cloud.mode === 'proxy' ? 'Proxy' : 'VIP' })
      object.status = { ...object.status, loadBalancer: { ingress: given } }
    }
    for (const { ip, ipMode } of given) {
      if (ip === undefined || parseIpv4(ip) === null) continue
      const isProxy = ipMode === 'Proxy' || cloud?.mode === 'proxy'
      if (addresses.length === 0 && cloud === undefined) {
        const how = isProxy ? 'that opens its own connections' : 'that hands packets to the nodes'
        const text = `inferred a cloud load balancer ${how} from ${source.file}:${source.line}`
        facts.push({ subject: 'loadBalancer', text, source })
      }
      addresses.push({ ip, service: keyOf(object), by: isProxy ? 'proxy' : 'passthrough' })
    }
  }
  return { addresses, layer2: [] }
}

function* freeAddresses(text: string | undefined): Generator<string> {
  if (text === undefined) return
  const cidr = parseIpv4Cidr(text)
  const [low, high] =
    cidr === null ? text.split('-').map((t) => parseIpv4(t.trim())) : [cidr.ip + 1, lastIpv4(cidr) - 1]
  if (low == null || high == null) return
  for (let ip = low >>> 0; ip <= high >>> 0; ip++) yield formatIpv4(ip | 0)
}
