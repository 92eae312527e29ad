/**
 * kube-proxy's IPVS mode: objects in, the commands that do what kube-proxy does on one node out.
 *
 * kube-proxy speaks netlink to IPVS and to links; the program says the same with `ipvsadm` and `ip`. ipset and
 * iptables-restore are kube-proxy's own commands, the restore text byte for byte.
 *
 * Not modelled: see features.ts.
 *
 * Source: pkg/proxy/ipvs/proxier.go as of 1.34 (deprecated since 1.35).
 */
import { afterSync } from '../after-sync.ts'
import { ipFamilies } from '../families.ts'
import type { ProxyMode, SyncOptions } from '../mode.ts'
import { conntrackSysctls } from '../start.ts'
import type { IpFamily, NodeProgram, ProxyConfig, ProxyInput, ProxyVerb, RuleOrigin } from '../types.ts'
import { IPVS_FEATURES } from './features.ts'
import { deleteTerminated, serverSync } from './servers.ts'
import { type IpvsFamilyState, syncIpvsFamily } from './sync.ts'

/** What the IPVS mode remembers between syncs, by family. */
export type IpvsState = ReadonlyMap<IpFamily, IpvsFamilyState>

/** The IPVS mode. */
export const ipvsMode = {
  name: 'ipvs',
  features: IPVS_FEATURES,
  program,
  tick,
} satisfies ProxyMode<IpvsState>

function program(
  input: ProxyInput,
  previous?: NodeProgram<IpvsState>,
  options: SyncOptions = {},
): NodeProgram<IpvsState> {
  const isStart = previous === undefined || options.restart === true
  const verbs: ProxyVerb[] = isStart ? [...conntrackSysctls(input), ...startVerbs(input.config)] : []
  const lookups = new Map<string, RuleOrigin>()
  const state = new Map<IpFamily, IpvsFamilyState>()
  let hasDevice = previous !== undefined
  for (const family of ipFamilies(input)) {
    const sync = syncIpvsFamily(input, family, previous?.state.get(family), options, lookups)
    for (const verb of sync.verbs) {
      const isDevice = verb.verb === 'ip' && verb.args[0] === 'link'
      if (!isDevice || !hasDevice) verbs.push(verb)
      hasDevice ||= isDevice
    }
    state.set(family, sync.state)
  }
  return { verbs, origins: new Map(), lookups, state, ...afterSync(input, previous?.state, state) }
}

/** Once a minute: terminating real servers without connections are deleted. */
function tick(previous: NodeProgram<IpvsState>, options: SyncOptions = {}): NodeProgram<IpvsState> {
  const verbs: ProxyVerb[] = []
  const state = new Map(previous.state)
  for (const [family, before] of previous.state) {
    const sync = serverSync(before.servers, before.terminating, false, options)
    deleteTerminated(sync)
    if (sync.lines.length > 0) verbs.push({ verb: 'ipvs', family, text: `${sync.lines.join('\n')}\n` })
    state.set(family, { ...before, servers: sync.servers, terminating: sync.terminating })
  }
  return { ...previous, verbs, state, conntrack: [] }
}

/** conn_reuse_mode stays as it is on kernels from 5.9 on. */
function startVerbs(config: ProxyConfig): ProxyVerb[] {
  const sysctl = (key: string, value: number): ProxyVerb => ({ verb: 'sysctl', key, value: String(value) })
  const { tcp, tcpFin, udp } = config.ipvsTimeouts ?? { tcp: 0, tcpFin: 0, udp: 0 }
  return [
    sysctl('net.ipv4.vs.conntrack', 1),
    sysctl('net.ipv4.vs.expire_nodest_conn', 1),
    sysctl('net.ipv4.vs.expire_quiescent_template', 1),
    sysctl('net.ipv4.ip_forward', 1),
    ...((config.strictArp ?? false)
      ? [sysctl('net.ipv4.conf.all.arp_ignore', 1), sysctl('net.ipv4.conf.all.arp_announce', 2)]
      : []),
    ...(tcp > 0 || tcpFin > 0 || udp > 0
      ? [{ verb: 'ipvs' as const, family: 'IPv4' as const, text: `--set ${tcp} ${tcpFin} ${udp}\n` }]
      : []),
  ]
}
