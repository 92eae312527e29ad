/**
 * ipvsadm(8): the IPVS tables of a namespace.
 *
 * ipvsadm 1.31: ipvsadm.c (process_options, restore_table), libipvs.c (ipvs_strerror). `-R` reads lines of options from
 * stdin; a line that the kernel refuses is reported and the next one is read, one that ipvsadm itself refuses ends it.
 * UNMODELLED: the sync daemon, persistence engines, IPv6.
 */
import {
  addDest,
  addService,
  delDest,
  delService,
  editDest,
  editService,
  flushServices,
  setTimeouts,
  zeroStats,
} from '../ipvs/ctl.ts'
import { SECOND_NS } from '../ipvs/flags.ts'
import { ipVsGet } from '../ipvs/ipvs.ts'
import { IP_VS_TCP_S_ESTABLISHED, IP_VS_TCP_S_FIN_WAIT } from '../ipvs/proto-states.ts'
import type { Netns } from '../netns.ts'
import { checkIpvsadm, type IpvsadmArgs, PoptError, parseIpvsadm, tryHelp } from './ipvsadm-args.ts'
import { IPVSADM_USAGE, IPVSADM_VERSION } from './ipvsadm-help.ts'
import { listAll, listConnections, listService } from './ipvsadm-list.ts'
import { strerror, ToolExit, type ToolResult, unmodelled } from './result.ts'

const ESRCH = 3
const ENOENT = 2
const EEXIST = 17
const EINVAL = 22

/** ipvs_strerror: messages by command and errno; 0 stands for any command. */
const MESSAGES: { readonly [command: string]: { readonly [errno: number]: string } } = {
  'add-service': { [EEXIST]: 'Service already exists', [ENOENT]: 'Scheduler or persistence engine not found' },
  'edit-service': { [ESRCH]: 'No such service', [ENOENT]: 'Scheduler or persistence engine not found' },
  'delete-service': { [ESRCH]: 'No such service' },
  zero: { [ESRCH]: 'No such service' },
  list: { [ESRCH]: 'No such service' },
  'add-server': { [ESRCH]: 'Service not defined', [EEXIST]: 'Destination already exists' },
  'edit-server': { [ESRCH]: 'Service not defined', [ENOENT]: 'No such destination' },
  'delete-server': { [ESRCH]: 'Service not defined', [ENOENT]: 'No such destination' },
}
const ANY_MESSAGES: { readonly [errno: number]: string } = {
  1: 'Permission denied (you must be root)',
  [EINVAL]: 'Invalid operation.  Possibly wrong module version, address not unicast, ...',
  12: 'Memory allocation problem',
}

function ipvsStrerror(command: string, errno: number): string {
  const n = Math.abs(errno)
  return MESSAGES[command]?.[n] ?? ANY_MESSAGES[n] ?? strerror(n)
}

/** Runs `ipvsadm ARGV`. */
export function ipvsadm(ns: Netns, argv: readonly string[], stdin = ''): ToolResult {
  const out = { stdout: '', stderr: '' }
  try {
    const status = argv.length === 0 ? listEverything(ns, out) : processOptions(ns, argv, stdin, out)
    return { status, ...out }
  } catch (e) {
    if (!(e instanceof ToolExit)) throw e
    return {
      status: e.status,
      stdout: out.stdout,
      stderr: e.message === '' ? out.stderr : `${out.stderr}${e.message}\n`,
    }
  }
}

interface Output {
  stdout: string
  stderr: string
}

function listEverything(ns: Netns, out: Output): number {
  out.stdout += listAll(ipVsGet(ns), { options: new Set(), rule: false })
  return 0
}

function processOptions(ns: Netns, argv: readonly string[], stdin: string | null, out: Output): number {
  const a = parseIpvsadm(argv)
  checkIpvsadm(a)
  const ipvs = ipVsGet(ns)
  switch (a.command) {
    case 'help':
      out.stdout += IPVSADM_USAGE
      return 0
    case 'version':
      out.stdout += IPVSADM_VERSION
      return 0
    case 'list':
      return list(ns, a, out)
    case 'save':
      out.stdout += listAll(ipvs, { options: a.options, rule: true })
      return 0
    case 'restore':
      return restore(ns, stdin, out)
    case 'start-daemon':
    case 'stop-daemon':
      return unmodelled('ipvsadm: the sync daemon')
    default: {
      const errno = act(ns, a)
      if (errno === 0) return 0
      out.stderr += `${ipvsStrerror(a.command, errno)}\n`
      return 255
    }
  }
}

/** The commands that change something. */
function act(ns: Netns, a: IpvsadmArgs): number {
  const ipvs = ipVsGet(ns)
  if (a.options.has('pe')) unmodelled('ipvsadm: persistence engines')
  const spec = { ...a.svc, scheduler: a.scheduler, flags: a.flags, timeout: a.timeout, netmask: a.netmask }
  switch (a.command) {
    case 'add-service':
      return addService(ipvs, spec)
    case 'edit-service':
      return editService(ipvs, spec)
    case 'delete-service':
      return delService(ipvs, a.svc)
    case 'flush':
      return flushServices(ipvs)
    case 'zero':
      return zeroStats(ipvs, a.options.has('service-address') ? a.svc : null)
    case 'add-server':
      return addDest(ipvs, a.svc, a.dest)
    case 'edit-server':
      return editDest(ipvs, a.svc, a.dest)
    case 'delete-server':
      return delDest(ipvs, a.svc, a.dest.addr, a.dest.port)
    case 'set':
      return setTimeouts(ipvs, ...a.timeouts)
    default:
      throw new Error(`ipvsadm command ${a.command} changes nothing`)
  }
}

function list(ns: Netns, a: IpvsadmArgs, out: Output): number {
  const ipvs = ipVsGet(ns)
  const o = a.options
  const special = o.has('connection') || o.has('timeout') || o.has('daemon')
  if (
    (special && (o.has('stats') || o.has('rate') || o.has('thresholds'))) ||
    ((o.has('timeout') || o.has('daemon')) && o.has('persistent-conn'))
  ) {
    throw new ToolExit(2, 'options conflicts in the list command')
  }
  const format = { options: o, rule: false }
  if (o.has('connection')) out.stdout += listConnections(ipvs, format)
  else if (o.has('service-address')) {
    const svc = ipvs.exact(a.svc)
    if (svc === null) throw new ToolExit(1, ipvsStrerror('list', ESRCH))
    out.stdout += listService(ipvs, svc, format)
  } else if (o.has('timeout')) {
    const t = ipvs.timeouts
    const seconds = [t.tcp[IP_VS_TCP_S_ESTABLISHED]!, t.tcp[IP_VS_TCP_S_FIN_WAIT]!, t.udp].map((ns_) => ns_ / SECOND_NS)
    out.stdout += `Timeout (tcp tcpfin udp): ${seconds.join(' ')}\n`
  } else if (!o.has('daemon')) out.stdout += listAll(ipvs, format)
  return 0
}

/**
 * `-R`: the result is that of the last line. There are no comments; the word `ipvsadm` is skipped wherever it stands
 * (config_stream_read).
 */
function restore(ns: Netns, stdin: string | null, out: Output): number {
  if (stdin === null) tryHelp()
  let status = 0
  for (const line of stdin.split('\n')) {
    const words = line.split(/[ \t\r]+/).filter((x) => x !== '' && x !== 'ipvsadm')
    if (words.length === 0) continue
    try {
      status = processOptions(ns, words, null, out)
    } catch (e) {
      if (!(e instanceof PoptError)) throw e
      out.stderr += `${e.message}\n`
      status = e.status
    }
  }
  return status
}
