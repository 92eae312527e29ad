/**
 * The extensions that podwalk knows, by name: one line each.
 *
 * A name that is not here but that iptables has (`KNOWN_ELSEWHERE`) gets an error that says so; any other name is
 * unknown to iptables too.
 */

import type { IptFamily } from './ip-values.ts'
import { conntrackMatch, stateMatch } from './match-conntrack.ts'
import * as v6 from './match-ipv6.ts'
import { ipvsMatch } from './match-ipvs.ts'
import * as kube from './match-kube.ts'
import * as packet from './match-packet.ts'
import * as ports from './match-ports.ts'
import { rpfilterMatch } from './match-rpfilter.ts'
import * as rest from './match-unmodelled.ts'
import { hlTarget, reject6Target } from './targets-ipv6.ts'
import * as mark from './targets-mark.ts'
import * as nat from './targets-nat.ts'
import * as other from './targets-other.ts'
import type { XtMatch, XtOption, XtTarget } from './types.ts'

/** Options by name, for exact and abbreviated lookup. */
export interface Registered<E> {
  readonly ext: E
  readonly options: ReadonlyMap<string, XtOption<unknown>>
}

function index<E extends XtMatch>(list: readonly E[]): ReadonlyMap<string, Registered<E>> {
  return new Map(list.map((ext) => [ext.name, { ext, options: new Map(ext.options.map((o) => [o.name, o])) }]))
}

/** What both families have. */
const sharedMatches: XtMatch[] = [
  ports.tcpMatch,
  ports.udpMatch,
  ports.sctpMatch,
  ports.multiportMatch,
  conntrackMatch,
  stateMatch,
  kube.commentMatch,
  kube.markMatch,
  kube.connmarkMatch,
  kube.addrtypeMatch,
  kube.statisticMatch,
  kube.recentMatch,
  kube.limitMatch,
  packet.lengthMatch,
  packet.tcpmssMatch,
  packet.tosMatch,
  packet.dscpMatch,
  packet.macMatch,
  packet.pkttypeMatch,
  packet.iprangeMatch,
  packet.physdevMatch,
  packet.setMatch,
  ipvsMatch,
  rest.hashlimitMatch,
  rest.ownerMatch,
  rest.u32Match,
  rest.bpfMatch,
  rest.cgroupMatch,
  rest.nfacctMatch,
  rpfilterMatch,
  rest.ecnMatch,
]
const matches4: XtMatch[] = [...sharedMatches, ports.icmpMatch, packet.ttlMatch]
const matches6: XtMatch[] = [
  ...sharedMatches,
  v6.icmp6Match,
  v6.hlMatch,
  v6.eui64Match,
  v6.ipv6headerMatch,
  v6.fragMatch,
  v6.hbhMatch,
  v6.dstMatch,
  v6.rtMatch,
  v6.ah6Match,
  v6.mhMatch,
]

const sharedTargets: XtTarget[] = [
  other.logTarget,
  other.nflogTarget,
  other.setTarget,
  other.traceTarget,
  other.tproxyTarget,
  nat.dnatTarget,
  nat.snatTarget,
  nat.masqueradeTarget,
  nat.redirectTarget,
  nat.netmapTarget,
  mark.markTarget,
  mark.connmarkTarget,
  mark.ctTarget,
  mark.notrackTarget,
  mark.tosTarget,
  mark.dscpTarget,
  mark.tcpmssTarget,
  mark.checksumTarget,
  mark.classifyTarget,
]
const targets4: XtTarget[] = [...sharedTargets, other.rejectTarget, mark.ttlTarget]
const targets6: XtTarget[] = [...sharedTargets, reject6Target, hlTarget]

const MATCHES = { 4: index(matches4), 6: index(matches6) }
const TARGETS = { 4: index(targets4), 6: index(targets6) }

/** The match extension of that name. */
export function findMatch(family: IptFamily, name: string): Registered<XtMatch> | undefined {
  return MATCHES[family].get(name)
}

/** The target extension of that name. */
export function findTarget(family: IptFamily, name: string): Registered<XtTarget> | undefined {
  return TARGETS[family].get(name)
}

/** Extensions of iptables 1.8.9 that podwalk does not read. */
export const KNOWN_ELSEWHERE: ReadonlySet<string> = new Set(
  (
    'ah cluster connbytes connlabel connlimit cpu dccp devgroup esp helper ipcomp osf policy quota rateest realm ' +
    'socket string time AUDIT CLUSTERIP CONNSECMARK ECN HMARK IDLETIMER LED NFQUEUE RATEEST SECMARK SYNPROXY ' +
    'TCPOPTSTRIP TEE ULOG SNPT DNPT srh'
  ).split(' '),
)

const PROTO_MATCHES: Readonly<Record<number, string>> = { 6: 'tcp', 17: 'udp', 132: 'sctp' }

/** Protocol match that a rule loads by naming the protocol. */
export function protoMatch(family: IptFamily, proto: number): string | undefined {
  if (proto === 1 && family === 4) return 'icmp'
  if (proto === 58 && family === 6) return 'icmp6'
  if (proto === 135 && family === 6) return 'mh'
  return PROTO_MATCHES[proto]
}
