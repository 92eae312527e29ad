/**
 * `ip -d -j link`: as iproute2 6.1 printed it on Linux 6.18 (the MAC addresses aside); what is not written as JSON says so.
 */
import { describe, expect, it } from '@jest/globals'
import { ip } from '../../../../src/linux/tools/ip.ts'
import { World } from '../../../../src/linux/world.ts'

const LO =
  '{"ifindex":1,"ifname":"lo","flags":["LOOPBACK"],"mtu":65536,"qdisc":"noop","operstate":"DOWN","linkmode":"DEFAULT","group":"default","txqlen":1000,"link_type":"loopback","address":"00:00:00:00:00:00","broadcast":"00:00:00:00:00:00","promiscuity":0,"allmulti":0,"min_mtu":0,"max_mtu":0,"inet6_addr_gen_mode":"eui64","num_tx_queues":1,"num_rx_queues":1,"gso_max_size":65536,"gso_max_segs":65535,"tso_max_size":524280,"tso_max_segs":65535,"gro_max_size":65536}'
const VETH =
  '{"ifindex":3,"link":"v1","ifname":"v0","flags":["BROADCAST","MULTICAST","M-DOWN"],"mtu":1500,"qdisc":"noop","operstate":"DOWN","linkmode":"DEFAULT","group":"default","txqlen":1000,"link_type":"ether","address":"02:00:00:00:00:01","broadcast":"ff:ff:ff:ff:ff:ff","promiscuity":0,"allmulti":0,"min_mtu":68,"max_mtu":65535,"linkinfo":{"info_kind":"veth"},"inet6_addr_gen_mode":"eui64","num_tx_queues":2,"num_rx_queues":2,"gso_max_size":65536,"gso_max_segs":65535,"tso_max_size":524280,"tso_max_segs":65535,"gro_max_size":65536}'
const VXLAN =
  '"promiscuity":0,"allmulti":0,"min_mtu":68,"max_mtu":65535,"linkinfo":{"info_kind":"vxlan","info_data":{"id":5,"local":"10.0.0.1","port_range":{"low":0,"high":0},"port":4789,"learning":true,"ttl":0,"df":"unset","ageing":300,"udp_csum":true,"udp_zero_csum6_tx":false,"udp_zero_csum6_rx":false}},"inet6_addr_gen_mode":"eui64","num_tx_queues":1,"num_rx_queues":1,"gso_max_size":65536,"gso_max_segs":65535,"tso_max_size":65536,"tso_max_segs":65535,"gro_max_size":65536}'

function run(...commands: string[]) {
  const ns = new World().addNetns('a')
  return commands.map((c) => ip(ns, c.split(' '))).at(-1)!
}

describe('ip -d -j', () => {
  it('prints lo, a veth and a VXLAN device as iproute2 does', () => {
    expect(run('-d -j link show lo').stdout).toBe(`[${LO}]\n`)
    expect(run('link add v0 address 02:00:00:00:00:01 type veth peer name v1', '-d -j link show v0').stdout).toBe(
      `[${VETH}]\n`,
    )
    const vxlan = run('link add vx0 type vxlan id 5 dstport 4789 local 10.0.0.1', '-d -j link show vx0').stdout
    expect(vxlan.slice(vxlan.indexOf('"promiscuity"'))).toBe(`${VXLAN}]\n`)
  })

  it('does not leave out what it cannot write', () => {
    const done = run('link add br0 type bridge', '-d -j link show br0')
    expect([done.status, done.stdout, done.stderr]).toEqual([126, '', expect.stringContaining('UNMODELLED')])
  })
})
