/**
 * What IPVS reads of a packet: struct ip_vs_iphdr.
 *
 * Linux: ip_vs_fill_iph_skb, ip_vs_fill_iph_skb_icmp (include/net/ip_vs.h). One scratch object per use, refilled for each
 * packet. `inverse` swaps the ends: the packet quoted in an ICMP error went the other way.
 */

/** Addresses, protocol and ports of a packet or of one quoted by ICMP. */
export class IpVsIphdr {
  /** Absolute offset of the IPv4 header. */
  nh = 0
  /** Absolute offset of the transport header (`iph->len`). */
  th = 0
  /** One past the packet's last byte. */
  end = 0
  protocol = 0
  saddr = 0
  daddr = 0
  sport = 0
  dport = 0
  /** False when the ports are cut off. */
  hasPorts = false
  /** IP_VS_HDR_INVERSE */
  inverse = false
  /** IP_VS_HDR_ICMP: this is the packet quoted in an ICMP error whose own header stands at `outerNh`. */
  icmp = false
  outerNh = 0

  /** Reads the IPv4 header at `nh`. */
  fill(view: DataView, nh: number, end: number, inverse: boolean, icmp: boolean): void {
    this.nh = nh
    this.end = end
    this.th = nh + ((view.getUint8(nh) & 15) << 2)
    this.protocol = view.getUint8(nh + 9)
    this.saddr = view.getInt32(nh + 12)
    this.daddr = view.getInt32(nh + 16)
    this.inverse = inverse
    this.icmp = icmp
    this.hasPorts = this.th + 4 <= end
    this.sport = this.hasPorts ? view.getUint16(this.th) : 0
    this.dport = this.hasPorts ? view.getUint16(this.th + 2) : 0
  }

  /** Address and port of the client's side of a request. */
  get caddr(): number {
    return this.inverse ? this.daddr : this.saddr
  }

  get cport(): number {
    return this.inverse ? this.dport : this.sport
  }

  /** Address and port of the virtual side of a request. */
  get vaddr(): number {
    return this.inverse ? this.saddr : this.daddr
  }

  get vport(): number {
    return this.inverse ? this.sport : this.dport
  }
}
