/**
 * The steps of a lab: conversations out of injected frames and socket calls, with damaged frames in between.
 *
 * A frame leaves an interface that has a stack behind it, with the link address of the next hop, so that most of them
 * travel; conversations have a port or id of their own because the kernel draws ports at random on a clash.
 *
 * Not generated: TCP sends larger than a segment (they pass the local hooks as one packet, whose counts and memory the
 * simulator does not have), pauses longer than a few milliseconds (a lab would cost seconds), frames longer than the MTU.
 */
import { formatIpv4 } from '../../addr/ipv4.ts'
import type { LabStep } from '../scenario.ts'
import type { Draft, Flow, Iface } from './draft.ts'
import * as f from './frames.ts'

const BROADCAST = 'ff:ff:ff:ff:ff:ff'
const SERVER_PORTS = [80, 443, 53, 8080, 5201, 30080]
/** Longer than a delayed acknowledgment. */
const TCP_QUIET_MS = 48
/** Planned length of a lab: real steps take longer, and timers of a second must not come into reach on one side only. */
const BUDGET_MS = 400

const hex = (b: Uint8Array): string => Buffer.from(b).toString('hex')

/** Adds the steps. */
export function buildTraffic(d: Draft): void {
  const count = d.dice.between(3, 12)
  const sockets = servers(d)
  for (let k = 0; k < count; k++) {
    const make = d.dice.weighted<(d: Draft) => void>([
      [d.about('arp') ? 12 : 2, arpFrame],
      [d.about('l2') ? 8 : 1, l2Frame],
      [d.about('frag') ? 12 : 2, fragmentFrames],
      [d.about('icmp') ? 8 : 2, icmpError],
      [d.about('icmp', 'mtu', 'policy') ? 6 : 3, ping],
      [10, flowFrame],
      [d.about('tcp', 'filter', 'nat') ? 8 : 3, tcpScript],
      [d.about('nat', 'mtu', 'filter', 'policy') ? 6 : 3, () => udpExchange(d, sockets)],
      [d.about('tcp') ? 8 : 1, tcpSession],
      [1, (x) => x.steps.push({ op: 'wait', ms: 1 })],
      [3, configChange],
    ])
    make(d)
    if (plannedMs(d) > BUDGET_MS) break
  }
}

function plannedMs(d: Draft): number {
  return d.steps.reduce((ms, s) => ms + (s.quiet_ms ?? 5), 0)
}

/** UDP servers with their ids. */
function servers(d: Draft): { readonly id: string; readonly ip: number; readonly port: number; readonly ns: string }[] {
  const out: { id: string; ip: number; port: number; ns: string }[] = []
  for (const i of d.hosts()) {
    if (i.ips.length === 0 || !d.dice.chance(50)) continue
    const port = d.dice.pick(SERVER_PORTS)
    const id = `srv-${i.ns}-${i.dev}`
    const any = d.dice.chance(50)
    const ip = i.ips[0]!
    d.steps.push({ op: 'udp_open', ns: i.ns, id, bind: [any ? '0.0.0.0' : formatIpv4(ip), port], ...sockOpts(d) })
    out.push({ id, ip, port, ns: i.ns })
  }
  return out
}

function sockOpts(d: Draft): Partial<LabStep> {
  return {
    ...(d.dice.chance(d.about('mtu', 'frag') ? 60 : 15) ? { pmtudisc: d.dice.pick([0, 1, 2, 3]) } : {}),
    ...(d.dice.chance(8) ? { tos: d.dice.pick([0x10, 0x20, 0xb8, 0x01]) } : {}),
    ...(d.dice.chance(8) ? { ttl: d.dice.pick([1, 2, 3, 200]) } : {}),
    ...(d.dice.chance(d.about('policy') ? 25 : 5) ? { mark: d.dice.pick([1, 2, 0x4000, 0x10]) } : {}),
    ...(d.dice.chance(5) ? { broadcast: true } : {}),
  }
}

function stackIface(d: Draft): Iface | null {
  const all = d.ifaces.filter((i) => i.ips.length > 0)
  if (all.length === 0) return null
  const hosts = all.filter((i) => !d.routers.has(i.ns))
  return hosts.length > 0 && d.dice.chance(80) ? d.dice.pick(hosts) : d.dice.pick(all)
}

/** The MAC that a frame from `i` to `dst` should have: the owner on the segment, or a router, mostly. */
function macTo(d: Draft, i: Iface, dst: number): string {
  const others = i.segment.ifaces.filter((x) => x !== i)
  if (others.length === 0) return BROADCAST
  if (d.dice.chance(3)) return d.dice.pick([BROADCAST, '01:00:5e:00:00:01', '02:00:00:00:ff:ff', i.mac])
  const owner = others.find((x) => x.ips.includes(dst))
  if (owner !== undefined && d.dice.chance(95)) return owner.mac
  const router = others.find((x) => d.routers.has(x.ns))
  return (router ?? d.dice.pick(others)).mac
}

function newFlow(d: Draft, proto: number): Flow | null {
  const from = stackIface(d)
  if (from === null) return null
  const service = d.services.length > 0 && d.dice.chance(60) ? d.dice.pick(d.services) : null
  const src = d.dice.chance(92) ? d.dice.pick(from.ips) : d.anyIp()
  const flow: Flow = {
    proto: service !== null && proto !== 1 ? service.proto : proto,
    src,
    dst: service?.ip ?? d.anyIp(),
    sport: d.port(),
    dport: service?.port ?? (d.dice.chance(80) ? d.dice.pick(SERVER_PORTS) : d.dice.between(1, 65535)),
    from,
    seq: d.dice.u32(),
    sent: 0,
  }
  d.flows.push(flow)
  return flow
}

function someFlow(d: Draft, proto: number): Flow | null {
  const old = d.flows.filter((x) => x.proto === proto)
  return old.length > 0 && d.dice.chance(50) ? d.dice.pick(old) : newFlow(d, proto)
}

function payloadLen(d: Draft, i: Iface): number {
  if (d.about('mtu', 'frag') && d.dice.chance(50)) {
    const sizes = [i.mtu - 28, i.mtu - 29, 548, 549, 572, 980, 1252, 1372, 1422, 1472].filter((n) => n <= i.mtu - 28)
    return d.dice.pick(sizes)
  }
  return d.dice.pick([0, 1, 7, 8, 18, 32, 64, 100])
}

function headerExtras(d: Draft): Partial<f.IpSpec> {
  return {
    ...(d.dice.chance(15) ? { ttl: d.dice.pick([1, 2, 3, 255]) } : {}),
    ...(d.dice.chance(12) ? { tos: d.dice.below(256) } : {}),
    ...(d.dice.chance(50) ? { id: d.dice.between(1, 0xefff) } : {}),
    ...(d.dice.chance(40) ? { fragOff: 0x4000 } : {}),
    ...(d.dice.chance(d.about('icmp', 'frag') ? 10 : 4)
      ? { options: f.ipOptions(d.dice, [d.ownIp(), d.anyIp()]) }
      : {}),
  }
}

function l4(d: Draft, x: Flow, len: number): Uint8Array {
  if (x.proto === 17) return f.udp(x.src, x.dst, x.sport, x.dport, f.pattern(len), d.dice.chance(6))
  if (x.proto === 6) {
    const flags = d.dice.weighted([
      [6, 0x02],
      [3, 0x10],
      [3, 0x18],
      [1, 0x04],
      [1, 0x14],
      [1, 0x11],
      [1, d.dice.below(256)],
    ])
    const options = d.dice.chance(40) ? { options: f.tcpOptions(d.dice) } : {}
    const spec = {
      sport: x.sport,
      dport: x.dport,
      seq: x.seq,
      ack: (flags & 0x10) !== 0 ? d.dice.u32() : 0,
      flags,
      ...options,
    }
    return f.tcp(x.src, x.dst, spec, f.pattern((flags & 2) !== 0 ? 0 : len))
  }
  if (x.proto === 1) {
    const type = d.dice.weighted([
      [12, 8],
      [1, 0],
      [1, 17],
      [1, 15],
      [1, 10],
      [1, 42],
    ])
    return f.icmp(
      type,
      d.dice.chance(92) ? 0 : 1,
      (x.sport << 16) | (x.sent & 0xffff),
      f.pattern(type === 13 ? 12 : len),
    )
  }
  return f.pattern(len)
}

/** Sends a packet out of the interface. */
function inject(d: Draft, i: Iface, packet: Uint8Array, dst: number, mac = macTo(d, i, dst)): void {
  const vlan = d.dice.chance(d.about('l2') ? 4 : 1) ? [d.dice.pick([1, 100, 4095, 0, 0x6064])] : []
  let frame = f.ether(mac, i.mac, 0x0800, packet, vlan)
  if (frame.length > i.mtu + 14 + 4 * vlan.length) return
  if (d.dice.chance(10) && frame.length < 60) frame = f.concat(frame, new Uint8Array(60 - frame.length))
  d.steps.push({ op: 'frame', ns: i.ns, dev: i.dev, hex: hex(frame) })
}

function flowFrame(d: Draft): void {
  const proto = d.dice.weighted([
    [5, 17],
    [5, 6],
    [4, 1],
    [1, d.dice.pick([89, 253])],
  ])
  const x = someFlow(d, proto)
  if (x === null) return
  x.sent++
  const len = payloadLen(d, x.from)
  let packet = f.ipv4({ src: x.src, dst: x.dst, proto: x.proto, ...headerExtras(d) }, l4(d, x, Math.max(0, len - 20)))
  if (d.dice.chance(12)) packet = f.damageIp(d.dice, packet)
  inject(d, x.from, packet, x.dst)
}

/** SYN, data, FIN or RST from one side, so that conntrack's states move; answers come from the far stack. */
function tcpScript(d: Draft): void {
  const x = newFlow(d, 6)
  if (x === null || x.proto !== 6) return
  const peer = d.ifaces.find((i) => i.ips.includes(x.dst))
  const two = peer !== undefined && d.dice.chance(60)
  const peerSeq = d.dice.u32()
  const send = (flags: number, len: number, reply: boolean, extra: { seq?: number; window?: number } = {}): void => {
    const [src, dst, sport, dport] = reply ? [x.dst, x.src, x.dport, x.sport] : [x.src, x.dst, x.sport, x.dport]
    const seq = extra.seq ?? (reply ? peerSeq : x.seq) + ((flags & 2) !== 0 ? 0 : 1)
    const ack = (flags & 0x10) !== 0 ? (reply ? x.seq : peerSeq) + 1 : 0
    const window = extra.window === undefined ? {} : { window: extra.window }
    const options = (flags & 2) !== 0 && d.dice.chance(70) ? { options: f.tcpOptions(d.dice) } : {}
    const segment = f.tcp(src, dst, { sport, dport, seq, ack, flags, ...window, ...options }, f.pattern(len))
    const packet = f.ipv4(
      { src, dst, proto: 6, fragOff: 0x4000, id: d.dice.chance(50) ? d.dice.between(1, 0xefff) : 0 },
      segment,
    )
    inject(d, reply && peer !== undefined ? peer : x.from, packet, dst)
  }
  send(0x02, 0, false)
  if (two && d.dice.chance(90)) send(0x12, 0, true)
  for (let n = d.dice.below(4); n > 0; n--) {
    const reply = two && d.dice.chance(50)
    const flags = d.dice.weighted([
      [4, 0x10],
      [4, 0x18],
      [2, 0x11],
      [1, 0x04],
      [1, 0x14],
      [1, 0x02],
      [1, 0x12],
    ])
    const odd = d.dice.chance(15)
      ? { seq: d.dice.u32() }
      : d.dice.chance(10)
        ? { window: d.dice.pick([0, 1, 65535]) }
        : {}
    send(flags, (flags & 6) === 0 ? d.dice.pick([0, 0, 1, 40]) : 0, reply, odd)
  }
}

function fragmentFrames(d: Draft): void {
  const x = someFlow(d, d.dice.pick([17, 17, 1, 6]))
  if (x === null) return
  x.sent++
  const id = d.dice.between(1, 0xefff)
  const whole = f.ipv4(
    {
      src: x.src,
      dst: x.dst,
      proto: x.proto,
      id,
      ...(d.dice.chance(10) ? { options: f.ipOptions(d.dice, [d.ownIp()]) } : {}),
    },
    l4(d, x, d.dice.pick([24, 60, 200, 600, 1400, 2000, 3000])),
  )
  let parts = f.fragments(whole, d.dice.pick([8, 16, 64, 200, 552, 1208, 1480]))
  if (parts.length > 8) parts = f.fragments(whole, 552)
  if (d.dice.chance(30)) parts = d.dice.shuffle(parts)
  if (d.dice.chance(15)) parts.splice(d.dice.below(parts.length), 1)
  if (d.dice.chance(15) && parts.length > 0) parts.splice(d.dice.below(parts.length), 0, d.dice.pick(parts))
  if (d.dice.chance(12)) parts = parts.map((p) => (d.dice.chance(40) ? f.damageIp(d.dice, p) : p))
  // never a group address: a bridge's copies share their bytes, and Linux writes the headers of the pieces into them
  const mac = macTo(d, x.from, x.dst)
  const unicast = (Number.parseInt(mac.slice(0, 2), 16) & 1) === 0 ? mac : '02:00:00:00:ff:ff'
  for (const p of parts.slice(0, 9)) inject(d, x.from, p, x.dst, unicast)
}

/** An ICMP error about a conversation, from somewhere on the way or from nowhere. */
function icmpError(d: Draft): void {
  const x = d.flows.length > 0 && d.dice.chance(85) ? d.dice.pick(d.flows) : newFlow(d, 17)
  if (x === null) return
  const target = d.ifaces.find((i) => i.ips.includes(x.dst))
  const from = target ?? stackIface(d)
  if (from === null) return
  const inner = f
    .ipv4({ src: x.src, dst: x.dst, proto: x.proto, ttl: 60 }, l4(d, x, 20))
    .slice(0, d.dice.pick([28, 28, 40, 48, 60, 20]))
  const [type, code, rest] = d.dice.weighted<readonly [number, number, number]>([
    [4, [3, d.dice.below(16), 0]],
    [4, [3, 4, d.dice.pick([1400, 1280, 576, 552, 68, 0, 300])]],
    [2, [11, d.dice.below(2), 0]],
    [1, [12, 0, 0x14000000]],
    [1, [5, d.dice.below(4), d.ownIp()]],
    [1, [4, 0, 0]],
    [1, [d.dice.below(256), 0, 0]],
  ])
  const src = d.dice.chance(60) ? (from.ips[0] ?? d.anyIp()) : d.anyIp()
  let packet = f.ipv4({ src, dst: x.src, proto: 1, ...headerExtras(d) }, f.icmp(type, code, rest, inner))
  if (d.dice.chance(10)) packet = f.damageIp(d.dice, packet)
  inject(d, from, packet, x.src)
}

function arpFrame(d: Draft): void {
  const i = d.dice.pick(d.ifaces)
  const ips = i.segment.ifaces.flatMap((x) => x.ips)
  const near = (): number => (ips.length > 0 && d.dice.chance(75) ? d.dice.pick(ips) : d.anyIp())
  const op = d.dice.weighted([
    [6, 1],
    [4, 2],
    [1, d.dice.pick([0, 3, 8, 9])],
  ])
  const sha = d.dice.chance(85)
    ? i.mac
    : d.dice.pick(['02:00:00:00:aa:01', BROADCAST, '00:00:00:00:00:00', '01:00:5e:01:02:03'])
  const spa = d.dice.weighted<() => number>([
    [7, () => i.ips[0] ?? near()],
    [1, () => 0],
    [2, near],
  ])()
  const tpa = d.dice.chance(12) ? spa : near()
  const tha = op === 2 ? d.dice.pick([BROADCAST, ...i.segment.ifaces.map((x) => x.mac)]) : '00:00:00:00:00:00'
  let message = f.arp({ op, sha, spa, tha, tpa })
  if (d.dice.chance(8)) {
    message = Uint8Array.from(message)
    const at = d.dice.below(8)
    message[at] = message[at]! ^ (1 << d.dice.below(8))
  }
  if (d.dice.chance(4)) message = message.slice(0, d.dice.between(4, 27))
  const dst = d.dice.chance(op === 1 ? 80 : 30) ? BROADCAST : macTo(d, i, tpa)
  let frame = f.ether(dst, d.dice.chance(92) ? i.mac : sha, 0x0806, message)
  if (d.dice.chance(20)) frame = f.concat(frame, new Uint8Array(18))
  d.steps.push({ op: 'frame', ns: i.ns, dev: i.dev, hex: hex(frame) })
}

function l2Frame(d: Draft): void {
  const i = d.dice.pick(d.ifaces)
  const others = i.segment.ifaces.filter((x) => x !== i).map((x) => x.mac)
  const dst = d.dice.weighted<() => string>([
    [others.length > 0 ? 6 : 0, () => d.dice.pick(others)],
    [2, () => BROADCAST],
    [2, () => '02:00:00:00:ee:01'],
    [1, () => `01:80:c2:00:00:0${d.dice.below(16).toString(16)}`],
    [1, () => d.dice.pick(['01:00:5e:00:00:05', '33:33:00:00:00:01', '01:80:c2:00:00:10'])],
    [1, () => i.mac],
  ])()
  const src = d.dice.weighted<() => string>([
    [6, () => i.mac],
    [2, () => '02:00:00:00:ee:01'],
    [others.length > 0 ? 1 : 0, () => d.dice.pick(others)],
    [1, () => d.dice.pick(['00:00:00:00:00:00', '01:02:03:04:05:06', '02:00:00:00:ee:02'])],
  ])()
  const type = d.dice.pick([0x88b5, 0x88b5, 0x1234, 0x86dd, 0x0026, 0x8863, 0x88cc, 0x9000, 0x8808])
  const vlan = d.dice.chance(20) ? [d.dice.pick([1, 100, 200, 0, 4095])] : []
  if (d.dice.chance(4)) vlan.push(7)
  const len = d.dice.pick([0, 10, 46, 46, 100])
  d.steps.push({ op: 'frame', ns: i.ns, dev: i.dev, hex: hex(f.ether(dst, src, type, f.pattern(len), vlan)) })
}

function ping(d: Draft): void {
  const i = stackIface(d)
  if (i === null) return
  const pmtudisc = d.dice.chance(30) ? { pmtudisc: d.dice.pick([0, 1, 2]), sock: `ping-${d.steps.length}` } : {}
  const src = d.dice.chance(20) ? { src: formatIpv4(d.dice.pick(i.ips)), sock: `ping-${d.steps.length}` } : {}
  const ttl = d.dice.chance(20) ? { ttl: d.dice.pick([1, 2, 3]) } : {}
  const tos = d.dice.chance(10) ? { tos: d.dice.pick([0x10, 0xb8, 2]) } : {}
  const len = d.about('mtu', 'frag')
    ? d.dice.pick([56, 548, 1252, 1372, 1400, 1472, 1473, 1972, 3000])
    : d.dice.pick([0, 8, 56])
  const id = d.port()
  const dst = formatIpv4(d.anyIp())
  for (let n = d.dice.between(1, 2), seq = 1; n > 0; n--, seq++) {
    d.steps.push({ op: 'ping', ns: i.ns, dst, icmp_id: id, seq, len, ...pmtudisc, ...src, ...ttl, ...tos })
  }
}

function udpExchange(
  d: Draft,
  servers: readonly { readonly id: string; readonly ip: number; readonly port: number; readonly ns: string }[],
): void {
  const i = stackIface(d)
  if (i === null) return
  const id = `u${d.steps.length}`
  const service = d.services.length > 0 && d.dice.chance(50) ? d.dice.pick(d.services) : null
  const server = servers.length > 0 && d.dice.chance(85) ? d.dice.pick(servers) : null
  const to: [string, number] =
    service !== null
      ? [formatIpv4(service.ip), service.port]
      : server !== null
        ? [formatIpv4(server.ip), server.port]
        : [formatIpv4(d.anyIp()), d.dice.pick(SERVER_PORTS)]
  const connected = d.dice.chance(40)
  const bind: [string, number] = [d.dice.chance(60) ? '0.0.0.0' : formatIpv4(d.dice.pick(i.ips)), d.port()]
  d.steps.push({ op: 'udp_open', ns: i.ns, id, bind, ...(connected ? { connect: to } : {}), ...sockOpts(d) })
  const len = d.about('mtu', 'frag')
    ? d.dice.pick([10, 548, 1300, 1373, 1422, 1472, 1473, 2000, 2972])
    : d.dice.pick([0, 5, 64, 200])
  for (let n = d.dice.between(1, 3); n > 0; n--) {
    d.steps.push({ op: 'udp_send', id, ...(connected ? {} : { to }), len })
    if (server !== null && d.dice.chance(80)) {
      d.steps.push({ op: 'udp_recv', id: server.id, reply: d.dice.chance(85) })
      d.steps.push({ op: 'udp_recv', id })
    }
  }
  if (d.dice.chance(30)) d.steps.push({ op: 'close', id })
}

function tcpSession(d: Draft): void {
  const client = stackIface(d)
  const targets = d.hosts().filter((i) => i.ips.length > 0)
  if (client === null || targets.length === 0) return
  const server = d.dice.pick(targets)
  d.usesTcpSockets = true
  const n = d.steps.length
  const port = d.dice.pick(SERVER_PORTS) + d.dice.below(3) * 100 + n
  const services = d.services.filter((s) => s.proto === 6 && s.backends.some((b) => b.ip === server.ips[0]))
  const service = services.length > 0 && d.dice.chance(60) ? d.dice.pick(services) : null
  const listenPort = service?.backends.find((b) => b.ip === server.ips[0])?.port ?? port
  const to: [string, number] =
    service === null ? [formatIpv4(server.ips[0]!), port] : [formatIpv4(service.ip), service.port]
  const slow = { quiet_ms: TCP_QUIET_MS }
  if (d.dice.chance(90)) d.steps.push({ op: 'tcp_listen', ns: server.ns, id: `l${n}`, bind: ['0.0.0.0', listenPort] })
  d.steps.push({ op: 'tcp_connect', ns: client.ns, id: `c${n}`, bind: ['', d.port()], to })
  d.steps.push({ op: 'tcp_status', id: `c${n}` })
  d.steps.push({ op: 'tcp_accept', id: `l${n}`, as: `s${n}` })
  for (let k = d.dice.below(3); k > 0; k--) {
    const [from, other] = d.dice.chance(60) ? [`c${n}`, `s${n}`] : [`s${n}`, `c${n}`]
    const len = d.dice.pick([1, 10, 300, 500])
    d.steps.push({ op: 'tcp_send', id: from, len, ...slow })
    if (d.dice.chance(80)) d.steps.push({ op: 'tcp_recv', id: other, ...slow })
  }
  const ends = d.dice.shuffle([`c${n}`, `s${n}`])
  if (d.dice.chance(30)) d.steps.push({ op: 'tcp_shutdown', id: ends[0]!, ...slow })
  if (d.dice.chance(80)) d.steps.push({ op: 'close', id: ends[0]!, ...slow })
  if (d.dice.chance(80)) d.steps.push({ op: 'close', id: ends[1]!, ...slow })
}

/** A change in the middle: routes, addresses, neighbours, MTU, conntrack, sysctls. */
function configChange(d: Draft): void {
  const i = d.dice.pick(d.ifaces)
  const cmd = (ns: string, text: string): void => {
    d.steps.push({ op: 'cmd', ns, argv: text.split(' '), may_fail: true })
  }
  const router = d.routers.size > 0 ? d.dice.pick([...d.routers]) : i.ns
  const change = d.dice.below(9)
  if (change === 0)
    cmd(router, `ip route add ${d.dice.pick(['unreachable', 'blackhole', 'prohibit'])} ${formatIpv4(d.anyIp())}/32`)
  else if (change === 1) cmd(i.ns, `ip neigh del ${formatIpv4(d.anyHostIp())} dev ${i.dev}`)
  else if (change === 2 && i.ips.length > 0)
    cmd(i.ns, `ip addr del ${formatIpv4(i.ips[0]!)}/${i.segment.len} dev ${i.dev}`)
  else if (change === 3) cmd(router, `sysctl -qw net.ipv4.ip_forward=${d.dice.below(2)}`)
  else if (change === 4) cmd(i.ns, `ip route del default`)
  else if (change === 5) cmd(router, 'conntrack -F')
  else if (change === 6) cmd(i.ns, `ip link set ${i.dev} mtu ${d.dice.pick([1500, 1400, 1280, 600])}`)
  else if (change === 7) cmd(router, `ip route flush cache`)
  else
    cmd(
      i.ns,
      `ip neigh replace ${formatIpv4(d.anyIp())} lladdr 02:00:00:00:bb:01 dev ${i.dev} nud ${d.dice.pick(['permanent', 'reachable', 'stale'])}`,
    )
}
