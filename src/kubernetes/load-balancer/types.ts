/**
 * Who gives a Service of type LoadBalancer its address, and who answers for it.
 */

/** An address of a Service. */
export interface LoadBalancerAddress {
  readonly ip: string
  /** `namespace/name`. */
  readonly service: string
  /** MetalLB's pool; absent for a cloud's. */
  readonly pool?: string
  /**
   * `layer2`: a MetalLB speaker answers ARP. `bgp`: only BGP advertises the pool. `passthrough`: a cloud balancer hands
   * the packet to a node as it is (ipMode VIP). `proxy`: a cloud balancer opens its own connection to a NodePort.
   * `none`: nobody.
   */
  readonly by: 'layer2' | 'bgp' | 'passthrough' | 'proxy' | 'none'
}

/** An L2Advertisement as far as one pool is concerned. */
export interface Layer2Advertisement {
  readonly name: string
  readonly pools: readonly string[]
  /** Node names that its selectors match. */
  readonly nodes: readonly string[]
  /** Empty: all. */
  readonly interfaces: readonly string[]
}

/** The load balancers of a cluster. */
export interface LoadBalancerModel {
  readonly addresses: readonly LoadBalancerAddress[]
  readonly layer2: readonly Layer2Advertisement[]
}
