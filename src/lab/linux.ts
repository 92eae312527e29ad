/**
 * `--backend linux`: the same scenario on the real kernel, by the recorder that ships with podwalk.
 *
 * The recorder is a Python program (packet rings, setns and socket options are not reachable from Node): it makes
 * namespaces with a prefix of its own process, runs the scenario, deletes them and prints the result as JSON. It needs
 * Linux, root and the tools below; what is missing is said exactly. A `nft` scenario needs nft as well.
 */
import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { LabError, type LabResult, type LabScenario } from './scenario.ts'

/** The real kernel cannot be asked: exit code 5. */
export class LinuxBackendError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'LinuxBackendError'
  }
}

const ALWAYS = ['python3', 'ip', 'bridge', 'ethtool']
const SEARCH_PATH = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin', '/usr/bin', '/bin'].filter(
  (d) => d !== '',
)
const TIMEOUT_MS = 600_000
const MAX_OUTPUT_BYTES = 512 * 1024 * 1024
/** Packages that hold the tools, as Debian names them. */
const PACKAGES: { readonly [tool: string]: string } = {
  ip: 'iproute2',
  bridge: 'iproute2',
  'iptables-legacy-restore': 'iptables',
  'iptables-nft-restore': 'iptables',
  'ip6tables-legacy-restore': 'iptables',
  'ip6tables-nft-restore': 'iptables',
  nft: 'nftables',
}

function hasTool(tool: string): boolean {
  return SEARCH_PATH.some((dir) => {
    try {
      accessSync(join(dir, tool), constants.X_OK)
      return true
    } catch {
      // Not in this directory.
      return false
    }
  })
}

/** Tools that the scenario needs beside the recorder's own. */
function toolsFor(scenario: LabScenario): string[] {
  const tools = [...ALWAYS]
  const states = (scenario.state ?? []).map((q) => q.kind)
  const ops = scenario.steps.map((s) => s.op)
  if (Object.keys(scenario.iptables ?? {}).length > 0 || states.includes('iptables') || ops.includes('iptables')) {
    tools.push(`iptables-${scenario.backend ?? 'legacy'}-restore`)
  }
  if (Object.keys(scenario.ip6tables ?? {}).length > 0 || states.includes('ip6tables') || ops.includes('ip6tables')) {
    tools.push(`ip6tables-${scenario.backend ?? 'legacy'}-restore`)
  }
  if (Object.keys(scenario.ipset ?? {}).length > 0) tools.push('ipset')
  if (Object.keys(scenario.nft ?? {}).length > 0) tools.push('nft')
  if (states.includes('conntrack')) tools.push('conntrack')
  if (Object.keys(scenario.ipvs ?? {}).length > 0 || states.includes('ipvs')) tools.push('ipvsadm')
  return tools
}

/** Why the scenario cannot run on this machine's kernel, null when it can. */
export function linuxBackendReason(scenario: LabScenario): string | null {
  if (process.platform !== 'linux') return `needs Linux, this is ${process.platform}`
  const missing = toolsFor(scenario).filter((t) => !hasTool(t))
  const reasons: string[] = []
  if (process.getuid?.() !== 0) reasons.push('needs root (network namespaces)')
  if (missing.length > 0) {
    reasons.push(
      `needs ${missing.map((t) => (PACKAGES[t] === undefined ? t : `${t} (package ${PACKAGES[t]})`)).join(', ')} on PATH`,
    )
  }
  return reasons.length === 0 ? null : reasons.join('; ')
}

/** Environment of the recorders: sbin is on their PATH. */
export const TOOL_ENV: NodeJS.ProcessEnv = { ...process.env, PATH: SEARCH_PATH.join(delimiter) }

/** The recorders stay in the source tree: found from the package root, built or not. */
export function recorderFile(name = 'recorder.py'): string {
  let dir = fileURLToPath(new URL('.', import.meta.url))
  for (;;) {
    const file = join(dir, 'src', 'lab', 'linux', name)
    if (existsSync(file)) return file
    const up = join(dir, '..')
    if (up === dir) throw new LinuxBackendError(`src/lab/linux/${name} is missing from the installation`)
    dir = up
  }
}

/** Programs that a step may run as root: the tools of the lab, nothing that starts another program. */
const COMMANDS = new Set([
  ...['ip', 'bridge', 'sysctl', 'ethtool', 'ipset', 'conntrack', 'nft', 'ipvsadm', 'ping'],
  ...['iptables', 'iptables-legacy', 'iptables-nft', 'iptables-save', 'iptables-restore'],
  ...['ip6tables', 'ip6tables-legacy', 'ip6tables-nft', 'ip6tables-save', 'ip6tables-restore'],
  ...['ip6tables-legacy-save', 'ip6tables-legacy-restore', 'ip6tables-nft-save', 'ip6tables-nft-restore'],
  ...['iptables-legacy-save', 'iptables-legacy-restore', 'iptables-nft-save', 'iptables-nft-restore'],
])

/** Settings of a network namespace; all others are the whole machine's. */
const NET_KEY = /^net[./][^=]*(?:=.*)?$/

/** Refuses a scenario whose commands are not of the lab's own tools; `ip netns exec` would start anything. */
export function checkCommands(scenario: LabScenario): void {
  for (const key of Object.values(scenario.sysctl ?? {}).flatMap((kv) => Object.keys(kv))) {
    if (!NET_KEY.test(key) || key.includes('..'))
      throw new LabError(`the linux backend does not write ${key}: only net.* may be set`)
  }
  const asked = [
    ...scenario.steps.filter((s) => s.op === 'cmd'),
    ...(scenario.state ?? []).filter((q) => q.kind === 'cmd'),
  ]
  for (const { argv } of asked) {
    const program = argv?.[0] ?? ''
    const starts =
      program === 'ip' && argv!.some((w) => w.startsWith('net')) && argv!.some((w) => 'exec'.startsWith(w) && w !== '')
    const vrf = program === 'ip' && argv!.includes('vrf')
    const outside = program === 'sysctl' && argv!.slice(1).some((w) => !w.startsWith('-') && !NET_KEY.test(w))
    if (!COMMANDS.has(program) || starts || vrf || outside) {
      throw new LabError(
        `the linux backend does not run ${JSON.stringify(argv?.join(' ') ?? '')}: ${[...COMMANDS].join(', ')} may be run`,
      )
    }
  }
}

/** Runs a scenario on the real kernel. */
export function runOnLinux(scenario: LabScenario): LabResult {
  checkCommands(scenario)
  const reason = linuxBackendReason(scenario)
  if (reason !== null) throw new LinuxBackendError(`the linux backend ${reason}`)
  const done = spawnSync('python3', [recorderFile()], {
    input: JSON.stringify(scenario),
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
    maxBuffer: MAX_OUTPUT_BYTES,
    env: TOOL_ENV,
  })
  if (done.error !== undefined) throw new LinuxBackendError(`the recorder could not run: ${done.error.message}`)
  if (done.status !== 0) {
    const said = done.stderr.trim().split('\n').at(-1) ?? ''
    if (done.status === 3) throw new LabError(said)
    throw new LinuxBackendError(`the recorder failed with status ${done.status}: ${said}`)
  }
  return JSON.parse(done.stdout) as LabResult
}
