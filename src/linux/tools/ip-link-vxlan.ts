/**
 * `ip link ... type vxlan`: its options in and out.
 *
 * Not modelled, refused by name: group, external, vnifilter, gbp, gpe, proxy, rsc, l2miss, l3miss, remote
 * checksum, flow labels.
 * Source: iproute2 ip/iplink_vxlan.c (vxlan_parse_opt, vxlan_print_opt).
 */
import { formatIpv4, parseIpv4 } from '../../addr/ipv4.ts'
import type { NetDevice } from '../device/device.ts'
import {
  createVxlan,
  VXLAN_DF_INHERIT,
  VXLAN_DF_SET,
  VXLAN_DF_UNSET,
  VXLAN_TOS_INHERIT,
  type VxlanConfig,
  vxlanDefaults,
  vxlanPriv,
} from '../device/vxlan.ts'
import type { Netns } from '../netns.ts'
import { type Args, invarg, matches, takeAddress6, takeNumber } from './ip-args.ts'
import type { JsonValue } from './ip-json.ts'
import { ToolExit, unmodelled } from './result.ts'

const VNI_MAX = 0xffffff
const U32_MAX = 0xffffffff
const DF_NAMES = ['unset', 'set', 'inherit']

/** Words that podwalk knows to exist and does not model. */
const UNMODELLED_WORDS = [
  'group',
  'external',
  'vnifilter',
  'gbp',
  'gpe',
  'proxy',
  'rsc',
  'l2miss',
  'l3miss',
  'remcsumtx',
  'remcsumrx',
  'flowlabel',
  'udp6zerocsumtx',
  'udp6zerocsumrx',
  'mcroute',
]
/** Words that ask for the default of what is not modelled. */
const DEFAULT_WORDS = [
  'noproxy',
  'norsc',
  'nol2miss',
  'nol3miss',
  'noudp6zerocsumtx',
  'noudp6zerocsumrx',
  'noremcsumtx',
  'noremcsumrx',
  'noexternal',
  'novnifilter',
]

const USAGE = [
  'Usage: ... vxlan id VNI',
  '\t\t[ { group | remote } IP_ADDRESS ]',
  '\t\t[ local ADDR ]',
  '\t\t[ ttl TTL ]',
  '\t\t[ tos TOS ]',
  '\t\t[ df DF ]',
  '\t\t[ flowlabel LABEL ]',
  '\t\t[ dev PHYS_DEV ]',
  '\t\t[ dstport PORT ]',
  '\t\t[ srcport MIN MAX ]',
  '\t\t[ [no]learning ]',
  '\t\t[ [no]proxy ]',
  '\t\t[ [no]rsc ]',
  '\t\t[ [no]l2miss ]',
  '\t\t[ [no]l3miss ]',
  '\t\t[ ageing SECONDS ]',
  '\t\t[ maxaddress NUMBER ]',
  '\t\t[ [no]udpcsum ]',
  '\t\t[ [no]udp6zerocsumtx ]',
  '\t\t[ [no]udp6zerocsumrx ]',
  '\t\t[ [no]remcsumtx ] [ [no]remcsumrx ]',
  '\t\t[ [no]external ] [ gbp ] [ gpe ]',
  '\t\t[ [no]vnifilter ]',
  '',
  'Where:\tVNI\t:= 0-16777215',
  '\tADDR\t:= { IP_ADDRESS | any }',
  '\tTOS\t:= { NUMBER | inherit }',
  '\tTTL\t:= { 1..255 | auto | inherit }',
  '\tDF\t:= { unset | set | inherit }',
  '\tLABEL := 0-1048575',
].join('\n')

/** An address of the underlay: the first one given decides its family. */
function address(ns: Netns, cfg: VxlanConfig, keyword: string, word: string): number {
  const other = cfg.local !== 0 || cfg.remote !== 0
  if (other && word.includes(':') !== cfg.six) {
    throw new ToolExit(1, `Error: ${cfg.six ? 'inet6' : 'inet'} address is expected rather than "${word}".`)
  }
  if (word.includes(':')) {
    const addr = takeAddress6(ns, word)
    if (ns.world.in6.isMulticast(addr)) invarg(`invalid ${keyword} address`, word)
    cfg.six = true
    return addr
  }
  const ip = parseIpv4(word)
  if (ip === null) invarg(`invalid ${keyword} address`, word)
  if (ip >>> 28 === 14) {
    if (keyword === 'remote') invarg('invalid remote address', word)
    invarg(`invalid ${keyword} address`, word)
  }
  return ip
}

function port(word: string): number {
  return takeNumber(word, 65535, 'port')
}

/** Options of `ip link add NAME type vxlan`, then the device. */
export function addVxlan(
  ns: Netns,
  name: string,
  mac: { hi: number; lo: number } | null,
  mtu: number | null,
  args: Args,
): void {
  const cfg = vxlanDefaults(-1)
  while (!args.done) takeOption(ns, cfg, args.take(), args)
  if (cfg.external && cfg.vni >= 0) throw new ToolExit(1, "vxlan: both 'external' and vni cannot be specified")
  if (cfg.external) {
    cfg.vni = 0
    cfg.learning = false
  }
  if (cfg.vni < 0) throw new ToolExit(1, 'vxlan: missing virtual network identifier')
  if (typeof createVxlan(ns, name, cfg, mac, mtu) === 'number')
    throw new ToolExit(2, 'Error: A VXLAN device with the specified VNI already exists.')
}

function takeOption(ns: Netns, cfg: VxlanConfig, word: string, args: Args): void {
  if (matches(word, 'id') || word === 'vni') cfg.vni = takeNumber(args.take(), VNI_MAX, 'invalid id')
  else if (word === 'remote') cfg.remote = address(ns, cfg, 'remote', args.take())
  else if (word === 'local') cfg.local = address(ns, cfg, 'local', args.take())
  else if (word === 'dev') {
    const name = args.take()
    const dev = ns.devices.get(name)
    if (dev === undefined) throw new ToolExit(255, `Cannot find device "${name}"`)
    cfg.lowerdev = dev
  } else if (word === 'ttl' || word === 'hoplimit') {
    const v = args.take()
    cfg.ttlInherit = v === 'inherit'
    cfg.ttl = v === 'inherit' || v === 'auto' ? 0 : takeNumber(v, 255, 'TTL must be <= 255')
  } else if (word === 'tos' || word === 'dsfield') {
    const v = args.take()
    cfg.tos = v === 'inherit' ? VXLAN_TOS_INHERIT : takeDsfield(v)
  } else if (word === 'df') {
    const v = args.take()
    const i = DF_NAMES.indexOf(v)
    if (i < 0) invarg("DF must be 'unset', 'set' or 'inherit'", v)
    cfg.df = [VXLAN_DF_UNSET, VXLAN_DF_SET, VXLAN_DF_INHERIT][i]!
  } else if (word === 'ageing') {
    const v = args.take()
    // iproute2 6.1 sends no attribute for none and 0: the kernel's value stays
    const seconds = v === 'none' ? 0 : takeNumber(v, U32_MAX, 'ageing timer')
    if (seconds !== 0) cfg.ageingS = seconds
  } else if (word === 'maxaddress') {
    const v = args.take()
    cfg.maxAddress = v === 'unlimited' ? 0 : takeNumber(v, U32_MAX, 'max addresses')
  } else if (word === 'port' || word === 'srcport') {
    cfg.portMin = port(args.take())
    cfg.portMax = port(args.take())
  } else if (word === 'dstport') cfg.dstport = port(args.take()) || cfg.dstport
  else if (word === 'learning' || word === 'nolearning') cfg.learning = word === 'learning'
  else if (word === 'udpcsum' || word === 'noudpcsum') cfg.udpcsum = word === 'udpcsum'
  else if (word === 'localbypass' || word === 'nolocalbypass') cfg.localbypass = word === 'localbypass'
  else if (word === 'external' || word === 'noexternal') cfg.external = word === 'external'
  else if (UNMODELLED_WORDS.includes(word)) unmodelled(`vxlan option ${word}`)
  else if (!DEFAULT_WORDS.includes(word)) throw new ToolExit(1, `vxlan: unknown command "${word}"?\n${USAGE}`)
}

/** rtnl_dsfield_a2n: hexadecimal, as iproute2 reads a TOS. */
function takeDsfield(word: string): number {
  const n = /^(0x)?[0-9a-f]{1,2}$/i.test(word) ? Number.parseInt(word, 16) : -1
  if (n < 0) invarg('bad TOS value', word)
  return n
}

/** Options of `ip link set DEV type vxlan`: what vxlan_changelink takes and podwalk models. */
export function setVxlan(dev: NetDevice, args: Args): void {
  const vxlan = vxlanPriv(dev)
  const cfg = vxlan.cfg
  while (!args.done) {
    const word = args.take()
    if (!['ageing', 'ttl', 'hoplimit', 'tos', 'dsfield', 'df', 'learning', 'nolearning'].includes(word))
      unmodelled(`ip link set ... type vxlan ${word}`)
    takeOption(dev.ns, cfg, word, args)
    if (word === 'ageing') vxlan.ageNow()
  }
}

/** An address of the device's underlay. */
export function underlay(dev: NetDevice, addr: number): string {
  return vxlanPriv(dev).cfg.six ? dev.ns.world.in6.text(addr) : formatIpv4(addr)
}

function tosText(tos: number): string {
  return tos === VXLAN_TOS_INHERIT ? 'inherit' : `0x${tos.toString(16)}`
}

/** What `ip -d link` prints after the kind. */
export function vxlanDetails(dev: NetDevice): string {
  const c = vxlanPriv(dev).cfg
  return [
    c.external ? 'external ' : '',
    `id ${c.vni} `,
    c.remote === 0 ? '' : `remote ${underlay(dev, c.remote)} `,
    c.local === 0 ? '' : `local ${underlay(dev, c.local)} `,
    c.lowerdev === null ? '' : `dev ${c.lowerdev.name} `,
    `srcport ${c.portMin} ${c.portMax} dstport ${c.dstport} `,
    c.learning ? '' : 'nolearning ',
    c.tos === 0 ? '' : `tos ${tosText(c.tos)} `,
    `ttl ${c.ttlInherit ? 'inherit' : c.ttl === 0 ? 'auto' : c.ttl} `,
    c.df === VXLAN_DF_UNSET ? '' : `df ${DF_NAMES[c.df]!} `,
    c.ageingS === 0 ? 'ageing none ' : `ageing ${c.ageingS} `,
    c.maxAddress === 0 ? '' : `maxaddr ${c.maxAddress} `,
    `${c.udpcsum ? '' : 'no'}udpcsum noudp6zerocsumtx noudp6zerocsumrx `,
  ].join('')
}

/** `info_data` of `ip -j -d link`. */
export function vxlanJson(dev: NetDevice): { [name: string]: JsonValue } {
  const c = vxlanPriv(dev).cfg
  return {
    id: c.vni,
    ...(c.remote === 0 ? {} : { [c.six ? 'remote6' : 'remote']: underlay(dev, c.remote) }),
    ...(c.local === 0 ? {} : { [c.six ? 'local6' : 'local']: underlay(dev, c.local) }),
    ...(c.lowerdev === null ? {} : { link: c.lowerdev.name }),
    port_range: { low: c.portMin, high: c.portMax },
    port: c.dstport,
    learning: c.learning,
    ...(c.tos === 0 ? {} : { tos: tosText(c.tos) }),
    ttl: c.ttl,
    df: DF_NAMES[c.df]!,
    ageing: c.ageingS,
    ...(c.maxAddress === 0 ? {} : { limit: c.maxAddress }),
    udp_csum: c.udpcsum,
    udp_zero_csum6_tx: false,
    udp_zero_csum6_rx: false,
  }
}
