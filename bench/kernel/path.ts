/**
 * The same path on the real kernel, in the same run: frames of the same flow from an AF_PACKET generator (gen.c) in the
 * client pod, counted at the far pod's eth0 and dropped there (tc ingress).
 *
 * The rate is frames counted / CPU seconds of the generator and ksoftirqd: the generator, every softirq and both nodes run
 * in that one process on CPU 0 (no RPS), so it is the rate of one core even when other work shares the machine. The flow
 * is made established by a few frames back. The generator's own cost is in it, as the copy into the arena is in ours.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { formatIpv4, formatMac } from '../../src/addr/index.ts'
import type { NetDevice } from '../../src/linux/device/device.ts'
import type { Netns } from '../../src/linux/netns.ts'
import { median } from '../harness.ts'
import { CLIENT_PORT, ECHO_PORT, FRAME_BYTES, type Path } from '../scenario/cluster.ts'
import { cloneToKernel, kernelName, sh } from './clone.ts'

const RUNS = 5
const SECONDS = 0.5
/** Frames handed to the kernel per sendmmsg. */
const SEND_BATCH = 64

/** Why there is no kernel here, or null. */
export function kernelSkipReason(): string | null {
  if (process.platform !== 'linux') return 'needs Linux'
  if (process.getuid?.() !== 0) return 'needs root'
  for (const tool of ['ip', 'tc', 'gcc', 'sysctl']) {
    if (spawnSync(tool, ['--version'], { stdio: 'ignore' }).error !== undefined) return `needs ${tool}`
  }
  if (restoreTool() === null) return 'needs iptables-restore'
  return null
}

function restoreTool(): string | null {
  for (const tool of ['iptables-legacy-restore', 'iptables-restore']) {
    if (spawnSync(tool, ['--version'], { stdio: 'ignore' }).error === undefined) return tool
  }
  return null
}

/** Compiles the generator. */
function compile(dir: string): string {
  const source = ['bench/kernel/gen.c', '../bench/kernel/gen.c'].find((p) => existsSync(p))
  if (source === undefined) throw new Error('bench/kernel/gen.c: run from the project folder')
  const out = join(dir, 'gen')
  sh(['gcc', '-O2', '-o', out, source])
  return out
}

function softirqdNs(): number {
  let ns = 0
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue
    try {
      if (!readFileSync(`/proc/${pid}/comm`, 'utf8').startsWith('ksoftirqd/')) continue
      ns += Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[0])
    } catch {
      // the process is gone
    }
  }
  return ns
}

function received(ns: Netns, dev: NetDevice): number {
  return Number(sh(['ip', 'netns', 'exec', kernelName(ns), 'cat', `/sys/class/net/${dev.name}/statistics/rx_packets`]))
}

interface Flow {
  readonly ns: Netns
  readonly dev: NetDevice
  readonly mac: string
  readonly src: number
  readonly dst: number
  readonly sport: number
  readonly dport: number
}

/** Runs the generator. @returns CPU seconds that it and ksoftirqd took */
function generate(gen: string, f: Flow, seconds: number, most: number): number {
  const before = softirqdNs()
  const out = sh([
    'ip',
    'netns',
    'exec',
    kernelName(f.ns),
    gen,
    'pkt',
    f.dev.name,
    f.mac,
    formatMac({ hi: f.dev.macHi, lo: f.dev.macLo }),
    formatIpv4(f.src),
    formatIpv4(f.dst),
    String(f.sport),
    String(f.dport),
    '1',
    String(seconds),
    String(most),
    String(FRAME_BYTES),
    String(SEND_BATCH),
  ])
  return Number(out.split(/\s+/)[3]) + (softirqdNs() - before) / 1e9
}

/** MAC address that a frame of `dev` to `dst` has. */
function nextHopMac(ns: Netns, dev: NetDevice, dst: number): string {
  const rt = ns.fib.routeOutputTo(dst, 0)
  const n = rt === null ? undefined : ns.neigh.lookup(dev, rt.hasGateway ? rt.gateway : dst)
  if (n === undefined) throw new Error(`no neighbour for ${formatIpv4(dst)}`)
  return formatMac({ hi: n.macHi, lo: n.macLo })
}

/** Packets per CPU second of the real kernel on that path, or why there is no figure. */
export function kernelRate(path: Path): number | string {
  const reason = kernelSkipReason()
  if (reason !== null) return reason
  const dir = mkdtempSync(join(tmpdir(), 'podwalk-gen-'))
  let remove = (): void => {}
  try {
    const gen = compile(dir)
    remove = cloneToKernel(path.cluster.world, restoreTool()!)
    const sink = ['ip', 'netns', 'exec', kernelName(path.server), 'tc']
    sh([...sink, 'qdisc', 'add', 'dev', path.serverDev.name, 'clsact'])
    sh([...sink, 'filter', 'add', 'dev', path.serverDev.name, 'ingress', 'bpf', 'bytecode', '1,6 0 0 2', 'da'])
    const forth: Flow = {
      ns: path.client,
      dev: path.clientDev,
      mac: nextHopMac(path.client, path.clientDev, path.dst),
      src: path.src,
      dst: path.dst,
      sport: CLIENT_PORT,
      dport: path.dport,
    }
    const back: Flow = {
      ns: path.server,
      dev: path.serverDev,
      mac: nextHopMac(path.server, path.serverDev, path.src),
      src: path.serverIp,
      dst: path.src,
      sport: ECHO_PORT,
      dport: CLIENT_PORT,
    }
    generate(gen, forth, 1, 100)
    generate(gen, back, 1, 100)
    generate(gen, forth, 0.1, 0)
    const rates: number[] = []
    for (let i = 0; i < RUNS; i++) {
      const before = received(path.server, path.serverDev)
      const cpu = generate(gen, forth, SECONDS, 0)
      const arrived = received(path.server, path.serverDev) - before
      if (arrived === 0) return 'no frame arrived on the kernel: the path differs'
      rates.push(arrived / cpu)
    }
    return median(rates)
  } finally {
    remove()
    rmSync(dir, { recursive: true })
  }
}
