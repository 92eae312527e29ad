import { describe, expect, it } from '@jest/globals'
import { parseIpv4Cidr } from '../../../../src/addr/index.ts'
import { formatIpv4 } from '../../../../src/addr/ipv4.ts'
import { CalicoIpam } from '../../../../src/kubernetes/calico/ipam.ts'
import type { CalicoPool } from '../../../../src/kubernetes/calico/pools.ts'
import { buildClusterModel, loadText } from '../../../../src/kubernetes/index.ts'
import { SHOP } from '../../../support/shop.ts'

const POOL: CalicoPool = {
  ...{
    name: 'default-ipv4-ippool',
    cidr: parseIpv4Cidr('10.244.0.0/16')!,
    blockSize: 26,
    ipip: 'Always',
    vxlan: 'Never',
  },
  ...{ natOutgoing: true, disabled: false, disableBgpExport: false, nodeSelector: 'all()', namespaceSelector: '' },
  ...{ allowedUses: ['Workload', 'Tunnel'], source: { file: '', line: 0, col: 0 } },
}
const node = (name: string, labels: Record<string, string> = {}) => ({ name, labels })

function next(ipam: CalicoIpam, host: ReturnType<typeof node>, wanted: string[] | null = null): string {
  const r = ipam.allocate(host, 'Workload', wanted, null)
  return r.error ?? formatIpv4(r.ip)
}

describe('calico-ipam', () => {
  it('gives the addresses of the first block in order, the network address too', () => {
    const ipam = new CalicoIpam([POOL], [], { strictAffinity: false, maxBlocksPerHost: 0 })
    expect([1, 2, 3].map(() => next(ipam, node('minikube')))).toEqual([
      '10.244.120.64',
      '10.244.120.65',
      '10.244.120.66',
    ])
  })

  it('claims the next block behind when one is full, past those of others', () => {
    const ipam = new CalicoIpam([POOL], [], { strictAffinity: false, maxBlocksPerHost: 0 })
    ipam.reserve(node('other'), 0x0af47880) // 10.244.120.128: the block behind minikube's first
    const all = Array.from({ length: 65 }, () => next(ipam, node('minikube')))
    expect([all[63], all[64]]).toEqual(['10.244.120.127', '10.244.120.192'])
  })

  it('borrows from blocks of others when there is none left to claim, unless strictAffinity', () => {
    const pool = { ...POOL, cidr: parseIpv4Cidr('10.1.0.0/28')!, blockSize: 29 }
    const make = (strictAffinity: boolean): CalicoIpam => {
      const ipam = new CalicoIpam([pool], [], { strictAffinity, maxBlocksPerHost: 1 })
      for (let i = 0; i < 8; i++) next(ipam, node('a'))
      next(ipam, node('b'))
      return ipam
    }
    const loose = make(false)
    const tunnels = { ipip: new Map(), vxlan: new Map() }
    const borrowed = next(loose, node('a'))
    expect(loose.addressing(tunnels).borrowed.map((b) => [formatIpv4(b.ip), b.node, b.block.node])).toEqual([
      [borrowed, 'a', 'b'],
    ])
    expect(next(make(true), node('a'))).toMatch(/No more free affine blocks and strict affinity enabled/)
  })

  it('passes over reserved addresses, pools of other nodes and disabled ones', () => {
    const reserved = new CalicoIpam([POOL], ['10.244.120.64/31'], { strictAffinity: false, maxBlocksPerHost: 0 })
    expect(next(reserved, node('minikube'))).toBe('10.244.120.66')
    const pools = [
      { ...POOL, name: 'a', disabled: true },
      { ...POOL, name: 'b', cidr: parseIpv4Cidr('10.2.0.0/16')!, nodeSelector: "rack == 'r1'" },
      { ...POOL, name: 'c', cidr: parseIpv4Cidr('10.3.0.0/16')!, nodeSelector: "rack == 'r2'" },
    ]
    const ipam = new CalicoIpam(pools, [], { strictAffinity: false, maxBlocksPerHost: 0 })
    expect(next(ipam, node('n', { rack: 'r2' }))).toMatch(/^10\.3\./)
    expect(next(ipam, node('n', { rack: 'r1' }))).toMatch(/^10\.2\./)
    expect(next(ipam, node('n', { rack: 'r3' }))).toMatch(/no configured Calico pools/)
    // asked for by name: the selector is not asked
    expect(next(ipam, node('n', { rack: 'r3' }), ['b'])).toMatch(/^10\.2\./)
  })
})

describe('addresses of a cluster', () => {
  const ips = (text: string): string[] =>
    buildClusterModel(loadText(text, 's.yaml'))
      .model.pods.filter((p) => !p.hostNetwork)
      .map((p) => p.ip)
  const CALICO = SHOP.replace('cni: { name: kubenet }', 'cni: { name: calico }')

  it('come behind the tunnel address of each node, or at the head without tunnels', () => {
    expect(ips(CALICO)).toEqual(['10.244.40.129', '10.244.40.130', '10.244.217.1'])
    expect(ips(CALICO.replace('name: calico', 'name: calico, options: { encapsulation: None }'))).toEqual([
      ...['10.244.40.128', '10.244.40.129', '10.244.217.0'],
    ])
  })

  it('are those that annotations ask for', () => {
    const text = CALICO.replace(
      'name: near, labels',
      `name: near, annotations: { cni.projectcalico.org/ipAddrs: '["10.244.9.9"]' }, labels`,
    )
    expect(ips(text)).toEqual(['10.244.40.129', '10.244.9.9', '10.244.217.1'])
  })

  it('overlapping pools are an error with both names', () => {
    const pool = (name: string, cidr: string): string =>
      `---\n{ apiVersion: crd.projectcalico.org/v1, kind: IPPool, metadata: { name: ${name} }, spec: { cidr: ${cidr} } }\n`
    const { diagnostics } = buildClusterModel(
      loadText(CALICO + pool('a', '10.0.0.0/8') + pool('b', '10.5.0.0/16'), 's.yaml'),
    )
    expect(diagnostics.map((d) => d.message)).toContain(
      'IPPool(b) CIDR 10.5.0.0/16 overlaps with IPPool(a) CIDR 10.0.0.0/8',
    )
  })
})
