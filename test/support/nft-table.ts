/**
 * A table as transaction text leaves it, and a packet tracer over it, as kube-proxy's own unit tests have them.
 *
 * It knows the operations and the few expressions kube-proxy writes, and is deliberately not podwalk's nftables: it judges
 * text without it. `numgen` takes every branch, lookups in affinity sets never match, everything is a new connection.
 */

/** One table. */
export interface TextTable {
  header: string
  readonly chains: Map<string, { properties: string; rules: string[] }>
  /** Sets and maps: their `add` line and their elements by key. */
  readonly containers: Map<string, { line: string; elements: Map<string, { line: string; value: string }> }>
}

/** What a flow of the recorded cases is judged by. */
export interface TracedNftPacket {
  readonly sourceIp: string
  readonly protocol: string
  readonly destIp: string
  readonly destPort: number
}

const ORDER = [
  ['filter-prerouting-pre-dnat', 'nat-prerouting'],
  ['filter-forward', 'filter-input'],
] as const

/** An empty table. */
export function textTable(): TextTable {
  return { header: '', chains: new Map(), containers: new Map() }
}

function must<T>(value: T | undefined, line: string): T {
  if (value === undefined) throw new Error(`refers to what is not there: ${line}`)
  return value
}

/** Applies transactions and returns how many operations they hold. */
export function applyNft(table: TextTable, text: string): number {
  const lines = text.split('\n').filter((line) => line !== '')
  for (const line of lines) {
    const [, verb = '', kind = '', rest = ''] = /^(\w+) (\w+) ip6? kube-proxy ?(.*)$/.exec(line) ?? []
    const [name = ''] = rest.split(' ')
    const body = rest.slice(name.length + 1)
    switch (`${verb} ${kind}`) {
      case 'add table':
        table.header = line
        break
      case 'add chain':
        if (!table.chains.has(name)) table.chains.set(name, { properties: body, rules: [] })
        else if (body !== '') must(table.chains.get(name), line).properties = body
        break
      case 'flush chain':
        must(table.chains.get(name), line).rules = []
        break
      case 'delete chain':
        must(table.chains.get(name), line)
        table.chains.delete(name)
        break
      case 'add rule':
        must(table.chains.get(name), line).rules.push(body)
        break
      case 'add set':
      case 'add map':
        if (!table.containers.has(name)) table.containers.set(name, { line, elements: new Map() })
        break
      case 'flush set':
        must(table.containers.get(name), line).elements.clear()
        break
      case 'delete set':
        must(table.containers.get(name), line)
        table.containers.delete(name)
        break
      case 'add element': {
        const [, key = '', value = ''] = /^\{ (.*?)(?: comment "[^"]*")?(?: : (.*))? \}$/.exec(body) ?? []
        must(table.containers.get(name), line).elements.set(key, { line, value })
        break
      }
      case 'delete element': {
        const key = body.slice(2, -2)
        const { elements } = must(table.containers.get(name), line)
        if (!elements.delete(key)) throw new Error(`deletes what is not there: ${line}`)
        break
      }
      default:
        throw new Error(`unknown operation: ${line}`)
    }
  }
  checkTargets(table)
  return lines.length
}

function checkTargets(table: TextTable): void {
  const check = (text: string): void => {
    for (const [, target = ''] of text.matchAll(/(?:goto|jump) (\S+)/g)) {
      if (!table.chains.has(target)) throw new Error(`jump to a chain that is not there: ${text}`)
    }
  }
  for (const { rules } of table.chains.values()) for (const rule of rules) check(rule)
  for (const { elements } of table.containers.values()) for (const { value } of elements.values()) check(value)
}

/** The table as `add` lines: by kind, then name; rules in their order. */
export function dumpTable(table: TextTable): string {
  const where = / (ip6? kube-proxy)/.exec(table.header)?.[1] ?? ''
  const lines = [table.header]
  const containers = [...table.containers].sort(([a], [b]) => (a < b ? -1 : 1))
  const chains = [...table.chains].sort(([a], [b]) => (a < b ? -1 : 1))
  for (const [, { line }] of containers) lines.push(line)
  for (const [name, { properties }] of chains) lines.push(`add chain ${where} ${name} ${properties}`.trimEnd())
  for (const [name, { rules }] of chains) for (const rule of rules) lines.push(`add rule ${where} ${name} ${rule}`)
  for (const [, { elements }] of containers) {
    lines.push(...[...elements.values()].map(({ line }) => line).sort())
  }
  return sortDump(lines.join('\n'))
}

/** The documented sort: lines by kind and name, rules of one chain in their order. */
export function sortDump(text: string): string {
  const kinds = ['table', 'set', 'map', 'chain', 'rule', 'element']
  const keyed = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line, i) => {
      const [, kind = '', , , name = ''] = line.split(' ')
      return { line, rank: kinds.indexOf(kind), name, tie: kind === 'rule' ? '' : line, i }
    })
  const by = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
  keyed.sort((a, b) => a.rank - b.rank || by(a.name, b.name) || by(a.tie, b.tie) || a.i - b.i)
  return keyed.map(({ line }) => line).join('\n')
}

interface Trace {
  readonly outputs: string[]
  masq: boolean
  readonly packet: TracedNftPacket
  readonly local: ReadonlySet<string>
}

/** Traces one packet that arrives at (or leaves) the node. `localIps` are the node's addresses. */
export function traceNft(
  table: TextTable,
  packet: TracedNftPacket,
  localIps: readonly string[],
): { output: string; masq: boolean } {
  const outputs: string[] = []
  let trace: Trace = { outputs, masq: false, packet, local: new Set([...localIps, '127.0.0.1', '::1']) }
  for (const [i, chains] of ORDER.entries()) {
    for (const chain of chains) if (runChain(table, chain, trace)) break
    if (i === 0 && outputs.length > 0) {
      const [first = ''] = outputs
      if (first === 'DROP' || first === 'REJECT') break
      const destIp = first.slice(0, first.lastIndexOf(':')).replace(/[[\]]/g, '')
      const destPort = Number(first.slice(first.lastIndexOf(':') + 1))
      trace = { ...trace, packet: { ...packet, destIp, destPort } }
    }
  }
  return { output: outputs.join(', '), masq: trace.masq }
}

/** True when the packet's way through the hook ended here. */
function runChain(table: TextTable, name: string, trace: Trace): boolean {
  for (const rule of table.chains.get(name)?.rules ?? []) {
    const done = runRule(table, rule.replace(/ comment "[^"]*"$/, ''), trace)
    if (done !== null) return done
  }
  return false
}

const MATCHES: readonly (readonly [RegExp, (m: RegExpExecArray, t: Trace, table: TextTable) => boolean])[] = [
  [/^ct state new /, () => true],
  [/^fib (s|d)addr type local /, (m, t) => t.local.has(m[1] === 's' ? t.packet.sourceIp : t.packet.destIp)],
  [
    /^ip6? (s|d)addr (!= )?\{ ([^}]*) \} /,
    (m, t) => (m[3] ?? '').split(/ ?, ?/).some((x) => inPrefix(x, ipOf(m[1], t))) !== (m[2] !== undefined),
  ],
  [
    /^ip6? (s|d)addr @(\S+) /,
    (m, t, table) => must(table.containers.get(m[2] ?? ''), m[0]).elements.has(ipOf(m[1], t)),
  ],
  [/^ip6? (s|d)addr (!= )?([0-9a-f.:/]+) /, (m, t) => inPrefix(m[3] ?? '', ipOf(m[1], t)) !== (m[2] !== undefined)],
  [/^meta l4proto (tcp|udp|sctp) /, (m, t) => t.packet.protocol.toLowerCase() === m[1]],
]

function ipOf(which: string | undefined, trace: Trace): string {
  return which === 's' ? trace.packet.sourceIp : trace.packet.destIp
}

/** Null when the chain goes on. */
function runRule(table: TextTable, text: string, trace: Trace): boolean | null {
  let rest = text
  for (;;) {
    const vmap = /^(ip6? daddr \. )?meta l4proto \. th dport vmap @(\S+)$/.exec(rest)
    if (vmap !== null) {
      const { packet } = trace
      const tail = `${packet.protocol.toLowerCase()} . ${packet.destPort}`
      const key = vmap[1] === undefined ? tail : `${packet.destIp} . ${tail}`
      const found = must(table.containers.get(vmap[2] ?? ''), text).elements.get(key)
      return found === undefined ? null : verdict(table, found.value, trace)
    }
    const hit = MATCHES.map(([pattern, test]) => ({ m: pattern.exec(rest), test })).find(({ m }) => m !== null)
    if (hit === undefined || hit.m === null) break
    if (!hit.test(hit.m, trace, table)) return null
    rest = rest.slice(hit.m[0].length)
  }
  const branches = /^numgen random mod (\d+) vmap \{ (.*) \}$/.exec(rest)
  if (branches !== null) {
    const targets = [...(branches[2] ?? '').matchAll(/(\d+) : (goto \S+)/g)]
    if (targets.length !== Number(branches[1])) throw new Error(`numgen with holes: ${text}`)
    for (const [, , target = ''] of targets) verdict(table, target, trace)
    return true
  }
  if (/^(?:mark |masquerade|update )/.test(rest)) return null
  return verdict(table, rest, trace)
}

function verdict(table: TextTable, text: string, trace: Trace): boolean | null {
  const [word = '', target = ''] = text.split(' ')
  if (word === 'goto') return runChain(table, target, trace)
  if (word === 'jump') {
    if (target !== 'mark-for-masquerade') return runChain(table, target, trace) ? true : null
    trace.masq = true
    return null
  }
  if (word === 'dnat') {
    trace.outputs.push(text.split(' ')[2] ?? '')
    return true
  }
  if (word === 'drop' || word === 'reject') {
    trace.outputs.push(word.toUpperCase())
    return true
  }
  if (word === 'return') return false
  throw new Error(`unknown rule: ${text}`)
}

function inPrefix(prefix: string, ip: string): boolean {
  if (prefix.includes(':') !== ip.includes(':')) return false
  const [network = '', length] = prefix.split('/')
  const bits = (text: string): string =>
    text.includes(':')
      ? expand6(text)
      : text
          .split('.')
          .map((part) => Number(part).toString(2).padStart(8, '0'))
          .join('')
  const [a, b] = [bits(network), bits(ip)]
  const n = length === undefined ? a.length : Number(length)
  return a.slice(0, n) === b.slice(0, n)
}

function expand6(text: string): string {
  const [head = '', tail] = text.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = tail === undefined ? [] : new Array<string>(8 - left.length - right.length).fill('0')
  return [...left, ...zeros, ...right].map((part) => Number.parseInt(part, 16).toString(2).padStart(16, '0')).join('')
}
