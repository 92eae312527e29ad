/**
 * A command in a pod, on a node or on a machine outside: the tools that configure and show the kernel, and the programs of
 * a user, which resolve names.
 */
import { APP_NAMES, findApp } from '../apps/registry.ts'
import type { PodModel } from '../kubernetes/types.ts'
import type { Netns } from '../linux/netns.ts'
import { execTool, TOOL_NAMES } from '../linux/tools/exec.ts'
import { type ToolResult, UNMODELLED_STATUS } from '../linux/tools/result.ts'
import { birdc } from './birdc.ts'
import type { Cluster } from './build.ts'
import { processFiles } from './processes.ts'

/** Everything that can be run. */
export const COMMAND_NAMES: readonly string[] = [...new Set([...TOOL_NAMES, ...APP_NAMES, 'birdc', 'cat'])]

/** Where a command runs. */
export interface ExecPlace {
  readonly ns: Netns
  readonly pod?: PodModel
}

/** Runs `argv`; the first word is the command, a path in front of it is ignored. */
export function execCommand(cluster: Cluster, place: ExecPlace, argv: readonly string[], stdin = ''): ToolResult {
  const name = (argv[0] ?? '').replace(/^.*\//, '')
  if (name === 'cat') return cat(cluster, place, argv.slice(1))
  if (name === 'birdc' || name === 'birdcl') return birdc(cluster.bgp?.at(place.ns), argv.slice(1))
  const app = findApp(name)
  if (app !== undefined) {
    const before = cluster.unmodelled.length
    const result = app(place.ns, argv.slice(1), processFiles(cluster, place.pod), stdin)
    const met = cluster.unmodelled.slice(before)
    if (met.length === 0 || result.status === UNMODELLED_STATUS) return result
    // somebody on the way could not answer: what the program made of the silence says nothing
    return { status: UNMODELLED_STATUS, stdout: '', stderr: `podwalk: UNMODELLED: ${met.join('; ')}\n` }
  }
  const result = execTool(place.ns, argv, stdin)
  if (result.status !== 127) return result
  return { ...result, stderr: `podwalk: exec: ${name} is not modelled; modelled: ${COMMAND_NAMES.join(', ')}\n` }
}

/** Files that daemons of the node wrote (BIRD's configuration). */
function cat(cluster: Cluster, place: ExecPlace, paths: readonly string[]): ToolResult {
  let stdout = ''
  let stderr = ''
  for (const path of paths) {
    const text = cluster.files.get(`${place.ns.name} ${path}`)
    if (text === undefined) stderr += `cat: ${path}: No such file or directory\n`
    else stdout += text()
  }
  return { status: stderr === '' ? 0 : 1, stdout, stderr }
}
