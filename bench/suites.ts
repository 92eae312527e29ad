/**
 * The registry of benchmark suites: one line each. `rows` are the names that a suite writes, for `--only`.
 */
import type { BenchRow } from './harness.ts'

/** Runs the rows for which `wanted` answers true. */
export type Suite = (wanted: (row: string) => boolean) => Promise<BenchRow[]>

/** A suite of the registry. */
export interface SuiteEntry {
  readonly name: string
  readonly rows: readonly string[]
  load(): Promise<Suite>
}

/** All suites, in order. */
export const SUITES: readonly SuiteEntry[] = [
  {
    name: 'micro-arena',
    rows: ['micro/arena-alloc-free', 'micro/arena-clone'],
    load: async () => (await import('./micro/arena.ts')).arenaSuite,
  },
  { name: 'micro-fdb', rows: ['micro/fdb-lookup'], load: async () => (await import('./micro/fdb.ts')).fdbSuite },
  {
    name: 'micro-conntrack',
    rows: ['micro/conntrack-established', 'micro/conntrack-new'],
    load: async () => (await import('./micro/conntrack.ts')).conntrackSuite,
  },
  {
    name: 'micro-timers',
    rows: ['micro/timers-hold'],
    load: async () => (await import('./micro/timers.ts')).timersSuite,
  },
  {
    name: 'walk-bridge',
    rows: ['walk/same-node-bridge'],
    load: async () => (await import('./scenario/walk.ts')).walkSuite('walk/same-node-bridge'),
  },
  {
    name: 'walk-same',
    rows: ['walk/clusterip-same-node'],
    load: async () => (await import('./scenario/walk.ts')).walkSuite('walk/clusterip-same-node'),
  },
  {
    name: 'walk-cross',
    rows: ['walk/clusterip-cross-node'],
    load: async () => (await import('./scenario/walk.ts')).walkSuite('walk/clusterip-cross-node'),
  },
  {
    name: 'walk-vxlan',
    rows: ['walk/clusterip-vxlan-cross-node'],
    load: async () => (await import('./scenario/walk.ts')).walkSuite('walk/clusterip-vxlan-cross-node'),
  },
  {
    name: 'walk-calico',
    rows: ['walk/calico-routed-policy'],
    load: async () => (await import('./scenario/walk.ts')).walkSuite('walk/calico-routed-policy'),
  },
  {
    name: 'replay-same',
    rows: ['replay/clusterip-same-node'],
    load: async () => (await import('./scenario/walk.ts')).walkSuite('replay/clusterip-same-node'),
  },
  {
    name: 'replay-cross',
    rows: ['replay/clusterip-cross-node'],
    load: async () => (await import('./scenario/walk.ts')).walkSuite('replay/clusterip-cross-node'),
  },
  {
    name: 'replay-vxlan',
    rows: ['replay/clusterip-vxlan-cross-node'],
    load: async () => (await import('./scenario/walk.ts')).walkSuite('replay/clusterip-vxlan-cross-node'),
  },
  {
    name: 'walk-traced',
    rows: ['walk/clusterip-cross-node-traced'],
    load: async () => (await import('./scenario/walk.ts')).walkSuite('walk/clusterip-cross-node-traced'),
  },
  {
    name: 'first-packet',
    rows: [10, 1000, 10_000, 30_000].map((n) => `first-packet/${n}-services`),
    load: async () => (await import('./scenario/first-packet.ts')).firstPacketSuite,
  },
  ...['iptables', 'nftables', 'ipvs'].map((mode) => ({
    name: `first-packet-${mode}`,
    rows: ['services', 'rules'].flatMap((what) =>
      [10, 1000, 10_000, 30_000].map((n) => `first-packet/${mode}-${n}-${what}`),
    ),
    load: async () => (await import('./scenario/first-packet.ts')).firstPacketModeSuite(mode),
  })),
  {
    name: 'proxy-sync',
    rows: ['iptables', 'nftables', 'ipvs'].flatMap((m) => [`proxy-sync/${m}-full`, `proxy-sync/${m}-one-endpoint`]),
    load: async () => (await import('./scenario/proxy-sync.ts')).proxySyncSuite,
  },
  ...[250, 2_500, 25_000].map((namespaces) => {
    const row = `policy/load-${(namespaces * 4) / 1000}k-pods`
    return {
      name: `policy-load-${namespaces}`,
      rows: [row, ...(namespaces === 25_000 ? [`${row}-rss`] : [])],
      load: async () => (await import('./scenario/policy.ts')).policyLoadSuite(namespaces, row),
    }
  }),
  {
    name: 'policy',
    rows: ['reach/point-query', 'reach/150k-pods-all-pairs', 'reach/edit'],
    load: async () => (await import('./scenario/policy.ts')).policySuite,
  },
  {
    name: 'bgp',
    rows: ['mesh-50', 'mesh-100', 'two-level-500', 'two-level-1000', 'rr3-500', 'rr3-1000', 'rr3-5000'].flatMap((f) =>
      ['', '-updates', '-rib'].map((what) => `bgp/${f}${what}`),
    ),
    load: async () => (await import('./scenario/bgp.ts')).bgpSuite,
  },
  { name: 'cli', rows: ['cli/trace-small'], load: async () => (await import('./scenario/cli.ts')).cliSuite },
]
