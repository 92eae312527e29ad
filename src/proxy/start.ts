/**
 * The sysctls kube-proxy sets when it starts, whatever its mode: the size of the conntrack table and its TCP timeouts.
 *
 * Not modelled: the conntrack hash table's size (a module parameter, not a sysctl).
 *
 * Source: cmd/kube-proxy/app/server_linux.go (setupConntrack), cmd/kube-proxy/app/conntrack.go.
 */
import type { ProxyInput, ProxyVerb } from './types.ts'

const CONNTRACK_MAX_PER_CORE = 32768
const CONNTRACK_MAX_FLOOR = 131072
const DEFAULT_CPU_CORES = 4

/** The conntrack sysctls. */
export function conntrackSysctls({ config }: ProxyInput): ProxyVerb[] {
  const max = Math.max(CONNTRACK_MAX_PER_CORE * (config.cpuCores ?? DEFAULT_CPU_CORES), CONNTRACK_MAX_FLOOR)
  const sysctl = (key: string, value: number): ProxyVerb => ({
    verb: 'sysctl',
    key: `net.netfilter.${key}`,
    value: String(value),
  })
  return [
    sysctl('nf_conntrack_max', max),
    sysctl('nf_conntrack_tcp_timeout_established', 86400),
    sysctl('nf_conntrack_tcp_timeout_close_wait', 3600),
    ...((config.tcpBeLiberal ?? false) ? [sysctl('nf_conntrack_tcp_be_liberal', 1)] : []),
  ]
}
