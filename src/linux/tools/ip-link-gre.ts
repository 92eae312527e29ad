/**
 * `ip link ... type gre`, `type gretap` and `type geneve`: their options in and out.
 *
 * Not modelled, refused by name: encap, external GRE, fwmark, multicast remotes, flowlabel, innerprotoinherit.
 * Source: iproute2 ip/link_gre.c (gre_parse_opt, gre_print_opt), ip/iplink_geneve.c.
 */
import { formatIpv4, parseIpv4 } from '../../addr/ipv4.ts'
import type { Mac } from '../../addr/mac.ts'
import type { NetDevice } from '../device/device.ts'
import { createGeneve, geneveDefaults, genevePriv } from '../device/geneve.ts'
import { createGre, GRE_CSUM, GRE_KEY, GRE_SEQ, type GreConfig, greDefaults, greTunnel } from '../device/gre.ts'
import { EEXIST } from '../errno.ts'
import type { Netns } from '../netns.ts'
import { type Args, invarg, matches, parseNumber, takeAddress, takeDevice, takeNumber } from './ip-args.ts'
import { rtnetlink, ToolExit, unmodelled } from './result.ts'

const VNI_MAX = 0xffffff
const DF_NAMES = ['unset', 'set', 'inherit']
const GRE_REFUSED = [
  'encap',
  'encap-sport',
  'encap-dport',
  'encap-csum',
  'encap-csum6',
  'encap-remcsum',
  'external',
  'fwmark',
]

function greUsage(kind: string): string {
  return [
    `Usage: ... ${kind.padEnd(9)}\t[ remote ADDR ]`,
    '\t\t\t[ local ADDR ]',
    '\t\t\t[ [no][i|o]seq ]',
    '\t\t\t[ [i|o]key KEY | no[i|o]key ]',
    '\t\t\t[ [no][i|o]csum ]',
    '\t\t\t[ ttl TTL ]',
    '\t\t\t[ tos TOS ]',
    '\t\t\t[ [no]pmtudisc ]',
    '\t\t\t[ [no]ignore-df ]',
    '\t\t\t[ dev PHYS_DEV ]',
    '\t\t\t[ fwmark MARK ]',
    '\t\t\t[ external ]',
    '\t\t\t[ noencap ]',
    '\t\t\t[ encap { fou | gue | none } ]',
    '\t\t\t[ encap-sport PORT ]',
    '\t\t\t[ encap-dport PORT ]',
    '\t\t\t[ [no]encap-csum ]',
    '\t\t\t[ [no]encap-csum6 ]',
    '\t\t\t[ [no]encap-remcsum ]',
    '',
    'Where:\tADDR := { IP_ADDRESS | any }',
    '\tTOS  := { NUMBER | inherit }',
    '\tTTL  := { 1..255 | inherit }',
    '\tKEY  := { DOTTED_QUAD | NUMBER }',
    '\tMARK := { 0x0..0xffffffff }',
  ].join('\n')
}

const GENEVE_USAGE = [
  'Usage: ... geneve id VNI',
  '\t\tremote ADDR',
  '\t\t[ ttl TTL ]',
  '\t\t[ tos TOS ]',
  '\t\t[ df DF ]',
  '\t\t[ flowlabel LABEL ]',
  '\t\t[ dstport PORT ]',
  '\t\t[ [no]external ]',
  '\t\t[ [no]udpcsum ]',
  '\t\t[ [no]udp6zerocsumtx ]',
  '\t\t[ [no]udp6zerocsumrx ]',
  '\t\t[ innerprotoinherit ]',
  '',
  'Where:\tVNI   := 0-16777215',
  '\tADDR  := IP_ADDRESS',
  '\tTOS   := { NUMBER | inherit }',
  '\tTTL   := { 1..255 | auto | inherit }',
  '\tDF    := { unset | set | inherit }',
  '\tLABEL := 0-1048575',
].join('\n')

function endpoint(word: string): number {
  return word === 'any' ? 0 : takeAddress(word)
}

function takeKey(word: string): number {
  if (word.includes('.')) {
    const ip = parseIpv4(word)
    if (ip === null) invarg('invalid value', word)
    return ip
  }
  const n = parseNumber(word)
  if (n < 0 || n > 0xffffffff)
    throw new ToolExit(255, `Invalid value for "key": "${word}"; it should be an unsigned integer`)
  return n | 0
}

function takeTos(word: string): number {
  const n = word === 'inherit' ? 1 : /^(0x)?[0-9a-f]{1,2}$/i.test(word) ? Number.parseInt(word, 16) : -1
  if (n < 0) invarg('bad TOS value', word)
  return n
}

/** Words `seq`, `icsum`, `nokey` ...: direction and header bit, null for others. */
function flagWord(word: string): { readonly bit: number; readonly on: boolean; readonly dir: string } | null {
  const m = /^(no)?([io]?)(seq|csum|key)$/.exec(word)
  if (m === null) return null
  const bit = m[3] === 'seq' ? GRE_SEQ : m[3] === 'csum' ? GRE_CSUM : GRE_KEY
  return { bit, on: m[1] === undefined, dir: m[2] ?? '' }
}

function setFlag(cfg: GreConfig, bit: number, on: boolean, dir: string): void {
  if (dir !== 'o') cfg.iflags = on ? cfg.iflags | bit : cfg.iflags & ~bit
  if (dir !== 'i') cfg.oflags = on ? cfg.oflags | bit : cfg.oflags & ~bit
}

function takeGre(ns: Netns, kind: string, args: Args): GreConfig {
  const cfg = greDefaults()
  while (!args.done) {
    const word = args.take()
    const flag = flagWord(word)
    if (flag !== null) {
      setFlag(cfg, flag.bit, flag.on, flag.dir)
      if (flag.bit === GRE_KEY && flag.on) {
        const key = takeKey(args.take())
        if (flag.dir !== 'o') cfg.ikey = key
        if (flag.dir !== 'i') cfg.okey = key
      }
    } else if (word === 'remote') cfg.remote = endpoint(args.take())
    else if (word === 'local') cfg.local = endpoint(args.take())
    else if (word === 'dev') cfg.link = takeDevice(ns, args.take(), 255)
    else if (word === 'ttl' || word === 'hoplimit' || word === 'hlim') {
      const v = args.take()
      cfg.ttl = v === 'inherit' ? 0 : takeNumber(v, 255, 'invalid TTL\n')
    } else if (word === 'tos' || word === 'tclass' || matches(word, 'dsfield')) cfg.tos = takeTos(args.take())
    else if (word === 'pmtudisc' || word === 'nopmtudisc') cfg.pmtudisc = word === 'pmtudisc'
    else if (word === 'ignore-df' || word === 'noignore-df') {
      cfg.ignoreDf = word === 'ignore-df'
    } else if (GRE_REFUSED.includes(word)) unmodelled(`${kind} option ${word}`)
    else if (word !== 'noencap') throw new ToolExit(1, greUsage(kind))
  }
  if (cfg.remote >>> 28 === 14) unmodelled(`${kind} with a multicast remote`)
  return cfg
}

/** Options of `ip link add NAME type gre` and `gretap`, then the device. */
export function addGre(ns: Netns, name: string, kind: string, mac: Mac | null, mtu: number | null, args: Args): void {
  // ipgre_netlink_parms: without any attribute the tunnel does no path MTU discovery
  const bare = args.done
  const cfg = takeGre(ns, kind, args)
  if (bare) cfg.pmtudisc = false
  const made = createGre(ns, name, kind === 'gretap', cfg, mac, mtu)
  if (made === EEXIST) rtnetlink(EEXIST)
}

/** What `ip -d link` prints after the kind. */
export function greDetails(dev: NetDevice): string {
  const c = greTunnel(dev).cfg
  return [
    `remote ${c.remote === 0 ? 'any' : formatIpv4(c.remote)} `,
    `local ${c.local === 0 ? 'any' : formatIpv4(c.local)} `,
    c.link === null ? '' : `dev ${c.link.name} `,
    `ttl ${c.ttl === 0 ? 'inherit' : c.ttl} `,
    c.tos === 0 ? '' : `tos ${c.tos === 1 ? 'inherit' : `0x${c.tos.toString(16)}`} `,
    c.pmtudisc ? '' : 'nopmtudisc ',
    c.ignoreDf ? 'ignore-df ' : '',
    (c.iflags & GRE_KEY) === 0 ? '' : `ikey ${formatIpv4(c.ikey)} `,
    (c.oflags & GRE_KEY) === 0 ? '' : `okey ${formatIpv4(c.okey)} `,
    (c.iflags & GRE_SEQ) === 0 ? '' : 'iseq ',
    (c.oflags & GRE_SEQ) === 0 ? '' : 'oseq ',
    (c.iflags & GRE_CSUM) === 0 ? '' : 'icsum ',
    (c.oflags & GRE_CSUM) === 0 ? '' : 'ocsum ',
  ].join('')
}

/** Options of `ip link add NAME type geneve`, then the device. */
export function addGeneve(ns: Netns, name: string, mac: Mac | null, mtu: number | null, args: Args): void {
  const cfg = geneveDefaults()
  while (!args.done) {
    const word = args.take()
    if (word === 'id' || matches(word, 'vni')) cfg.vni = takeNumber(args.take(), VNI_MAX, 'invalid id')
    else if (matches(word, 'remote')) {
      const v = args.take()
      if (v.includes(':')) unmodelled('geneve over IPv6')
      const ip = parseIpv4(v)
      if (ip === null || ip >>> 28 === 14) invarg('invalid remote address', v)
      cfg.remote = ip
    } else if (matches(word, 'ttl') || word === 'hoplimit' || word === 'hlim') {
      const v = args.take()
      cfg.ttlInherit = v === 'inherit'
      cfg.ttl = v === 'inherit' || v === 'auto' ? 0 : takeNumber(v, 255, 'TTL must be <= 255')
    } else if (matches(word, 'tos') || matches(word, 'dsfield')) cfg.tos = takeTos(args.take())
    else if (matches(word, 'df')) {
      const v = args.take()
      cfg.df = DF_NAMES.indexOf(v)
      if (cfg.df < 0) invarg("DF must be 'unset', 'set' or 'inherit'", v)
    } else if (matches(word, 'dstport')) cfg.dstport = takeNumber(args.take(), 65535, 'dstport')
    else if (matches(word, 'external')) cfg.external = true
    else if (word === 'noexternal') cfg.external = false
    else if (word === 'udpcsum' || word === 'noudpcsum') cfg.udpcsum = word === 'udpcsum'
    else if (['flowlabel', 'label', 'innerprotoinherit'].includes(word)) unmodelled(`geneve option ${word}`)
    else if (!/^(no)?udp6zerocsum[rt]x$/.test(word))
      throw new ToolExit(1, `geneve: unknown command "${word}"?\n${GENEVE_USAGE}`)
  }
  if (!cfg.external && cfg.vni < 0) throw new ToolExit(1, 'geneve: missing virtual network identifier')
  if (!cfg.external && cfg.remote === 0) throw new ToolExit(1, 'geneve: remote link partner not specified')
  if (cfg.external) cfg.vni = 0
  const made = createGeneve(ns, name, cfg, mac, mtu)
  if (made === EEXIST) {
    throw new ToolExit(2, 'Error: There already exists an externally controlled device on this destination port.')
  }
  if (typeof made === 'number') rtnetlink(made)
}

/** What `ip -d link` prints after the kind. */
export function geneveDetails(dev: NetDevice): string {
  const c = genevePriv(dev).cfg
  return [
    c.external ? 'external ' : '',
    `id ${c.vni} `,
    c.remote === 0 ? '' : `remote ${formatIpv4(c.remote)} `,
    `ttl ${c.ttlInherit ? 'inherit' : c.ttl === 0 ? 'auto' : c.ttl} `,
    c.tos === 0 ? '' : `tos ${c.tos === 1 ? 'inherit' : `0x${c.tos.toString(16)}`} `,
    c.df === 0 ? '' : `df ${DF_NAMES[c.df]!} `,
    `dstport ${c.dstport} `,
    c.external ? '' : c.udpcsum ? 'udpcsum ' : 'noudpcsum ',
    'udp6zerocsumrx ',
  ].join('')
}
