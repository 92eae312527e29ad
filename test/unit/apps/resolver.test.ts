/**
 * The order in which glibc and musl ask, seen on the wire: which names, from which sockets, when they give up.
 */
import { describe, expect, it } from '@jest/globals'
import { parseIpv4 } from '../../../src/addr/index.ts'
import { type ProcessFiles, Resolver } from '../../../src/apps/resolver.ts'
import { inetAddrAdd } from '../../../src/linux/device/inet.ts'
import { createLink, setUp } from '../../../src/linux/device/ops.ts'
import type { Netns } from '../../../src/linux/netns.ts'
import { serveUdp } from '../../../src/linux/socket/apps.ts'
import { execTool } from '../../../src/linux/tools/exec.ts'
import { World } from '../../../src/linux/world.ts'
import { type DnsMessage, emitDns, parseDns } from '../../../src/wire/dns.ts'

type Answers = (name: string, type: string) => Partial<DnsMessage> | null

/** A client and a server that answers as told; what it was asked, with the port that asked. */
function lab(answers: Answers): { ns: Netns; asked: string[]; files: (libc: ProcessFiles['libc']) => ProcessFiles } {
  const w = new World()
  const [a, b] = [w.addNetns('a'), w.addNetns('b')]
  for (const [i, dev] of createLink({ ns: a, name: 'v0' }, { ns: b, name: 'v1' }, 1500).entries()) {
    setUp(dev.ns.lo)
    inetAddrAdd(dev, { ip: parseIpv4(`10.77.0.${i + 1}`)!, prefixLength: 24 })
  }
  for (const ns of [a, b]) for (const dev of ns.devices.values()) setUp(dev)
  const asked: string[] = []
  serveUdp(b, 0, 53, {
    respond: (bytes) => {
      const q = parseDns(bytes)!
      const { name, type } = q.questions[0]!
      asked.push(`${type} ${name}`)
      const m = answers(name, type)
      return m === null ? null : emitDns({ ...q, isResponse: true, ...m })
    },
  })
  const files = (libc: ProcessFiles['libc']): ProcessFiles => ({
    resolvConf: 'search one.test two.test\nnameserver 10.77.0.2\noptions ndots:2\n',
    hosts: '127.0.0.1 localhost\n10.9.9.9 known\n',
    libc,
    unmodelled: [],
  })
  return { ns: a, asked, files }
}

const nxdomain: Partial<DnsMessage> = { rcode: 'NXDOMAIN' }
const address = (name: string): Partial<DnsMessage> => ({ answers: [{ name, ttl: 5, type: 'A', data: '192.0.2.1' }] })

describe('the resolver', () => {
  it('asks A and AAAA from one socket, through the search list, then the name itself', () => {
    const { ns, asked, files } = lab((name, type) => (name === 'api' && type === 'A' ? address(name) : nxdomain))
    const found = new Resolver(ns, files('glibc')).addresses('api')
    expect([found.error, found.addresses, found.answeredAs]).toEqual([null, ['192.0.2.1'], 'api'])
    expect(asked).toEqual([
      'A api.one.test',
      'AAAA api.one.test',
      'A api.two.test',
      'AAAA api.two.test',
      'A api',
      'AAAA api',
    ])
  })

  it('asks a name with enough dots as it is first, glibc the list after it, musl not', () => {
    const glibc = lab(() => nxdomain)
    expect(new Resolver(glibc.ns, glibc.files('glibc')).addresses('a.b.c', ['A']).error).toBe('EAI_NONAME')
    expect(glibc.asked).toEqual(['A a.b.c', 'A a.b.c.one.test', 'A a.b.c.two.test'])
    const musl = lab(() => nxdomain)
    expect(new Resolver(musl.ns, musl.files('musl')).addresses('a.b.c', ['A']).error).toBe('EAI_NONAME')
    expect(musl.asked).toEqual(['A a.b.c'])
  })

  it('goes on after SERVFAIL with glibc and stops with musl', () => {
    const answers: Answers = (name) => (name === 'x.one.test' ? { rcode: 'SERVFAIL' } : address(name))
    const glibc = lab(answers)
    expect(new Resolver(glibc.ns, glibc.files('glibc')).addresses('x', ['A']).answeredAs).toBe('x.two.test')
    const musl = lab(answers)
    expect(new Resolver(musl.ns, musl.files('musl')).addresses('x', ['A']).error).toBe('EAI_AGAIN')
    expect(musl.asked).toEqual(['A x.one.test'])
  })

  it('searches no name that ends in a dot, and nothing for what /etc/hosts or the text itself says', () => {
    const { ns, asked, files } = lab(address)
    const resolver = new Resolver(ns, files('glibc'))
    expect(resolver.addresses('known').addresses).toEqual(['10.9.9.9'])
    expect(resolver.addresses('10.1.2.3').addresses).toEqual(['10.1.2.3'])
    expect(asked).toEqual([])
    resolver.addresses('x.', ['A'])
    expect(asked).toEqual(['A x'])
  })

  it('waits five seconds, twice, and tells a silent server from one that refuses', () => {
    const silent = lab(() => null)
    const start = silent.ns.world.nowNs
    expect(new Resolver(silent.ns, silent.files('glibc')).addresses('x.', ['A']).error).toBe('EAI_AGAIN')
    expect((silent.ns.world.nowNs - start) / 1e9).toBe(10)
    expect(silent.asked).toHaveLength(2)
    const refusing = lab(address)
    execTool(refusing.ns.world.netnsByName.get('b')!, 'iptables -A INPUT -p udp -j REJECT'.split(' '))
    const resolver = new Resolver(refusing.ns, refusing.files('glibc'))
    expect(resolver.addresses('x.', ['A']).error).toBe('EAI_AGAIN')
    expect(resolver.exchanges.map((e) => e.outcome)).toEqual(['refused', 'refused'])
  })

  it('says that a name is there without addresses', () => {
    const { ns, files } = lab(() => ({}))
    expect(new Resolver(ns, files('glibc')).addresses('x').error).toBe('EAI_NODATA')
  })
})
