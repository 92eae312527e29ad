/** UDP, ICMP and generic tracking; the life of an entry; table full; NOTRACK; attached answers; clashes. */
import { describe, expect, it } from '@jest/globals'
import { cloneSkb, freeSkb } from '../../../../src/linux/core/skb.ts'
import {
  nfConntrackConfirm,
  nfConntrackIn,
  nfCtAttach,
  nfResetCt,
} from '../../../../src/linux/netfilter/conntrack/core.ts'
import { IPS_ASSURED, IPS_NAT_CLASH } from '../../../../src/linux/netfilter/conntrack/layout.ts'
import { R_CONSUMED, R_CT_FULL, R_UNMODELLED } from '../../../../src/linux/reasons.ts'
import { M_CT, M_CTINFO, META_SHIFT } from '../../../../src/packet/layout.ts'
import {
  ACCEPT,
  DROP,
  icmp,
  icmpError,
  ip,
  LOCAL_OUT,
  POST_ROUTING,
  PRE_ROUTING,
  Router,
  rawIp,
  tcp,
  udp,
} from './support.ts'

const A = '10.1.0.2'
const B = '10.2.0.2'
const NEW = 2
const ESTABLISHED = 0
const ESTABLISHED_REPLY = 3
const RELATED_REPLY = 4
const UNTRACKED = 7

describe('UDP tracking', () => {
  it('stays NEW until an answer was seen', () => {
    const r = new Router()
    expect(r.forward(udp(A, 50, B, 53)).ctinfo).toBe(NEW)
    expect(r.forward(udp(A, 50, B, 53)).ctinfo).toBe(NEW)
    expect(r.forward(udp(B, 53, A, 50)).ctinfo).toBe(ESTABLISHED_REPLY)
    expect(r.forward(udp(A, 50, B, 53)).ctinfo).toBe(ESTABLISHED)
  })

  it('becomes an ASSURED stream of 120 s only when it is answered and older than two seconds', () => {
    const r = new Router()
    const id = r.forward(udp(A, 50, B, 53)).id
    r.forward(udp(B, 53, A, 50))
    r.wait(2)
    r.forward(udp(A, 50, B, 53))
    expect(r.ct.expiresNs(id)).toBe(30e9)
    expect(r.ct.status(id) & IPS_ASSURED).toBe(0)
    r.wait(0.001)
    r.forward(udp(A, 50, B, 53))
    expect(r.ct.expiresNs(id)).toBe(120e9)
    expect(r.ct.status(id) & IPS_ASSURED).toBe(IPS_ASSURED)
  })

  it('forgets an unanswered flow exactly after 30 s', () => {
    const r = new Router()
    const first = r.forward(udp(A, 50, B, 53)).id
    r.wait(29.999)
    expect(r.list()).toEqual([
      'udp      17 0 src=10.1.0.2 dst=10.2.0.2 sport=50 dport=53 [UNREPLIED] src=10.2.0.2 dst=10.1.0.2 sport=53 dport=50 mark=0',
    ])
    r.wait(0.001)
    expect(r.list()).toEqual([])
    expect(r.ct.count).toBe(1)
    // the answer that comes too late is a connection of its own
    expect(r.forward(udp(B, 53, A, 50)).ctinfo).toBe(NEW)
    expect(r.ct.count).toBe(1)
    expect(r.ct.status(first)).not.toBe(0)
  })

  it('calls a wrong checksum INVALID on PRE_ROUTING only, and not when nf_conntrack_checksum is off', () => {
    const bad = udp(A, 50, B, 53)
    bad[31] = bad[31]! ^ 0xff
    const r = new Router()
    expect(r.forward(bad).ctinfo).toBeNull()
    expect(r.send(bad).ctinfo).toBe(NEW)
    const off = new Router()
    off.ns.sysctl.nf_conntrack_checksum = 0
    expect(off.forward(bad).ctinfo).toBe(NEW)
  })

  it('takes a datagram without a checksum', () => {
    expect(new Router().forward(udp(A, 50, B, 53, false)).ctinfo).toBe(NEW)
  })

  it('calls a length beyond the packet INVALID', () => {
    const bad = udp(A, 50, B, 53, false)
    new DataView(bad.buffer).setUint16(24, 100)
    expect(new Router().forward(bad).ctinfo).toBeNull()
  })
})

describe('ICMP tracking', () => {
  it('pairs an echo request with its reply by id, both ESTABLISHED after it', () => {
    const r = new Router()
    expect(r.forward(icmp(A, B, 8, 3)).ctinfo).toBe(NEW)
    expect(r.forward(icmp(B, A, 0, 3)).ctinfo).toBe(ESTABLISHED_REPLY)
    expect(r.forward(icmp(A, B, 8, 3)).ctinfo).toBe(ESTABLISHED)
  })

  const rows: readonly (readonly [string, number])[] = [
    ['an echo reply nobody asked for', 0],
    ['a timestamp reply nobody asked for', 14],
    ['router solicitation, which has no answer', 10],
    ['a type above 18', 42],
  ]
  for (const [what, type] of rows) {
    it(`calls ${what} INVALID and keeps no entry`, () => {
      const r = new Router()
      expect(r.forward(icmp(A, B, type, 9)).ctinfo).toBeNull()
      expect(r.ct.count).toBe(0)
    })
  }

  it('relates an error to the connection that it quotes, from whoever it comes', () => {
    const r = new Router()
    const first = udp(A, 50, B, 53)
    const id = r.forward(first).id
    const o = r.forward(icmpError('10.9.9.9', A, 11, 0, first))
    expect([o.ctinfo, o.id]).toEqual([RELATED_REPLY, id])
  })

  it('calls an error INVALID when it is sent to somebody else than the quoted sender', () => {
    const r = new Router()
    const first = udp(A, 50, B, 53)
    r.forward(first)
    expect(r.forward(icmpError(B, '10.1.0.77', 3, 3, first)).ctinfo).toBeNull()
  })

  it('calls an error about a later fragment or an unknown flow INVALID', () => {
    const r = new Router()
    r.forward(udp(A, 50, B, 53))
    expect(r.forward(icmpError(B, A, 3, 3, udp(A, 51, B, 53))).ctinfo).toBeNull()
    const fragment = udp(A, 50, B, 53)
    new DataView(fragment.buffer).setUint16(6, 5)
    expect(r.forward(icmpError(B, A, 3, 3, fragment)).ctinfo).toBeNull()
  })
})

describe('other protocols', () => {
  it('tracks an unknown protocol by its addresses for 600 s', () => {
    const r = new Router()
    r.forward(rawIp(A, B, 253))
    expect(r.list()).toEqual([
      'unknown  253 600 src=10.1.0.2 dst=10.2.0.2 [UNREPLIED] src=10.2.0.2 dst=10.1.0.2 mark=0',
    ])
  })

  it('says UNMODELLED for SCTP instead of guessing', () => {
    const r = new Router()
    expect(r.forward(rawIp(A, B, 132)).verdict).toBe(DROP)
    expect(r.w.dropReason).toBe(R_UNMODELLED)
  })
})

describe('the life of an entry', () => {
  it('is not listed before its packet has left, and vanishes with it', () => {
    const r = new Router()
    const slot = r.slot(udp(A, 50, B, 53))
    nfConntrackIn(r.w, r.ns, PRE_ROUTING, slot)
    expect([r.ct.count, r.list().length]).toEqual([1, 0])
    freeSkb(r.w, slot, R_CONSUMED)
    expect(r.ct.count).toBe(0)
  })

  it('is shared by clones: the last one that goes frees it', () => {
    const r = new Router()
    const slot = r.slot(udp(A, 50, B, 53))
    nfConntrackIn(r.w, r.ns, PRE_ROUTING, slot)
    const copy = cloneSkb(r.w, slot)
    freeSkb(r.w, slot, R_CONSUMED)
    expect(r.ct.count).toBe(1)
    freeSkb(r.w, copy, R_CONSUMED)
    expect(r.ct.count).toBe(0)
  })

  it('outlives its listing while a packet holds it', () => {
    const r = new Router()
    const slot = r.slot(udp(A, 50, B, 53))
    nfConntrackIn(r.w, r.ns, PRE_ROUTING, slot)
    nfConntrackConfirm(r.w, r.ns, slot)
    const id = r.w.arena.meta[(slot << META_SHIFT) + M_CT]!
    r.wait(31)
    r.forward(udp(A, 50, B, 53))
    expect(r.ct.sport(id, 0)).toBe(50)
    expect(r.ct.count).toBe(2)
    nfResetCt(r.w, slot)
    expect(r.ct.count).toBe(1)
  })

  it('counts its timeout from the confirmation', () => {
    const r = new Router()
    const slot = r.slot(udp(A, 50, B, 53))
    nfConntrackIn(r.w, r.ns, PRE_ROUTING, slot)
    r.wait(5)
    nfConntrackConfirm(r.w, r.ns, slot)
    const id = r.w.arena.meta[(slot << META_SHIFT) + M_CT]!
    expect(r.ct.expiresNs(id)).toBe(30e9)
    freeSkb(r.w, slot, R_CONSUMED)
  })

  it('belongs to its namespace: the same packet is NEW in another one', () => {
    const r = new Router()
    r.forward(udp(A, 50, B, 53))
    const other = r.w.addNetns('other')
    const slot = r.slot(udp(B, 53, A, 50))
    expect(nfConntrackIn(r.w, other, PRE_ROUTING, slot)).toBe(ACCEPT)
    expect(r.w.arena.meta[(slot << META_SHIFT) + M_CT]).toBe(0)
    expect(r.forward(udp(B, 53, A, 50)).ctinfo).toBe(ESTABLISHED_REPLY)
  })

  it('leaves UNTRACKED packets and packets that carry an entry alone', () => {
    const r = new Router()
    const slot = r.slot(udp(A, 50, B, 53))
    r.w.arena.meta[(slot << META_SHIFT) + M_CTINFO] = UNTRACKED
    expect(nfConntrackIn(r.w, r.ns, PRE_ROUTING, slot)).toBe(ACCEPT)
    expect(r.ct.count).toBe(0)
    const looped = r.slot(udp(A, 50, B, 53))
    nfConntrackIn(r.w, r.ns, LOCAL_OUT, looped)
    const id = r.w.arena.meta[(looped << META_SHIFT) + M_CT]
    nfConntrackIn(r.w, r.ns, PRE_ROUTING, looped)
    expect(r.w.arena.meta[(looped << META_SHIFT) + M_CT]).toBe(id)
    expect(r.ct.count).toBe(1)
  })

  it('gives an answer made by the host (ICMP error, RST) the connection as RELATED, and does not confirm it', () => {
    const r = new Router()
    const first = udp(A, 50, B, 53)
    const slot = r.slot(first)
    nfConntrackIn(r.w, r.ns, PRE_ROUTING, slot)
    const answer = r.slot(icmpError(B, A, 3, 3, first))
    nfCtAttach(r.w, r.ns, answer, slot)
    expect(r.w.arena.meta[(answer << META_SHIFT) + M_CTINFO]).toBe(RELATED_REPLY)
    expect(nfConntrackConfirm(r.w, r.ns, answer)).toBe(ACCEPT)
    expect(r.list()).toEqual([])
    freeSkb(r.w, slot, R_CONSUMED)
    expect(r.ct.count).toBe(1)
    freeSkb(r.w, answer, R_CONSUMED)
    expect(r.ct.count).toBe(0)
  })
})

describe('a full table', () => {
  it('drops a newcomer when all entries are ASSURED, and lets known connections pass', () => {
    const r = new Router()
    r.ns.sysctl.nf_conntrack_max = 1
    r.ns.sysctl.nf_conntrack_buckets = 1
    const c = (flags: string, seq: number, ack: number): Uint8Array => tcp(A, 5, B, 80, { flags, seq, ack })
    r.forward(c('S', 1, 0))
    r.forward(tcp(B, 80, A, 5, { flags: 'SA', seq: 9, ack: 2 }))
    r.forward(c('A', 2, 10))
    expect(r.forward(udp(A, 50, B, 53)).verdict).toBe(DROP)
    expect(r.w.dropReason).toBe(R_CT_FULL)
    expect(r.forward(c('A', 2, 10)).ctinfo).toBe(ESTABLISHED)
  })

  it('gives up an entry that is not ASSURED from the neighbourhood of the newcomer', () => {
    const r = new Router()
    r.ns.sysctl.nf_conntrack_max = 1
    r.ns.sysctl.nf_conntrack_buckets = 1
    r.forward(udp(A, 50, B, 53))
    expect(r.forward(udp(A, 51, B, 53)).verdict).toBe(ACCEPT)
    expect(r.list().length).toBe(1)
    expect(r.ct.stat.earlyDrop).toBe(1)
  })
})

describe('clashing entries', () => {
  /** Two first packets of one flow, both looked up before either is confirmed. */
  function race(r: Router, p: Uint8Array, q: Uint8Array): [number, number, number, number] {
    const a = r.slot(p)
    const b = r.slot(q)
    nfConntrackIn(r.w, r.ns, PRE_ROUTING, a)
    nfConntrackIn(r.w, r.ns, PRE_ROUTING, b)
    const first = nfConntrackConfirm(r.w, r.ns, a)
    const second = nfConntrackConfirm(r.w, r.ns, b)
    const ids = [a, b].map((s) => r.w.arena.meta[(s << META_SHIFT) + M_CT]!)
    freeSkb(r.w, a, R_CONSUMED)
    freeSkb(r.w, b, R_CONSUMED)
    return [first, second, ids[0]!, ids[1]!]
  }

  it('lets UDP packets of the same flow share the entry that won', () => {
    const r = new Router()
    const [first, second, a, b] = race(r, udp(A, 50, B, 53), udp(A, 50, B, 53))
    expect([first, second, b]).toEqual([ACCEPT, ACCEPT, a])
    expect(r.ct.count).toBe(1)
  })

  it('merges UDP packets that crossed', () => {
    const r = new Router()
    const [first, second, a, b] = race(r, udp(A, 50, B, 53), udp(B, 53, A, 50))
    expect([first, second, b]).toEqual([ACCEPT, ACCEPT, a])
  })

  it('drops the second SYN of a TCP flow', () => {
    const r = new Router()
    const syn = tcp(A, 5, B, 80, { flags: 'S', seq: 1 })
    expect(race(r, syn, syn).slice(0, 2)).toEqual([ACCEPT, DROP])
    expect(r.ct.count).toBe(1)
  })

  it('lists a UDP entry with another translation in reply direction only, for one second', () => {
    const r = new Router()
    const a = r.slot(udp(A, 50, B, 53))
    const b = r.slot(udp(A, 50, B, 53))
    nfConntrackIn(r.w, r.ns, PRE_ROUTING, a)
    nfConntrackIn(r.w, r.ns, PRE_ROUTING, b)
    const second = r.w.arena.meta[(b << META_SHIFT) + M_CT]!
    const rows = r.ct.hash.rows
    rows[second * 40 + 3] = ip('10.2.0.9')
    nfConntrackConfirm(r.w, r.ns, a)
    expect(nfConntrackConfirm(r.w, r.ns, b)).toBe(ACCEPT)
    expect(r.ct.status(second) & IPS_NAT_CLASH).toBe(IPS_NAT_CLASH)
    expect(r.list().length).toBe(1)
    expect(r.forward(udp('10.2.0.9', 53, A, 50)).id).toBe(second)
    r.wait(1)
    expect(r.forward(udp('10.2.0.9', 53, A, 50)).ctinfo).toBe(NEW)
  })
})

describe('fragments', () => {
  it('leaves fragments that a raw socket sends untracked', () => {
    const r = new Router()
    const p = udp(A, 50, B, 53)
    new DataView(p.buffer).setUint16(6, 0x2000)
    const slot = r.slot(p)
    expect(nfConntrackIn(r.w, r.ns, LOCAL_OUT, slot)).toBe(ACCEPT)
    expect(r.w.arena.meta[(slot << META_SHIFT) + M_CT]).toBe(0)
    expect(POST_ROUTING).toBe(4)
  })
})
