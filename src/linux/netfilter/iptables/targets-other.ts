/**
 * The targets REJECT, LOG, NFLOG, SET, TRACE, TPROXY.
 *
 * iptables: extensions/libipt_REJECT.c, libxt_{LOG,NFLOG,SET,TRACE,TPROXY}.c. LOG, NFLOG and TRACE have no effect on the
 * packet (nobody reads the log); TPROXY and SET --map-set are not evaluated.
 */
import { anyIp, formatIp, type IpValue, optionHost } from './ip-values.ts'
import { TARGET_CONTINUE, TARGET_REJECT, TARGET_SET } from './kinds.ts'
import { parseSetDirs, setDirBits } from './match-packet.ts'
import { INV_PROTO, IptTextError, type ParseContext, type XtTarget } from './types.ts'
import { hex, markMask, saveString, strtoui, uint } from './values.ts'

/** Kinds of REJECT, in the kernel's order (enum ipt_reject_with). */
export const REJECT_NET_UNREACHABLE = 0
export const REJECT_HOST_UNREACHABLE = 1
export const REJECT_PROT_UNREACHABLE = 2
export const REJECT_PORT_UNREACHABLE = 3
export const REJECT_NET_PROHIBITED = 5
export const REJECT_HOST_PROHIBITED = 6
export const REJECT_TCP_RESET = 7
export const REJECT_ADMIN_PROHIBITED = 8

const REJECTS = [
  ['icmp-net-unreachable', 'net-unreach', REJECT_NET_UNREACHABLE],
  ['icmp-host-unreachable', 'host-unreach', REJECT_HOST_UNREACHABLE],
  ['icmp-proto-unreachable', 'proto-unreach', REJECT_PROT_UNREACHABLE],
  ['icmp-port-unreachable', 'port-unreach', REJECT_PORT_UNREACHABLE],
  ['icmp-net-prohibited', 'net-prohib', REJECT_NET_PROHIBITED],
  ['icmp-host-prohibited', 'host-prohib', REJECT_HOST_PROHIBITED],
  ['tcp-reset', 'tcp-rst', REJECT_TCP_RESET],
  ['icmp-admin-prohibited', 'admin-prohib', REJECT_ADMIN_PROHIBITED],
] as const

function rejectName(kind: number): string {
  return REJECTS.find(([, , k]) => k === kind)![0]
}

/** `-j REJECT` */
export const rejectTarget: XtTarget<{ kind: number }> = {
  name: 'REJECT',
  tables: ['filter'],
  hooks: (1 << 1) | (1 << 2) | (1 << 3),
  options: [
    {
      name: 'reject-with',
      arg: true,
      set(d, v) {
        const word = v.toLowerCase()
        const row = REJECTS.find(([name, alias]) => name.startsWith(word) || alias.startsWith(word))
        if (row === undefined) throw new IptTextError(`unknown reject type "${v}"`)
        d.kind = row[2]
      },
    },
  ],
  init: () => ({ kind: REJECT_PORT_UNREACHABLE }),
  refuse(d, rule) {
    if (d.kind !== REJECT_TCP_RESET || (rule.proto === 6 && (rule.inverted & INV_PROTO) === 0)) return null
    return 'REJECT: tcp-reset invalid for non-tcp'
  },
  save: (d) => ` --reject-with ${rejectName(d.kind)}`,
  list: (d) => ` reject-with ${rejectName(d.kind)}`,
  compile(d, c) {
    c.emit(TARGET_REJECT, d.kind)
  },
}

const LOG_LEVELS = ['emerg', 'alert', 'crit', 'error', 'warning', 'notice', 'info', 'debug']
const LOG_FLAGS = ['log-tcp-sequence', 'log-tcp-options', 'log-ip-options', 'log-uid', '', 'log-macdecode']

interface LogData {
  level: number
  prefix: string
  flags: number
}

/** `-j LOG` */
export const logTarget: XtTarget<LogData> = {
  name: 'LOG',
  options: [
    {
      name: 'log-level',
      arg: true,
      set(d, v) {
        const named = v === 'panic' ? 0 : v === 'err' ? 3 : v === 'warn' ? 4 : LOG_LEVELS.indexOf(v.toLowerCase())
        const n = strtoui(v, 7) ?? (named < 0 ? null : named)
        if (n === null) throw new IptTextError(`log level "${v}" unknown`)
        d.level = n
      },
    },
    {
      name: 'log-prefix',
      arg: true,
      set(d, v) {
        if (v.includes('\n')) throw new IptTextError('Newlines not allowed in --log-prefix')
        d.prefix = v.slice(0, 29)
      },
    },
    ...LOG_FLAGS.flatMap((name, i) => (name === '' ? [] : [{ name, set: (d: LogData) => void (d.flags |= 1 << i) }])),
  ],
  init: () => ({ level: 4, prefix: '', flags: 0 }),
  save(d) {
    let out = d.prefix === '' ? '' : ` --log-prefix${saveString(d.prefix)}`
    if (d.level !== 4) out += ` --log-level ${d.level}`
    LOG_FLAGS.forEach((name, i) => {
      if ((d.flags & (1 << i)) !== 0) out += ` --${name}`
    })
    return out
  },
  list(d) {
    let out = ` LOG flags ${d.flags} level ${d.level}`
    if (d.prefix !== '') out += ` prefix "${d.prefix}"`
    return out
  },
  compile(_d, c) {
    c.emit(TARGET_CONTINUE)
  },
}

interface NflogData {
  group: number
  prefix: string
  size: number | null
  range: number
  threshold: number
}

/** `-j NFLOG` */
export const nflogTarget: XtTarget<NflogData> = {
  name: 'NFLOG',
  options: [
    { name: 'nflog-group', arg: true, set: (d, v) => void (d.group = uint('NFLOG', 'nflog-group', v, 65535)) },
    { name: 'nflog-prefix', arg: true, set: (d, v) => void (d.prefix = v.slice(0, 63)) },
    { name: 'nflog-range', arg: true, set: (d, v) => void (d.range = uint('NFLOG', 'nflog-range', v)) },
    { name: 'nflog-size', arg: true, set: (d, v) => void (d.size = uint('NFLOG', 'nflog-size', v)) },
    {
      name: 'nflog-threshold',
      arg: true,
      set: (d, v) => void (d.threshold = uint('NFLOG', 'nflog-threshold', v, 65535)),
    },
  ],
  init: () => ({ group: 0, prefix: '', size: null, range: 0, threshold: 0 }),
  save: (d) => nflogText(d, '--'),
  list: (d) => nflogText(d, ''),
  compile(_d, c) {
    c.emit(TARGET_CONTINUE)
  },
}

function nflogText(d: NflogData, dash: string): string {
  let out = d.prefix === '' ? '' : ` ${dash}nflog-prefix${saveString(d.prefix)}`
  if (d.group !== 0) out += ` ${dash}nflog-group ${d.group}`
  if (d.size !== null) out += ` ${dash}nflog-size ${d.size}`
  else if (d.range !== 0) out += ` ${dash}nflog-range ${d.range}`
  if (d.threshold !== 0) out += ` ${dash}nflog-threshold ${d.threshold}`
  return out
}

interface SetTargetData {
  add: string
  addDirs: string[]
  del: string
  delDirs: string[]
  map: string
  mapDirs: string[]
  timeout: number | null
  exist: boolean
  mapMark: boolean
}

const SET_KINDS = ['add', 'del', 'map'] as const

/** `-j SET` */
export const setTarget: XtTarget<SetTargetData> = {
  name: 'SET',
  options: [
    ...SET_KINDS.map((kind) => ({
      name: `${kind}-set`,
      arg: true,
      arg2: true,
      set(d: SetTargetData, v: string, _i: boolean, x: ParseContext, v2: string) {
        d[kind] = v
        d[`${kind}Dirs`] = parseSetDirs(v, v2, x)
      },
    })),
    { name: 'timeout', arg: true, set: (d, v) => void (d.timeout = uint('SET', 'timeout', v, 4294967294)) },
    { name: 'exist', set: (d) => void (d.exist = true) },
    { name: 'map-mark', set: (d) => void (d.mapMark = true) },
  ],
  init: () => ({
    add: '',
    addDirs: [],
    del: '',
    delDirs: [],
    map: '',
    mapDirs: [],
    timeout: null,
    exist: false,
    mapMark: false,
  }),
  check(d) {
    if (d.add === '' && d.del === '' && d.map === '') {
      throw new IptTextError("You must specify either `--add-set' or `--del-set' or `--map-set'")
    }
  },
  save: (d) => setText(d, '--'),
  list: (d) => setText(d, ''),
  compile(d, c) {
    c.emit(
      TARGET_SET,
      d.add === '' ? -1 : c.set(d.add),
      d.addDirs.length,
      setDirBits(d.addDirs),
      d.del === '' ? -1 : c.set(d.del),
      d.delDirs.length,
      setDirBits(d.delDirs),
      d.timeout ?? -1,
      d.exist ? 1 : 0,
    )
  },
  unmodelled: (d) => (d.map === '' ? null : 'target SET --map-set'),
}

function setText(d: SetTargetData, dash: string): string {
  let out = ''
  for (const kind of SET_KINDS) {
    if (d[kind] === '') continue
    out += ` ${dash}${kind}-set ${d[kind]} ${d[`${kind}Dirs`].join(',')}`
    if (kind === 'add')
      out += `${d.exist ? ` ${dash}exist` : ''}${d.timeout === null ? '' : ` ${dash}timeout ${d.timeout}`}`
    if (kind === 'map' && d.mapMark) out += ` ${dash}map-mark`
  }
  return out
}

/** `-j TRACE` */
export const traceTarget: XtTarget<object> = {
  name: 'TRACE',
  tables: ['raw'],
  options: [],
  init: () => ({}),
  save: () => '',
  list: () => '',
  compile(_d, c) {
    c.emit(TARGET_CONTINUE)
  },
}

interface TproxyData {
  port: number
  ip: IpValue
  mark: number
  mask: number
}

/** `-j TPROXY` */
export const tproxyTarget: XtTarget<TproxyData> = {
  name: 'TPROXY',
  tables: ['mangle'],
  hooks: 1 << 0,
  needsProto: [6, 17],
  options: [
    { name: 'on-port', arg: true, set: (d, v) => void (d.port = uint('TPROXY', 'on-port', v, 65535)) },
    { name: 'on-ip', arg: true, set: (d, v, _i, x) => void (d.ip = optionHost(x.family, v)) },
    {
      name: 'tproxy-mark',
      arg: true,
      set(d, v) {
        ;[d.mark, d.mask] = markMask('TPROXY', 'tproxy-mark', v)
      },
    },
  ],
  init: (family) => ({ port: 0, ip: anyIp(family), mark: 0, mask: 0 }),
  check(_d, seen) {
    if (!seen.has('on-port')) throw new IptTextError('TPROXY: option "--on-port" must be specified')
  },
  save: (d) => ` --on-port ${d.port} --on-ip ${formatIp(d.ip)} --tproxy-mark ${hex(d.mark)}/${hex(d.mask)}`,
  list: (d) => ` TPROXY redirect ${formatIp(d.ip)}:${d.port} mark ${hex(d.mark)}/${hex(d.mask)}`,
  unmodelled: () => 'target TPROXY',
}
