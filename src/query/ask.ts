/**
 * Asks for a trace and answers always: a CNI driver or a proxy mode that podwalk does not have is the verdict UNMODELLED
 * with its name, not an error.
 */
import { UnmodelledClusterError } from '../cluster/build.ts'
import type { ClusterModel } from '../kubernetes/types.ts'
import { R_UNMODELLED, reasonOf } from '../linux/reasons.ts'
import { type TraceAnswer, type TraceQuestion, traceQuery } from './trace.ts'
import { API_VERSION, type Trace, type TraceEndpoint } from './trace-types.ts'

/** One question of one cluster. */
export function askTrace(model: ClusterModel, question: TraceQuestion): TraceAnswer {
  try {
    return traceQuery(model, question)
  } catch (error) {
    if (!(error instanceof UnmodelledClusterError)) throw error
    return { trace: unmodelledTrace(model, question, error), diagnostics: [] }
  }
}

function unmodelledTrace(model: ClusterModel, question: TraceQuestion, error: UnmodelledClusterError): Trace {
  const { code: _code, symbol, verdict } = reasonOf(R_UNMODELLED)
  const end = (asked: string): TraceEndpoint => ({ asked, kind: 'ip', name: asked, ip: '' })
  return {
    apiVersion: API_VERSION,
    kind: 'Trace',
    question: {
      src: end(question.src),
      dst: end(question.dst),
      protocol: question.protocol,
      sport: question.sport ?? 0,
      dport: 0,
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
      hint: `Modelled: ${error.modelled.join(', ')}. --cni and --proxy-mode choose another.`,
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
