/** Addresses as kube-proxy reads and prints them, and the names made of hashes. */
import { describe, expect, it } from '@jest/globals'
import * as fc from 'fast-check'
import { formatIp, formatPrefix, parseIp, parsePrefix, prefixContains } from '../../../src/proxy/addresses.ts'
import { endpointChain, isGeneratedChain, serviceChains } from '../../../src/proxy/iptables/names.ts'

function canonical(text: string): string | null {
  const ip = parseIp(text)
  return ip === null ? null : formatIp(ip)
}

describe('addresses', () => {
  it.each([
    ['172.30.0.041', '172.30.0.41'],
    [' 10.0.0.1 ', '10.0.0.1'],
    ['FD00:0:0:0:1:0:0:1', 'fd00::1:0:0:1'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['1:0:2:3:4:5:6:7', '1:0:2:3:4:5:6:7'],
    ['2001:db8::', '2001:db8::'],
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['64:ff9b::192.0.2.1', '64:ff9b::c000:201'],
  ])('reads %s as %s', (text, expected) => {
    expect(canonical(text)).toBe(expected)
  })

  it.each(['', '10.0.0', '10.0.0.256', '10.0.0.1/8', '1::2::3', '1:2:3:4:5:6:7', '::1%eth0', '1:2:3:4:5:6:7::8', 'x'])(
    'refuses %p',
    (text) => {
      expect(canonical(text)).toBeNull()
    },
  )

  it('prints any address in a form that reads back the same', () => {
    const ip4 = fc.ipV4()
    const ip6 = fc.ipV6().filter((text) => parseIp(text)?.family === 6)
    fc.assert(fc.property(fc.oneof(ip4, ip6), (text) => canonical(canonical(text) ?? '') === canonical(text)))
    fc.assert(fc.property(ip4, (text) => canonical(text.replaceAll(/(\d+)/g, '00$1')) === canonical(text)))
  })

  it('clears host bits of a prefix and tests membership by them', () => {
    const prefix = parsePrefix(' 203.0.113.200/025')
    if (prefix === null) throw new Error('not a prefix')
    expect(formatPrefix(prefix)).toBe('203.0.113.128/25')
    const holds = (text: string): boolean => {
      const ip = parseIp(text)
      return ip !== null && prefixContains(prefix, ip)
    }
    expect(holds('203.0.113.255')).toBe(true)
    expect(holds('203.0.113.127')).toBe(false)
    expect(holds('2001:db8::1')).toBe(false)
    expect(parsePrefix('10.0.0.0/33')).toBeNull()
    expect(parsePrefix('10.0.0.0')).toBeNull()
  })
})

describe('chain names', () => {
  it('hashes the service port and protocol as kube-proxy does', () => {
    expect(serviceChains('ns1/svc1:p80', 'tcp').svc).toBe('KUBE-SVC-XPGD46QRK7WJZT7O')
    expect(endpointChain('ns1/svc1:p80', 'tcp', '10.180.0.1:80')).toBe('KUBE-SEP-SXIVWICOYRO3J4NJ')
    // The name every cluster has for its API server.
    expect(serviceChains('default/kubernetes:https', 'tcp').svc).toBe('KUBE-SVC-NPX46M4PTMTKRN6Y')
    expect(serviceChains('kube-system/kube-dns:dns', 'udp').svc).toBe('KUBE-SVC-TCOU7JCQXEZGVUNU')
  })

  it('fits every name in the 28 characters the kernel allows and knows it again', () => {
    for (const chain of Object.values(serviceChains('a/b', 'sctp'))) {
      expect(chain.length).toBeLessThanOrEqual(28)
      expect(isGeneratedChain(chain)).toBe(true)
    }
    expect(isGeneratedChain('KUBE-SERVICES')).toBe(false)
  })
})
