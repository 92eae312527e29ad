/**
 * A namespace's listings as commands: what `ip` and `bridge` print, given back to the real ones.
 *
 * The far end of a veth pair stands in a second namespace; carriers, and what follows from them, are those of the
 * simulated one. Flags, queue discipline and state of links follow from asynchronous work of the kernel and are left out.
 */
import type { writeFileSync } from 'node:fs'
import type { Netns } from '../../src/linux/netns.ts'
import { execTool } from '../../src/linux/tools/exec.ts'

/** One namespace: what it prints, and how to make it. */
export interface NetnsText {
  readonly key: string
  readonly text: string
  /** The real tools' output in the form of `text`. */
  even(out: string): string
  /** Shell lines that make the namespace, print, and delete it again. */
  script(path: string, write: typeof writeFileSync, mark: string): string
}

/** Where the far ends of veth pairs are put. */
export const FAR_NETNS = 'dev-round-far'
let nextPeer = 0

const KINDS = ['loopback', 'veth', 'bridge', 'vxlan']
const LISTINGS: readonly (readonly string[])[] = [
  ['ip', '-d', '-o', 'link', 'show'],
  ['ip', '-o', '-4', 'addr', 'show'],
  ['ip', '-4', 'route', 'show', 'table', 'all'],
  ['ip', '-4', 'rule', 'show'],
  ['ip', '-4', 'neigh', 'show', 'nud', 'permanent'],
  ['bridge', 'fdb', 'show'],
]

function run(ns: Netns, argv: readonly string[]): string {
  return execTool(ns, argv).stdout
}

/** The listings without what depends on time and carriers. */
function even(out: string): string {
  return out
    .split('\n')
    .map((l) =>
      l
        .replace(/<[^>]*> /, '')
        .replace(/ qdisc \S+/, '')
        .replace(/ state [A-Z]+/, '')
        .replace(/ (linkdown|dead)\b/g, '')
        .replace(/\b(hello|tcn|topology_change|gc|hold|message_age)_timer +[\d.]+/g, '$1_timer 0')
        .replace(/ link-netns(id)? \S+/, '')
        .replace(/ state (disabled|forwarding|listening|learning) /, ' ')
        .replace(/@if\d+/, '@if')
        .replace(/ +$/, ''),
    )
    .filter(
      (l) =>
        l !== '' &&
        !/^[0-9a-f:]{17} dev \S+ master \S+$/.test(l) &&
        !/^(33:33|01:00:5e|01:80:c2)/.test(l) &&
        !/^\S*broadcast .*table local/.test(l),
    )
    .sort()
    .join('\n')
}

/** The namespace's texts, null when it has devices of kinds that this kernel may lack. */
export function roundTripNetns(ns: Netns): NetnsText | null {
  const details = run(ns, ['ip', '-d', '-o', 'link', 'show'])
  // a kernel without CONFIG_BRIDGE_VLAN_FILTERING shows no VLANs and makes no entries for them
  if (/ vlan_default_pvid /.test(details)) return null
  const commands: string[] = []
  const later: string[] = []
  for (const line of details.split('\n').filter((l) => l !== '')) {
    const name = /^\d+: ([^:@]+)/.exec(line)![1]!
    const index = /^(\d+):/.exec(line)![1]!
    const mac = /link\/\w+ (\S+)/.exec(line)![1]!
    const mtu = / mtu (\d+)/.exec(line)![1]!
    const kind = /\\ {4}(veth|bridge|vxlan|\w+) /.exec(line)?.[1] ?? 'loopback'
    if (!KINDS.includes(name === 'lo' ? 'loopback' : kind)) return null
    if (name !== 'lo') {
      const made = linkCommand(line, kind, name, index, mac, mtu)
      if (made === null) return null
      commands.push(made)
    }
    const master = / master (\S+)/.exec(line)?.[1]
    if (master !== undefined)
      later.push(`link set ${name} master ${master}`, `link set ${name} type bridge_slave ${slaveFlags(line)}`)
    // another namespace's macvlan or VLAN device made it promiscuous
    if (/ promiscuity (\d+)/.exec(line)?.[1] !== (master === undefined ? '0' : '1')) return null
    if (/<[^>]*\bUP\b/.test(line)) later.push(`link set ${name} up`)
  }
  const bridgeLines: string[] = []
  for (const line of run(ns, ['ip', '-o', '-4', 'addr', 'show']).split('\n')) {
    const m = /^\d+: (\S+) +inet (.*?)\\/.exec(line)
    if (m !== null && m[1] !== 'lo')
      later.push(`addr add ${m[2]!.replace(/ (\S+)$/, ' label $1').replace(/ secondary/, '')} dev ${m[1]}`)
    else if (m !== null && !m[2]!.startsWith('127.0.0.1/8')) later.push(`addr add ${m[2]!.replace(/ \S+$/, '')} dev lo`)
  }
  const routes = run(ns, ['ip', '-4', 'route', 'show', 'table', 'all']).replace(/\n\t/g, ' ').split('\n')
  // gateways must be on link when a route names them
  for (const line of [...routes.filter((l) => !/ via /.test(l)), ...routes.filter((l) => / via /.test(l))]) {
    if (line === '' || /proto kernel/.test(line)) continue
    later.push(`route append ${line.replace(/ (linkdown|dead)\b/g, '').trim()}`)
  }
  for (const line of run(ns, ['ip', '-4', 'rule', 'show']).split('\n')) {
    const m = /^(\d+):\s+(.*)$/.exec(line)
    if (m === null || ['0', '32766', '32767'].includes(m[1]!)) continue
    later.push(`rule add pref ${m[1]} ${m[2]!.trim()}`)
  }
  for (const line of run(ns, ['ip', '-4', 'neigh', 'show', 'nud', 'permanent']).split('\n')) {
    if (line !== '') later.push(`neigh add ${line.replace(/ PERMANENT *$/, ' nud permanent')}`)
  }
  for (const line of run(ns, ['bridge', 'fdb', 'show']).split('\n')) {
    // addresses of ports and bridges come by themselves
    if (/ self /.test(line)) bridgeLines.push(`fdb append ${line}`)
    else if (/ static/.test(line)) bridgeLines.push(`fdb replace ${line}`)
  }
  const text = even(LISTINGS.map((argv) => run(ns, argv)).join(''))
  const batch = `${[...commands, ...later].join('\n')}\n`
  return {
    key: `${batch}${bridgeLines.join('\n')}`,
    text,
    even,
    script(path, write, mark) {
      write(`${path}.ip`, batch)
      write(`${path}.bridge`, `${bridgeLines.join('\n')}\n`)
      const inside = [
        'ip link set lo up 2>&1',
        `ip -force -batch ${path}.ip 2>&1`,
        ...(bridgeLines.length > 0 ? [`bridge -force -batch ${path}.bridge 2>&1`] : []),
        ...LISTINGS.map((argv) => argv.join(' ')),
        `echo '${mark}'`,
      ]
      write(
        `${path}.sh`,
        `sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1\n${inside.join('\n')}\n`,
      )
      return `unshare -n sh ${path}.sh`
    },
  }
}

const SLAVE_FLAGS = [
  'hairpin',
  'guard',
  'root_block',
  'fastleave',
  'learning',
  'flood',
  'mcast_flood',
  'bcast_flood',
  'isolated',
]

/** The flags of a port as `ip link set ... type bridge_slave` takes them. */
function slaveFlags(line: string): string {
  return SLAVE_FLAGS.map((f) => `${f} ${new RegExp(` ${f} (on|off)`).exec(line)?.[1] ?? 'off'}`).join(' ')
}

/** `ip link add` of one line of the listing; a veth's far end stands beside it, without address. */
function linkCommand(line: string, kind: string, name: string, index: string, mac: string, mtu: string): string | null {
  const head = `link add name ${name} index ${index} address ${mac} mtu ${mtu} type ${kind}`
  // both ends here: made with the first one, whose name the second then has already
  if (kind === 'veth' && !/^\d+: \S+@if\d+:/.test(line)) return null
  if (kind === 'veth') return `${head} peer name r${nextPeer++} mtu ${mtu} netns ${FAR_NETNS}`
  if (kind === 'bridge') {
    const m = /forward_delay (\d+) hello_time (\d+) max_age (\d+) ageing_time (\d+) stp_state (\d)/.exec(line)!
    const rest = ['mcast_snooping', 'nf_call_iptables', 'group_fwd_mask']
      .map((k) => `${k} ${new RegExp(` ${k} (\\S+)`).exec(line)?.[1] ?? '0'}`)
      .join(' ')
    return `${head} forward_delay ${m[1]} hello_time ${m[2]} max_age ${m[3]} ageing_time ${m[4]} stp_state ${m[5]} ${rest}`
  }
  const words = /\\ {4}vxlan (.*?) (?:addrgenmode|\\)/.exec(line)?.[1] ?? ''
  return `${head} ${words.replace(/ageing (\d+)/, 'ageing $1').replace(/noudp6zerocsum[tr]x ?/g, '')}`
}
