/**
 * Options of queueing disciplines: read, and written as `tc qdisc show` does.
 *
 * Source: iproute2 tc/q_fq_codel.c, q_fifo.c, q_htb.c, q_tbf.c, q_netem.c, q_prio.c (priomap), tc_util.c (get_rate,
 * get_size, get_time, print_rate, print_size, print_time). Rates are bits per second, sizes bytes, times microseconds.
 */
import type { NetDevice } from '../device/device.ts'
import { type Args, takeNumber } from './ip-args.ts'
import { ToolExit, unmodelled } from './result.ts'

const ETH_HLEN = 14
const KIB = 1024

/** The text after `refcnt 2` for a discipline with these options. */
export function qdiscOptions(kind: string, args: Args, dev: NetDevice): string {
  switch (kind) {
    case 'pfifo_fast':
      none(kind, args)
      return 'bands 3 priomap 1 2 2 2 1 2 0 0 1 1 1 1 1 1 1 1'
    case 'pfifo':
      return `limit ${fifoLimit(kind, args, dev.txqueuelen)}p`
    case 'bfifo':
      return `limit ${sizeText(fifoLimit(kind, args, dev.txqueuelen * (dev.mtu + ETH_HLEN)))}`
    case 'fq_codel':
      return fqCodel(args, dev)
    case 'htb':
      return htb(args, dev)
    case 'tbf':
      return tbf(args)
    case 'netem':
      return netem(args)
    default:
      none(kind, args)
      return ''
  }
}

function none(kind: string, args: Args): void {
  if (!args.done) throw new ToolExit(1, `Unknown qdisc "${kind}", hence option "${args.take()}" is unparsable`)
}

function what(word: string): never {
  throw new ToolExit(1, `What is "${word}"?`)
}

function fifoLimit(kind: string, args: Args, otherwise: number): number {
  let limit = otherwise
  while (!args.done) {
    const word = args.take()
    if (word !== 'limit') throw new ToolExit(1, `${kind}: unknown parameter "${word}"`)
    limit = takeSize(args.take())
  }
  return limit
}

function fqCodel(args: Args, dev: NetDevice): string {
  const o = { limit: 10240, flows: 1024, quantum: dev.mtu + ETH_HLEN, target: 5000, interval: 100_000, ecn: true }
  while (!args.done) {
    const word = args.take()
    if (word === 'limit' || word === 'flows' || word === 'quantum')
      o[word] = takeNumber(args.take(), 0x7fffffff, `Illegal "${word}"`)
    else if (word === 'target' || word === 'interval') o[word] = takeTime(args.take())
    else if (word === 'ecn' || word === 'noecn') o.ecn = word === 'ecn'
    else if (['ce_threshold', 'memory_limit', 'drop_batch'].includes(word)) unmodelled(`fq_codel ${word}`)
    else what(word)
  }
  return (
    `limit ${o.limit}p flows ${o.flows} quantum ${o.quantum} target ${timeText(o.target)} ` +
    `interval ${timeText(o.interval)} memory_limit 32Mb ${o.ecn ? 'ecn ' : ''}drop_batch 64 `
  )
}

function htb(args: Args, dev: NetDevice): string {
  let r2q = 10
  let def = 0
  while (!args.done) {
    const word = args.take()
    if (word === 'default') def = Number.parseInt(args.take(), 16)
    else if (word === 'r2q') r2q = takeNumber(args.take(), 0x7fffffff, 'Illegal "r2q"')
    else if (word === 'direct_qlen' || word === 'offload') unmodelled(`htb ${word}`)
    else what(word)
  }
  const shown = def === 0 ? '0' : `0x${def.toString(16)}`
  return `r2q ${r2q} default ${shown} direct_packets_stat 0 direct_qlen ${dev.txqueuelen}`
}

function tbf(args: Args): string {
  let rate = 0
  let burst = 0
  let latency: number | null = null
  let limit: number | null = null
  while (!args.done) {
    const word = args.take()
    if (word === 'rate') rate = takeRate(args.take())
    else if (word === 'burst' || word === 'buffer' || word === 'maxburst') burst = takeSize(args.take())
    else if (word === 'latency') latency = takeTime(args.take())
    else if (word === 'limit') limit = takeSize(args.take())
    else unmodelled(`tbf ${word}`)
  }
  if (rate === 0 || burst === 0) throw new ToolExit(1, 'Both "rate" and "burst" are required.')
  if (latency === null && limit === null) throw new ToolExit(1, 'Either "limit" or "latency" is required.')
  const end = latency !== null ? `lat ${timeText(latency)} ` : `limit ${sizeText(limit ?? 0)} `
  return `rate ${rateText(rate)} burst ${sizeText(burst)} ${end}`
}

function netem(args: Args): string {
  let limit = 1000
  let delay: number | null = null
  let jitter = 0
  while (!args.done) {
    const word = args.take()
    if (word === 'limit') limit = takeNumber(args.take(), 0x7fffffff, 'Illegal "limit"')
    else if (word === 'delay' || word === 'latency') {
      delay = takeTime(args.take())
      const next = args.peek()
      if (next !== undefined && /^\d/.test(next)) jitter = takeTime(args.take())
    } else unmodelled(`netem ${word}`)
  }
  const d = delay === null ? '' : ` delay ${timeText(delay)}${jitter === 0 ? '' : `  ${timeText(jitter)}`}`
  return `limit ${limit}${d}`
}

/** get_size: bytes, with k, kb, m, mb, kbit, mbit ... (powers of 1024). */
function takeSize(word: string): number {
  const m = /^(\d+(?:\.\d+)?)([a-z]*)$/i.exec(word)
  const unit = (m?.[2] ?? '').toLowerCase()
  const scale: { readonly [u: string]: number } = {
    '': 1,
    b: 1,
    k: KIB,
    kb: KIB,
    m: KIB * KIB,
    mb: KIB * KIB,
    g: KIB ** 3,
    gb: KIB ** 3,
    kbit: KIB / 8,
    mbit: (KIB * KIB) / 8,
    gbit: KIB ** 3 / 8,
  }
  const s = scale[unit]
  if (m === null || s === undefined) throw new ToolExit(1, `Illegal size "${word}"`)
  return Math.floor(Number(m[1]) * s)
}

/** get_rate: bits per second. */
function takeRate(word: string): number {
  const m = /^(\d+(?:\.\d+)?)(bit|kbit|mbit|gbit|tbit|bps|kbps|mbps|gbps)?$/i.exec(word)
  if (m === null) throw new ToolExit(1, `Illegal rate "${word}"`)
  const unit = (m[2] ?? 'bit').toLowerCase()
  const power = { k: 1e3, m: 1e6, g: 1e9, t: 1e12 }[unit[0] as 'k'] ?? 1
  return Number(m[1]) * power * (unit.endsWith('bps') ? 8 : 1)
}

/** get_time: microseconds. */
function takeTime(word: string): number {
  const m = /^(\d+(?:\.\d+)?)(s|sec|secs|ms|msec|msecs|us|usec|usecs)?$/i.exec(word)
  if (m === null) throw new ToolExit(1, `Illegal time "${word}"`)
  const unit = (m[2] ?? 'us').toLowerCase()
  return Number(m[1]) * (unit.startsWith('s') ? 1e6 : unit.startsWith('m') ? 1e3 : 1)
}

function rateText(bits: number): string {
  let value = bits
  let i = 0
  while (value >= 1000 && (value % 1000 === 0 || value > 1000 * 1000) && i < 4) {
    value /= 1000
    i++
  }
  return `${Math.floor(value)}${['', 'K', 'M', 'G', 'T'][i]!}bit`
}

function sizeText(bytes: number): string {
  if (bytes >= KIB * KIB && Math.abs(KIB * KIB * Math.round(bytes / KIB / KIB) - bytes) < KIB) {
    return `${Math.round(bytes / KIB / KIB)}Mb`
  }
  if (bytes >= KIB && Math.abs(KIB * Math.round(bytes / KIB) - bytes) < 16) return `${Math.round(bytes / KIB)}Kb`
  return `${bytes}b`
}

function timeText(us: number): string {
  if (us >= 1e6) return `${trim(us / 1e6)}s`
  if (us >= 1e3) return `${trim(us / 1e3)}ms`
  return `${us}us`
}

function trim(n: number): string {
  return String(Number(n.toPrecision(3)))
}
