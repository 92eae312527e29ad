/**
 * Calico's IPAM: blocks with an affinity to a host, addresses out of them.
 *
 * Real thing: libcalico-go/lib/ipam/ipam.go (AutoAssign, AssignIP), ipam_block.go. A host takes addresses from its blocks;
 * when they are full it claims the first free block behind the one that its name hashes to (go-rand.ts), at most
 * maxBlocksPerHost; after that it borrows from blocks of others, unless strictAffinity. Within a block the address that
 * has been free longest is next: in a fresh block in order, network and broadcast address included. Tunnel addresses come
 * first. Reserved addresses (IPReservation) are passed over.
 * Not modelled: releasing, empty blocks that are reclaimed from other hosts, IPAM of Windows, ipAddrsNoIpam, floating IPs.
 */
import { cidrContainsIpv4, formatCidr, type Ipv4Cidr, parseIpv4Cidr } from '../../addr/cidr.ts'
import { formatIpv4 } from '../../addr/ipv4.ts'
import type { IpamResult } from '../host-local.ts'
import { firstBlockIndex } from './go-rand.ts'
import type { CalicoPool } from './pools.ts'
import { parseCalicoSelector } from './selector.ts'

/** Settings of IPAMConfig (IPAMConfiguration). */
export interface CalicoIpamConfig {
  readonly strictAffinity: boolean
  /** 0 is the default, 20. */
  readonly maxBlocksPerHost: number
}

/** A host that asks for addresses. */
export interface IpamHost {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
}

/** A block of addresses. */
export interface CalicoBlock {
  readonly cidr: Ipv4Cidr
  /** The host it has an affinity to. */
  readonly node: string
  readonly pool: CalicoPool
}

/** An address that a host has out of another host's block. */
export interface BorrowedAddress {
  readonly ip: number
  readonly node: string
  readonly block: CalicoBlock
}

/** What IPAM gave out: what Felix and BIRD go by. */
export interface CalicoAddressing {
  readonly pools: readonly CalicoPool[]
  /** In the order in which they were claimed. */
  readonly blocks: readonly CalicoBlock[]
  readonly borrowed: readonly BorrowedAddress[]
  /** Tunnel addresses by node name. */
  readonly tunnels: { readonly ipip: ReadonlyMap<string, string>; readonly vxlan: ReadonlyMap<string, string> }
}

interface Block extends CalicoBlock {
  /** Ordinals in the order in which they were taken last; only the taken ones are remembered. */
  readonly taken: Set<number>
  /** No ordinal below it is free. */
  firstFree: number
}

const DEFAULT_MAX_BLOCKS = 20

/** The allocator of a cluster. */
export class CalicoIpam {
  private readonly pools: readonly CalicoPool[]
  private readonly reserved: readonly Ipv4Cidr[]
  private readonly config: CalicoIpamConfig
  private readonly blocks = new Map<string, Block>()
  private readonly ofHost = new Map<string, Block[]>()
  private readonly borrowed: BorrowedAddress[] = []
  private readonly firstIndex = new Map<string, number>()

  constructor(pools: readonly CalicoPool[], reserved: readonly string[], config: CalicoIpamConfig) {
    this.pools = pools
    this.reserved = reserved.map(parseIpv4Cidr).filter((c) => c !== null)
    this.config = config
  }

  /** What was given out so far. */
  addressing(tunnels: CalicoAddressing['tunnels']): CalicoAddressing {
    return { pools: this.pools, blocks: [...this.blocks.values()], borrowed: this.borrowed, tunnels }
  }

  /** AssignIP: a certain address. */
  reserve(host: IpamHost, ip: number): IpamResult {
    const pool = this.pools.find((p) => !p.disabled && cidrContainsIpv4(p.cidr, ip))
    if (pool === undefined) return { error: `The provided IP address ${formatIpv4(ip)} is not in a configured pool` }
    const base = ip & (pool.blockSize === 0 ? 0 : -1 << (32 - pool.blockSize))
    const block = this.blocks.get(keyOf(base, pool.blockSize)) ?? this.claim(host, pool, base)
    const ordinal = (ip - base) >>> 0
    if (block.taken.has(ordinal)) return { error: `Address already assigned in block: ${formatIpv4(ip)}` }
    return { ip: this.take(host, block, ordinal) }
  }

  /**
   * AutoAssign of one address.
   * @param wanted names or CIDRs of pools (annotation ipv4pools); null for any that fits
   */
  allocate(
    host: IpamHost,
    use: 'Workload' | 'Tunnel',
    wanted: readonly string[] | null,
    namespaceLabels: ReadonlyMap<string, string> | null,
    fits: (pool: CalicoPool) => boolean = () => true,
  ): IpamResult {
    const pools = this.pools.filter((p) => fits(p) && this.isUsable(p, host, use, wanted, namespaceLabels))
    if (pools.length === 0) return { error: `no configured Calico pools for node ${host.name}` }
    const own = this.ofHost.get(host.name) ?? []
    for (const block of own) {
      if (!pools.includes(block.pool)) continue
      const ordinal = this.free(block)
      if (ordinal >= 0) return { ip: this.take(host, block, ordinal) }
    }
    const max = this.config.maxBlocksPerHost === 0 ? DEFAULT_MAX_BLOCKS : this.config.maxBlocksPerHost
    if (own.length < max) {
      for (const pool of pools) {
        for (const base of this.walk(host, pool)) {
          if (this.blocks.has(keyOf(base, pool.blockSize))) continue
          const block = this.claim(host, pool, base)
          const ordinal = this.free(block)
          if (ordinal >= 0) return { ip: this.take(host, block, ordinal) }
        }
      }
    }
    if (!this.config.strictAffinity) {
      for (const pool of pools) {
        for (const base of this.walk(host, pool)) {
          const block = this.blocks.get(keyOf(base, pool.blockSize))
          const ordinal = block === undefined ? -1 : this.free(block)
          if (ordinal >= 0) return { ip: this.take(host, block!, ordinal) }
        }
      }
    }
    const why = this.config.strictAffinity
      ? 'No more free affine blocks and strict affinity enabled'
      : `No IPs available in pools: [${pools.map((p) => formatCidr(p.cidr)).join(' ')}]`
    return { error: `failed to request IPv4 addresses: Assigned 0 out of 1 requested IPv4 addresses; ${why}` }
  }

  private isUsable(
    p: CalicoPool,
    host: IpamHost,
    use: string,
    wanted: readonly string[] | null,
    namespaceLabels: ReadonlyMap<string, string> | null,
  ): boolean {
    if (p.disabled || !p.allowedUses.includes(use)) return false
    // pools that are asked for by name are used whatever their selectors say
    if (wanted !== null) return wanted.includes(p.name) || wanted.includes(formatCidr(p.cidr))
    if (!parseCalicoSelector(p.nodeSelector).matches(new Map(Object.entries(host.labels)))) return false
    return (
      p.namespaceSelector === '' ||
      namespaceLabels === null ||
      parseCalicoSelector(p.namespaceSelector).matches(namespaceLabels)
    )
  }

  /** randomBlockGenerator: from the host's block on, around the pool. */
  private *walk(host: IpamHost, pool: CalicoPool): Generator<number> {
    const count = 2 ** (pool.blockSize - pool.cidr.prefixLength)
    const key = `${host.name} ${count}`
    let first = this.firstIndex.get(key)
    if (first === undefined) {
      first = firstBlockIndex(host.name, count)
      this.firstIndex.set(key, first)
    }
    const size = 2 ** (32 - pool.blockSize)
    for (let i = 0; i < count; i++) yield (pool.cidr.ip + ((first + i) % count) * size) | 0
  }

  private claim(host: IpamHost, pool: CalicoPool, base: number): Block {
    const cidr = { family: 4 as const, ip: base, prefixLength: pool.blockSize }
    const block: Block = { cidr, node: host.name, pool, taken: new Set(), firstFree: 0 }
    this.blocks.set(keyOf(base, pool.blockSize), block)
    const own = this.ofHost.get(host.name) ?? []
    own.push(block)
    // affinities are listed by the name of their object
    own.sort((a, b) => (formatCidr(a.cidr).replace(/[./]/g, '-') < formatCidr(b.cidr).replace(/[./]/g, '-') ? -1 : 1))
    this.ofHost.set(host.name, own)
    return block
  }

  private free(block: Block): number {
    const size = 2 ** (32 - block.cidr.prefixLength)
    for (let i = block.firstFree; i < size; i++) {
      if (block.taken.has(i)) {
        if (i === block.firstFree) block.firstFree++
        continue
      }
      const ip = (block.cidr.ip + i) | 0
      if (this.reserved.length === 0 || !this.reserved.some((c) => cidrContainsIpv4(c, ip))) return i
    }
    return -1
  }

  private take(host: IpamHost, block: Block, ordinal: number): number {
    block.taken.add(ordinal)
    const ip = (block.cidr.ip + ordinal) | 0
    if (block.node !== host.name) this.borrowed.push({ ip, node: host.name, block })
    return ip
  }
}

function keyOf(base: number, prefixLength: number): string {
  return `${base}/${prefixLength}`
}
