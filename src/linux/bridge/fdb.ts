/**
 * The forwarding database of a bridge.
 *
 * Linux: net/bridge/br_fdb.c (br_fdb_update, br_fdb_find_rcu, br_fdb_cleanup). An open-addressing table on the MAC's two
 * words and the VLAN id. Expired entries go when the garbage collector runs, as in Linux, not when they are looked up. Not
 * modelled: sticky and offloaded entries.
 */
import type { BridgePort } from './bridge.ts'

/** One entry: struct net_bridge_fdb_entry. */
export interface FdbEntry {
  readonly macHi: number
  readonly macLo: number
  /** VLAN id, 0 where the bridge does not filter VLANs. */
  readonly vid: number
  /** Port behind which the MAC is; null for the bridge device itself. */
  port: BridgePort | null
  /** BR_FDB_LOCAL: the MAC of the bridge or of a port. */
  isLocal: boolean
  /** BR_FDB_STATIC: never ages. */
  isStatic: boolean
  /** BR_FDB_ADDED_BY_USER */
  addedByUser: boolean
  /** Virtual time of the last frame from this MAC. */
  updatedNs: number
  /** Virtual time of the last frame to this MAC. */
  usedNs: number
  createdNs: number
}

function hash(hi: number, lo: number, vid: number): number {
  let h = Math.imul(hi + (vid << 16), 0x9e3779b1) ^ lo
  h = Math.imul(h ^ (h >>> 15), 0x85ebca6b)
  return h ^ (h >>> 13)
}

/** MAC address to entry. */
export class Fdb {
  private mask = 63
  private slots: (FdbEntry | undefined)[] = new Array(64)
  /** Entries in order of creation, newest last. */
  private list: FdbEntry[] = []
  /** Moves with every entry that comes or goes. */
  gen = 0

  /** br_fdb_find_rcu */
  find(hi: number, lo: number, vid = 0): FdbEntry | undefined {
    let i = hash(hi, lo, vid) & this.mask
    for (;;) {
      const e = this.slots[i]
      if (e === undefined) return undefined
      if (e.macLo === lo && e.macHi === hi && e.vid === vid) return e
      i = (i + 1) & this.mask
    }
  }

  /** Adds an entry whose MAC is not there yet. */
  insert(e: FdbEntry): void {
    this.gen++
    this.list.push(e)
    if (this.list.length * 2 > this.mask) this.rebuild((this.mask + 1) * 2)
    else this.place(e)
  }

  /** fdb_delete */
  remove(e: FdbEntry): void {
    const i = this.list.indexOf(e)
    if (i < 0) return
    this.gen++
    this.list.splice(i, 1)
    this.rebuild(this.mask + 1)
  }

  /** All entries, oldest first. */
  entries(): readonly FdbEntry[] {
    return this.list
  }

  /** Removes every entry for which `gone` answers true. */
  removeIf(gone: (e: FdbEntry) => boolean): void {
    const kept = this.list.filter((e) => !gone(e))
    if (kept.length === this.list.length) return
    this.gen++
    this.list = kept
    this.rebuild(this.mask + 1)
  }

  private place(e: FdbEntry): void {
    let i = hash(e.macHi, e.macLo, e.vid) & this.mask
    while (this.slots[i] !== undefined) i = (i + 1) & this.mask
    this.slots[i] = e
  }

  private rebuild(size: number): void {
    this.mask = size - 1
    this.slots = new Array(size)
    for (const e of this.list) this.place(e)
  }
}
