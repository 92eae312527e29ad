import { describe, expect, it } from '@jest/globals'
import {
  In6Table,
  IPV6_ADDR_LINKLOCAL,
  IPV6_ADDR_LOOPBACK,
  IPV6_ADDR_MAPPED,
  IPV6_ADDR_MULTICAST,
  IPV6_ADDR_UNICAST,
} from '../../../../src/linux/ipv6/in6.ts'

describe('In6Table', () => {
  it('gives equal addresses equal numbers and :: the number 0', () => {
    const t = new In6Table()
    expect(t.parse('::')).toBe(0)
    const a = t.parse('2001:db8::1')
    expect(t.parse('2001:DB8:0:0::1')).toBe(a)
    expect(t.parse('2001:db8::2')).not.toBe(a)
    expect(t.text(a)).toBe('2001:db8::1')
    expect(t.parse('2001:db8::zz')).toBe(-1)
  })

  it('keeps every address when it grows', () => {
    const t = new In6Table()
    const ids = Array.from({ length: 5000 }, (_, i) => t.intern(0x20010db8, i * 7919, ~i, i))
    expect(new Set(ids).size).toBe(5000)
    for (let i = 0; i < 5000; i++) expect(t.find(0x20010db8, i * 7919, ~i, i)).toBe(ids[i])
    expect(t.find(1, 2, 3, 4)).toBe(-1)
  })

  it('reads and writes headers', () => {
    const t = new In6Table()
    const view = new DataView(new ArrayBuffer(20))
    const id = t.parse('fe80::1:2')
    t.write(view, 2, id)
    expect(t.read(view, 2)).toBe(id)
    expect(view.getUint16(2)).toBe(0xfe80)
  })

  it('knows prefixes and kinds', () => {
    const t = new In6Table()
    const a = t.parse('2001:db8:1:2:8000::1')
    const b = t.parse('2001:db8:1:2::1')
    expect(t.commonPrefix(a, b)).toBe(64)
    expect(t.prefixEqual(a, b, 64)).toBe(true)
    expect(t.prefixEqual(a, b, 65)).toBe(false)
    expect(t.text(t.prefix(a, 47))).toBe('2001:db8::')
    expect(t.text(t.solicitedNode(t.parse('fe80::ff:fe00:1')))).toBe('ff02::1:ff00:1')
    expect(t.type(t.parse('::1')) & 0xffff).toBe(IPV6_ADDR_LOOPBACK | IPV6_ADDR_UNICAST)
    expect(t.type(t.parse('fe80::1')) & 0xffff).toBe(IPV6_ADDR_LINKLOCAL | IPV6_ADDR_UNICAST)
    expect(t.type(t.parse('ff02::1')) & 0xffff).toBe(IPV6_ADDR_LINKLOCAL | IPV6_ADDR_MULTICAST)
    expect(t.type(t.v4mapped(0x01020304)) & 0xffff).toBe(IPV6_ADDR_MAPPED)
    expect(t.scope(t.parse('ff05::2'))).toBe(5)
  })
})
