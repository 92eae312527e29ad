/**
 * Programs of a user: they resolve names and open sockets, where linux/tools only configure and show the kernel.
 */
import type { Netns } from '../linux/netns.ts'
import type { ToolResult } from '../linux/tools/result.ts'
import { curl } from './curl.ts'
import { dig } from './dig.ts'
import { nc } from './nc.ts'
import { nslookup } from './nslookup.ts'
import { pingByName } from './ping.ts'
import type { ProcessFiles } from './resolver.ts'
import { wget } from './wget.ts'

/** One program. */
export type App = (ns: Netns, argv: readonly string[], files: ProcessFiles, stdin: string) => ToolResult

const APPS: { readonly [name: string]: App } = { curl, dig, nc, nslookup, ping: pingByName, wget }

/** Names of the programs. */
export const APP_NAMES: readonly string[] = Object.keys(APPS)

/** The program of that name, or undefined. */
export function findApp(name: string): App | undefined {
  return Object.hasOwn(APPS, name) ? APPS[name] : undefined
}
