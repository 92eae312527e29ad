import { describe, expect, it } from '@jest/globals'
import { buildCluster, type Cluster, UnmodelledClusterError } from '../../../src/cluster/build.ts'
import { pluginChain } from '../../../src/cni/hash.ts'
import { execTool } from '../../../src/linux/tools/exec.ts'
import { askTrace } from '../../../src/query/ask.ts'
import type { Trace } from '../../../src/query/trace-types.ts'
import { readFrame } from '../../../src/report/flow.ts'
import { clusterOf, SHOP } from '../../support/shop.ts'

const PUBLISHED = SHOP.replace(
  '[{ containerPort: 8080 }, { containerPort: 53',
  '[{ containerPort: 8080, hostPort: 8088 }, { containerPort: 9, hostPort: 8089, hostIP: 172.18.0.2 }, { containerPort: 53',
)

/** SHOP on flannel with these options. */
function shop(options = '', text = SHOP): string {
  return text.replace('cni: { name: kubenet }', `cni: { name: flannel, options: {${options}} }`)
}

/** SHOP with a ConfigMap of flannel instead of a CNI in the Cluster object. */
function configured(netConf: string, cniConf?: string): string {
  const cni = cniConf === undefined ? '' : `, cni-conf.json: '${cniConf}'`
  return `${SHOP.replace('  cni: { name: kubenet }\n', '')}---
{ apiVersion: v1, kind: ConfigMap, metadata: { name: kube-flannel-cfg, namespace: kube-flannel }, data: { net-conf.json: '${netConf}'${cni} } }
`
}

function built(text: string): Cluster {
  const cluster = buildCluster(clusterOf(text))
  expect(cluster.diagnostics).toEqual([])
  return cluster
}

/** Output of a command in a node or pod. */
function run(cluster: Cluster, where: string, command: string): string {
  const ns = cluster.nodes.get(where) ?? cluster.pods.get(where)!
  const r = execTool(ns, command.split(' '))
  expect(r.stderr).toBe('')
  return r.stdout
}

/** The rules of `iptables-save -t table` that begin with one of the chains. */
function rules(cluster: Cluster, node: string, table: string, chains: RegExp): string[] {
  return run(cluster, node, `iptables-save -t ${table}`)
    .split('\n')
    .filter((l) => l.startsWith('-A') && chains.test(l))
}

function ask(src: string, dst: string, text: string, more: object = {}): Trace {
  const question = { src, dst, namespace: 'default', protocol: 'TCP' as const, flow: false, seed: 1, verbose: false }
  return askTrace(clusterOf(text), { ...question, ...more }).trace!
}

/** A frame that the node sends to the wire, as hex. */
function onWire(t: Trace): string {
  return t.frames.find(
    (f) => f.netns === 'node:n1' && f.device === 'eth0' && f.direction === 'tx' && f.hex.slice(24, 28) === '0800',
  )!.hex
}

describe('flannel vxlan', () => {
  const cluster = built(shop())

  it('makes flannel.1 as the daemon does', () => {
    expect(run(cluster, 'n1', 'ip -d link show dev flannel.1')).toMatch(
      /^\d+: flannel\.1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue state UNKNOWN .*\n {4}link\/ether [0-9a-f][26ae](:[0-9a-f]{2}){5} .*\n {4}vxlan id 1 local 172\.18\.0\.2 dev eth0 srcport 0 0 dstport 8472 nolearning ttl auto ageing 300 udpcsum noudp6zerocsumtx noudp6zerocsumrx /,
    )
    expect(run(cluster, 'n1', 'ip -4 addr show dev flannel.1')).toContain('inet 10.244.0.0/32 scope global flannel.1\n')
  })

  it('programs a neighbour, an fdb entry and an onlink route for each other node', () => {
    const mac = /link\/ether (\S+)/.exec(run(cluster, 'n2', 'ip link show dev flannel.1'))![1]!
    expect(run(cluster, 'n1', 'ip neigh show dev flannel.1')).toBe(`10.244.1.0 lladdr ${mac} PERMANENT \n`)
    expect(run(cluster, 'n1', 'bridge fdb show dev flannel.1')).toBe(`${mac} dst 172.18.0.3 self permanent\n`)
    expect(run(cluster, 'n1', 'ip route')).toBe(
      [
        'default via 172.18.0.1 dev eth0 ',
        '10.244.0.0/24 dev cni0 proto kernel scope link src 10.244.0.1 ',
        '10.244.1.0/24 via 10.244.1.0 dev flannel.1 onlink ',
        '172.18.0.0/16 dev eth0 proto kernel scope link src 172.18.0.2 ',
        '',
      ].join('\n'),
    )
  })

  it('has the bridge plugin make cni0 and the pods', () => {
    expect(run(cluster, 'n1', 'ip -4 addr show dev cni0')).toContain(
      'inet 10.244.0.1/24 brd 10.244.0.255 scope global cni0\n',
    )
    expect(run(cluster, 'n1', 'ip link show dev cni0')).toMatch(/ mtu 1450 /)
    expect(run(cluster, 'n1', 'bridge -d link')).toMatch(/hairpin on/)
    expect(run(cluster, 'default/client', 'ip route')).toBe(
      [
        'default via 10.244.0.1 dev eth0 ',
        '10.244.0.0/16 via 10.244.0.1 dev eth0 ',
        '10.244.0.0/24 dev eth0 proto kernel scope link src 10.244.0.2 ',
        '',
      ].join('\n'),
    )
    expect(run(cluster, 'default/client', 'ip link show dev eth0')).toMatch(/ mtu 1450 /)
  })

  it('writes the rules of flanneld, its jumps behind those of kube-proxy', () => {
    const masq = '-m comment --comment "flanneld masq"'
    expect(rules(cluster, 'n1', 'nat', /POSTROUTING |FLANNEL/).filter((l) => !/^-A KUBE/.test(l))).toEqual([
      '-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',
      `-A POSTROUTING ${masq} -j FLANNEL-POSTRTG`,
      `-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 ${masq} -j RETURN`,
      `-A FLANNEL-POSTRTG -s 10.244.0.0/24 -d 10.244.0.0/16 ${masq} -j RETURN`,
      `-A FLANNEL-POSTRTG -s 10.244.0.0/16 -d 10.244.0.0/24 ${masq} -j RETURN`,
      `-A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.0.0/24 ${masq} -j RETURN`,
      `-A FLANNEL-POSTRTG -s 10.244.0.0/16 ! -d 224.0.0.0/4 ${masq} -j MASQUERADE --random-fully`,
      `-A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.0.0/16 ${masq} -j MASQUERADE --random-fully`,
    ])
    const forward = '-m comment --comment "flanneld forward"'
    expect(rules(cluster, 'n1', 'filter', /FLANNEL/)).toEqual([
      `-A FORWARD ${forward} -j FLANNEL-FWD`,
      `-A FLANNEL-FWD -s 10.244.0.0/16 ${forward} -j ACCEPT`,
      `-A FLANNEL-FWD -d 10.244.0.0/16 ${forward} -j ACCEPT`,
    ])
  })

  it('carries a packet inside another one, TTL 63 inside and 64 outside, DF clear outside', () => {
    const t = ask('client', 'pod/far:8080', shop())
    expect(t).toMatchObject({
      verdict: 'DELIVERED',
      delivered: { src: '10.244.0.2', dst: '10.244.1.2' },
      replyVerdict: { verdict: 'DELIVERED' },
    })
    const hex = onWire(t)
    const outer = Buffer.from(hex, 'hex')
    expect(outer.subarray(26, 34)).toEqual(Buffer.from([172, 18, 0, 2, 172, 18, 0, 3]))
    expect([outer[22], outer[23], outer.readUInt16BE(20)]).toEqual([64, 17, 0])
    expect(outer.readUInt16BE(36)).toBe(8472)
    expect(hex.slice(84, 100)).toBe('0800000000000100')
    const inner = outer.subarray(50)
    expect(inner.subarray(26, 34)).toEqual(Buffer.from([10, 244, 0, 2, 10, 244, 1, 2]))
    expect([inner[22], inner[23]]).toEqual([63, 6])
    const arrived = t.frames.find(
      (f) => f.netns === 'pod:default/far' && f.direction === 'rx' && f.hex.slice(24, 28) === '0800',
    )!
    expect(Buffer.from(arrived.hex, 'hex')[22]).toBe(62)
    // MSS of the MTU 1450
    expect(arrived.hex).toContain('02040582')
  })

  it('says in the walk what goes into the tunnel and comes out of it', () => {
    const t = ask('client', 'pod/far:8080', shop())
    const tunnel = t.walk.filter((h) => h.point === 'encap' || h.point === 'decap')
    expect(tunnel.map((h) => `${h.node} ${h.device} ${h.action}`)).toEqual([
      'n1 flannel.1 into VXLAN 1, 172.18.0.2 > 172.18.0.3',
      'n2 flannel.1 out of VXLAN 1, 172.18.0.2 > 172.18.0.3',
    ])
    const frame = t.frames.find((f) => f.netns === 'node:n1' && f.hex === onWire(t))!
    expect(readFrame(t, frame).what).toBe('VXLAN [10.244.0.2:40000 > 10.244.1.2:8080 SYN]')
  })

  it('spreads connections between the same two pods over outer source ports, one port for each', () => {
    const port = (sport: number): number =>
      Buffer.from(onWire(ask('client', 'pod/far:8080', shop(), { sport })), 'hex').readUInt16BE(34)
    const drawn = [40001, 40002, 40012, 50001].map(port)
    expect(new Set(drawn).size).toBe(4)
    expect(port(40001)).toBe(drawn[0])
    for (const p of drawn) expect(p >= 32768 && p < 61000).toBe(true)
  })

  it('never makes an outer packet larger than the wire: the pod itself fragments at 1450', () => {
    const t = ask('client', 'pod/far:53', shop(), { protocol: 'UDP', size: 3000 })
    expect(t.verdict).toBe('DELIVERED')
    const sizes = t.frames
      .filter((f) => f.netns === 'node:n1' && f.device === 'eth0' && f.direction === 'tx')
      .map((f) => f.hex.length / 2)
    expect(Math.max(...sizes)).toBe(14 + 20 + 8 + 8 + 14 + 1444)
  })

  it.each([
    ['a node to a pod of another', 'node/n1', 'pod/far:8080', '10.244.0.0', 'default/far'],
    ['a node to a pod of its own', 'node/n1', 'pod/near:8080', '10.244.0.1', 'default/near'],
    ['a pod to the world', 'client', 'host:192.0.2.7:443', '172.18.0.2', null],
    ['the world to a far pod by a NodePort', 'host:192.0.2.7', 'node/n1:30080', '10.244.0.0', 'default/far'],
  ])('gives %s the source address that Linux chooses', (_title, src, dst, sees, pod) => {
    const t = ask(src, dst, shop())
    expect(t).toMatchObject({ verdict: 'DELIVERED', delivered: { src: sees }, replyVerdict: { verdict: 'DELIVERED' } })
    if (pod !== null) expect(t.delivered?.pod).toBe(pod)
  })

  it('answers host unreachable for an address of the other subnet that no pod has', () => {
    const t = ask('client', 'host:10.244.1.77', shop(), { protocol: 'ICMP' })
    expect(t.verdict).toBe('UNREACHABLE')
    const answer = t.frames.find((f) => f.netns === 'node:n2' && f.device === 'flannel.1' && f.direction === 'tx')!
    // TOS 0xc0, from the address of flannel.1, type 3 code 1
    expect(answer.hex.slice(30, 32)).toBe('c0')
    expect(answer.hex.slice(52, 60)).toBe('0af40100')
    expect(answer.hex.slice(68, 72)).toBe('0301')
  })

  it('keeps the VTEP MAC and the public IP of the annotations', () => {
    const annotations =
      '{ flannel.alpha.coreos.com/backend-data: \'{"VNI":1,"VtepMAC":"ba:d0:00:00:00:02"}\', flannel.alpha.coreos.com/public-ip-overwrite: 172.18.0.3 }'
    const text = shop().replace('{ name: n2 }', `{ name: n2, annotations: ${annotations} }`)
    expect(run(built(text), 'n1', 'bridge fdb show dev flannel.1')).toBe(
      'ba:d0:00:00:00:02 dst 172.18.0.3 self permanent\n',
    )
  })

  it('takes VNI, Port, MTU and Learning from the backend', () => {
    const c = built(shop('Backend: { Type: VXLAN, VNI: 7, Port: 4789, MTU: 1400, learning: true }'))
    const link = run(c, 'n1', 'ip -d link show dev flannel.7')
    expect(link).toMatch(/mtu 1350 /)
    expect(link).toMatch(/vxlan id 7 local 172\.18\.0\.2 dev eth0 srcport 0 0 dstport 4789 ttl auto ageing 300 /)
    expect(run(c, 'default/client', 'ip link show dev eth0')).toMatch(/mtu 1350 /)
  })

  it('routes past the tunnel with DirectRouting where the other node is on link', () => {
    const c = built(shop('Backend: { Type: vxlan, DirectRouting: true }'))
    expect(run(c, 'n1', 'ip route show 10.244.1.0/24')).toBe('10.244.1.0/24 via 172.18.0.3 dev eth0 \n')
    expect(run(c, 'n1', 'bridge fdb show dev flannel.1')).toBe('')
    expect(run(c, 'n1', 'ip neigh show dev flannel.1')).toBe('')
  })
})

describe('flannel host-gw', () => {
  it('routes by the other node, with the MTU of the wire and no device of its own', () => {
    const c = built(shop('Backend: { Type: host-gw }'))
    expect(run(c, 'n1', 'ip route show 10.244.1.0/24')).toBe('10.244.1.0/24 via 172.18.0.3 dev eth0 \n')
    expect(run(c, 'n1', 'ip link')).not.toMatch(/flannel/)
    expect(run(c, 'default/client', 'ip link show dev eth0')).toMatch(/mtu 1500 /)
  })

  it('refuses a node behind NAT in its words', () => {
    const text = shop('Backend: { Type: host-gw }').replace(
      '{ name: n2 }',
      '{ name: n2, annotations: { flannel.alpha.coreos.com/public-ip-overwrite: 198.51.100.2 } }',
    )
    expect(buildCluster(clusterOf(text)).diagnostics).toMatchObject([
      { severity: 'error', message: expect.stringMatching(/n2: your PublicIP differs from interface IP, meaning/) },
    ])
  })
})

describe('flannel ipip', () => {
  const text = shop('Backend: { Type: ipip }')

  it('makes flannel.ipip and onlink routes to the other nodes', () => {
    const c = built(text)
    expect(run(c, 'n1', 'ip -d link show dev flannel.ipip')).toMatch(
      /flannel\.ipip@NONE: <NOARP,UP,LOWER_UP> mtu 1480 [\s\S]*ipip any remote any local 172\.18\.0\.2 ttl inherit nopmtudisc/,
    )
    expect(run(c, 'n1', 'ip -4 addr show dev flannel.ipip')).toContain('inet 10.244.0.0/32 scope global flannel.ipip\n')
    expect(run(c, 'n1', 'ip route show 10.244.1.0/24')).toBe('10.244.1.0/24 via 172.18.0.3 dev flannel.ipip onlink \n')
  })

  it('carries a packet behind an outer IPv4 header', () => {
    const t = ask('client', 'svc/far:80', text)
    expect(t).toMatchObject({ verdict: 'DELIVERED', replyVerdict: { verdict: 'DELIVERED' } })
    const frame = Buffer.from(onWire(t), 'hex')
    expect([frame[22], frame[23]]).toEqual([63, 4])
    expect(frame.subarray(46, 54)).toEqual(Buffer.from([10, 244, 0, 2, 10, 244, 1, 2]))
    const sent = t.frames.find((f) => f.netns === 'node:n1' && f.hex === onWire(t))!
    expect(readFrame(t, sent).what).toBe('IPIP [10.244.0.2:40000 > 10.244.1.2:8080 SYN]')
  })

  it('routes past the tunnel with DirectRouting', () => {
    const c = built(shop('Backend: { Type: ipip, DirectRouting: true }'))
    expect(run(c, 'n1', 'ip route show 10.244.1.0/24')).toBe('10.244.1.0/24 via 172.18.0.3 dev eth0 onlink \n')
  })
})

describe('flannel settings', () => {
  it('come from the ConfigMap, from which the CNI is inferred', () => {
    const c = built(configured('{"Network":"10.244.0.0/16","Backend":{"Type":"host-gw"}}'))
    expect(c.model.config.cni.name).toBe('flannel')
    expect(run(c, 'n1', 'ip route show 10.244.1.0/24')).toBe('10.244.1.0/24 via 172.18.0.3 dev eth0 \n')
  })

  it('of cni-conf.json say what the bridge plugin does', () => {
    const netConf = '{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}'
    const c = built(configured(netConf, '{"name":"net","plugins":[{"type":"flannel","delegate":{"bridge":"br9"}}]}'))
    expect(run(c, 'n1', 'bridge -d link')).toMatch(/master br9 [\s\S]*hairpin off/)
    expect(run(c, 'default/client', 'ip route')).not.toMatch(/default/)
  })

  it('may leave masquerading to the bridge plugin', () => {
    const c = built(shop('ipMasq: false'))
    expect(rules(c, 'n1', 'nat', /FLANNEL/)).toEqual([])
    const own = rules(c, 'n1', 'nat', /CNI-/).filter((l) => l.includes('10.244.0.2/32'))
    const [, id, chain] = /id: \\"([0-9a-f]{64})\\"" -j (CNI-[0-9a-f]{24})$/.exec(own[0]!)!
    const note = `-m comment --comment "name: \\"cbr0\\" id: \\"${id}\\""`
    expect(rules(c, 'n1', 'nat', new RegExp(`-A ${chain}`))).toEqual([
      `-A ${chain} -d 10.244.0.0/24 ${note} -j ACCEPT`,
      `-A ${chain} ! -d 224.0.0.0/4 ${note} -j MASQUERADE`,
    ])
  })

  it.each([
    ['Backend: { Type: wireguard }', 'flannel backend "wireguard"'],
    ['Backend: { Type: udp }', 'flannel backend "udp"'],
    ['Backend: { Type: extension }', 'flannel backend "extension"'],
    ['Backend: { Type: vxlan, GBP: true }', 'flannel backend "vxlan" with GBP'],
  ])('%s is UNMODELLED by name', (options, what) => {
    expect(() => buildCluster(clusterOf(shop(options)))).toThrow(UnmodelledClusterError)
    expect(ask('client', 'far:8080', shop(options))).toMatchObject({
      verdict: 'UNMODELLED',
      reason: { text: `${what} is not modelled.` },
    })
  })

  it('without a Backend are the udp backend, as in flannel', () => {
    expect(ask('client', 'far:8080', configured('{"Network":"10.244.0.0/16"}')).reason.text).toBe(
      'flannel backend "udp" is not modelled.',
    )
  })

  it.each([
    ['Backend: { Type: vxlan, VNI: x }', 'error', /Backend\.VNI: expected a whole number from 1/],
    ['Backend: vxlan', 'error', /Backend: expected an object, found "vxlan"/],
    ['ipMasq: 3', 'error', /ipMasq: expected true or false, found 3/],
    ['Network: 10.9.0.0/16', 'error', /subnet "10\.9\.0\.0\/16" .* doesn't contain "10\.244\.0\.0\/24" PodCIDR/],
    ['Bakend: {}', 'warning', /no option "Bakend"/],
    ['Backend: { Type: host-gw, VNI: 3 }', 'warning', /backend host-gw has no option "VNI"/],
    ['version: v0.20.2', 'warning', /flannel v0\.20\.2 is UNMODELLED/],
    ['EnableIPv6: true', 'warning', /EnableIPv6 is UNMODELLED/],
  ])('%s is a diagnostic: %s', (options, severity, message) => {
    const { diagnostics } = buildCluster(clusterOf(shop(options)))
    expect(diagnostics[0]).toMatchObject({ severity, message: expect.stringMatching(message) })
  })

  it('name every NetworkPolicy that flannel does not enforce', () => {
    const policy =
      '{ apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: { name: deny }, spec: { podSelector: {} } }'
    expect(buildCluster(clusterOf(`${shop()}---\n${policy}\n`)).diagnostics).toMatchObject([
      { code: 'policy-not-enforced', message: expect.stringMatching(/default\/deny has no effect: flannel/) },
    ])
  })
})

describe('flannel hostPort', () => {
  it('names chains as the plugin does', () => {
    expect(pluginChain('CNI-', 'mynet', 'pod1')).toBe('CNI-98edfcc8c6498ae055b2c621')
    expect(pluginChain('CNI-DN-', 'mynet', 'pod1')).toBe('CNI-DN-98edfcc8c6498ae055b2c')
  })

  it('writes the chains of portmap', () => {
    const c = built(shop('', PUBLISHED))
    const [dn] = /CNI-DN-[0-9a-f]{21}/.exec(run(c, 'n1', 'iptables-save -t nat'))!
    const [, id] = /id: \\"([0-9a-f]{64})/.exec(run(c, 'n1', 'iptables-save -t nat'))!
    const to = (chain: string, port: number, more = ''): string =>
      `-A ${chain} ${more}-p tcp -m tcp --dport ${port} -j `
    expect(rules(c, 'n1', 'nat', /CNI-/)).toEqual([
      '-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT',
      '-A OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT',
      '-A POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j CNI-HOSTPORT-MASQ',
      `${to(dn, 8088, '-s 10.244.0.0/24 ')}CNI-HOSTPORT-SETMARK`,
      `${to(dn, 8088, '-s 127.0.0.1/32 ')}CNI-HOSTPORT-SETMARK`,
      `${to(dn, 8088)}DNAT --to-destination 10.244.0.3:8080`,
      `${to(dn, 8089, '-s 10.244.0.0/24 -d 172.18.0.2/32 ')}CNI-HOSTPORT-SETMARK`,
      `${to(dn, 8089, '-s 127.0.0.1/32 -d 172.18.0.2/32 ')}CNI-HOSTPORT-SETMARK`,
      `${to(dn, 8089, '-d 172.18.0.2/32 ')}DNAT --to-destination 10.244.0.3:9`,
      `-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \\"cbr0\\" id: \\"${id}\\"" -m multiport --dports 8088,8089 -j ${dn}`,
      '-A CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE',
      '-A CNI-HOSTPORT-SETMARK -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark 0x2000/0x2000',
    ])
    expect(run(c, 'n1', 'sysctl net.ipv4.conf.cni0.route_localnet')).toBe('net.ipv4.conf.cni0.route_localnet = 1\n')
  })

  it.each([
    ['host:192.0.2.7', '192.0.2.7'],
    ['default/client', '10.244.0.1'],
    ['default/near', '10.244.0.1'],
    ['default/far', '172.18.0.3'],
  ])('from %s is delivered with the source %s', (src, sees) => {
    expect(ask(src, 'node/n1:8088', shop('', PUBLISHED))).toMatchObject({
      verdict: 'DELIVERED',
      delivered: { pod: 'default/near', src: sees, dport: 8080 },
      replyVerdict: { verdict: 'DELIVERED' },
    })
  })

  it('says so when no portmap plugin is there', () => {
    const cni = '{"name":"cbr0","plugins":[{"type":"flannel","delegate":{"isDefaultGateway":true}}]}'
    const text = configured('{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}', cni)
    const published = text.replace('[{ containerPort: 8080 }', '[{ containerPort: 8080, hostPort: 8088 }')
    expect(buildCluster(clusterOf(published)).diagnostics).toMatchObject([
      { code: 'hostport-not-published', message: expect.stringMatching(/near: hostPort 8088\/TCP has no effect/) },
    ])
  })
})

describe('flannel with EnableNFTables', () => {
  it('has a table of its own, nothing in iptables, and the swapped rule of the original', () => {
    const cluster = built(shop('Backend: { Type: vxlan }, EnableNFTables: true'))
    expect(run(cluster, 'n1', 'nft list table ip flannel-ipv4')).toBe(`table ip flannel-ipv4 {
	comment "rules for flannel-ipv4"
	chain postrtg {
		comment "chain to manage traffic masquerading by flannel"
		type nat hook postrouting priority srcnat; policy accept;
		meta mark 0x00004000 return
		ip saddr 10.244.0.0/24 ip daddr 10.244.0.0/16 return
		ip saddr 10.244.0.0/16 ip daddr 10.244.0.0/24 return
		ip saddr != 10.244.0.0/24 ip daddr 10.244.0.0/16 return
		ip saddr 10.244.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random
		ip saddr != 10.244.0.0/16 ip daddr 10.244.0.0/16 masquerade fully-random
	}

	chain forward {
		comment "chain to accept flannel traffic"
		type filter hook forward priority filter; policy accept;
		ip saddr 10.244.0.0/16 accept
		ip daddr 10.244.0.0/16 accept
	}
}
`)
    expect(rules(cluster, 'n1', 'nat', /FLANNEL/)).toEqual([])
  })
})
