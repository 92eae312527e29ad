/**
 * The formats a Reach can be printed in: one line each.
 */
import type { Reach } from '../../query/reach-types.ts'
import type { Paint } from '../paint.ts'

/** A way to print a Reach. */
export interface ReachFormat {
  readonly name: string
  render(reach: Reach, paint: Paint): Promise<string>
}

/** Every format, the default first. */
export const REACH_FORMATS: readonly ReachFormat[] = [
  { name: 'text', render: async (r, paint) => (await import('./text.ts')).reachText(r, paint) },
  { name: 'wide', render: async (r, paint) => (await import('./matrix.ts')).reachMatrix(r, paint) },
  { name: 'json', render: async (r) => (await import('../json.ts')).toJson(r) },
  { name: 'yaml', render: async (r) => (await import('../yaml.ts')).toYaml(r) },
  { name: 'csv', render: async (r) => (await import('./csv.ts')).reachCsv(r) },
  { name: 'md', render: async (r) => (await import('./markdown.ts')).reachMarkdown(r) },
  { name: 'dot', render: async (r) => (await import('./dot.ts')).reachDot(r) },
  { name: 'svg', render: async (r) => (await import('./svg.ts')).reachSvg(r) },
  { name: 'html', render: async (r) => (await import('./html.ts')).reachHtml(r) },
]
