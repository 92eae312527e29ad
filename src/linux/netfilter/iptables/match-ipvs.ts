/**
 * `-m ipvs`: what IPVS did with the packet.
 *
 * iptables: extensions/libxt_ipvs.c. Kernel: net/netfilter/xt_ipvs.c. Every option but --ipvs looks for the connection as
 * if the packet were on its way to the real server, source and destination swapped; a packet that IPVS has not handled
 * matches none of them. Not modelled: IPv6.
 */

import { formatIpv4 } from '../../../addr/ipv4.ts'
import { M_CT, M_CTINFO, M_FLAGS, META_SHIFT, SKB_IPVS_PROPERTY } from '../../../packet/layout.ts'
import { K_CONTROL, K_FLAGS, K_VADDR, K_VPORT, K_WORDS } from '../../ipvs/conn-table.ts'
import { IP_VS_CONN_F_DROUTE, IP_VS_CONN_F_FWD_MASK, IP_VS_CONN_F_MASQ, IP_VS_CONN_F_TUNNEL } from '../../ipvs/flags.ts'
import { isBalanced } from '../../ipvs/proto.ts'
import type { Netns } from '../../netns.ts'
import { servicePort } from '../../tools/service-names.ts'
import type { World } from '../../world.ts'
import { IP_CT_IS_REPLY } from '../conntrack/layout.ts'
import { evalState } from './eval-state.ts'
import { MATCH_IPVS } from './kinds.ts'
import { IptTextError, type XtMatch } from './types.ts'
import { hostMask, maskSuffix, parseProtocol, strtoui } from './values.ts'

const XT_IPVS_PROPERTY = 1
const XT_IPVS_PROTO = 2
const XT_IPVS_VADDR = 4
const XT_IPVS_VPORT = 8
const XT_IPVS_DIR = 16
const XT_IPVS_METHOD = 32
const XT_IPVS_VPORTCTL = 64

interface IpvsData {
  bits: number
  invert: number
  proto: number
  vaddr: number
  vmask: number
  vport: number
  vportctl: number
  method: number
}

const METHODS: readonly (readonly [string, number])[] = [
  ['GATE', IP_VS_CONN_F_DROUTE],
  ['IPIP', IP_VS_CONN_F_TUNNEL],
  ['MASQ', IP_VS_CONN_F_MASQ],
]

/** A port by number or name, as 16 bits: libxt_ipvs does not look at the range. */
function vport(text: string): number {
  const n = strtoui(text) ?? servicePort(text, 6)
  if (n === null) throw new IptTextError(`Port "${text}" does not resolve to anything.`)
  return n & 0xffff
}

function option(
  name: string,
  bit: number,
  set: (d: IpvsData, v: string) => void,
  invert = true,
): XtMatch<IpvsData>['options'][number] {
  return {
    name,
    arg: bit !== XT_IPVS_PROPERTY,
    invert,
    set(d, v, inverted) {
      set(d, v)
      d.bits |= bit
      if (inverted) d.invert |= bit
    },
  }
}

/** What stands after the prefix of each option; --ipvs only when it is the only one. */
function dump(d: IpvsData, prefix: string): string {
  const not = (bit: number): string => ((d.invert & bit) !== 0 ? ' !' : '')
  if (d.bits === XT_IPVS_PROPERTY) return `${not(XT_IPVS_PROPERTY)} ${prefix}ipvs`
  let out = ''
  if ((d.bits & XT_IPVS_PROTO) !== 0) out += `${not(XT_IPVS_PROTO)} ${prefix}vproto ${d.proto}`
  if ((d.bits & XT_IPVS_VADDR) !== 0) {
    out += `${not(XT_IPVS_VADDR)} ${prefix}vaddr ${formatIpv4(d.vaddr)}${maskSuffix(d.vmask)}`
  }
  if ((d.bits & XT_IPVS_VPORT) !== 0) out += `${not(XT_IPVS_VPORT)} ${prefix}vport ${d.vport}`
  if ((d.bits & XT_IPVS_DIR) !== 0) out += ` ${prefix}vdir ${(d.invert & XT_IPVS_DIR) !== 0 ? 'REPLY' : 'ORIGINAL'}`
  if ((d.bits & XT_IPVS_METHOD) !== 0) {
    out += `${not(XT_IPVS_METHOD)} ${prefix}vmethod ${METHODS.find(([, m]) => m === d.method)![0]}`
  }
  if ((d.bits & XT_IPVS_VPORTCTL) !== 0) out += `${not(XT_IPVS_VPORTCTL)} ${prefix}vportctl ${d.vportctl}`
  return out
}

/** `-m ipvs` */
export const ipvsMatch: XtMatch<IpvsData> = {
  name: 'ipvs',
  options: [
    option('ipvs', XT_IPVS_PROPERTY, () => undefined),
    option('vproto', XT_IPVS_PROTO, (d, v) => void (d.proto = parseProtocol(v))),
    option('vaddr', XT_IPVS_VADDR, (d, v) => {
      ;[d.vaddr, d.vmask] = hostMask(v)
    }),
    option('vport', XT_IPVS_VPORT, (d, v) => void (d.vport = vport(v))),
    option(
      'vdir',
      XT_IPVS_DIR,
      (d, v) => {
        const name = v.toUpperCase()
        if (name !== 'ORIGINAL' && name !== 'REPLY')
          throw new IptTextError(`ipvs: Bad value for "--vdir" option: "${v}"`)
        if (name === 'REPLY') d.invert |= XT_IPVS_DIR
      },
      false,
    ),
    option('vmethod', XT_IPVS_METHOD, (d, v) => {
      const row = METHODS.find(([name]) => name === v.toUpperCase())
      if (row === undefined) throw new IptTextError(`ipvs: Bad value for "--vmethod" option: "${v}"`)
      d.method = row[1]
    }),
    option('vportctl', XT_IPVS_VPORTCTL, (d, v) => void (d.vportctl = vport(v))),
  ],
  init: () => ({ bits: 0, invert: 0, proto: 0, vaddr: 0, vmask: -1, vport: 0, vportctl: 0, method: 0 }),
  check(d) {
    if (d.bits === 0) throw new IptTextError('IPVS: At least one option is required')
  },
  save: (d) => dump(d, '--'),
  list: (d) => dump(d, ''),
  compile(d, c) {
    const bits = d.bits === XT_IPVS_PROPERTY ? d.bits : d.bits & ~XT_IPVS_PROPERTY
    c.emit(MATCH_IPVS, bits, d.invert, d.proto, d.vaddr, d.vmask, d.vport, d.vportctl, d.method)
  },
}

/** ipvs_mt: the words at `a` are those that `compile` wrote. */
export function matchIpvs(w: World, ns: Netns, slot: number, words: Int32Array, a: number): boolean {
  const { meta, view } = w.arena
  const m = slot << META_SHIFT
  const bits = words[a]!
  const invert = words[a + 1]!
  const property = (meta[m + M_FLAGS]! & SKB_IPVS_PROPERTY) !== 0
  if (bits === XT_IPVS_PROPERTY) return property !== ((invert & XT_IPVS_PROPERTY) !== 0)
  const { nh, th, end, proto } = evalState
  if (!property || ns.ipvs === null || th + 4 > end) return false
  if ((bits & XT_IPVS_PROTO) !== 0 && (proto === words[a + 2]) === ((invert & XT_IPVS_PROTO) !== 0)) return false
  if (!isBalanced(proto)) return false
  const conns = ns.ipvs.conns
  const id = conns.outGet(
    proto,
    view.getInt32(nh + 16),
    view.getUint16(th + 2),
    view.getInt32(nh + 12),
    view.getUint16(th),
  )
  if (id === 0) return false
  const e = id * K_WORDS
  const rows = conns.rows
  if ((bits & XT_IPVS_VPORT) !== 0 && (rows[e + K_VPORT] === words[a + 5]) === ((invert & XT_IPVS_VPORT) !== 0))
    return false
  if ((bits & XT_IPVS_VPORTCTL) !== 0) {
    const control = rows[e + K_CONTROL]!
    const hit = control !== 0 && rows[control * K_WORDS + K_VPORT] === words[a + 6]
    if (hit === ((invert & XT_IPVS_VPORTCTL) !== 0)) return false
  }
  if ((bits & XT_IPVS_DIR) !== 0) {
    if (meta[m + M_CT] === 0) return false
    if (meta[m + M_CTINFO]! >= IP_CT_IS_REPLY !== ((invert & XT_IPVS_DIR) !== 0)) return false
  }
  const method = rows[e + K_FLAGS]! & IP_VS_CONN_F_FWD_MASK
  if ((bits & XT_IPVS_METHOD) !== 0 && (method === words[a + 7]) === ((invert & XT_IPVS_METHOD) !== 0)) return false
  if ((bits & XT_IPVS_VADDR) === 0) return true
  return ((rows[e + K_VADDR]! & words[a + 4]!) === (words[a + 3]! & words[a + 4]!)) !== ((invert & XT_IPVS_VADDR) !== 0)
}
