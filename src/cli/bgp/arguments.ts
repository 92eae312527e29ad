/**
 * From the flags of `podwalk bgp speak`, or its configuration file, to a speaker's configuration.
 */

import { formatCidr } from '../../addr/cidr.ts'
import { networkOf, parseCidr, parseIpv4, parseIpv6 } from '../../addr/index.ts'
import type { BgpImplementation, BgpLocalRoute, BgpPeerSpec, BgpSpeakerSpec } from '../../bgp/config.ts'
import { Diagnostics, NO_POSITION } from '../../diagnostics/diagnostic.ts'
import { CliError, EXIT_UNMODELLED, usageError } from '../exit.ts'
import { reportDiagnostics } from '../input.ts'
import type { ColorChoice } from '../output.ts'

/** Flags of the command. */
export interface SpeakFlags {
  readonly local?: string
  readonly asn?: number
  readonly routerId?: string
  readonly neighbor?: readonly string[]
  readonly announce?: readonly string[]
  readonly hold?: number
  readonly for?: number
  readonly config?: string
  readonly as?: BgpImplementation
  readonly port?: number
  readonly output: string
  readonly write?: string
  readonly color: ColorChoice
}

/** What to run. */
export interface SpeakInput {
  readonly local: string
  readonly spec: BgpSpeakerSpec
}

/** A peer that refused is asked again soon: this is a tool that somebody waits for. */
const CONNECT_DELAY_S = 1
const CONNECT_RETRY_S = 5
const ERROR_WAIT_S = [3, 30] as const

const isAddress = (text: string): boolean => parseIpv4(text) !== null || parseIpv6(text) !== null

/** `ADDR[,asn=N][,passive][,rr-client][,add-paths][,port=N]...` */
export function parseNeighbor(text: string, ownAsn: number): BgpPeerSpec {
  const [address = '', ...words] = text.split(',')
  if (!isAddress(address)) throw usageError(`--neighbor ${text}: ${JSON.stringify(address)} is no IP address`)
  const peer: { -readonly [K in keyof BgpPeerSpec]: BgpPeerSpec[K] } = { address, asn: ownAsn }
  for (const word of words) {
    const [key, value = ''] = word.split('=')
    const number = (min: number, max: number): number => {
      const n = Number(value)
      if (!/^\d+$/.test(value) || n < min || n > max) {
        throw usageError(`--neighbor ${text}: ${key} takes a number from ${min} to ${max}`)
      }
      return n
    }
    switch (key) {
      case 'asn':
        peer.asn = number(1, 0xffffffff)
        break
      case 'port':
        peer.port = number(1, 65535)
        break
      case 'passive':
        peer.passive = true
        break
      case 'rr-client':
        peer.routeReflectorClient = true
        break
      case 'add-paths':
        peer.addPaths = 'on'
        break
      case 'graceful-restart':
        peer.gracefulRestart = 'on'
        break
      case 'next-hop-self':
        peer.nextHopSelf = 'on'
        break
      case 'allow-as-in':
        peer.allowAsIn = number(1, 10)
        break
      case 'ipv6':
        peer.families = ['ipv4', 'ipv6']
        break
      case 'password':
        peer.password = value
        break
      default:
        throw usageError(
          `--neighbor ${text}: unknown word ${JSON.stringify(word)}`,
          'asn=N, port=N, passive, rr-client, add-paths, graceful-restart, next-hop-self, allow-as-in=N, ipv6',
        )
    }
  }
  return peer
}

/** `PREFIX[,nexthop=ADDR][,community=A:B][,med=N]` */
export function parseAnnounce(text: string): BgpLocalRoute {
  const [prefix = '', ...words] = text.split(',')
  const cidr = parseCidr(prefix)
  if (cidr === null) throw usageError(`--announce ${text}: ${JSON.stringify(prefix)} is no CIDR`)
  const network = formatCidr(cidr.family === 4 ? networkOf(cidr) : networkOf(cidr))
  if (network !== prefix) throw usageError(`--announce ${text}: the prefix has host bits`, `did you mean ${network}?`)
  const route: { -readonly [K in keyof BgpLocalRoute]: BgpLocalRoute[K] } = { prefix }
  const list: string[] = []
  for (const word of words) {
    const [key, value = ''] = word.split('=')
    if (key === 'nexthop' && isAddress(value)) route.nextHop = value
    else if (key === 'community' && /^\d+:\d+(:\d+)?$/.test(value)) list.push(value)
    else if (key === 'med' && /^\d+$/.test(value)) route.med = Number(value)
    else
      throw usageError(`--announce ${text}: cannot read ${JSON.stringify(word)}`, 'nexthop=ADDR, community=A:B, med=N')
  }
  return list.length === 0 ? route : { ...route, communities: list }
}

/** The configuration that the flags or the file of --config say. */
export async function speakInput(flags: SpeakFlags): Promise<SpeakInput> {
  const input = flags.config === undefined ? fromFlags(flags) : await fromFile(flags.config, flags)
  for (const p of input.spec.peers) {
    const what = p.password !== undefined ? 'a TCP MD5 password' : p.ttlSecurity !== undefined ? 'TTL security' : null
    if (what !== null) {
      throw new CliError(
        EXIT_UNMODELLED,
        `UNMODELLED: ${what} (neighbor ${p.address}): Node's sockets have no such option`,
      )
    }
  }
  return input
}

function routerIdOf(local: string, given: string | undefined): string {
  if (given !== undefined) {
    if (parseIpv4(given) === null) throw usageError(`--router-id ${given}: not a dotted quad`)
    return given
  }
  if (parseIpv4(local) === null)
    throw usageError('with an IPv6 --local, --router-id is needed', 'for example --router-id 192.0.2.1')
  return local
}

const quick = (p: BgpPeerSpec, hold: number | undefined): BgpPeerSpec => ({
  connectDelayTime: CONNECT_DELAY_S,
  connectRetryTime: CONNECT_RETRY_S,
  errorWaitTime: ERROR_WAIT_S,
  ...(hold === undefined ? {} : { holdTime: hold }),
  ...p,
})

function fromFlags(flags: SpeakFlags): SpeakInput {
  const { local, asn, neighbor = [] } = flags
  if (local === undefined || asn === undefined || neighbor.length === 0) {
    throw usageError('--local, --asn and at least one --neighbor are needed', 'or --config FILE')
  }
  if (!isAddress(local)) throw usageError(`--local ${local}: not an IP address`)
  const spec: BgpSpeakerSpec = {
    name: 'podwalk',
    implementation: flags.as ?? 'bird',
    asn,
    routerId: routerIdOf(local, flags.routerId),
    ...(flags.port === undefined ? {} : { port: flags.port }),
    peers: neighbor.map((n) => quick(parseNeighbor(n, asn), flags.hold)),
    routes: (flags.announce ?? []).map(parseAnnounce),
    install: null,
  }
  return { local, spec }
}

interface FileSpec {
  readonly local: string
  readonly asn: number
  readonly routerId?: string
  readonly clusterId?: string
  readonly implementation?: BgpImplementation
  readonly port?: number
  readonly restarting?: boolean
  readonly neighbors?: readonly BgpPeerSpec[]
  readonly announce?: readonly BgpLocalRoute[]
}

async function fromFile(file: string, flags: SpeakFlags): Promise<SpeakInput> {
  const [{ loadInputs }, { checkSchema }, { bgpSpeaker }] = await Promise.all([
    import('../../kubernetes/index.ts'),
    import('../../kubernetes/schema.ts'),
    import('../../kubernetes/schemas/bgp.ts'),
  ])
  const diagnostics = new Diagnostics()
  const loaded = loadInputs([file])
  const found = loaded.objects.filter((o) => o.object.kind === 'BgpSpeaker')
  if (found.length !== 1 && !loaded.diagnostics.some((d) => d.severity === 'error')) {
    diagnostics.error(
      'bgp-config',
      found[1]?.source ?? NO_POSITION,
      `${file}: expected one BgpSpeaker, found ${found.length}`,
    )
  }
  const [only] = found
  if (only !== undefined) checkSchema(only, bgpSpeaker, diagnostics)
  reportDiagnostics([...loaded.diagnostics, ...diagnostics.sorted()], flags)
  const s = only!.object.spec as unknown as FileSpec
  const spec: BgpSpeakerSpec = {
    name: only!.object.metadata.name ?? 'podwalk',
    implementation: s.implementation ?? flags.as ?? 'bird',
    asn: s.asn,
    routerId: routerIdOf(s.local, s.routerId ?? flags.routerId),
    ...(s.clusterId === undefined ? {} : { clusterId: s.clusterId }),
    ...(s.port === undefined ? {} : { port: s.port }),
    ...(s.restarting === undefined ? {} : { restarting: s.restarting }),
    peers: (s.neighbors ?? []).map((n) => quick(n, flags.hold)),
    routes: s.announce ?? [],
    install: null,
  }
  return { local: s.local, spec }
}
