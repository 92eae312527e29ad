/**
 * The NAT statements: dnat, snat, masquerade, redirect.
 *
 * Linux: net/netfilter/nft_nat.c, nft_masq.c, nft_redir.c.
 */
import { M_CT, META_SHIFT } from '../../../packet/layout.ts'
import type { Netns } from '../../netns.ts'
import { R_NF_DROP } from '../../reasons.ts'
import type { World } from '../../world.ts'
import { NF_DROP } from '../conntrack/layout.ts'
import { evalState } from '../iptables/eval-state.ts'
import { nfNatMasqueradeIpv4, nfNatMasqueradeIpv6 } from '../nat/masquerade.ts'
import {
  NatRange,
  NF_NAT_MANIP_DST,
  NF_NAT_MANIP_SRC,
  NF_NAT_RANGE_MAP_IPS,
  NF_NAT_RANGE_PROTO_SPECIFIED,
} from '../nat/range.ts'
import { nfNatRedirectIpv4, nfNatRedirectIpv6 } from '../nat/redirect.ts'
import { nfNatSetupInfo } from '../nat/setup.ts'
import { regs } from './registers.ts'

const range = new NatRange()

/** Runs the statement at `pc`. */
export function natStatement(w: World, ns: Netns, slot: number, code: Int32Array, pc: number): number {
  const kind = code[pc + 1]
  range.flags = code[pc + 2]!
  range.minIp = range.maxIp = 0
  range.minPort = range.maxPort = range.basePort = 0
  const addr = code[pc + 3]!
  const port = code[pc + 5]!
  if (addr >= 0) {
    range.flags |= NF_NAT_RANGE_MAP_IPS
    range.minIp = address(w, addr)
    range.maxIp = address(w, code[pc + 4]!)
  }
  if (port >= 0) {
    range.flags |= NF_NAT_RANGE_PROTO_SPECIFIED
    range.minPort = regs[port]!
    range.maxPort = regs[code[pc + 6]!]!
  }
  const ipv6 = evalState.family === 6
  if (kind === 3) {
    return (ipv6 ? nfNatRedirectIpv6 : nfNatRedirectIpv4)(w, ns, slot, range, evalState.hook)
  }
  if (kind === 2) {
    if (evalState.outDev === null) {
      w.dropReason = R_NF_DROP
      return NF_DROP
    }
    return (ipv6 ? nfNatMasqueradeIpv6 : nfNatMasqueradeIpv4)(w, ns, slot, range, evalState.outDev)
  }
  const id = w.arena.meta[(slot << META_SHIFT) + M_CT]!
  return nfNatSetupInfo(w, ns, id, slot, range, kind === 1 ? NF_NAT_MANIP_DST : NF_NAT_MANIP_SRC)
}

/** The address in registers: a number of IPv4, the id of IPv6. */
function address(w: World, reg: number): number {
  if (evalState.family !== 6) return regs[reg]!
  return w.in6.intern(regs[reg]!, regs[reg + 1]!, regs[reg + 2]!, regs[reg + 3]!)
}
