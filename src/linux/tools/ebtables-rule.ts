/**
 * One rule of ebtables: words in, text as the nf_tables variant prints it out.
 *
 * Source: iptables/xtables-eb.c, extensions/libebt_ip.c, libebt_arp.c, libebt_vlan.c, libebt_mark_m.c, libebt_dnat.c,
 * libebt_snat.c, libebt_redirect.c, libebt_arpreply.c, libebt_mark.c; /etc/ethertypes.
 */
import { formatIpv4, parseIpv4 } from '../../addr/ipv4.ts'
import { formatMac, parseMac } from '../../addr/mac.ts'
import {
  EBT_ACCEPT,
  EBT_CONTINUE,
  EBT_DROP,
  EBT_RETURN,
  type EbChain,
  type EbMatch,
  type EbRule,
  type MacMatch,
  type MaskMatch,
  type NameMatch,
  type RangeMatch,
  TGT_ARPREPLY,
  TGT_DNAT,
  TGT_JUMP,
  TGT_MARK,
  TGT_REDIRECT,
  TGT_SNAT,
  TGT_VERDICT,
} from '../netfilter/ebtables/types.ts'
import { Args, parseNumber } from './ip-args.ts'
import { ToolExit, unmodelled } from './result.ts'

const VERSION = 'ebtables v1.8.9 (nf_tables)'
const HELP = "Try `ebtables -h' or 'ebtables --help' for more information."
const PROTOCOLS: { readonly [name: string]: number } = {
  ipv4: 0x0800,
  arp: 0x0806,
  '802_1q': 0x8100,
  '802_1ad': 0x88a8,
  ipv6: 0x86dd,
  length: 0,
}
const PROTOCOL_NAMES: { readonly [value: number]: string } = {
  0: 'Length',
  2048: 'IPv4',
  2054: 'ARP',
  33024: '802_1Q',
  34525: 'IPv6',
}
const VERDICTS: { readonly [word: string]: number } = {
  ACCEPT: EBT_ACCEPT,
  DROP: EBT_DROP,
  CONTINUE: EBT_CONTINUE,
  RETURN: EBT_RETURN,
}
const IP_PROTOCOLS: { readonly [name: string]: number } = { icmp: 1, igmp: 2, tcp: 6, udp: 17, gre: 47, sctp: 132 }
const ARP_OPS = ['', 'Request', 'Reply', 'Request_Reverse', 'Reply_Reverse']
const ICMP_TYPES: { readonly [name: string]: number } = { 'echo-reply': 0, 'echo-request': 8 }
const REFUSED = [
  '--limit',
  '--stp-type',
  '--pkttype-type',
  '--among-src',
  '--among-dst',
  '--802_3-sap',
  '--log',
  '--nflog',
  '--vlan-prio',
  '--string',
  '-c',
]

function bad(text: string): never {
  throw new ToolExit(2, `${VERSION}: ${text}\n${HELP}`)
}

function verdictOf(word: string): number {
  const v = VERDICTS[word]
  if (v === undefined) bad(`Unknown target '${word}'`)
  return v
}

function verdictName(v: number): string {
  return Object.keys(VERDICTS).find((k) => VERDICTS[k] === v) ?? ''
}

type RuleDraft = { -readonly [K in keyof EbRule]: EbRule[K] }

/** Reads a rule of `chain`; `find` knows the table's own chains. */
export function takeRule(words: readonly string[], chain: string, find: (name: string) => EbChain | null): EbRule {
  const args = new Args(words)
  const m: EbMatch = {}
  const r: RuleDraft = {
    match: m,
    target: TGT_VERDICT,
    verdict: EBT_CONTINUE,
    chain: null,
    markOp: 'set',
    mark: 0,
    macHi: 0,
    macLo: 0,
    snatArp: false,
    packets: 0,
    bytes: 0,
  }
  let not = false
  while (!args.done) {
    const word = args.take()
    if (word === '!') {
      not = true
      continue
    }
    const value = (): string => {
      if (args.accept('!')) not = true
      return args.take()
    }
    if (REFUSED.includes(word)) unmodelled(`ebtables ${word}`)
    if (word === '-j' || word === '--jump') takeTarget(r, args.take(), find)
    else if (!basicWord(m, word, value, () => not, chain) && !extensionWord(m, word, value, () => not)) {
      if (!targetWord(r, word, args)) bad(`Unknown argument: '${word}'`)
    }
    not = false
  }
  check(m)
  return r
}

function basicWord(m: EbMatch, word: string, value: () => string, not: () => boolean, chain: string): boolean {
  switch (word) {
    case '-p':
    case '--protocol': {
      const v = value()
      m.proto = { value: protocol(v), not: not() }
      return true
    }
    case '-s':
    case '--source': {
      const v = value()
      m.src = macMatch(v, not())
      return true
    }
    case '-d':
    case '--destination': {
      const v = value()
      m.dst = macMatch(v, not())
      return true
    }
    case '-i':
    case '--in-interface': {
      if (chain === 'OUTPUT' || chain === 'POSTROUTING')
        bad('Use -i only in INPUT, FORWARD, PREROUTING and BROUTING chains')
      const v = value()
      m.in = nameMatch(v, not())
      return true
    }
    case '-o':
    case '--out-interface': {
      if (chain === 'INPUT' || chain === 'PREROUTING') bad('Use -o only in OUTPUT, FORWARD and POSTROUTING chains')
      const v = value()
      m.out = nameMatch(v, not())
      return true
    }
    case '--logical-in': {
      const v = value()
      m.logicalIn = nameMatch(v, not())
      return true
    }
    case '--logical-out': {
      const v = value()
      m.logicalOut = nameMatch(v, not())
      return true
    }
    default:
      return false
  }
}

function protocol(word: string): number {
  const known = PROTOCOLS[word.toLowerCase()]
  const n = known ?? (/^(0x)?[0-9a-f]{1,4}$/i.test(word) && /^0x|\d/.test(word) ? Number.parseInt(word, 16) : -1)
  if (n < 0) {
    bad(`Problem with the specified Ethernet protocol '${word}', perhaps /etc/ethertypes is missing`)
  }
  return n
}

function macMatch(word: string, not: boolean): MacMatch {
  const all = { maskHi: 0xffff, maskLo: -1, not }
  if (word === 'Unicast') return { hi: 0, lo: 0, maskHi: 0x0100, maskLo: 0, not }
  if (word === 'Multicast') return { hi: 0x0100, lo: 0, maskHi: 0x0100, maskLo: 0, not }
  if (word === 'Broadcast') return { hi: 0xffff, lo: -1, ...all }
  if (word === 'BGA') return { hi: 0x0180, lo: 0xc2000000 | 0, ...all }
  const [address = '', mask] = word.split('/')
  const a = parseMac(address)
  const b = mask === undefined ? { hi: 0xffff, lo: -1 } : parseMac(mask)
  if (a === null || b === null) bad('Problem with specified source mac')
  return { hi: a.hi & b.hi, lo: a.lo & b.lo, maskHi: b.hi, maskLo: b.lo, not }
}

function nameMatch(word: string, not: boolean): NameMatch {
  const prefix = word.endsWith('+')
  return { name: prefix ? word.slice(0, -1) : word, prefix, not }
}

function ipMatch(word: string, not: boolean): MaskMatch {
  const [address = '', length] = word.split('/')
  const ip = parseIpv4(address)
  const n = length === undefined ? 32 : Number(length)
  const dotted = length === undefined ? null : parseIpv4(length)
  const mask = dotted ?? (Number.isInteger(n) && n >= 0 && n <= 32 ? (n === 0 ? 0 : -1 << (32 - n)) : Number.NaN)
  if (ip === null || Number.isNaN(mask)) bad(`Problem with specified IP address '${word}'`)
  return { value: ip & mask, mask, not }
}

function range(word: string, not: boolean, known: { readonly [name: string]: number } = {}): RangeMatch {
  const one = (text: string): number => {
    const n = known[text.toLowerCase()] ?? parseNumber(text)
    if (n < 0) bad(`Bad value '${text}'`)
    return n
  }
  const [from = '', to] = word.split(':')
  const a = from === '' ? 0 : one(from)
  return { from: a, to: to === undefined ? a : to === '' ? 0xffff : one(to), not }
}

/** Options of the ip, arp, vlan and mark matches. */
function extensionWord(m: EbMatch, word: string, value: () => string, not: () => boolean): boolean {
  const names: { readonly [option: string]: () => void } = {
    '--ip-src': () => (m.ipSrc = ipMatch(value(), not())),
    '--ip-source': () => (m.ipSrc = ipMatch(value(), not())),
    '--ip-dst': () => (m.ipDst = ipMatch(value(), not())),
    '--ip-destination': () => (m.ipDst = ipMatch(value(), not())),
    '--ip-tos': () => {
      const v = value()
      m.ipTos = range(v.startsWith('0x') ? v : `0x${v}`, not())
    },
    '--ip-proto': () => (m.ipProto = range(value(), not(), IP_PROTOCOLS)),
    '--ip-protocol': () => (m.ipProto = range(value(), not(), IP_PROTOCOLS)),
    '--ip-sport': () => (m.ipSport = range(value(), not())),
    '--ip-source-port': () => (m.ipSport = range(value(), not())),
    '--ip-dport': () => (m.ipDport = range(value(), not())),
    '--ip-destination-port': () => (m.ipDport = range(value(), not())),
    '--ip-icmp-type': () => {
      const [type = '', code] = value().split('/')
      const c = code === undefined ? { from: 0, to: 255 } : range(code, false)
      m.ipIcmp = { ...range(type, not(), ICMP_TYPES), codeFrom: c.from, codeTo: c.to }
    },
    '--arp-op': () => (m.arpOp = arpOp(value(), not())),
    '--arp-opcode': () => (m.arpOp = arpOp(value(), not())),
    '--arp-htype': () => (m.arpHtype = range(value(), not())),
    '--arp-ptype': () => (m.arpPtype = range(value(), not())),
    '--arp-ip-src': () => (m.arpIpSrc = ipMatch(value(), not())),
    '--arp-ip-dst': () => (m.arpIpDst = ipMatch(value(), not())),
    '--arp-mac-src': () => (m.arpMacSrc = macMatch(value(), not())),
    '--arp-mac-dst': () => (m.arpMacDst = macMatch(value(), not())),
    '--vlan-id': () => (m.vlanId = range(value(), not())),
    '--vlan-encap': () => (m.vlanEncap = range(value(), not())),
    '--mark': () => {
      const [v = '', mask] = value().split('/')
      m.mark = {
        value: range(v, false).from | 0,
        mask: mask === undefined ? -1 : range(mask, false).from | 0,
        not: not(),
      }
    },
  }
  const take = Object.hasOwn(names, word) ? names[word] : undefined
  if (take === undefined) return false
  take()
  return true
}

function arpOp(word: string, not: boolean): RangeMatch {
  const i = ARP_OPS.findIndex((x) => x.toLowerCase() === word.toLowerCase())
  return i > 0 ? { from: i, to: i, not } : range(word, not)
}

function takeTarget(r: RuleDraft, name: string, find: (name: string) => EbChain | null): void {
  const special: { readonly [name: string]: readonly [number, number] } = {
    mark: [TGT_MARK, EBT_ACCEPT],
    dnat: [TGT_DNAT, EBT_ACCEPT],
    snat: [TGT_SNAT, EBT_ACCEPT],
    redirect: [TGT_REDIRECT, EBT_ACCEPT],
    arpreply: [TGT_ARPREPLY, EBT_DROP],
  }
  const s = Object.hasOwn(special, name) ? special[name] : undefined
  if (s !== undefined) {
    r.target = s[0]
    r.verdict = s[1]
  } else if (VERDICTS[name] !== undefined) r.verdict = verdictOf(name)
  else {
    const chain = find(name)
    if (chain === null) bad(`Chain '${name}' does not exist`)
    r.target = TGT_JUMP
    r.chain = chain
  }
}

function targetWord(r: RuleDraft, word: string, args: Args): boolean {
  const mac = (): void => {
    const m = parseMac(args.take())
    if (m === null) bad(`Bad MAC address for ${word}`)
    r.macHi = m.hi
    r.macLo = m.lo
  }
  if (['--to-destination', '--to-dst', '--to-source', '--to-src', '--arpreply-mac'].includes(word)) mac()
  else if (/^--(dnat|snat|redirect|arpreply|mark)-target$/.test(word)) r.verdict = verdictOf(args.take())
  else if (/^--mark-(set|or|and|xor)$/.test(word)) {
    r.markOp = word.slice(7)
    r.mark = range(args.take(), false).from | 0
  } else if (word === '--snat-arp') r.snatArp = true
  else return false
  return true
}

/** What the kernel's check functions refuse. */
function check(m: EbMatch): void {
  const refuse = (): never => {
    throw new ToolExit(4, `${VERSION}:  RULE_APPEND failed (Invalid argument): rule in chain FORWARD`)
  }
  const ip = m.ipSrc ?? m.ipDst ?? m.ipTos ?? m.ipProto ?? m.ipSport ?? m.ipDport ?? m.ipIcmp
  if (ip !== undefined && (m.proto?.value !== 0x0800 || m.proto.not)) refuse()
  if ((m.ipSport ?? m.ipDport) !== undefined && ![6, 17, 132].includes(m.ipProto?.from ?? 0)) refuse()
}

const bang = (not: boolean): string => (not ? '! ' : '')

function macText(x: MacMatch): string {
  if (x.maskHi === 0x0100 && x.maskLo === 0) return `${bang(x.not)}${x.hi === 0 ? 'Unicast' : 'Multicast'}`
  if (x.hi === 0xffff && x.lo === -1 && x.maskHi === 0xffff) return `${bang(x.not)}Broadcast`
  const mask = x.maskHi === 0xffff && x.maskLo === -1 ? '' : `/${formatMac({ hi: x.maskHi, lo: x.maskLo })}`
  return `${bang(x.not)}${formatMac({ hi: x.hi, lo: x.lo })}${mask}`
}

function ipText(x: MaskMatch): string {
  const length = 32 - Math.log2((~x.mask >>> 0) + 1)
  return `${bang(x.not)}${formatIpv4(x.value)}${x.mask === -1 ? '' : `/${length}`}`
}

function rangeText(x: RangeMatch): string {
  return `${bang(x.not)}${x.from}${x.to === x.from ? '' : `:${x.to}`}`
}

function hexText(x: RangeMatch, width = 0): string {
  return `${bang(x.not)}${width === 0 ? '0x' : ''}${x.from.toString(16).padStart(width, '0')}`
}

function nameText(x: NameMatch): string {
  return `${bang(x.not)}${x.name}${x.prefix ? '+' : ''}`
}

function markText(n: number): string {
  return `0x${(n >>> 0).toString(16)}`
}

/** The rule as `ebtables -L` and ebtables-save write it, without the chain. */
export function ruleText(r: EbRule): string {
  const m = r.match
  const out: string[] = []
  const put = <T>(option: string, x: T | undefined, text: (x: T) => string): void => {
    if (x !== undefined) out.push(`${option} ${text(x)}`)
  }
  put('-p', m.proto, (p) => `${bang(p.not)}${PROTOCOL_NAMES[p.value] ?? `0x${p.value.toString(16)}`}`)
  put('-s', m.src, macText)
  put('-d', m.dst, macText)
  put('-i', m.in, nameText)
  put('--logical-in', m.logicalIn, nameText)
  put('-o', m.out, nameText)
  put('--logical-out', m.logicalOut, nameText)
  put('--ip-src', m.ipSrc, ipText)
  put('--ip-dst', m.ipDst, ipText)
  put('--ip-tos', m.ipTos, (x) => `${bang(x.not)}0x${x.from.toString(16).padStart(2, '0')}`)
  put('--ip-proto', m.ipProto, (x) => `${bang(x.not)}${protoName(x.from)}`)
  put('--ip-icmp-type', m.ipIcmp, icmpText)
  put('--ip-sport', m.ipSport, rangeText)
  put('--ip-dport', m.ipDport, rangeText)
  put('--arp-op', m.arpOp, (x) => `${bang(x.not)}${ARP_OPS[x.from] ?? x.from}`)
  put('--arp-htype', m.arpHtype, rangeText)
  put('--arp-ptype', m.arpPtype, (x) => hexText(x))
  put('--arp-ip-src', m.arpIpSrc, ipText)
  put('--arp-ip-dst', m.arpIpDst, ipText)
  put('--arp-mac-src', m.arpMacSrc, macText)
  put('--arp-mac-dst', m.arpMacDst, macText)
  put('--vlan-id', m.vlanId, rangeText)
  put('--vlan-encap', m.vlanEncap, (x) => hexText(x, 4))
  put('--mark', m.mark, (x) => `${bang(x.not)}${markText(x.value)}${x.mask === -1 ? '' : `/${markText(x.mask)}`}`)
  out.push(`-j ${targetText(r)}`)
  return out.join(' ')
}

function protoName(n: number): string {
  return Object.keys(IP_PROTOCOLS).find((k) => IP_PROTOCOLS[k] === n) ?? String(n)
}

function icmpText(x: RangeMatch & { readonly codeFrom: number; readonly codeTo: number }): string {
  const known = x.from === x.to ? Object.keys(ICMP_TYPES).find((k) => ICMP_TYPES[k] === x.from) : undefined
  if (known !== undefined && x.codeFrom === 0 && x.codeTo >= 0) return `${bang(x.not)}${known}`
  return `${rangeText(x)}/${x.codeFrom}:${x.codeTo}`
}

function targetText(r: EbRule): string {
  const mac = formatMac({ hi: r.macHi, lo: r.macLo })
  const verdict = verdictName(r.verdict)
  switch (r.target) {
    case TGT_JUMP:
      return r.chain?.name ?? ''
    case TGT_MARK:
      return `mark --mark-${r.markOp} ${markText(r.mark)} --mark-target ${verdict}`
    case TGT_DNAT:
      return `dnat --to-dst ${mac} --dnat-target ${verdict}`
    case TGT_SNAT:
      return `snat --to-src ${mac}${r.snatArp ? ' --snat-arp' : ''} --snat-target ${verdict}`
    case TGT_REDIRECT:
      return `redirect ${r.verdict === EBT_ACCEPT ? '' : `--redirect-target ${verdict}`}`
    case TGT_ARPREPLY:
      return `arpreply --arpreply-mac ${mac}${r.verdict === EBT_DROP ? '' : ` --arpreply-target ${verdict}`}`
    default:
      return verdict
  }
}
