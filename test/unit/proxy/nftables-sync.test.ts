/** Partial syncs of the nftables mode: the smallest transaction, stale chains, restarts. */
import { describe, expect, it } from '@jest/globals'
import { type NftablesState, nftablesMode } from '../../../src/proxy/nftables/mode.ts'
import type { NodeProgram, ProxyEndpointSlice, ProxyInput, ProxyService } from '../../../src/proxy/types.ts'
import { applyNft, dumpTable, textTable } from '../../support/nft-table.ts'

const node = { name: 'n1', ips: ['192.168.10.11'] }

function service(name: string, octet: number, spec: object = {}): ProxyService {
  return {
    metadata: { name, namespace: 'ns' },
    spec: { clusterIP: `10.96.0.${octet}`, ports: [{ port: 80 }], ...spec },
  }
}

function slice(name: string, ...ips: string[]): ProxyEndpointSlice {
  return {
    metadata: { name: `${name}-1`, namespace: 'ns', labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    endpoints: ips.map((ip) => ({ addresses: [ip] })),
    ports: [{ port: 80 }],
  }
}

function input(services: ProxyService[], endpointSlices: ProxyEndpointSlice[], more: object = {}): ProxyInput {
  return { node, services, endpointSlices, config: { clusterCidr: '10.244.0.0/16', ...more } }
}

function texts(program: NodeProgram<NftablesState>): string[] {
  return program.verbs.flatMap((verb) => (verb.verb === 'nft' ? [verb.text] : []))
}

const two = input([service('a', 1), service('b', 2)], [slice('a', '10.244.1.1'), slice('b', '10.244.1.2')])

describe('kube-proxy nftables sync', () => {
  it('runs no transaction when nothing changed', () => {
    expect(nftablesMode.program(two, nftablesMode.program(two)).verbs).toEqual([])
  })

  it('touches the chains of the Service whose endpoint left, flushes the old chain and deletes it a second later', () => {
    const first = nftablesMode.program(two, undefined, { atSeconds: 100 })
    const after = { ...two, endpointSlices: [slice('a', '10.244.1.1'), slice('b', '10.244.1.3')] }
    const second = nftablesMode.program(after, first, { atSeconds: 110 })
    expect(texts(second)).toHaveLength(1)
    const lines = texts(second)[0]?.trimEnd().split('\n') ?? []
    expect(lines.every((line) => line.includes('/b/'))).toBe(true)
    expect(lines.map((line) => line.split(' ', 2).join(' '))).toEqual([
      'add chain', // the new endpoint's
      'flush chain',
      'add chain', // the Service's
      'flush chain',
      'add rule', // masquerade from outside
      'add rule', // numgen
      'add rule', // hairpin
      'add rule', // dnat
      'flush chain', // the old endpoint's
    ])
    const soon = nftablesMode.program(after, second, { atSeconds: 111 })
    expect(texts(soon).join('')).toMatch(/^flush chain ip kube-proxy endpoint-\S+__10.244.1.2\/80\n$/)
    const later = nftablesMode.program(after, soon, { atSeconds: 112.5 })
    expect(texts(later)).toEqual([expect.stringMatching(/^delete chain ip kube-proxy endpoint-\S+__10.244.1.2\/80\n$/)])
    expect(texts(nftablesMode.program(after, later, { atSeconds: 120 }))).toEqual([])
  })

  it('replaces an element that leads elsewhere and deletes the one nobody asks for', () => {
    const first = nftablesMode.program(two)
    const second = nftablesMode.program({ ...two, services: two.services.slice(0, 1), endpointSlices: [] }, first)
    const text = texts(second).join('')
    expect(text).toContain('delete element ip kube-proxy service-ips { 10.96.0.1 . tcp . 80 }\n')
    expect(text).toContain('{ 10.96.0.1 . tcp . 80 comment "ns/a" : goto reject-chain }')
    expect(text).toContain('delete element ip kube-proxy cluster-ips { 10.96.0.2 }\n')
    const local = [service('a', 1, { internalTrafficPolicy: 'Local' }), service('b', 2)]
    const third = nftablesMode.program({ ...two, services: local }, first)
    expect(texts(third).join('')).toContain('no-endpoint-services { 10.96.0.1 . tcp . 80 comment "ns/a" : drop }')
  })

  it('deletes affinity sets at once, with the rules that refer to them gone in the same transaction', () => {
    const sticky = { sessionAffinity: 'ClientIP', sessionAffinityConfig: { clientIP: { timeoutSeconds: 10 } } }
    const table = textTable()
    const first = nftablesMode.program(input([service('a', 1, sticky)], [slice('a', '10.244.1.1')]))
    applyNft(table, texts(first).join(''))
    expect([...table.containers.keys()].filter((name) => name.startsWith('affinity-'))).toHaveLength(1)
    applyNft(table, texts(nftablesMode.program(input([service('a', 1)], [slice('a', '10.244.1.1')]), first)).join(''))
    expect([...table.containers.keys()].filter((name) => name.startsWith('affinity-'))).toEqual([])
    expect(dumpTable(table)).not.toContain('affinity')
  })

  it('writes the table again on a forced full sync, and makes the base chains anew when kube-proxy restarts', () => {
    const first = nftablesMode.program(two)
    const forced = texts(nftablesMode.program(two, first, { full: true })).join('')
    const restarted = texts(nftablesMode.program(two, first, { restart: true })).join('')
    expect(forced).toContain('add chain ip kube-proxy nat-output { type nat hook output priority -100 ; }')
    expect(forced).not.toContain('delete chain')
    expect(restarted).toContain('add chain ip kube-proxy nat-output\ndelete chain ip kube-proxy nat-output\n')
    expect(restarted).not.toContain('dnat to')
    expect(restarted).not.toContain('add element ip kube-proxy service-ips')
    const table = textTable()
    applyNft(table, texts(first).join(''))
    const before = dumpTable(table)
    applyNft(table, restarted)
    expect(dumpTable(table)).toBe(before)
  })

  it('ends in the table a full sync would write, over a random history', () => {
    let seed = 7
    const next = (n: number): number => {
      seed = (seed * 1103515245 + 12345) % 2147483648
      return Math.floor(seed / 65536) % n
    }
    const table = textTable()
    let program: NodeProgram<NftablesState> | undefined
    for (let step = 0; step < 60; step++) {
      const services: ProxyService[] = []
      const slices: ProxyEndpointSlice[] = []
      for (let i = 1; i <= 4; i++) {
        if (next(4) === 0) continue
        const local = next(2) === 0 ? { externalTrafficPolicy: 'Local' } : {}
        const sticky = next(3) === 0 ? { sessionAffinity: 'ClientIP' } : {}
        const kind = next(2) === 0 ? { type: 'NodePort', ports: [{ port: 80, nodePort: 30000 + i }], ...local } : {}
        services.push(service(`s${i}`, i, { ...kind, ...sticky }))
        slices.push(slice(`s${i}`, ...Array.from({ length: next(3) }, (_, n) => `10.244.${i}.${n + next(2)}`)))
      }
      const state = input(services, slices)
      program = nftablesMode.program(state, program, { restart: next(10) === 0 })
      for (const text of texts(program)) applyNft(table, text)
      // Chains that wait for their deletion are gone after another sync.
      program = nftablesMode.program(state, program)
      for (const text of texts(program)) applyNft(table, text)
      const fresh = textTable()
      applyNft(fresh, texts(nftablesMode.program(state)).join(''))
      expect(dumpTable(table)).toBe(dumpTable(fresh))
    }
  })
})
