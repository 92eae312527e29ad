/** MASQUERADE and REDIRECT: which address they take, and what ends their connections. */
import { describe, expect, it } from '@jest/globals'
import { freeSkb } from '../../../../src/linux/core/skb.ts'
import type { NetDevice } from '../../../../src/linux/device/device.ts'
import { inetAddrAdd, inetAddrDel } from '../../../../src/linux/device/inet.ts'
import { createDummy, setDown, setUp } from '../../../../src/linux/device/ops.ts'
import { nfConntrackConfirm, nfConntrackIn } from '../../../../src/linux/netfilter/conntrack/core.ts'
import { nfNatInet } from '../../../../src/linux/netfilter/nat/core.ts'
import { nfNatMasqueradeIpv4 } from '../../../../src/linux/netfilter/nat/masquerade.ts'
import { NatRange, NF_NAT_RANGE_PROTO_SPECIFIED } from '../../../../src/linux/netfilter/nat/range.ts'
import { nfNatRedirectIpv4 } from '../../../../src/linux/netfilter/nat/redirect.ts'
import { R_CONSUMED } from '../../../../src/linux/reasons.ts'
import { M_CT, M_DATA, M_DEV, META_SHIFT } from '../../../../src/packet/layout.ts'
import { ACCEPT, DROP, ip, LOCAL_OUT, PRE_ROUTING, Router, udp } from '../conntrack/support.ts'

const POST_ROUTING = 4

function router(): { r: Router; out: NetDevice; other: NetDevice } {
  const r = new Router()
  const out = createDummy(r.ns, 'd0')
  const other = createDummy(r.ns, 'd1')
  setUp(out)
  setUp(other)
  inetAddrAdd(out, { ip: ip('10.2.0.1'), prefixLength: 24 })
  inetAddrAdd(out, { ip: ip('10.3.0.1'), prefixLength: 24 })
  return { r, out, other }
}

/** Walks a packet out of `dev` through MASQUERADE; returns the verdict and the source that it left with. */
function masquerade(r: Router, dev: NetDevice, packet: Uint8Array): [number, number] {
  const slot = r.slot(packet)
  const m = slot << META_SHIFT
  nfConntrackIn(r.w, r.ns, PRE_ROUTING, slot)
  nfNatInet(r.w, r.ns, PRE_ROUTING, slot, null, null)
  let v = nfNatMasqueradeIpv4(r.w, r.ns, slot, new NatRange(), dev)
  if (v === ACCEPT) v = nfNatInet(r.w, r.ns, POST_ROUTING, slot, null, dev)
  if (v === ACCEPT) v = nfConntrackConfirm(r.w, r.ns, slot)
  const src = r.w.arena.view.getInt32(r.w.arena.meta[m + M_DATA]! + 12)
  freeSkb(r.w, slot, R_CONSUMED)
  return [v, src]
}

describe('MASQUERADE', () => {
  it('takes the address of the outgoing device on the network of the next hop', () => {
    const { r, out } = router()
    expect(masquerade(r, out, udp('10.1.0.2', 4000, '10.2.0.2', 53))).toEqual([ACCEPT, ip('10.2.0.1')])
    expect(masquerade(r, out, udp('10.1.0.2', 4001, '10.3.0.2', 53))).toEqual([ACCEPT, ip('10.3.0.1')])
    expect(masquerade(r, out, udp('10.1.0.2', 4002, '8.8.8.8', 53))).toEqual([ACCEPT, ip('10.2.0.1')])
  })

  it('drops when no device has an address', () => {
    const r = new Router()
    const out = createDummy(r.ns, 'd0')
    setUp(out)
    expect(masquerade(r, out, udp('10.1.0.2', 4000, '10.2.0.2', 53))[0]).toBe(DROP)
  })

  it('ends its connections when the device goes down, and no others', () => {
    const { r, out } = router()
    masquerade(r, out, udp('10.1.0.2', 4000, '10.2.0.2', 53))
    r.forward(udp('10.1.0.2', 5000, '10.9.0.2', 53))
    setDown(out)
    expect(r.list().length).toBe(1)
    expect(r.list()[0]).toContain('sport=5000')
  })

  it('ends the connections of an address that is removed, and keeps those of another', () => {
    const { r, out } = router()
    masquerade(r, out, udp('10.1.0.2', 4000, '10.2.0.2', 53))
    masquerade(r, out, udp('10.1.0.2', 4001, '10.3.0.2', 53))
    inetAddrDel(out, ip('10.3.0.1'), 24)
    expect(r.list().length).toBe(1)
    expect(r.list()[0]).toContain('sport=4000')
  })

  it('drops a packet of its connection that would leave by another device, and forgets the connection', () => {
    const { r, out, other } = router()
    masquerade(r, out, udp('10.1.0.2', 4000, '10.2.0.2', 53))
    const slot = r.slot(udp('10.1.0.2', 4000, '10.2.0.2', 53))
    nfConntrackIn(r.w, r.ns, PRE_ROUTING, slot)
    expect(nfNatInet(r.w, r.ns, POST_ROUTING, slot, null, other)).toBe(DROP)
    expect(r.list()).toEqual([])
    freeSkb(r.w, slot, R_CONSUMED)
    expect(r.ct.count).toBe(0)
  })
})

describe('REDIRECT', () => {
  function redirect(hook: number, port: number): [number, number, number] {
    const { r, out } = router()
    const slot = r.slot(udp('10.2.0.9', 4000, '10.96.0.1', 53))
    const m = slot << META_SHIFT
    r.w.arena.meta[m + M_DEV] = out.id
    nfConntrackIn(r.w, r.ns, hook, slot)
    const range = new NatRange()
    range.flags = NF_NAT_RANGE_PROTO_SPECIFIED
    range.minPort = port
    range.maxPort = port
    const v = nfNatRedirectIpv4(r.w, r.ns, slot, range, hook)
    const id = r.w.arena.meta[m + M_CT]!
    const answer: [number, number, number] = [v, r.ct.src(id, 1), r.ct.sport(id, 1)]
    freeSkb(r.w, slot, R_CONSUMED)
    return answer
  }

  it('sends a packet from outside to the first address of its device', () => {
    expect(redirect(PRE_ROUTING, 5353)).toEqual([ACCEPT, ip('10.2.0.1'), 5353])
  })

  it('sends a packet of this host to 127.0.0.1', () => {
    expect(redirect(LOCAL_OUT, 5353)).toEqual([ACCEPT, ip('127.0.0.1'), 5353])
  })
})
