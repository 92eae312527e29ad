/**
 * Sees to the system packages that some test suites need; `npm test` calls it first.
 *
 * As root on a Debian-like system it installs what is missing; elsewhere it says what to install and which suites will
 * be skipped. Exits 0, except with CI=true and something still missing: 1 (there a skipped suite is a failure).
 * Plain Node, no dependency; when nothing is missing it only looks into PATH's directories.
 */
import { spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

/** A command, the Debian package that has it, and the suites that skip without it. */
const NEEDS = [
  { command: 'ip', package: 'iproute2', suites: 'all of test/kernel' },
  { command: 'bridge', package: 'iproute2', suites: 'the kernel lab: bridges, forwarding database' },
  { command: 'iptables', package: 'iptables', suites: 'netfilter, kube-proxy iptables' },
  { command: 'iptables-restore', package: 'iptables', suites: 'netfilter, kube-proxy iptables' },
  { command: 'ipset', package: 'ipset', suites: 'ipset, network policy' },
  { command: 'nft', package: 'nftables', suites: 'nftables, kube-proxy nftables' },
  { command: 'conntrack', package: 'conntrack', suites: 'the kernel lab: conntrack state' },
  { command: 'ethtool', package: 'ethtool', suites: 'the kernel lab: offloads off' },
  { command: 'tshark', package: 'tshark', suites: 'pcapng' },
  { command: 'python3', package: 'python3', suites: 'the kernel lab recorder' },
  { command: 'bird', package: 'bird2', suites: 'BGP with real routers' },
  { command: 'vtysh', package: 'frr', suites: 'BGP with real routers' },
  { command: 'gobgpd', package: 'gobgpd', suites: 'BGP with real routers' },
  { command: 'ping', package: 'iputils-ping', suites: 'the kernel lab: echo' },
]

const APT_TIMEOUT_MS = 10 * 60_000
/** sbin is where most of these live, and it is not on every user's PATH. */
const DIRECTORIES = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'].filter((d) => d !== '')

function hasCommand(command) {
  return DIRECTORIES.some((directory) => {
    try {
      accessSync(join(directory, command), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

function missingNeeds() {
  return NEEDS.filter((need) => !hasCommand(need.command))
}

function packagesOf(needs) {
  return [...new Set(needs.map((need) => need.package))]
}

function apt(args) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  return spawnSync('apt-get', ['-qq', ...args], { env, encoding: 'utf8', timeout: APT_TIMEOUT_MS })
}

/** Installs with the package lists at hand, and only when that fails fetches new lists. Returns apt's last complaint. */
function install(packages) {
  const args = ['install', '-y', '--no-install-recommends', ...packages]
  let done = apt(args)
  if (done.status === 0) return ''
  const update = apt(['update'])
  if (update.status === 0) done = apt(args)
  const text = done.status === 0 ? '' : `${update.status === 0 ? '' : update.stderr}${done.stderr ?? ''}`
  return text.trim().split('\n').slice(-3).join('\n')
}

function main() {
  let missing = missingNeeds()
  if (missing.length === 0) return 0
  const isRoot = process.platform === 'linux' && process.getuid?.() === 0
  if (isRoot && hasCommand('apt-get')) {
    console.error(`system packages: installing ${packagesOf(missing).join(' ')}`)
    const complaint = install(packagesOf(missing))
    if (complaint !== '') console.error(complaint)
    missing = missingNeeds()
    if (missing.length === 0) return 0
  }
  if (process.platform === 'linux') {
    console.error(
      `system packages: missing. On Debian or Ubuntu: sudo apt-get install ${packagesOf(missing).join(' ')}`,
    )
  } else {
    console.error(`system packages: suites that ask the real kernel need Linux, this is ${process.platform}.`)
  }
  console.error('Without them these suites are skipped (with CI=true they fail):')
  for (const need of missing) console.error(`  ${need.command.padEnd(17)} ${need.suites}`)
  return process.env.CI === 'true' ? 1 : 0
}

process.exitCode = main()
