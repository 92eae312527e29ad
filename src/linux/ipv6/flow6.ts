/**
 * The key of an IPv6 route lookup: struct flowi6.
 *
 * Linux: include/net/flow.h. Addresses are In6Table ids. One scratch instance per use is reset and filled. Device ids are
 * those of World.devices, -1 none. Not modelled: uid, l3mdev, tunnel key.
 */

/** Key of a route lookup; `saddr` comes back filled in when the lookup chose it. */
export class Flowi6 {
  daddr = 0
  saddr = 0
  oif = -1
  iif = -1
  mark = 0
  tclass = 0
  /** 20 bits */
  flowlabel = 0
  proto = 0
  sport = 0
  dport = 0
  icmpType = 0
  icmpCode = 0
  flags = 0
  /** `mp_hash`: 0 computes it from the flow. */
  mpHash = 0

  /** Clears all fields; returns itself. */
  reset(): this {
    this.daddr = 0
    this.saddr = 0
    this.oif = -1
    this.iif = -1
    this.mark = 0
    this.tclass = 0
    this.flowlabel = 0
    this.proto = 0
    this.sport = 0
    this.dport = 0
    this.icmpType = 0
    this.icmpCode = 0
    this.flags = 0
    this.mpHash = 0
    return this
  }
}
