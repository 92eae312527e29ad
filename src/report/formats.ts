/**
 * The formats a Trace can be printed in: one line each. A new format is one file and one line here.
 */
import type { Trace } from '../query/trace-types.ts'
import type { Paint } from './paint.ts'

/** A way to print a Trace. */
export interface TraceFormat {
  readonly name: string
  /** Bytes that a terminal must not get. */
  readonly isBinary: boolean
  render(trace: Trace, paint: Paint): Promise<string | Uint8Array>
}

/** Every format, the default first. */
export const TRACE_FORMATS: readonly TraceFormat[] = [
  { name: 'text', isBinary: false, render: async (t, paint) => (await import('./text.ts')).traceText(t, { paint }) },
  { name: 'wide', isBinary: false, render: async (t, paint) => (await import('./wide.ts')).traceWide(t, paint) },
  { name: 'json', isBinary: false, render: async (t) => (await import('./json.ts')).toJson(t) },
  { name: 'yaml', isBinary: false, render: async (t) => (await import('./yaml.ts')).toYaml(t) },
  { name: 'mermaid', isBinary: false, render: async (t) => (await import('./mermaid.ts')).traceMermaid(t) },
  { name: 'pcapng', isBinary: true, render: async (t) => (await import('./pcapng.ts')).tracePcapng(t) },
]
