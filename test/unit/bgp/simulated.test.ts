/**
 * Speakers in the nodes of a simulated cluster: a driver that routes by BGP and nothing else.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { BgpPeerSpec, BgpSpeakerSpec } from '../../../src/bgp/config.ts'
import { execCommand } from '../../../src/cluster/exec.ts'
import type { CniDriver } from '../../../src/cni/driver.ts'
import { TraceLog } from '../../../src/engine/trace-log.ts'
import { buildCluster, type Cluster, CNI_DRIVERS, execTool } from '../../../src/index.ts'
import type { ClusterModel } from '../../../src/kubernetes/types.ts'
import { setDown } from '../../../src/linux/device/ops.ts'
import { bgpTable } from '../../../src/query/kernel-tables.ts'
import { traceInCluster } from '../../../src/query/trace.ts'
import { ptp } from '../../support/sample-driver.ts'
import { clusterOf, SHOP } from '../../support/shop.ts'

/** ptp without its routes between nodes: a full mesh of Calico-like speakers brings them. */
function meshDriver(peer: (from: string, to: string) => Partial<BgpPeerSpec>): CniDriver {
  const program = (model: ClusterModel): ReturnType<CniDriver['program']> => {
    const plain = ptp.program(model)
    const verbs = [...plain.verbs].filter(
      (v) => !(v.verb === 'route-add' && v.dev === 'eth0' && v.netns.startsWith('node:')),
    )
    const placements = model.nodes.map((n) => {
      const peers = model.nodes
        .filter((o) => o !== n)
        .map((o) => ({
          ...{ address: o.internalIp, asn: 64512, addPaths: 'on' as const, gracefulRestart: 'on' as const },
          ...{ connectDelayTime: 1, connectRetryTime: 3, errorWaitTime: [5, 60] as const, passive: n.index < o.index },
          ...{ holdTime: 9, ...peer(n.name, o.name) },
        }))
      const speaker: BgpSpeakerSpec = {
        name: n.name,
        implementation: 'bird',
        asn: 64512,
        routerId: n.internalIp,
        peers,
        routes: [{ prefix: n.podCidr, blackhole: true }],
        install: { metric: 0 },
      }
      return { netns: `node:${n.name}`, speaker }
    })
    return { ...plain, verbs, bgp: { placements } }
  }
  return { ...ptp, name: 'ptp-bgp', program }
}

const registry = CNI_DRIVERS as CniDriver[]

function build(peer: (from: string, to: string) => Partial<BgpPeerSpec> = () => ({})): Cluster {
  const driver = meshDriver(peer)
  registry.push(driver)
  try {
    return buildCluster(
      clusterOf(SHOP.replace('{ name: n2 }]', '{ name: n2 }, { name: n3 }]').replace('kubenet', 'ptp-bgp')),
    )
  } finally {
    registry.splice(registry.indexOf(driver), 1)
  }
}

function routes(cluster: Cluster, node: string): string[] {
  const { stdout } = execTool(cluster.nodes.get(node)!, ['ip', 'route', 'show', 'proto', 'bird'])
  return stdout
    .trim()
    .split('\n')
    .map((l) => l.trim())
    .sort()
}

function verdict(cluster: Cluster): string {
  const question = { src: 'default/client', dst: 'default/far:8080', namespace: 'default', protocol: 'TCP' as const }
  return traceInCluster(cluster, { ...question, flow: false, seed: 1, verbose: false }).trace!.verdict
}

const run = (cluster: Cluster, seconds: number): void => cluster.world.runUntil(cluster.world.nowNs + seconds * 1e9)

describe('a full mesh of speakers in the nodes', () => {
  let cluster: Cluster
  beforeAll(() => {
    cluster = build()
  })

  it('converges: every node has the others blocks by their addresses', () => {
    expect(cluster.diagnostics.filter((d) => d.code.startsWith('bgp'))).toEqual([])
    const ip = (n: string): string => cluster.model.nodes.find((x) => x.name === n)!.internalIp
    expect(routes(cluster, 'n1')).toEqual(
      [
        'blackhole 10.244.0.0/24',
        `10.244.1.0/24 via ${ip('n2')} dev eth0`,
        `10.244.2.0/24 via ${ip('n3')} dev eth0`,
      ].sort(),
    )
    expect(routes(cluster, 'n3')).toHaveLength(3)
  })

  it('carries the traffic of pods', () => {
    expect(verdict(cluster)).toBe('DELIVERED')
  })

  it('is shown by get bgp and by birdc', () => {
    const table = bgpTable(cluster)
    expect(table.items).toHaveLength(6)
    expect(table.items[0]).toMatchObject({
      node: 'n1',
      asn: 64512,
      neighborASN: 64512,
      state: 'Established',
      prefixes: 1,
    })
    const ask = (...argv: string[]): string =>
      execCommand(cluster, { ns: cluster.nodes.get('n1')! }, ['birdc', ...argv]).stdout
    expect(ask('show', 'protocols')).toMatch(/^bgp1 +BGP +master4 +up +00:00:0\d\.\d{3} +Established/m)
    const two = cluster.model.nodes[1]!.internalIp
    expect(ask('show route all for 10.244.1.7')).toMatch(
      new RegExp(
        `^10\\.244\\.1\\.0/24 +unicast \\[bgp1 [\\d:.]+\\] \\* \\(100\\) \\[i\\]\n\tvia ${two} on eth0\n[^]*BGP\\.local_pref: 100`,
        'm',
      ),
    )
    expect(execCommand(cluster, { ns: cluster.nodes.get('n1')! }, ['birdc', 'configure']).status).toBe(126)
  })

  it('sends what BIRD sends: TTL 64 and DSCP CS6 between internal neighbours, from port 179', () => {
    const peer = cluster.bgp!.speakers.get('node:n1')!.speaker.peers[0]!
    expect(peer.established?.agreement?.send.addPath.ipv4).toBe(true)
    const log = new TraceLog(cluster.world, { frames: true, misses: false })
    cluster.world.tracer = log
    run(cluster, 4)
    cluster.world.tracer = null
    const frames = log.frames.map((f) => f.bytes)
    const bgp = frames.filter((f) => f[12] === 8 && f[23] === 6)
    expect(bgp.length).toBeGreaterThan(3)
    expect(new Set(bgp.map((f) => f[22]))).toEqual(new Set([64]))
    expect(new Set(bgp.filter((f) => f.length > 80).map((f) => f[15]))).toEqual(new Set([0xc0]))
  })

  it('loses a silent neighbour when its hold timer runs out, and packets in the gap have their true fate', () => {
    setDown(cluster.nodes.get('n2')!.devices.get('eth0')!)
    run(cluster, 1)
    expect(cluster.bgp!.state('node:n1')!.sessions.map((s) => s.state)).toEqual(['Established', 'Established'])
    expect(verdict(cluster)).toBe('UNREACHABLE')
    expect(routes(cluster, 'n1')).toHaveLength(3)
    run(cluster, 10)
    expect(routes(cluster, 'n1')).toHaveLength(2)
    const lost = cluster.bgp!.timeline.filter((e) => e.kind === 'lost' && e.speaker === 'n1')
    expect(lost.map((e) => e.text)).toEqual(['sent Hold Timer Expired'])
  })
})

describe('a wrong configuration', () => {
  it('shows a wrong AS by the NOTIFICATION that it brings', () => {
    const cluster = build((from, to) => (from === 'n1' && to === 'n2' ? { asn: 64513 } : {}))
    const said = cluster.diagnostics.filter((d) => d.code === 'bgp-session-down').map((d) => d.message)
    expect(said).toContainEqual(
      expect.stringMatching(/node:n1 with .* \(AS 64513\) is Idle: sent OPEN Message Error, Bad Peer AS/),
    )
    expect(routes(cluster, 'n1')).toHaveLength(2)
  })

  it('a rule that drops port 179 keeps the sessions down', () => {
    const cluster = build()
    for (const ns of cluster.nodes.values()) {
      execTool(ns, ['iptables', '-I', 'INPUT', '-p', 'tcp', '--dport', '179', '-j', 'DROP'])
      execTool(ns, ['iptables', '-I', 'INPUT', '-p', 'tcp', '--sport', '179', '-j', 'DROP'])
    }
    run(cluster, 12)
    expect(cluster.bgp!.state('node:n1')!.sessions.every((s) => s.state !== 'Established')).toBe(true)
    expect(routes(cluster, 'n1')).toEqual(['blackhole 10.244.0.0/24'])
  })

  it('a password is UNMODELLED by name', () => {
    expect(() => build(() => ({ password: 'x' }))).toThrow(/TCP MD5 password of BGP peer/)
  })
})

describe('a daemon that restarts', () => {
  it('killed and back in time: nobody loses its block (graceful restart)', () => {
    const cluster = build()
    const two = cluster.bgp!.speakers.get('node:n2')!
    two.speaker.kill()
    run(cluster, 2)
    expect(routes(cluster, 'n1')).toHaveLength(3)
    expect(cluster.bgp!.state('node:n1')!.rib.find((r) => r.prefix === '10.244.1.0/24')?.stale).toBe(true)
    expect(verdict(cluster)).toBe('DELIVERED')
    cluster.bgp!.restart('node:n2', true)
    for (let i = 0; i < 8; i++) {
      run(cluster, 1)
      expect(routes(cluster, 'n1')).toHaveLength(3)
    }
    expect(cluster.bgp!.state('node:n1')!.sessions.every((s) => s.state === 'Established')).toBe(true)
    expect(cluster.bgp!.state('node:n1')!.rib.every((r) => !r.stale)).toBe(true)
  })

  it('started anew: its routes are gone until they are learnt again; in graceful restart only what nobody tells any more', () => {
    const cluster = build()
    cluster.bgp!.speakers.get('node:n2')!.speaker.kill()
    expect(routes(cluster, 'n2')).toHaveLength(3)
    cluster.bgp!.restart('node:n2', false)
    run(cluster, 0.1)
    expect(routes(cluster, 'n2')).toEqual(['blackhole 10.244.1.0/24'])
    run(cluster, 6)
    expect(routes(cluster, 'n2')).toHaveLength(3)
    cluster.bgp!.speakers.get('node:n2')!.speaker.kill()
    cluster.bgp!.speakers.get('node:n3')!.speaker.withdraw('10.244.2.0/24')
    cluster.bgp!.restart('node:n2', true)
    run(cluster, 0.1)
    expect(routes(cluster, 'n2')).toHaveLength(3)
    run(cluster, 8)
    expect(routes(cluster, 'n2')).toHaveLength(2)
    cluster.bgp!.speakers.get('node:n2')!.speaker.stop()
    expect(routes(cluster, 'n2')).toEqual([''])
  })

  it('stopped in order: its block is withdrawn at once', () => {
    const cluster = build()
    cluster.bgp!.speakers.get('node:n2')!.speaker.stop()
    run(cluster, 0.1)
    expect(routes(cluster, 'n1')).toHaveLength(2)
    expect(cluster.bgp!.state('node:n1')!.sessions.map((s) => s.lastError)).toContain(
      'received Cease, Administrative Shutdown',
    )
  })
})

afterAll(() => expect(registry.some((d) => d.name === 'ptp-bgp')).toBe(false))
