/**
 * Shrinking: drops steps, rules, routes, settings, namespaces as long as the difference stays and is of the same kind.
 *
 * Delta debugging over lists of removable things: halves first, then single ones, until nothing more can go. A candidate
 * that the kernel or the simulator refuses does not count. Every try costs one recording.
 */
import type { LabDifference } from '../compare.ts'
import type { LabScenario, LabStep } from '../scenario.ts'

/** Says what differs in a candidate; null when it cannot be run. */
export type Differ = (s: LabScenario) => Promise<readonly LabDifference[] | null>

/** What makes two differences the same while shrinking. */
export function kindOf(differences: readonly LabDifference[]): string {
  const first = differences[0]
  if (first === undefined) return ''
  return first.kind === 'state' ? `state ${first.place.replace(/^[^:]*:/, '')}` : first.kind
}

type Mutable = { -readonly [K in keyof LabScenario]: LabScenario[K] }

/** One class of removable things: how many there are, and the scenario without some of them. */
interface Axis {
  readonly count: (s: LabScenario) => number
  readonly keep: (s: LabScenario, kept: (i: number) => boolean) => LabScenario
}

const LISTS = ['steps', 'routes', 'rules', 'neigh', 'fdb', 'addrs', 'state'] as const

function listAxis(name: (typeof LISTS)[number]): Axis {
  return {
    count: (s) => s[name]?.length ?? 0,
    keep: (s, kept) => ({ ...s, [name]: (s[name] ?? []).filter((_, i) => kept(i)) }),
  }
}

/** Lines `-A ...` of iptables texts, or `add`/`create` lines of ipset texts. */
function textAxis(name: 'iptables' | 'ipset', removable: (line: string) => boolean): Axis {
  const lines = (s: LabScenario): string[] =>
    Object.values(s[name] ?? {}).flatMap((t) => t.split('\n').filter(removable))
  return {
    count: (s) => lines(s).length,
    keep(s, kept) {
      let n = 0
      const texts = Object.entries(s[name] ?? {}).map(([ns, text]) => {
        const left = text.split('\n').filter((line) => !removable(line) || kept(n++))
        return [ns, left.join('\n')] as const
      })
      return { ...s, [name]: Object.fromEntries(texts.filter(([, t]) => t.trim() !== '')) }
    },
  }
}

/** Whole tables of iptables texts. */
const tables: Axis = {
  count: (s) => Object.values(s.iptables ?? {}).reduce((n, t) => n + splitTables(t).length, 0),
  keep(s, kept) {
    let n = 0
    const texts = Object.entries(s.iptables ?? {}).map(
      ([ns, t]) =>
        [
          ns,
          splitTables(t)
            .filter(() => kept(n++))
            .join(''),
        ] as const,
    )
    return { ...s, iptables: Object.fromEntries(texts.filter(([, t]) => t !== '')) }
  },
}

function splitTables(text: string): string[] {
  return text.split(/(?<=^COMMIT\n)/m).filter((t) => t.trim() !== '')
}

const sysctls: Axis = {
  count: (s) => Object.values(s.sysctl ?? {}).reduce((n, o) => n + Object.keys(o).length, 0),
  keep(s, kept) {
    let n = 0
    const groups = Object.entries(s.sysctl ?? {}).map(
      ([ns, o]) => [ns, Object.fromEntries(Object.entries(o).filter(() => kept(n++)))] as const,
    )
    return { ...s, sysctl: Object.fromEntries(groups.filter(([, o]) => Object.keys(o).length > 0)) }
  },
}

const namespaces: Axis = {
  count: (s) => s.netns.length,
  keep: (s, kept) => withoutNamespaces(s, new Set(s.netns.filter((_, i) => !kept(i)))),
}

/** The scenario without some namespaces and everything that is in them. */
function withoutNamespaces(s: LabScenario, gone: ReadonlySet<string>): LabScenario {
  const here = <T extends { readonly ns: string }>(list: readonly T[] | undefined): readonly T[] =>
    (list ?? []).filter((x) => !gone.has(x.ns))
  const of = <V>(o: { readonly [ns: string]: V } | undefined): { [ns: string]: V } =>
    Object.fromEntries(Object.entries(o ?? {}).filter(([ns]) => !gone.has(ns)))
  const links = (s.links ?? []).filter((l) => !gone.has(l.a[0]) && !gone.has(l.b[0]))
  const devs = new Set(links.flatMap((l) => [`${l.a[0]}/${l.a[1]}`, `${l.b[0]}/${l.b[1]}`]))
  for (const x of here(s.devices)) devs.add(`${x.ns}/${x.name}`)
  for (const ns of s.netns) devs.add(`${ns}/lo`)
  const has = (x: { readonly ns: string; readonly dev: string }): boolean => devs.has(`${x.ns}/${x.dev}`)
  const ids = new Set<string>()
  const steps: LabStep[] = []
  for (const x of s.steps) {
    if (x.ns !== undefined && gone.has(x.ns)) continue
    if (x.op === 'frame' && !devs.has(`${x.ns}/${x.dev}`)) continue
    if (x.ns === undefined && x.id !== undefined && !ids.has(x.id)) continue
    if (x.id !== undefined) ids.add(x.id)
    if (x.as !== undefined) ids.add(x.as)
    steps.push(x)
  }
  const sysctl = Object.fromEntries(
    Object.entries(of(s.sysctl)).map(([ns, o]) => [
      ns,
      Object.fromEntries(Object.entries(o).filter(([key]) => sysctlExists(key, ns, devs))),
    ]),
  )
  return {
    ...s,
    netns: s.netns.filter((ns) => !gone.has(ns)),
    links,
    devices: here(s.devices),
    ports: here(s.ports).filter(has),
    addrs: here(s.addrs).filter(has),
    routes: here(s.routes).filter((r) => r.dev === undefined || devs.has(`${r.ns}/${r.dev}`)),
    rules: here(s.rules),
    neigh: here(s.neigh).filter(has),
    fdb: here(s.fdb).filter(has),
    sysctl,
    ipset: of(s.ipset),
    iptables: of(s.iptables),
    state: here(s.state),
    steps,
  }
}

function sysctlExists(key: string, ns: string, devs: ReadonlySet<string>): boolean {
  const dev = /^net\.ipv4\.(?:conf|neigh)\.([^.]+)\./.exec(key)?.[1]
  return dev === undefined || dev === 'all' || dev === 'default' || devs.has(`${ns}/${dev}`)
}

const flags: Axis = {
  count: (s) => (s.ports ?? []).filter((p) => p.flags !== undefined).length,
  keep(s, kept) {
    let n = 0
    const ports = (s.ports ?? []).map((p) => {
      if (p.flags === undefined || kept(n++)) return p
      const { flags: _dropped, ...rest } = p
      return rest
    })
    return { ...s, ports }
  },
}

const AXES: readonly Axis[] = [
  listAxis('steps'),
  listAxis('state'),
  namespaces,
  tables,
  textAxis('iptables', (l) => l.startsWith('-A ')),
  sysctls,
  listAxis('rules'),
  listAxis('routes'),
  listAxis('neigh'),
  listAxis('fdb'),
  listAxis('addrs'),
  flags,
  textAxis('ipset', (l) => l !== ''),
  textAxis('iptables', (l) => l.startsWith(':') && l.includes(' - ')),
]

/** The smallest scenario found that differs in the same kind. At most `tries` recordings. */
export async function shrink(scenario: LabScenario, kind: string, differ: Differ, tries = 400): Promise<LabScenario> {
  let best = scenario
  let left = tries
  const still = async (s: LabScenario): Promise<boolean> => {
    left--
    const differences = await differ(s)
    return differences !== null && differences.length > 0 && kindOf(differences) === kind
  }
  for (let before = ''; left > 0; ) {
    const now = JSON.stringify(best)
    if (now === before) break
    before = now
    for (const axis of AXES) {
      for (let chunk = Math.max(1, axis.count(best) >> 1); left > 0; chunk >>= 1) {
        for (let at = axis.count(best) - chunk; left > 0 && at > -chunk; at -= chunk) {
          const from = Math.max(0, at)
          if (axis.count(best) <= from) continue
          const candidate = axis.keep(best, (i) => i < from || i >= at + chunk)
          if (await still(candidate)) best = candidate
        }
        if (chunk <= 1) break
      }
    }
  }
  return tidy(best)
}

/** Without empty parts. */
function tidy(s: LabScenario): LabScenario {
  const out: Partial<Mutable> = {}
  for (const [key, value] of Object.entries(s)) {
    const empty = Array.isArray(value)
      ? value.length === 0
      : typeof value === 'object' && value !== null && Object.keys(value).length === 0
    if (!empty || key === 'steps') Object.assign(out, { [key]: value })
  }
  return out as LabScenario
}
