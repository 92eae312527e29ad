import { describe, expect, it } from '@jest/globals'
import { buildCluster } from '../../../src/cluster/build.ts'
import { podMac } from '../../../src/cni/kubenet/driver.ts'
import { execTool } from '../../../src/linux/tools/exec.ts'
import { askTrace } from '../../../src/query/ask.ts'
import type { Trace } from '../../../src/query/trace-types.ts'
import { clusterOf, SHOP } from '../../support/shop.ts'

const HOSTPORT = SHOP.replace(
  '[{ containerPort: 8080 }, { containerPort: 53',
  '[{ containerPort: 8080, hostPort: 8088 }, { containerPort: 53',
)

function run(node: string, argv: readonly string[], text = SHOP): string {
  const r = execTool(buildCluster(clusterOf(text)).nodes.get(node)!, argv)
  expect(r.stderr).toBe('')
  return r.stdout
}

function ask(src: string, dst: string, text = HOSTPORT): Trace {
  return askTrace(clusterOf(text), {
    src,
    dst,
    namespace: 'default',
    protocol: 'TCP',
    flow: false,
    seed: 1,
    verbose: false,
  }).trace!
}

describe('kubenet', () => {
  it('gives a pod the MAC 0a:58 and its address', () => {
    expect(podMac('10.244.1.2')).toBe('0a:58:0a:f4:01:02')
  })

  it('makes cbr0 with the first address of the pod CIDR, only where there are pods', () => {
    expect(run('n1', ['ip', '-4', 'addr', 'show', 'dev', 'cbr0'])).toContain(
      'inet 10.244.0.1/24 brd 10.244.0.255 scope global cbr0',
    )
    const onlyN2 = SHOP.replaceAll('nodeName: n1', 'nodeName: n2')
    expect(
      execTool(buildCluster(clusterOf(onlyN2)).nodes.get('n1')!, ['ip', 'link', 'show', 'dev', 'cbr0']).status,
    ).not.toBe(0)
  })

  it('routes the pod CIDRs of the other nodes by their addresses', () => {
    expect(run('n1', ['ip', 'route'])).toContain('10.244.1.0/24 via 172.18.0.3 dev eth0')
  })

  it('sets the hairpin flag on the ports of the pods', () => {
    expect(run('n1', ['bridge', '-d', 'link'])).toMatch(/hairpin on/)
  })

  it('masquerades what leaves 10.0.0.0/8, in the words of the plugin', () => {
    expect(run('n1', ['iptables-save', '-t', 'nat'])).toContain(
      '-A POSTROUTING ! -d 10.0.0.0/8 -m comment --comment "kubenet: SNAT for outbound traffic from cluster" -m addrtype ! --dst-type LOCAL -j MASQUERADE',
    )
  })

  it('hides a pod behind its node for the world outside', () => {
    const t = ask('client', 'host:192.0.2.7:443', SHOP)
    expect(t).toMatchObject({
      verdict: 'DELIVERED',
      delivered: { src: '172.18.0.2', dst: '192.0.2.7' },
      replyVerdict: { verdict: 'DELIVERED' },
    })
  })

  it('writes the hostport chains as the kubelet does, behind the jumps of kube-proxy', () => {
    const save = run('n1', ['iptables-save', '-t', 'nat'], HOSTPORT)
    const rules = save.split('\n').filter((l) => /HOSTPORT|KUBE-HP/.test(l) && l.startsWith('-A'))
    const chain = /KUBE-HP-[A-Z2-7]{16}/.exec(save)![0]
    expect(rules).toEqual([
      '-A PREROUTING -m comment --comment "kube hostport portals" -m addrtype --dst-type LOCAL -j KUBE-HOSTPORTS',
      '-A OUTPUT -m comment --comment "kube hostport portals" -m addrtype --dst-type LOCAL -j KUBE-HOSTPORTS',
      `-A KUBE-HOSTPORTS -p tcp -m comment --comment "near_default hostport 8088" -m tcp --dport 8088 -j ${chain}`,
      `-A ${chain} -s 10.244.0.3/32 -m comment --comment "near_default hostport 8088" -j KUBE-MARK-MASQ`,
      `-A ${chain} -p tcp -m comment --comment "near_default hostport 8088" -m tcp -j DNAT --to-destination 10.244.0.3:8080`,
    ])
    const pre = save.split('\n').filter((l) => l.startsWith('-A PREROUTING'))
    expect(pre[0]).toMatch(/-j KUBE-SERVICES$/)
    expect(pre.at(-1)).toMatch(/-j KUBE-HOSTPORTS$/)
  })

  it('delivers a hostPort from outside and from another pod', () => {
    expect(ask('host:192.0.2.7', 'node/n1:8088')).toMatchObject({
      verdict: 'DELIVERED',
      delivered: { pod: 'default/near', src: '192.0.2.7', dst: '10.244.0.3', dport: 8080 },
      replyVerdict: { verdict: 'DELIVERED' },
    })
    expect(ask('default/far', 'node/n1:8088')).toMatchObject({
      verdict: 'DELIVERED',
      replyVerdict: { verdict: 'DELIVERED' },
    })
    expect(ask('host:192.0.2.7', 'node/n2:8088').verdict).toBe('REJECTED')
  })

  it('with a promiscuous bridge keeps the second copy of a Service packet from the pod by ebtables', () => {
    const text = SHOP.replace(
      'cni: { name: kubenet }',
      'cni: { name: kubenet, options: { hairpinMode: promiscuous-bridge } }',
    )
    expect(run('n1', ['ebtables-save'], text)).toBe(
      [
        '*filter',
        ':INPUT ACCEPT',
        ':FORWARD ACCEPT',
        ':OUTPUT ACCEPT',
        ':KUBE-DEDUP ACCEPT',
        '-A OUTPUT -j KUBE-DEDUP',
        '-A KUBE-DEDUP -p IPv4 -s 0a:58:0a:f4:00:01 -o veth+ --ip-src 10.244.0.1 -j ACCEPT',
        '-A KUBE-DEDUP -p IPv4 -s 0a:58:0a:f4:00:01 -o veth+ --ip-src 10.244.0.0/24 -j DROP',
        '',
      ].join('\n'),
    )
    expect(run('n1', ['ip', '-o', 'link', 'show', 'cbr0'], text)).toMatch(/<BROADCAST,MULTICAST,PROMISC,UP,LOWER_UP>/)
    expect(ask('client', 'host:192.0.2.7:443', text)).toMatchObject({ verdict: 'DELIVERED' })
  })

  it('refuses options that it does not know how to honour', () => {
    const text = SHOP.replace(
      'cni: { name: kubenet }',
      'cni: { name: kubenet, options: { hairpinMode: sometimes, mtu: 5 } }',
    )
    const errors = buildCluster(clusterOf(text))
      .diagnostics.filter((d) => d.severity === 'error')
      .map((d) => d.message)
    expect(errors).toEqual([
      expect.stringMatching(/hairpinMode: expected promiscuous-bridge, hairpin-veth, none, found "sometimes"/),
      expect.stringMatching(/mtu: expected bytes from 576/),
    ])
  })
})
