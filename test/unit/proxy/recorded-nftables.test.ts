/**
 * The recorded expectations of kube-proxy's own nftables tests: dumps, flows and chain names.
 *
 * Those tests inject the mark as 0x4000.
 */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from '@jest/globals'
import { type NftablesState, nftablesMode } from '../../../src/proxy/nftables/mode.ts'
import { endpointNames, servicePortChains } from '../../../src/proxy/nftables/names.ts'
import type { ServicePort } from '../../../src/proxy/service-port.ts'
import type { IpFamily, NodeProgram, ProxyEndpointSlice, ProxyInput, ProxyService } from '../../../src/proxy/types.ts'
import { applyNft, dumpTable, sortDump, type TextTable, textTable, traceNft } from '../../support/nft-table.ts'

interface RecordedCase {
  test: string
  subtest: string | null
  syncIndex: number
  config: {
    ipFamily: IpFamily
    podCIDR: string
    serviceCIDRs: string
    localDetector: string
    masqueradeAll: boolean
    nodePortAddresses: string[]
    nodeName: string
    nodeIP: string
    localAddresses: string[]
  }
  services: ProxyService[]
  endpointSlices: ProxyEndpointSlice[]
  expectedDump: string | null
  flows:
    | {
        name: string
        sourceIP: string
        protocol?: string
        destIP: string
        destPort: number
        output: string
        masq: boolean
      }[]
    | null
  note?: string
}

interface Recorded {
  baseRulesIPv4: string
  chainNames: {
    servicePortChainNameBase: [string, string, string, string, string][]
    servicePortEndpointChainNameBase: [string, string, string, string, string, string][]
  }
  loadBalancerIPMode: {
    subtest: string
    featureGateLoadBalancerIPMode: boolean
    services: ProxyService[]
    endpointSlices: ProxyEndpointSlice[]
    expectLBIPProgrammed: boolean
  }[]
  cases: RecordedCase[]
}

function toInput({ config, services, endpointSlices }: RecordedCase): ProxyInput {
  const others = config.localAddresses.filter((ip) => ip !== config.nodeIP)
  return {
    node: { name: config.nodeName, ips: [config.nodeIP, ...others] },
    services,
    endpointSlices,
    config: {
      ipFamilies: [config.ipFamily],
      clusterCidr: config.podCIDR,
      serviceCidr: config.serviceCIDRs,
      localDetector: config.localDetector === 'NoOp' ? 'None' : 'ClusterCIDR',
      masqueradeAll: config.masqueradeAll,
      nodePortAddresses: config.nodePortAddresses,
    },
  }
}

function textOf(program: NodeProgram<NftablesState>): string {
  const text = program.verbs.map((verb) => (verb.verb === 'nft' ? verb.text : '')).join('')
  return text.replaceAll('0x00004000', '0x4000')
}

const recorded = JSON.parse(readFileSync('test/fixtures/recorded/kube-proxy/nftables.json', 'utf8')) as Recorded

describe('recorded kube-proxy nftables cases', () => {
  let previous: { name: string; program: NodeProgram<NftablesState>; table: TextTable } | undefined
  for (const recordedCase of recorded.cases) {
    const { test, subtest, syncIndex } = recordedCase
    const name = `${test} ${subtest ?? ''}`
    const before = previous?.name === name && syncIndex > 1 ? previous : undefined
    const program = nftablesMode.program(toInput(recordedCase), before?.program)
    const table = before === undefined ? textTable() : structuredClone(before.table)
    applyNft(table, textOf(program))
    previous = { name, program, table }
    const { expectedDump, flows, config } = recordedCase
    if (expectedDump !== null && expectedDump !== undefined) {
      it(`${name} sync ${syncIndex} leaves the recorded table`, () => {
        expect(dumpTable(table)).toBe(sortDump(expectedDump))
      })
    }
    for (const flow of flows ?? []) {
      it(`${name} sync ${syncIndex}: ${flow.name}`, () => {
        const packet = {
          sourceIp: flow.sourceIP,
          protocol: flow.protocol ?? 'TCP',
          destIp: flow.destIP,
          destPort: flow.destPort,
        }
        expect(traceNft(table, packet, config.localAddresses)).toEqual({ output: flow.output, masq: flow.masq })
      })
    }
  }

  it('starts on a node that was programmed with the recorded number of operations', () => {
    const startup = recorded.cases.find((c) => c.test === 'TestSyncProxyRulesStartup')
    if (startup === undefined) throw new Error('no TestSyncProxyRulesStartup')
    const input = toInput(startup)
    const setup = nftablesMode.program({ ...input, services: [], endpointSlices: [] })
    const old = {
      ...input,
      services: input.services.slice(0, 2),
      endpointSlices: input.endpointSlices.map((s, i) => ({
        ...s,
        endpoints: i === 0 ? (s.endpoints ?? []).slice(0, 1) : s.endpoints,
      })),
    }
    const first = nftablesMode.program(old)
    const table = textTable()
    applyNft(table, textOf(first))
    const restarted = nftablesMode.program(input, first, { restart: true })
    const operations = applyNft(table, textOf(restarted))
    expect(operations - textOf(setup).trimEnd().split('\n').length).toBe(14)
    expect(dumpTable(table)).toBe(sortDump(startup.expectedDump ?? ''))
  })

  it('names chains as recorded', () => {
    const port = (namespace: string, name: string, portName: string, protocol: string): ServicePort =>
      ({ serviceName: `${namespace}/${name}`, portName, protocol }) as ServicePort
    for (const [namespace, name, portName, protocol, base] of recorded.chainNames.servicePortChainNameBase) {
      expect(servicePortChains(port(namespace, name, portName, protocol)).cluster).toBe(`service-${base}`)
    }
    for (const [namespace, name, portName, protocol, target, base] of recorded.chainNames
      .servicePortEndpointChainNameBase) {
      const at = target.lastIndexOf(':')
      const endpoint = { ip: target.slice(0, at).replace(/[[\]]/g, ''), port: Number(target.slice(at + 1)) }
      expect(endpointNames(port(namespace, name, portName, protocol), endpoint).chain).toBe(`endpoint-${base}`)
    }
  })

  for (const ipMode of recorded.loadBalancerIPMode) {
    it(`${ipMode.subtest}: programs the address ${ipMode.expectLBIPProgrammed}`, () => {
      const program = nftablesMode.program({
        node: { name: 'n1', ips: ['192.168.0.2'] },
        services: ipMode.services,
        endpointSlices: ipMode.endpointSlices,
        config: { loadBalancerIpMode: ipMode.featureGateLoadBalancerIPMode },
      })
      const vip = ipMode.services[0]?.status?.loadBalancer?.ingress?.[0]?.ip ?? 'none'
      expect(textOf(program).includes(`{ ${vip} . `)).toBe(ipMode.expectLBIPProgrammed)
    })
  }
})
