/**
 * Programs of a user: they resolve names and open sockets, where linux/tools only configure and show the kernel.
 */
import type { Netns } from '../linux/netns.ts'
import type { ToolResult } from '../linux/tools/result.ts'
import { dig } from './dig.ts'
import { nslookup } from './nslookup.ts'
import { pingByName } from './ping.ts'
import type { ProcessFiles } from './resolver.ts'

/** One program. */
export type App = (ns: Netns, argv: readonly string[], files: ProcessFiles) => ToolResult

const APPS: { readonly [name: string]: App } = { dig, nslookup, ping: pingByName }

/** Names of the programs. */
export const APP_NAMES: readonly string[] = Object.keys(APPS)

/** The program of that name, or undefined. */
export function findApp(name: string): App | undefined {
  return Object.hasOwn(APPS, name) ? APPS[name] : undefined
}
