/**
 * The forwarding database of a VXLAN device: inner MAC to VTEPs.
 *
 * Linux: drivers/net/vxlan/vxlan_core.c (struct vxlan_fdb, struct vxlan_rdst, vxlan_fdb_update, vxlan_fdb_append,
 * vxlan_fdb_replace, __vxlan_fdb_delete). A unicast MAC has one destination (append to a known one changes only its
 * state); multicast MACs and 00:00:00:00:00:00 (where everything unknown goes) have a list.
 * Not modelled: nexthop groups, several VNIs on one device (vnifilter, src_vni).
 */
import { EEXIST, ENOENT, ENOSPC, EOPNOTSUPP } from '../errno.ts'
import type { Rt6 } from '../ipv6/rt6.ts'
import type { Rtable } from '../route/rtable.ts'
import type { NetDevice } from './device.ts'

/** Neighbour states as the netlink messages carry them. */
export const FDB_NUD_REACHABLE = 0x02
export const FDB_NUD_NOARP = 0x40
export const FDB_NUD_PERMANENT = 0x80

/** A destination: struct vxlan_rdst. */
export class VxlanRdst {
  /** `remote_ip`, 0 when none; an In6Table id when the underlay is IPv6. */
  remote: number
  readonly port: number
  readonly vni: number
  /** `remote_ifindex`: device that the packet must leave by, null when any. */
  readonly via: NetDevice | null
  /** dst_cache: the route that was used last, with the source address that came with it. */
  cacheRt: Rtable | null = null
  cacheSaddr = 0
  /** dst_cache of an IPv6 underlay. */
  cacheRt6: Rt6 | null = null

  constructor(remote: number, port: number, vni: number, via: NetDevice | null) {
    this.remote = remote
    this.port = port
    this.vni = vni
    this.via = via
  }
}

/** An entry: struct vxlan_fdb. */
export interface VxlanFdbEntry {
  readonly macHi: number
  readonly macLo: number
  /** NUD_* */
  state: number
  externLearn: boolean
  updatedNs: number
  usedNs: number
  remotes: VxlanRdst[]
}

/** What `bridge fdb` asks for, as netlink flags. */
export type FdbVerb = 'add' | 'append' | 'replace'

function hash(hi: number, lo: number): number {
  let h = Math.imul(hi, 0x9e3779b1) ^ lo
  h = Math.imul(h ^ (h >>> 15), 0x85ebca6b)
  return h ^ (h >>> 13)
}

/** MAC address to destinations. */
export class VxlanFdb {
  private mask = 63
  private slots: (VxlanFdbEntry | undefined)[] = new Array(64)
  private list: VxlanFdbEntry[] = []
  /** Moves with everything that decides where a frame goes. */
  gen = 0
  /** `cfg.addrmax`, 0 when unlimited. */
  max = 0

  /** vxlan_find_mac */
  find(hi: number, lo: number): VxlanFdbEntry | undefined {
    let i = hash(hi, lo) & this.mask
    for (;;) {
      const e = this.slots[i]
      if (e === undefined) return undefined
      if (e.macLo === lo && e.macHi === hi) return e
      i = (i + 1) & this.mask
    }
  }

  /** All entries, oldest first. */
  entries(): readonly VxlanFdbEntry[] {
    return this.list
  }

  /** vxlan_fdb_update. @returns 0 or a negative errno */
  update(
    hi: number,
    lo: number,
    rd: VxlanRdst,
    state: number,
    externLearn: boolean,
    verb: FdbVerb,
    nowNs: number,
  ): number {
    const unicast = (hi & 0x0100) === 0 && (hi !== 0 || lo !== 0)
    const old = this.find(hi, lo)
    this.gen++
    if (old === undefined) {
      if (verb === 'replace' && !unicast) return EOPNOTSUPP
      if (this.max !== 0 && this.list.length >= this.max) return ENOSPC
      this.insert({ macHi: hi, macLo: lo, state, externLearn, updatedNs: nowNs, usedNs: nowNs, remotes: [rd] })
      return 0
    }
    if (verb === 'add') return EEXIST
    if (old.state !== state || old.externLearn !== externLearn) {
      old.state = state
      old.externLearn = externLearn
      old.updatedNs = nowNs
    }
    if (verb === 'replace') {
      if (!unicast) return EOPNOTSUPP
      old.remotes = [rd]
    } else if (!unicast && findRdst(old, rd) === undefined) old.remotes.push(rd)
    return 0
  }

  /** __vxlan_fdb_delete: one destination, or the whole entry when it is the last or `rd` names no address. */
  delete(hi: number, lo: number, rd: VxlanRdst): number {
    const e = this.find(hi, lo)
    if (e === undefined) return ENOENT
    this.gen++
    if (rd.remote !== 0) {
      const found = findRdst(e, rd)
      // Linux says nothing about a destination that the entry does not have
      if (found === undefined) return 0
      if (e.remotes.length > 1) {
        e.remotes.splice(e.remotes.indexOf(found), 1)
        return 0
      }
    }
    this.removeIf((x) => x === e)
    return 0
  }

  /** Removes every entry for which `gone` answers true. */
  removeIf(gone: (e: VxlanFdbEntry) => boolean): void {
    const kept = this.list.filter((e) => !gone(e))
    if (kept.length === this.list.length) return
    this.gen++
    this.list = kept
    this.rebuild(this.mask + 1)
  }

  private insert(e: VxlanFdbEntry): void {
    this.list.push(e)
    if (this.list.length * 2 > this.mask) this.rebuild((this.mask + 1) * 2)
    else this.place(e)
  }

  private place(e: VxlanFdbEntry): void {
    let i = hash(e.macHi, e.macLo) & this.mask
    while (this.slots[i] !== undefined) i = (i + 1) & this.mask
    this.slots[i] = e
  }

  private rebuild(size: number): void {
    this.mask = size - 1
    this.slots = new Array(size)
    for (const e of this.list) this.place(e)
  }
}

/** vxlan_fdb_find_rdst */
function findRdst(e: VxlanFdbEntry, rd: VxlanRdst): VxlanRdst | undefined {
  return e.remotes.find((r) => r.remote === rd.remote && r.port === rd.port && r.vni === rd.vni && r.via === rd.via)
}
