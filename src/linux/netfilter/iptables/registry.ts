/**
 * The extensions that podwalk knows, by name: one line each.
 *
 * A name that is not here but that iptables has (`KNOWN_ELSEWHERE`) gets an error that says so; any other name is
 * unknown to iptables too.
 */
import { conntrackMatch, stateMatch } from './match-conntrack.ts'
import { ipvsMatch } from './match-ipvs.ts'
import * as kube from './match-kube.ts'
import * as packet from './match-packet.ts'
import * as ports from './match-ports.ts'
import { rpfilterMatch } from './match-rpfilter.ts'
import * as rest from './match-unmodelled.ts'
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

const matches: XtMatch[] = [
  ports.tcpMatch,
  ports.udpMatch,
  ports.sctpMatch,
  ports.icmpMatch,
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
  packet.ttlMatch,
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

const targets: XtTarget[] = [
  other.rejectTarget,
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
  mark.ttlTarget,
  mark.tcpmssTarget,
  mark.checksumTarget,
  mark.classifyTarget,
]

/** Matches by name. */
export const MATCHES = index(matches)
/** Target extensions by name. */
export const TARGETS = index(targets)

/** Extensions of iptables 1.8.9 that podwalk does not read. */
export const KNOWN_ELSEWHERE: ReadonlySet<string> = new Set(
  (
    'ah cluster connbytes connlabel connlimit cpu dccp devgroup esp helper ipcomp osf policy quota rateest realm ' +
    'socket string time AUDIT CLUSTERIP CONNSECMARK ECN HMARK IDLETIMER LED NFQUEUE RATEEST SECMARK SYNPROXY ' +
    'TCPOPTSTRIP TEE ULOG'
  ).split(' '),
)

/** Protocol matches that a rule loads by naming the protocol. */
export const PROTO_MATCHES: Readonly<Record<number, string>> = { 1: 'icmp', 6: 'tcp', 17: 'udp', 132: 'sctp' }
