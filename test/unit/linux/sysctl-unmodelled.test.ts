/** Settings that Linux has and podwalk does not model: what would follow from them is UNMODELLED by name. */
import { describe, expect, it } from '@jest/globals'
import { runLab } from '../../../src/lab/run.ts'
import { type LabScenario, UnmodelledError } from '../../../src/lab/scenario.ts'

const A = '02:00:00:00:01:01'
const B = '02:00:00:00:01:02'

function feature(scenario: object): string {
  const whole = {
    name: 'sysctl',
    title: 'sysctl',
    netns: ['a', 'b'],
    links: [{ type: 'veth', a: ['a', 'eth0', A], b: ['b', 'eth0', B] }],
    addrs: [
      { ns: 'a', dev: 'eth0', addr: '10.1.0.1/24' },
      { ns: 'b', dev: 'eth0', addr: '10.1.0.2/24' },
    ],
    norm: {},
    ...scenario,
  } as unknown as LabScenario
  try {
    runLab(whole, { strict: true })
  } catch (e) {
    if (e instanceof UnmodelledError) return e.feature
    throw e
  }
  return ''
}

describe('settings that are not modelled', () => {
  const connect = [{ op: 'tcp_connect', ns: 'a', id: 'c', bind: ['10.1.0.1', 4000], to: ['10.1.0.2', 80] }]

  it('tcp_ecn=1 ends the SYN that would ask for ECN', () => {
    expect(feature({ sysctl: { a: { 'net.ipv4.tcp_ecn': 1 } }, steps: connect })).toBe('sysctl net.ipv4.tcp_ecn=1')
  })

  it('tcp_ecn=2 and 0 ask for nothing', () => {
    expect(feature({ steps: connect })).toBe('')
    expect(feature({ sysctl: { a: { 'net.ipv4.tcp_ecn': 0 } }, steps: connect })).toBe('')
  })

  it('bridge-nf-filter-vlan-tagged=1 ends a tagged IP frame on a bridge port', () => {
    // 802.1Q tag 5, then an IPv4 header
    const hex =
      '020000000102' + '020000000101' + '81000005' + '0800' + '4500001c000100004011' + '0000' + '0a0100010a010002'
    const bridged = {
      devices: [{ ns: 'b', name: 'br0', type: 'bridge', mac: '02:00:00:00:01:03' }],
      ports: [{ ns: 'b', dev: 'eth0', bridge: 'br0' }],
      addrs: [],
      steps: [{ op: 'frame', ns: 'a', dev: 'eth0', hex }],
    }
    const on = { b: { 'net.bridge.bridge-nf-filter-vlan-tagged': 1 } }
    expect(feature({ ...bridged, sysctl: on })).toBe('sysctl net.bridge.bridge-nf-filter-vlan-tagged=1')
    expect(feature(bridged)).toBe('')
  })
})
