/**
 * Diagnostics: everything that is wrong or surprising in what the user gave, with the place it was found.
 *
 * kubectl and the API server stop at the first bad document; podwalk collects every problem of every file and shows
 * them sorted by place, as a compiler does. A Diagnostic is about input only: a packet's fate is a reason code, and a
 * broken invariant of ours is a thrown Error.
 *
 * Sources: the message pattern of compilers (file:line:col: severity: message), the API server's field errors
 * (k8s.io/apimachinery/pkg/util/validation/field) for `path`.
 */

/** How bad a diagnostic is: an `error` stops the run (exit code 3), the others go to stderr only. */
export type Severity = 'error' | 'warning' | 'info'

/** A place in the input. Line and column count from 1; 0 means the whole file. */
export interface SourcePosition {
  readonly file: string
  readonly line: number
  readonly col: number
}

/** One finding about the input. */
export interface Diagnostic extends SourcePosition {
  /** Stable, documented, kebab-case: `yaml-syntax`, `unknown-field`, `unschedulable` ... */
  readonly code: string
  readonly severity: Severity
  readonly message: string
  /** The field as Kubernetes writes it: `spec.ports[0].port`. */
  readonly path?: string
  /** What to do about it. */
  readonly hint?: string
}

/** What `Diagnostics.add` takes beside the place. */
export interface DiagnosticDetail {
  readonly path?: string | undefined
  readonly hint?: string | undefined
}

/** The place of a finding that belongs to no file (a command-line option, the whole input). */
export const NO_POSITION: SourcePosition = { file: '', line: 0, col: 0 }

/** Findings of one code and severity that are kept per file before the rest is only counted. */
const MAX_PER_CODE_AND_FILE = 100

/** Collects diagnostics; the same finding at the same place is kept once. */
export class Diagnostics {
  private readonly list: Diagnostic[] = []
  private readonly seen = new Set<string>()
  private readonly counts = new Map<string, { count: number; first: Diagnostic }>()
  private errors = 0

  /** Adds one finding. */
  add(severity: Severity, code: string, at: SourcePosition, message: string, detail: DiagnosticDetail = {}): void {
    if (severity === 'error') this.errors++
    const bucket = `${severity} ${code} ${at.file}`
    let counted = this.counts.get(bucket)
    if (counted !== undefined && counted.count >= MAX_PER_CODE_AND_FILE) {
      counted.count++
      return
    }
    const key = `${bucket} ${at.line}:${at.col} ${message}`
    if (this.seen.has(key)) return
    this.seen.add(key)
    const diagnostic: Diagnostic = {
      code,
      severity,
      message,
      file: at.file,
      line: at.line,
      col: at.col,
      ...(detail.path !== undefined && { path: detail.path }),
      ...(detail.hint !== undefined && { hint: detail.hint }),
    }
    this.list.push(diagnostic)
    if (counted === undefined) {
      counted = { count: 0, first: diagnostic }
      this.counts.set(bucket, counted)
    }
    counted.count++
  }

  /** Adds an error. */
  error(code: string, at: SourcePosition, message: string, detail: DiagnosticDetail = {}): void {
    this.add('error', code, at, message, detail)
  }

  /** Adds a warning. */
  warning(code: string, at: SourcePosition, message: string, detail: DiagnosticDetail = {}): void {
    this.add('warning', code, at, message, detail)
  }

  /** Adds a note. */
  info(code: string, at: SourcePosition, message: string, detail: DiagnosticDetail = {}): void {
    this.add('info', code, at, message, detail)
  }

  /** Takes over the findings of another step, which was collected with the same bounds. */
  addAll(diagnostics: Iterable<Diagnostic>): void {
    for (const d of diagnostics) {
      if (d.severity === 'error') this.errors++
      this.list.push(d)
    }
  }

  /** True when at least one finding is an error. */
  get hasErrors(): boolean {
    return this.errors > 0
  }

  /** All findings by file, line, column, then severity; what was left out of a flood is counted in one line. */
  sorted(): Diagnostic[] {
    const all = [...this.list]
    for (const { count, first } of this.counts.values()) {
      if (count <= MAX_PER_CODE_AND_FILE) continue
      const { hint: _hint, path: _path, ...rest } = first
      const more = count - MAX_PER_CODE_AND_FILE
      all.push({ ...rest, line: Number.MAX_SAFE_INTEGER, message: `${more} more of this kind in this file` })
    }
    return sortDiagnostics(all).map((d) => (d.line === Number.MAX_SAFE_INTEGER ? { ...d, line: 0, col: 0 } : d))
  }
}

const SEVERITY_ORDER: Record<Severity, number> = { error: 0, warning: 1, info: 2 }

/** Sorts by file, line, column, severity, code and message: the same input gives the same order. */
export function sortDiagnostics(diagnostics: readonly Diagnostic[]): Diagnostic[] {
  return [...diagnostics].sort(
    (a, b) =>
      compareText(a.file, b.file) ||
      a.line - b.line ||
      a.col - b.col ||
      SEVERITY_ORDER[a.severity] - SEVERITY_ORDER[b.severity] ||
      compareText(a.code, b.code) ||
      compareText(a.message, b.message),
  )
}

/**
 * One diagnostic as text:
 *
 *     shop.yaml:12:7: error: spec.ports[0].port: expected 1-65535, found 70000 [invalid-value]
 *       hint: ...
 */
export function formatDiagnostic(d: Diagnostic): string {
  const place = formatPosition(d)
  const path = d.path === undefined || d.path === '' ? '' : `${printable(d.path)}: `
  const head = `${place === '' ? '' : `${place}: `}${d.severity}: ${path}${d.message} [${d.code}]`
  return d.hint === undefined ? head : `${head}\n  hint: ${d.hint}`
}

/** A key of a manifest may hold anything: control characters are written as JSON writes them. */
function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** `file:line:col`, without the parts that are not known. */
export function formatPosition(at: SourcePosition): string {
  if (at.file === '') return ''
  return at.line === 0 ? at.file : `${at.file}:${at.line}:${at.col}`
}

/** All diagnostics as text, sorted, one or two lines each. */
export function formatDiagnostics(diagnostics: readonly Diagnostic[]): string {
  return sortDiagnostics(diagnostics).map(formatDiagnostic).join('\n')
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
