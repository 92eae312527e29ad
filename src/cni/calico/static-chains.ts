/**
 * Felix's fixed chains: where the kernel's chains hand packets over, before any endpoint or policy is known.
 *
 * Real thing: felix/rules/{static,nat}.go, IPv4, iptables. Names and order are Felix's; what a cluster does not use
 * (IPIP, VXLAN, kube-proxy in IPVS mode) is left out as Felix leaves it out.
 * Not modelled: WireGuard's and OpenStack's rules, flow logs, DSCP, the BPF data plane's raw chains.
 */
import type { FailsafePort, FelixConfig } from './felix-config.ts'
import { all, type FelixChain, type FelixRule, type FelixTable, ipSetName } from './text.ts'
import type { CalicoVersion } from './version.ts'

/** What the fixed chains depend on. */
export interface StaticInput {
  readonly version: CalicoVersion
  readonly config: FelixConfig
  readonly ipip: boolean
  readonly vxlan: boolean
  /** Tunnel devices of the node that have an address. */
  readonly tunnelDevices: readonly string[]
  /** kube-proxy runs in IPVS mode (Felix sees kube-ipvs0). */
  readonly kubeIpvs: boolean
  readonly nodePortRange: readonly [number, number]
  /** A pool of the cluster asks for natOutgoing. */
  readonly natOutgoing: boolean
  /** CIDRs that BGP announces for Services: a packet that comes back for them loops. */
  readonly blockedCidrs: readonly string[]
}

/** `0x10000` as Go prints %#x. */
export function hex(mark: number): string {
  return `0x${(mark >>> 0).toString(16)}`
}

export function markClear(mark: number): string {
  return `-m mark --mark 0/${hex(mark)}`
}

export function markSet(mark: number): string {
  return `-m mark --mark ${hex(mark)}/${hex(mark)}`
}

export function markNotClear(mark: number): string {
  return `-m mark ! --mark 0/${hex(mark)}`
}

export function setMark(mark: number): string {
  return `--jump MARK --set-mark ${hex(mark)}/${hex(mark)}`
}

export function setMaskedMark(mark: number, mask: number): string {
  return `--jump MARK --set-mark ${hex(mark)}/${hex(mask)}`
}

export function clearMark(mark: number): string {
  return `--jump MARK --set-mark 0/${hex(mark)}`
}

export function jump(target: string): string {
  return `--jump ${target}`
}

export function goTo(target: string): string {
  return `--goto ${target}`
}

/** Deny as the configuration says, and as comments name it. */
export function denyWord(config: FelixConfig): string {
  return config.filterDenyAction === 'REJECT' ? 'Reject' : 'Drop'
}

const MASQUERADE = '--jump MASQUERADE --random-fully'
const FROM_LOCAL = '-m addrtype --src-type LOCAL'
const TO_LOCAL = '-m addrtype --dst-type LOCAL'
const ESTABLISHED = '-m conntrack --ctstate RELATED,ESTABLISHED'
const HEP_ACCEPTED = ['Host endpoint policy accepted packet.']

function allBits({ version: { marks } }: StaticInput): number {
  return marks.accept | marks.pass | marks.scratch0 | marks.scratch1
}

/** The fixed chains of all tables, to be completed with those of endpoints and policies. */
export function staticTables(s: StaticInput): FelixTable[] {
  const hook = (chain: string): FelixChain => ({ name: chain, rules: [{ action: jump(`cali-${chain}`) }] })
  const place = (chains: string[]): Pick<FelixTable, 'inserts' | 'appends'> =>
    s.config.chainInsertMode === 'append'
      ? { inserts: [], appends: chains.map(hook) }
      : { inserts: chains.map(hook), appends: [] }
  const filter = place(['INPUT', 'FORWARD', 'OUTPUT'])
  const nat = s.version.appendsPostrouting
    ? ((p) => ({ ...p, appends: [...p.appends, hook('POSTROUTING')] }))(place(['PREROUTING', 'OUTPUT']))
    : place(['PREROUTING', 'OUTPUT', 'POSTROUTING'])
  return [
    { name: 'raw', chains: rawChains(s), ...place(['PREROUTING', 'OUTPUT']) },
    { name: 'mangle', chains: mangleChains(s), ...place(['PREROUTING', 'POSTROUTING']) },
    { name: 'nat', chains: natChains(s), ...nat },
    { name: 'filter', chains: filterChains(s), inserts: filter.inserts, appends: forwardAppends(s, filter.appends) },
  ]
}

/** The two rules behind FORWARD's others: accept what policy accepted, and say that the packet was forwarded. */
function forwardAppends(s: StaticInput, appends: readonly FelixChain[]): FelixChain[] {
  const { accept } = s.version.marks
  const rules: FelixRule[] = [
    {
      match: markSet(accept),
      action: jump(s.config.filterAllowAction),
      comments: ['Policy explicitly accepted packet.'],
    },
    { action: setMark(accept) },
  ]
  const own = appends.find((c) => c.name === 'FORWARD')
  return [...appends.filter((c) => c.name !== 'FORWARD'), { name: 'FORWARD', rules: [...(own?.rules ?? []), ...rules] }]
}

function filterChains(s: StaticInput): FelixChain[] {
  return [
    forwardChain(s),
    inputChain(s),
    workloadToHostChain(s),
    { name: 'cali-failsafe-in', rules: failsafe(s.config.failsafeIn, [], 'source') },
    ...(s.kubeIpvs ? [forwardCheckChain(s), forwardEndpointMarkChain(s)] : []),
    outputChain(s),
    { name: 'cali-failsafe-out', rules: failsafe(s.config.failsafeOut, [], 'destination') },
    { name: 'cali-cidr-block', rules: cidrBlockRules(s) },
  ]
}

function inputChain(s: StaticInput): FelixChain {
  const { accept, endpointMask } = s.version.marks
  const allow = jump(s.config.filterAllowAction)
  const vxlan = `-p 17 -m multiport --destination-ports ${s.config.vxlanPort}`
  const rules: FelixRule[] = []
  if (s.ipip) {
    const hosts = `-m set --match-set ${ipSetName('all-hosts-net')} src`
    rules.push(
      { match: all('-p 4', hosts, TO_LOCAL), action: allow, comments: ['Allow IPIP packets from Calico hosts'] },
      {
        match: '-p 4',
        action: jump(s.config.filterDenyAction),
        comments: [`${denyWord(s.config)} IPIP packets from non-Calico hosts`],
      },
    )
  }
  if (s.vxlan) {
    const hosts = `-m set --match-set ${ipSetName('all-vxlan-net')} src`
    rules.push(
      { match: all(vxlan, hosts, TO_LOCAL), action: allow, comments: ['Allow IPv4 VXLAN packets from allowed hosts'] },
      {
        match: all(vxlan, TO_LOCAL),
        action: jump('DROP'),
        comments: ['Drop IPv4 VXLAN packets from non-allowed hosts'],
      },
    )
  }
  if (s.kubeIpvs) {
    rules.push(
      { action: clearMark(endpointMask) },
      { action: jump('cali-forward-check') },
      { match: markNotClear(endpointMask), action: jump('RETURN') },
    )
  }
  rules.push(
    { match: `--in-interface ${s.config.interfacePrefix}+`, action: goTo('cali-wl-to-host') },
    { match: markSet(accept), action: allow },
    { action: clearMark(allBits(s)) },
    { action: jump('cali-from-host-endpoint') },
    { match: markSet(accept), action: allow, comments: HEP_ACCEPTED },
  )
  return { name: 'cali-INPUT', rules }
}

function workloadToHostChain(s: StaticInput): FelixChain {
  const rules: FelixRule[] = [
    { action: jump('cali-from-wl-dispatch') },
    { action: jump(s.config.endpointToHostAction), comments: ['Configured DefaultEndpointToHostAction'] },
  ]
  return { name: 'cali-wl-to-host', rules }
}

function forwardChain(s: StaticInput): FelixChain {
  const { accept } = s.version.marks
  const workloads = `${s.config.interfacePrefix}+`
  const rules: FelixRule[] = [
    { action: clearMark(allBits(s) & ~accept) },
    { match: markClear(accept), action: jump('cali-from-hep-forward') },
    { match: `--in-interface ${workloads}`, action: jump('cali-from-wl-dispatch') },
    { match: `--out-interface ${workloads}`, action: jump('cali-to-wl-dispatch') },
    { action: jump('cali-to-hep-forward') },
    { action: jump('cali-cidr-block') },
  ]
  return { name: 'cali-FORWARD', rules }
}

function outputChain(s: StaticInput): FelixChain {
  const { accept, endpointMask } = s.version.marks
  const allow = jump(s.config.filterAllowAction)
  const rules: FelixRule[] = [{ match: markSet(accept), action: allow }]
  if (s.kubeIpvs) rules.push({ match: markNotClear(endpointMask), action: goTo('cali-forward-endpoint-mark') })
  rules.push({ match: `--out-interface ${s.config.interfacePrefix}+`, action: jump('RETURN') })
  if (s.ipip) {
    rules.push({
      match: all('-p 4', `-m set --match-set ${ipSetName('all-hosts-net')} dst`, FROM_LOCAL),
      action: allow,
      comments: ['Allow IPIP packets to other Calico hosts'],
    })
  }
  if (s.vxlan) {
    const port = `-p 17 -m multiport --destination-ports ${s.config.vxlanPort}`
    rules.push({
      match: all(port, FROM_LOCAL, `-m set --match-set ${ipSetName('all-vxlan-net')} dst`),
      action: allow,
      comments: ['Allow IPv4 VXLAN packets to other allowed hosts'],
    })
  }
  rules.push(
    { action: clearMark(allBits(s)) },
    { match: '-m conntrack ! --ctstate DNAT', action: jump('cali-to-host-endpoint') },
    { match: markSet(accept), action: allow, comments: HEP_ACCEPTED },
  )
  return { name: 'cali-OUTPUT', rules }
}

/** Is a packet that reaches INPUT forwarded by IPVS? */
function forwardCheckChain(s: StaticInput): FelixChain {
  const hosts = ipSetName('this-host')
  const [low, high] = s.nodePortRange
  const nodePort = (protocol: string): FelixRule => ({
    match: all(`-p ${protocol}`, `-m multiport --destination-ports ${low}:${high}`, `-m set --match-set ${hosts} dst`),
    action: goTo('cali-set-endpoint-mark'),
    comments: ['To kubernetes NodePort service'],
  })
  const rules: FelixRule[] = [
    { match: ESTABLISHED, action: jump('RETURN') },
    nodePort('tcp'),
    nodePort('udp'),
    {
      match: `-m set ! --match-set ${hosts} dst`,
      action: jump('cali-set-endpoint-mark'),
      comments: ['To kubernetes service'],
    },
  ]
  return { name: 'cali-forward-check', rules }
}

function forwardEndpointMarkChain(s: StaticInput): FelixChain {
  const { accept, endpointMask, nonCaliEndpoint } = s.version.marks
  const rules: FelixRule[] = [
    {
      match: `-m mark ! --mark ${hex(nonCaliEndpoint)}/${hex(endpointMask)}`,
      action: jump('cali-from-endpoint-mark'),
    },
    { match: `--out-interface ${s.config.interfacePrefix}+`, action: jump('cali-to-wl-dispatch') },
    { action: jump('cali-to-hep-forward') },
    { action: clearMark(endpointMask) },
    {
      match: markSet(accept),
      action: jump(s.config.filterAllowAction),
      comments: ['Policy explicitly accepted packet.'],
    },
  ]
  return { name: 'cali-forward-endpoint-mark', rules }
}

/** Failsafe ports; in the raw table also the replies (`others`, by source port), since there is no conntrack yet. */
function failsafe(
  own: readonly FailsafePort[],
  others: readonly FailsafePort[],
  side: 'source' | 'destination',
): FelixRule[] {
  const rule = (p: FailsafePort, ports: string, net: string): FelixRule => ({
    match: all(`-p ${p.protocol}`, `-m multiport --${ports} ${p.port}`, p.net === '' ? '' : `--${net} ${p.net}`),
    action: jump('ACCEPT'),
  })
  return [...own.map((p) => rule(p, 'destination-ports', side)), ...others.map((p) => rule(p, 'source-ports', side))]
}

function cidrBlockRules(s: StaticInput): FelixRule[] {
  if (s.config.serviceLoopPrevention === 'Disabled') return []
  const action = jump(s.config.serviceLoopPrevention === 'Reject' ? 'REJECT' : 'DROP')
  return [...s.blockedCidrs].sort().map((cidr) => ({ match: `--destination ${cidr}`, action }))
}

function natChains(s: StaticInput): FelixChain[] {
  const wrongSource = '-m addrtype ! --src-type LOCAL --limit-iface-out'
  return [
    { name: 'cali-PREROUTING', rules: [{ action: jump('cali-fip-dnat') }] },
    { name: 'cali-OUTPUT', rules: [{ action: jump('cali-fip-dnat') }] },
    {
      name: 'cali-POSTROUTING',
      rules: [
        { action: jump('cali-fip-snat') },
        { action: jump('cali-nat-outgoing') },
        ...s.tunnelDevices.map((dev) => ({
          match: all(`--out-interface ${dev}`, wrongSource, FROM_LOCAL),
          action: MASQUERADE,
        })),
      ],
    },
    { name: 'cali-fip-dnat', rules: [] },
    { name: 'cali-fip-snat', rules: [] },
    { name: 'cali-nat-outgoing', rules: natOutgoingRules(s) },
  ]
}

function natOutgoingRules(s: StaticInput): FelixRule[] {
  if (!s.natOutgoing) return []
  const { natPortRange: range, natOutgoingAddress: address, natOutgoingInterfaceFilter: filter } = s.config
  const rule = (protocol: string, action: string): FelixRule => ({
    match: all(
      `-m set --match-set ${ipSetName('masq-ipam-pools')} src`,
      `-m set ! --match-set ${ipSetName(s.version.allPoolsSet)} dst`,
      protocol === '' ? '' : `-p ${protocol}`,
      filter === '' ? '' : `--out-interface ${filter}`,
    ),
    action,
  })
  const snat = (ports: string): string =>
    address === ''
      ? all('--jump MASQUERADE', ports === '' ? '' : `--to-ports ${ports}`, '--random-fully')
      : `--jump SNAT --to-source ${address}${ports === '' ? '' : `:${ports}`} --random-fully`
  if (range === '') return [rule('', snat(''))]
  return [...['tcp', 'udp'].flatMap((p) => [rule(p, snat(range)), rule(p, jump('RETURN'))]), rule('', snat(''))]
}

function mangleChains(s: StaticInput): FelixChain[] {
  const { accept, endpointMask } = s.version.marks
  const allow = jump(s.config.mangleAllowAction)
  const post: FelixRule[] = [{ match: markSet(accept), action: jump('RETURN') }]
  if (s.kubeIpvs) post.push({ match: markNotClear(endpointMask), action: jump('RETURN') })
  post.push(
    { action: clearMark(allBits(s)) },
    { match: '-m conntrack --ctstate DNAT', action: jump('cali-to-host-endpoint') },
    { match: markSet(accept), action: jump('RETURN'), comments: HEP_ACCEPTED },
  )
  return [
    { name: 'cali-failsafe-in', rules: failsafe(s.config.failsafeIn, [], 'source') },
    { name: 'cali-failsafe-out', rules: failsafe(s.config.failsafeOut, [], 'destination') },
    {
      name: 'cali-PREROUTING',
      rules: [
        { match: ESTABLISHED, action: allow },
        { match: markSet(accept), action: allow },
        { action: jump('cali-from-host-endpoint') },
        { match: markSet(accept), action: allow, comments: HEP_ACCEPTED },
      ],
    },
    { name: 'cali-POSTROUTING', rules: post },
  ]
}

function rawChains(s: StaticInput): FelixChain[] {
  const { accept, scratch0 } = s.version.marks
  const notrack: FelixRule[] = s.vxlan
    ? [{ match: `-p udp --dport ${s.config.vxlanPort}`, action: '--jump NOTRACK' }]
    : []
  const prerouting: FelixRule[] = [
    { action: clearMark(allBits(s)) },
    ...notrack,
    { match: `--in-interface ${s.config.interfacePrefix}+`, action: setMark(scratch0) },
    { match: markSet(scratch0), action: jump('cali-rpf-skip') },
    {
      match: all(markSet(scratch0), '-m rpfilter --invert --validmark'),
      action: jump(s.config.filterDenyAction === 'REJECT' ? 'DROP' : s.config.filterDenyAction),
    },
    { match: markClear(scratch0), action: jump('cali-from-host-endpoint') },
    { match: markSet(accept), action: jump('ACCEPT') },
  ]
  const output: FelixRule[] = [
    { action: clearMark(allBits(s)) },
    { action: jump('cali-to-host-endpoint') },
    ...notrack,
    { match: markSet(accept), action: jump('ACCEPT') },
  ]
  return [
    { name: 'cali-failsafe-in', rules: failsafe(s.config.failsafeIn, s.config.failsafeOut, 'source') },
    { name: 'cali-failsafe-out', rules: failsafe(s.config.failsafeOut, s.config.failsafeIn, 'destination') },
    { name: 'cali-PREROUTING', rules: prerouting },
    { name: 'cali-rpf-skip', rules: [] },
    { name: 'cali-OUTPUT', rules: output },
  ]
}
