/**
 * net.ipv6.* by name, and what writing a setting sets off.
 *
 * Linux: net/ipv6/addrconf.c (addrconf_sysctl_forward, addrconf_sysctl_disable, addrconf_sysctl_proxy_ndp),
 * net/ipv6/sysctl_net_ipv6.c. Names that no code reads are unknown.
 */
import type { NetDevice } from '../device/device.ts'
import type { Netns } from '../netns.ts'
import { addrconfWork } from './devconf.ts'

type IntFields = { [name: string]: number }

/** Where a name leads. */
export interface Place6 {
  readonly obj: IntFields
  readonly field: string
  readonly which: 'all' | 'default' | 'dev' | 'ns'
  readonly dev: NetDevice | null
}

const PREFIXED: { readonly [prefix: string]: string } = { icmp: 'icmp_', route: 'route_' }

/** The field behind `net.ipv6.NAME`, null when there is no such setting. `dev` looks a device name up. */
export function findSysctl6(ns: Netns, name: string, dev: (name: string) => NetDevice | undefined): Place6 | null {
  const s = ns.sysctl.ipv6
  let m = /^net\.ipv6\.(conf|neigh)\.(.+)\.([a-z0-9_]+)$/.exec(name)
  if (m !== null) {
    const [, kind, which, field] = m as unknown as [string, string, string, string]
    const d = which === 'all' || which === 'default' ? undefined : dev(which)
    let obj: object | undefined
    if (kind === 'neigh') obj = which === 'default' ? ns.sysctl.nd6Default : d?.in6?.ndParms
    else obj = which === 'all' ? s.all : which === 'default' ? s.dflt : d?.in6?.conf
    if (obj === undefined || !Object.hasOwn(obj, field)) return null
    const place = which === 'all' ? 'all' : which === 'default' ? 'default' : 'dev'
    return { obj: obj as IntFields, field, which: kind === 'neigh' ? 'ns' : place, dev: d ?? null }
  }
  m = /^net\.ipv6\.(?:([a-z0-9]+)\.)?([a-z0-9_]+)$/.exec(name)
  if (m === null) return null
  const field = m[1] === undefined ? m[2]! : `${PREFIXED[m[1]] ?? '?'}${m[2]!}`
  const value = (s as unknown as IntFields)[field]
  if (typeof value !== 'number' || (m[1] === undefined && /^(icmp|route)_/.test(field))) return null
  return { obj: s as unknown as IntFields, field, which: 'ns', dev: null }
}

/** What follows from a written conf value; `before` is the old one. */
export function sysctl6Written(ns: Netns, p: Place6, before: number): void {
  const now = p.obj[p.field]!
  const s = ns.sysctl.ipv6
  if (p.which === 'ns') return
  if (p.field === 'forwarding' && (before !== 0) !== (now !== 0)) {
    if (p.which === 'all') {
      s.dflt.forwarding = now
      for (const d of ns.devices.values()) {
        if (d.in6 === null || (d.in6.conf.forwarding !== 0) === (now !== 0)) continue
        d.in6.conf.forwarding = now
        addrconfWork.current!.forwardChange(d.in6)
      }
    } else if (p.dev?.in6 != null) addrconfWork.current!.forwardChange(p.dev.in6)
  } else if (p.field === 'disable_ipv6') {
    if (p.which === 'all') {
      s.dflt.disable_ipv6 = now
      for (const d of ns.devices.values()) {
        if (d.in6 === null || (d.in6.conf.disable_ipv6 !== 0) === (now !== 0)) continue
        d.in6.conf.disable_ipv6 = now
        addrconfWork.current!.disableChange(d)
      }
    } else if (p.dev !== null && (before !== 0) !== (now !== 0)) addrconfWork.current!.disableChange(p.dev)
  } else if (p.field === 'mtu' && p.dev !== null) ns.fib6.mtuChanged(p.dev)
  ns.fib6.flushCache()
}
