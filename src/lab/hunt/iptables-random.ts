/**
 * A random table: base chains with policies, chains of its own, rules with up to three matches.
 */
import { formatIpv4 } from '../../addr/ipv4.ts'
import type { Draft } from './draft.ts'
import { setDirections } from './ipsets.ts'

type Hook = 'PREROUTING' | 'INPUT' | 'FORWARD' | 'OUTPUT' | 'POSTROUTING'

const TABLE_HOOKS: { readonly [table: string]: readonly Hook[] } = {
  filter: ['INPUT', 'FORWARD', 'OUTPUT'],
  nat: ['PREROUTING', 'INPUT', 'OUTPUT', 'POSTROUTING'],
  mangle: ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'],
  raw: ['PREROUTING', 'OUTPUT'],
}

interface Chain {
  readonly name: string
  readonly hooks: readonly Hook[]
}

interface Rule {
  /** The target has chosen the destination. */
  dst: boolean
  proto: string
  head: string[]
  matches: string[]
}

/** The text of one table. */
export function randomTable(d: Draft, ns: string, table: string): string {
  const hooks = TABLE_HOOKS[table]!
  const own: Chain[] = []
  for (let n = d.dice.below(4); n > 0; n--) {
    const set = d.dice.chance(50)
      ? [d.dice.pick(hooks)]
      : d.dice.shuffle(hooks).slice(0, d.dice.between(1, hooks.length))
    own.push({ name: `${d.dice.pick(['cali', 'X', 'POL'])}-${table}-${own.length}`, hooks: set })
  }
  const lines = [`*${table}`]
  for (const h of hooks) lines.push(`:${h} ${table === 'filter' && d.dice.chance(15) ? 'DROP' : 'ACCEPT'} [0:0]`)
  for (const c of own) lines.push(`:${c.name} - [0:0]`)
  const most = d.about('filter', 'nat') ? 5 : 3
  for (const h of hooks)
    for (let n = d.dice.below(most); n > 0; n--) lines.push(rule(d, ns, table, { name: h, hooks: [h] }, own, -1))
  own.forEach((c, k) => {
    for (let n = d.dice.between(1, most); n > 0; n--) lines.push(rule(d, ns, table, c, own, k))
  })
  return `${lines.join('\n')}\nCOMMIT\n`
}

function rule(d: Draft, ns: string, table: string, chain: Chain, own: readonly Chain[], index: number): string {
  const r: Rule = { dst: false, proto: '', head: [], matches: [] }
  const within = (...hooks: Hook[]): boolean => chain.hooks.every((h) => hooks.includes(h))
  const target = chooseTarget(d, table, chain, own, index, within, r)
  if (r.proto === '' && d.dice.chance(45))
    r.proto = d.dice.pick(['tcp', 'udp', 'icmp', 'tcp', 'udp', 'icmp', '! tcp', '47', 'sctp'])
  const not = (): string => (d.dice.chance(12) ? '! ' : '')
  if (d.dice.chance(25)) r.head.push(`${not()}-s ${d.anyPrefix()}`)
  if (!r.dst && d.dice.chance(25)) r.head.push(`${not()}-d ${d.anyPrefix()}`)
  const devs = [
    ...d.of(ns).map((i) => i.dev),
    ...d.ports.filter((p) => p.ns === ns).map((p) => p.dev),
    'lo',
    'eth+',
    'cali+',
  ]
  if (within('PREROUTING', 'INPUT', 'FORWARD') && d.dice.chance(20)) r.head.push(`${not()}-i ${d.dice.pick(devs)}`)
  if (within('OUTPUT', 'FORWARD', 'POSTROUTING') && d.dice.chance(20)) r.head.push(`${not()}-o ${d.dice.pick(devs)}`)
  if (r.proto !== '') r.head.push(r.proto.startsWith('!') ? `! -p ${r.proto.slice(2)}` : `-p ${r.proto}`)
  if (d.dice.chance(4)) r.head.push(`${not()}-f`)
  for (
    let n = d.dice.weighted([
      [4, 0],
      [5, 1],
      [2, 2],
    ]);
    n > 0;
    n--
  ) {
    const m = chooseMatch(d, ns, r, within)
    if (m !== '' && !r.matches.some((x) => x.split(' ')[1] === m.split(' ')[1])) r.matches.push(m)
  }
  return ['-A', chain.name, ...r.head, ...r.matches, target].filter((x) => x !== '').join(' ')
}

const TCP_FLAGS = [
  'FIN,SYN,RST,ACK SYN',
  'SYN,RST SYN',
  'ALL NONE',
  'ALL FIN,PSH,URG',
  'RST RST',
  'ACK ACK',
  'FIN,SYN FIN,SYN',
]
const PORTS = ['80', '443', '53', '8080', '1:1024', '20000:20010', '30000:', ':100']

function chooseMatch(d: Draft, ns: string, r: Rule, within: (...hooks: Hook[]) => boolean): string {
  const not = (): string => (d.dice.chance(15) ? '! ' : '')
  const pick = d.dice.pick.bind(d.dice)
  const sets = d.sets.get(ns) ?? []
  const ported = r.proto === 'tcp' || r.proto === 'udp' || r.proto === 'sctp'
  const range = (): string => {
    const [a, b] = [d.anyIp(), d.anyIp()]
    return a >>> 0 <= b >>> 0 ? `${formatIpv4(a)}-${formatIpv4(b)}` : `${formatIpv4(b)}-${formatIpv4(a)}`
  }
  const options: (readonly [number, () => string])[] = [
    [ported ? 14 : 0, () => `-m ${r.proto} ${not()}${pick(['--dport', '--dport', '--sport'])} ${pick(PORTS)}`],
    [
      r.proto === 'tcp' ? 8 : 0,
      () =>
        pick([`-m tcp ${not()}--tcp-flags ${pick(TCP_FLAGS)}`, `-m tcp ${not()}--tcp-option ${pick([2, 3, 4, 5, 8])}`]),
    ],
    [r.proto === 'tcp' ? 2 : 0, () => `-m tcpmss ${not()}--mss ${pick(['1:1000', '1460', '500:1400'])}`],
    [r.proto === 'tcp' ? 1 : 0, () => pick(['-m ecn --ecn-tcp-cwr', '-m ecn --ecn-tcp-ece'])],
    [
      r.proto === 'icmp' ? 14 : 0,
      () => `-m icmp ${not()}--icmp-type ${pick(['8', '0', '3', '3/3', '3/4', '11', 'any', '13', '5'])}`,
    ],
    [
      ported ? 5 : 0,
      () =>
        `-m multiport ${not()}${pick(['--dports', '--sports', '--ports'])} ${pick(['80,443', '53,1000:2000', '20000:20020,8080', '5201'])}`,
    ],
    [
      10,
      () =>
        `-m conntrack ${not()}--ctstate ${pick(['NEW', 'ESTABLISHED', 'RELATED,ESTABLISHED', 'INVALID', 'NEW,INVALID', 'UNTRACKED', 'DNAT', 'SNAT', 'RELATED'])}`,
    ],
    [
      4,
      () =>
        `-m conntrack ${pick([`${not()}--ctstatus ${pick(['ASSURED', 'CONFIRMED', 'SEEN_REPLY', 'NONE', 'EXPECTED'])}`, `--ctdir ${pick(['ORIGINAL', 'REPLY'])}`, `${not()}--ctorigdst ${d.anyPrefix()}`, `${not()}--ctreplsrc ${d.anyPrefix()}`, `${not()}--ctproto ${pick(['6', '17', '1'])}`, `${not()}--ctorigdstport ${pick(['80', '53', '1000:30000'])}`, `${not()}--ctorigsrc ${d.anyPrefix()}`])}`,
    ],
    [2, () => `-m state --state ${pick(['NEW', 'ESTABLISHED', 'INVALID', 'RELATED'])}`],
    [6, () => `-m mark ${not()}--mark ${pick(['0x1', '0x2/0x2', '0x4000/0x4000', '0x0/0xff', '0x10'])}`],
    [4, () => `-m connmark ${not()}--mark ${pick(['0x1', '0x2/0x2', '0x0/0xff', '0x10'])}`],
    [
      6,
      () =>
        `-m addrtype ${pick([`${not()}--dst-type ${pick(['LOCAL', 'UNICAST', 'BROADCAST', 'MULTICAST', 'LOCAL,BROADCAST', 'UNREACHABLE', 'BLACKHOLE'])}`, `${not()}--src-type ${pick(['LOCAL', 'UNICAST', 'BROADCAST'])}`])}${within('PREROUTING', 'INPUT') && d.dice.chance(20) ? ' --limit-iface-in' : within('OUTPUT', 'POSTROUTING') && d.dice.chance(20) ? ' --limit-iface-out' : ''}`,
    ],
    [3, () => `-m statistic --mode nth ${not()}--every ${pick([2, 3])} --packet ${pick([0, 1])}`],
    [3, () => `-m length ${not()}--length ${pick(['0:64', '28', '100:', '1000:1500', '60'])}`],
    [3, () => `-m tos ${not()}--tos ${pick(['0x10', '0x00/0xff', '0x01/0x03', 'Minimize-Delay'])}`],
    [2, () => `-m dscp ${not()}--dscp ${pick(['0x00', '0x2e', '0x08'])}`],
    [3, () => `-m ttl ${pick([`${not()}--ttl-eq 64`, '--ttl-lt 3', '--ttl-gt 60', '--ttl-eq 1'])}`],
    [within('PREROUTING', 'INPUT', 'FORWARD') ? 3 : 0, () => `-m mac ${not()}--mac-source ${pick(d.ifaces).mac}`],
    [2, () => `-m pkttype ${not()}--pkt-type ${pick(['unicast', 'broadcast', 'multicast'])}`],
    [2, () => `-m iprange ${not()}${pick(['--src-range', '--dst-range'])} ${range()}`],
    [
      sets.length > 0 ? 25 : 0,
      () => {
        const s = pick(sets)
        return `-m set ${not()}--match-set ${s.name} ${setDirections(d, s.type)}`
      },
    ],
    [
      d.bridges.has(ns) && within('INPUT', 'FORWARD', 'PREROUTING', 'POSTROUTING') ? 8 : 0,
      () => physdev(d, ns, within),
    ],
    [2, () => `-m limit --limit 1/hour --limit-burst ${pick([1, 2, 3])}`],
    [
      3,
      () =>
        `-m recent ${pick(['--set', '--rcheck', '--update', '--remove', '--rcheck --seconds 100', '--rcheck --hitcount 2', '--update --seconds 60 --hitcount 2'])} --name r${d.dice.below(2)} --mask 255.255.255.255 ${pick(['--rsource', '--rdest'])}`,
    ],
    [2, () => `-m ecn ${not()}--ecn-ip-ect ${d.dice.below(4)}`],
    [2, () => `-m comment --comment "${pick(['cali:abc', 'a rule'])}"`],
  ]
  return d.dice.weighted(options)()
}

function physdev(d: Draft, ns: string, within: (...hooks: Hook[]) => boolean): string {
  const port = d.dice.pick(d.ports.filter((p) => p.ns === ns).map((p) => p.dev))
  const not = d.dice.chance(15) ? '! ' : ''
  const all = ['--physdev-is-bridged', '--physdev-is-in', `--physdev-in ${port}`, '--physdev-in cbr0p+']
  if (within('FORWARD', 'POSTROUTING'))
    all.push(`--physdev-out ${port} --physdev-is-bridged`, '--physdev-is-out --physdev-is-bridged')
  const choice = d.dice.pick(all)
  return `-m physdev ${choice.startsWith('--physdev-is-out') || choice.startsWith('--physdev-out') ? '' : not}${choice}`
}

function chooseTarget(
  d: Draft,
  table: string,
  chain: Chain,
  own: readonly Chain[],
  index: number,
  within: (...hooks: Hook[]) => boolean,
  r: Rule,
): string {
  const pick = d.dice.pick.bind(d.dice)
  const to = own.filter((c, k) => k > index && chain.hooks.every((h) => c.hooks.includes(h)))
  const sets = [...d.sets.values()].flat()
  const is = (t: string): boolean => t === table
  const needPorts = (): void => {
    r.proto = pick(['tcp', 'udp'])
  }
  const dnatTo = (): string => {
    const ip = formatIpv4(d.ownIp())
    const kind = d.dice.below(4)
    if (kind < 2) return ip
    needPorts()
    const port = pick([80, 8080, 53, 5201])
    const service = d.anyHostIp()
    const proto = r.proto === 'tcp' ? 6 : 17
    if (kind === 2 && d.dice.chance(50)) {
      r.head.push(`-d ${formatIpv4(service)}/32`)
      r.dst = true
      d.services.push({ ip: service, port: pick([80, 53, 443]), proto, backends: [] })
    }
    return `${ip}:${port}`
  }
  const options: (readonly [number, () => string])[] = [
    [to.length > 0 ? 10 : 0, () => `${pick(['-j', '-j', '-g'])} ${pick(to).name}`],
    [6, () => '-j ACCEPT'],
    [is('nat') ? 0 : d.about('filter') ? 5 : 2, () => '-j DROP'],
    [index >= 0 ? 4 : 1, () => '-j RETURN'],
    [2, () => ''],
    [
      is('nat') ? 0 : 4,
      () =>
        `-j MARK ${pick(['--set-xmark 0x1/0xffffffff', '--set-xmark 0x2/0x2', '--set-xmark 0x4000/0x4000', '--set-xmark 0x10/0x10', '--set-xmark 0x0/0x1'])}`,
    ],
    [
      is('raw') ? 0 : 3,
      () =>
        `-j CONNMARK ${pick(['--set-xmark 0x1/0xffffffff', '--set-xmark 0x2/0x2', '--save-mark --nfmask 0xffffffff --ctmask 0xffffffff', '--restore-mark --nfmask 0xff --ctmask 0xff'])}`,
    ],
    [sets.length > 0 ? 2 : 0, () => '-j ACCEPT'],
    [
      is('filter') ? 6 : 0,
      () => {
        const how = pick([
          'icmp-port-unreachable',
          'icmp-host-unreachable',
          'icmp-net-unreachable',
          'icmp-proto-unreachable',
          'icmp-admin-prohibited',
          'icmp-host-prohibited',
          'tcp-reset',
        ])
        if (how === 'tcp-reset') r.proto = 'tcp'
        return `-j REJECT --reject-with ${how}`
      },
    ],
    [is('nat') && within('PREROUTING', 'OUTPUT') ? 14 : 0, () => `-j DNAT --to-destination ${dnatTo()}`],
    [
      is('nat') && within('PREROUTING', 'OUTPUT') ? 5 : 0,
      () => {
        if (d.dice.chance(40)) return '-j REDIRECT'
        needPorts()
        return `-j REDIRECT --to-ports ${pick([80, 8080, 53])}`
      },
    ],
    [is('nat') && within('POSTROUTING', 'INPUT') ? 10 : 0, () => `-j SNAT --to-source ${formatIpv4(d.anyHostIp())}`],
    [is('nat') && within('POSTROUTING') ? 12 : 0, () => '-j MASQUERADE'],
    [is('nat') && within('PREROUTING', 'OUTPUT') ? 2 : 0, () => `-j NETMAP --to ${d.anyPrefix()}`],
    [is('nat') && within('POSTROUTING', 'INPUT') ? 2 : 0, () => `-j NETMAP --to ${d.anyPrefix()}`],
    [is('mangle') ? 3 : 0, () => `-j TOS --set-tos ${pick(['0x10/0x3f', '0x00/0xff', '0xb8/0xff'])}`],
    [is('mangle') ? 3 : 0, () => `-j DSCP --set-dscp ${pick(['0x2e', '0x00', '0x08'])}`],
    [
      is('mangle') ? 4 : 0,
      () => `-j TTL ${pick(['--ttl-set 64', '--ttl-dec 1', '--ttl-inc 1', '--ttl-set 1', '--ttl-dec 62'])}`,
    ],
    [
      is('mangle') ? 4 : 0,
      () => {
        r.proto = 'tcp'
        r.matches.push('-m tcp --tcp-flags SYN,RST SYN')
        return within('FORWARD', 'OUTPUT', 'POSTROUTING') && d.dice.chance(60)
          ? '-j TCPMSS --clamp-mss-to-pmtu'
          : `-j TCPMSS --set-mss ${pick([500, 1000, 1360, 1460])}`
      },
    ],
    [is('raw') ? 6 : 0, () => pick(['-j CT --notrack', '-j NOTRACK'])],
    [1, () => '-j NFLOG --nflog-group 7'],
    [is('mangle') && within('FORWARD', 'OUTPUT', 'POSTROUTING') ? 1 : 0, () => '-j CLASSIFY --set-class 0001:0010'],
  ]
  return d.dice.weighted(options)()
}
