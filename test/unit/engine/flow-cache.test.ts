/**
 * What happens between two packets of a recorded flow must be seen by the next one: each case sends, changes something,
 * sends again, in a world with the cache and in one without, and both must end alike.
 */
import { describe, expect, it } from '@jest/globals'
import type { LabScenario, LabStep } from '../../../src/lab/scenario.ts'
import { playTwin } from '../../support/flow-twin.ts'
import { labScenario } from '../../support/lab.ts'
import { pkt } from '../../support/packet-builder.ts'

const TIMES = 9
const POD_1 = 'n1p1'
const POD_2 = 'n1p2'

function cmd(ns: string, command: string, stdin?: string): LabStep {
  const argv = command.split(' ')
  return stdin === undefined ? { op: 'cmd', ns, argv } : { op: 'cmd', ns, argv, stdin }
}

function wait(ms: number): LabStep {
  return { op: 'wait', ms }
}

/** Nine datagrams, read and answered. */
function talk(size = 4): LabStep[] {
  const reads: LabStep[] = Array.from({ length: TIMES }, () => ({ op: 'udp_recv', id: 's', reply: true }))
  const answers: LabStep[] = Array.from({ length: TIMES }, () => ({ op: 'udp_recv', id: 'c' }))
  return [{ op: 'udp_send', id: 'c', to: ['10.96.0.10', 80], data: '61'.repeat(size) }, ...reads, ...answers]
}

/** Two pods on a bridge, kube-proxy's rules with one endpoint between them; one pod talks before and after `between`. */
function scenario(between: readonly LabStep[], size: number, first: readonly LabStep[] = []): LabScenario {
  const base = labScenario('kp-clusterip-nth')
  const nat = base
    .iptables!.n1!.replace(/^-A KUBE-SVC-WEB .*statistic.*\n/gm, '')
    .replace(/^-A KUBE-SVC-WEB -m comment.*$/m, '-A KUBE-SVC-WEB -j KUBE-SEP-WEB-0')
  return {
    ...base,
    iptables: { n1: nat },
    steps: [
      ...first,
      { op: 'udp_open', id: 's', ns: POD_2, bind: ['10.244.1.12', 8080] },
      { op: 'udp_open', id: 'c', ns: POD_1, bind: ['10.244.1.11', 41000] },
      ...talk(),
      ...talk(),
      ...talk(),
      ...between,
      ...talk(size),
    ],
  }
}

const CASES: readonly (readonly [string, readonly LabStep[], number?])[] = [
  ['nothing', []],
  ['longer packets', [], 600],
  ['packets longer than the MTU', [], 3000],
  ['a DROP rule in FORWARD', [cmd('n1', 'iptables -I FORWARD -j DROP')]],
  ['a rule that only counts', [cmd('n1', 'iptables -I FORWARD')]],
  ['DROP as the policy', [cmd('n1', 'iptables -P FORWARD DROP')]],
  ['another endpoint for new connections', [cmd('n1', 'iptables -t nat -R KUBE-SVC-WEB 1 -j KUBE-SEP-WEB-1')]],
  ['a new table', [cmd('n1', 'iptables -t raw -A PREROUTING -p udp -j NOTRACK')]],
  ['conntrack flushed', [cmd('n1', 'conntrack -F')]],
  ['a neighbour changed', [cmd('n1', 'ip neigh replace 10.244.1.12 lladdr 02:00:00:00:11:04 dev cni0')]],
  ['a neighbour forgotten', [cmd('n1', 'ip neigh flush dev cni0')]],
  ['the bridge forgot its MACs', [cmd('n1', 'bridge fdb del 02:00:00:00:11:02 dev veth2 master')]],
  ['the MAC moved to another port', [cmd('n1', 'bridge fdb replace 02:00:00:00:11:02 dev veth4 master static')]],
  ['hairpin', [cmd('n1', 'bridge link set dev veth1 hairpin on')]],
  ['learning off', [cmd('n1', 'bridge link set dev veth1 learning off')]],
  [
    'isolated ports',
    [cmd('n1', 'bridge link set dev veth1 isolated on'), cmd('n1', 'bridge link set dev veth2 isolated on')],
  ],
  ['ageing time 0', [cmd('n1', 'ip link set cni0 type bridge ageing_time 0')]],
  ['the port down', [cmd('n1', 'ip link set veth2 down')]],
  ['the far end down', [cmd(POD_2, 'ip link set eth0 down')]],
  ['a smaller MTU', [cmd('n1', 'ip link set veth2 mtu 1200')], 1300],
  ['a new MAC', [cmd(POD_2, 'ip link set eth0 address 02:00:00:00:11:77')]],
  ['no forwarding', [cmd('n1', 'sysctl -w net.ipv4.ip_forward=0')]],
  ['bridged frames pass by iptables', [cmd('n1', 'sysctl -w net.bridge.bridge-nf-call-iptables=0')]],
  ['a shorter UDP timeout', [cmd('n1', 'sysctl -w net.netfilter.nf_conntrack_udp_timeout=5')]],
  ['checksums not looked at', [cmd('n1', 'sysctl -w net.netfilter.nf_conntrack_checksum=0')]],
  ['accounting', [cmd('n1', 'sysctl -w net.netfilter.nf_conntrack_acct=1'), cmd('n1', 'conntrack -F')]],
  ['a blackhole route', [cmd('n1', 'ip route add blackhole 10.244.1.12')]],
  ['a policy rule', [cmd('n1', 'ip rule add from 10.244.1.11 unreachable')]],
  ['the address of the bridge gone', [cmd('n1', 'ip addr del 10.244.1.1/24 dev cni0')]],
  [
    'nftables',
    [cmd('n1', 'nft -f -', 'table ip t { chain c { type filter hook forward priority 0; counter drop; }; }')],
  ],
  [
    'tc drops at the egress of the port',
    [cmd('n1', 'tc qdisc add dev veth2 clsact'), cmd('n1', 'tc filter add dev veth2 egress matchall action drop')],
  ],
  [
    'tc counts at the ingress of the port',
    [cmd('n1', 'tc qdisc add dev veth1 clsact'), cmd('n1', 'tc filter add dev veth1 ingress matchall action ok')],
  ],
  ['ebtables', [cmd('n1', 'ebtables -A FORWARD -p IPv4 -j DROP')]],
  [
    'VLAN filtering',
    [cmd('n1', 'ip link set cni0 type bridge vlan_filtering 1'), cmd('n1', 'bridge vlan del vid 1 dev veth2')],
  ],
  ['a random draw on the way', [cmd('n1', 'iptables -I FORWARD -m statistic --mode random --probability 0.5 -j DROP')]],
  [
    'every third packet dropped',
    [cmd('n1', 'iptables -I FORWARD -m statistic --mode nth --every 3 --packet 0 -j DROP')],
  ],
  ['a rate limit', [cmd('n1', 'iptables -I FORWARD -m limit --limit 1/s --limit-burst 2 -j DROP')]],
  ['a rule by length', [cmd('n1', 'iptables -I FORWARD -m length --length 0:100 -j DROP')], 200],
]

/** Entries that outlive the waits below. */
const LONG_LIVED = ['nf_conntrack_udp_timeout', 'nf_conntrack_udp_timeout_stream'].map((name) =>
  cmd('n1', `sysctl -w net.netfilter.${name}=100000`),
)
const PERMANENT = [
  cmd('n1', 'ip neigh replace 10.244.1.11 lladdr 02:00:00:00:11:01 dev cni0 nud permanent'),
  cmd('n1', 'ip neigh replace 10.244.1.12 lladdr 02:00:00:00:11:02 dev cni0 nud permanent'),
  cmd(POD_1, 'ip neigh replace 10.244.1.1 lladdr 02:00:00:00:31:01 dev eth0 nud permanent'),
  cmd(POD_2, 'ip neigh replace 10.244.1.1 lladdr 02:00:00:00:31:01 dev eth0 nud permanent'),
  cmd(POD_2, 'ip neigh replace 10.244.1.11 lladdr 02:00:00:00:11:01 dev eth0 nud permanent'),
]

/** A datagram of the same flow as a frame: nobody vouches for its checksum. */
function frame(damage: number): LabStep {
  const bytes = pkt()
    .eth({ src: '02:00:00:00:11:01', dst: '02:00:00:00:31:01' })
    .ip({ src: '10.244.1.11', dst: '10.96.0.10' })
    .udp(41000, 80)
    .payload('abcd')
    .bytes()
  bytes[bytes.length - 1]! ^= damage
  return { op: 'frame', ns: POD_1, dev: 'eth0', hex: Buffer.from(bytes).toString('hex') }
}

const SLOW_CASES: readonly (readonly [string, readonly LabStep[], readonly LabStep[]])[] = [
  ['neighbours gone stale', LONG_LIVED, [wait(100_000)]],
  ['a bridge that forgot what it learnt', [...LONG_LIVED, ...PERMANENT], [wait(700_000)]],
  ['an expired connection that nobody has looked up', PERMANENT, [wait(200_000)]],
  ['a damaged payload', [], [frame(0), frame(0), frame(0xff)]],
]

describe('the flow cache sees what changes between two packets of a flow', () => {
  it.each(CASES)('%s', (_name, between, size = 4) => judge(scenario(between, size)))

  it.each(SLOW_CASES)('%s', (_name, first, between) => judge(scenario(between, 4, first)))

  function judge(s: LabScenario): void {
    const walked = playTwin(s, false, TIMES)
    const cached = playTwin(s, true, TIMES)
    expect(cached.dump).toEqual(walked.dump)
    const { mismatches, replayed, audits } = cached.cache!.stats
    expect(mismatches).toBe(0)
    expect(audits).toBeGreaterThan(0)
    expect(replayed).toBeGreaterThan(10)
  }
})
