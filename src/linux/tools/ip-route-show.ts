/**
 * How iproute2 prints a route, as text and as JSON.
 *
 * Source: iproute2 ip/iproute.c (print_route, print_rta_metrics, print_rt_flags, print_cache_flags). A selector that fixes
 * a field also hides it (`ip route show dev X` prints no dev), which is why the filter is part of the printing.
 */
import { formatIpv4 } from '../../addr/ipv4.ts'
import { RT_SCOPE_UNIVERSE } from '../device/device.ts'
import type { FibNh } from '../route/fib-nh.ts'
import type { FibRoute } from '../route/fib-route.ts'
import {
  RT_TABLE_MAIN,
  RTN_NAMES,
  RTN_UNICAST,
  RTNH_F_DEAD,
  RTNH_F_LINKDOWN,
  RTNH_F_ONLINK,
  RTPROT_BOOT,
} from '../route/rtn.ts'
import { scopeName } from './ip-addr.ts'
import type { IpOptions } from './ip-args.ts'
import type { JsonValue } from './ip-json.ts'
import { dsfieldName, protocolName, tableName } from './ip-names.ts'

/** What a selector fixed, and with that hides. */
export interface Hidden {
  readonly table: boolean
  readonly dev: boolean
  readonly via: boolean
  readonly protocol: boolean
  readonly scope: boolean
  readonly tos: boolean
}

/** Nothing is hidden but the table: what `ip route` without selector prints. */
export const HIDE_TABLE: Hidden = { table: true, dev: false, via: false, protocol: false, scope: false, tos: false }

/** `10.0.0.0/8`, `10.0.0.1` for a host, `default`. */
export function prefixText(ip: number, length: number): string {
  if (length === 32) return formatIpv4(ip)
  return length === 0 ? 'default' : `${formatIpv4(ip)}/${length}`
}

/** print_rt_flags, each with its word. */
function flagWords(flags: number): string[] {
  const out: string[] = []
  if ((flags & RTNH_F_DEAD) !== 0) out.push('dead')
  if ((flags & RTNH_F_ONLINK) !== 0) out.push('onlink')
  if ((flags & RTNH_F_LINKDOWN) !== 0) out.push('linkdown')
  return out
}

/** `mtu lock 900 advmss 800`, empty when no metric is set. */
export function metricsText(mtu: number, locked: boolean, advmss: number): string {
  return (mtu !== 0 || locked ? `mtu ${locked ? 'lock ' : ''}${mtu} ` : '') + (advmss !== 0 ? `advmss ${advmss} ` : '')
}

function nexthopText(nh: FibNh, hide: Hidden): string {
  const via = nh.hasGateway && !hide.via ? `via ${formatIpv4(nh.gateway)} ` : ''
  return via + (nh.dev !== null && !hide.dev ? `dev ${nh.dev.name} ` : '')
}

/** One route as `ip route show` prints it, newline included. */
export function routeText(r: FibRoute, o: IpOptions, hide: Hidden): string {
  const single = r.nexthops.length === 1 ? r.nexthops[0]! : null
  let t = ''
  if (r.type !== RTN_UNICAST || o.details) t += `${RTN_NAMES[r.type] ?? String(r.type)} `
  t += `${prefixText(r.dst, r.prefixLength)} `
  if (r.tos !== 0 && !hide.tos) t += `tos ${dsfieldName(r.tos)} `
  if (single !== null) t += nexthopText(single, hide)
  if ((r.table !== RT_TABLE_MAIN || o.details) && !hide.table) t += `table ${tableName(r.table)} `
  if ((r.protocol !== RTPROT_BOOT || o.details) && !hide.protocol) t += `proto ${protocolName(r.protocol)} `
  if ((r.scope !== RT_SCOPE_UNIVERSE || o.details) && !hide.scope) t += `scope ${scopeName(r.scope)} `
  if (r.prefsrc !== 0) t += `src ${formatIpv4(r.prefsrc)} `
  if (r.metric !== 0) t += `metric ${r.metric} `
  if (single !== null)
    t += flagWords(single.flags)
      .map((w) => `${w} `)
      .join('')
  t += metricsText(r.mtu, r.mtuLocked, r.advmss)
  if (r.nexthops.length > 1) {
    for (const nh of r.nexthops) {
      t += `${o.oneline ? '\\' : '\n'}\tnexthop ${nexthopText(nh, HIDE_TABLE)}weight ${nh.weight} `
      t += flagWords(nh.flags)
        .map((w) => `${w} `)
        .join('')
    }
  }
  return `${t}\n`
}

/** One route as `ip -j route show` prints it. */
export function routeJson(r: FibRoute, o: IpOptions, hide: Hidden): JsonValue {
  const single = r.nexthops.length === 1 ? r.nexthops[0]! : null
  const metrics = metricsJson(r.mtu, r.advmss)
  return {
    ...(r.type !== RTN_UNICAST || o.details ? { type: RTN_NAMES[r.type] ?? String(r.type) } : {}),
    dst: prefixText(r.dst, r.prefixLength),
    ...(r.tos !== 0 && !hide.tos ? { tos: dsfieldName(r.tos) } : {}),
    ...(single === null ? {} : nexthopJson(single, hide)),
    ...((r.table !== RT_TABLE_MAIN || o.details) && !hide.table ? { table: tableName(r.table) } : {}),
    ...((r.protocol !== RTPROT_BOOT || o.details) && !hide.protocol ? { protocol: protocolName(r.protocol) } : {}),
    ...((r.scope !== RT_SCOPE_UNIVERSE || o.details) && !hide.scope ? { scope: scopeName(r.scope) } : {}),
    ...(r.prefsrc === 0 ? {} : { prefsrc: formatIpv4(r.prefsrc) }),
    ...(r.metric === 0 ? {} : { metric: r.metric }),
    flags: single === null ? [] : flagWords(single.flags),
    ...(metrics === null ? {} : { metrics: [metrics] }),
    ...(r.nexthops.length > 1
      ? {
          nexthops: r.nexthops.map((nh) => ({
            ...nexthopJson(nh, HIDE_TABLE),
            weight: nh.weight,
            flags: flagWords(nh.flags),
          })),
        }
      : {}),
  }
}

function nexthopJson(nh: FibNh, hide: Hidden): { [name: string]: JsonValue } {
  return {
    ...(nh.hasGateway && !hide.via ? { gateway: formatIpv4(nh.gateway) } : {}),
    ...(nh.dev !== null && !hide.dev ? { dev: nh.dev.name } : {}),
  }
}

/** The `metrics` object, null when there is none. */
export function metricsJson(mtu: number, advmss: number): { [name: string]: JsonValue } | null {
  if (mtu === 0 && advmss === 0) return null
  return { ...(mtu === 0 ? {} : { mtu }), ...(advmss === 0 ? {} : { advmss }) }
}
