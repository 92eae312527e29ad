/** The forwarding table of a VXLAN device: what the netlink verbs do to it, and that lookups stay right as it grows. */
import { describe, expect, it } from '@jest/globals'
import {
  FDB_NUD_NOARP,
  FDB_NUD_PERMANENT,
  FDB_NUD_REACHABLE,
  VxlanFdb,
  VxlanRdst,
} from '../../../../src/linux/device/vxlan-fdb.ts'
import { EEXIST, ENOENT, ENOSPC, EOPNOTSUPP } from '../../../../src/linux/errno.ts'

const rd = (remote: number, port = 8472): VxlanRdst => new VxlanRdst(remote, port, 1, null)
const remotes = (f: VxlanFdb, hi: number, lo: number): number[] => f.find(hi, lo)?.remotes.map((r) => r.remote) ?? []

describe('VxlanFdb', () => {
  it('keeps one destination for a unicast MAC: append changes only the state', () => {
    const f = new VxlanFdb()
    expect(f.update(0x0200, 1, rd(11), FDB_NUD_PERMANENT, false, 'append', 5)).toBe(0)
    expect(f.update(0x0200, 1, rd(12), FDB_NUD_REACHABLE, false, 'append', 9)).toBe(0)
    expect(remotes(f, 0x0200, 1)).toEqual([11])
    expect(f.find(0x0200, 1)).toMatchObject({ state: FDB_NUD_REACHABLE, updatedNs: 9 })
  })

  it.each([
    ['the default entry', 0, 0],
    ['a multicast MAC', 0x0100, 7],
  ])('keeps a list for %s, without doubles', (_name, hi, lo) => {
    const f = new VxlanFdb()
    for (const r of [11, 12, 11, 13]) expect(f.update(hi, lo, rd(r), FDB_NUD_PERMANENT, false, 'append', 0)).toBe(0)
    expect(f.update(hi, lo, rd(11, 4789), FDB_NUD_PERMANENT, false, 'append', 0)).toBe(0)
    expect(remotes(f, hi, lo)).toEqual([11, 12, 13, 11])
    expect(f.update(hi, lo, rd(14), FDB_NUD_PERMANENT, false, 'replace', 0)).toBe(EOPNOTSUPP)
    expect(remotes(f, hi, lo)).toEqual([11, 12, 13, 11])
    expect(f.delete(hi, lo, rd(12))).toBe(0)
    expect(remotes(f, hi, lo)).toEqual([11, 13, 11])
    expect(f.delete(hi, lo, rd(0))).toBe(0)
    expect(f.find(hi, lo)).toBeUndefined()
  })

  it('refuses to add what is there, to delete what is not, and more than the device may hold', () => {
    const f = new VxlanFdb()
    f.max = 2
    expect(f.update(0x0200, 1, rd(11), FDB_NUD_NOARP, false, 'add', 0)).toBe(0)
    expect(f.update(0x0200, 1, rd(11), FDB_NUD_NOARP, false, 'add', 0)).toBe(EEXIST)
    expect(f.delete(0x0200, 2, rd(11))).toBe(ENOENT)
    expect(f.update(0x0200, 2, rd(11), FDB_NUD_NOARP, false, 'replace', 0)).toBe(0)
    expect(f.update(0x0200, 3, rd(11), FDB_NUD_NOARP, false, 'append', 0)).toBe(ENOSPC)
  })

  it('says nothing about a destination that the entry does not have, and takes the last one with its entry', () => {
    const f = new VxlanFdb()
    f.update(0x0200, 1, rd(11), FDB_NUD_NOARP, false, 'add', 0)
    expect(f.delete(0x0200, 1, rd(99))).toBe(0)
    expect(remotes(f, 0x0200, 1)).toEqual([11])
    expect(f.delete(0x0200, 1, rd(11))).toBe(0)
    expect(f.find(0x0200, 1)).toBeUndefined()
  })

  it('finds every entry of a table that grew and shrank, and no other', () => {
    const f = new VxlanFdb()
    for (let i = 0; i < 500; i++) f.update(0x0200 + (i & 3), i * 64, rd(i + 1), FDB_NUD_NOARP, false, 'add', 0)
    f.removeIf((e) => (e.macLo & 64) !== 0)
    for (let i = 0; i < 500; i++) expect(remotes(f, 0x0200 + (i & 3), i * 64)).toEqual((i & 1) === 0 ? [i + 1] : [])
    expect(f.find(0x0200, 1)).toBeUndefined()
  })
})
