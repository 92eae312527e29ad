/**
 * conntrack(8) inside a namespace: the command of netfilter/conntrack/tool.ts in the form that exec wants.
 *
 * A command or filter that conntrack(8) has and podwalk does not is answered there with exit status 2 and its name.
 */
import { conntrackTool } from '../netfilter/conntrack/tool.ts'
import type { Netns } from '../netns.ts'
import type { ToolResult } from './result.ts'

/** Runs `conntrack ARGV`. */
export function conntrack(ns: Netns, argv: readonly string[]): ToolResult {
  return conntrackTool(ns, argv)
}
