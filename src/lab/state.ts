/**
 * Answers to a scenario's state queries, in the recorder's text forms.
 *
 * conntrack lines lose `use=`, `id=` and their timeout (it depends on when one asks); lists whose order the kernel does
 * not promise are sorted. Counters of /proc/net/snmp are kept when they are not 0.
 */
import type { Netns } from '../linux/netns.ts'
import { execTool } from '../linux/tools/exec.ts'
import type { World } from '../linux/world.ts'
import { labTool, netnsOf } from './build.ts'
import type { LabScenario, LabState, LabStateQuery } from './scenario.ts'

const SNMP_GROUPS = ['Ip', 'Icmp', 'Udp', 'IpExt']
const SNMP_SETTINGS = ['DefaultTTL', 'Forwarding']

/** All state queries, answered. */
export function labState(w: World, scenario: LabScenario): LabState {
  const out: LabState = {}
  for (const q of scenario.state ?? []) {
    const key = q.kind === 'cmd' ? (q.argv ?? []).join(' ') : q.kind
    out[`${q.ns}:${key}`] = answer(netnsOf(w, q.ns), q, scenario.backend ?? 'legacy')
  }
  return out
}

function answer(ns: Netns, q: LabStateQuery, backend: string): readonly string[] | { readonly [name: string]: number } {
  switch (q.kind) {
    case 'conntrack':
      return lines(execTool(ns, ['conntrack', '-L']).stdout)
        .map(conntrackLine)
        .sort(byCodePoint)
    case 'iptables':
      return lines(labTool(ns, [`iptables-${backend}-save`, '-c'])).filter((l) => !l.startsWith('#'))
    case 'ipvs':
      return [
        ...lines(labTool(ns, ['ipvsadm', '-Ln'])),
        ...lines(labTool(ns, ['ipvsadm', '-Lnc']))
          .slice(2)
          .map(ipvsConnLine)
          .sort(byCodePoint),
      ]
    case 'neigh':
      return (JSON.parse(labTool(ns, ['ip', '-j', '-4', 'neigh']) || '[]') as NeighRow[])
        .map((n) => `${n.dst} dev ${n.dev} ${n.lladdr ?? '-'} ${n.state.join(',')}`)
        .sort(byCodePoint)
    case 'neigh6':
      return (JSON.parse(labTool(ns, ['ip', '-j', '-6', 'neigh']) || '[]') as NeighRow[])
        .map((n) => {
          const states = [...('router' in n ? ['router'] : []), ...n.state]
          return `${n.dst} dev ${n.dev} ${n.lladdr ?? '-'} ${states.join(',')}`
        })
        .sort(byCodePoint)
    case 'ip6tables':
      return lines(labTool(ns, [`ip6tables-${backend}-save`, '-c'])).filter((l) => !l.startsWith('#'))
    case 'fdb':
      return lines(labTool(ns, ['bridge', 'fdb']))
        .filter((l) => !/^(33:33|01:00:5e|01:80:c2)/.test(l))
        .map((l) => l.trim())
        .sort(byCodePoint)
    case 'routes':
      return lines(labTool(ns, ['ip', 'route', 'show', 'table', String(q.table ?? 'main')]).trim())
    case 'cmd':
      return lines(execTool(ns, q.argv ?? []).stdout)
    case 'snmp':
      return snmp(ns)
  }
}

interface NeighRow {
  readonly dst: string
  readonly dev: string
  readonly lladdr?: string
  readonly state: readonly string[]
}

function lines(text: string): string[] {
  if (text === '') return []
  return text.replace(/\n$/, '').split('\n')
}

function byCodePoint(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** A line of `conntrack -L` without what depends on the moment. */
export function conntrackLine(line: string): string {
  return line
    .trim()
    .replace(/ id=\d+/g, '')
    .replace(/ use=\d+/g, '')
    .replace(/^(\w+\s+\d+) \d+ /, '$1 ')
}

/** A line of `ipvsadm -Lnc` without the time left. */
function ipvsConnLine(line: string): string {
  const [protocol, , ...rest] = line.trim().split(/\s+/)
  return `conn ${protocol} ${rest.join(' ')}`
}

function snmp(ns: Netns): { readonly [name: string]: number } {
  const out: { [name: string]: number } = {}
  for (const [name, n] of ns.snmp) {
    const [group, counter] = name.split('.')
    if (n === 0 || group === undefined || !SNMP_GROUPS.includes(group) || SNMP_SETTINGS.includes(counter ?? ''))
      continue
    out[name] = n
  }
  return out
}
