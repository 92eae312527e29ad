/**
 * What became of a request as text: the answer, and what the controllers on the way decided.
 *
 *     HTTP 200 OK  GET https://shop.example.com/api
 *       ingress-nginx in ingress-nginx/controller
 *         chosen by   Ingress shop/shop spec.rules[0].http.paths[1], shop.yaml:40
 *         upstream    10.244.2.3:9000, Service shop/api
 */
import type { TraceHttp } from '../query/trace-types.ts'
import { cut, type Paint, wrap } from './paint.ts'

const LABEL_COLUMNS = 14

/** The lines behind the walks. */
export function httpLines(http: TraceHttp, columns: number, paint: Paint): string[] {
  const isGood = http.status !== null && http.status < 400
  const said = http.status === null ? `no answer: ${http.failure}` : `${http.status} ${http.reason}`
  const lines = [cut(`${paint(isGood ? 'good' : 'bad', `HTTP ${said}`)}  ${http.method} ${http.url}`, columns + 16)]
  for (const d of http.decisions) {
    lines.push(cut(`  ${d.controller} in ${d.pod}: ${d.what}`, columns))
    const o = d.origin
    if (o !== null)
      lines.push(...labelled('chosen by', `${o.kind} ${o.namespace}/${o.name} ${o.rule}, ${o.file}:${o.line}`, columns))
    if (d.upstream !== null) lines.push(...labelled('upstream', `${d.upstream}, Service ${d.service}`, columns))
    if (d.why !== '') lines.push(...labelled(d.status === null ? 'why' : `why ${d.status}`, d.why, columns))
    else if (d.upstream !== null && d.status !== null) lines.push(...labelled('status', String(d.status), columns))
  }
  return lines
}

function labelled(label: string, text: string, columns: number): string[] {
  const lead = ' '.repeat(LABEL_COLUMNS + 2)
  return wrap(text, columns - lead.length).map((l, i) => (i === 0 ? `    ${label}`.padEnd(lead.length) : lead) + l)
}
