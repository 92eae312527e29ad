/**
 * A trace to a name: the resolution comes first, in packets, and decides when it fails.
 */
import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import {
  buildCluster,
  buildClusterModel,
  type Cluster,
  loadInputs,
  type Trace,
  traceInCluster,
  traceText,
} from '../../../src/index.ts'
import { execTool } from '../../../src/linux/tools/exec.ts'
import { ROOT } from '../../arch/sources.ts'

const { model } = buildClusterModel(loadInputs([join(ROOT, 'test/fixtures/coredns/cluster.yaml')]))

function ask(cluster: Cluster, src: string, dst: string): Trace {
  const question = { src, dst, namespace: 'shop', protocol: 'TCP', flow: false, seed: 1, verbose: false } as const
  const { trace, diagnostics } = traceInCluster(cluster, question)
  expect(diagnostics.filter((d) => d.severity === 'error')).toEqual([])
  return trace!
}

describe('a trace by name', () => {
  it('walks the query to CoreDNS and back, then the connection', () => {
    const t = ask(buildCluster(model), 'shop/db-0', 'api:80')
    expect(t.verdict).toBe('DELIVERED')
    expect(t.resolution).toMatchObject({
      name: 'api',
      addresses: ['10.96.20.1'],
      hasPackets: true,
      queries: [
        { name: 'api.shop.svc.cluster.local', type: 'A', rcode: 'NOERROR', transport: 'udp' },
        { name: 'api.shop.svc.cluster.local', type: 'AAAA', rcode: 'NOERROR', answers: [] },
      ],
    })
    expect(t.resolution!.walk.at(-1)).toMatchObject({ netns: 'pod:kube-system/coredns-0', point: 'socket' })
    expect(t.resolution!.reply.at(-1)).toMatchObject({ netns: 'pod:shop/db-0', point: 'socket' })
    expect(t.walk[0]!.netns).toBe('pod:shop/db-0')
    expect(t.delivered?.pod).toMatch(/^shop\/api-/)
    expect(traceText(t)).toContain('api is 10.96.20.1, by 10.96.0.10 (glibc, ndots 5)')
  })

  it('connects to the endpoint that a headless Service answers first', () => {
    const t = ask(buildCluster(model), 'shop/db-0', 'db-1.db:5432')
    expect(t.delivered?.pod).toBe('shop/db-1')
    expect(t.question.dst).toMatchObject({ kind: 'pod', name: 'shop/db-1' })
  })

  it('ends with the fate of the query when it is dropped', () => {
    const cluster = buildCluster(model)
    execTool(cluster.pods.get('kube-system/coredns-0')!, 'iptables -A INPUT -p udp --dport 53 -j DROP'.split(' '))
    const t = ask(cluster, 'shop/db-0', 'api:80')
    expect([t.verdict, t.reason.code]).toEqual(['DROPPED', 'NETFILTER_DROP'])
    expect(t.walk.at(-1)!.netns).toBe('pod:kube-system/coredns-0')
    expect(t.resolution!.queries.map((q) => q.outcome)).toEqual(['timeout', 'timeout', 'timeout', 'timeout'])
  })

  it('ends with the reply when that is dropped', () => {
    const cluster = buildCluster(model)
    execTool(cluster.nodes.get('n2')!, 'iptables -I FORWARD -p udp --sport 53 -j DROP'.split(' '))
    const t = ask(cluster, 'shop/db-0', 'api:80')
    expect([t.verdict, t.replyVerdict?.code]).toEqual(['DROPPED', 'NETFILTER_DROP'])
  })
})
