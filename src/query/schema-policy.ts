/**
 * JSON Schemas of the policy documents: Reach (reach-types.ts), Why (why.ts).
 */
import { BOOL, COUNT, documentOf, exactly, listOf, orNull, PORT, TEXT, TEXTS, words } from './schema-parts.ts'

const PROTOCOL = words('TCP', 'UDP', 'SCTP')
const PROBE_PROTOCOL = words('TCP', 'UDP', 'SCTP', 'ICMP')
const PAIRS = listOf({ type: 'array', items: TEXT, minItems: 2, maxItems: 2 })
const OPTIONS = exactly({
  ipBlockMatchesPods: BOOL,
  hostNetwork: words('ignored', 'as-pod'),
  nodeTraffic: words('exempt', 'exempt-ingress', 'subject'),
})
const ENFORCEMENT = exactly({ cni: TEXT, enforces: BOOL, ignored: TEXTS })

/** The schema of Reach. */
export const REACH_SCHEMA = documentOf(
  'Reach',
  'Who can talk to whom',
  {
    by: words('pod', 'workload'),
    engine: words('policy', 'packets', 'both'),
    options: OPTIONS,
    connections: listOf(
      exactly({ src: TEXT, dst: TEXT, protocol: PROTOCOL, ports: TEXT, partial: { const: true } }, ['partial']),
    ),
    probes: listOf(exactly({ protocol: PROBE_PROTOCOL, port: PORT, allowed: PAIRS, denied: PAIRS })),
    exposure: listOf(
      exactly({ workload: TEXT, direction: words('ingress', 'egress'), peer: TEXT, protocol: PROTOCOL, ports: TEXT }),
    ),
    differences: listOf(
      exactly({
        src: TEXT,
        dst: TEXT,
        protocol: PROBE_PROTOCOL,
        port: PORT,
        policy: words('allowed', 'denied'),
        packets: TEXT,
        cause: TEXT,
        text: TEXT,
      }),
    ),
    enforcement: ENFORCEMENT,
    notes: TEXTS,
  },
  ['probes', 'exposure', 'differences'],
)

const PLACE = exactly({ kind: TEXT, namespace: TEXT, name: TEXT, field: TEXT, file: TEXT, line: COUNT, col: COUNT })
const MISS = exactly({ field: TEXT, file: TEXT, line: COUNT, expected: TEXT, found: TEXT })
const RULE = exactly({
  at: PLACE,
  action: words('Allow', 'Deny', 'Pass', 'Log'),
  outcome: words('matched', 'not matched', 'not reached'),
  misses: listOf(MISS),
  l7: BOOL,
})
const SIDE = exactly({
  direction: words('ingress', 'egress'),
  party: TEXT,
  allowed: BOOL,
  cause: words('not policed', 'no policy selects it', 'rule', 'isolated', 'no rule matches'),
  decidedBy: orNull(PLACE),
  tiers: listOf(
    exactly({
      name: TEXT,
      outcome: words('allowed', 'denied', 'denied by default', 'passed', 'no match', 'not reached'),
      policies: listOf(exactly({ at: PLACE, isolates: BOOL, rules: listOf(RULE) })),
    }),
  ),
  nearestMiss: orNull(exactly({ at: PLACE, misses: listOf(MISS) })),
})

/** The schema of Why. */
export const WHY_SCHEMA = documentOf('Why', 'Why a connection is allowed or denied', {
  question: exactly({ src: TEXT, dst: TEXT, protocol: PROBE_PROTOCOL, port: PORT }),
  allowed: BOOL,
  options: OPTIONS,
  flows: listOf(
    exactly({
      src: TEXT,
      dst: TEXT,
      port: TEXT,
      allowed: BOOL,
      exemption: orNull(words('loopback', 'own-node')),
      egress: SIDE,
      ingress: SIDE,
    }),
  ),
  enforcement: ENFORCEMENT,
  notes: TEXTS,
})

/** The schema of Check. */
export const CHECK_SCHEMA = documentOf('Check', 'What became of assertions about policies', {
  options: OPTIONS,
  assertions: listOf(
    exactly({
      name: TEXT,
      kind: words('allow', 'deny', 'only', 'isolated', 'defaultDeny'),
      file: TEXT,
      line: COUNT,
      col: COUNT,
      status: words('pass', 'fail', 'empty', 'vacuous', 'unenforced'),
      text: TEXT,
      pairs: COUNT,
      failures: listOf(
        exactly({
          src: TEXT,
          dst: TEXT,
          port: TEXT,
          allowed: BOOL,
          because: TEXT,
          decidedBy: orNull(PLACE),
          nearestMiss: orNull(PLACE),
        }),
      ),
      moreFailures: COUNT,
    }),
  ),
  coverage: exactly({ rules: COUNT, covered: COUNT, uncovered: listOf(PLACE) }),
  enforcement: ENFORCEMENT,
  summary: exactly({ assertions: COUNT, passed: COUNT, failed: COUNT }),
})

const DIFF_CONNECTION = exactly({ src: TEXT, dst: TEXT, protocol: PROTOCOL, ports: TEXT, because: TEXTS })

/** The schema of Diff. */
export const DIFF_SCHEMA = documentOf('Diff', 'What two sets of manifests change in who can talk to whom', {
  by: words('pod', 'workload'),
  old: TEXT,
  new: TEXT,
  added: listOf(DIFF_CONNECTION),
  removed: listOf(DIFF_CONNECTION),
  policies: listOf(exactly({ change: words('added', 'removed', 'changed'), object: TEXT, file: TEXT, line: COUNT })),
  ends: exactly({ added: TEXTS, removed: TEXTS }),
  notes: TEXTS,
})

/** The schema of Lint. */
export const LINT_SCHEMA = documentOf('Lint', 'What is likely not what was meant', {
  findings: listOf(
    exactly({
      code: TEXT,
      severity: words('error', 'warning', 'info'),
      message: TEXT,
      object: TEXT,
      field: TEXT,
      file: TEXT,
      line: COUNT,
      col: COUNT,
      hint: TEXT,
    }),
  ),
  summary: exactly({ error: COUNT, warning: COUNT, info: COUNT }),
  notes: TEXTS,
})

/** The schema of Advice. */
export const ADVICE_SCHEMA = documentOf('Advice', 'The least policies that let given flows through', {
  flows: COUNT,
  policies: listOf({ type: 'object', description: 'networking.k8s.io/v1 NetworkPolicy' }),
  missing: TEXTS,
  ambiguous: TEXTS,
})
