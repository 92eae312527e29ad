/**
 * Hand-made Trace documents with real frames, for tests of reports: a walk is written as its hops, frames are built
 * packet by packet, numbers and interfaces follow.
 *
 *     const doc = new TraceDoc()
 *     doc.at('n1', 'node:n1').frame('eth0', 'tx', pkt()...).hop('cbr0', 'route', 'route: ...', { ... })
 *     doc.build({ verdict: 'DROPPED' })
 */
import type { Trace, TraceFrame, TraceHop } from '../../src/query/trace-types.ts'
import { API_VERSION } from '../../src/query/trace-types.ts'
import { type PacketBuilder, pkt } from './packet-builder.ts'

/** Collects hops and frames. */
export class TraceDoc {
  readonly walk: TraceHop[] = []
  readonly reply: TraceHop[] = []
  readonly frames: TraceFrame[] = []
  readonly interfaces: Trace['interfaces'][number][] = []
  private node: string | null = null
  private netns = ''
  private isReply = false

  /** The namespace of the hops that follow. */
  at(node: string | null, netns: string): this {
    this.node = node
    this.netns = netns
    return this
  }

  /** Hops that follow belong to the reply. */
  replies(): this {
    this.isReply = true
    return this
  }

  /** A hop without a frame. */
  hop(device: string | null, point: string, action: string, detail: TraceHop['detail'] = {}): this {
    return this.add(device, point, action, null, detail)
  }

  /** A frame on a device. */
  frame(device: string, direction: 'rx' | 'tx', packet: PacketBuilder, packetNumber = 1): this {
    const { node, netns } = this
    const hex = packet.hex()
    this.frames.push({ node, netns, device, direction, atNs: this.frames.length * 1000, hex, packet: packetNumber })
    if (!this.interfaces.some((i) => i.netns === netns && i.device === device)) {
      this.interfaces.push({ node, netns, device, linkType: 'ether' })
    }
    const verb = direction === 'tx' ? 'transmits' : 'receives'
    return this.add(device, direction, `${device} ${verb} ${hex.length / 2} bytes`, this.frames.length - 1, {})
  }

  /** The document; a delivered TCP packet from shop/web-0 to svc/shop/api:80 unless told otherwise. */
  build(changes: Partial<Trace> = {}): Trace {
    return {
      apiVersion: API_VERSION,
      kind: 'Trace',
      question: {
        src: {
          asked: 'deploy/shop/web',
          kind: 'pod',
          name: 'shop/web-0',
          node: 'n1',
          ip: '10.244.0.2',
          how: 'first ready pod of Deployment shop/web',
        },
        dst: { asked: 'svc/shop/api:80', kind: 'service', name: 'shop/api', ip: '10.96.0.10' },
        protocol: 'TCP',
        sport: 40000,
        dport: 80,
        size: 0,
        flow: false,
        cni: 'kubenet',
        proxyMode: 'iptables',
        seed: 1,
      },
      verdict: 'DELIVERED',
      reason: { code: 'CONSUMED', text: 'A socket took the packet.', hint: 'It arrived.' },
      nearestMiss: null,
      decidedBy: {
        kind: 'Service',
        namespace: 'shop',
        name: 'api',
        rule: 'spec.ports[0]',
        file: 'shop.yaml',
        line: 12,
      },
      delivered: { pod: 'shop/api-0', node: 'n2', src: '10.244.0.2', sport: 40000, dst: '10.244.1.2', dport: 8080 },
      walk: this.walk,
      reply: this.reply,
      replyVerdict: null,
      flow: null,
      packets: [],
      frames: this.frames,
      interfaces: this.interfaces,
      names: { '10.96.0.10': 'svc/shop/api', '10.244.0.2': 'pod/shop/web-0' },
      notes: [],
      ...changes,
    }
  }

  private add(
    device: string | null,
    point: string,
    action: string,
    frame: number | null,
    detail: TraceHop['detail'],
  ): this {
    const hops = this.isReply ? this.reply : this.walk
    hops.push({ n: hops.length + 1, node: this.node, netns: this.netns, device, point, action, frame, detail })
    return this
  }
}

const MAC = { pod: '0a:58:0a:f4:00:02', gateway: '0a:58:0a:f4:00:01', n1: '02:00:00:00:01:01', n2: '02:00:00:00:02:01' }

/** A TCP segment of the walk. */
export function segment(
  src: string,
  sport: number,
  dst: string,
  dport: number,
  flags: string,
  ttl = 64,
): PacketBuilder {
  return pkt().eth({ src: MAC.pod, dst: MAC.gateway }).ip({ src, dst, ttl, df: true }).tcp(sport, dport, { flags })
}

/** The walk of a SYN through a ClusterIP to a pod on another node, and of its SYN+ACK. */
export function crossNodeTrace(changes: Partial<Trace> = {}): Trace {
  const syn = segment('10.244.0.2', 40000, '10.96.0.10', 80, 'S')
  const dnat = segment('10.244.0.2', 40000, '10.244.1.2', 8080, 'S', 63)
  const answer = segment('10.244.1.2', 8080, '10.244.0.2', 40000, 'SA', 64)
  const undone = segment('10.96.0.10', 80, '10.244.0.2', 40000, 'SA', 63)
  const origin = { kind: 'Service', namespace: 'shop', name: 'api', rule: 'spec.ports[0]', file: 'shop.yaml', line: 12 }
  return new TraceDoc()
    .at('n1', 'pod:shop/web-0')
    .hop('eth0', 'route', 'route: default via 10.244.0.1 dev eth0 (table main)', { type: 'unicast', route: 'default' })
    .hop('eth0', 'neigh', 'neighbour 10.244.0.1 is 0a:58:0a:f4:00:01 (REACHABLE)', { state: 'REACHABLE' })
    .frame('eth0', 'tx', syn)
    .at('n1', 'node:n1')
    .frame('veth0f1e2d3c4b5', 'rx', syn)
    .hop('veth0f1e2d3c4b5', 'bridge', 'port veth0f1e2d3c4b5 of cbr0', { bridge: 'cbr0' })
    .hop('cbr0', 'local-in', 'cbr0 hands the frame to the host')
    .hop('cbr0', 'conntrack', 'conntrack: NEW', { id: 1, state: 'NEW' })
    .hop('cbr0', 'rule', 'nat PREROUTING rule 1: KUBE-SERVICES', {
      ...{ table: 'nat', chain: 'PREROUTING', rule: 1, target: 'KUBE-SERVICES', matched: true },
      text: '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
    })
    .hop('cbr0', 'rule', 'nat KUBE-SERVICES rule 4: KUBE-SVC-ABCDEFGHIJKLMNOP', {
      ...{ table: 'nat', chain: 'KUBE-SERVICES', rule: 4, target: 'KUBE-SVC-ABCDEFGHIJKLMNOP', matched: true, origin },
      text: '-A KUBE-SERVICES -d 10.96.0.10/32 -p tcp -m comment --comment "shop/api:http cluster IP" -m tcp --dport 80 -j KUBE-SVC-ABCDEFGHIJKLMNOP',
    })
    .hop('cbr0', 'rule', 'nat KUBE-SVC-ABCDEFGHIJKLMNOP rule 2: KUBE-SEP-QRSTUVWXYZABCDEF', {
      ...{
        table: 'nat',
        chain: 'KUBE-SVC-ABCDEFGHIJKLMNOP',
        rule: 2,
        target: 'KUBE-SEP-QRSTUVWXYZABCDEF',
        matched: true,
        origin,
      },
      text: '-A KUBE-SVC-ABCDEFGHIJKLMNOP -m comment --comment "shop/api:http -> 10.244.1.2:8080" -j KUBE-SEP-QRSTUVWXYZABCDEF',
    })
    .hop('cbr0', 'rule', 'nat KUBE-SEP-QRSTUVWXYZABCDEF rule 2: DNAT --to-destination 10.244.1.2:8080', {
      ...{
        table: 'nat',
        chain: 'KUBE-SEP-QRSTUVWXYZABCDEF',
        rule: 2,
        target: 'DNAT --to-destination 10.244.1.2:8080',
        matched: true,
        origin,
      },
      text: '-A KUBE-SEP-QRSTUVWXYZABCDEF -p tcp -m comment --comment "shop/api:http" -m tcp -j DNAT --to-destination 10.244.1.2:8080',
    })
    .hop('cbr0', 'nat', 'NAT: destination becomes 10.244.1.2 (pod/shop/api-0):8080', {
      manip: 'destination',
      ip: '10.244.1.2',
      port: 8080,
    })
    .hop('eth0', 'route', 'route: 10.244.1.0/24 via 172.18.0.3 (node/n2) dev eth0 (table main)', { type: 'unicast' })
    .hop('eth0', 'forward', 'forwards, TTL now 63', { ttl: 63 })
    .frame('eth0', 'tx', dnat)
    .at('n2', 'node:n2')
    .frame('eth0', 'rx', dnat)
    .hop('cbr0', 'forward', 'forwards, TTL now 62', { ttl: 62 })
    .at('n2', 'pod:shop/api-0')
    .frame('eth0', 'rx', dnat)
    .hop('eth0', 'socket', 'socket on port 8080 takes it', { port: 8080 })
    .replies()
    .frame('eth0', 'tx', answer, 2)
    .at('n1', 'node:n1')
    .frame('eth0', 'rx', answer, 2)
    .hop('eth0', 'nat', 'NAT: source becomes 10.96.0.10 (svc/shop/api):80', {
      manip: 'source',
      ip: '10.96.0.10',
      port: 80,
    })
    .at('n1', 'pod:shop/web-0')
    .frame('eth0', 'rx', undone, 2)
    .build({ replyVerdict: { verdict: 'DELIVERED', code: 'CONSUMED', text: 'A socket took the packet.' }, ...changes })
}

/** A SYN that a rule rejects, with a near miss. */
export function rejectedTrace(): Trace {
  const syn = segment('10.244.0.2', 40000, '10.96.0.10', 80, 'S')
  return new TraceDoc()
    .at('n1', 'pod:shop/web-0')
    .frame('eth0', 'tx', syn)
    .at('n1', 'node:n1')
    .frame('veth0f1e2d3c4b5', 'rx', syn)
    .hop('cbr0', 'rule', 'filter KUBE-SERVICES rule 3: REJECT --reject-with icmp-port-unreachable', {
      ...{
        table: 'filter',
        chain: 'KUBE-SERVICES',
        rule: 3,
        target: 'REJECT --reject-with icmp-port-unreachable',
        matched: true,
      },
      text: '-A KUBE-SERVICES -d 10.96.0.10/32 -p tcp -m comment --comment "shop/api:http has no endpoints" -m tcp --dport 80 -j REJECT --reject-with icmp-port-unreachable',
    })
    .hop('cbr0', 'end', 'A netfilter rule rejected the packet with an answer.', {
      reason: 'NETFILTER_REJECT',
      verdict: 'REJECTED',
    })
    .build({
      verdict: 'REJECTED',
      reason: {
        code: 'NETFILTER_REJECT',
        text: 'A netfilter rule rejected the packet with an answer.',
        hint: 'The trace names table, chain and rule.',
      },
      delivered: null,
      nearestMiss:
        'Service shop/api (shop.yaml:5) selects app=apii: no pod in shop has these labels; nearest is pod api-0 with app=api instead of apii.',
    })
}
