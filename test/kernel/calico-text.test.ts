/**
 * What Felix writes, given to the real ipset and to both iptables-restore of iptables: they take it and print it back as
 * podwalk's do. Policies of every kind of rule, host endpoints untracked and before DNAT, in three versions' text.
 */
import { afterEach, beforeEach, expect, it } from '@jest/globals'
import { buildCluster } from '../../src/cluster/build.ts'
import { calico } from '../../src/cni/calico/driver.ts'
import { execTool } from '../../src/linux/tools/exec.ts'
import { ipsetRestore, ipsetSave } from '../../src/linux/tools/ipset.ts'
import { describeKernel, inNetns, netnsAdd, netnsDel } from '../support/kernel.ts'
import { clusterOf, SHOP } from '../support/shop.ts'
import { newNs } from '../unit/linux/iptables/support.ts'

const NETNS = 'calico-text'
const PORTS = Array.from({ length: 33 }, (_, i) => 100 + 2 * i).join(', ')

const POLICIES = [
  ['Tier', 'security', '{ order: 100, defaultAction: Pass }'],
  [
    'GlobalNetworkPolicy',
    'security.all-kinds',
    `{ tier: security, selector: has(app), types: [Ingress, Egress], ingress: [
      { action: Allow, protocol: TCP, source: { nets: [10.0.0.0/8, 192.0.2.0/24], notNets: [10.9.0.0/16] }, destination: { ports: [${PORTS}, '300:310'] } },
      { action: Allow, protocol: UDP, source: { selector: app == 'client', ports: [53] }, destination: { notPorts: [1, 2, '7:9'] } },
      { action: Deny, protocol: ICMP, icmp: { type: 8, code: 0 } },
      { action: Deny, protocol: ICMP, notICMP: { type: 3 } },
      { action: Allow, protocol: SCTP, destination: { ports: [9] } },
      { action: Deny, protocol: UDPLite }, { action: Deny, protocol: 47 }, { action: Log, notProtocol: TCP },
      { action: Log, source: { notSelector: app == 'near' } }, { action: Pass } ],
     egress: [ { action: Deny, protocol: TCP, destination: { selector: role == 'net' } }, { action: Allow, protocol: TCP, destination: { services: { name: far, namespace: default } } }, { action: Pass } ] }`,
  ],
  ['GlobalNetworkSet', 'outside', '{ nets: [198.51.100.0/25, 203.0.113.7/32] }', ', labels: { role: net }'],
  ['HostEndpoint', 'n1-eth0', '{ node: n1, interfaceName: eth0, expectedIPs: [172.18.0.2] }', ', labels: { host: n1 }'],
  ['HostEndpoint', 'n1-all', "{ node: n1, interfaceName: '*' }", ', labels: { host: every }'],
  [
    'GlobalNetworkPolicy',
    'untracked',
    "{ selector: host == 'n1', order: 1, doNotTrack: true, applyOnForward: true, ingress: [{ action: Allow, protocol: UDP, destination: { ports: [53] } }], egress: [{ action: Allow, protocol: UDP, source: { ports: [53] } }] }",
  ],
  [
    'GlobalNetworkPolicy',
    'before-dnat',
    "{ selector: has(host), order: 2, preDNAT: true, applyOnForward: true, ingress: [{ action: Deny, protocol: TCP, destination: { ports: ['30000:32767'] } }] }",
  ],
  [
    'GlobalNetworkPolicy',
    'forwarded',
    '{ selector: has(host), order: 3, applyOnForward: true, ingress: [{ action: Allow }], egress: [{ action: Allow }] }',
  ],
  ['GlobalNetworkPolicy', 'hosts', '{ selector: has(host), order: 4, ingress: [{ action: Allow, protocol: TCP }] }'],
].map(
  ([kind, name, spec, labels = '']) =>
    `---\n{ apiVersion: projectcalico.org/v3, kind: ${kind}, metadata: { name: ${name}${labels} }, spec: ${spec} }\n`,
)

/** Chain lines and rules of each table, in order; counters of built-in chains and comments left out. */
function byTable(save: string): { [table: string]: string[] } {
  const out: { [table: string]: string[] } = {}
  let table = ''
  for (const line of save.split('\n')) {
    if (line === '' || line.startsWith('#')) continue
    if (line.startsWith('*')) table = line
    const chain = line.replace(/ \[\d+:\d+\]$/, '')
    ;(out[table] ??= []).push(chain)
  }
  return out
}

/** The nft variant lists user chains as they were made, the legacy one by name. */
function sortedChains(tables: { [table: string]: string[] }): { [table: string]: string[] } {
  const of = (lines: string[]) => [
    ...lines.filter((l) => l.startsWith(':')).sort(),
    ...lines.filter((l) => !l.startsWith(':')),
  ]
  return Object.fromEntries(Object.entries(tables).map(([t, lines]) => [t, of(lines)]))
}

/** `create` lines, then elements in order of text: the kernel lists them by a random key. */
function levelled(text: string): string[] {
  const lines = text.replace(/initval 0x[0-9a-f]+/g, 'initval X').split('\n')
  return [...lines.filter((l) => l.startsWith('create')), ...lines.filter((l) => l.startsWith('add')).sort()]
}

describeKernel('the text of Felix', ['ipset', 'iptables-legacy-restore', 'iptables-nft-restore'], () => {
  beforeEach(() => netnsAdd(NETNS))
  afterEach(() => netnsDel(NETNS))

  it.each([
    ['v3.27', 'iptables', 'legacy', ''],
    ['v3.31', 'iptables', 'legacy', ''],
    ['v3.33', 'iptables', 'legacy', ''],
    ['v3.31', 'ipvs', 'legacy', ''],
    ['v3.31', 'iptables', 'nft', ''],
    ['v3.31', 'iptables', 'legacy', 'iptablesFilterAllowAction: Return, chainInsertMode: Append'],
  ])('of %s beside kube-proxy in %s mode is read and printed back by iptables-%s', (version, proxy, variant, felix) => {
    const options = `{ encapsulation: IPIP, version: ${version}, bgpSessions: false }`
    const shop = SHOP.replace('cni: { name: kubenet }', `cni: { name: calico, options: ${options} }`)
    const felixText = `---\n{ apiVersion: projectcalico.org/v3, kind: FelixConfiguration, metadata: { name: default }, spec: { ${felix} } }\n`
    const { model } = buildCluster(
      clusterOf(shop.replace('mode: iptables', `mode: ${proxy}`) + POLICIES.join('') + felixText),
    )
    const verbs = [...calico.program(model).resync!].filter((v) => v.netns === 'node:n1')
    const ns = newNs()
    for (const v of verbs) {
      if (v.verb === 'ipset-restore') {
        expect(ipsetRestore(ns, v.text).errors).toEqual([])
        expect(inNetns(NETNS, ['ipset', 'restore'], v.text)).toMatchObject({ status: 0, stderr: '' })
      } else if (v.verb === 'iptables-restore') {
        expect(execTool(ns, ['iptables-restore', '--noflush'], v.text)).toMatchObject({ status: 0, stderr: '' })
        const argv = [`iptables-${variant}-restore`, '--noflush']
        expect(inNetns(NETNS, argv, v.text)).toMatchObject({ status: 0, stderr: '' })
      }
    }
    expect(levelled(inNetns(NETNS, ['ipset', 'save']).stdout)).toEqual(levelled(ipsetSave(ns)))
    const real = byTable(inNetns(NETNS, [`iptables-${variant}-save`]).stdout)
    const ours = byTable(execTool(ns, ['iptables-save']).stdout)
    for (const table of ['*raw', '*mangle', '*nat', '*filter']) expect(ours[table]?.length).toBeGreaterThan(8)
    for (const word of ['--icmp-type 8/0', '! --icmp-type 3', '--match-set cali40s:']) {
      expect(ours['*filter']!.join('\n')).toContain(word)
    }
    if (variant === 'legacy') expect(real).toEqual(ours)
    else expect(sortedChains(real)).toEqual(sortedChains(ours))
  })
})
