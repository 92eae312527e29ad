/**
 * host-local IPAM, allocating as the reference plugin does.
 *
 * One range per node: the pod CIDR, from its first usable address to the one before broadcast. The gateway is the first
 * address and is skipped. Allocation is round robin: it starts behind the address reserved last and wraps, so a released
 * address comes back only after the cursor has been around. The error texts are the plugin's.
 *
 * Not modelled: several ranges per set, IPv6 ranges, the files under /var/lib/cni/networks.
 * Sources: containernetworking/plugins plugins/ipam/host-local/backend/allocator/{allocator,range}.go.
 */
import type { Ipv4Cidr } from '../addr/cidr.ts'
import { formatCidr, networkOf } from '../addr/cidr.ts'
import { formatIpv4, ipv4Mask } from '../addr/ipv4.ts'

/** An allocation: the address, or the plugin's error text. */
export type IpamResult =
  | { readonly ip: number; readonly error?: never }
  | { readonly ip?: never; readonly error: string }

/** The allocator of one node. */
export class HostLocalRange {
  /** The address of the bridge. */
  readonly gateway: number
  private readonly first: number
  private readonly size: number
  private readonly subnet: Ipv4Cidr
  private readonly owners = new Map<number, string>()
  private lastReserved: number | null = null

  /** @param cidr the node's pod CIDR, at most a /30 as the plugin demands */
  constructor(cidr: Ipv4Cidr) {
    this.subnet = networkOf(cidr)
    const total = 2 ** (32 - cidr.prefixLength)
    this.first = (this.subnet.ip + 1) | 0
    this.size = Math.max(0, total - 2)
    this.gateway = this.first
  }

  /** Why the plugin refuses this range, or null. */
  static invalidRange(cidr: Ipv4Cidr): string | null {
    if (cidr.prefixLength > 30) return `invalid range set 0: Network ${formatCidr(cidr)} too small to allocate from`
    if ((cidr.ip & ipv4Mask(cidr.prefixLength)) !== cidr.ip) {
      const length = cidr.prefixLength
      const network = formatIpv4(networkOf(cidr).ip)
      return `invalid range set 0: Network has host bits set. For a subnet mask of length ${length} the network address is ${network}`
    }
    return null
  }

  /** Allocates the next free address for `id`. */
  allocate(id: string): IpamResult {
    let index = this.lastReserved === null ? 0 : (this.lastReserved - this.first + 1) >>> 0
    for (let tried = 0; tried < this.size; tried++, index++) {
      const ip = (this.first + (index % this.size)) | 0
      if (ip === this.gateway || this.owners.has(ip)) continue
      this.owners.set(ip, id)
      this.lastReserved = ip
      return { ip }
    }
    return { error: `failed to allocate for range 0: no IP addresses available in range set: ${this.text()}` }
  }

  /** Reserves a requested address for `id`; the cursor stays, as after a restart with these addresses in use. */
  reserve(ip: number, id: string): IpamResult {
    if (!this.contains(ip)) return { error: `failed to allocate all requested IPs: ${formatIpv4(ip)}` }
    if (ip === this.gateway) {
      return { error: `failed to allocate for range 0: requested ip ${formatIpv4(ip)} is subnet's gateway` }
    }
    if (this.owners.has(ip)) {
      const what = `requested IP address ${formatIpv4(ip)} is not available in range set ${this.text()}`
      return { error: `failed to allocate for range 0: ${what}` }
    }
    this.owners.set(ip, id)
    return { ip }
  }

  /** Gives an address back. */
  release(ip: number): void {
    this.owners.delete(ip)
  }

  /** True for the addresses between the range's start and end. */
  contains(ip: number): boolean {
    return (ip - this.first) >>> 0 < this.size
  }

  private text(): string {
    return `${formatIpv4(this.first)}-${formatIpv4((this.first + this.size - 1) | 0)}`
  }
}
