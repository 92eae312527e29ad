/**
 * The recorded expectations of kube-proxy's own unit tests: rule dumps, flows and chain contents.
 *
 * Expected dumps are in the upstream tests' canonical order, and those tests inject the mark as 0x4000 where kube-proxy
 * prints 0x00004000.
 */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from '@jest/globals'
import { type IptablesState, iptablesMode } from '../../../src/proxy/iptables/mode.ts'
import { probability } from '../../../src/proxy/iptables/service-chains.ts'
import type { IpFamily, NodeProgram, ProxyEndpointSlice, ProxyInput, ProxyService } from '../../../src/proxy/types.ts'
import { canonicalDump, restoreTextOf } from '../../support/iptables-dump.ts'
import { applyRestore, splitArguments, type TracedTables, tracePacket } from '../../support/iptables-tracer.ts'

interface RecordedFlow {
  name: string
  sourceIP: string
  protocol?: string
  destIP: string
  destPort: number
  output: string
  masq: boolean
}

interface RecordedCase {
  test: string
  subtest: string | null
  syncIndex: number
  config: {
    ipFamily: IpFamily
    podCIDR: string
    localDetector: string
    masqueradeAll: boolean
    localhostNodePorts: boolean
    nodePortAddresses: string[]
    nodeName: string
    nodeIPs: string[]
    hasRandomFully: boolean
    conntrackTCPLiberal?: boolean
    nfacctCounters?: string[]
  }
  services: ProxyService[]
  endpointSlices: ProxyEndpointSlice[]
  expectedDump?: string | null
  dumpIsComplete?: boolean | null
  expectedChains?: Record<string, Record<string, string[]>>
  flows: RecordedFlow[] | null
  source: string
}

interface RecordedIpMode {
  subtest: string
  featureGateLoadBalancerIPMode: boolean
  services: ProxyService[]
  endpointSlices: ProxyEndpointSlice[]
  expectLBIPProgrammed: boolean
}

interface Recorded {
  computeProbability: Record<string, string>
  loadBalancerIPMode: RecordedIpMode[]
  cases: RecordedCase[]
}

/** A failed partial restore precedes this sync, so kube-proxy does a full one: dumps of it are not partial. */
const FULL_RESYNC = { test: 'TestSyncProxyRulesRepeated', syncIndex: 10 }

/** The tracer of this version does not look at the protocol; flows recorded with it may name the wrong one. */
const PROTOCOL_BLIND = 'v1.28.0'

const recorded = JSON.parse(readFileSync('test/fixtures/recorded/kube-proxy/iptables.json', 'utf8')) as Recorded

describe('recorded kube-proxy iptables cases', () => {
  let previous: { name: string; program: NodeProgram<IptablesState>; tables: TracedTables } | undefined
  for (const recordedCase of recorded.cases) {
    const { test, subtest, syncIndex } = recordedCase
    const name = `${test} ${subtest ?? ''}`
    const before = previous?.name === name && syncIndex > 1 ? previous : undefined
    const full = test === FULL_RESYNC.test && syncIndex === FULL_RESYNC.syncIndex
    const program = iptablesMode.program(toInput(recordedCase), before?.program, { full })
    const text = restoreTextOf(program).replaceAll('0x00004000', '0x4000')
    const tables: TracedTables = before === undefined ? new Map() : structuredClone(before.tables)
    applyRestore(tables, text)
    previous = { name, program, tables }

    if (recordedCase.expectedDump) {
      const expected = recordedCase.expectedDump
      it(`${name} sync ${syncIndex} writes the recorded rules`, () => {
        expect(canonicalDump(text)).toBe(expected.trimEnd())
      })
    }
    for (const [table, chains] of Object.entries(recordedCase.expectedChains ?? {})) {
      for (const [chain, rules] of Object.entries(chains)) {
        it(`${name} sync ${syncIndex} writes the recorded ${table} ${chain}`, () => {
          const written = tables.get(table)?.get(chain)
          expect(written).toEqual(rules.map((rule) => splitArguments(rule).slice(2)))
        })
      }
    }
    for (const flow of recordedCase.flows ?? []) {
      it(`${name} sync ${syncIndex}: ${flow.name}`, () => {
        const packet = {
          sourceIp: flow.sourceIP,
          protocol: recordedCase.source.includes(PROTOCOL_BLIND) ? null : (flow.protocol ?? 'TCP'),
          destIp: flow.destIP,
          destPort: flow.destPort,
        }
        expect(tracePacket(tables, packet, recordedCase.config.nodeIPs)).toEqual({
          output: flow.output,
          masq: flow.masq,
        })
      })
    }
  }

  for (const ipMode of recorded.loadBalancerIPMode) {
    it(`${ipMode.subtest}: programs the address ${ipMode.expectLBIPProgrammed}`, () => {
      const program = iptablesMode.program({
        node: { name: 'n1', ips: ['192.168.0.2'] },
        services: ipMode.services,
        endpointSlices: ipMode.endpointSlices,
        config: { loadBalancerIpMode: ipMode.featureGateLoadBalancerIPMode },
      })
      const vip = ipMode.services[0]?.status?.loadBalancer?.ingress?.[0]?.ip ?? 'none'
      expect(restoreTextOf(program).includes(` -d ${vip} `)).toBe(ipMode.expectLBIPProgrammed)
    })
  }

  it('prints probabilities as recorded', () => {
    for (const [n, text] of Object.entries(recorded.computeProbability)) expect(probability(Number(n))).toBe(text)
  })
})

function toInput({ config, services, endpointSlices }: RecordedCase): ProxyInput {
  return {
    node: { name: config.nodeName, ips: config.nodeIPs },
    services,
    endpointSlices,
    config: {
      ipFamilies: [config.ipFamily],
      clusterCidr: config.podCIDR,
      localDetector: config.localDetector === 'NoOp' ? 'None' : 'ClusterCIDR',
      masqueradeAll: config.masqueradeAll,
      localhostNodePorts: config.localhostNodePorts,
      nodePortAddresses: config.nodePortAddresses,
      randomFully: config.hasRandomFully,
      tcpBeLiberal: config.conntrackTCPLiberal ?? false,
      nfacctCounters: config.nfacctCounters ?? [],
    },
  }
}
