/**
 * JSON Schemas of the tables of `podwalk get` (tables.ts) and of the Reasons of `podwalk explain`.
 */
import { BOOL, COUNT, documentOf, exactly, listOf, TEXT, TEXT_OR_NULL, TEXTS } from './schema-parts.ts'

const SOURCE = { type: ['string', 'null'], description: 'file:line of the object that it came from.' }
const WHERE = { node: TEXT_OR_NULL, netns: TEXT }

function table(kind: string, title: string, row: Parameters<typeof exactly>[0]): ReturnType<typeof documentOf> {
  return documentOf(kind, title, { items: listOf(exactly(row)) })
}

/** Schemas by kind. */
export const TABLE_SCHEMAS = {
  Nodes: table('Nodes', 'The nodes of the cluster', {
    name: TEXT,
    internalIP: TEXT,
    podCIDR: TEXT,
    role: TEXT,
    zone: TEXT_OR_NULL,
    ready: BOOL,
    pods: COUNT,
    source: SOURCE,
  }),
  Pods: table('Pods', 'The pods of the cluster, pending ones included', {
    namespace: TEXT,
    name: TEXT,
    ready: BOOL,
    status: { enum: ['Running', 'Terminating', 'Pending'] },
    ip: TEXT_OR_NULL,
    node: TEXT_OR_NULL,
    hostNetwork: BOOL,
    owner: TEXT_OR_NULL,
    ports: TEXTS,
    source: SOURCE,
  }),
  Services: table('Services', 'The Services of the cluster with their endpoints', {
    namespace: TEXT,
    name: TEXT,
    type: TEXT,
    clusterIP: TEXT_OR_NULL,
    ports: TEXTS,
    endpoints: TEXTS,
    notReady: TEXTS,
    source: SOURCE,
  }),
  Links: table('Links', 'The network devices of every namespace', {
    ...WHERE,
    device: TEXT,
    type: TEXT,
    mac: TEXT_OR_NULL,
    mtu: COUNT,
    master: TEXT_OR_NULL,
    state: TEXT,
    addresses: TEXTS,
  }),
  Routes: table('Routes', 'The main routing table of every namespace', {
    ...WHERE,
    dst: TEXT,
    type: TEXT,
    via: TEXT_OR_NULL,
    device: TEXT_OR_NULL,
    src: TEXT_OR_NULL,
    protocol: TEXT_OR_NULL,
    metric: COUNT,
  }),
  Rules: table('Rules', 'The policy routing rules of every namespace', {
    ...WHERE,
    priority: COUNT,
    from: TEXT,
    to: TEXT,
    fwmark: TEXT_OR_NULL,
    table: TEXT_OR_NULL,
  }),
  Timeline: table('Timeline', 'What happened since the cluster had converged', {
    atS: { type: 'number', minimum: 0 },
    netns: TEXT,
    what: { enum: ['event', 'session', 'route'] },
    text: TEXT,
  }),
  BgpSessions: table('BgpSessions', 'The BGP sessions of every speaker in the cluster', {
    ...WHERE,
    asn: COUNT,
    neighbor: TEXT,
    neighborASN: COUNT,
    state: { enum: ['Idle', 'Connect', 'Active', 'OpenSent', 'OpenConfirm', 'Established'] },
    upS: COUNT,
    prefixes: COUNT,
    lastError: TEXT_OR_NULL,
    holdS: COUNT,
    capabilities: TEXTS,
  }),
}

const NUMBERS = { type: 'array', items: COUNT }

/** Schema of BgpState, what `podwalk bgp speak` prints at its end. */
export const BGP_STATE_SCHEMA = documentOf('BgpState', 'The sessions and routes of a BGP speaker', {
  asn: COUNT,
  routerId: TEXT,
  sessions: listOf(
    exactly({
      neighbor: TEXT,
      asn: COUNT,
      state: { enum: ['Idle', 'Connect', 'Active', 'OpenSent', 'OpenConfirm', 'Established'] },
      uptimeS: COUNT,
      holdTimeS: COUNT,
      capabilities: TEXTS,
      prefixes: COUNT,
      lastError: TEXT,
    }),
  ),
  rib: listOf(
    exactly({
      prefix: TEXT,
      nextHop: { type: ['string', 'null'], description: 'null for an own network.' },
      asPath: NUMBERS,
      localPref: COUNT,
      med: { type: ['integer', 'null'] },
      origin: { enum: ['igp', 'egp', 'incomplete'] },
      communities: TEXTS,
      from: { type: ['string', 'null'], description: 'The neighbor; null for an own network.' },
      best: BOOL,
      stale: BOOL,
    }),
  ),
  announced: TEXTS,
})

/** Schema of the Reasons document. */
export const REASONS_SCHEMA = table('Reasons', 'Why packets end', {
  code: COUNT,
  symbol: { type: 'string', pattern: '^[A-Z][A-Z0-9_]*$' },
  verdict: TEXT,
  text: TEXT,
  hint: TEXT,
})
