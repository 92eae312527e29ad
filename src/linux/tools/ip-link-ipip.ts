/**
 * `ip link ... type ipip`: its options in and out.
 *
 * Not modelled, refused by name: encap, external, mode, 6rd, fwmark.
 * Source: iproute2 ip/link_iptnl.c (iptunnel_parse_opt, iptunnel_print_opt).
 */
import { formatIpv4 } from '../../addr/ipv4.ts'
import type { NetDevice } from '../device/device.ts'
import { createIpip, ipipDefaults, ipTunnelPriv } from '../device/ipip.ts'
import { EEXIST } from '../errno.ts'
import type { Netns } from '../netns.ts'
import { type Args, invarg, takeAddress, takeDevice, takeNumber } from './ip-args.ts'
import { rtnetlink, ToolExit, unmodelled } from './result.ts'

const UNMODELLED_WORDS = [
  'mode',
  'encap',
  'encap-sport',
  'encap-dport',
  'encap-csum',
  'encap-remcsum',
  'external',
  'fwmark',
  'isatap',
]

const USAGE = [
  'Usage: ... ipip  \t[ remote ADDR ]',
  '\t\t\t[ local ADDR ]',
  '\t\t\t[ ttl TTL ]',
  '\t\t\t[ tos TOS ]',
  '\t\t\t[ [no]pmtudisc ]',
  '\t\t\t[ 6rd-prefix ADDR ]',
  '\t\t\t[ 6rd-relay_prefix ADDR ]',
  '\t\t\t[ 6rd-reset ]',
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
  '\t\t\t[ mode { ipip | mplsip | any } ]',
  '',
  'Where:\tADDR := { IP_ADDRESS | any }',
  '\tTOS  := { NUMBER | inherit }',
  '\tTTL  := { 1..255 | inherit }',
  '\tMARK := { 0x0..0xffffffff }',
].join('\n')

function endpoint(word: string): number {
  return word === 'any' ? 0 : takeAddress(word)
}

/** Options of `ip link add NAME type ipip`, then the device. */
export function addIpip(ns: Netns, name: string, mtu: number | null, args: Args): void {
  const cfg = ipipDefaults()
  while (!args.done) {
    const word = args.take()
    if (word === 'remote') cfg.remote = endpoint(args.take())
    else if (word === 'local') cfg.local = endpoint(args.take())
    else if (word === 'dev') cfg.link = takeDevice(ns, args.take(), 255)
    else if (word === 'ttl' || word === 'hoplimit' || word === 'hlim') {
      const v = args.take()
      cfg.ttl = v === 'inherit' ? 0 : takeNumber(v, 255, 'invalid TTL')
    } else if (word === 'tos' || word === 'tclass' || word === 'dsfield') {
      const v = args.take()
      cfg.tos = v === 'inherit' ? 1 : /^(0x)?[0-9a-f]{1,2}$/i.test(v) ? Number.parseInt(v, 16) : -1
      if (cfg.tos < 0) invarg('bad TOS value', v)
    } else if (word === 'pmtudisc' || word === 'nopmtudisc') cfg.pmtudisc = word === 'pmtudisc'
    else if (UNMODELLED_WORDS.includes(word)) unmodelled(`ipip option ${word}`)
    else throw new ToolExit(1, USAGE)
  }
  if (cfg.ttl !== 0 && !cfg.pmtudisc) throw new ToolExit(255, 'ttl != 0 and nopmtudisc are incompatible')
  if (typeof createIpip(ns, name, cfg, mtu) === 'number') rtnetlink(EEXIST)
}

/** What `ip -d link` prints after the kind. */
export function ipipDetails(dev: NetDevice): string {
  const c = ipTunnelPriv(dev).cfg
  return [
    `any remote ${c.remote === 0 ? 'any' : formatIpv4(c.remote)} `,
    `local ${c.local === 0 ? 'any' : formatIpv4(c.local)} `,
    c.link === null ? '' : `dev ${c.link.name} `,
    `ttl ${c.ttl === 0 ? 'inherit' : c.ttl} `,
    c.tos === 0 ? '' : `tos ${c.tos === 1 ? 'inherit' : `0x${c.tos.toString(16)}`} `,
    c.pmtudisc ? 'pmtudisc ' : 'nopmtudisc ',
  ].join('')
}
