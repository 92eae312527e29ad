/**
 * JSON Schema of the Trace document (trace-types.ts).
 */
import {
  BOOL,
  COUNT,
  documentOf,
  exactly,
  listOf,
  orNull,
  PORT,
  TEXT,
  TEXT_OR_NULL,
  TEXTS,
  words,
} from './schema-parts.ts'

const VERDICT = words(
  ...['DELIVERED', 'DROPPED', 'REJECTED', 'UNREACHABLE', 'TTL_EXCEEDED', 'FRAG_NEEDED', 'LOOP', 'UNMODELLED'],
)

const endpoint = exactly(
  { asked: TEXT, kind: words('pod', 'node', 'host', 'service', 'ip'), name: TEXT, node: TEXT, ip: TEXT, how: TEXT },
  ['node', 'how'],
)

const hop = exactly({
  n: { type: 'integer', minimum: 1 },
  node: TEXT_OR_NULL,
  netns: TEXT,
  device: TEXT_OR_NULL,
  point: TEXT,
  action: TEXT,
  frame: orNull(COUNT),
  detail: { type: 'object', description: 'What the point knows; fields by point.' },
})

const decidedBy = orNull(exactly({ kind: TEXT, namespace: TEXT, name: TEXT, rule: TEXT, file: TEXT, line: COUNT }))
const delivered = orNull(
  exactly({ pod: TEXT_OR_NULL, node: TEXT_OR_NULL, src: TEXT, sport: PORT, dst: TEXT, dport: PORT }),
)
const replyVerdict = orNull(exactly({ verdict: VERDICT, code: TEXT, text: TEXT }))

/** The schema. */
export const TRACE_SCHEMA = documentOf(
  'Trace',
  'The walk of one packet and of its reply',
  {
    question: exactly({
      src: endpoint,
      dst: endpoint,
      protocol: words('TCP', 'UDP', 'SCTP', 'ICMP'),
      sport: PORT,
      dport: PORT,
      size: COUNT,
      flow: BOOL,
      cni: TEXT,
      proxyMode: TEXT,
      seed: { type: 'integer' },
    }),
    verdict: VERDICT,
    reason: exactly({ code: TEXT, text: TEXT, hint: TEXT }),
    nearestMiss: TEXT_OR_NULL,
    decidedBy,
    delivered,
    walk: listOf(hop),
    reply: listOf(hop),
    replyVerdict,
    flow: orNull(exactly({ established: BOOL, requestBytes: COUNT, responseBytes: COUNT, closed: BOOL })),
    packets: listOf(
      exactly({
        n: { type: 'integer', minimum: 1 },
        from: TEXT,
        summary: TEXT,
        verdict: VERDICT,
        reason: TEXT,
        to: TEXT_OR_NULL,
      }),
    ),
    frames: listOf(
      exactly({
        node: TEXT_OR_NULL,
        netns: TEXT,
        device: TEXT,
        direction: words('rx', 'tx'),
        atNs: { type: 'number', minimum: 0 },
        hex: { type: 'string', pattern: '^([0-9a-f]{2})+$' },
        packet: COUNT,
      }),
    ),
    interfaces: listOf(exactly({ node: TEXT_OR_NULL, netns: TEXT, device: TEXT, linkType: words('ether', 'ip') })),
    http: exactly({
      method: TEXT,
      url: TEXT,
      serverName: TEXT_OR_NULL,
      status: orNull({ type: 'integer', minimum: 100, maximum: 599 }),
      reason: TEXT_OR_NULL,
      body: TEXT_OR_NULL,
      failure: TEXT_OR_NULL,
      decisions: listOf(
        exactly({
          pod: TEXT,
          controller: TEXT,
          what: TEXT,
          action: words('forward', 'respond', 'passthrough', 'refuse', 'unmodelled'),
          origin: decidedBy,
          service: TEXT_OR_NULL,
          upstream: TEXT_OR_NULL,
          status: orNull({ type: 'integer', minimum: 100, maximum: 599 }),
          why: TEXT,
        }),
      ),
    }),
    onward: listOf(
      exactly({
        from: TEXT,
        verdict: VERDICT,
        reason: exactly({ code: TEXT, text: TEXT }),
        delivered,
        walk: listOf(hop),
        reply: listOf(hop),
        replyVerdict,
      }),
    ),
    resolution: exactly({
      name: TEXT,
      libc: words('glibc', 'musl'),
      searches: TEXTS,
      ndots: COUNT,
      queries: listOf(
        exactly({
          name: TEXT,
          type: TEXT,
          server: TEXT,
          transport: words('udp', 'tcp'),
          outcome: words('answer', 'timeout', 'refused', 'unreachable'),
          rcode: TEXT_OR_NULL,
          answers: TEXTS,
        }),
      ),
      addresses: TEXTS,
      hasPackets: BOOL,
      walk: listOf(hop),
      reply: listOf(hop),
    }),
    names: { type: 'object', additionalProperties: TEXT, description: 'Names of the addresses that occur.' },
    notes: TEXTS,
  },
  ['resolution', 'onward', 'http'],
)
