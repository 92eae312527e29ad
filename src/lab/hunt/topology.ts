/**
 * Topologies: hosts, routers and bridges out of a handful of shapes that drivers build (a line, a star, a bridge with
 * pods, two nodes, pods behind /32 routes as Calico's), with random MTUs, prefix lengths and bridge port flags.
 *
 * Not generated: devices other than veth and bridge, links that start down, bridges without ports (they have no carrier).
 */
import { formatIpv4 } from '../../addr/ipv4.ts'
import { type Draft, type Iface, maskOf, type Segment } from './draft.ts'

const MTUS = [1500, 1500, 1500, 1450, 1400, 1280, 1006, 600, 576, 2000]

function segment(d: Draft, members: number): Segment {
  const len = d.dice.weighted([
    [10, 24],
    [members <= 2 ? 3 : 0, 30],
    [members <= 2 ? 3 : 0, 31],
    [2, 28],
    [1, 16],
    [1, 20],
  ])
  const mtu = d.about('mtu', 'frag') || d.dice.chance(20) ? d.dice.pick(MTUS) : 1500
  const s: Segment = { net: d.subnet(len), len, mtu, ifaces: [], used: 0 }
  d.segments.push(s)
  return s
}

/** The next free address of a segment. */
export function nextIp(s: Segment): number {
  const size = 2 ** (32 - s.len)
  const first = s.len >= 31 ? 0 : 1
  return (s.net + ((first + s.used++) % size)) | 0
}

function netns(d: Draft, name: string, router = false): string {
  if (!d.netns.includes(name)) d.netns.push(name)
  if (router) d.routers.add(name)
  return name
}

function iface(d: Draft, ns: string, dev: string, mac: string, s: Segment, addressed = true): Iface {
  const i: Iface = { ns, dev, mac, mtu: s.mtu, segment: s, ips: [] }
  s.ifaces.push(i)
  d.ifaces.push(i)
  if (!addressed) return i
  const ip = nextIp(s)
  i.ips.push(ip)
  d.addrs.push({ ns, dev, addr: `${formatIpv4(ip)}/${s.len}`, ...addrOpts(d, s) })
  return i
}

function addrOpts(d: Draft, s: Segment): { opts?: string } {
  if (s.len < 31 && d.dice.chance(15)) return { opts: `broadcast ${formatIpv4((s.net + 2 ** (32 - s.len) - 1) | 0)}` }
  return {}
}

function devName(d: Draft, ns: string): string {
  return `eth${d.ifaces.filter((i) => i.ns === ns).length}`
}

/** A veth pair with a stack on both ends. */
function wire(d: Draft, a: string, b: string): void {
  const s = segment(d, 2)
  const devA = devName(d, a)
  const devB = devName(d, b)
  const macA = d.mac()
  const macB = d.mac()
  d.links.push({ type: 'veth', a: [a, devA, macA], b: [b, devB, macB], mtu: s.mtu })
  iface(d, a, devA, macA, s)
  iface(d, b, devB, macB, s)
}

function portFlags(d: Draft): { flags?: string } {
  const flags: string[] = []
  const p = d.about('l2') ? 25 : 8
  if (d.dice.chance(p * 2)) flags.push('hairpin on')
  if (d.dice.chance(p)) flags.push(d.dice.pick(['learning off', 'flood off', 'isolated on', 'mcast_flood off']))
  if (d.dice.chance(p >> 1)) flags.push(d.dice.pick(['bcast_flood off', 'isolated on']))
  return flags.length === 0 ? {} : { flags: flags.join(' ') }
}

/** A bridge in `ns` with one veth to each member; `addressed` gives the bridge itself an address (cbr0). */
function bridge(d: Draft, ns: string, name: string, members: readonly string[], addressed: boolean): void {
  const s = segment(d, members.length + 1)
  const mac = d.mac()
  d.devices.push({ ns, name, type: 'bridge', mac, mtu: s.mtu })
  d.bridges.set(ns, name)
  if (addressed) iface(d, ns, name, mac, s)
  members.forEach((member, k) => {
    const dev = devName(d, member)
    const port = `${name}p${k}`
    const memberMac = d.mac()
    const linkMtu = s.mtu
    d.links.push({ type: 'veth', a: [member, dev, memberMac], b: [ns, port, d.mac()], mtu: linkMtu })
    d.ports.push({ ns, bridge: name, dev: port, ...portFlags(d) })
    iface(d, member, dev, memberMac, s)
  })
}

/** Static routes so that every namespace reaches every segment, by the fewest routers. */
function connectAll(d: Draft): void {
  for (const ns of d.netns) {
    const mine = d.of(ns).filter((i) => i.ips.length > 0)
    if (mine.length === 0) continue
    if (!d.routers.has(ns) && d.dice.chance(75)) {
      const gateway = mine[0]!.segment.ifaces.find((i) => d.routers.has(i.ns) && i.ips.length > 0)
      if (gateway !== undefined) {
        d.routes.push({ ns, dst: 'default', via: formatIpv4(gateway.ips[0]!), dev: mine[0]!.dev })
        continue
      }
    }
    for (const target of d.segments) {
      if (mine.some((i) => i.segment === target)) continue
      const hop = nextHop(d, ns, target)
      if (hop === null || d.dice.chance(4)) continue
      d.routes.push({
        ns,
        dst: `${formatIpv4(maskOf(target.net, target.len))}/${target.len}`,
        via: formatIpv4(hop.ips[0]!),
      })
    }
  }
}

/** The neighbouring router's interface on the shortest way to a segment. */
function nextHop(d: Draft, from: string, target: Segment): Iface | null {
  const seen = new Set([from])
  let wave: { readonly ns: string; readonly first: Iface | null }[] = [{ ns: from, first: null }]
  while (wave.length > 0) {
    const next: { ns: string; first: Iface | null }[] = []
    for (const { ns, first } of wave) {
      for (const i of d.of(ns)) {
        if (i.segment === target && first !== null) return first
        for (const peer of i.segment.ifaces) {
          if (seen.has(peer.ns) || !d.routers.has(peer.ns) || peer.ips.length === 0) continue
          seen.add(peer.ns)
          next.push({ ns: peer.ns, first: first ?? peer })
        }
      }
    }
    wave = next
  }
  return null
}

/** Pods with /32 addresses behind a router that answers for 169.254.1.1, as Calico has them. */
function calico(d: Draft): void {
  const r = netns(d, 'r1', true)
  const pods = d.dice.between(1, 3)
  for (let k = 0; k < pods; k++) {
    const p = netns(d, `p${k}`)
    const s: Segment = { net: d.subnet(32), len: 32, mtu: d.dice.pick(MTUS), ifaces: [], used: 0 }
    d.segments.push(s)
    const cali = `cali${k}`
    const macs = [d.mac(), 'ee:ee:ee:ee:ee:ee'] as const
    d.links.push({ type: 'veth', a: [p, 'eth0', macs[0]], b: [r, cali, macs[1]], mtu: s.mtu })
    const pod: Iface = { ns: p, dev: 'eth0', mac: macs[0], mtu: s.mtu, segment: s, ips: [(s.net + 5) | 0] }
    const host: Iface = { ns: r, dev: cali, mac: macs[1], mtu: s.mtu, segment: s, ips: [] }
    s.ifaces.push(pod, host)
    d.ifaces.push(pod, host)
    const ip = formatIpv4(pod.ips[0]!)
    d.addrs.push({ ns: p, dev: 'eth0', addr: `${ip}/32` })
    d.routes.push({ ns: p, dst: '169.254.1.1', dev: 'eth0', scope: 'link' })
    d.routes.push({ ns: p, dst: 'default', via: '169.254.1.1', dev: 'eth0' })
    d.routes.push({ ns: r, dst: ip, dev: cali, scope: 'link' })
    d.set(r, `net.ipv4.conf.${cali}.proxy_arp`, 1)
    if (d.dice.chance(60)) d.set(r, `net.ipv4.conf.${cali}.rp_filter`, 1)
  }
  if (d.dice.chance(70)) {
    wire(d, netns(d, 'h1'), r)
    for (const i of d.of('r1').filter((x) => x.ips.length > 0)) {
      for (const pod of d.ifaces.filter((x) => x.ns.startsWith('p'))) {
        d.routes.push({ ns: 'h1', dst: formatIpv4(pod.ips[0]!), via: formatIpv4(i.ips[0]!) })
      }
    }
  }
}

function podNode(d: Draft, node: string, first: number): void {
  netns(d, node, true)
  const members = Array.from({ length: d.dice.between(1, 2) }, (_, k) => netns(d, `p${first + k}`))
  bridge(d, node, 'cbr0', members, true)
}

const SHAPES: { readonly [name: string]: (d: Draft) => void } = {
  line(d) {
    netns(d, 'r1', true)
    wire(d, netns(d, 'h1'), 'r1')
    wire(d, netns(d, 'h2'), 'r1')
  },
  star(d) {
    netns(d, 'r1', true)
    for (const h of ['h1', 'h2', 'h3']) wire(d, netns(d, h), 'r1')
  },
  chain(d) {
    netns(d, 'r1', true)
    netns(d, 'r2', true)
    wire(d, netns(d, 'h1'), 'r1')
    wire(d, 'r1', 'r2')
    wire(d, netns(d, 'h2'), 'r2')
  },
  pair(d) {
    wire(d, netns(d, 'h1'), netns(d, 'h2'))
  },
  node(d) {
    podNode(d, 'r1', 1)
    wire(d, netns(d, 'h1'), 'r1')
  },
  nodes(d) {
    podNode(d, 'r1', 1)
    podNode(d, 'r2', 3)
    wire(d, 'r1', 'r2')
  },
  switched(d) {
    netns(d, 'sw')
    const hosts = Array.from({ length: d.dice.between(2, 3) }, (_, k) => netns(d, `h${k + 1}`))
    bridge(d, 'sw', 'br0', hosts, d.dice.chance(30))
  },
  calico,
}

/** Builds the devices, addresses and basic routes. */
export function buildTopology(d: Draft): void {
  const l2 = d.about('l2') ? 10 : d.about('arp', 'bnf') ? 4 : 1
  const l3 = d.about('l2', 'bnf') && d.topics.size === 1 ? 1 : 4
  const nodes = d.about('bnf', 'nat', 'l2') ? 6 : 3
  const shape = d.dice.weighted([
    [l3 * 2, 'line'],
    [l3, 'star'],
    [l3, 'chain'],
    [1, 'pair'],
    [nodes, 'node'],
    [2, 'nodes'],
    [l2, 'switched'],
    [d.about('arp') ? 5 : 2, 'calico'],
  ])
  SHAPES[shape]!(d)
  connectAll(d)
  secondaries(d)
  d.netns.forEach((ns) => {
    if (d.routers.has(ns) && !d.dice.chance(3)) d.set(ns, 'net.ipv4.ip_forward', 1)
  })
}

/** More addresses: secondaries of the same subnet, other subnets, /32 on lo or on the device, peers. */
function secondaries(d: Draft): void {
  for (const i of [...d.ifaces]) {
    if (i.ips.length === 0 || !d.dice.chance(15)) continue
    const kind = d.dice.below(4)
    if (kind === 0 && i.segment.len <= 28) {
      const ip = nextIp(i.segment)
      i.ips.push(ip)
      d.addrs.push({ ns: i.ns, dev: i.dev, addr: `${formatIpv4(ip)}/${i.segment.len}` })
    } else if (kind === 1) {
      const ip = (d.subnet(24) + 7) | 0
      i.ips.push(ip)
      d.addrs.push({ ns: i.ns, dev: i.dev, addr: `${formatIpv4(ip)}/${d.dice.pick([24, 25, 32])}` })
    } else if (kind === 2) {
      const ip = (d.subnet(32) + 1) | 0
      d.addrs.push({ ns: i.ns, dev: 'lo', addr: `${formatIpv4(ip)}/32` })
      i.ips.push(ip)
    } else {
      const ip = (d.subnet(32) + 9) | 0
      const peer = (ip + 1) | 0
      d.addrs.push({ ns: i.ns, dev: i.dev, addr: formatIpv4(ip), opts: `peer ${formatIpv4(peer)}/32` })
      i.ips.push(ip)
    }
  }
}
