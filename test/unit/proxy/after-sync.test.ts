/** Health check NodePorts and the UDP conntrack clean-up: what every mode does beside its rules. */
import { describe, expect, it } from '@jest/globals'
import { isStaleUdpEntry } from '../../../src/proxy/conntrack.ts'
import { type HealthCheck, healthResponse } from '../../../src/proxy/health.ts'
import { PROXY_MODES } from '../../../src/proxy/registry.ts'
import type { ProxyEndpointSlice, ProxyInput, ProxyService, ProxySliceEndpoint } from '../../../src/proxy/types.ts'

const node = { name: 'n1', ips: ['192.168.10.11', '10.244.1.1'] }

function slice(endpoints: ProxySliceEndpoint[], protocol = 'TCP'): ProxyEndpointSlice {
  return {
    metadata: { name: 'a-1', namespace: 'ns', labels: { 'kubernetes.io/service-name': 'a' } },
    addressType: 'IPv4',
    endpoints,
    ports: [{ port: 53, protocol }],
  }
}

const balanced: ProxyService = {
  metadata: { name: 'a', namespace: 'ns' },
  spec: {
    type: 'LoadBalancer',
    clusterIP: '10.96.0.1',
    externalTrafficPolicy: 'Local',
    healthCheckNodePort: 32000,
    ports: [{ port: 80, nodePort: 30080 }],
  },
}

function input(service: ProxyService, endpoints: ProxySliceEndpoint[], protocol = 'TCP', more = {}): ProxyInput {
  return { node, services: [service], endpointSlices: [slice(endpoints, protocol)], config: more }
}

const here = (ip: string, conditions = {}): ProxySliceEndpoint => ({ addresses: [ip], nodeName: 'n1', conditions })

describe.each(PROXY_MODES.map((mode) => ({ name: mode.name, mode })))('health checks of $name mode', ({ mode }) => {
  it('counts the ready endpoints of this node, one per address', () => {
    const endpoints = [
      here('10.244.1.5'),
      here('10.244.1.5'),
      here('10.244.1.6', { ready: false, serving: true, terminating: true }),
      { addresses: ['10.244.2.5'], nodeName: 'n2' },
    ]
    const [check] = mode.program(input(balanced, endpoints)).health
    expect(check).toMatchObject({ namespace: 'ns', name: 'a', port: 32000, localEndpoints: 1 })
  })

  it('listens where NodePorts do', () => {
    const everywhere = mode.name === 'nftables' ? ['192.168.10.11'] : []
    expect(mode.program(input(balanced, [])).health[0]?.ips).toEqual(everywhere)
    const narrowed = { nodePortAddresses: ['192.168.10.0/24'] }
    expect(mode.program(input(balanced, [], 'TCP', narrowed)).health[0]?.ips).toEqual(['192.168.10.11'])
  })

  it('has none for a Service whose policy is Cluster', () => {
    const cluster = { ...balanced, spec: { ...balanced.spec, externalTrafficPolicy: 'Cluster' } }
    expect(mode.program(input(cluster, [])).health).toEqual([])
  })
})

describe('the health check server', () => {
  const check: HealthCheck = { namespace: 'ns', name: 'a', port: 32000, ips: [], localEndpoints: 2 }
  const date = new Date(0)
  const get = 'GET / HTTP/1.1\r\nHost: n1:32000\r\n\r\n'

  it('answers 200 with count, body and headers in the order of the real server', () => {
    const body =
      '{\n\t"service": {\n\t\t"namespace": "ns",\n\t\t"name": "a"\n\t},\n\t"localEndpoints": 2,\n\t"serviceProxyHealthy": true\n}'
    expect(healthResponse(check, get, true, date)).toEqual({
      text: `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff\r\nX-Load-Balancing-Endpoint-Weight: 2\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      isLast: false,
    })
  })

  it.each([
    ['without local endpoints', { ...check, localEndpoints: 0 }, true],
    ['while kube-proxy is not healthy', check, false],
  ] as const)('answers 503 %s', (_title, with503, isHealthy) => {
    expect(healthResponse(with503, get, isHealthy, date).text).toMatch(/^HTTP\/1\.1 503 Service Unavailable\r\n/)
  })

  it('ends the connection with HTTP/1.0, when asked to, and on what is no request', () => {
    expect(healthResponse(check, 'GET / HTTP/1.0\r\n\r\n', true, date)).toMatchObject({
      isLast: true,
      text: expect.stringMatching(/^HTTP\/1\.0 200 OK\r\n/),
    })
    const closing = healthResponse(check, 'GET / HTTP/1.1\r\nConnection: close\r\n\r\n', true, date)
    expect([closing.isLast, closing.text.includes('\r\nConnection: close\r\n')]).toEqual([true, true])
    expect(healthResponse(check, 'hello\r\n', true, date)).toMatchObject({
      isLast: true,
      text: expect.stringMatching(/^HTTP\/1\.1 400 Bad Request\r\n/),
    })
  })
})

describe('the UDP conntrack clean-up', () => {
  const [mode] = PROXY_MODES
  if (mode === undefined) throw new Error('no mode')
  const dns: ProxyService = {
    metadata: { name: 'a', namespace: 'ns' },
    spec: {
      type: 'NodePort',
      clusterIP: '10.96.0.1',
      externalIPs: ['203.0.113.9'],
      ports: [{ port: 53, protocol: 'UDP', nodePort: 30053 }],
    },
  }
  const first = mode.program(input(dns, [here('10.244.1.5')], 'UDP'))

  it('is due when endpoints of a Service with a UDP port changed, and only then', () => {
    expect(first.conntrack).toHaveLength(1)
    expect(mode.program(input(dns, [here('10.244.1.5')], 'UDP'), first).conntrack).toEqual([])
    expect(mode.program(input(dns, [here('10.244.1.6')], 'UDP'), first).conntrack).toHaveLength(1)
    expect(mode.program(input(dns, [], 'UDP'), first).conntrack).toHaveLength(1)
    const tcp = mode.program(input(balanced, [here('10.244.1.5')]))
    expect(tcp.conntrack).toEqual([])
  })

  it('takes what leads to no serving endpoint, by address and by NodePort, and nothing else', () => {
    const terminating = here('10.244.1.6', { ready: false, serving: true, terminating: true })
    const [serving] = mode.program(input(dns, [terminating], 'UDP'), first).conntrack
    if (serving === undefined) throw new Error('nothing to clean')
    expect(isStaleUdpEntry(serving, '10.96.0.1', 53, '10.244.1.5')).toBe(true)
    expect(isStaleUdpEntry(serving, '203.0.113.9', 53, '203.0.113.9')).toBe(true)
    expect(isStaleUdpEntry(serving, '192.168.10.11', 30053, '10.244.1.5')).toBe(true)
    expect(isStaleUdpEntry(serving, '10.96.0.1', 53, '10.244.1.6')).toBe(false)
    expect(isStaleUdpEntry(serving, '10.96.0.1', 54, '10.244.1.5')).toBe(false)
    expect(isStaleUdpEntry(serving, '10.96.0.2', 53, '10.244.1.5')).toBe(false)
  })

  it('leaves a Service without any serving endpoint alone', () => {
    const [serving] = mode.program(input(dns, [], 'UDP'), first).conntrack
    expect([serving?.byAddress.size, serving?.byNodePort.size]).toEqual([0, 0])
  })
})
