/**
 * A generated set as a kernel lab: the cluster's configuration as podwalk programmed it, servers on every pod, and the
 * connections. Choices by chance are replaced by turns on both sides.
 */
import type { Cluster } from '../../src/cluster/build.ts'
import { clusterScenario, scenarioNames } from '../../src/cluster/scenario.ts'
import type { LabScenario, LabStep } from '../../src/lab/scenario.ts'
import type { ProxyMode } from '../../src/proxy/mode.ts'
import { type AskedConnection, OUTSIDE, type ProxySet, programSet, setCluster } from './proxy-sets.ts'

const QUIET_MS = 5
/** A FIN to a connection without data is acknowledged by the delayed-ACK timer, one tick later. */
const ACK_QUIET_MS = 12
const LISTEN_PORT = 8080
/** Redirects are paced by a clock. */
const noRedirects = (...devices: string[]): { [key: string]: string } =>
  Object.fromEntries(['all', ...devices].map((dev) => [`net.ipv4.conf.${dev}.send_redirects`, '0']))
const SERVERS = ['p1', 'p2', 'p3', 'p4', 'n1', 'n2']

/** `statistic` and `numgen` by turns, ports kept: what was random is the same on both sides. */
export function withoutChance(text: string): string {
  return text
    .replace(
      /--mode random --probability ([\d.]+)/g,
      (_, p) => `--mode nth --every ${Math.round(1 / Number(p))} --packet 0`,
    )
    .replaceAll(' --random-fully', '')
    .replaceAll('numgen random mod', 'numgen inc mod')
    .replaceAll('masquerade fully-random', 'masquerade')
}

function netnsOf(cluster: Cluster, who: string): string {
  const names = scenarioNames(cluster)
  const ns = who.startsWith('p')
    ? cluster.pods.get(`default/${who}`)
    : who === 'outside'
      ? cluster.host(OUTSIDE)
      : cluster.nodes.get(who)
  const name = ns === undefined ? undefined : names.get(ns.id)
  if (name === undefined) throw new Error(`no namespace for ${who}`)
  return name
}

/** The lab of one set, one mode and its connections; `slow` times longer pauses for a kernel with slower ticks. */
export function proxyLab(
  name: string,
  mode: ProxyMode,
  set: ProxySet,
  asked: readonly AskedConnection[],
  slow = 1,
): LabScenario {
  const cluster = setCluster()
  programSet(cluster, mode, set)
  const steps: LabStep[] = []
  for (const who of SERVERS) {
    const ns = netnsOf(cluster, who)
    steps.push(
      { op: 'tcp_listen', id: `T${who}`, ns, bind: ['0.0.0.0', LISTEN_PORT], quiet_ms: 1 },
      { op: 'udp_open', id: `U${who}`, ns, bind: ['0.0.0.0', LISTEN_PORT], quiet_ms: 1 },
    )
  }
  for (const [i, { from, protocol, ip, port }] of asked.entries()) {
    const ns = netnsOf(cluster, from)
    const id = `c${i}`
    if (protocol === 'TCP') {
      steps.push(
        { op: 'tcp_connect', id, ns, bind: ['0.0.0.0', 41000 + i], to: [ip, port] },
        { op: 'tcp_status', id, quiet_ms: 1 },
        { op: 'close', id, quiet_ms: ACK_QUIET_MS * slow },
      )
    } else {
      steps.push(
        { op: 'udp_open', id, ns, bind: ['0.0.0.0', 41000 + i], quiet_ms: 1 },
        { op: 'udp_send', id, to: [ip, port], data: '6e616d65' },
        ...SERVERS.map((who): LabStep => ({ op: 'udp_recv', id: `U${who}`, reply: true, quiet_ms: 2 * slow })),
        { op: 'udp_recv', id, quiet_ms: 1 },
        { op: 'close', id, quiet_ms: 1 },
      )
    }
  }
  const scenario = clusterScenario(cluster, name, steps)
  const texts = (of: LabScenario['iptables']): { [ns: string]: string } =>
    Object.fromEntries(Object.entries(of ?? {}).map(([ns, text]) => [ns, withoutChance(text)]))
  const viaNode = (dst: string): NonNullable<LabScenario['routes']>[number] => ({
    ns: 'u',
    dst,
    via: '172.18.0.2',
    dev: 'br0',
  })
  return {
    ...scenario,
    // who answers for external addresses outside is not kube-proxy's business: the router brings them to n1
    routes: [
      ...(scenario.routes ?? []),
      // User-Mode Linux (6.1) leaves out some of the router's "net unreachable" for pod addresses: it is not asked for any.
      ...(slow === 1 ? [] : [{ ns: 'u', dst: '10.244.0.0/16', type: 'blackhole' }]),
      viaNode('198.51.100.0/24'),
      viaNode('203.0.113.0/24'),
      viaNode('10.96.0.0/16'),
    ],
    sysctl: {
      ...scenario.sysctl,
      u: { ...scenario.sysctl?.u, ...noRedirects('br0') },
      n1: { ...scenario.sysctl?.n1, ...noRedirects('eth0', 'cbr0') },
      n2: { ...scenario.sysctl?.n2, ...noRedirects('eth0', 'cbr0') },
    },
    iptables: texts(scenario.iptables),
    ...(scenario.nft === undefined ? {} : { nft: texts(scenario.nft) }),
    quiet_ms: QUIET_MS * slow,
  }
}
