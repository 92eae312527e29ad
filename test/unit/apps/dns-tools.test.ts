/**
 * nslookup, dig and ping by name inside a pod: every query is a packet to CoreDNS in its pod. The transcript is what the
 * real tools print against the real CoreDNS.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { parseResolvConf } from '../../../src/apps/resolver.ts'
import { buildCluster, type Cluster } from '../../../src/cluster/build.ts'
import { execCommand } from '../../../src/cluster/exec.ts'
import { buildClusterModel, loadInputs, loadText } from '../../../src/kubernetes/index.ts'
import type { ToolResult } from '../../../src/linux/tools/result.ts'
import { ROOT } from '../../arch/sources.ts'

const FOLDER = join(ROOT, 'test/fixtures/coredns')
const { model } = buildClusterModel(loadInputs([join(FOLDER, 'cluster.yaml')]))

function exec(cluster: Cluster, pod: string, command: string): ToolResult {
  const target = cluster.model.pods.find((p) => `${p.namespace}/${p.name}` === pod)!
  return execCommand(cluster, { ns: cluster.pods.get(pod)!, pod: target }, command.split(' '))
}

describe('the real transcript', () => {
  const blocks = readFileSync(join(FOLDER, 'transcript.txt'), 'utf8').split(/^\$ /m).slice(1)

  it.each(blocks.map((b) => [b.slice(0, b.indexOf('\n')), b.slice(b.indexOf('\n') + 1)] as const))(
    '%s',
    (command, text) => {
      const r = exec(buildCluster(model), 'shop/db-0', command)
      expect(`${r.stdout}${r.stderr}rc=${r.status}\n`).toBe(text)
    },
  )
})

describe('a pod', () => {
  it('pings by name and is told the name of the address', () => {
    const r = exec(buildCluster(model), 'shop/db-0', 'ping -c1 db-1.db')
    expect(r.stdout).toContain('PING db-1.db.shop.svc.cluster.local (10.244.0.3) 56(84) bytes of data.\n')
    expect(r.stdout).toContain('64 bytes from db-1.db.shop.svc.cluster.local (10.244.0.3): icmp_seq=1 ttl=62')
    expect(exec(buildCluster(model), 'shop/db-0', 'ping -c1 nothere.shop').stderr).toMatch(/^podwalk: UNMODELLED/)
    expect(exec(buildCluster(model), 'shop/db-0', 'ping -n -c1 api.').status).toBe(2)
  })

  it('gets a truncated answer whole over TCP', () => {
    const r = exec(buildCluster(model), 'shop/db-0', 'dig +short +search many')
    expect(r.stdout.trim().split('\n')).toHaveLength(40)
  })

  it('is told that an upstream of CoreDNS is not modelled', () => {
    const r = exec(buildCluster(model), 'shop/db-0', 'nslookup other.org')
    expect([r.status, r.stderr]).toEqual([126, expect.stringContaining('the upstream of CoreDNS, for other.org A')])
  })

  it('asks a cluster without DNS pods without packets', () => {
    const bare = buildClusterModel(
      loadText(
        [
          'apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: c, image: x}]}',
          'apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {clusterIP: 10.96.7.7, ports: [{port: 80}]}',
        ].join('\n---\n'),
      ),
    )
    const cluster = buildCluster(bare.model)
    const before = cluster.world.frameCount
    expect(exec(cluster, 'default/web', 'nslookup web').stdout).toContain('Address: 10.96.7.7\n')
    expect(cluster.world.frameCount).toBe(before)
  })
})

describe('resolv.conf', () => {
  it('is read as resolv.conf(5) says', () => {
    expect(parseResolvConf('search a b\nnameserver 1.1.1.1\nnameserver 2.2.2.2\noptions edns0 ndots:3\n')).toEqual({
      nameservers: ['1.1.1.1', '2.2.2.2'],
      searches: ['a', 'b'],
      ndots: 3,
    })
  })
})
