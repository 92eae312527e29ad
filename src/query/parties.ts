/**
 * The ends of a policy question: from words to pods, nodes and addresses.
 *
 *     NS/POD  pod/NS/POD  deploy/NS/NAME (all its pods)  ns/NAME  svc/NS/NAME:PORT (its endpoints)  node/NAME  IP  CIDR
 *
 * Where a trace takes one pod of a workload, a policy question takes all. A Service stands for its endpoints after
 * translation: policies see the pod and its targetPort, never the ClusterIP. A DNS name and everything else is resolved as
 * `trace` does.
 */
import { parseCidr } from '../addr/cidr.ts'
import type { Diagnostic } from '../diagnostics/diagnostic.ts'
import { nearest } from '../kubernetes/names.ts'
import { resolveTarget } from '../kubernetes/target.ts'
import type { ClusterModel, Protocol } from '../kubernetes/types.ts'
import type { PolicyEngine } from '../policy/engine.ts'
import { externalAtoms } from '../policy/external.ts'
import { externalParty } from '../policy/input.ts'
import type { Party } from '../policy/model.ts'
import { type Address, type AddressRanges, cidrRanges, intersectRanges, rangesContain } from '../policy/ranges.ts'

/** What the words stand for. */
export interface Parties {
  readonly parties: readonly Party[]
  /** For a Service: where the packets go, by party name. */
  readonly targets: ReadonlyMap<string, readonly { readonly protocol: Protocol; readonly port: number }[]> | null
  /** For a Service: how it is asked for, `svc/ns/name:port`. */
  readonly service: string | null
  /** A port that the words named, as it is asked for (of a Service its own port). */
  readonly port: number | null
  /** A remark on what was chosen. */
  readonly notes: readonly string[]
}

/** The parties, or why there are none. */
export type PartiesResult =
  | { readonly found: Parties; readonly diagnostic?: undefined }
  | { readonly found?: undefined; readonly diagnostic: Diagnostic }

const WORKLOADS: Readonly<Record<string, string>> = {
  deploy: 'Deployment',
  deployment: 'Deployment',
  sts: 'StatefulSet',
  statefulset: 'StatefulSet',
  ds: 'DaemonSet',
  daemonset: 'DaemonSet',
  job: 'Job',
  rs: 'ReplicaSet',
  replicaset: 'ReplicaSet',
}

/** Resolves one end of a question. */
export function resolveParties(
  engine: PolicyEngine,
  model: ClusterModel,
  text: string,
  namespace = 'default',
): PartiesResult {
  const plain = (
    parties: readonly Party[],
    port: number | null = null,
    notes: readonly string[] = [],
  ): PartiesResult => ({
    found: { parties, targets: null, service: null, port, notes },
  })
  if (parseCidr(text) !== null) {
    const parties = partiesOfCidr(engine, text)
    return parties.length > 0 ? plain(parties) : { diagnostic: problem(text, `no party has an address of ${text}`) }
  }
  if (/^[\d.]+\/|^[\da-f:]*:[\da-f:]*\/\d/i.test(text)) {
    return { diagnostic: problem(text, `expected a CIDR such as 10.0.0.0/24, found ${text}`) }
  }
  const words = /^(ns|namespace)\/([^/:]+)$/.exec(text)
  if (words !== null) {
    const pods = engine.input.pods.filter((p) => p.namespace === words[2])
    return pods.length > 0
      ? plain(pods)
      : missing(text, `no pods in namespace ${words[2]}`, words[2]!, engine.input.namespaces.keys())
  }
  const [, kind = '', rest = ''] = /^([a-z]+)\/(.+)$/.exec(text) ?? []
  const workload = WORKLOADS[kind]
  // a namespace may be called deploy: NS/POD has one slash, deploy/NS/NAME two, deploy/NAME is of -n
  if (workload !== undefined && !engine.pod(text)) {
    const [path, portText] = rest.split(':') as [string, string | undefined]
    const [ns, name] = path.includes('/') ? (path.split('/') as [string, string]) : [namespace, path]
    const pods = engine.input.pods.filter((p) => p.namespace === ns && p.workload === `${workload}/${name}`)
    if (pods.length > 0) return plain(pods, portText === undefined ? null : portOf(portText, pods[0]!))
  }
  const resolved = resolveTarget(model, text, { namespace })
  if (resolved.target === undefined) return { diagnostic: resolved.diagnostic }
  const { target, notes } = resolved
  const port = target.port ?? null
  switch (target.kind) {
    case 'pod':
      return plain([engine.pod(`${target.pod.namespace}/${target.pod.name}`)!], port, notes)
    case 'node':
      return plain([engine.input.nodes.find((n) => n.name === target.node.name)!], port, notes)
    case 'service':
      return serviceParties(engine, model, target, text)
    default: {
      const owner = model.services.find(({ object }) => object.spec.clusterIPs?.includes(target.ip))?.object.metadata
      if (owner !== undefined) {
        // policies never see it: what the proxy does not translate goes nowhere
        const message = notes[0] ?? `${target.ip} is the ClusterIP of a Service; policies see its endpoints`
        return { diagnostic: problem(text, message, `ask svc/${owner.namespace}/${owner.name}:PORT`) }
      }
      const party = engine.partyAt(target.ip)
      return party === null
        ? { diagnostic: problem(text, `no party has the address ${target.ip}`) }
        : plain([party], port, notes)
    }
  }
}

/**
 * Who has an address of the block: pods, and one machine outside for each way in which policies treat addresses of the block.
 * Nodes only when there is nobody else: they reach their own pods whatever policies say.
 */
export function partiesOfCidr(engine: PolicyEngine, text: string): Party[] {
  const ranges = cidrRanges(text)!
  const isIn = (p: Party): boolean => p.addresses.some((a) => rangesContain(ranges, a))
  const pods = engine.input.pods.filter(isIn)
  const world = externalAtoms(engine).flatMap((atom) => {
    const address = firstOutsider(engine, intersectRanges(atom.ranges, ranges))
    return address === null ? [] : [externalParty(address)]
  })
  const found = [...pods, ...world]
  return found.length > 0 ? found : engine.input.nodes.filter(isIn)
}

/** How many addresses are tried: more than a cluster has in a row is a block of its own. */
const TRIES = 100_000

/** The first address of the ranges that is no pod and no node, null when there is none. */
export function firstOutsider(engine: PolicyEngine, ranges: AddressRanges): Address | null {
  let tries = 0
  const isOut = (a: Address): boolean => engine.partyOf(a).kind === 'external'
  for (let i = 0; i < ranges.v4.length; i += 2) {
    for (let value = ranges.v4[i]!; value <= ranges.v4[i + 1]! && tries < TRIES; value++, tries++) {
      if (isOut({ family: 4, value })) return { family: 4, value }
    }
  }
  for (let i = 0; i < ranges.v6.length; i += 2) {
    for (let value = ranges.v6[i]!; value <= ranges.v6[i + 1]! && tries < TRIES; value++, tries++) {
      if (isOut({ family: 6, value })) return { family: 6, value }
    }
  }
  return null
}

function portOf(text: string, pod: Party): number | null {
  if (/^\d+$/.test(text)) return Number(text)
  return pod.ports.find((p) => p.name === text)?.port ?? null
}

/** The endpoints of a Service port, with the targetPort of each. */
function serviceParties(
  engine: PolicyEngine,
  model: ClusterModel,
  target: Extract<NonNullable<ReturnType<typeof resolveTarget>['target']>, { kind: 'service' }>,
  text: string,
): PartiesResult {
  const { metadata } = target.service
  const key = `${metadata.namespace}/${metadata.name}`
  const targets = new Map<string, { protocol: Protocol; port: number }[]>()
  const parties: Party[] = []
  for (const slice of model.endpointSlices) {
    if (slice.service !== key) continue
    for (const port of slice.object.ports ?? []) {
      if ((port.name ?? '') !== (target.servicePort.name ?? '') || port.port === undefined) continue
      for (const endpoint of slice.object.endpoints) {
        if (endpoint.conditions?.ready === false) continue
        for (const address of endpoint.addresses) {
          const ref = endpoint.targetRef
          const party =
            (ref?.kind === 'Pod' ? engine.pod(`${ref.namespace ?? metadata.namespace}/${ref.name}`) : undefined) ??
            engine.partyAt(address)
          if (party === null || party === undefined) continue
          if (!targets.has(party.name)) parties.push(party)
          targets.set(party.name, [
            ...(targets.get(party.name) ?? []),
            { protocol: port.protocol ?? 'TCP', port: port.port },
          ])
        }
      }
    }
  }
  if (parties.length === 0) return { diagnostic: problem(text, `Service ${key} has no ready endpoint`) }
  const notes = [
    `Service ${key}: policies see its ${parties.length} endpoints and the targetPort, not ${target.ip}:${target.port}`,
  ]
  if (target.service.spec.externalTrafficPolicy === 'Cluster') {
    notes.push('externalTrafficPolicy Cluster: from outside, the endpoints see the address of a node, not the client')
  }
  return { found: { parties, targets, service: `svc/${key}:${target.port}`, port: target.port, notes } }
}

function problem(text: string, message: string, hint?: string): Diagnostic {
  return {
    code: 'unresolvable',
    severity: 'error',
    file: '',
    line: 0,
    col: 0,
    path: text,
    message,
    ...(hint !== undefined && { hint }),
  }
}

function missing(text: string, message: string, name: string, names: Iterable<string>): PartiesResult {
  const near = nearest(name, names)
  return { diagnostic: problem(text, message, near.length > 0 ? `did you mean ${near.join(', ')}?` : undefined) }
}
