/**
 * nc of OpenBSD (Debian 1.219): a connection that is tried, or that sends standard input and prints what comes back.
 *
 * -z -v -u -w -n -p -4 -N. Exit status 1 when no port could be reached. UDP with -z sends four single bytes, as nc's
 * udptest does, and fails only when an ICMP error comes back. Not modelled, and said so: -l, -U, -X, -k, port lists
 * beyond ranges; without -z a session ends when the peer closes, or after -w, or when nothing more comes.
 * Source: openbsd-netcat 1.219 netcat.c (main, remote_connect, udptest, report_sock).
 */
import { parseIpv4 } from '../addr/index.ts'
import type { Netns } from '../linux/netns.ts'
import { close, udpOpen, udpRecv, udpSend } from '../linux/socket/api.ts'
import { runTool, strerror, ToolExit, type ToolResult, unmodelled } from '../linux/tools/result.ts'
import { serviceName } from '../linux/tools/service-names.ts'
import { GAI_STRERROR, type ProcessFiles, Resolver, UnmodelledDns } from './resolver.ts'
import { tcpExchange } from './tcp-exchange.ts'
import { waitFor } from './wait.ts'

const NS_PER_S = 1_000_000_000
/** Time a connection may take without -w: what Linux needs to give up on a SYN. */
const DEFAULT_TIMEOUT_S = 130
const UDP_SCAN_TRIES = 4
const EAGAIN = -11

interface NcOptions {
  isScan: boolean
  isVerbose: boolean
  isUdp: boolean
  isNumeric: boolean
  timeoutS: number
  sport: number
  host: string
  ports: string
}

/** Runs `nc ARGV` with `stdin`. */
export function nc(ns: Netns, argv: readonly string[], files: ProcessFiles, stdin: string): ToolResult {
  const run = new Nc(ns, files)
  const r = runTool(() => {
    try {
      run.main(argv, stdin)
    } catch (e) {
      if (e instanceof UnmodelledDns) unmodelled(e.message)
      throw e
    }
    return ''
  })
  if (r.status !== 0) return { ...r, stdout: run.out, stderr: run.err + r.stderr }
  return { status: run.status, stdout: run.out, stderr: run.err }
}

class Nc {
  status = 1
  out = ''
  err = ''
  private readonly ns: Netns
  private readonly resolver: Resolver

  constructor(ns: Netns, files: ProcessFiles) {
    this.ns = ns
    this.resolver = new Resolver(ns, files)
  }

  main(argv: readonly string[], stdin: string): void {
    const o = readOptions(argv)
    const range = /^(\d+)(?:-(\d+))?$/.exec(o.ports)
    if (range === null) throw new ToolExit(1, `nc: port number invalid: ${o.ports}`)
    const [low, high] = [Number(range[1]), Number(range[2] ?? range[1])]
    if (low < 1 || high > 65535) throw new ToolExit(1, `nc: port number too ${low < 1 ? 'small' : 'large'}: ${o.ports}`)
    const address = this.addressOf(o, low)
    for (let port = low; port <= high; port++) {
      if (o.isUdp) this.udp(o, address, port, stdin)
      else this.tcp(o, address, port, stdin)
    }
  }

  private addressOf(o: NcOptions, port: number): string {
    if (parseIpv4(o.host) !== null) return o.host
    const fail = (why: string): never => {
      throw new ToolExit(1, `nc: getaddrinfo for host "${o.host}" port ${port}: ${why}`)
    }
    if (o.isNumeric) return fail(GAI_STRERROR.EAI_NONAME)
    const info = this.resolver.addresses(o.host)
    if (info.error !== null) return fail(GAI_STRERROR[info.error])
    return info.addresses[0] ?? unmodelled(`connecting to ${o.host}, which has IPv6 addresses only`)
  }

  private tcp(o: NcOptions, address: string, port: number, stdin: string): void {
    const ip = parseIpv4(address)!
    const timeoutNs = o.timeoutS * NS_PER_S
    const bytes = new TextEncoder().encode(o.isScan ? '' : stdin)
    const r = tcpExchange(this.ns, ip, port, bytes, timeoutNs, () => o.isScan, {
      ...(o.sport !== 0 && { sport: o.sport }),
    })
    if (!r.connected) {
      const what = `connect to ${o.host === address ? o.host : `${o.host} (${address})`} port ${port} (tcp)`
      const timedOut = `nc: ${what} timed out: Operation now in progress\n`
      if (o.isVerbose) this.err += r.isTimeout ? timedOut : `nc: ${what} failed: ${strerror(r.errno)}\n`
      return
    }
    this.status = 0
    if (o.isVerbose) this.err += this.succeeded(o, address, port, 'tcp')
    this.out += new TextDecoder('latin1').decode(r.data)
  }

  private udp(o: NcOptions, address: string, port: number, stdin: string): void {
    const w = this.ns.world
    const ip = parseIpv4(address)!
    const bind = o.sport === 0 ? {} : { bind: { ip: 0, port: o.sport } }
    const sk = udpOpen(this.ns, { ...bind, connect: { ip, port } })
    if (typeof sk === 'number') {
      if (o.isVerbose) this.err += `nc: connect to ${o.host} port ${port} (udp) failed: ${strerror(sk)}\n`
      return
    }
    const isTest = o.isScan || o.isVerbose
    let isRefused = false
    for (let n = 0; n < UDP_SCAN_TRIES && isTest && !isRefused; n++) {
      if (udpSend(sk, new TextEncoder().encode('X')) !== 1) isRefused = true
      waitFor(w, w.nowNs + (n === 0 || o.isScan ? NS_PER_S : 0), () => false)
    }
    if (isRefused) {
      close(sk)
      return
    }
    this.status = 0
    if (o.isVerbose) this.err += this.succeeded(o, address, port, 'udp')
    if (!o.isScan) {
      if (stdin !== '') udpSend(sk, new TextEncoder().encode(stdin))
      waitFor(w, w.nowNs + Math.min(o.timeoutS, DEFAULT_TIMEOUT_S) * NS_PER_S, () => {
        for (let d = udpRecv(sk); ; d = udpRecv(sk)) {
          if (typeof d === 'number') return d !== EAGAIN
          this.out += new TextDecoder('latin1').decode(d.data)
        }
      })
    }
    close(sk)
  }

  private succeeded(o: NcOptions, address: string, port: number, proto: 'tcp' | 'udp'): string {
    const known = serviceName(port, proto === 'tcp' ? 6 : 17)
    const name = o.isNumeric || known === String(port) ? '*' : known
    const host = o.host === address ? address : `${o.host} (${address})`
    return `Connection to ${host} ${port} port [${proto}/${name}] succeeded!\n`
  }
}

function readOptions(argv: readonly string[]): NcOptions {
  const o: NcOptions = {
    ...{ isScan: false, isVerbose: false, isUdp: false, isNumeric: false },
    ...{ timeoutS: DEFAULT_TIMEOUT_S, sport: 0, host: '', ports: '' },
  }
  const words: string[] = []
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i]!
    if (!word.startsWith('-') || word === '-') {
      words.push(word)
      continue
    }
    for (let c = 1; c < word.length; c++) {
      const letter = word[c]!
      if (letter === 'z') o.isScan = true
      else if (letter === 'v') o.isVerbose = true
      else if (letter === 'u') o.isUdp = true
      else if (letter === 'n') o.isNumeric = true
      else if (letter === 'w' || letter === 'p') {
        const value = Number(c + 1 < word.length ? word.slice(c + 1) : argv[++i])
        if (letter === 'w') o.timeoutS = value
        else o.sport = value
        break
      } else if (letter !== '4' && letter !== 'N') unmodelled(`nc -${letter}`)
    }
  }
  if (words.length !== 2) unmodelled('nc without a host and a port')
  return { ...o, host: words[0]!, ports: words[1]! }
}
