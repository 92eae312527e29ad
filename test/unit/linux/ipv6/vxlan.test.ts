import { expect, it } from '@jest/globals'
import { createVeth } from '../../../../src/linux/device/ops.ts'
import { execTool } from '../../../../src/linux/tools/exec.ts'
import { World } from '../../../../src/linux/world.ts'

it('prints a VXLAN over IPv6 as iproute2 does, and refuses to mix the families', () => {
  const w = new World({ seed: 3 })
  const ns = w.addNetns('a')
  createVeth({ ns, name: 'v0', mac: { hi: 0x0200, lo: 1 } }, { ns, name: 'v1', mac: { hi: 0x0200, lo: 2 } })
  const run = (line: string) => execTool(ns, line.split(' '))
  const base = 'type vxlan dstport 4789 local 2001:db8:1::2 nolearning'
  expect(run(`ip link add vx0 ${base} id 7 remote 2001:db8:2::2 dev v0 ttl 9`).stderr).toBe('')
  expect(run(`ip link add vx1 ${base} id 8 noudpcsum`).stderr).toBe('')
  expect(run('ip link show vx0').stdout).toContain('mtu 1430')
  expect(run('ip link show vx1').stdout).toContain('mtu 1500')
  expect(run('ip -d link show vx0').stdout).toContain(
    'vxlan id 7 remote 2001:db8:2::2 local 2001:db8:1::2 dev v0 srcport 0 0 dstport 4789 nolearning ttl 9 ageing 300 udpcsum noudp6zerocsumtx noudp6zerocsumrx addrgenmode eui64',
  )
  expect(run('ip -d link show vx1').stdout).toContain(
    'vxlan id 8 local 2001:db8:1::2 srcport 0 0 dstport 4789 nolearning ttl auto ageing 300 noudpcsum noudp6zerocsumtx noudp6zerocsumrx',
  )
  expect(run('bridge fdb show dev vx0').stdout).toBe('00:00:00:00:00:00 dst 2001:db8:2::2 via v0 self permanent\n')
  expect(run('bridge fdb add 02:00:00:00:41:04 dev vx0 dst 10.0.0.1 self').stderr).toBe(
    'RTNETLINK answers: Address family not supported by protocol\n',
  )
  expect(run('ip link add vx2 type vxlan id 9 dstport 4789 local 10.0.0.1 remote 2001:db8:2::2').stderr).toBe(
    'Error: inet address is expected rather than "2001:db8:2::2".\n',
  )
})
