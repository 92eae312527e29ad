/**
 * Load balancer addresses: MetalLB's allocation, election, ARP and failover; a cloud's health checks and its two kinds.
 */
import { describe, expect, it } from '@jest/globals'
import { electionOrder } from '../../../src/cluster/balancer/layer2.ts'
import { buildCluster, type Cluster } from '../../../src/cluster/build.ts'
import { execCommand } from '../../../src/cluster/exec.ts'
import { TraceLog } from '../../../src/engine/trace-log.ts'
import { type BuiltCluster, buildClusterModel, loadText } from '../../../src/kubernetes/index.ts'
import { setDown } from '../../../src/linux/device/ops.ts'
import { traceInCluster } from '../../../src/query/trace.ts'
import type { Trace } from '../../../src/query/trace-types.ts'

const CLUSTER = `apiVersion: podwalk.dev/v1alpha1
kind: Cluster
metadata: {name: c}
spec: {nodes: [{name: n1}, {name: n2}, {name: n3}], cni: {name: kubenet}}`
const POOL = `apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: rack, namespace: metallb-system}
spec: {addresses: [172.18.250.10-172.18.250.12]}`
const L2 = `apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: rack, namespace: metallb-system}`

function pod(name: string, node: string): string {
  return `apiVersion: v1
kind: Pod
metadata: {name: ${name}, labels: {app: ${name}}}
spec: {nodeName: ${node}, containers: [{name: c, image: x, ports: [{containerPort: 8080}]}]}`
}

function service(name: string, more = '', annotations = ''): string {
  return `apiVersion: v1
kind: Service
metadata: {name: ${name}, annotations: {${annotations}}}
spec: {type: LoadBalancer, selector: {app: ${name}}, ports: [{port: 80, targetPort: 8080}]${more === '' ? '' : `, ${more}`}}`
}

function build(...documents: string[]): BuiltCluster {
  return buildClusterModel(loadText([CLUSTER, ...documents].join('\n---\n'), 'lb.yaml'))
}

function addressesOf(built: BuiltCluster): { [service: string]: string } {
  return Object.fromEntries(built.model.loadBalancer!.addresses.map((a) => [a.service, a.ip]))
}

function ask(cluster: Cluster, src: string, dst: string, sport = 40000): Trace {
  const { trace } = traceInCluster(cluster, {
    ...{ src, dst, namespace: 'default', protocol: 'TCP', flow: false, seed: 1, verbose: false, sport },
  })
  return trace!
}

describe('MetalLB', () => {
  it('gives asked addresses first and the first free ones after them, in order', () => {
    const built = build(
      POOL,
      L2,
      service('a'),
      service('b'),
      service('c', '', 'metallb.io/loadBalancerIPs: 172.18.250.10'),
    )
    expect(addressesOf(built)).toEqual({
      'default/a': '172.18.250.11',
      'default/b': '172.18.250.12',
      'default/c': '172.18.250.10',
    })
    const svc = built.model.services.find((s) => s.object.metadata.name === 'a')!
    expect(svc.object.status).toEqual({ loadBalancer: { ingress: [{ ip: '172.18.250.11', ipMode: 'VIP' }] } })
  })

  it('says with the line which Service gets none, and why', () => {
    const built = build(
      POOL,
      L2,
      ...['a', 'b', 'c', 'd'].map((n) => service(n)),
      service('e', 'loadBalancerIP: 10.1.1.1'),
    )
    const found = built.diagnostics.filter((d) => d.code === 'no-load-balancer-address')
    expect(found.map((d) => [d.line, d.message])).toEqual([
      [expect.any(Number), 'MetalLB gives it no address: Failed to allocate IP for "default/d": no available IPs'],
      [
        expect.any(Number),
        'MetalLB gives it no address: Failed to allocate IP for "default/e": ["10.1.1.1"] is not allowed in config',
      ],
    ])
  })

  it('finds overlapping pools, bad ranges and advertisements of no pool', () => {
    const second = POOL.replace('name: rack', 'name: two').replace(
      '172.18.250.10-172.18.250.12',
      '172.18.250.12-172.18.250.20',
    )
    const reversed = POOL.replace('name: rack', 'name: three').replace(
      '172.18.250.10-172.18.250.12',
      '172.18.9.9-172.18.9.1',
    )
    const wrong = `${L2.replace('name: rack', 'name: l')}\nspec: {ipAddressPools: [rakc], nodeSelectors: [{matchLabels: {disk: ssd}}]}`
    const found = build(POOL, second, reversed, wrong).diagnostics.map((d) => [d.severity, d.code, d.path])
    expect(found).toEqual([
      ['error', 'overlapping-pools', 'spec.addresses[0]'],
      ['error', 'bad-range', 'spec.addresses[0]'],
      ['warning', 'unknown-pool', 'spec.ipAddressPools[0]'],
      ['warning', 'selects-nothing', 'spec.nodeSelectors'],
    ])
  })

  it('shares an address between Services of one key with other ports', () => {
    const key = 'metallb.io/allow-shared-ip: k, metallb.io/loadBalancerIPs: 172.18.250.12'
    const other = service('b', '', key).replace('port: 80', 'port: 81')
    expect(addressesOf(build(POOL, L2, service('a', '', key), other))).toEqual({
      'default/a': '172.18.250.12',
      'default/b': '172.18.250.12',
    })
  })

  it('keeps pools with serviceAllocation for whom they are meant', () => {
    const pinned = `${POOL.replace('name: rack', 'name: aa').replace('172.18.250.10-172.18.250.12', '172.18.251.1/32').slice(0, -1)}, serviceAllocation: {priority: 5, serviceSelectors: [{matchLabels: {tier: gold}}]}}`
    const gold = service('z').replace('{name: z,', '{name: z, labels: {tier: gold},')
    expect(addressesOf(build(POOL, pinned, L2, service('a'), gold))).toEqual({
      'default/a': '172.18.250.10',
      'default/z': '172.18.251.1',
    })
  })

  it('elects by the SHA-256 of node and address', () => {
    // printf '%s#%s' NODE IP | sha256sum | sort
    expect(electionOrder(['n1', 'n2', 'n3', 'n4'], '172.18.250.10')).toEqual(['n2', 'n3', 'n4', 'n1'])
    expect(electionOrder(['n1', 'n2', 'n3', 'n4'], '172.18.250.11')).toEqual(['n3', 'n1', 'n2', 'n4'])
  })

  it('answers ARP on the elected node only, and another one after that node died', () => {
    const built = build(POOL, L2, service('web'), pod('web', 'n3'))
    const cluster = buildCluster(built.model)
    const owner = cluster.speakers.ownerOf('172.18.250.10')!
    expect(owner).toBe('n2')
    const first = ask(cluster, 'host:172.18.0.77', '172.18.250.10:80')
    expect([first.verdict, first.delivered?.pod]).toEqual(['DELIVERED', 'default/web'])
    expect(first.walk.find((h) => h.netns.startsWith('node:'))!.netns).toBe(`node:${owner}`)

    const log = new TraceLog(cluster.world, { frames: true })
    cluster.world.tracer = log
    setDown(cluster.nodes.get(owner)!.devices.get('eth0')!)
    cluster.speakers.nodeDown(owner)
    cluster.world.tracer = null
    const next = cluster.speakers.ownerOf('172.18.250.10')!
    expect(next).not.toBe(owner)
    // gratuitous ARP: a request and a reply to everybody, both with the address as sender and target
    const eth0 = cluster.nodes.get(next)!.devices.get('eth0')!
    const sent = log.frames.filter((f) => f.device === eth0.id && f.direction === 'tx')
    expect(sent.map((f) => Buffer.from(f.bytes.subarray(0, 6)).toString('hex'))).toEqual([
      'ffffffffffff',
      'ffffffffffff',
    ])
    expect(sent.map((f) => f.bytes[21])).toEqual([1, 2])
    for (const f of sent) expect(f.bytes.subarray(28, 32)).toEqual(f.bytes.subarray(38, 42))
    const again = ask(cluster, 'host:172.18.0.77', '172.18.250.10:80', 40009)
    expect(again.walk.find((h) => h.netns.startsWith('node:'))!.netns).toBe(`node:${next}`)
    expect(again.verdict).toBe('DELIVERED')
  })

  it('announces from nodes with a ready endpoint only when the policy is Local, and nothing without endpoints', () => {
    const built = build(POOL, L2, service('web', 'externalTrafficPolicy: Local'), service('none'), pod('web', 'n2'))
    const cluster = buildCluster(built.model)
    expect(cluster.speakers.announcements().map((a) => [a.address.service, a.candidates])).toEqual([
      ['default/none', []],
      ['default/web', ['n2']],
    ])
  })

  it('says that BGP mode is not modelled', () => {
    const bgp = 'apiVersion: metallb.io/v1beta1\nkind: BGPAdvertisement\nmetadata: {name: b, namespace: metallb-system}'
    const built = build(
      POOL.replace('172.18.250.10-172.18.250.12', '203.0.113.0/24'),
      bgp,
      service('web'),
      pod('web', 'n1'),
    )
    const t = ask(buildCluster(built.model), 'internet', 'svc/web:80')
    expect([t.verdict, t.reason.text]).toEqual(['UNMODELLED', expect.stringContaining("MetalLB's BGP mode")])
  })
})

describe("a cloud's balancer", () => {
  const status = (ip: string, mode: string): string =>
    `\nstatus: {loadBalancer: {ingress: [{ip: ${ip}, ipMode: ${mode}}]}}`

  it('is inferred from an address in the status, with its line', () => {
    const built = build(service('web') + status('203.0.113.9', 'VIP'), pod('web', 'n1'))
    expect(built.inferred.map((f) => f.text)).toEqual([
      expect.stringMatching(/^inferred a cloud load balancer that hands packets to the nodes from lb.yaml:\d+$/),
    ])
  })

  it('hands packets to healthy nodes only', () => {
    const local = service('web', 'externalTrafficPolicy: Local') + status('203.0.113.9', 'VIP')
    const cluster = buildCluster(build(local, pod('web', 'n2')).model)
    for (const sport of [40001, 40002, 40003, 40004]) {
      const { trace } = traceInCluster(cluster, {
        ...{ src: 'internet', dst: '203.0.113.9:80', namespace: 'default', protocol: 'TCP' as const, sport },
        ...{ flow: false, seed: 1, verbose: false },
      })
      expect(trace!.delivered).toMatchObject({ pod: 'default/web', node: 'n2', src: '198.51.100.7' })
    }
  })

  it('spreads connections over the nodes when it opens its own', () => {
    const cluster = buildCluster(build(service('web') + status('203.0.113.9', 'Proxy'), pod('web', 'n1')).model)
    const nodes = [1, 2, 3].map((n) => {
      const t = ask(cluster, 'internet', 'svc/web:80', 40000 + n)
      expect(t.onward).toHaveLength(1)
      expect(t.onward![0]!.from).toBe('balancer:203.0.113.9')
      return t.onward![0]!.walk.find((h) => h.netns.startsWith('node:'))!.netns
    })
    expect(nodes).toEqual(['node:n1', 'node:n2', 'node:n3'])
  })

  it('lets curl from outside reach the pod', () => {
    const cluster = buildCluster(build(service('web') + status('203.0.113.9', 'Proxy'), pod('web', 'n1')).model)
    const r = execCommand(cluster, { ns: cluster.host('198.51.100.7') }, ['curl', '-s', 'http://203.0.113.9/'])
    expect([r.status, r.stdout]).toEqual([0, 'default/web\n'])
  })
})
