/**
 * The formats of Diff: text for people, Markdown for a pull request, JSON, YAML.
 */
import type { Diff, DiffConnection } from '../../query/diff/diff-types.ts'
import { toJson } from '../json.ts'
import type { Paint } from '../paint.ts'
import { toYaml } from '../yaml.ts'

/** One format. */
export interface DiffFormat {
  readonly name: string
  readonly render: (diff: Diff, paint: Paint) => string
}

/** Connections of the same ends and cause in one line. */
interface Line {
  readonly src: string
  readonly dst: string
  readonly ports: string
  readonly because: readonly string[]
}

function linesOf(list: readonly DiffConnection[]): Line[] {
  const groups = new Map<string, DiffConnection[]>()
  for (const c of list) {
    const key = JSON.stringify([c.src, c.dst, c.because])
    groups.set(key, [...(groups.get(key) ?? []), c])
  }
  return [...groups.values()].map((group) => ({ ...group[0]!, ports: portsOf(group) }))
}

function portsOf(group: readonly DiffConnection[]): string {
  if (group.length === 3 && group.every((c) => c.ports === 'all')) return 'all ports'
  return group.map((c) => (c.ports === 'all' ? `all ${c.protocol}` : `${c.protocol}/${c.ports}`)).join(' ')
}

function diffText(diff: Diff, paint: Paint): string {
  const lines: string[] = []
  const put = (mark: string, role: 'good' | 'bad', list: readonly DiffConnection[]): void => {
    for (const c of linesOf(list)) {
      lines.push(`${paint(role, mark)} ${c.src} -> ${c.dst} ${c.ports}`)
      for (const b of c.because) lines.push(paint('dim', `    ${b}`))
    }
  }
  put('+', 'good', diff.added)
  put('-', 'bad', diff.removed)
  if (lines.length === 0) lines.push('no connection changes')
  lines.push('', summary(diff))
  for (const p of diff.policies) lines.push(`  ${p.change}: ${p.object} (${p.file}:${p.line})`)
  for (const n of diff.ends.added) lines.push(`  new: ${n}`)
  for (const n of diff.ends.removed) lines.push(`  gone: ${n}`)
  for (const n of diff.notes) lines.push(`note: ${n}`)
  return `${lines.join('\n')}\n`
}

function summary(diff: Diff): string {
  const { added, removed, policies } = diff
  return `${linesOf(added).length} connections added, ${linesOf(removed).length} removed; ${policies.length} policy objects differ`
}

function diffMarkdown(diff: Diff): string {
  const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ')
  const lines = [`**${summary(diff)}** (${diff.old} → ${diff.new})`]
  if (diff.added.length + diff.removed.length > 0) {
    lines.push('', '| | from | to | ports | because |', '|---|---|---|---|---|')
    for (const [mark, list] of [
      ['➕', diff.added],
      ['➖', diff.removed],
    ] as const) {
      for (const c of linesOf(list)) {
        lines.push(`| ${mark} | ${cell(c.src)} | ${cell(c.dst)} | ${c.ports} | ${cell(c.because.join('; '))} |`)
      }
    }
  }
  return `${lines.join('\n')}\n`
}

/** All formats. */
export const DIFF_FORMATS: readonly DiffFormat[] = [
  { name: 'text', render: diffText },
  { name: 'md', render: diffMarkdown },
  { name: 'json', render: (diff) => toJson(diff) },
  { name: 'yaml', render: (diff) => toYaml(diff) },
]
