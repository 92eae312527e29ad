/**
 * The recorded expectations of kube-proxy's own IPVS tests: virtual servers, ipsets, rules.
 */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from '@jest/globals'
import { type IpvsState, ipvsMode } from '../../../src/proxy/ipvs/mode.ts'
import type { SetName } from '../../../src/proxy/ipvs/sets.ts'
import type { IpFamily, NodeProgram, ProxyEndpointSlice, ProxyInput, ProxyService } from '../../../src/proxy/types.ts'
import { splitArguments } from '../../support/iptables-tracer.ts'

interface RecordedServer {
  address: string
  port: number
  protocol: string
  scheduler?: string
  flags?: number
  timeout?: number
  realServers?: ({ address: string; port: number; weight: number } | string)[]
}

interface RecordedCase {
  test: string
  subtest: string | null
  syncIndex: number
  config: {
    ipFamily: IpFamily
    scheduler: string
    strictARP: boolean
    masqueradeAll: boolean
    nodePortAddresses: string[]
    nodeName: string
    nodeIPs: string[]
  }
  services: ProxyService[]
  endpointSlices: ProxyEndpointSlice[]
  expected: {
    virtualServersExact?: RecordedServer[]
    virtualServer?: { totalVirtualServers: number }
    ipsets?: Record<string, { ip?: string; port: number; protocol: string; setType: string }[]>
    iptablesChains?: Record<string, { jump: string; matchSet: string }[]>
    loopBackSetSize?: number
    clusterIPVirtualServer?: RecordedServer
    virtualServersByIP?: Record<
      string,
      { port: number; protocol: string; realServerCount: number; realServers: string[] }
    >
  }
}

const FLAG_PERSISTENT = 1

/** The recording of this test holds only its last Service; the first two differ in these numbers. */
const INCOMPLETE = 'TestHealthCheckNodePort'
const LEFT_OUT: readonly ProxyService[] = [
  [1, 30000],
  [2, 30001],
].map(([i, healthCheckNodePort]) => ({
  metadata: { name: `svc${i}`, namespace: 'ns1' },
  spec: {
    type: 'LoadBalancer',
    clusterIP: `10.20.30.4${i}`,
    externalTrafficPolicy: 'Local',
    healthCheckNodePort,
    ports: [{ name: 'p80', port: 80, protocol: 'TCP', nodePort: 3000 + (i ?? 0) }],
  },
}))
function toInput({ test, config, services: recorded, endpointSlices }: RecordedCase): ProxyInput {
  const all = test === INCOMPLETE ? [...LEFT_OUT, ...recorded] : recorded
  const services = all.map((service) => ({
    ...service,
    spec: { ...service.spec, ports: service.spec.ports?.map((port) => ({ ...port, port: port.port ?? 0 })) },
  }))
  return {
    node: { name: config.nodeName, ips: config.nodeIPs },
    services,
    endpointSlices,
    config: {
      ipFamilies: [config.ipFamily],
      localDetector: 'None',
      masqueradeAll: config.masqueradeAll,
      nodePortAddresses: config.nodePortAddresses,
      ipvsScheduler: config.scheduler,
      strictArp: config.strictARP,
    },
  }
}

/** Rules of a chain of either table, nat first, as target and set. */
function chainOf(program: NodeProgram<IpvsState>, chain: string): { jump: string; matchSet: string }[] {
  const text = program.verbs.map((verb) => (verb.verb === 'iptables-restore' ? verb.text : '')).join('')
  return text
    .split('\n')
    .map(splitArguments)
    .filter(([append, name]) => append === '-A' && name === chain)
    .map((args) => ({
      jump: args[args.indexOf('-j') + 1] ?? '',
      matchSet: args.includes('--match-set') ? (args[args.indexOf('--match-set') + 1] ?? '') : '',
    }))
}

const { cases } = JSON.parse(readFileSync('test/fixtures/recorded/kube-proxy/ipvs.json', 'utf8')) as {
  cases: RecordedCase[]
}

describe('recorded kube-proxy IPVS cases', () => {
  let previous: { name: string; program: NodeProgram<IpvsState> } | undefined
  for (const recordedCase of cases) {
    const { test, subtest, syncIndex, expected } = recordedCase
    const name = `${test} ${subtest ?? ''}`
    const before = previous?.name === name && syncIndex > 1 ? previous.program : undefined
    const program = ipvsMode.program(toInput(recordedCase), before)
    previous = { name, program }
    const state = program.state.get('IPv4')
    if (state === undefined) throw new Error('no IPv4 state')
    const servers = [...state.servers.values()]
    const targets = (address: string, port: number): string[] =>
      servers
        // Some upstream tests give the Service no port: the API server's default is not applied, and it is 0.
        .filter(({ server }) => server.address === address && (server.port === port || server.port === 0))
        .flatMap(({ destinations }) => [...destinations.keys()])
        .sort()

    it(`${name} sync ${syncIndex} is as recorded`, () => {
      let checked = 0
      if (expected.virtualServersExact !== undefined) {
        checked++
        const exact = servers.map(({ server, destinations }) => ({
          address: server.address,
          port: server.port,
          protocol: server.protocol.toUpperCase(),
          scheduler: server.scheduler,
          flags: server.persistence === null ? 0 : FLAG_PERSISTENT,
          timeout: server.persistence ?? 0,
          realServers: [...destinations].map(([target, weight]) => ({
            address: target.split(':')[0],
            port: Number(target.split(':')[1]),
            weight,
          })),
        }))
        const byAddress = (a: { address: string }, b: { address: string }): number => (a.address < b.address ? -1 : 1)
        expect(exact.sort(byAddress)).toEqual([...expected.virtualServersExact].sort(byAddress))
      }
      if (expected.virtualServer !== undefined) {
        checked++
        expect(servers).toHaveLength(expected.virtualServer.totalVirtualServers)
      }
      for (const [set, entries] of Object.entries(expected.ipsets ?? {})) {
        checked++
        const texts = entries.map(({ ip, port, protocol, setType }) =>
          setType === 'bitmap:port' ? String(port) : `${ip},${protocol}:${port}`,
        )
        expect([...(state.sets.get(set as SetName) ?? [])].sort()).toEqual(texts.sort())
      }
      for (const [chain, rules] of Object.entries(expected.iptablesChains ?? {})) {
        checked++
        expect(chainOf(program, chain)).toEqual(rules.map(({ jump, matchSet }) => ({ jump, matchSet })))
      }
      if (expected.loopBackSetSize !== undefined) {
        checked++
        expect(state.sets.get('KUBE-LOOP-BACK')?.size).toBe(expected.loopBackSetSize)
      }
      const { clusterIPVirtualServer: one } = expected
      if (one?.realServers !== undefined) {
        checked++
        expect(targets(one.address, one.port)).toEqual(one.realServers)
      }
      for (const [ip, { port, realServers }] of Object.entries(expected.virtualServersByIP ?? {})) {
        checked++
        expect(targets(ip, port)).toEqual(realServers ?? [])
      }
      expect(checked).toBeGreaterThan(0)
    })
  }
})
