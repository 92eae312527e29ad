/**
 * The command line of ipvsadm: options as popt reads them, and which go with which command.
 *
 * ipvsadm 1.31: ipvsadm.c (parse_options, generic_opt_check, tunnel_opt_check, parse_service, parse_sched_flags). Short
 * options may be bundled (`-Ln`) and carry their argument (`-w5`); `-p` takes the next word unless it starts with a dash.
 * Not here: names instead of addresses (there is no resolver), IPv6, the sync daemon: they are named UNMODELLED.
 */
import {
  IP_VS_CONN_F_DROUTE,
  IP_VS_CONN_F_MASQ,
  IP_VS_CONN_F_TUNNEL,
  IP_VS_SVC_F_ONEPACKET,
  IP_VS_SVC_F_PERSISTENT,
  IP_VS_SVC_F_SCHED1,
  IP_VS_SVC_F_SCHED2,
  IP_VS_SVC_F_SCHED3,
  IP_VS_TUNNEL_ENCAP_FLAG_CSUM,
  IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM,
  IPPROTO_SCTP,
  IPPROTO_TCP,
  IPPROTO_UDP,
} from '../ipvs/flags.ts'
import { ToolExit, unmodelled } from './result.ts'
import { servicePort } from './service-names.ts'

/** Commands in ipvsadm's order, with the names that its messages use. */
export const COMMANDS = [
  ...['add-service', 'edit-service', 'delete-service', 'flush', 'list', 'add-server', 'delete-server', 'edit-server'],
  ...['set', 'start-daemon', 'stop-daemon', 'restore', 'save', 'zero'],
] as const

/** One command by name. */
export type IpvsadmCommand = (typeof COMMANDS)[number]

/** Options in ipvsadm's order, with the names that its messages use. */
const OPTIONS = [
  ...['numeric', 'connection', 'service-address', 'scheduler', 'persistent', 'netmask', 'real-server'],
  ...[
    'forwarding-method',
    'weight',
    'u-threshold',
    'l-threshold',
    'mcast-interface',
    'timeout',
    'daemon',
    'stats',
    'rate',
  ],
  ...[
    'thresholds',
    'persistent-conn',
    'nosort',
    'syncid',
    'exact',
    'ops',
    'pe',
    'sched-flags',
    'mcast-group',
    'mcast-port',
  ],
  ...['mcast-ttl', 'sync-maxlen', 'tun-info', 'tun-type', 'tun-port', 'tun-nocsum', 'tun-csum', 'tun-remcsum'],
] as const

/** One option by name. */
export type IpvsadmOption = (typeof OPTIONS)[number]

/** Options per command: those that it needs, those that it may have, those of which it may have one. */
interface Legal {
  readonly needs?: readonly IpvsadmOption[]
  readonly may?: readonly IpvsadmOption[]
  readonly one?: readonly IpvsadmOption[]
}

const SERVICE_OPTIONS: readonly IpvsadmOption[] = ['scheduler', 'persistent', 'netmask', 'ops', 'pe', 'sched-flags']
const SERVER_OPTIONS: readonly IpvsadmOption[] = [
  ...(['forwarding-method', 'weight', 'u-threshold', 'l-threshold', 'tun-type', 'tun-port', 'tun-nocsum'] as const),
  ...(['tun-csum', 'tun-remcsum'] as const),
]
const LEGAL: { readonly [command in IpvsadmCommand]: Legal } = {
  'add-service': { needs: ['service-address'], may: SERVICE_OPTIONS },
  'edit-service': { needs: ['service-address'], may: SERVICE_OPTIONS },
  'delete-service': { needs: ['service-address'] },
  flush: {},
  list: {
    may: ['numeric', 'stats', 'rate', 'thresholds', 'persistent-conn', 'nosort', 'syncid', 'exact', 'tun-info'],
    one: ['connection', 'service-address', 'timeout', 'daemon'],
  },
  'add-server': { needs: ['service-address', 'real-server'], may: SERVER_OPTIONS },
  'delete-server': { needs: ['service-address', 'real-server'] },
  'edit-server': { needs: ['service-address', 'real-server'], may: SERVER_OPTIONS },
  set: {},
  'start-daemon': { may: ['mcast-interface', 'syncid', 'mcast-group', 'mcast-port', 'mcast-ttl', 'sync-maxlen'] },
  'stop-daemon': { may: ['syncid'] },
  restore: {},
  save: { may: ['numeric'] },
  zero: { may: ['service-address'] },
}

const TUN_TYPES = ['ipip', 'gue', 'gre']
const TUN_OPTIONS: readonly IpvsadmOption[] = ['tun-port', 'tun-nocsum', 'tun-csum', 'tun-remcsum']
/** Per tunnel type and TUN_OPTIONS: `+` compulsory, `x` illegal, `1` one of these. */
const TUN_LEGAL = ['xxxx', '+111', 'x11x']

const MAX_TIMEOUT = 86400 * 31
const IPVS_SVC_PERSISTENT_TIMEOUT = 360
const INT_MAX = 0x7fffffff

/** Long and short names: [long, short, takes an argument (`?` optional)]. */
const POPT: readonly (readonly [string, string, '' | 'arg' | '?'])[] = [
  ['add-service', 'A', ''],
  ['edit-service', 'E', ''],
  ['delete-service', 'D', ''],
  ['clear', 'C', ''],
  ['list', 'L', ''],
  ['list', 'l', ''],
  ['zero', 'Z', ''],
  ['add-server', 'a', ''],
  ['edit-server', 'e', ''],
  ['delete-server', 'd', ''],
  ['set', '', ''],
  ['help', 'h', ''],
  ['version', 'v', ''],
  ['restore', 'R', ''],
  ['save', 'S', ''],
  ['start-daemon', '', 'arg'],
  ['stop-daemon', '', 'arg'],
  ['tcp-service', 't', 'arg'],
  ['udp-service', 'u', 'arg'],
  ['sctp-service', '', 'arg'],
  ['fwmark-service', 'f', 'arg'],
  ['scheduler', 's', 'arg'],
  ['persistent', 'p', '?'],
  ['netmask', 'M', 'arg'],
  ['real-server', 'r', 'arg'],
  ['masquerading', 'm', ''],
  ['ipip', 'i', ''],
  ['gatewaying', 'g', ''],
  ['weight', 'w', 'arg'],
  ['u-threshold', 'x', 'arg'],
  ['l-threshold', 'y', 'arg'],
  ['numeric', 'n', ''],
  ['connection', 'c', ''],
  ['mcast-interface', '', 'arg'],
  ['syncid', '', 'arg'],
  ['timeout', '', ''],
  ['daemon', '', ''],
  ['stats', '', ''],
  ['rate', '', ''],
  ['thresholds', '', ''],
  ['persistent-conn', '', ''],
  ['nosort', '', ''],
  ['sort', '', ''],
  ['exact', 'X', ''],
  ['ipv6', '6', ''],
  ['ops', 'o', ''],
  ['pe', '', 'arg'],
  ['sched-flags', 'b', 'arg'],
  ['mcast-group', '', 'arg'],
  ['mcast-port', '', 'arg'],
  ['mcast-ttl', '', 'arg'],
  ['sync-maxlen', '', 'arg'],
  ['tun-info', '', ''],
  ['tun-type', '', 'arg'],
  ['tun-port', '', 'arg'],
  ['tun-nocsum', '', ''],
  ['tun-csum', '', ''],
  ['tun-remcsum', '', ''],
]

const COMMAND_OF: { readonly [option: string]: IpvsadmCommand } = {
  'add-service': 'add-service',
  'edit-service': 'edit-service',
  'delete-service': 'delete-service',
  clear: 'flush',
  list: 'list',
  zero: 'zero',
  'add-server': 'add-server',
  'edit-server': 'edit-server',
  'delete-server': 'delete-server',
  set: 'set',
  restore: 'restore',
  save: 'save',
  'start-daemon': 'start-daemon',
  'stop-daemon': 'stop-daemon',
}

const SCHED_FLAGS: { readonly [flag: string]: readonly [number, string | null] } = {
  'flag-1': [IP_VS_SVC_F_SCHED1, null],
  'flag-2': [IP_VS_SVC_F_SCHED2, null],
  'flag-3': [IP_VS_SVC_F_SCHED3, null],
  'sh-fallback': [IP_VS_SVC_F_SCHED1, 'sh'],
  'sh-port': [IP_VS_SVC_F_SCHED2, 'sh'],
  'mh-fallback': [IP_VS_SVC_F_SCHED1, 'mh'],
  'mh-port': [IP_VS_SVC_F_SCHED2, 'mh'],
}

/** What a command line says. */
export class IpvsadmArgs {
  command: IpvsadmCommand | 'help' | 'version' = 'list'
  readonly options = new Set<IpvsadmOption>()
  svc = { protocol: 0, addr: 0, port: 0, fwmark: 0 }
  scheduler = ''
  flags = 0
  timeout = 0
  netmask = -1
  dest = {
    addr: 0,
    port: 0,
    fwdMethod: IP_VS_CONN_F_DROUTE,
    weight: 1,
    upperThreshold: 0,
    lowerThreshold: 0,
    tunType: 0,
    tunPort: 0,
    tunFlags: 0,
  }
  /** Seconds of `--set`. */
  timeouts: readonly [number, number, number] = [0, 0, 0]
}

/** popt refused the command line: its message, exit status 255; `--restore` goes on with the next line. */
export class PoptError extends ToolExit {
  constructor(message: string) {
    super(255, message)
  }
}

/** `Try 'ipvsadm -h' ...` with exit status 255. */
export function tryHelp(): never {
  throw new ToolExit(255, "Try `ipvsadm -h' or 'ipvsadm --help' for more information.")
}

function fail(message: string): never {
  throw new ToolExit(2, message)
}

/** strtol in base 10 within bounds, -1 when it is not such a number. */
function stringToNumber(text: string, min: number, max: number): number {
  const t = text.trimStart()
  if (!/^[+-]?\d+$/.test(t)) return -1
  const n = Number(t)
  return n >= min && n <= max ? n : -1
}

function parseTimeout(text: string | null, min: number): number {
  if (text === null) return IPVS_SVC_PERSISTENT_TIMEOUT
  const n = stringToNumber(text, min, MAX_TIMEOUT)
  if (n === -1) fail(`invalid timeout value \`${text}' specified`)
  return n
}

/** inet_aton: one to four parts, decimal, octal or hexadecimal; null when it is none. */
function inetAton(text: string): number | null {
  const parts = text.split('.')
  if (parts.length > 4 || parts.some((p) => !/^(0[xX][0-9a-fA-F]+|\d+)$/.test(p))) return null
  const n = parts.map((p) => (/^0[0-7]+$/.test(p) ? Number.parseInt(p, 8) : Number(p)))
  const last = n.pop()!
  if (n.some((p) => p > 255) || last >= 2 ** (8 * (4 - n.length))) return null
  let ip = last
  for (let i = 0; i < n.length; i++) ip += n[i]! * 2 ** (24 - 8 * i)
  return ip | 0
}

/** parse_service: [address, port], the port null when none is given; null when it is not understood. */
function parseService(text: string, protocol: number): readonly [number, number | null] | null {
  if (/^\d*$/.test(text)) return null
  if (text.startsWith('[') || text.split(':').length > 2) unmodelled('ipvsadm: IPv6')
  const colon = text.lastIndexOf(':')
  const addr = inetAton(colon < 0 ? text : text.slice(0, colon))
  if (addr === null) return null
  if (colon < 0) return [addr, null]
  const name = text.slice(colon + 1)
  const port = stringToNumber(name, 0, 65535)
  if (port !== -1) return [addr, port]
  const known = servicePort(name, protocol)
  return known === null ? null : [addr, known]
}

/** Reads one command line, without the program's name. */
export function parseIpvsadm(argv: readonly string[]): IpvsadmArgs {
  const a = new IpvsadmArgs()
  const words: string[] = []
  let schedFlags = ''
  let first = true
  const option = (name: string, shown: string, arg: string | null): void => {
    if (first) {
      first = false
      const command = COMMAND_OF[name]
      if (name === 'help' || name === 'version') a.command = name
      else if (command === undefined) tryHelp()
      else a.command = command
      if (command === 'start-daemon' && arg !== 'master' && arg !== 'backup')
        fail('illegal start-daemon parameter specified')
      if (command === 'stop-daemon' && arg !== 'master' && arg !== 'backup') fail('illegal start_daemon specified')
      return
    }
    if (name === 'sched-flags') schedFlags = arg!
    if (COMMAND_OF[name] !== undefined || name === 'help' || name === 'version') fail(`invalid option \`${shown}'`)
    takeOption(a, name, arg)
  }
  const early = (): boolean => a.command === 'help' || a.command === 'version'
  for (let i = 0; i < argv.length && !early(); i++) {
    const word = argv[i]!
    if (word === '--') {
      words.push(...argv.slice(i + 1))
      break
    }
    if (!word.startsWith('-') || word === '-') {
      words.push(word)
      continue
    }
    const long = word.startsWith('--')
    const bundle = long ? [word.slice(2).replace(/=.*$/s, '')] : [...word.slice(1)]
    for (let k = 0; k < bundle.length && !early(); k++) {
      const name = bundle[k]!
      const row = POPT.find(([l, s]) => (long ? l : s) === name)
      if (row === undefined) {
        if (first) tryHelp()
        throw new PoptError(`${long ? `--${name}` : `-${name}`}: unknown option`)
      }
      let arg: string | null = null
      if (row[2] !== '') {
        if (long && word.includes('=')) arg = word.slice(word.indexOf('=') + 1)
        else if (!long && k + 1 < bundle.length) {
          arg = bundle
            .slice(k + 1)
            .join('')
            .replace(/^=/, '')
          k = bundle.length
        } else if (i + 1 < argv.length && !(row[2] === '?' && argv[i + 1]!.startsWith('-'))) arg = argv[++i]!
        else if (row[2] === 'arg') {
          if (first) tryHelp()
          throw new PoptError(`${word}: missing argument`)
        }
      }
      option(row[0], `${long ? '--' : '-'}${name}`, arg)
    }
  }
  if (first) tryHelp()
  if (a.command === 'set') {
    const [tcp, fin, udp] = words.splice(0, 3)
    if (tcp === undefined || fin === undefined || udp === undefined) fail('--set option requires 3 timeout values')
    a.timeouts = [parseTimeout(tcp, 0), parseTimeout(fin, 0), parseTimeout(udp, 0)]
  }
  if (words.length > 0) fail(`unexpected argument ${words[0]}`)
  if (schedFlags !== '') a.flags |= parseSchedFlags(a.scheduler === '' ? 'wlc' : a.scheduler, schedFlags)
  return a
}

function parseSchedFlags(scheduler: string, text: string): number {
  let flags = 0
  for (const name of text.split(',').filter((f) => f !== '')) {
    const row = Object.hasOwn(SCHED_FLAGS, name) ? SCHED_FLAGS[name] : undefined
    if (row === undefined) fail(`invalid scheduler flag \`${name}'`)
    if (row[1] !== null && row[1] !== scheduler) fail(`incompatible scheduler flag \`${name}'`)
    flags |= row[0]
  }
  return flags
}

function set(a: IpvsadmArgs, name: IpvsadmOption): void {
  if (a.options.has(name)) fail(`multiple '${name}' options specified`)
  a.options.add(name)
}

function number(text: string, min: number, max: number, what: string): number {
  const n = stringToNumber(text, min, max)
  if (n === -1) fail(`illegal ${what} specified`)
  return n
}

const PROTOCOLS: { readonly [option: string]: number } = {
  'tcp-service': IPPROTO_TCP,
  'udp-service': IPPROTO_UDP,
  'sctp-service': IPPROTO_SCTP,
}
const METHODS: { readonly [option: string]: number } = {
  masquerading: IP_VS_CONN_F_MASQ,
  ipip: IP_VS_CONN_F_TUNNEL,
  gatewaying: IP_VS_CONN_F_DROUTE,
}

/** One option after the command. */
function takeOption(a: IpvsadmArgs, name: string, arg: string | null): void {
  const protocol = PROTOCOLS[name]
  const method = METHODS[name]
  if (protocol !== undefined) {
    set(a, 'service-address')
    a.svc.protocol = protocol
    const at = parseService(arg!, protocol)
    if (at === null) fail('illegal virtual server address[:port] specified')
    a.svc.addr = at[0]
    a.svc.port = at[1] ?? a.svc.port
    return
  }
  if (method !== undefined) {
    set(a, 'forwarding-method')
    a.dest.fwdMethod = method
    return
  }
  switch (name) {
    case 'fwmark-service': {
      set(a, 'service-address')
      a.svc.protocol = IPPROTO_TCP
      const mark = stringToNumber(arg!, 1, 0xffffffff)
      if (mark === -1) fail(`invalid fwmark value \`${arg}' specified`)
      a.svc.fwmark = mark
      return
    }
    case 'ipv6':
      if (a.svc.fwmark === 0) fail('-6 used before -f\n')
      unmodelled('ipvsadm: IPv6')
      return
    case 'sort':
      return
    case 'scheduler':
      set(a, name)
      a.scheduler = arg!.slice(0, 15)
      return
    case 'persistent':
      set(a, name)
      a.flags |= IP_VS_SVC_F_PERSISTENT
      a.timeout = parseTimeout(arg, 1)
      return
    case 'netmask': {
      set(a, name)
      const mask = inetAton(arg!)
      if (mask === null) fail('illegal virtual server persistent mask specified')
      a.netmask = mask
      return
    }
    case 'real-server': {
      set(a, name)
      const at = parseService(arg!, a.svc.protocol)
      if (at === null) fail('illegal real server address[:port] specified')
      a.dest.addr = at[0]
      a.dest.port = at[1] ?? a.svc.port
      return
    }
    case 'weight':
      set(a, name)
      a.dest.weight = number(arg!, 0, INT_MAX, 'weight')
      return
    case 'u-threshold':
      set(a, name)
      a.dest.upperThreshold = number(arg!, 0, INT_MAX, 'u_threshold')
      return
    case 'l-threshold':
      set(a, name)
      a.dest.lowerThreshold = number(arg!, 0, INT_MAX, 'l_threshold')
      return
    case 'ops':
      set(a, name)
      a.flags |= IP_VS_SVC_F_ONEPACKET
      return
    case 'tun-type':
      set(a, name)
      a.dest.tunType = TUN_TYPES.indexOf(arg!)
      if (a.dest.tunType < 0) fail('illegal tunnel type specified')
      return
    case 'tun-port':
      set(a, name)
      a.dest.tunPort = number(arg!, 1, 65535, 'tunnel port')
      return
    case 'tun-csum':
      set(a, name)
      a.dest.tunFlags |= IP_VS_TUNNEL_ENCAP_FLAG_CSUM
      return
    case 'tun-remcsum':
      set(a, name)
      a.dest.tunFlags |= IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM
      return
    default:
      set(a, name as IpvsadmOption)
  }
}

/** generic_opt_check and what process_options demands before it acts. */
export function checkIpvsadm(a: IpvsadmArgs): void {
  if (a.command === 'help' || a.command === 'version') return
  const { needs = [], may = [], one = [] } = LEGAL[a.command]
  let single: IpvsadmOption | null = null
  for (const name of OPTIONS) {
    if (!a.options.has(name)) {
      if (needs.includes(name)) fail(`You need to supply the '${name}' option for the '${a.command}' command`)
      continue
    }
    if (one.includes(name)) {
      if (single !== null)
        fail(`The option '${name}' conflicts with the '${single}' option in the '${a.command}' command`)
      single = name
    } else if (!needs.includes(name) && !may.includes(name)) {
      fail(`Illegal '${name}' option with the '${a.command}' command`)
    }
  }
  if (a.command === 'add-service' || a.command === 'edit-service') {
    if (a.svc.fwmark === 0 && a.svc.port === 0 && (a.flags & IP_VS_SVC_F_PERSISTENT) === 0) {
      fail('Zero port specified for non-persistent service')
    }
    if ((a.flags & IP_VS_SVC_F_ONEPACKET) !== 0 && a.svc.fwmark === 0 && a.svc.protocol !== IPPROTO_UDP) {
      fail('One-Packet Scheduling is only for UDP virtual services')
    }
    if (a.scheduler === '') a.scheduler = 'wlc'
  }
  if (a.command === 'add-server' || a.command === 'edit-server') checkServer(a)
}

/** Ports of tunnels and direct routing are the service's; tunnel options go with tunnels. */
function checkServer(a: IpvsadmArgs): void {
  const { dest, options } = a
  if (a.svc.fwmark === 0 && dest.fwdMethod !== IP_VS_CONN_F_MASQ) dest.port = a.svc.port
  const tunnel = (['tun-type', ...TUN_OPTIONS] as const).some((o) => options.has(o))
  if (tunnel && dest.fwdMethod !== IP_VS_CONN_F_TUNNEL) fail('Tunnel options conflict with forward method')
  const type = TUN_TYPES[dest.tunType]
  let single: IpvsadmOption | null = null
  for (const [i, name] of TUN_OPTIONS.entries()) {
    const rule = TUN_LEGAL[dest.tunType]![i]
    if (!options.has(name)) {
      if (rule === '+') fail(`You need to supply the '${name}' option for the '${type}' tunnel type`)
    } else if (rule === 'x') fail(`Illegal '${name}' option with the '${type}' tunnel type`)
    else if (rule === '1') {
      if (single !== null)
        fail(`The option '${name}' conflicts with the '${single}' option in the '${type}' tunnel type`)
      single = name
    }
  }
}
