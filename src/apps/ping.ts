/**
 * ping(8) of a name: getaddrinfo first, then the packets of linux/tools/ping, with the names that it prints.
 *
 * The first line and the statistics say the canonical name; replies say the name that the address has (PTR), unless -n.
 * Exit status 2 when the name is unknown. Source: iputils ping/ping.c (main, pr_addr).
 */
import { parseIpv4 } from '../addr/index.ts'
import type { Netns } from '../linux/netns.ts'
import { ping, pingTarget } from '../linux/tools/ping.ts'
import { runTool, ToolExit, type ToolResult, unmodelled } from '../linux/tools/result.ts'
import { GAI_STRERROR, type ProcessFiles, Resolver, UnmodelledDns } from './resolver.ts'

/** Runs `ping ARGV`. */
export function pingByName(ns: Netns, argv: readonly string[], files: ProcessFiles): ToolResult {
  const at = pingTarget(argv)
  const name = at < 0 ? '' : argv[at]!
  if (name === '' || parseIpv4(name) !== null) return ping(ns, argv)
  const resolver = new Resolver(ns, files)
  let ip = ''
  let shown = name
  const resolved = runTool(() => {
    try {
      const info = resolver.addresses(name)
      if (info.error !== null) throw new ToolExit(2, `ping: ${name}: ${GAI_STRERROR[info.error]}`)
      ip = info.addresses[0] ?? unmodelled(`ping of ${name}, which has IPv6 addresses only`)
      shown = info.canonicalName
      return ''
    } catch (e) {
      if (e instanceof UnmodelledDns) unmodelled(e.message)
      throw e
    }
  })
  if (resolved.status !== 0) return resolved
  const numeric = argv.some((w) => /^-[qnv4Ob]*n/.test(w))
  const names = new Map<string, string | null>()
  const nameOf = (from: string): string | null => {
    if (numeric) return null
    if (!names.has(from)) names.set(from, nameOrNull(resolver, from))
    return names.get(from)!
  }
  return ping(ns, [...argv.slice(0, at), ip, ...argv.slice(at + 1)], { shown, nameOf })
}

/** Reverse names are a nicety: what is not modelled about them is no reason to stop. */
function nameOrNull(resolver: Resolver, ip: string): string | null {
  try {
    return resolver.nameOf(ip)
  } catch (e) {
    if (e instanceof UnmodelledDns) return null
    throw e
  }
}
