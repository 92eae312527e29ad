/**
 * kube-proxy's iptables mode on the real kernel: every fixture's bootstrap and restore text are loaded with both iptables
 * backends in a network namespace of its own, listed back, and a few connections are made through them.
 */
import { afterEach, beforeEach, expect, it } from '@jest/globals'
import { commandLine } from '../../src/proxy/commands.ts'
import { type IptablesState, iptablesMode } from '../../src/proxy/iptables/mode.ts'
import type { NodeProgram, ProxyVerb } from '../../src/proxy/types.ts'
import { splitArguments } from '../support/iptables-tracer.ts'
import { type CommandResult, describeKernel, inNetns, netnsAdd, netnsDel } from '../support/kernel.ts'
import { proxyFixture, proxyFixtures } from '../support/proxy-fixtures.ts'

type Backend = 'legacy' | 'nft'

const TIMEOUT_MS = 60_000
const NETNS = `kp-${process.pid}`
const BACKENDS: readonly Backend[] = ['legacy', 'nft']
const TOOLS = BACKENDS.flatMap((backend) =>
  ['iptables', 'ip6tables'].flatMap((tool) => ['', '-restore', '-save'].map((suffix) => `${tool}-${backend}${suffix}`)),
)
const FIXTURE_NAMES = proxyFixtures().map((fixture) => fixture.name)

describeKernel('kube-proxy iptables mode on the real kernel', [...TOOLS, 'sysctl'], () => {
  beforeEach(() => netnsAdd(NETNS))
  afterEach(() => netnsDel(NETNS))

  for (const backend of BACKENDS) {
    it.each(FIXTURE_NAMES)(
      `iptables-${backend} loads %s and lists every rule back in its chain`,
      (name) => {
        const program = iptablesMode.program(proxyFixture(name).input)
        apply(program, backend)
        expect(listed(program, backend)).toEqual(written(program))
      },
      TIMEOUT_MS,
    )

    it(
      `iptables-${backend} takes a partial sync and is left without stale chains`,
      () => {
        const { input } = proxyFixture('affinity')
        const [slice] = input.endpointSlices
        if (slice === undefined) throw new Error('fixture without a slice')
        const first = iptablesMode.program(input)
        apply(first, backend)
        const without = { ...input, endpointSlices: [{ ...slice, endpoints: slice.endpoints?.slice(1) }] }
        const second = iptablesMode.program(without, first)
        apply(second, backend)
        apply(iptablesMode.program({ ...input, services: [] }, second), backend)
        expect(save('iptables', backend)).not.toMatch(/KUBE-(SVC|SEP)-/)
      },
      TIMEOUT_MS,
    )

    it(
      `iptables-${backend} leaves the built-in chains in kube-proxy's order and does not jump twice`,
      () => {
        const { input } = proxyFixture('cluster-ip')
        const program = iptablesMode.program(input)
        apply(program, backend)
        apply(iptablesMode.program(input, program, { full: true }), backend)
        const rules = save('iptables', backend).split('\n')
        const targets = (chain: string): string[] =>
          rules.filter((rule) => rule.startsWith(`-A ${chain} `)).map((rule) => / -j (\S+)/.exec(rule)?.[1] ?? '')
        expect(targets('INPUT')).toEqual([
          'KUBE-FIREWALL',
          'KUBE-PROXY-FIREWALL',
          'KUBE-NODEPORTS',
          'KUBE-EXTERNAL-SERVICES',
        ])
        expect(targets('FORWARD')).toEqual([
          'KUBE-PROXY-FIREWALL',
          'KUBE-FORWARD',
          'KUBE-SERVICES',
          'KUBE-EXTERNAL-SERVICES',
        ])
        // filter, then nat: legacy and nft list the tables in different orders.
        expect(targets('OUTPUT').sort()).toEqual([
          'KUBE-FIREWALL',
          'KUBE-PROXY-FIREWALL',
          'KUBE-SERVICES',
          'KUBE-SERVICES',
        ])
      },
      TIMEOUT_MS,
    )

    it(
      `iptables-${backend}: connections from the node reach the endpoint by ClusterIP, NodePort and localhost`,
      () => {
        addNodeAddresses(['192.168.10.11/24', '10.244.1.5/32', 'fd00:10::11/64', 'fd00:244:0:1::5/128'])
        apply(iptablesMode.program(proxyFixture('dual-stack').input), backend)
        const targets = ['10.96.0.90:80', '192.168.10.11:30090', '127.0.0.1:30090', '[fd00:96::90]:80']
        expect(connect(['10.244.1.5', 'fd00:244:0:1::5'], 80, targets)).toEqual(
          targets.map((target) => `${target} ${target.startsWith('[') ? 'fd00:244:0:1::5' : '10.244.1.5'}`),
        )
      },
      TIMEOUT_MS,
    )

    it(
      `iptables-${backend}: a connection to a Service without endpoints is refused at once`,
      () => {
        addNodeAddresses(['192.168.10.11/24'])
        apply(iptablesMode.program(proxyFixture('no-endpoints').input), backend)
        expect(connect([], 0, ['10.96.0.70:80'])).toEqual(['10.96.0.70:80 ECONNREFUSED'])
      },
      TIMEOUT_MS,
    )
  }
})

/** Runs the verbs of a program; what a namespace may not change (nf_conntrack sysctls) is left out. */
function apply(program: NodeProgram<IptablesState>, backend: Backend): void {
  const ensures: string[] = []
  const flush = (): void => {
    if (ensures.length > 0) succeed(inNetns(NETNS, ['sh', '-e'], ensures.splice(0).join('\n')))
  }
  for (const verb of program.verbs) {
    if (verb.verb === 'sysctl' && verb.key.startsWith('net.netfilter.')) continue
    const { argv, check, stdin } = commandLine(verb)
    if (stdin !== undefined) {
      flush()
      succeed(inNetns(NETNS, onBackend(argv, backend), stdin))
    } else if (verb.verb === 'ensure-chain') {
      ensures.push(`${shell(onBackend(argv, backend))} 2>/dev/null || true`)
    } else {
      const guard = check === undefined ? '' : `${shell(onBackend(check, backend))} 2>/dev/null || `
      ensures.push(`${guard}${shell(onBackend(argv, backend))} >/dev/null`)
    }
  }
  flush()
}

/** What each chain should hold: the target of every rule of kube-proxy's own chains. */
function written(program: NodeProgram<IptablesState>): Record<string, string[]> {
  const chains: Record<string, string[]> = {}
  for (const verb of program.verbs) {
    if (verb.verb === 'iptables-restore') addTargets(chains, verb.family, verb.text)
  }
  return chains
}

/** The same of what the kernel lists. */
function listed(program: NodeProgram<IptablesState>, backend: Backend): Record<string, string[]> {
  const chains: Record<string, string[]> = {}
  const families = new Set(program.verbs.filter(isRestore).map((verb) => verb.family))
  for (const family of families) {
    addTargets(chains, family, save(family === 'IPv4' ? 'iptables' : 'ip6tables', backend))
  }
  return chains
}

function addTargets(chains: Record<string, string[]>, family: string, text: string): void {
  let table = ''
  for (const line of text.split('\n')) {
    if (line.startsWith('*')) table = line.slice(1)
    if (!line.startsWith('-A KUBE-')) continue
    const args = splitArguments(line)
    const value = (option: string): string => (args.includes(option) ? (args[args.indexOf(option) + 1] ?? '') : '')
    const key = `${family} ${table} ${args[1]}`
    const list = chains[key] ?? []
    chains[key] = list
    const address = value('-d').replace(/\/(32|128)$/, '')
    list.push([value('--comment'), address, value('--dport'), value('-j'), value('--to-destination')].join('|'))
  }
}

function isRestore(verb: ProxyVerb): verb is ProxyVerb & { verb: 'iptables-restore' } {
  return verb.verb === 'iptables-restore'
}

function save(tool: string, backend: Backend): string {
  return succeed(inNetns(NETNS, [`${tool}-${backend}-save`])).stdout
}

function onBackend(argv: readonly string[], backend: Backend): string[] {
  return argv.map((word, i) => (i === 0 ? word.replace(/^(ip6?tables)/, `$1-${backend}`) : word))
}

function shell(argv: readonly string[]): string {
  return argv.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ')
}

function succeed(result: CommandResult): CommandResult {
  expect({ status: result.status, stderr: result.stderr }).toEqual({ status: 0, stderr: '' })
  return result
}

/** A node with one link (its other end is in the namespace too) that holds its addresses and its default route. */
function addNodeAddresses(addresses: readonly string[]): void {
  const script = [
    'ip link set lo up',
    'ip link add node0 type veth peer name node0-end',
    'ip link set node0-end up',
    'ip link set node0 up',
    ...addresses.map((address) => `ip address add ${address} dev node0${address.includes(':') ? ' nodad' : ''}`),
    'ip route add default dev node0',
    ...(addresses.some((address) => address.includes(':')) ? ['ip -6 route add default dev node0'] : []),
  ]
  succeed(inNetns(NETNS, ['sh', '-e'], script.join('\n')))
}

/** Listens on `listen` and connects to every target: `target address-that-answered` or `target ERROR`. */
function connect(listen: readonly string[], port: number, targets: readonly string[]): string[] {
  const script = `
    const net = require('node:net')
    const [listen, port, targets] = JSON.parse(process.argv[1])
    const serve = (host) => new Promise((up) => {
      net.createServer((socket) => socket.end(socket.localAddress)).listen({ host, port, ipv6Only: host.includes(':') }, up)
    })
    const dial = (target) => new Promise((done) => {
      const [, host, p] = /^\\[?(.*?)\\]?:(\\d+)$/.exec(target)
      const socket = net.connect({ host, port: Number(p), timeout: 3000 })
      let text = ''
      socket.on('data', (data) => (text += data))
      socket.on('end', () => done(target + ' ' + text))
      socket.on('timeout', () => { socket.destroy(); done(target + ' TIMEOUT') })
      socket.on('error', (error) => done(target + ' ' + error.code))
    })
    ;(async () => {
      for (const host of listen) await serve(host)
      const out = []
      for (const target of targets) out.push(await dial(target))
      process.stdout.write(JSON.stringify(out))
      process.exit(0)
    })()`
  const result = inNetns(NETNS, [process.execPath, '-e', script, JSON.stringify([listen, port, targets])])
  return JSON.parse(succeed(result).stdout) as string[]
}
