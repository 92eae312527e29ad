/**
 * What ipvsadm prints: services with their real servers, connections, rules for --restore.
 *
 * ipvsadm 1.31: ipvsadm.c (print_title, print_service_entry, print_conn, print_largenum), libipvs.c (ipvs_cmp_services,
 * ipvs_cmp_dests: addresses compare as signed differences). Services and real servers are sorted unless --nosort says
 * otherwise; connections come in order of their making (the kernel: in order of a seeded hash).
 */
import { formatIpv4 } from '../../addr/ipv4.ts'
import {
  K_CADDR,
  K_CPORT,
  K_DADDR,
  K_DPORT,
  K_FLAGS,
  K_PROTO,
  K_STATE,
  K_VADDR,
  K_VPORT,
  K_WORDS,
} from '../ipvs/conn-table.ts'
import {
  IP_VS_CONN_F_MASQ,
  IP_VS_CONN_F_TEMPLATE,
  IP_VS_CONN_F_TUNNEL,
  IP_VS_CONN_TAB_SIZE,
  IP_VS_CTPL_S_ASSURED,
  IP_VS_SVC_F_ONEPACKET,
  IP_VS_SVC_F_PERSISTENT,
  IP_VS_SVC_F_SCHED1,
  IP_VS_SVC_F_SCHED2,
  IP_VS_SVC_F_SCHED3,
  IP_VS_VERSION,
  IPPROTO_SCTP,
  IPPROTO_TCP,
  IPPROTO_UDP,
} from '../ipvs/flags.ts'
import type { IpVs } from '../ipvs/ipvs.ts'
import { stateName } from '../ipvs/proto-states.ts'
import type { IpVsDest, IpVsService } from '../ipvs/service.ts'
import type { IpVsStatsView } from '../ipvs/stats.ts'
import type { IpvsadmOption } from './ipvsadm-args.ts'
import { serviceName } from './service-names.ts'

/** Which options of a listing are set, and whether rules are printed. */
export interface ListFormat {
  readonly options: ReadonlySet<IpvsadmOption>
  readonly rule: boolean
}

const PROTO_NAMES: { readonly [proto: number]: string } = {
  [IPPROTO_TCP]: 'TCP',
  [IPPROTO_UDP]: 'UDP',
  [IPPROTO_SCTP]: 'SCTP',
  0: 'IP',
}
const PROTO_OPTIONS: { readonly [proto: number]: string } = {
  [IPPROTO_TCP]: '-t',
  [IPPROTO_UDP]: '-u',
  [IPPROTO_SCTP]: '--sctp-service',
}
const TUN_NAMES = ['ipip', 'gue', 'gre']
const TUN_FLAGS = ['-c', '+c', 'r+c']
const TUN_FLAG_OPTIONS = ['--tun-nocsum', '--tun-csum', '--tun-remcsum']

function addrPort(addr: number, port: number, proto: number, numeric: boolean): string {
  return `${formatIpv4(addr)}:${numeric ? port : serviceName(port, proto)}`
}

/** `-L` and `-S` of everything. */
export function listAll(ipvs: IpVs, f: ListFormat): string {
  const services = [...ipvs.services]
  if (!f.options.has('nosort')) services.sort(compareServices)
  const head = f.rule ? '' : `IP Virtual Server version ${IP_VS_VERSION} (size=${IP_VS_CONN_TAB_SIZE})\n`
  return head + title(f) + services.map((s) => serviceText(ipvs, s, f)).join('')
}

/** `-L` of one service. */
export function listService(ipvs: IpVs, svc: IpVsService, f: ListFormat): string {
  return title(f) + serviceText(ipvs, svc, f)
}

function compareServices(a: IpVsService, b: IpVsService): number {
  return (a.fwmark - b.fwmark) | 0 || a.protocol - b.protocol || (a.addr - b.addr) | 0 || a.port - b.port
}

function compareDests(a: IpVsDest, b: IpVsDest): number {
  return (a.addr - b.addr) | 0 || a.port - b.port
}

function title(f: ListFormat): string {
  const o = f.options
  const table = (names: readonly string[], widths: readonly number[], right: boolean): string => {
    const cells = names.map((n, i) => (right ? n.padStart(widths[i]!) : n.padEnd(widths[i]!)))
    return `${'Prot LocalAddress:Port'.padEnd(33)} ${cells.join(' ')}\n  -> RemoteAddress:Port\n`
  }
  if (o.has('stats')) return table(['Conns', 'InPkts', 'OutPkts', 'InBytes', 'OutBytes'], [8, 8, 8, 8, 8], true)
  if (o.has('rate')) return table(['CPS', 'InPPS', 'OutPPS', 'InBPS', 'OutBPS'], [8, 8, 8, 8, 8], true)
  if (o.has('thresholds'))
    return table(['Uthreshold', 'Lthreshold', 'ActiveConn', 'InActConn'], [10, 10, 10, 10], false)
  if (o.has('persistent-conn'))
    return table(['Weight', 'PersistConn', 'ActiveConn', 'InActConn'], [9, 11, 10, 10], false)
  const tun = o.has('tun-info')
  if (f.rule && !tun) return ''
  return (
    'Prot LocalAddress:Port Scheduler Flags\n' +
    `  -> RemoteAddress:Port           Forward ${tun ? 'TunnelInfo    ' : ''}Weight ActiveConn InActConn\n`
  )
}

/** print_largenum */
function large(n: number, exact: boolean): string {
  if (exact) {
    const text = String(n)
    return text.padStart(text.length <= 8 ? 9 : text.length + 1)
  }
  const units: readonly (readonly [number, number, string])[] = [
    [1e9, 1e3, 'K'],
    [1e11, 1e6, 'M'],
    [1e14, 1e9, 'G'],
  ]
  if (n < 1e8) return String(n).padStart(9)
  const [, unit, letter] = units.find(([limit]) => n < limit) ?? [0, 1e12, 'T']
  return `${String(Math.floor(n / unit)).padStart(8)}${letter}`
}

function schedFlags(svc: IpVsService): string {
  const known = svc.scheduler === 'sh' || svc.scheduler === 'mh'
  const names = known ? [`${svc.scheduler}-fallback`, `${svc.scheduler}-port`] : ['flag-1', 'flag-2', 'flag-3']
  const bits = [IP_VS_SVC_F_SCHED1, IP_VS_SVC_F_SCHED2, IP_VS_SVC_F_SCHED3]
  return names.filter((_, i) => (svc.flags & bits[i]!) !== 0).join(',')
}

function counters(v: IpVsStatsView, rate: boolean, exact: boolean): string {
  const n = rate ? [v.cps, v.inpps, v.outpps, v.inbps, v.outbps] : [v.conns, v.inpkts, v.outpkts, v.inbytes, v.outbytes]
  return n.map((x) => large(x, exact)).join('')
}

/** The service's identity as the listing or a rule names it. */
function serviceId(svc: IpVsService, f: ListFormat): string {
  if (svc.fwmark !== 0) return f.rule ? `-f ${svc.fwmark}` : `FWM  ${svc.fwmark}`
  const at = addrPort(svc.addr, svc.port, svc.protocol, f.options.has('numeric'))
  if (f.rule) return `${PROTO_OPTIONS[svc.protocol]} ${at}`
  return `${(PROTO_NAMES[svc.protocol] ?? '?').padEnd(4)} ${at}`.slice(0, 33)
}

function serviceText(ipvs: IpVs, svc: IpVsService, f: ListFormat): string {
  const o = f.options
  const id = serviceId(svc, f)
  const now = ipvs.w.nowNs
  const exact = o.has('exact')
  const flags = svc.flags & (IP_VS_SVC_F_SCHED1 | IP_VS_SVC_F_SCHED2 | IP_VS_SVC_F_SCHED3)
  const persistent = (svc.flags & IP_VS_SVC_F_PERSISTENT) !== 0
  const mask = svc.netmask !== -1
  let line: string
  if (f.rule) {
    line = `-A ${id} -s ${svc.scheduler}`
    if (persistent) line += ` -p ${svc.timeout}${mask ? ` -M ${formatIpv4(svc.netmask)}` : ''}`
    if ((svc.flags & IP_VS_SVC_F_ONEPACKET) !== 0) line += ' -o'
    if (flags !== 0) line += ` -b ${schedFlags(svc)}`
  } else if (o.has('stats') || o.has('rate')) {
    line = id.padEnd(33) + counters(svc.stats.view(now), !o.has('stats'), exact)
  } else {
    line = `${id} ${svc.scheduler}`
    if (flags !== 0) line += ` (${schedFlags(svc)})`
    if (persistent) line += ` persistent ${svc.timeout}${mask ? ` mask ${formatIpv4(svc.netmask)}` : ''}`
    if ((svc.flags & IP_VS_SVC_F_ONEPACKET) !== 0) line += ' ops'
  }
  const dests: IpVsDest[] = []
  for (let d = svc.head; d !== null; d = d.next) dests.push(d)
  if (!o.has('nosort')) dests.sort(compareDests)
  return `${line}\n${dests.map((d) => `${destText(ipvs, svc, d, id, f)}\n`).join('')}`
}

function methodName(d: IpVsDest): string {
  return d.fwdMethod === IP_VS_CONN_F_MASQ ? 'Masq' : d.fwdMethod === IP_VS_CONN_F_TUNNEL ? 'Tunnel' : 'Route'
}

function tunInfo(d: IpVsDest): string {
  if (d.fwdMethod !== IP_VS_CONN_F_TUNNEL) return 'n/a'
  if (d.tunType === 0) return TUN_NAMES[0]!
  const flags = TUN_FLAGS[d.tunFlags] ?? ''
  return d.tunType === 1 ? `gue:${d.tunPort}:${flags}` : `gre:${flags}`
}

function destRule(d: IpVsDest, id: string, at: string): string {
  const method = d.fwdMethod === IP_VS_CONN_F_MASQ ? '-m' : d.fwdMethod === IP_VS_CONN_F_TUNNEL ? '-i' : '-g'
  let line = `-a ${id} -r ${at} ${method} -w ${d.weight}`
  if (d.fwdMethod !== IP_VS_CONN_F_TUNNEL) return line
  line += ` --tun-type ${TUN_NAMES[d.tunType]}`
  if (d.tunType === 1) line += ` --tun-port ${d.tunPort}`
  return d.tunType === 0 ? line : `${line} ${TUN_FLAG_OPTIONS[d.tunFlags]}`
}

function destText(ipvs: IpVs, svc: IpVsService, d: IpVsDest, id: string, f: ListFormat): string {
  const o = f.options
  const full = addrPort(d.addr, d.port, svc.protocol, o.has('numeric'))
  if (f.rule) return destRule(d, id, full)
  const at = `  -> ${full.slice(0, 28).padEnd(28)}`
  const exact = o.has('exact')
  const column = (n: number, width: number): string => String(n).padEnd(width)
  const conns = `${column(d.activeConns, 10)} ${column(d.inactConns, 10)}`
  if (o.has('stats')) return at + counters(d.stats.view(ipvs.w.nowNs), false, exact)
  if (o.has('rate')) {
    const v = d.stats.view(ipvs.w.nowNs)
    const per = [v.cps, v.inpps, v.outpps].map((n) => ` ${String(n).padStart(8)}`).join('')
    return at + per + large(v.inbps, exact) + large(v.outbps, exact)
  }
  if (o.has('thresholds')) return `${at} ${column(d.upperThreshold, 10)} ${column(d.lowerThreshold, 10)} ${conns}`
  if (o.has('persistent-conn')) return `${at} ${column(d.weight, 9)} ${column(d.persistConns, 11)} ${conns}`
  const info = o.has('tun-info') ? ` ${tunInfo(d).padEnd(13)}` : ''
  return `${at} ${methodName(d).padEnd(7)}${info} ${column(d.weight, 6)} ${conns}`
}

/** A connection as /proc/net/ip_vs_conn tells it. */
export interface ConnView {
  readonly proto: string
  readonly protocol: number
  readonly caddr: number
  readonly cport: number
  readonly vaddr: number
  readonly vport: number
  readonly daddr: number
  readonly dport: number
  readonly state: string
  /** Whole seconds. */
  readonly expires: number
}

/** /proc/net/ip_vs_conn */
export function connViews(ipvs: IpVs): ConnView[] {
  const { conns } = ipvs
  return conns.entries().map((id) => {
    const at = (k: number): number => conns.rows[id * K_WORDS + k]!
    const template = (at(K_FLAGS) & IP_VS_CONN_F_TEMPLATE) !== 0
    const assured = (at(K_STATE) & IP_VS_CTPL_S_ASSURED) !== 0
    return {
      proto: PROTO_NAMES[at(K_PROTO)] ?? `IP_${at(K_PROTO)}`,
      protocol: at(K_PROTO),
      caddr: at(K_CADDR),
      cport: at(K_CPORT),
      vaddr: at(K_VADDR),
      vport: at(K_VPORT),
      daddr: at(K_DADDR),
      dport: at(K_DPORT),
      state: template ? (assured ? 'ASSURED' : 'NONE') : stateName(at(K_PROTO), at(K_STATE)),
      expires: Math.max(0, Math.floor((conns.expires[id]! - ipvs.w.nowNs) / 1e9)),
    }
  })
}

/** `-L -c`. */
export function listConnections(ipvs: IpVs, f: ListFormat): string {
  const numeric = f.options.has('numeric')
  const wide = f.options.has('persistent-conn')
  const head = ['state'.padEnd(11), 'source'.padEnd(18), 'virtual'.padEnd(18)].join(' ')
  const last = wide ? `${'destination'.padEnd(18)} ${'pe name'.padEnd(16)} pe_data` : 'destination'
  const lines = connViews(ipvs).map((c) => {
    const time = `${String(Math.floor(c.expires / 60)).padStart(2, '0')}:${String(c.expires % 60).padStart(2, '0')}`
    const source = addrPort(c.caddr, c.cport, c.protocol, numeric)
    const virtual = addrPort(c.vaddr, c.vport, c.protocol, numeric)
    const dest = addrPort(c.daddr, c.dport, c.protocol, numeric)
    return `${c.proto.padEnd(3)} ${time.padEnd(6)} ${c.state.padEnd(11)} ${source.padEnd(18)} ${virtual.padEnd(18)} ${dest}\n`
  })
  return `IPVS connection entries\npro expire ${head} ${last}\n${lines.join('')}`
}
