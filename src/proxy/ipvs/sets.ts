/**
 * The ipsets of kube-proxy's IPVS mode: names, types, comments, and the entries of one sync.
 *
 * A fixed number of iptables rules match these sets, whatever the Services are. IPv6 sets are named KUBE-6-..., cut to
 * ipset's 31 characters.
 *
 * Sources: pkg/proxy/ipvs/ipset.go, pkg/proxy/ipvs/ipset/ipset.go (createSet, Entry.String), ipvs/proxier.go (ipsetInfo).
 */
import type { IpFamily } from '../types.ts'

/** How a set's key is made up. */
export type SetType = 'hash:ip,port,ip' | 'hash:ip,port' | 'hash:ip,port,net' | 'hash:ip' | 'bitmap:port'

const LONGEST_NAME = 31

/** Every set, in the order kube-proxy makes them, with the comment its rules carry. */
export const SETS = {
  'KUBE-LOOP-BACK': ['hash:ip,port,ip', 'Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose'],
  'KUBE-CLUSTER-IP': ['hash:ip,port', 'Kubernetes service cluster ip + port for masquerade purpose'],
  'KUBE-EXTERNAL-IP': ['hash:ip,port', 'Kubernetes service external ip + port for masquerade and filter purpose'],
  'KUBE-EXTERNAL-IP-LOCAL': ['hash:ip,port', 'Kubernetes service external ip + port with externalTrafficPolicy=local'],
  'KUBE-LOAD-BALANCER': ['hash:ip,port', 'Kubernetes service lb portal'],
  'KUBE-LOAD-BALANCER-FW': [
    'hash:ip,port',
    'Kubernetes service load balancer ip + port for load balancer with sourceRange',
  ],
  'KUBE-LOAD-BALANCER-LOCAL': [
    'hash:ip,port',
    'Kubernetes service load balancer ip + port with externalTrafficPolicy=local',
  ],
  'KUBE-LOAD-BALANCER-SOURCE-IP': [
    'hash:ip,port,ip',
    'Kubernetes service load balancer ip + port + source IP for packet filter purpose',
  ],
  'KUBE-LOAD-BALANCER-SOURCE-CIDR': [
    'hash:ip,port,net',
    'Kubernetes service load balancer ip + port + source cidr for packet filter purpose',
  ],
  'KUBE-NODE-PORT-TCP': ['bitmap:port', 'Kubernetes nodeport TCP port for masquerade purpose'],
  'KUBE-NODE-PORT-LOCAL-TCP': ['bitmap:port', 'Kubernetes nodeport TCP port with externalTrafficPolicy=local'],
  'KUBE-NODE-PORT-UDP': ['bitmap:port', 'Kubernetes nodeport UDP port for masquerade purpose'],
  'KUBE-NODE-PORT-LOCAL-UDP': ['bitmap:port', 'Kubernetes nodeport UDP port with externalTrafficPolicy=local'],
  'KUBE-NODE-PORT-SCTP-HASH': [
    'hash:ip,port',
    "Kubernetes nodeport SCTP port for masquerade purpose with type 'hash ip:port'",
  ],
  'KUBE-NODE-PORT-LOCAL-SCTP-HASH': [
    'hash:ip,port',
    "Kubernetes nodeport SCTP port with externalTrafficPolicy=local with type 'hash ip:port'",
  ],
  'KUBE-HEALTH-CHECK-NODE-PORT': ['bitmap:port', 'Kubernetes health check node port'],
  'KUBE-IPVS-IPS': ['hash:ip', 'Addresses on the ipvs interface'],
} as const satisfies { readonly [name: string]: readonly [SetType, string] }

/** The IPv4 name of one of the sets. */
export type SetName = keyof typeof SETS

/** Every set's name. */
export const SET_NAMES = Object.keys(SETS) as readonly SetName[]

/** Entries by set, as `ipset add` takes them. */
export type SetEntries = ReadonlyMap<SetName, ReadonlySet<string>>

/** The name a set has for a family. */
export function setNameOf(name: SetName, family: IpFamily): string {
  return family === 'IPv4' ? name : name.replace('KUBE-', 'KUBE-6-').slice(0, LONGEST_NAME)
}

/** The line of `ipset restore` that makes the set. */
export function createLine(name: SetName, family: IpFamily): string {
  const [type] = SETS[name]
  const shape =
    type === 'bitmap:port'
      ? 'range 0-65535'
      : `family ${family === 'IPv4' ? 'inet' : 'inet6'} hashsize 1024 maxelem 65536`
  return `create ${setNameOf(name, family)} ${type} ${shape}`
}

/** A `/0` net cannot be stored: `ipset add` refuses it, and kube-proxy logs that and goes on. */
export function isRefusedEntry(name: SetName, entry: string): boolean {
  return SETS[name][0] === 'hash:ip,port,net' && entry.endsWith('/0')
}

/** Empty sets. */
export function emptySets(): Map<SetName, Set<string>> {
  return new Map(SET_NAMES.map((name) => [name, new Set<string>()]))
}
