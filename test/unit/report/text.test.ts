/**
 * The text and wide reports of a Trace.
 */
import { describe, expect, it } from '@jest/globals'
import { ansi, plain } from '../../../src/report/paint.ts'
import { traceText } from '../../../src/report/text.ts'
import { traceWide } from '../../../src/report/wide.ts'
import { expectGolden } from '../../support/golden.ts'
import { crossNodeTrace, rejectedTrace, segment, TraceDoc } from '../../support/trace-doc.ts'

const columnsOf = (text: string): number => Math.max(...text.split('\n').map((line) => [...line].length))
const bare = (text: string): string => text.replaceAll(new RegExp(`${String.fromCharCode(27)}\\[\\d+m`, 'g'), '')

describe('text report', () => {
  it('prints a delivered walk and its reply as reviewed', () => {
    expectGolden('report/delivered.txt', traceText(crossNodeTrace()))
  })

  it('prints a rejected walk with what decided, the nearest miss and a hint as reviewed', () => {
    expectGolden('report/rejected.txt', traceText(rejectedTrace()))
  })

  it('keeps within 80 columns', () => {
    for (const trace of [crossNodeTrace(), rejectedTrace()]) expect(columnsOf(traceText(trace))).toBeLessThanOrEqual(80)
  })

  it('keeps within 80 columns when names are as long as Kubernetes allows', () => {
    const pod = `${'n'.repeat(63)}/${'p'.repeat(253)}`
    const trace = crossNodeTrace()
    const long = { asked: `svc/${pod}:80`, kind: 'service' as const, name: pod, ip: '10.96.0.10' }
    const question = {
      ...trace.question,
      src: { ...trace.question.src, name: pod, node: 'n'.repeat(63) },
      dst: long,
      flow: true,
    }
    const walk = trace.walk.map((h) => ({
      ...h,
      netns: `pod:${pod}`,
      device: 'd'.repeat(15),
      action: 'a '.repeat(300),
    }))
    const packets = [
      {
        n: 1,
        from: `pod:${pod}`,
        summary: 's'.repeat(300),
        verdict: 'DELIVERED' as const,
        reason: 'CONSUMED',
        to: `pod:${pod}`,
      },
    ]
    expect(
      columnsOf(traceText({ ...trace, question, walk, packets, frames: [], delivered: { ...trace.delivered!, pod } })),
    ).toBeLessThanOrEqual(80)
  })

  it('prints every hop on a line of its own, in order', () => {
    const numbers = [
      ...traceText(crossNodeTrace()).matchAll(
        /^ +(\d+) {2}\S+ +(?:tx|rx|route|neigh|bridge|local-in|conntrack|rule|nat|forward|socket) /gm,
      ),
    ].map((m) => Number(m[1]))
    const { walk, reply } = crossNodeTrace()
    expect(numbers).toEqual([...walk, ...reply].map((h) => h.n))
  })

  it('shows a translation with the address it replaced', () => {
    const text = traceText(crossNodeTrace())
    expect(text).toContain('dst 10.96.0.10:80 => 10.244.1.2:8080')
    expect(text).toContain('src 10.244.1.2:8080 => 10.96.0.10:80')
  })

  it('reads addresses and flags from the frame bytes, not from the words of the hop', () => {
    const trace = new TraceDoc()
      .at('n1', 'node:n1')
      .frame('eth0', 'tx', segment('192.0.2.1', 1234, '192.0.2.2', 443, 'SA'))
      .build()
    expect(traceText(trace)).toContain('192.0.2.1:1234 > 192.0.2.2:443  SYN+ACK')
  })

  it('starts a new group when the host changes', () => {
    const hosts = traceText(crossNodeTrace())
      .split('\n')
      .filter((l) => /^(pod|node) /.test(l))
    expect(hosts).toEqual([
      ...['pod shop/web-0 on n1', 'node n1', 'node n2', 'pod shop/api-0 on n2'],
      ...['pod shop/api-0 on n2', 'node n1', 'pod shop/web-0 on n1'],
    ])
  })

  it('colours without changing a character of the text', () => {
    for (const trace of [crossNodeTrace(), rejectedTrace()]) {
      const coloured = traceText(trace, { paint: ansi })
      expect(coloured).not.toBe(traceText(trace))
      expect(bare(coloured)).toBe(traceText(trace))
    }
  })

  it('lists the packets of a connection and how it went', () => {
    const trace = crossNodeTrace()
    const text = traceText({
      ...trace,
      question: { ...trace.question, flow: true },
      flow: { established: true, requestBytes: 77, responseBytes: 120, closed: true },
      packets: [
        {
          n: 1,
          from: 'pod:shop/web-0',
          summary: 'SYN',
          verdict: 'DELIVERED',
          reason: 'CONSUMED',
          to: 'pod:shop/api-0',
        },
        {
          n: 2,
          from: 'pod:shop/api-0',
          summary: 'SYN ACK',
          verdict: 'DROPPED',
          reason: 'NETFILTER_DROP',
          to: 'node:n1',
        },
      ],
    })
    expect(text).toMatch(/1 {2}client -> server {2}✓ SYN {2}10\.244\.0\.2:40000 > 10\.96\.0\.10:80/)
    expect(text).toMatch(/2 {2}server -> n1 {6}✗ DROPPED SYN\+ACK/)
    expect(text).toContain('✓ connection established, 77 bytes sent, 120 bytes received, closed')
  })

  it('does not show echo identifiers as ports', () => {
    const trace = crossNodeTrace()
    const text = traceText({
      ...trace,
      walk: [],
      reply: [],
      question: { ...trace.question, protocol: 'ICMP', dport: 0 },
    })
    expect(text).toMatch(/it sees +10\.244\.0\.2 > 10\.244\.1\.2$/m)
  })

  it('says what is not modelled without a walk', () => {
    const text = traceText({
      ...crossNodeTrace(),
      ...{
        walk: [],
        reply: [],
        frames: [],
        verdict: 'UNMODELLED',
        delivered: null,
        decidedBy: null,
        replyVerdict: null,
      },
      reason: { code: 'UNMODELLED', text: 'CNI "flannel" is not modelled.', hint: 'Modelled: kubenet.' },
    })
    expect(text).toContain('? UNMODELLED')
    expect(text).toContain('CNI "flannel" is not modelled.')
  })
})

describe('hops that say nothing', () => {
  const rule = (
    chain: string,
    target: string,
    matched = true,
  ): [string, string, string, { [key: string]: unknown }] => [
    ...(['cbr0', 'rule', `${chain} ${target}`] as const),
    { table: 'filter', chain, rule: 1, target, text: '', matched },
  ]
  const policy: [string, string, string, { [key: string]: unknown }] = [
    'cbr0',
    'policy',
    'filter FORWARD policy: ACCEPT',
    { verdict: 'ACCEPT' },
  ]
  const lines = (doc: TraceDoc): string => traceText(doc.build())

  it('are left out: accepting policies and jumps into chains in which nothing matched', () => {
    const text = lines(
      new TraceDoc()
        .at('n1', 'node:n1')
        .hop(...rule('FORWARD', 'KUBE-PROXY-FIREWALL'))
        .hop(...rule('FORWARD', 'KUBE-FORWARD'))
        .hop(...rule('KUBE-FORWARD', 'ACCEPT'))
        .hop(...policy),
    )
    expect(text).not.toContain('KUBE-PROXY-FIREWALL')
    expect(text).not.toContain('policy')
    expect(text).toMatch(
      /2 {2}cbr0 +rule +filter FORWARD 1 → KUBE-FORWARD\n.*3 {2}cbr0 +rule +filter KUBE-FORWARD 1 → ACCEPT/,
    )
  })

  it('stay when a policy drops and when rules that did not match were asked for', () => {
    const dropping: [string, string, string, { [key: string]: unknown }] = [
      'cbr0',
      'policy',
      'filter FORWARD policy: DROP',
      { verdict: 'DROP' },
    ]
    expect(lines(new TraceDoc().at('n1', 'node:n1').hop(...dropping))).toContain('policy: DROP')
    expect(
      lines(
        new TraceDoc()
          .at('n1', 'node:n1')
          .hop(...rule('FORWARD', 'X', false))
          .hop(...policy),
      ),
    ).toContain('policy: ACCEPT')
  })
})

describe('wide report', () => {
  it('adds the rule as the save tool prints it, its manifest line and the frame', () => {
    const text = traceWide(crossNodeTrace(), plain)
    expect(text).toContain(
      '-A KUBE-SVC-ABCDEFGHIJKLMNOP -m comment --comment "shop/api:http -> 10.244.1.2:8080" -j KUBE-SEP-QRSTUVWXYZABCDEF',
    )
    expect(text).toContain('from Service shop/api spec.ports[0]  shop.yaml:12')
    expect(text).toMatch(/frame 0, 54 bytes, 0a:58:0a:f4:00:02 > 0a:58:0a:f4:00:01, ttl 64, id 0, DF, at 0 ns/)
  })

  it('cuts nothing', () => {
    expect(traceWide(crossNodeTrace(), plain)).not.toContain('…')
  })
})
