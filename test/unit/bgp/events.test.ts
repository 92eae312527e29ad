/**
 * Events of the Cluster object and the timeline that follows from them.
 */
import { describe, expect, it } from '@jest/globals'
import { buildCluster, buildClusterModel, loadInputs, loadText, type TimelineEntry } from '../../../src/index.ts'
import { bgpTable, timelineTable } from '../../../src/query/kernel-tables.ts'
import { clusterOf, SHOP } from '../../support/shop.ts'

const FILE = 'topologies/40-bgp-node-failure.yaml'
const model = (): ReturnType<typeof buildClusterModel>['model'] => buildClusterModel(loadInputs([FILE])).model

const lines = (entries: readonly TimelineEntry[]): string[] => entries.map((e) => `${e.netns} ${e.text}`)

describe('events', () => {
  it('a cut link is silence: the session ends with the hold timer, the route with it', () => {
    const cluster = buildCluster(model())
    const early = lines(cluster.events.playUntil(2.5))
    expect(early).toEqual(['node:n2 its link is cut'])
    const all = cluster.events.playUntil(300)
    const lost = all.find((e) => e.netns === 'node:n1' && e.text.includes('sent Hold Timer Expired'))!
    // the last KEEPALIVE came up to 80 seconds before the cut
    expect(lost.atS).toBeGreaterThan(160)
    expect(lost.atS).toBeLessThan(243)
    const gone = all.find((e) => e.netns === 'node:n1' && e.what === 'route')!
    expect([gone.text, gone.atS]).toEqual([expect.stringMatching(/removed$/), lost.atS])
    expect(timelineTable(cluster).items).toHaveLength(all.length)
    const states = bgpTable(cluster)
      .items.filter((i) => i.netns === 'node:n1')
      .map((i) => [i.neighbor, i.state])
    expect(states).toEqual([
      ['172.18.0.3', expect.stringMatching(/Active|Connect|Idle/)],
      ['172.18.0.4', 'Established'],
    ])
  })

  it('a killed daemon that comes back is a line in the timeline and nothing else', () => {
    const cluster = buildCluster(model())
    const all = cluster.events.playUntil(60)
    expect(lines(all)).toContainEqual(
      expect.stringMatching(
        /node:n1 session with 172.18.0.4 is lost: connection closed; routes are kept for a restart/,
      ),
    )
    expect(all.filter((e) => e.what === 'route')).toEqual([])
  })

  it('time passes without BGP, too; a node that is not there is an error', () => {
    const plain = buildCluster(clusterOf(SHOP))
    expect(plain.events.playUntil(5)).toEqual([])
    expect(plain.events.nowS).toBeCloseTo(5)
    const wrong = buildCluster(
      clusterOf(SHOP.replace('cni:', 'events: [{ at: 1s, action: link-down, node: n9 }]\n  cni:')),
    )
    expect(wrong.diagnostics.filter((d) => d.severity === 'error').map((d) => d.message)).toEqual([
      'spec.events: link-down at 1 s: expected the name of a node, found "n9"',
    ])
    const bad = buildClusterModel(
      loadText(SHOP.replace('cni:', 'events: [{ at: soon, action: fire, node: n1 }]\n  cni:')),
    )
    expect(bad.diagnostics.filter((d) => d.severity === 'error')).toHaveLength(2)
  })
})
