/**
 * The key of an output route lookup: struct flowi4.
 *
 * Linux: include/net/flow.h. One scratch instance per use is reset and filled, never allocated per packet. Device ids are
 * those of World.devices; 0 would be a device, so "none" is -1 here.
 * Not modelled: flowi4_uid, l3mdev, multipath hash override, tunnel key.
 */
import { RT_SCOPE_UNIVERSE } from '../device/device.ts'

/** Key of a route lookup. Fields change during the lookup as in Linux: saddr and daddr come back filled in. */
export class Flowi4 {
  daddr = 0
  saddr = 0
  /** Device id that the packet must leave by, -1 when any. */
  oif = -1
  /** Device id that the packet came in by, -1 for local output (LOOPBACK_IFINDEX in Linux's rules). */
  iif = -1
  mark = 0
  tos = 0
  proto = 0
  scope = RT_SCOPE_UNIVERSE
  flags = 0
  sport = 0
  dport = 0

  /** Clears all fields; returns itself. */
  reset(): this {
    this.daddr = 0
    this.saddr = 0
    this.oif = -1
    this.iif = -1
    this.mark = 0
    this.tos = 0
    this.proto = 0
    this.scope = RT_SCOPE_UNIVERSE
    this.flags = 0
    this.sport = 0
    this.dport = 0
    return this
  }
}
