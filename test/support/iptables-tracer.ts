/**
 * A packet tracer over iptables-restore text, as kube-proxy's own unit tests have one.
 *
 * It reads the few matches kube-proxy writes and answers with every target a packet can reach: all branches of a
 * statistic match are taken, rules that need state (ctstate, mark, recent) never match. nat runs first; its first
 * translation replaces the destination; then the filter chains of kube-proxy run whatever the hook.
 *
 * It is deliberately not podwalk's netfilter: it judges rule text without it.
 */

/** Chains by name, each a list of argument vectors (without `-A chain`). */
export type TracedTable = Map<string, string[][]>

/** Tables by name. */
export type TracedTables = Map<string, TracedTable>

/** One packet. */
export interface TracedPacket {
  readonly sourceIp: string
  /** Null matches rules of any protocol, as upstream's older tracer did. */
  readonly protocol: string | null
  readonly destIp: string
  readonly destPort: number
}

/** What became of it: every possible target in rule order, joined, and whether it was marked for masquerade. */
export interface TracedResult {
  readonly output: string
  readonly masq: boolean
}

interface Trace {
  readonly outputs: string[]
  masq: boolean
}

interface ParsedRule {
  readonly values: ReadonlyMap<string, { value: string; negated: boolean }>
  readonly isStateful: boolean
  readonly isStatistic: boolean
}

const FILTER_ORDER = ['KUBE-SERVICES', 'KUBE-EXTERNAL-SERVICES', 'KUBE-NODEPORTS', 'KUBE-PROXY-FIREWALL']

/** Applies a `--noflush` restore: chain lines flush, `-A` appends, `-X` deletes. */
export function applyRestore(tables: TracedTables, text: string): void {
  let table: TracedTable = new Map()
  for (const line of text.split('\n')) {
    if (line.startsWith('*')) {
      table = tables.get(line.slice(1)) ?? new Map()
      tables.set(line.slice(1), table)
    } else if (line.startsWith(':')) {
      table.set(line.slice(1).split(' ')[0] ?? '', [])
    } else if (line.startsWith('-X ')) {
      if (!table.delete(line.slice(3))) throw new Error(`-X of an unknown chain: ${line}`)
    } else if (line.startsWith('-A ')) {
      const [, chain = '', ...args] = splitArguments(line)
      const rules = table.get(chain)
      if (rules === undefined) throw new Error(`rule in an unknown chain: ${line}`)
      rules.push(args)
    }
  }
  requireTargets(tables)
}

/** Traces one packet. `localIps` are the node's addresses; 127.0.0.1 and ::1 are always local. */
export function tracePacket(tables: TracedTables, packet: TracedPacket, localIps: readonly string[]): TracedResult {
  const trace: Trace = { outputs: [], masq: false }
  const local = new Set([...localIps, '127.0.0.1', '::1'])
  const nat = tables.get('nat') ?? new Map()
  const filter = tables.get('filter') ?? new Map()
  runChain(nat, 'KUBE-SERVICES', packet, local, trace)
  const [first] = trace.outputs
  const translated = first === undefined ? packet : { ...packet, destIp: first.slice(0, first.lastIndexOf(':')) }
  for (const chain of FILTER_ORDER) runChain(filter, chain, translated, local, trace)
  return { output: trace.outputs.join(', '), masq: trace.masq }
}

/** Splits a rule line at spaces outside double quotes. */
export function splitArguments(line: string): string[] {
  return [...line.matchAll(/"([^"]*)"|(\S+)/g)].map((match) => match[1] ?? match[2] ?? '')
}

function requireTargets(tables: TracedTables): void {
  for (const [name, table] of tables) {
    for (const rules of table.values()) {
      for (const args of rules) {
        const target = args[args.indexOf('-j') + 1] ?? ''
        if (target.startsWith('KUBE-') && args.includes('-j') && !table.has(target)) {
          throw new Error(`${name}: jump to a chain that does not exist: ${args.join(' ')}`)
        }
      }
    }
  }
}

function runChain(
  table: TracedTable,
  chain: string,
  packet: TracedPacket,
  local: ReadonlySet<string>,
  trace: Trace,
): boolean {
  for (const args of table.get(chain) ?? []) {
    const rule = parseRule(args)
    const target = rule.values.get('-j')?.value
    if (target === undefined || rule.isStateful || !matches(rule, packet, local)) continue
    if (target === 'KUBE-MARK-MASQ') {
      trace.masq = true
    } else if (target === 'ACCEPT' || target === 'REJECT' || target === 'DROP') {
      trace.outputs.push(target)
      return true
    } else if (target === 'DNAT') {
      trace.outputs.push(rule.values.get('--to-destination')?.value ?? '')
      return true
    } else if (runChain(table, target, packet, local, trace) && !rule.isStatistic) {
      return true
    }
  }
  return false
}

function parseRule(args: readonly string[]): ParsedRule {
  const values = new Map<string, { value: string; negated: boolean }>()
  let negated = false
  let isStateful = false
  let isStatistic = false
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] ?? ''
    if (arg === '!') {
      negated = true
      continue
    }
    if (!arg.startsWith('-')) continue
    const value = args[i + 1] ?? ''
    if (arg === '--ctstate' || arg === '--mark' || arg === '--rcheck') isStateful = true
    if (arg === '--probability') isStatistic = true
    if (arg !== '-m') values.set(arg, { value, negated })
    if (arg === '--comment') i++
    negated = false
  }
  return { values, isStateful, isStatistic }
}

function matches({ values }: ParsedRule, packet: TracedPacket, local: ReadonlySet<string>): boolean {
  const holds = (option: string, test: (value: string) => boolean): boolean => {
    const entry = values.get(option)
    return entry === undefined || test(entry.value) !== entry.negated
  }
  return (
    (packet.protocol === null || holds('-p', (value) => value === packet.protocol?.toLowerCase())) &&
    holds('-s', (value) => inPrefix(value, packet.sourceIp)) &&
    holds('-d', (value) => inPrefix(value, packet.destIp)) &&
    holds('--dport', (value) => Number(value) === packet.destPort) &&
    holds('--src-type', () => local.has(packet.sourceIp)) &&
    holds('--dst-type', () => local.has(packet.destIp))
  )
}

/** IPv6 prefixes are only compared for equality: no traced rule has more. */
function inPrefix(prefix: string, ip: string): boolean {
  const [network = '', length = '32'] = prefix.split('/')
  if (network.includes(':') || ip.includes(':')) return network === ip
  const shift = 32 - Number(length)
  return ipv4Number(network) >> BigInt(shift) === ipv4Number(ip) >> BigInt(shift)
}

function ipv4Number(ip: string): bigint {
  return ip.split('.').reduce((value, octet) => (value << 8n) | BigInt(octet), 0n)
}
