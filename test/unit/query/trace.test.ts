import { describe, expect, it } from '@jest/globals'
import { buildCluster } from '../../../src/cluster/build.ts'
import { execTool } from '../../../src/linux/tools/exec.ts'
import { askTrace } from '../../../src/query/ask.ts'
import { type TraceQuestion, traceInCluster } from '../../../src/query/trace.ts'
import type { Trace, TraceHop } from '../../../src/query/trace-types.ts'
import { clusterOf, SHOP } from '../../support/shop.ts'

function ask(src: string, dst: string, more: Partial<TraceQuestion> = {}, text = SHOP): Trace {
  const question: TraceQuestion = {
    src,
    dst,
    namespace: 'default',
    protocol: 'TCP',
    flow: false,
    seed: 1,
    verbose: false,
    ...more,
  }
  const { trace, diagnostics } = askTrace(clusterOf(text), question)
  if (trace === null) throw new Error(JSON.stringify(diagnostics))
  return trace
}

/** Hosts that the walk goes through, without repetition. */
function hosts(walk: readonly TraceHop[]): string[] {
  return walk.map((h) => h.netns).filter((n, i, all) => n !== all[i - 1])
}

describe('traceQuery', () => {
  it('walks from a pod through a ClusterIP to a pod on another node and back', () => {
    const t = ask('client', 'svc/far:80')
    expect(t.verdict).toBe('DELIVERED')
    expect(t.delivered).toEqual({
      pod: 'default/far',
      node: 'n2',
      src: '10.244.0.2',
      sport: 40000,
      dst: '10.244.1.2',
      dport: 8080,
    })
    expect(hosts(t.walk)).toEqual(['pod:default/client', 'node:n1', 'underlay', 'node:n2', 'pod:default/far'])
    expect(hosts(t.reply)).toEqual(['pod:default/far', 'node:n2', 'underlay', 'node:n1', 'pod:default/client'])
    expect(t.replyVerdict?.verdict).toBe('DELIVERED')
    const last = t.walk.filter((h) => h.point === 'rx').at(-1)!
    expect(last.detail).toMatchObject({ src: '10.244.0.2', dst: '10.244.1.2', dport: 8080, ttl: 62 })
    const back = t.reply.filter((h) => h.point === 'rx').at(-1)!
    expect(back.detail).toMatchObject({ src: '10.96.0.21', sport: 80, dst: '10.244.0.2', dport: 40000, ttl: 62 })
  })

  it('names the manifest line of the Service that translated the destination', () => {
    const t = ask('client', 'svc/far:80')
    const line = SHOP.split('\n').findIndex((l) => l.includes('10.96.0.21')) + 1
    expect(t.decidedBy).toMatchObject({ kind: 'Service', namespace: 'default', name: 'far', file: 'shop.yaml', line })
  })

  it('keeps a same-node connection on the bridge with the TTL as sent and the MAC of the client', () => {
    const t = ask('client', 'svc/near:80')
    expect(t.verdict).toBe('DELIVERED')
    expect(hosts(t.walk)).toEqual(['pod:default/client', 'node:n1', 'pod:default/near'])
    const sent = t.frames[t.walk.find((h) => h.point === 'tx')!.frame!]!
    const received = t.frames[t.walk.filter((h) => h.point === 'rx').at(-1)!.frame!]!
    expect(received.hex.slice(12, 24)).toBe(sent.hex.slice(12, 24))
    expect(t.walk.filter((h) => h.point === 'rx').at(-1)!.detail.ttl).toBe(64)
  })

  it('plays a whole connection with --flow: handshake, request, response, close', () => {
    const t = ask('client', 'svc/far:http', { flow: true })
    expect(t.flow).toEqual({ established: true, requestBytes: 37, responseBytes: expect.any(Number), closed: true })
    expect(t.flow!.responseBytes).toBeGreaterThan(60)
    const flags = t.packets.filter((p) => p.summary.includes('TCP')).map((p) => p.summary)
    expect(flags.filter((s) => / S /.test(s))).toHaveLength(1)
    expect(flags.filter((s) => / SA /.test(s))).toHaveLength(1)
    expect(flags.filter((s) => /F/.test(s.split('TCP')[1]!.split(' seq')[0]!)).length).toBe(2)
    expect(t.packets.every((p) => p.verdict === 'DELIVERED')).toBe(true)
  })

  it('rejects a Service without endpoints, says which rule and what is nearest', () => {
    const t = ask('client', 'svc/nobody:80')
    expect(t.verdict).toBe('REJECTED')
    expect(t.reason.code).toBe('NETFILTER_REJECT')
    expect(t.decidedBy).toMatchObject({ kind: 'Service', name: 'nobody' })
    expect(t.nearestMiss).toMatch(/app=faar/)
    const rule = t.walk.filter((h) => h.point === 'rule').at(-1)!
    expect(rule.detail.text).toMatch(/has no endpoints.*-j REJECT/)
    // the answer is ICMP port unreachable, and it reaches the client
    expect(t.reply.some((h) => h.netns === 'pod:default/client')).toBe(true)
  })

  it('reaches a pod through its own Service by the hairpin of its bridge port, masqueraded', () => {
    const t = ask('client', 'svc/self:80')
    expect(t.verdict).toBe('DELIVERED')
    expect(t.delivered).toMatchObject({ pod: 'default/client', dst: '10.244.0.2', dport: 8080, src: '10.244.0.1' })
  })

  it('masquerades a NodePort client that enters by the other node', () => {
    const t = ask('host:192.0.2.7', 'node/n1:30080')
    expect(t.verdict).toBe('DELIVERED')
    expect(t.delivered).toMatchObject({ pod: 'default/far', src: '172.18.0.2', dst: '10.244.1.2', dport: 8080 })
    expect(t.replyVerdict?.verdict).toBe('DELIVERED')
    expect(hosts(t.reply).at(-1)).toBe('host:192.0.2.7')
  })

  it('walks UDP and ICMP too', () => {
    expect(ask('client', 'svc/near:dns', { protocol: 'UDP' })).toMatchObject({
      verdict: 'DELIVERED',
      delivered: { pod: 'default/near', dport: 53 },
      replyVerdict: { verdict: 'DELIVERED' },
    })
    const ping = ask('client', 'pod/default/far', { protocol: 'ICMP' })
    expect(ping).toMatchObject({ verdict: 'DELIVERED', replyVerdict: { verdict: 'DELIVERED' } })
    expect(hosts(ping.reply).at(-1)).toBe('pod:default/client')
  })

  it('translates in OUTPUT for a host-network pod', () => {
    const t = ask('pod/default/host', 'svc/near:80')
    expect(t).toMatchObject({ verdict: 'DELIVERED', delivered: { pod: 'default/near', dport: 8080 } })
    expect(t.walk.some((h) => h.detail.hook === 'OUTPUT' && h.detail.table === 'nat')).toBe(true)
  })

  it('does not answer for a Service port that does not exist: the packet goes where routing sends it', () => {
    const t = ask('client', '10.96.0.20:81')
    expect(t.verdict).not.toBe('DELIVERED')
    expect(t.nearestMiss).toMatch(/Service default\/near .* has no port 81; it has 80\/TCP \(http\), 53\/UDP \(dns\)/)
  })

  it('does not show a rule for an end that no rule brought about', () => {
    expect(ask('client', '8.8.8.8:53')).toMatchObject({
      verdict: 'UNREACHABLE',
      decidedBy: null,
      nearestMiss: 'Nothing in the cluster has 8.8.8.8; host:8.8.8.8 stands for a machine outside that has it.',
    })
  })

  it('says that no pod has an address of a node', () => {
    expect(ask('client', '10.244.1.200:80').nearestMiss).toBe('No pod has 10.244.1.200, an address of node n2.')
  })

  it.each([['', 'externalIPs: [203.0.113.9]', /^203.0.113.9 is an external IP of Service default\/far/]])(
    'says who brings an address of a Service to a node: %s%s',
    (status, field, expected) => {
      const text = SHOP.replace(
        '  type: NodePort\n',
        `  type: LoadBalancer\n${field === '' ? '' : `  ${field}\n`}`,
      ).replace('metadata: { name: far }\nspec:', `metadata: { name: far }\n${status}\nspec:`)
      const { nearestMiss } = ask('host:192.0.2.7', '203.0.113.9:80', {}, text)
      expect(nearestMiss).toMatch(expected)
      expect(nearestMiss).toMatch('node/NAME:30080 is the same Service on a node')
    },
  )

  it('reaches the pod by the load balancer address of the status', () => {
    const text = SHOP.replace('type: NodePort', 'type: LoadBalancer').replace(
      'metadata: { name: far }\nspec:',
      'metadata: { name: far }\nstatus: {loadBalancer: {ingress: [{ip: 203.0.113.9}]}}\nspec:',
    )
    expect(ask('host:192.0.2.7', '203.0.113.9:80', {}, text).delivered).toMatchObject({ pod: 'default/far' })
  })

  it('names the nodes that have an endpoint when externalTrafficPolicy Local drops', () => {
    const text = SHOP.replace('type: NodePort', 'type: NodePort\n  externalTrafficPolicy: Local')
    expect(ask('host:192.0.2.7', 'node/n1:30080', {}, text)).toMatchObject({
      reason: { code: 'NETFILTER_DROP' },
      nearestMiss: expect.stringMatching(/externalTrafficPolicy Local and no endpoint on n1; n2 has one/),
    })
    expect(ask('host:192.0.2.7', 'node/n2:30080', {}, text).verdict).toBe('DELIVERED')
  })

  it('names the pod behind a hostPort, and the node that has it', () => {
    const text = SHOP.replace('{ containerPort: 8080 }', '{ containerPort: 8080, hostPort: 8443 }')
    expect(ask('host:192.0.2.7', 'node/n1:8443', {}, text)).toMatchObject({
      verdict: 'DELIVERED',
      decidedBy: { kind: 'Pod', namespace: 'default', name: 'near' },
    })
    expect(ask('host:192.0.2.7', 'node/n2:8443', {}, text).nearestMiss).toBe(
      'Pod default/near has port 8443 of node n1, none has it on n2.',
    )
  })

  it('calls the pod that has an address by its name', () => {
    expect(ask('client', '10.244.1.2:8080').question.dst).toMatchObject({ kind: 'pod', name: 'default/far' })
  })

  it('tells that a port is nowhere named when a pod is asked by an undeclared port', () => {
    expect(ask('client', 'default/far:9').notes.join()).toMatch(/no manifest says .* port 9 /)
    expect(ask('client', 'default/far:8080').notes).toEqual([])
  })

  it('fragments a datagram that is larger than the MTU and delivers it', () => {
    const t = ask('client', 'svc/near:dns', { protocol: 'UDP', size: 4000 })
    expect(t.verdict).toBe('DELIVERED')
    expect(
      t.frames.filter((f) => f.netns === 'pod:default/near' && f.direction === 'rx' && f.hex.slice(24, 28) === '0800')
        .length,
    ).toBe(3)
  })

  it('knows what a fragmented ping looked like to its receiver', () => {
    const t = ask('client', 'pod/default/far', { protocol: 'ICMP', size: 3000 })
    expect(t).toMatchObject({ verdict: 'DELIVERED', delivered: { pod: 'default/far', src: '10.244.0.2' } })
    expect(hosts(t.walk)).toEqual(['pod:default/client', 'node:n1', 'underlay', 'node:n2', 'pod:default/far'])
    expect(t.walk.filter((h) => h.point === 'fragment').map((h) => h.netns)).toEqual([
      'pod:default/client',
      'node:n1',
      'node:n2',
    ])
    expect(t.replyVerdict?.verdict).toBe('DELIVERED')
    expect(hosts(t.reply).at(-1)).toBe('pod:default/client')
  })

  it('sends DNS to port 53, and the answer is DNS too', () => {
    const t = ask('client', 'svc/near:dns', { protocol: 'UDP' })
    const dns = t.frames.filter((f) => f.netns === 'pod:default/client' && f.hex.slice(46, 48) === '11')
    expect(dns.map((f) => f.hex.slice(84, 92))).toEqual(['00010100', '00018180'])
  })

  it('answers UNMODELLED with its name for SCTP and for a CNI that is not there', () => {
    const t = ask('client', 'svc/far:80', {}, SHOP.replace('name: kubenet', 'name: weave'))
    expect(ask('client', 'svc/far:80', { protocol: 'SCTP' })).toMatchObject({ verdict: 'UNMODELLED' })
    expect(t).toMatchObject({ verdict: 'UNMODELLED', reason: { text: expect.stringMatching(/weave/) } })
  })

  it('does not guess who answers for a load balancer address outside the nodes', () => {
    const text = SHOP.replace('type: NodePort\n', 'type: NodePort\n  externalIPs: [198.51.100.9]\n')
    expect(ask('host:192.0.2.7', '198.51.100.9:80', {}, text)).toMatchObject({ verdict: 'UNMODELLED' })
    expect(ask('client', '198.51.100.9:80', {}, text)).toMatchObject({
      verdict: 'DELIVERED',
      delivered: { pod: 'default/far' },
    })
  })

  it('tells nftables rules and policies by table, chain and handle', () => {
    const cluster = buildCluster(clusterOf())
    const rules =
      'table ip t { chain c { type filter hook forward priority 0; policy drop; tcp dport 8080 counter accept; }; }'
    expect(execTool(cluster.nodes.get('n1')!, ['nft', '-f', '-'], rules).stderr).toBe('')
    const question = {
      src: 'client',
      namespace: 'default',
      protocol: 'TCP' as const,
      flow: false,
      seed: 1,
      verbose: false,
    }
    const { trace } = traceInCluster(cluster, { ...question, dst: 'svc/far:80' })
    const rule = trace!.walk.find((h) => String(h.detail.table) === 'ip t')!
    expect(rule.detail).toMatchObject({
      chain: 'c',
      matched: true,
      text: expect.stringMatching(/tcp dport 8080 .*accept/),
    })
    const dropped = traceInCluster(cluster, { ...question, dst: 'pod/default/far:9', sport: 40001 }).trace!
    expect(dropped.verdict).toBe('DROPPED')
    expect(JSON.stringify(dropped.walk.find((h) => h.point === 'policy' && h.detail.verdict === 'DROP'))).toContain(
      'nft ip t',
    )
  })

  it('gives the same bytes for the same question and seed', () => {
    const a = JSON.stringify(ask('client', 'svc/far:80', { flow: true }))
    const b = JSON.stringify(ask('client', 'svc/far:80', { flow: true }))
    expect(b).toBe(a)
  })

  it('reports an end that does not exist with the nearest names', () => {
    const r = askTrace(clusterOf(), {
      src: 'default/clint',
      dst: 'svc/faar:80',
      namespace: 'default',
      protocol: 'TCP',
      flow: false,
      seed: 1,
      verbose: false,
    })
    expect(r.trace).toBeNull()
    const texts = r.diagnostics.map((d) => `${d.message} ${d.hint ?? ''}`)
    expect(texts.some((s) => /clint/.test(s) && /client/.test(s))).toBe(true)
    expect(texts.some((s) => /faar/.test(s) && /far/.test(s))).toBe(true)
  })
})
