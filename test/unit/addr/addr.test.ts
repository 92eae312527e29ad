import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { IPv4, IPv6 } from 'ip-num'
import {
  cidrContains,
  cidrsOverlap,
  explainIpv4,
  formatCidr,
  formatIpv4,
  formatIpv6,
  formatMac,
  indexInIpv4Cidr,
  isGroupMac,
  isNetwork,
  lastIpv4,
  networkOf,
  nthIpv4,
  nthSubnet,
  parseCidr,
  parseIpv4,
  parseIpv4Cidr,
  parseIpv6,
  parseMac,
  usableIpv4Range,
} from '../../../src/addr/index.ts'

describe('IPv4 text', () => {
  it('is a signed big-endian word', () => {
    expect(parseIpv4('10.0.0.1')).toBe(0x0a000001)
    expect(parseIpv4('192.168.1.2')).toBe(0xc0a80102 | 0)
    expect(formatIpv4(-1)).toBe('255.255.255.255')
    expect(formatIpv4(0xc0a80102)).toBe('192.168.1.2')
  })
  it.each([
    '',
    '1',
    '1.2.3',
    '1.2.3.4.5',
    '1.2.3.256',
    '01.2.3.4',
    '1.2.3.04',
    '00.0.0.0',
    '1.2.3.4 ',
    ' 1.2.3.4',
    '1..3.4',
    '.1.2.3',
    '1.2.3.',
    '0x1.2.3.4',
    '1e1.2.3.4',
    '-1.2.3.4',
    '+1.2.3.4',
    '1.2.3.4/24',
    '１.2.3.4',
    '999.1.1.1',
    'a.b.c.d',
    '4294967295',
  ])('refuses %j and says why', (text) => {
    expect(parseIpv4(text)).toBeNull()
    expect(explainIpv4(text)).toMatch(/\w/)
  })
  it('is read as ip-num reads it, for every address', () => {
    fc.assert(
      fc.property(fc.ipV4(), (text) => {
        const ip = parseIpv4(text)!
        expect(BigInt(ip >>> 0)).toBe(new IPv4(text).value)
        expect(formatIpv4(ip)).toBe(text)
        expect(explainIpv4(text)).toBeNull()
      }),
    )
  })
  it('is refused whenever ip-num refuses it', () => {
    const almost = fc.array(fc.constantFrom('0', '1', '25', '255', '256', '00', '.', '..', ' ', '-'), { maxLength: 8 })
    fc.assert(
      fc.property(almost, (parts) => {
        const text = parts.join('')
        let isValid = true
        try {
          new IPv4(text)
        } catch {
          isValid = false
        }
        if (!isValid) expect(parseIpv4(text)).toBeNull()
      }),
    )
  })
})

describe('IPv6 text', () => {
  it.each([
    ['::', '::'],
    ['::1', '::1'],
    ['2001:DB8::0001', '2001:db8::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['fe80::', 'fe80::'],
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
    ['::ffff:10.1.2.3', '::ffff:10.1.2.3'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
  ])('%s prints as %s (RFC 5952)', (text, canonical) => {
    expect(formatIpv6(parseIpv6(text)!)).toBe(canonical)
  })
  it.each([
    '',
    ':',
    ':::',
    '1::2::3',
    '12345::',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7',
    '1:2:3:4::5:6:7:8',
    'g::',
    '::1%eth0',
    '::1.2.3',
    '::1.2.3.4:5',
    '1.2.3.4',
    '2001:db8::/32',
    ' ::1',
  ])('refuses %j', (text) => expect(parseIpv6(text)).toBeNull())
  it('round-trips and agrees with ip-num', () => {
    fc.assert(
      fc.property(fc.tuple(fc.integer(), fc.integer(), fc.integer(), fc.integer()), (words) => {
        const text = formatIpv6(words)
        expect(parseIpv6(text)).toEqual(words)
        if (text.includes('.')) return
        const value = words.reduce((sum, w) => (sum << 32n) | BigInt(w >>> 0), 0n)
        expect(new IPv6(text).value).toBe(value)
      }),
    )
  })
})

describe('CIDR', () => {
  it.each([
    '10.0.0.0',
    '10.0.0.0/',
    '10.0.0.0/33',
    '10.0.0.0/-1',
    '10.0.0.0/08',
    '10.0.0.0/ 8',
    '10.0.0/8',
    '010.0.0.0/8',
    '10.0.0.0/8/8',
    '::/129',
    '/8',
    'x/8',
  ])('refuses %j, also where netmask would take it', (text) => expect(parseCidr(text)).toBeNull())
  it('keeps host bits until asked for the network', () => {
    const cidr = parseIpv4Cidr('10.244.1.5/16')!
    expect(formatCidr(cidr)).toBe('10.244.1.5/16')
    expect(isNetwork(cidr)).toBe(false)
    expect(formatCidr(networkOf(cidr))).toBe('10.244.0.0/16')
    expect(formatCidr(networkOf(parseCidr('2001:db8:1:2::3/48')!))).toBe('2001:db8:1::/48')
  })
  it('tells overlap and containment in both families', () => {
    const c = (text: string) => parseCidr(text)!
    expect(cidrsOverlap(c('10.0.0.0/8'), c('10.244.0.0/16'))).toBe(true)
    expect(cidrsOverlap(c('10.244.0.0/24'), c('10.244.1.0/24'))).toBe(false)
    expect(cidrsOverlap(c('0.0.0.0/0'), c('255.255.255.255/32'))).toBe(true)
    expect(cidrsOverlap(c('0.0.0.0/0'), c('::/0'))).toBe(false)
    expect(cidrsOverlap(c('2001:db8::/32'), c('2001:db8:ffff::/48'))).toBe(true)
    expect(cidrContains(c('10.244.0.0/16'), c('10.244.3.0/24'))).toBe(true)
    expect(cidrContains(c('10.244.3.0/24'), c('10.244.0.0/16'))).toBe(false)
  })
  it('numbers addresses and subnets', () => {
    const cidr = parseIpv4Cidr('10.96.0.0/12')!
    expect(formatIpv4(nthIpv4(cidr, 1)!)).toBe('10.96.0.1')
    expect(formatIpv4(nthIpv4(cidr, 2 ** 20 - 1)!)).toBe('10.111.255.255')
    expect(nthIpv4(cidr, 2 ** 20)).toBeNull()
    expect(formatIpv4(lastIpv4(cidr))).toBe('10.111.255.255')
    expect(formatIpv4(nthIpv4(parseIpv4Cidr('200.0.0.0/5')!, 3)!)).toBe('200.0.0.3')
    expect(formatCidr(nthSubnet(parseIpv4Cidr('10.244.0.0/16')!, 24, 255)!)).toBe('10.244.255.0/24')
    expect(nthSubnet(parseIpv4Cidr('10.244.0.0/16')!, 24, 256)).toBeNull()
    expect(nthSubnet(parseIpv4Cidr('10.244.0.0/16')!, 8, 0)).toBeNull()
    const range = usableIpv4Range(parseIpv4Cidr('10.9.0.0/29')!)
    expect([formatIpv4(range.first), formatIpv4(range.last)]).toEqual(['10.9.0.1', '10.9.0.6'])
  })
  it('index and nth are inverses', () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 1, max: 32 }), fc.nat(), (ip, prefixLength, n) => {
        const cidr = { family: 4, ip, prefixLength } as const
        const index = n % 2 ** (32 - prefixLength)
        expect(indexInIpv4Cidr(cidr, nthIpv4(cidr, index)!)).toBe(index)
      }),
    )
  })
})

describe('MAC text', () => {
  it('is a 16-bit and a 32-bit word', () => {
    expect(parseMac('0a:58:0a:f4:01:02')).toEqual({ hi: 0x0a58, lo: 0x0af40102 })
    expect(parseMac('FF-FF-FF-FF-FF-FF')).toEqual({ hi: 0xffff, lo: -1 })
    expect(formatMac({ hi: 0xffff, lo: -1 })).toBe('ff:ff:ff:ff:ff:ff')
    expect(isGroupMac({ hi: 0x0100, lo: 0 })).toBe(true)
    expect(isGroupMac({ hi: 0x0a58, lo: 0 })).toBe(false)
  })
  it.each(['', '0a:58:0a:f4:01', '0a:58:0a:f4:01:02:03', '0g:58:0a:f4:01:02', '0a580af40102', '0a:58:0a:f4:01:002'])(
    'refuses %j',
    (text) => expect(parseMac(text)).toBeNull(),
  )
  it('round-trips', () => {
    fc.assert(
      fc.property(fc.nat(0xffff), fc.integer(), (hi, lo) => {
        expect(parseMac(formatMac({ hi, lo }))).toEqual({ hi, lo })
      }),
    )
  })
})
