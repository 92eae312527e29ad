/**
 * The resolution of a name as text: the queries in order with what they brought, in at most the columns given.
 *
 *     api is 10.96.20.1, by 10.96.0.10 (glibc, ndots 5)
 *       A     api.shop.svc.cluster.local.        10.96.20.1
 *       AAAA  api.shop.svc.cluster.local.        no data
 */
import type { TraceDnsQuery, TraceResolution } from '../query/trace-types.ts'
import { cut, type Paint } from './paint.ts'

const TYPE_COLUMNS = 5
const MAX_NAME_COLUMNS = 44

/** The lines in front of the walk of the query. */
export function resolutionLines(r: TraceResolution, columns: number, paint: Paint): string[] {
  const server = r.queries.at(-1)?.server
  const found = r.addresses.length === 0 ? 'has no address' : `is ${r.addresses.join(', ')}`
  const how = `${r.libc}, ndots ${r.ndots}${r.hasPackets ? '' : ', implied: no DNS in the manifests, no packets'}`
  const lines = [paint('strong', cut(`${r.name} ${found}, by ${server} (${how})`, columns))]
  const widest = Math.min(MAX_NAME_COLUMNS, Math.max(0, ...r.queries.map((q) => q.name.length + 1)))
  for (const q of r.queries) {
    const lead = `  ${q.type.padEnd(TYPE_COLUMNS)} ${cut(`${q.name}.`, widest).padEnd(widest)}  `
    lines.push(`${lead}${cut(outcomeWords(q), columns - lead.length)}`)
  }
  return lines
}

function outcomeWords(q: TraceDnsQuery): string {
  const over = q.transport === 'tcp' ? ' (TCP)' : ''
  if (q.rcode === null) return `${q.outcome === 'answer' ? 'truncated, again over TCP' : q.outcome}${over}`
  if (q.rcode !== 'NOERROR') return `${q.rcode}${over}`
  const data = q.answers.map((a) => a.split(' ').slice(3).join(' '))
  return `${data.length === 0 ? 'no data' : data.join(', ')}${over}`
}
