/**
 * `birdc` inside a node whose speaker follows BIRD: what BIRD 2.0 prints of its protocols and routes.
 *
 * Forms of `show status`, `show protocols [all] [NAME]`, `show route [all] [for ADDRESS|PREFIX] [protocol NAME]` as of BIRD
 * 2.0.12 (Calico's fork of BIRD 1.6 prints `birdcl` forms of its own). Times are of the simulation's clock. Everything else
 * is UNMODELLED. Source: nest/proto.c (proto_cmd_show), nest/rt-show.c, proto/bgp/bgp.c (bgp_show_proto_info).
 */
import { cidrContains, formatIpv4, parseCidr, parseIpv4 } from '../addr/index.ts'
import type { Peer } from '../bgp/peer.ts'
import type { Speaker } from '../bgp/speaker.ts'
import { communityTexts, compare } from '../bgp/state.ts'
import type { ToolResult } from '../linux/tools/result.ts'
import type { PlacedSpeaker } from './bgp.ts'

const ORIGINS = ['IGP', 'EGP', 'Incomplete']
/** Status of a tool that was asked for something that is not modelled. */
const UNMODELLED = 126

function clockText(ms: number): string {
  const t = Math.floor(ms)
  const two = (n: number): string => String(n).padStart(2, '0')
  const [h, m, s] = [Math.floor(t / 3_600_000), Math.floor(t / 60_000) % 60, Math.floor(t / 1000) % 60]
  return `${two(h % 24)}:${two(m)}:${two(s)}.${String(t % 1000).padStart(3, '0')}`
}

/** Name of a neighbour's protocol. */
function protocolName(p: Peer): string {
  return p.spec.name ?? `bgp${p.index}`
}

function info(p: Peer): string {
  const state = p.state === 'Active' && p.spec.passive === true ? 'Passive' : p.state
  if (p.state === 'Established' || p.lastError === '') return state.padEnd(14)
  return `${state.padEnd(14)}${p.lastError}`
}

function protocolRows(placed: PlacedSpeaker): string[] {
  const { speaker } = placed
  const row = (name: string, proto: string, state: string, since: number, text: string): string =>
    `${[name.padEnd(10), proto.padEnd(10), (proto === 'Device' ? '---' : 'master4').padEnd(10), state.padEnd(6)].join(
      ' ',
    )} ${clockText(since).padEnd(13)} ${text}`
  return [
    row('device1', 'Device', 'up', 0, ''),
    row('kernel1', 'Kernel', 'up', 0, ''),
    row('static1', 'Static', 'up', 0, ''),
    ...speaker.peers.map((p) =>
      row(protocolName(p), 'BGP', p.state === 'Established' ? 'up' : 'start', p.establishedAtMs, info(p)),
    ),
  ]
}

function protocolDetails(p: Peer): string[] {
  const a = p.established?.agreement
  const lines = [
    `  BGP state:          ${p.state}`,
    `    Neighbor address: ${p.spec.address}`,
    `    Neighbor AS:      ${p.spec.asn}`,
    `    Local AS:         ${p.localAsn}`,
  ]
  if (p.lastError !== '' && p.state !== 'Established') lines.push(`    Last error:       ${p.lastError}`)
  if (a === undefined || a === null) return [...lines, '']
  lines.push(
    `    Neighbor ID:      ${p.established!.remote!.routerId}`,
    `    Session:          ${p.isInternal ? 'internal' : 'external'} AS4${a.send.addPath.ipv4 ? ' add-path-tx' : ''}${a.receive.addPath.ipv4 ? ' add-path-rx' : ''}`,
    `    Source address:   ${p.localAddress}`,
    `    Hold timer:       ${a.holdTime}`,
    `    Neighbor caps:    ${a.capabilities.join(' ')}`,
  )
  return [...lines, '']
}

function showProtocols(placed: PlacedSpeaker, words: readonly string[]): string[] {
  const isAll = words[0] === 'all'
  const name = words[isAll ? 1 : 0]
  const rows = protocolRows(placed)
  const head = 'Name       Proto      Table      State  Since         Info'
  const wanted = rows.filter((r) => name === undefined || r.startsWith(`${name} `))
  if (!isAll) return [head, ...wanted]
  return [
    head,
    ...wanted.flatMap((r) => {
      const p = placed.speaker.peers.find((x) => r.startsWith(`${protocolName(x)} `))
      return p === undefined ? [r, ''] : [r, ...protocolDetails(p)]
    }),
  ]
}

interface RouteFilter {
  readonly all: boolean
  readonly fits: (prefix: string) => boolean
  readonly protocol: string | undefined
}

function routeFilter(words: readonly string[]): RouteFilter | null {
  let all = false
  let fits = (_prefix: string): boolean => true
  let protocol: string | undefined
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!
    if (word === 'all') all = true
    else if (word === 'protocol') protocol = words[++i]
    else if (word === 'for') {
      const text = words[++i] ?? ''
      const host = parseCidr(parseIpv4(text) === null ? text : `${text}/32`)
      if (host === null) return null
      fits = (p) => cidrContains(parseCidr(p)!, host)
    } else if (parseCidr(word) !== null) fits = (p) => p === word
    else return null
  }
  return { all, fits, protocol }
}

/** ` on eth0`: the device that leads to a next hop; a gateway on the way is named instead of it. */
function deviceTo(placed: PlacedSpeaker, nextHop: string): string {
  const ip = parseIpv4(nextHop)
  const rt = ip === null ? null : placed.ns.fib.routeOutputTo(ip, 0)
  if (rt === null) return nextHop
  return `${rt.hasGateway ? formatIpv4(rt.gateway) : nextHop} on ${rt.dev.name}`
}

function showRoute(placed: PlacedSpeaker, f: RouteFilter): string[] {
  const { speaker } = placed
  const { rib, store, peers } = speaker
  const lines = ['Table master4:']
  const prefixes = store.prefixes.map((p, i) => [p, i] as const).filter(([p]) => !p.includes(':') && f.fits(p))
  prefixes.sort((a, b) => compare(a[0], b[0]))
  for (const [prefix, id] of prefixes) {
    let isFirst = true
    for (let r = rib.first(id); r >= 0; r = rib.next(r)) {
      const peer = rib.peer(r) === 0 ? null : peers[rib.peer(r) - 1]!
      const name = peer === null ? 'static1' : protocolName(peer)
      if (f.protocol !== undefined && f.protocol !== name) continue
      const a = store.sets[rib.attributes(r)]!.attributes
      const isReachable = peer === null || speaker.isReachable(r)
      const kind = peer === null ? 'blackhole' : isReachable ? 'unicast' : 'unreachable'
      const from = peer !== null && peer.spec.address !== a.nextHop ? ` from ${peer.spec.address}` : ''
      const since = clockText(peer?.establishedAtMs ?? 0)
      const best = r === rib.first(id) ? ' *' : ''
      const path = a.asPath.flatMap((s) => s.asns).at(-1)
      const tail = peer === null ? '(200)' : `(100) [${path === undefined ? '' : `AS${path}`}${'ie?'[a.origin]}]`
      lines.push(`${(isFirst ? prefix : '').padEnd(20)} ${kind} [${name} ${since}${from}]${best} ${tail}`)
      isFirst = false
      if (peer !== null && isReachable) lines.push(`\tvia ${deviceTo(placed, a.nextHop!)}`)
      if (f.all) lines.push(...routeDetails(peer === null, a))
    }
  }
  return lines
}

function routeDetails(isStatic: boolean, a: Speaker['store']['sets'][number]['attributes']): string[] {
  if (isStatic) return ['\tType: static univ']
  const path = a.asPath.map((s) => (s.type === 1 ? `{${s.asns.join(' ')}}` : s.asns.join(' '))).join(' ')
  const lines = ['\tType: BGP univ', `\tBGP.origin: ${ORIGINS[a.origin]}`, `\tBGP.as_path: ${path}`]
  lines.push(`\tBGP.next_hop: ${a.nextHop}`)
  if (a.med !== undefined) lines.push(`\tBGP.med: ${a.med}`)
  if (a.localPref !== undefined) lines.push(`\tBGP.local_pref: ${a.localPref}`)
  const communities = communityTexts(a).filter((c) => c.split(':').length === 2)
  if (communities.length > 0) {
    lines.push(`\tBGP.community: ${communities.map((c) => `(${c.replace(':', ',')})`).join(' ')}`)
  }
  if (a.originatorId !== undefined) lines.push(`\tBGP.originator_id: ${a.originatorId}`)
  if (a.clusterList !== undefined) lines.push(`\tBGP.cluster_list: ${a.clusterList.join(' ')}`)
  return lines
}

/** Runs `birdc ARGS` at a speaker. */
export function birdc(placed: PlacedSpeaker | undefined, argv: readonly string[]): ToolResult {
  if (placed === undefined || placed.speaker.spec.implementation !== 'bird') {
    const said = 'Unable to connect to server control socket (/run/bird/bird.ctl): No such file or directory'
    return { status: 1, stdout: '', stderr: `${said}\n` }
  }
  const words = argv.filter((w) => !w.startsWith('-')).flatMap((w) => w.split(/\s+/))
  const ok = (lines: readonly string[]): ToolResult => ({
    status: 0,
    stdout: `${['BIRD 2.0.12 ready.', ...lines].join('\n')}\n`,
    stderr: '',
  })
  if (words[0] === 'show' && words[1] === 'status') {
    const { speaker, host } = placed
    return ok([
      'BIRD 2.0.12',
      `Router ID is ${speaker.spec.routerId}`,
      `Current server time is ${clockText(host.clock.nowMs())}`,
      'Daemon is up and running',
    ])
  }
  if (words[0] === 'show' && /^proto/.test(words[1] ?? '')) return ok(showProtocols(placed, words.slice(2)))
  if (words[0] === 'show' && /^route$/.test(words[1] ?? '')) {
    const filter = routeFilter(words.slice(2))
    if (filter !== null) return ok(showRoute(placed, filter))
  }
  return { status: UNMODELLED, stdout: '', stderr: `podwalk: birdc ${words.join(' ')} is UNMODELLED\n` }
}
