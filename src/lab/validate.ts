/**
 * Reads a scenario file: every problem of the file at once, each with line and column.
 *
 * The shape of each object is a table of fields; what a field's text means to a tool (an `ip route` line, iptables text)
 * is checked by that tool when the lab is built. Unknown fields are warnings, as in the rest of podwalk's input.
 */
import { isIP } from 'node:net'
import { type Diagnostic, Diagnostics } from '../diagnostics/diagnostic.ts'
import { type JsonPosition, joinPath, parseJson } from './json-positions.ts'
import type { LabResult, LabScenario } from './scenario.ts'

/** A read scenario (null when there were errors) and what was found in the file. */
export interface ScenarioFile {
  readonly scenario: LabScenario | null
  readonly diagnostics: readonly Diagnostic[]
}

/** Largest scenario file that is read; the longest recorded one has 0.3 MB. */
export const MAX_SCENARIO_BYTES = 32 * 1024 * 1024

type Check = (v: unknown, path: string, c: Context) => void
interface Fields {
  readonly [name: string]: { readonly check: Check; readonly required: boolean }
}

class Context {
  readonly diagnostics = new Diagnostics()
  readonly netns = new Set<string>()
  private readonly file: string
  private readonly at: (path: string) => JsonPosition

  constructor(file: string, at: (path: string) => JsonPosition) {
    this.file = file
    this.at = at
  }

  error(path: string, message: string): void {
    this.diagnostics.error('lab-scenario', { file: this.file, ...this.at(path) }, message, { path })
  }

  warn(path: string, message: string): void {
    this.diagnostics.warning('unknown-field', { file: this.file, ...this.at(path) }, message, { path })
  }
}

function show(v: unknown): string {
  const text = JSON.stringify(v) ?? String(v)
  return text.length > 60 ? `${text.slice(0, 57)}...` : text
}

function isObject(v: unknown): v is { readonly [k: string]: unknown } {
  return typeof v === 'object' && v !== null && !Array.isArray(v)
}

function matching(what: string, test: (v: unknown) => boolean): Check {
  return (v, path, c) => {
    if (!test(v)) c.error(path, `expected ${what}, got ${show(v)}`)
  }
}

function integer(lo: number, hi: number): Check {
  return matching(`an integer ${lo}-${hi}`, (v) => Number.isInteger(v) && (v as number) >= lo && (v as number) <= hi)
}

function list(check: Check): Check {
  return (v, path, c) => {
    if (!Array.isArray(v)) c.error(path, `expected a list, got ${show(v)}`)
    else for (const [i, x] of v.entries()) check(x, joinPath(path, i), c)
  }
}

function tuple(...checks: readonly Check[]): Check {
  return (v, path, c) => {
    if (!Array.isArray(v) || v.length !== checks.length)
      c.error(path, `expected a list of ${checks.length}, got ${show(v)}`)
    else for (const [i, check] of checks.entries()) check(v[i], joinPath(path, i), c)
  }
}

function byNetns(check: Check): Check {
  return (v, path, c) => {
    if (!isObject(v)) return c.error(path, `expected an object by namespace, got ${show(v)}`)
    for (const [k, x] of Object.entries(v)) {
      netns(k, joinPath(path, k), c)
      check(x, joinPath(path, k), c)
    }
  }
}

function object(fields: Fields): Check {
  return (v, path, c) => {
    if (!isObject(v)) return c.error(path, `expected an object, got ${show(v)}`)
    for (const [k, x] of Object.entries(v)) {
      // A file may name __proto__: only the table's own fields count.
      const field = Object.hasOwn(fields, k) ? fields[k] : undefined
      if (field === undefined) c.warn(joinPath(path, k), 'the field is not known and has no effect')
      else field.check(x, joinPath(path, k), c)
    }
    for (const [k, field] of Object.entries(fields)) {
      if (field.required && !Object.hasOwn(v, k)) c.error(path, `field ${k}: expected a value, got nothing`)
    }
  }
}

const need = (check: Check): { check: Check; required: boolean } => ({ check, required: true })
const may = (check: Check): { check: Check; required: boolean } => ({ check, required: false })

const text = matching('text', (v) => typeof v === 'string')
const word = matching('a word', (v) => typeof v === 'string' && /^\S+$/.test(v))
const bool = matching('true or false', (v) => typeof v === 'boolean')
const hex = matching('an even number of hex digits', (v) => typeof v === 'string' && /^(?:[0-9a-fA-F]{2})*$/.test(v))
const frameHex = matching(
  '14-65549 bytes as hex digits',
  (v) => typeof v === 'string' && /^(?:[0-9a-fA-F]{2})*$/.test(v) && v.length >= 28 && v.length <= 2 * 65549,
)
const ip = matching('an IPv4 or IPv6 address', (v) => typeof v === 'string' && isIP(v.replace(/%\S+$/, '')) !== 0)
const mac = matching('a MAC address', (v) => typeof v === 'string' && /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(v))
const device = matching(
  'a device name (1-15 characters, no slash or space)',
  (v) => typeof v === 'string' && /^[^\s/]{1,15}$/.test(v) && v !== '.' && v !== '..',
)
const scalar = matching('a number or a word', (v) => typeof v === 'number' || (typeof v === 'string' && v !== ''))
const port = integer(0, 65535)
const mtu = integer(68, 65535)
const netns: Check = (v, path, c) => {
  if (typeof v !== 'string' || !c.netns.has(v)) c.error(path, `expected one of the scenario's netns, got ${show(v)}`)
}
const sockaddr = tuple(
  matching(
    'an IP address or an empty text',
    (v) => v === '' || (typeof v === 'string' && isIP(v.replace(/%\S+$/, '')) !== 0),
  ),
  port,
)
const linkEnd = tuple(netns, device, mac)
const netnsDevice: Check = (v, path, c) => {
  if (typeof v !== 'string' || !c.netns.has(v.split('/')[0] ?? ''))
    c.error(path, `expected NETNS/DEVICE, got ${show(v)}`)
}

const socketId = need(word)
const STEPS: { readonly [op: string]: Fields } = {
  frame: { ns: need(netns), dev: need(device), hex: need(frameHex) },
  wait: { ms: need(integer(0, 86_400_000)) },
  cmd: { ns: need(netns), argv: need(list(text)), stdin: may(text), may_fail: may(bool) },
  iptables: { ns: need(netns), text: need(text), args: may(list(text)) },
  ip6tables: { ns: need(netns), text: need(text), args: may(list(text)) },
  udp_open: {
    id: socketId,
    ns: need(netns),
    bind: need(sockaddr),
    connect: may(sockaddr),
    pmtudisc: may(integer(0, 5)),
    tos: may(integer(0, 255)),
    ttl: may(integer(1, 255)),
    mark: may(integer(0, 0xffffffff)),
    broadcast: may(bool),
    v6only: may(bool),
  },
  udp_send: { id: socketId, to: may(sockaddr), data: may(hex), len: may(integer(0, 65527)) },
  udp_recv: { id: socketId, reply: may(bool) },
  ping: {
    ns: need(netns),
    dst: need(ip),
    icmp_id: need(port),
    seq: need(port),
    ttl: may(integer(1, 255)),
    tos: may(integer(0, 255)),
    sock: may(word),
    src: may(ip),
    pmtudisc: may(integer(0, 5)),
    data: may(hex),
    len: may(integer(0, 65507)),
  },
  tcp_listen: { id: socketId, ns: need(netns), bind: need(sockaddr), v6only: may(bool) },
  tcp_connect: { id: socketId, ns: need(netns), bind: need(sockaddr), to: need(sockaddr) },
  tcp_status: { id: socketId },
  tcp_accept: { id: socketId, as: need(word) },
  tcp_send: { id: socketId, data: may(hex), len: may(integer(0, 1 << 24)) },
  tcp_recv: { id: socketId },
  tcp_shutdown: { id: socketId },
  close: { id: socketId },
}

const step: Check = (v, path, c) => {
  const op = isObject(v) ? v.op : undefined
  const fields = typeof op === 'string' && Object.hasOwn(STEPS, op) ? STEPS[op] : undefined
  if (!isObject(v)) return c.error(path, `expected an object, got ${show(v)}`)
  if (fields === undefined) {
    return c.error(
      'op' in v ? joinPath(path, 'op') : path,
      `expected op to be one of ${Object.keys(STEPS).join(', ')}; got ${show(op)}`,
    )
  }
  object({ ...fields, op: need(text), note: may(text), quiet_ms: may(integer(0, 60_000)) })(v, path, c)
  if ((op === 'udp_send' || op === 'tcp_send') && !('data' in v) && !('len' in v))
    c.error(path, 'expected data or len, got neither')
}

const STATE_KINDS = ['conntrack', 'iptables', 'ip6tables', 'ipvs', 'neigh', 'neigh6', 'fdb', 'snmp', 'routes', 'cmd']
const stateQuery: Check = (v, path, c) => {
  object({
    ns: need(netns),
    kind: need(matching(`one of ${STATE_KINDS.join(', ')}`, (k) => STATE_KINDS.includes(k as string))),
    table: may(scalar),
    argv: may(list(text)),
  })(v, path, c)
  if (isObject(v) && v.kind === 'cmd' && !('argv' in v)) c.error(path, 'field argv: expected a value, got nothing')
}

const SCENARIO = object({
  name: need(matching('a name (letters, digits, - and _)', (v) => typeof v === 'string' && /^[\w-]{1,64}$/.test(v))),
  title: may(text),
  covers: may(list(text)),
  requires: may(list(text)),
  random: may(bool),
  property: may(text),
  backend: may(matching('legacy or nft', (v) => v === 'legacy' || v === 'nft')),
  capture_lo: may(bool),
  ipv6: may(bool),
  quiet_ms: may(integer(0, 60_000)),
  norm: may(
    object({ tcp: may(bool), vxsport: may(bool), ports: may(tuple(port, port)), known_ports: may(list(port)) }),
  ),
  netns: need(
    list(
      matching('a namespace name (letters, digits, - and _)', (v) => typeof v === 'string' && /^[\w-]{1,32}$/.test(v)),
    ),
  ),
  down: may(list(netnsDevice)),
  tunl0: may(list(netns)),
  links: may(
    list(
      object({
        type: need(matching('"veth"', (v) => v === 'veth')),
        a: need(linkEnd),
        b: need(linkEnd),
        mtu: may(mtu),
      }),
    ),
  ),
  devices: may(
    list(
      object({
        ns: need(netns),
        name: need(device),
        link: may(device),
        netns: may(netns),
        type: need(word),
        mac: may(mac),
        mtu: may(mtu),
        ageing_cs: may(integer(0, 0x7fffffff)),
        vni: may(integer(0, 0xffffff)),
        dstport: may(port),
        local: may(ip),
        remote: may(ip),
        dev: may(matching('a device name or null', (v) => v === null || typeof v === 'string')),
        ttl: may(scalar),
        tos: may(scalar),
        df: may(word),
        srcport: may(tuple(port, port)),
        learning: may(bool),
        udpcsum: may(bool),
        nopmtudisc: may(bool),
        opts: may(text),
      }),
    ),
  ),
  ports: may(list(object({ ns: need(netns), bridge: need(device), dev: need(device), flags: may(text) }))),
  addrs: may(list(object({ ns: need(netns), dev: need(device), addr: need(word), opts: may(text) }))),
  routes: may(
    list(
      object({
        ns: need(netns),
        dst: need(word),
        via: may(ip),
        dev: may(device),
        type: may(word),
        table: may(scalar),
        metric: may(integer(0, 0xffffffff)),
        src: may(ip),
        scope: may(word),
        tos: may(scalar),
        onlink: may(bool),
        mtu: may(scalar),
        nexthops: may(list(object({ via: may(ip), dev: need(device), weight: may(integer(1, 256)) }))),
      }),
    ),
  ),
  rules: may(list(object({ ns: need(netns), rule: need(text) }))),
  neigh: may(list(object({ ns: need(netns), dev: need(device), ip: need(ip), mac: need(mac), nud: may(word) }))),
  fdb: may(list(object({ ns: need(netns), dev: need(device), mac: need(mac), opts: may(text) }))),
  sysctl: may(
    byNetns((v, path, c) => {
      if (!isObject(v)) return c.error(path, `expected an object by sysctl name, got ${show(v)}`)
      for (const [k, x] of Object.entries(v)) scalar(x, joinPath(path, k), c)
    }),
  ),
  ipset: may(byNetns(text)),
  iptables: may(byNetns(text)),
  ip6tables: may(byNetns(text)),
  ipvs: may(byNetns(text)),
  nft: may(byNetns(text)),
  steps: need(list(step)),
  state: may(list(stateQuery)),
})

/** Reads and checks the text of a scenario file. */
export function parseScenario(source: string, file: string): ScenarioFile {
  if (source.length > MAX_SCENARIO_BYTES) {
    const d = new Diagnostics()
    d.error(
      'lab-scenario',
      { file, line: 0, col: 0 },
      `expected at most ${MAX_SCENARIO_BYTES} bytes, got ${source.length}`,
    )
    return { scenario: null, diagnostics: d.sorted() }
  }
  const doc = parseJson(source)
  if (!doc.ok) {
    const d = new Diagnostics()
    d.error('json-syntax', { file, ...doc.position }, doc.message)
    return { scenario: null, diagnostics: d.sorted() }
  }
  if (isObject(doc.value) && 'events' in doc.value && !('steps' in doc.value)) {
    const d = new Diagnostics()
    d.error('lab-scenario', { file, line: 1, col: 1 }, 'expected a scenario, got a recording', {
      hint: 'podwalk lab show RECORDING prints it',
    })
    return { scenario: null, diagnostics: d.sorted() }
  }
  const c = new Context(file, doc.at)
  if (isObject(doc.value) && Array.isArray(doc.value.netns)) {
    doc.value.netns.forEach((n: unknown, i) => {
      if (typeof n === 'string' && c.netns.has(n))
        c.error(`netns[${i}]`, `expected different namespaces, got ${show(n)} twice`)
      if (typeof n === 'string') c.netns.add(n)
    })
  }
  SCENARIO(doc.value, '', c)
  const diagnostics = c.diagnostics.sorted()
  return { scenario: c.diagnostics.hasErrors ? null : (doc.value as unknown as LabScenario), diagnostics }
}

/** A read recording (null when there were errors) and what was found in the file. */
export interface ResultFile {
  readonly result: LabResult | null
  readonly diagnostics: readonly Diagnostic[]
}

const hexList = list(hex)
const anyValue: Check = () => {}
const byName =
  (check: Check): Check =>
  (v, path, c) => {
    if (!isObject(v)) return c.error(path, `expected an object, got ${show(v)}`)
    for (const [k, x] of Object.entries(v)) check(x, joinPath(path, k), c)
  }

const RESULT = object({
  apiVersion: may(text),
  kind: may(matching('"LabResult"', (v) => v === 'LabResult')),
  scenario: need(text),
  title: need(text),
  kernel: may(text),
  iptables_backend: may(anyValue),
  link_types: need(byName(matching('"ether" or "ip"', (v) => v === 'ether' || v === 'ip'))),
  ifaces: need(byName(hexList)),
  events: need(
    list(
      tuple(
        integer(-1, 1e9),
        text,
        matching('"tx" or "rx"', (v) => v === 'tx' || v === 'rx'),
        integer(0, 1e9),
      ),
    ),
  ),
  ops: need(
    list(
      matching(
        'an object with step and op',
        (v) => isObject(v) && Number.isInteger(v.step) && typeof v.op === 'string',
      ),
    ),
  ),
  state: need(
    byName(
      matching('lines or counters', (v) => isObject(v) || (Array.isArray(v) && v.every((x) => typeof x === 'string'))),
    ),
  ),
  volatile: may(anyValue),
  raw: may(anyValue),
  csum_partial_seen: may(anyValue),
})

/** Reads and checks the text of a recording. */
export function parseResult(source: string, file: string): ResultFile {
  const doc = parseJson(source)
  if (!doc.ok) {
    const d = new Diagnostics()
    d.error('json-syntax', { file, ...doc.position }, doc.message)
    return { result: null, diagnostics: d.sorted() }
  }
  if (isObject(doc.value) && 'steps' in doc.value && !('events' in doc.value)) {
    const d = new Diagnostics()
    d.error('lab-scenario', { file, line: 1, col: 1 }, 'expected a recording, got a scenario', {
      hint: 'podwalk lab run SCENARIO -o json makes a recording of it',
    })
    return { result: null, diagnostics: d.sorted() }
  }
  const c = new Context(file, doc.at)
  RESULT(doc.value, '', c)
  return {
    result: c.diagnostics.hasErrors ? null : (doc.value as unknown as LabResult),
    diagnostics: c.diagnostics.sorted(),
  }
}
