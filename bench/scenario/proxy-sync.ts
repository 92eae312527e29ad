/**
 * kube-proxy's syncs: 10,000 Services with 150,000 endpoints, in each mode. `full` is the first sync of a node, with
 * objects that were never seen; `one-endpoint` the sync after one endpoint of one Service went. What is timed is the making of
 * the program (the text kube-proxy would write), not its loading.
 */
import { PROXY_MODES } from '../../src/proxy/registry.ts'
import type { ProxyEndpointSlice, ProxyInput, ProxyService } from '../../src/proxy/types.ts'
import { type BenchRow, cpuNs, rowOf } from '../harness.ts'
import type { Suite } from '../suites.ts'

const SERVICES = 10_000
const ENDPOINTS_PER_SERVICE = 15
const NODES = 100
/** A run makes objects of its own, which costs more than the sync: fewer runs than elsewhere. */
const FULL_RUNS = 5
const CHANGES = 20

/** proxy-sync/MODE-full and proxy-sync/MODE-one-endpoint */
export const proxySyncSuite: Suite = async (wanted) => {
  const rows: BenchRow[] = []
  for (const mode of PROXY_MODES) {
    const full: number[] = []
    const one: number[] = []
    const names = [`proxy-sync/${mode.name}-full`, `proxy-sync/${mode.name}-one-endpoint`] as const
    if (!names.some(wanted)) continue
    for (let run = 0; run <= FULL_RUNS; run++) {
      const input = largeInput()
      let start = cpuNs()
      let program = mode.program(input)
      // the first run warms up
      if (run > 0) full.push((cpuNs() - start) / 1e6)
      if (run < FULL_RUNS) continue
      let slices = [...input.endpointSlices]
      for (let change = 0; change < CHANGES; change++) {
        const at = change * 97
        const slice = slices[at]
        if (slice === undefined) throw new Error(`no slice ${at}`)
        slices = slices.with(at, { ...slice, endpoints: slice.endpoints?.slice(1) })
        start = cpuNs()
        program = mode.program({ ...input, endpointSlices: slices }, program)
        one.push((cpuNs() - start) / 1e6)
        if (program.verbs.length === 0) throw new Error(`${mode.name}: the change was not seen`)
      }
    }
    rows.push(rowOf(names[0], 'ms', full), rowOf(names[1], 'ms', one))
  }
  return rows
}

function largeInput(): ProxyInput {
  const services: ProxyService[] = []
  const endpointSlices: ProxyEndpointSlice[] = []
  for (let i = 0; i < SERVICES; i++) {
    const name = `s${i}`
    services.push({
      metadata: { name, namespace: 'ns' },
      spec: { type: 'ClusterIP', clusterIP: `10.96.${i >> 8}.${i & 255}`, ports: [{ port: 80, protocol: 'TCP' }] },
    })
    endpointSlices.push({
      metadata: { name: `${name}-1`, namespace: 'ns', labels: { 'kubernetes.io/service-name': name } },
      addressType: 'IPv4',
      endpoints: Array.from({ length: ENDPOINTS_PER_SERVICE }, (_, k) => {
        const n = i * ENDPOINTS_PER_SERVICE + k
        return {
          addresses: [`10.${128 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}`],
          nodeName: `n${k % NODES}`,
          conditions: { ready: true, serving: true, terminating: false },
        }
      }),
      ports: [{ port: 8080, protocol: 'TCP' }],
    })
  }
  return {
    node: { name: 'n1', ips: ['172.18.0.2'] },
    services,
    endpointSlices,
    config: { clusterCidr: '10.128.0.0/9', serviceCidr: '10.96.0.0/12' },
  }
}
