/**
 * Colour and width of text on a terminal.
 *
 * Colour is never the only signal: verdicts carry a mark (✓ ✗ ?) as well. Whether to colour is decided by the command
 * line (--color, NO_COLOR, FORCE_COLOR, a TTY); here it is a parameter, so that text stays a pure function of the JSON.
 */
import type { Verdict } from '../linux/reasons.ts'

/** What a piece of text means; a painter gives it a colour or none. */
export type Role = 'good' | 'bad' | 'warn' | 'dim' | 'strong' | 'host' | 'address'

/** Gives a piece of text its colour. */
export type Paint = (role: Role, text: string) => string

/** SGR codes that begin and end a style. node:util's styleText looks at stdout itself, which a pure function must not. */
const STYLES: { readonly [role in Role]: readonly [number, number] } = {
  good: [32, 39],
  bad: [31, 39],
  warn: [33, 39],
  dim: [2, 22],
  strong: [1, 22],
  host: [36, 39],
  address: [35, 39],
}

/** Leaves text as it is. */
export const plain: Paint = (_role, text) => text

/** Colours text with ANSI sequences. */
export const ansi: Paint = (role, text) =>
  text === '' ? '' : `\x1b[${STYLES[role][0]}m${text}\x1b[${STYLES[role][1]}m`

/** The mark that stands before a verdict. */
export function markOf(verdict: Verdict): string {
  return verdict === 'DELIVERED' ? '✓' : verdict === 'UNMODELLED' ? '?' : '✗'
}

/** The role that a verdict is painted with. */
export function roleOf(verdict: Verdict): Role {
  return verdict === 'DELIVERED' ? 'good' : verdict === 'UNMODELLED' ? 'warn' : 'bad'
}

/** Cuts text to `columns`, the last of them an ellipsis when something was cut. */
export function cut(text: string, columns: number): string {
  if (text.length <= columns) return text
  return columns <= 1 ? text.slice(0, Math.max(0, columns)) : `${text.slice(0, columns - 1)}…`
}

/** Cuts text in its middle, so that the end of a generated name (what tells pods apart) stays readable. */
export function cutMiddle(text: string, columns: number): string {
  if (text.length <= columns) return text
  const tail = Math.floor((columns - 1) / 2)
  return `${text.slice(0, columns - 1 - tail)}…${tail === 0 ? '' : text.slice(-tail)}`
}

/** Breaks text at spaces into lines of at most `columns`; a longer word stands alone and is not broken. */
export function wrap(text: string, columns: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(/\s+/)) {
    if (word === '') continue
    if (line !== '' && line.length + 1 + word.length > columns) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  if (line !== '') lines.push(line)
  return lines
}
