/**
 * IPv6 addresses as integers: one table per world gives every address a number.
 *
 * An address in the kernel is 16 bytes; here it is the int32 that this table gave it when it was first seen, so that
 * sockets, neighbours, tuples and route caches hold and compare one number, as IPv4's do, and nothing is allocated per
 * packet. `::` is 0: "none" and "any" read as in IPv4. Equal ids are equal addresses. Ids are never given back: a world
 * that sees a million addresses keeps 28 bytes for each.
 *
 * Linux: net/ipv6/addrconf_core.c (__ipv6_addr_type), include/net/ipv6.h (ipv6_prefix_equal, ipv6_addr_diff).
 */
import { formatIpv6, type Ipv6Words, parseIpv6 } from '../../addr/ipv6.ts'

/** Address families. */
export const AF_INET = 2
export const AF_INET6 = 10

/** `::` */
export const IN6ADDR_ANY = 0

/** __ipv6_addr_type bits, include/net/ipv6.h. */
export const IPV6_ADDR_ANY = 0x0000
export const IPV6_ADDR_UNICAST = 0x0001
export const IPV6_ADDR_MULTICAST = 0x0002
export const IPV6_ADDR_LOOPBACK = 0x0010
export const IPV6_ADDR_LINKLOCAL = 0x0020
export const IPV6_ADDR_SITELOCAL = 0x0040
export const IPV6_ADDR_COMPATV4 = 0x0080
export const IPV6_ADDR_MAPPED = 0x1000
/** Scopes (IPV6_ADDR_SCOPE_TYPE), RFC 4291 2.7. */
export const IPV6_ADDR_SCOPE_NODELOCAL = 0x01
export const IPV6_ADDR_SCOPE_LINKLOCAL = 0x02
export const IPV6_ADDR_SCOPE_SITELOCAL = 0x05
export const IPV6_ADDR_SCOPE_GLOBAL = 0x0e

const INITIAL = 1024

/** The addresses that one world has seen. */
export class In6Table {
  /** Four words per id, network order. */
  words = new Int32Array(INITIAL * 4)
  private kinds = new Int32Array(INITIAL)
  /** Open addressing: id + 1, 0 free. */
  private slots = new Int32Array(INITIAL * 2)
  private count = 0

  constructor() {
    this.intern(0, 0, 0, 0)
  }

  /** Addresses known. */
  get size(): number {
    return this.count
  }

  /** The id of an address, a new one when it was not seen before. */
  intern(a: number, b: number, c: number, d: number): number {
    const i = this.probe(a, b, c, d)
    const known = this.slots[i]!
    return known !== 0 ? known - 1 : this.insert(i, a, b, c, d)
  }

  /** The id of an address, -1 when it was never seen. */
  find(a: number, b: number, c: number, d: number): number {
    return this.slots[this.probe(a, b, c, d)]! - 1
  }

  private probe(a: number, b: number, c: number, d: number): number {
    const mask = this.slots.length - 1
    let h = Math.imul(a, 0x9e3779b1) ^ Math.imul(b, 0x85ebca6b) ^ Math.imul(c, 0xc2b2ae35) ^ Math.imul(d, 0x27d4eb2f)
    h ^= h >>> 15
    let i = h & mask
    const words = this.words
    for (;;) {
      const e = this.slots[i]!
      if (e === 0) return i
      const at = (e - 1) << 2
      if (words[at + 3] === d && words[at] === a && words[at + 1] === b && words[at + 2] === c) return i
      i = (i + 1) & mask
    }
  }

  private insert(slot: number, a: number, b: number, c: number, d: number): number {
    const id = this.count++
    if (id * 4 === this.words.length) this.grow()
    const at = id << 2
    this.words[at] = a
    this.words[at + 1] = b
    this.words[at + 2] = c
    this.words[at + 3] = d
    this.kinds[id] = addrType(a, b, c, d)
    this.slots[slot] = id + 1
    if (this.count * 2 > this.slots.length) this.rehash()
    return id
  }

  private grow(): void {
    const words = new Int32Array(this.words.length * 2)
    words.set(this.words)
    this.words = words
    const kinds = new Int32Array(this.kinds.length * 2)
    kinds.set(this.kinds)
    this.kinds = kinds
  }

  private rehash(): void {
    this.slots = new Int32Array(this.slots.length * 2)
    const w = this.words
    for (let id = 0; id < this.count; id++) {
      const at = id << 2
      this.slots[this.probe(w[at]!, w[at + 1]!, w[at + 2]!, w[at + 3]!)] = id + 1
    }
  }

  /** The address in a header. */
  read(view: DataView, off: number): number {
    return this.intern(view.getInt32(off), view.getInt32(off + 4), view.getInt32(off + 8), view.getInt32(off + 12))
  }

  /** Puts the address into a header. */
  write(view: DataView, off: number, id: number): void {
    const at = id << 2
    const w = this.words
    view.setInt32(off, w[at]!)
    view.setInt32(off + 4, w[at + 1]!)
    view.setInt32(off + 8, w[at + 2]!)
    view.setInt32(off + 12, w[at + 3]!)
  }

  /** One of the four words, most significant first. */
  word(id: number, i: number): number {
    return this.words[(id << 2) + i]!
  }

  /** ipv6_addr_type with the scope of multicast addresses in bits 16 and up (__ipv6_addr_type). */
  type(id: number): number {
    return this.kinds[id]!
  }

  /** The scope half of __ipv6_addr_type: IPV6_ADDR_SCOPE_*. */
  scope(id: number): number {
    return this.kinds[id]! >>> 16
  }

  /** True for ff00::/8. */
  isMulticast(id: number): boolean {
    return (this.kinds[id]! & IPV6_ADDR_MULTICAST) !== 0
  }

  /** ipv6_prefix_equal */
  prefixEqual(a: number, b: number, prefixLength: number): boolean {
    if (a === b) return true
    return this.commonPrefix(a, b) >= prefixLength
  }

  /** ipv6_addr_diff: number of equal leading bits, 128 for equal addresses. */
  commonPrefix(a: number, b: number): number {
    const w = this.words
    for (let i = 0; i < 4; i++) {
      const x = w[(a << 2) + i]! ^ w[(b << 2) + i]!
      if (x !== 0) return i * 32 + Math.clz32(x)
    }
    return 128
  }

  /** ipv6_addr_prefix: the address with everything behind the prefix zero. */
  prefix(id: number, prefixLength: number): number {
    const at = id << 2
    const w = this.words
    return this.intern(
      w[at]! & maskWord(prefixLength, 0),
      w[at + 1]! & maskWord(prefixLength, 1),
      w[at + 2]! & maskWord(prefixLength, 2),
      w[at + 3]! & maskWord(prefixLength, 3),
    )
  }

  /** As `prefix`, but -1 when that address was never seen. */
  findPrefix(id: number, prefixLength: number): number {
    const at = id << 2
    const w = this.words
    return this.find(
      w[at]! & maskWord(prefixLength, 0),
      w[at + 1]! & maskWord(prefixLength, 1),
      w[at + 2]! & maskWord(prefixLength, 2),
      w[at + 3]! & maskWord(prefixLength, 3),
    )
  }

  /** addrconf_addr_solict_mult: ff02::1:ffXX:XXXX. */
  solicitedNode(id: number): number {
    return this.intern(0xff020000 | 0, 0, 1, 0xff000000 | this.words[(id << 2) + 3]!)
  }

  /** ipv6_addr_set_v4mapped: ::ffff:a.b.c.d. */
  v4mapped(ip: number): number {
    return this.intern(0, 0, 0xffff, ip)
  }

  /** csum_ipv6_magic before folding. */
  pseudoSum(saddr: number, daddr: number, proto: number, len: number): number {
    const w = this.words
    let sum = proto + (len >>> 16) + (len & 0xffff)
    for (let i = 0; i < 4; i++) {
      const s = w[(saddr << 2) + i]!
      const d = w[(daddr << 2) + i]!
      sum += (s >>> 16) + (s & 0xffff) + (d >>> 16) + (d & 0xffff)
    }
    return sum
  }

  /** The four words of an id. */
  wordsOf(id: number): Ipv6Words {
    return [this.word(id, 0), this.word(id, 1), this.word(id, 2), this.word(id, 3)]
  }

  /** RFC 5952 text. */
  text(id: number): string {
    return formatIpv6(this.wordsOf(id))
  }

  /** The id of a text, -1 when it is not an IPv6 address. */
  parse(text: string): number {
    const w = parseIpv6(text)
    return w === null ? -1 : this.intern(w[0], w[1], w[2], w[3])
  }
}

/** Word `i` of the mask of a prefix length. */
export function maskWord(prefixLength: number, i: number): number {
  const bits = prefixLength - i * 32
  return bits >= 32 ? -1 : bits <= 0 ? 0 : -1 << (32 - bits)
}

/** ipv6_addr_scope2type: IPV6_ADDR_SCOPE_* moved to bits 16 and up, as type() has them. */
function scoped(scope: number): number {
  return scope << 16
}

/** __ipv6_addr_type */
function addrType(a: number, b: number, c: number, d: number): number {
  // 2000::/3 to c000::/3 and everything but 000/3 and 111/3
  const top = a & (0xe0000000 | 0)
  if (top !== 0 && top !== (0xe0000000 | 0)) return IPV6_ADDR_UNICAST | scoped(IPV6_ADDR_SCOPE_GLOBAL)
  if ((a & (0xff000000 | 0)) === (0xff000000 | 0)) return multicastType(a)
  if ((a & (0xffc00000 | 0)) === (0xfe800000 | 0)) {
    return IPV6_ADDR_LINKLOCAL | IPV6_ADDR_UNICAST | scoped(IPV6_ADDR_SCOPE_LINKLOCAL)
  }
  if ((a & (0xffc00000 | 0)) === (0xfec00000 | 0)) {
    return IPV6_ADDR_SITELOCAL | IPV6_ADDR_UNICAST | scoped(IPV6_ADDR_SCOPE_SITELOCAL)
  }
  if (a === 0 && b === 0) {
    if (c === 0) {
      if (d === 0) return IPV6_ADDR_ANY
      if (d === 1) return IPV6_ADDR_LOOPBACK | IPV6_ADDR_UNICAST | scoped(IPV6_ADDR_SCOPE_LINKLOCAL)
      return IPV6_ADDR_COMPATV4 | IPV6_ADDR_UNICAST | scoped(IPV6_ADDR_SCOPE_GLOBAL)
    }
    if (c === 0xffff) return IPV6_ADDR_MAPPED | scoped(IPV6_ADDR_SCOPE_GLOBAL)
  }
  // fc00::/7 has the scope of a global address too
  return IPV6_ADDR_UNICAST | scoped(IPV6_ADDR_SCOPE_GLOBAL)
}

function multicastType(a: number): number {
  const scope = (a >>> 16) & 15
  if (scope === IPV6_ADDR_SCOPE_NODELOCAL) return IPV6_ADDR_LOOPBACK | IPV6_ADDR_MULTICAST | scoped(scope)
  if (scope === IPV6_ADDR_SCOPE_LINKLOCAL) return IPV6_ADDR_LINKLOCAL | IPV6_ADDR_MULTICAST | scoped(scope)
  if (scope === IPV6_ADDR_SCOPE_SITELOCAL) return IPV6_ADDR_SITELOCAL | IPV6_ADDR_MULTICAST | scoped(scope)
  return IPV6_ADDR_MULTICAST | scoped(scope)
}
