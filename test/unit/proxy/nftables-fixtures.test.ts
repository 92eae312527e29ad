/** The nftables mode over every fixture: the transaction against the golden file, the flows, the origins. */
import { describe, expect, it } from '@jest/globals'
import { nftablesMode } from '../../../src/proxy/nftables/mode.ts'
import { originKey } from '../../../src/proxy/origin-key.ts'
import type { NodeProgram } from '../../../src/proxy/types.ts'
import { applyNft, textTable, traceNft } from '../../support/nft-table.ts'
import { goldenRules, proxyFixtures } from '../../support/proxy-fixtures.ts'

function nftText(program: NodeProgram, family?: 'IPv4' | 'IPv6'): string {
  return program.verbs
    .map((verb) => (verb.verb === 'nft' && (family === undefined || verb.family === family) ? verb.text : ''))
    .join('')
}

describe.each(proxyFixtures())('kube-proxy nftables mode, $name', ({ name, input, flows }) => {
  const program = nftablesMode.program(input)

  it('writes the reviewed transaction', () => {
    const text = nftText(program)
    expect(text).toBe(goldenRules(name, text, 'nft'))
  })

  // On loopback and on addresses beside the primary one NodePorts answer in iptables mode only.
  const alike = flows.filter(({ to }) => to.includes('.') && !to.startsWith('127.') && to !== input.node.ips[1])
  it.each(alike)('$proto from $from to $to port $port: "$output", masquerade $masq', (flow) => {
    const table = textTable()
    applyNft(table, nftText(program, 'IPv4'))
    const packet = { sourceIp: flow.from, protocol: flow.proto, destIp: flow.to, destPort: flow.port }
    const traced = traceNft(table, packet, input.node.ips)
    if (flow.output === '' && table.containers.get('cluster-ips')?.elements.has(flow.to)) {
      expect(traced.output).toBe('REJECT')
      return
    }
    // The health check NodePort has an ACCEPT rule in iptables mode only.
    const output = flow.output === 'ACCEPT' ? '' : flow.output
    expect(traced).toEqual({ output, masq: flow.masq })
  })

  it('names an origin for every rule of a service or endpoint chain and for every element', () => {
    const counts = new Map<string, number>()
    for (const verb of program.verbs) {
      if (verb.verb !== 'nft') continue
      for (const line of verb.text.split('\n')) {
        const rule = /^add rule ip6? kube-proxy (\S+)/.exec(line)
        if (rule !== null) {
          const key = originKey(verb.family, 'kube-proxy', rule[1] ?? '')
          const index = counts.get(key) ?? 0
          counts.set(key, index + 1)
          expect(program.origins.get(key)?.[index] === null).toBe(!(rule[1] ?? '').includes('/'))
        }
        const element = /^add element ip6? kube-proxy (\S+) \{ (.*?)(?: comment .*)?(?: : .*)? \}$/.exec(line)
        if (element === null || element[1] === 'nodeport-ips') continue
        const origin = program.lookups.get(`${verb.family} ${element[1]} ${element[2]?.replace(/ comment.*/, '')}`)
        expect(origin?.kind).toBe('Service')
      }
    }
    for (const [key, count] of counts) expect(program.origins.get(key)).toHaveLength(count)
  })

  it('writes the same whatever the order of the objects', () => {
    const reversed = {
      ...input,
      services: [...input.services].reverse(),
      endpointSlices: [...input.endpointSlices].reverse(),
    }
    expect(nftText(nftablesMode.program(reversed))).toBe(nftText(program))
  })
})
