import type { Netns } from '../netns.ts'
import type { ToolResult } from './result.ts'

export function ipset(_ns: Netns, _argv: readonly string[], _stdin: string): ToolResult {
  return { status: 126, stdout: '', stderr: 'podwalk: UNMODELLED: ipset\n' }
}
