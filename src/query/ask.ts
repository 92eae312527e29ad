/**
 * Asks for a trace and answers always: a CNI driver, a proxy mode or a transport that podwalk does not have is the verdict
 * UNMODELLED with its name, not an error.
 */
import { UnmodelledClusterError } from '../cluster/build.ts'
import { resolveTarget, type Target } from '../kubernetes/target.ts'
import type { ClusterModel } from '../kubernetes/types.ts'
import { R_UNMODELLED, reasonOf } from '../linux/reasons.ts'
import { type TraceAnswer, type TraceQuestion, traceQuery } from './trace.ts'
import { API_VERSION, type Trace, type TraceEndpoint } from './trace-types.ts'

/** Protocols that a client's socket can speak here. */
const MODELLED_PROTOCOLS: readonly TraceQuestion['protocol'][] = ['TCP', 'UDP', 'ICMP']

/** One question of one cluster. */
export function askTrace(model: ClusterModel, question: TraceQuestion): TraceAnswer {
  try {
    if (!MODELLED_PROTOCOLS.includes(question.protocol)) {
      throw new UnmodelledClusterError(`${question.protocol} socket`, MODELLED_PROTOCOLS)
    }
    return traceQuery(model, question)
  } catch (error) {
    if (!(error instanceof UnmodelledClusterError)) throw error
    const { namespace } = question
    const [src, dst] = [
      resolveTarget(model, question.src, { namespace }),
      resolveTarget(model, question.dst, { namespace }),
    ]
    if (src.target !== undefined && dst.target !== undefined) {
      const ends = { src: endpoint(question.src, src.target), dst: endpoint(question.dst, dst.target) }
      return { trace: unmodelledTrace(model, question, ends, dst.target.port ?? 0, error), diagnostics: [] }
    }
    return { trace: null, diagnostics: [src, dst].flatMap((r) => (r.target === undefined ? [r.diagnostic] : [])) }
  }
}

function endpoint(asked: string, target: Target): TraceEndpoint {
  const { kind, ip } = target
  switch (target.kind) {
    case 'pod':
      return { asked, kind, name: `${target.pod.namespace}/${target.pod.name}`, node: target.pod.node, ip }
    case 'node':
      return { asked, kind, name: target.node.name, node: target.node.name, ip }
    case 'service':
      return { asked, kind, name: `${target.service.metadata.namespace}/${target.service.metadata.name}`, ip }
    default:
      return { asked, kind, name: ip, ip }
  }
}

function unmodelledTrace(
  model: ClusterModel,
  question: TraceQuestion,
  ends: { readonly src: TraceEndpoint; readonly dst: TraceEndpoint },
  dport: number,
  error: UnmodelledClusterError,
): Trace {
  const { code: _code, symbol, verdict } = reasonOf(R_UNMODELLED)
  return {
    apiVersion: API_VERSION,
    kind: 'Trace',
    question: {
      ...ends,
      protocol: question.protocol,
      sport: question.sport ?? 0,
      dport,
      size: question.size ?? 0,
      flow: question.flow,
      cni: model.config.cni.name,
      proxyMode: model.config.proxy.mode,
      seed: question.seed,
    },
    verdict,
    reason: {
      code: symbol,
      text: `${error.what} is not modelled.`,
      hint: `Modelled: ${error.modelled.join(', ')}.`,
    },
    nearestMiss: null,
    decidedBy: null,
    delivered: null,
    walk: [],
    reply: [],
    replyVerdict: null,
    flow: null,
    packets: [],
    frames: [],
    interfaces: [],
    names: {},
    notes: [],
  }
}
