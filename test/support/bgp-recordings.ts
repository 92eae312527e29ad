/**
 * Recordings of real BGP sessions (test/fixtures/bgp), and a decoded message in the words of their decoder.
 *
 * The recordings were made with BIRD 2.0.12, FRR 8.4.4 and GoBGP 3.10 in network namespaces and decoded by a program that
 * shares nothing with ours.
 */
import { readdirSync, readFileSync } from 'node:fs'
import type { BgpMessage, BgpProtocolError, CodecContext, PathAttributes } from '../../src/wire/bgp.ts'
import { INITIAL_CONTEXT } from '../../src/wire/bgp.ts'

const ROOT = 'test/fixtures/bgp'

/** A line of a recording. */
export interface RecordedMessage {
  readonly t: number
  readonly from: string
  readonly to: string
  readonly tcp?: string
  readonly ttl?: number
  readonly tos?: number
  readonly type?: string
  readonly hex?: string
  readonly caps?: readonly (readonly [string, unknown])[]
  readonly [field: string]: unknown
}

/** All recordings of sessions and labs: file and lines. */
export function recordings(): { name: string; messages: RecordedMessage[] }[] {
  const sessions = readdirSync(`${ROOT}/sessions`).map((f) => `sessions/${f}`)
  const labs = readdirSync(`${ROOT}/labs`).flatMap((lab) =>
    readdirSync(`${ROOT}/labs/${lab}`)
      .filter((f) => f.endsWith('.bgp.json'))
      .map((f) => `labs/${lab}/${f}`),
  )
  return [...sessions, ...labs].sort().map((name) => {
    const data = JSON.parse(readFileSync(`${ROOT}/${name}`, 'utf8')) as
      | RecordedMessage[]
      | { messages: RecordedMessage[] }
    return { name, messages: Array.isArray(data) ? data : data.messages }
  })
}

/** The bytes of hex digits. */
export function fromHex(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex, 'hex'))
}

/** Hex digits of bytes. */
export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

const capability = (m: RecordedMessage | undefined, name: string): unknown => m?.caps?.find(([n]) => n === name)?.[1]

/** What two recorded OPENs agree on, for messages that `sender` sends. */
export function contextOf(sender: RecordedMessage, receiver: RecordedMessage | undefined): CodecContext {
  if (receiver === undefined) return INITIAL_CONTEXT
  const paths = (m: RecordedMessage): string => String((capability(m, 'ADD_PATH') as string[] | undefined)?.[0] ?? '')
  const addPath = paths(sender).includes('tx') && paths(receiver).includes('rx')
  return {
    as4: capability(sender, 'AS4') !== undefined && capability(receiver, 'AS4') !== undefined,
    addPath: { ipv4: addPath, ipv6: false },
    extendedMessage: false,
    ibgp: sender.my_as === receiver.my_as,
  }
}

const ATTRIBUTES: readonly (readonly [string, string, (a: PathAttributes) => unknown])[] = [
  ['ORIGIN', '0x40', (a) => ['IGP', 'EGP', 'INCOMPLETE'][a.origin]],
  ['AS_PATH', '0x40', (a) => a.asPath.map((s) => `${s.type === 1 ? 'set' : 'seq'}[${s.asns.join(', ')}]`)],
  ['NEXT_HOP', '0x40', (a) => a.nextHop],
  ['MED', '0x80', (a) => a.med],
  ['LOCAL_PREF', '0x40', (a) => a.localPref],
  ['ORIGINATOR_ID', '0x80', (a) => a.originatorId],
  ['CLUSTER_LIST', '0x80', (a) => a.clusterList],
]

const af = (f: { afi: number; safi: number }): string => `afi${f.afi}/safi${f.safi}`

function capabilityWords(c: Extract<BgpMessage, { type: 'OPEN' }>['capabilities'][number]): [string, unknown] {
  switch (c.kind) {
    case 'multiprotocol':
      return ['MP', af(c)]
    case 'route-refresh':
      return ['ROUTE_REFRESH', '']
    case 'route-refresh-old':
      return ['REFRESH_OLD', '']
    case 'enhanced-refresh':
      return ['ENH_REFRESH', '']
    case 'extended-message':
      return ['EXT_MESSAGE', '']
    case 'as4':
      return ['AS4', c.asn]
    case 'add-path':
      return ['ADD_PATH', c.families.map((f) => `${af(f)} ${['', 'rx', 'tx', 'rx+tx'][f.mode]}`)]
    case 'graceful-restart': {
      const families = c.families.map((f) => `${af(f)} F=${f.forwarding ? 1 : 0}`)
      return ['GR', { R: c.restarting ? 1 : 0, N: c.notification ? 1 : 0, time: c.time, af: families }]
    }
    case 'long-lived-graceful-restart': {
      const hex = (n: number, digits: number): string => n.toString(16).padStart(digits, '0')
      const word = c.families.map(
        (f) => hex(f.afi, 4) + hex(f.safi, 2) + hex(f.forwarding ? 128 : 0, 2) + hex(f.staleTime, 6),
      )
      return ['LLGR', word.join('')]
    }
    case 'fqdn':
      return ['FQDN', `${c.host}/${c.domain}`]
    case 'extended-next-hop':
      return [
        'EXT_NEXTHOP',
        c.families
          .map((f) => [f.afi, f.safi, f.nextHopAfi].map((n) => n.toString(16).padStart(4, '0')).join(''))
          .join(''),
      ]
    default:
      return [`UNKNOWN_${c.code}`, toHex(c.data)]
  }
}

/** The message as the recording's decoder says it, without time, ends and bytes. */
export function wordsOf(m: BgpMessage | BgpProtocolError): Record<string, unknown> {
  switch (m.type) {
    case 'OPEN':
      return {
        version: m.version,
        my_as: m.asn,
        hold: m.holdTime,
        id: m.routerId,
        caps: m.capabilities.map(capabilityWords),
        opt_params: m.parameterEach === true ? m.capabilities.length : m.capabilities.length === 0 ? 0 : 1,
      }
    case 'UPDATE': {
      if (m.endOfRib !== undefined) return { eor: `${m.endOfRib}-unicast` }
      const nlri = (l: readonly { prefix: string; pathId?: number }[]): string[] =>
        l.map((n) => (n.pathId === undefined ? n.prefix : `${n.prefix} id=${n.pathId}`))
      const a = m.attributes
      const attrs =
        a === null
          ? []
          : ATTRIBUTES.filter(([, , get]) => get(a) !== undefined).map(([name, flags, get]) => [
              name,
              name === 'AS_PATH' && a.asPathExtended === true ? '0x50' : flags,
              get(a),
            ])
      return { withdrawn: m.unreach.flatMap((u) => nlri(u.nlri)), nlri: m.reach.flatMap((r) => nlri(r.nlri)), attrs }
    }
    case 'NOTIFICATION':
      return { code: m.code, sub: m.subcode, data: toHex(m.data) }
    default:
      return {}
  }
}
