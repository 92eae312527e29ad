/**
 * Real BGP daemons in network namespaces on one switch: BIRD 2, FRR (zebra and bgpd), GoBGP; and podwalk's own speaker as
 * the process that a user starts.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { inNetns, netnsAdd, netnsDel, runCommand } from './kernel.ts'

const MAIN = fileURLToPath(new URL('../../dist/bundle/main.js', import.meta.url))
const FRR = '/usr/lib/frr'
const POLL_MS = 100

/** Kinds of daemons. */
export type DaemonKind = 'bird' | 'frr' | 'gobgp'

/** Waits. */
export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** Asks until the answer is `true`; the last answer tells why when it never was. */
export async function until(what: string, ask: () => boolean, timeoutMs: number): Promise<void> {
  const end = Date.now() + timeoutMs
  while (!ask()) {
    if (Date.now() > end) throw new Error(`not within ${timeoutMs / 1000} s: ${what}`)
    await sleep(POLL_MS)
  }
}

/** A speaker of podwalk as a process. */
export class SpeakProcess {
  stderr = ''
  private stdout = ''
  private readonly child: ChildProcess
  private readonly done: Promise<number>

  constructor(netns: string, args: readonly string[]) {
    this.child = spawn('ip', ['netns', 'exec', netns, process.execPath, MAIN, 'bgp', 'speak', '-o', 'json', ...args])
    this.child.stdout!.on('data', (d: Buffer) => {
      this.stdout += d.toString()
    })
    this.child.stderr!.on('data', (d: Buffer) => {
      this.stderr += d.toString()
    })
    this.done = new Promise((resolve) => this.child.on('close', (code) => resolve(code ?? -1)))
  }

  /** Ends it as a user does and gives what it printed. */
  async end(): Promise<{ status: number; state: SpeakState; stderr: string }> {
    this.child.kill('SIGTERM')
    const status = await this.done
    return { status, state: JSON.parse(this.stdout === '' ? 'null' : this.stdout) as SpeakState, stderr: this.stderr }
  }

  /** Ends it without a word. */
  async kill(): Promise<void> {
    this.child.kill('SIGKILL')
    await this.done
  }
}

/** The document of `podwalk bgp speak`. */
export interface SpeakState {
  readonly kind: string
  readonly sessions: readonly { readonly neighbor: string; readonly state: string; readonly lastError: string }[]
  readonly rib: readonly {
    readonly prefix: string
    readonly nextHop: string | null
    readonly asPath: readonly number[]
    readonly from: string | null
    readonly best: boolean
  }[]
}

/** Hosts on a switch. */
export class DaemonNet {
  private readonly prefix: string
  private readonly dir = mkdtempSync(join(tmpdir(), 'podwalk-bgp-'))
  private readonly names: string[] = []
  private readonly running = new Map<string, ChildProcess[]>()

  constructor(prefix: string) {
    this.prefix = prefix
    chmodSync(this.dir, 0o755)
    netnsAdd(this.netns('sw'))
    this.names.push('sw')
    this.ip('sw', 'link add br0 type bridge')
    this.ip('sw', 'link set br0 up')
  }

  /** Name of a host's namespace. */
  netns(host: string): string {
    return `${this.prefix}-${host}`
  }

  /** `ip` inside a host. */
  ip(host: string, args: string): string {
    const r = inNetns(this.netns(host), ['ip', ...args.split(' ')])
    if (r.status !== 0) throw new Error(`ip ${args}: ${r.stderr}`)
    return r.stdout
  }

  /** Adds a host with an address on the switch. */
  addHost(host: string, address: string): void {
    const ns = this.netns(host)
    netnsAdd(ns)
    const port = `v${this.names.length}`
    this.names.push(host)
    const made = runCommand([
      'ip',
      'link',
      'add',
      port,
      'netns',
      this.netns('sw'),
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      ns,
    ])
    if (made.status !== 0) throw new Error(made.stderr)
    this.ip('sw', `link set ${port} master br0 up`)
    this.ip(host, 'link set lo up')
    this.ip(host, 'link set eth0 up')
    this.ip(host, `addr add ${address}/24 dev eth0`)
  }

  /** Starts a daemon in the foreground with its configuration. */
  start(host: string, kind: DaemonKind, config: string, args: readonly string[] = []): void {
    const dir = join(this.dir, host)
    mkdirSync(dir, { recursive: true })
    const file = join(dir, 'conf')
    writeFileSync(file, config)
    if (kind === 'frr') {
      runCommand(['chown', '-R', 'frr:frr', dir])
      for (const d of ['zebra', 'bgpd']) {
        const pid = join(dir, `${d}.pid`)
        this.spawn(host, [
          `${FRR}/${d}`,
          '-f',
          file,
          '-i',
          pid,
          '--vty_socket',
          dir,
          '-z',
          join(dir, 'zserv.api'),
          '-P',
          '0',
        ])
      }
    } else if (kind === 'bird') {
      this.spawn(host, ['bird', '-f', '-c', file, '-s', join(dir, 'ctl'), '-P', join(dir, 'pid'), ...args])
    } else this.spawn(host, ['gobgpd', '-f', file, '--api-hosts', '127.0.0.1:50051', '--log-plain'])
  }

  private spawn(host: string, argv: readonly string[]): void {
    const child = spawn('ip', ['netns', 'exec', this.netns(host), ...argv], { stdio: 'ignore' })
    const list = this.running.get(host)
    if (list === undefined) this.running.set(host, [child])
    else list.push(child)
  }

  /** Ends the daemons of a host. */
  async stop(host: string, signal: 'SIGKILL' | 'SIGTERM' = 'SIGKILL'): Promise<void> {
    const list = this.running.get(host) ?? []
    this.running.delete(host)
    await Promise.all(
      list.map(
        (c) =>
          new Promise<void>((resolve) =>
            c.exitCode !== null || !c.kill(signal) ? resolve() : c.on('close', () => resolve()),
          ),
      ),
    )
  }

  /** What a daemon says. */
  ask(host: string, kind: DaemonKind, question: string): string {
    const dir = join(this.dir, host)
    const argv = {
      bird: ['birdc', '-s', join(dir, 'ctl'), question],
      frr: ['vtysh', '--vty_socket', dir, '-d', 'bgpd', '-c', question],
      gobgp: ['gobgp', ...question.split(' ')],
    }[kind]
    return inNetns(this.netns(host), argv).stdout
  }

  /** podwalk's speaker in a host. */
  speak(host: string, args: readonly string[]): SpeakProcess {
    return new SpeakProcess(this.netns(host), args)
  }

  /** Ends everything. */
  async close(): Promise<void> {
    for (const host of [...this.running.keys()]) await this.stop(host)
    for (const name of this.names) netnsDel(this.netns(name))
    rmSync(this.dir, { recursive: true, force: true })
  }
}

/** BIRD with a network of its own and one neighbour; routes go to the kernel. */
export function birdConfig(o: {
  ip: string
  asn: number
  network: string
  peers: readonly { ip: string; asn: number; channel?: string; options?: string }[]
  family?: 4 | 6
}): string {
  const peers = o.peers.map(
    (p, i) => `protocol bgp p${i} {
  local ${o.ip} as ${o.asn};
  neighbor ${p.ip} as ${p.asn};
  ipv4 { import all; export where source = RTS_STATIC || source = RTS_BGP; ${p.channel ?? ''} };
  ${p.options ?? ''}
  error wait time 1,2; connect delay time 1; connect retry time 2; hold time 30;
}`,
  )
  return `log stderr all;
router id ${o.ip};
protocol device { scan time 2; }
protocol direct { ipv4; }
protocol kernel { ipv4 { import none; export where source != RTS_DEVICE; }; learn; merge paths on; }
protocol static { ipv4; route ${o.network} blackhole; }
${peers.join('\n')}
`
}

/** FRR with a network of its own. */
export function frrConfig(o: { ip: string; asn: number; network: string; peer: string; peerAsn: number }): string {
  return `hostname frr
router bgp ${o.asn}
 bgp router-id ${o.ip}
 no bgp ebgp-requires-policy
 no bgp network import-check
 timers bgp 10 30
 neighbor ${o.peer} remote-as ${o.peerAsn}
 neighbor ${o.peer} timers connect 2
 address-family ipv4 unicast
  network ${o.network}
 exit-address-family
`
}

/** GoBGP; its network is added with the client. */
export function gobgpConfig(o: { ip: string; asn: number; peer: string; peerAsn: number }): string {
  return `[global.config]
  as = ${o.asn}
  router-id = "${o.ip}"
[[neighbors]]
  [neighbors.config]
    neighbor-address = "${o.peer}"
    peer-as = ${o.peerAsn}
  [neighbors.timers.config]
    connect-retry = 5
    hold-time = 30
    keepalive-interval = 10
    idle-hold-time-after-reset = 2
`
}
