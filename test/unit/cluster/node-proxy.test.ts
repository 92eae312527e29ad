/** kube-proxy of one node in the simulated kernel: both families, origins, what is not modelled. */
import { describe, expect, it } from '@jest/globals'
import { NodeProxy } from '../../../src/cluster/node-proxy.ts'
import { execTool } from '../../../src/linux/tools/exec.ts'
import { World } from '../../../src/linux/world.ts'
import { findProxyMode } from '../../../src/proxy/registry.ts'
import { proxyFixture } from '../../support/proxy-fixtures.ts'

function programmed(mode: string): { proxy: NodeProxy; ns: ReturnType<World['addNetns']> } {
  const found = findProxyMode(mode)
  if (found === undefined) throw new Error(`no mode ${mode}`)
  const ns = new World({ seed: 1, packets: 16 }).addNetns('n1')
  expect(execTool(ns, ['sysctl', '-w', 'net.ipv6.conf.all.disable_ipv6=0']).status).toBe(0)
  const proxy = new NodeProxy(ns, found)
  proxy.sync(proxyFixture('dual-stack').input)
  return { proxy, ns }
}

describe('kube-proxy of one dual-stack node', () => {
  it('loads the IPv6 rules beside the IPv4 ones, each with its origin', () => {
    const { proxy, ns } = programmed('iptables')
    expect(execTool(ns, ['iptables-save']).stdout).toContain('--to-destination 10.244.1.5:80')
    expect(execTool(ns, ['ip6tables-save']).stdout).toContain('--to-destination [fd00:244:0:1::5]:80')
    const services = ns.nf6.tables.get('nat')?.chains.get('KUBE-SERVICES')?.rules ?? []
    expect(services[0]?.origin).toMatchObject({ kind: 'Service', path: ['spec', 'clusterIP'] })
    expect([...proxy.unmodelled]).toEqual([])
  })

  it('loads table ip6 beside table ip', () => {
    const { proxy, ns } = programmed('nftables')
    const listed = execTool(ns, ['nft', 'list', 'ruleset']).stdout
    expect(listed).toMatch(/table ip kube-proxy/)
    expect(listed).toMatch(/table ip6 kube-proxy[\s\S]*dnat to \[fd00:244:0:1::5\]:80/)
    expect([...proxy.unmodelled]).toEqual([])
  })

  it('names IPv6 virtual servers as not modelled, and loads the rest', () => {
    const { proxy, ns } = programmed('ipvs')
    expect([...proxy.unmodelled].join()).toMatch(/UNMODELLED.*IPv6|IPv6/)
    expect(execTool(ns, ['ipset', 'save']).stdout).toContain('add KUBE-6-CLUSTER-IP fd00:96::90,tcp:80')
    expect(execTool(ns, ['ipvsadm', '-Sn']).stdout).toContain('-A -t 10.96.0.90:80 -s rr')
  })
})
