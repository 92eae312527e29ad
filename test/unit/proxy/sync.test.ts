/** Partial syncs of the iptables mode: what is rewritten, what is deleted, when everything is written again. */
import { describe, expect, it } from '@jest/globals'
import { type IptablesState, iptablesMode } from '../../../src/proxy/iptables/mode.ts'
import { originKey } from '../../../src/proxy/origin-key.ts'
import type { NodeProgram, ProxyEndpointSlice, ProxyInput, ProxyService } from '../../../src/proxy/types.ts'
import { restoreTextOf } from '../../support/iptables-dump.ts'
import { applyRestore, type TracedTables } from '../../support/iptables-tracer.ts'

const config = { clusterCidr: '10.244.0.0/16' }
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
  return { node, services, endpointSlices, config: { ...config, ...more } }
}

function chainLines(program: NodeProgram<IptablesState>): string[] {
  return restoreTextOf(program)
    .split('\n')
    .filter((line) => /^:KUBE-(SVC|SVL|SEP|EXT|FW)-/.test(line))
}

function deletions(program: NodeProgram<IptablesState>): string[] {
  return restoreTextOf(program)
    .split('\n')
    .filter((line) => line.startsWith('-X'))
}

const two = input([service('a', 1), service('b', 2)], [slice('a', '10.244.1.1'), slice('b', '10.244.1.2')])

describe('kube-proxy iptables sync', () => {
  it('writes no per-service chain when nothing changed', () => {
    const first = iptablesMode.program(two)
    const second = iptablesMode.program(two, first)
    expect(chainLines(first)).toHaveLength(4)
    expect(chainLines(second)).toEqual([])
    expect(second.verbs).toHaveLength(1)
  })

  it('treats an EndpointSlice whose endpoints only changed places as unchanged, but moves their origins', () => {
    const before = input([service('a', 1)], [slice('a', '10.244.1.1', '10.244.1.2')])
    const after = input([service('a', 1)], [slice('a', '10.244.1.2', '10.244.1.1')])
    const first = iptablesMode.program(before)
    const second = iptablesMode.program(after, first)
    expect(chainLines(second)).toEqual([])
    const sep = [...second.origins.keys()].filter((key) => key.includes('KUBE-SEP-'))
    const moved = sep.map((key) => second.origins.get(key)?.[0]?.path)
    expect(moved).not.toEqual(sep.map((key) => first.origins.get(key)?.[0]?.path))
  })

  it('rewrites the chains of the Service whose endpoints changed and deletes the chain of the endpoint that left', () => {
    const first = iptablesMode.program(two)
    const after = { ...two, endpointSlices: [slice('a', '10.244.1.1'), slice('b', '10.244.1.3')] }
    const second = iptablesMode.program(after, first)
    expect(chainLines(second)).toHaveLength(3)
    expect(deletions(second)).toHaveLength(1)
    expect(restoreTextOf(second)).toContain('--to-destination 10.244.1.3:80')
    expect(restoreTextOf(second)).not.toContain('--to-destination 10.244.1.1:80')
  })

  it('keeps the origins of chains it did not write', () => {
    const first = iptablesMode.program(two)
    const second = iptablesMode.program(two, first)
    expect(second.origins).toEqual(first.origins)
    expect(first.origins.get(originKey('IPv4', 'nat', 'KUBE-SERVICES'))?.[1]).toEqual({
      kind: 'Service',
      namespace: 'ns',
      name: 'b',
      path: ['spec', 'clusterIP'],
    })
  })

  it('ends in the tables a full sync would write, over a random history', () => {
    let seed = 7
    const next = (n: number): number => {
      seed = (seed * 1103515245 + 12345) % 2147483648
      return Math.floor(seed / 65536) % n
    }
    const tables: TracedTables = new Map()
    let program: NodeProgram<IptablesState> | undefined
    for (let step = 0; step < 60; step++) {
      const services: ProxyService[] = []
      const slices: ProxyEndpointSlice[] = []
      for (let i = 1; i <= 4; i++) {
        if (next(4) === 0) continue
        const local = next(2) === 0 ? { externalTrafficPolicy: 'Local' } : {}
        const kind = next(2) === 0 ? { type: 'NodePort', ports: [{ port: 80, nodePort: 30000 + i }], ...local } : {}
        services.push(service(`s${i}`, i, kind))
        slices.push(slice(`s${i}`, ...Array.from({ length: next(3) }, (_, n) => `10.244.${i}.${n + next(2)}`)))
      }
      const state = input(services, slices)
      program = iptablesMode.program(state, program)
      applyRestore(tables, restoreTextOf(program))
      const fresh: TracedTables = new Map()
      applyRestore(fresh, restoreTextOf(iptablesMode.program(state)))
      for (const [name, table] of fresh)
        expect(new Map([...table].sort())).toEqual(new Map([...(tables.get(name) ?? [])].sort()))
    }
  })

  it('writes everything and ensures the jumps again on a forced full sync and on a configuration change', () => {
    const first = iptablesMode.program(two)
    const forced = iptablesMode.program(two, first, { full: true })
    const changed = iptablesMode.program({ ...two, config: { masqueradeAll: true } }, first)
    for (const program of [forced, changed]) {
      expect(chainLines(program)).toHaveLength(4)
      expect(program.verbs.filter((verb) => verb.verb === 'ensure-rule')).toHaveLength(14)
    }
  })

  it('drops endpoint comments above 1000 endpoints and lets stale chains wait when told to', () => {
    const ips = (count: number): string[] => Array.from({ length: count }, (_, i) => `10.244.${i >> 8}.${i & 255}`)
    const small = iptablesMode.program(input([service('a', 1)], [slice('a', ...ips(1000))]))
    expect(restoreTextOf(small)).toContain('"ns/a -> 10.244.0.0:80"')
    const large = iptablesMode.program(input([service('a', 1)], [slice('a', ...ips(1001))]))
    expect(restoreTextOf(large)).not.toContain(' -> ')
    expect(restoreTextOf(large)).toContain('"ns/a cluster IP"')

    const fewer = input([service('a', 1)], [slice('a', ...ips(1200))])
    const more = iptablesMode.program(input([service('a', 1)], [slice('a', ...ips(1201))]))
    const waiting = iptablesMode.program(fewer, more, { skipCleanup: true })
    expect(deletions(waiting)).toEqual([])
    expect(deletions(iptablesMode.program(fewer, waiting))).toHaveLength(1)
  })
})
