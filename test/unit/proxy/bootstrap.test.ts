/** What the iptables mode does on a bare node before its first restore. */
import { describe, expect, it } from '@jest/globals'
import type { EndpointSlice, Service, ServicePort } from '../../../src/kubernetes/types.ts'
import { commandLine } from '../../../src/proxy/commands.ts'
import { bootstrapCommands, iptablesMode, restoreText } from '../../../src/proxy/iptables/mode.ts'
import { findProxyMode, PROXY_MODES } from '../../../src/proxy/registry.ts'
import type { IpFamily, ProxyConfig, ProxyInput } from '../../../src/proxy/types.ts'
import { proxyFixture } from '../../support/proxy-fixtures.ts'

const bare: ProxyInput = { node: { name: 'n1', ips: ['192.168.10.11'] }, services: [], endpointSlices: [], config: {} }

const port: ServicePort = { protocol: 'TCP', port: 80, targetPort: 80 }

function sysctls(config: ProxyConfig): string[] {
  const verbs = bootstrapCommands({ ...bare, config })
  return verbs.flatMap((verb) => (verb.verb === 'sysctl' ? [`${verb.key}=${verb.value}`] : []))
}

describe('kube-proxy iptables bootstrap', () => {
  it('leaves the built-in chains in the order of a fresh host when every jump is prepended', () => {
    const chains: Record<string, string[]> = {}
    for (const verb of bootstrapCommands(bare)) {
      if (verb.verb !== 'ensure-rule') continue
      const key = `${verb.table} ${verb.chain}`
      chains[key] = [verb.args.at(-1) ?? '', ...(chains[key] ?? [])]
    }
    expect(chains).toEqual({
      'filter INPUT': ['KUBE-FIREWALL', 'KUBE-PROXY-FIREWALL', 'KUBE-NODEPORTS', 'KUBE-EXTERNAL-SERVICES'],
      'filter FORWARD': ['KUBE-PROXY-FIREWALL', 'KUBE-FORWARD', 'KUBE-SERVICES', 'KUBE-EXTERNAL-SERVICES'],
      'filter OUTPUT': ['KUBE-FIREWALL', 'KUBE-PROXY-FIREWALL', 'KUBE-SERVICES'],
      'nat PREROUTING': ['KUBE-SERVICES'],
      'nat OUTPUT': ['KUBE-SERVICES'],
      'nat POSTROUTING': ['KUBE-POSTROUTING'],
    })
  })

  it('ensures a chain before any jump to it', () => {
    const made = new Set<string>()
    for (const verb of bootstrapCommands(bare)) {
      if (verb.verb === 'ensure-chain') made.add(`${verb.table} ${verb.chain}`)
      if (verb.verb === 'ensure-rule') expect(made).toContain(`${verb.table} ${verb.args.at(-1)}`)
    }
  })

  it('makes the canary chain in mangle, nat and filter', () => {
    const canaries = bootstrapCommands(bare).flatMap((verb) =>
      verb.verb === 'ensure-chain' && verb.chain === 'KUBE-PROXY-CANARY' ? [verb.table] : [],
    )
    expect(canaries).toEqual(['mangle', 'nat', 'filter'])
  })

  it('sets route_localnet only when NodePorts answer on localhost', () => {
    const routeLocalnet = 'net.ipv4.conf.all.route_localnet=1'
    expect(sysctls({})).toContain(routeLocalnet)
    expect(sysctls({ nodePortAddresses: ['127.0.0.0/8'] })).toContain(routeLocalnet)
    expect(sysctls({ localhostNodePorts: false })).not.toContain(routeLocalnet)
    expect(sysctls({ nodePortAddresses: ['192.168.10.0/24'] })).not.toContain(routeLocalnet)
  })

  it('sends NodePorts of the primary addresses only when told so', () => {
    const node = { name: 'n1', ips: ['192.168.10.11', '192.168.20.11', 'fd00::11', 'fd00::12'] }
    const input = { ...bare, node, config: { nodePortAddresses: ['primary'] } }
    const jumps = (text: string): string[] => text.split('\n').filter((line) => line.endsWith('-j KUBE-NODEPORTS'))
    expect(jumps(restoreText(input))).toEqual([expect.stringContaining(' -d 192.168.10.11 -j KUBE-NODEPORTS')])
    expect(jumps(restoreText(input, 'IPv6'))).toEqual([expect.stringContaining(' -d fd00::11 -j KUBE-NODEPORTS')])
  })

  it('takes NodePorts on loopback only for IPv4 and only when the addresses hold it', () => {
    const node = { name: 'n1', ips: ['192.168.10.11', 'fd00::11'] }
    const jumps = (nodePortAddresses: string[], family: IpFamily, localhostNodePorts = true): string[] =>
      restoreText({ ...bare, node, config: { nodePortAddresses, localhostNodePorts } }, family)
        .split('\n')
        .flatMap((line) => / (?:! )?-d \S+(?= -j KUBE-NODEPORTS)/.exec(line)?.[0].trim() ?? [])
    expect(jumps([], 'IPv4')).toEqual([])
    expect(jumps([], 'IPv4', false)).toEqual(['! -d 127.0.0.0/8'])
    expect(jumps([], 'IPv6')).toEqual(['! -d ::1/128'])
    expect(jumps(['127.0.0.0/8', '192.168.0.0/16'], 'IPv4')).toEqual(['-d 127.0.0.1', '-d 192.168.10.11'])
    expect(jumps(['127.0.0.0/8', '192.168.0.0/16'], 'IPv4', false)).toEqual(['-d 192.168.10.11'])
    expect(jumps(['::1/128', 'fd00::/64'], 'IPv6')).toEqual(['-d fd00::11'])
  })

  it('sizes conntrack by cores with a floor', () => {
    expect(sysctls({ cpuCores: 1 })).toContain('net.netfilter.nf_conntrack_max=131072')
    expect(sysctls({ cpuCores: 8 })).toContain('net.netfilter.nf_conntrack_max=262144')
    expect(sysctls({ tcpBeLiberal: true })).toContain('net.netfilter.nf_conntrack_tcp_be_liberal=1')
  })

  it('is followed by one restore, filter before nat', () => {
    const { verbs } = iptablesMode.program(bare)
    const last = verbs.at(-1)
    expect(verbs.slice(0, -1)).toEqual(bootstrapCommands(bare))
    expect(last).toMatchObject({ verb: 'iptables-restore', args: ['-w', '5', '--noflush', '--counters'] })
    expect(restoreText(bare)).toMatch(/^\*filter\n[\s\S]*COMMIT\n\*nat\n[\s\S]*COMMIT\n$/)
  })

  it('prints the mark of the configured bit as kube-proxy does', () => {
    expect(restoreText(bare)).toContain('-j MARK --or-mark 0x00004000\n')
    expect(restoreText({ ...bare, config: { masqueradeBit: 31 } })).toContain('-j MARK --or-mark 0x80000000\n')
  })

  it('programs a dual-stack node once per family', () => {
    const { verbs } = iptablesMode.program(proxyFixture('dual-stack').input)
    const tools = verbs.filter((verb) => verb.verb === 'iptables-restore').map((verb) => commandLine(verb).argv[0])
    expect(tools).toEqual(['iptables-restore', 'ip6tables-restore'])
  })

  it('checks before it inserts a jump', () => {
    const jump = bootstrapCommands(bare).find((verb) => verb.verb === 'ensure-rule')
    if (jump === undefined) throw new Error('no jump')
    const { argv, check } = commandLine(jump)
    expect(argv.join(' ')).toBe(
      'iptables -w 5 -I INPUT -t filter -m conntrack --ctstate NEW -m comment --comment ' +
        'kubernetes externally-visible service portals -j KUBE-EXTERNAL-SERVICES',
    )
    expect(check?.[3]).toBe('-C')
  })
})

describe('proxy input', () => {
  it('takes the Services and EndpointSlices of the Kubernetes model as they are', () => {
    const service: Service = {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'api', namespace: 'shop' },
      spec: { type: 'ClusterIP', sessionAffinity: 'None', clusterIP: '10.96.0.7', ports: [port] },
    }
    const slice: EndpointSlice = {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: 'api-1', namespace: 'shop', labels: { 'kubernetes.io/service-name': 'api' } },
      addressType: 'IPv4',
      endpoints: [{ addresses: ['10.244.1.5'] }],
      ports: [{ port: 80, protocol: 'TCP' }],
    }
    const text = restoreText({ ...bare, services: [service], endpointSlices: [slice] })
    expect(text).toContain('-d 10.96.0.7 --dport 80 -j KUBE-SVC-')
    expect(text).toContain('--to-destination 10.244.1.5:80')
  })
})

describe('proxy mode registry', () => {
  it('finds every mode by its name', () => {
    for (const mode of PROXY_MODES) expect(findProxyMode(mode.name)).toBe(mode)
    expect(findProxyMode('userspace')).toBeUndefined()
  })

  it('has one sentence for every feature of every mode', () => {
    for (const { features } of PROXY_MODES) {
      expect(new Set(features.map((feature) => feature.name)).size).toBe(features.length)
      for (const { sentence } of features) expect(sentence).toMatch(/^\S.*\.$/)
    }
  })
})
