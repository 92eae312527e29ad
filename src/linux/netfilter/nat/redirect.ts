/**
 * REDIRECT: destination NAT to this host.
 *
 * Linux: nf_nat_redirect_ipv4, nf_nat_redirect_ipv6 (net/netfilter/nf_nat_redirect.c): 127.0.0.1 for locally made packets, else the first
 * address of the device that the packet came in by.
 */
import { M_CT, M_DATA, M_DEV, META_SHIFT } from '../../../packet/layout.ts'
import type { Netns } from '../../netns.ts'
import { R_NAT_NO_TUPLE } from '../../reasons.ts'
import type { World } from '../../world.ts'
import { NF_DROP, NF_INET_LOCAL_OUT } from '../conntrack/layout.ts'
import { NatRange, NF_NAT_MANIP_DST, NF_NAT_RANGE_MAP_IPS } from './range.ts'
import { nfNatSetupInfo } from './setup.ts'

const INADDR_LOOPBACK = 0x7f000001
const redirectRange = new NatRange()

/** nf_nat_redirect_ipv4: the REDIRECT target; flags and ports come from `range`. */
export function nfNatRedirectIpv4(w: World, ns: Netns, slot: number, range: NatRange, hook: number): number {
  const m = slot << META_SHIFT
  const id = w.arena.meta[m + M_CT]!
  let ip = INADDR_LOOPBACK
  if (hook !== NF_INET_LOCAL_OUT) {
    const dev = w.devices[w.arena.meta[m + M_DEV]!]
    ip = dev?.addrs[0]?.ip ?? 0
  }
  if (id === 0 || ip === 0) {
    w.dropReason = R_NAT_NO_TUPLE
    return NF_DROP
  }
  redirectRange.flags = range.flags | NF_NAT_RANGE_MAP_IPS
  redirectRange.minIp = ip
  redirectRange.maxIp = ip
  redirectRange.minPort = range.minPort
  redirectRange.maxPort = range.maxPort
  redirectRange.basePort = range.basePort
  return nfNatSetupInfo(w, ns, id, slot, redirectRange, NF_NAT_MANIP_DST)
}

const IPV6_ADDR_SCOPE_MASK = 0xf0
const IFA_F_OPTIMISTIC = 0x04
const IFA_F_TENTATIVE = 0x40

/** nf_nat_redirect_ipv6: `::1` for locally made packets, else the device's first address of the destination's scope. */
export function nfNatRedirectIpv6(w: World, ns: Netns, slot: number, range: NatRange, hook: number): number {
  const { meta, view } = w.arena
  const m = slot << META_SHIFT
  const id = meta[m + M_CT]!
  const in6 = w.in6
  let ip = 0
  if (hook === NF_INET_LOCAL_OUT) ip = in6.intern(0, 0, 0, 1)
  else {
    const scope = in6.type(in6.read(view, meta[m + M_DATA]! + 24)) & IPV6_ADDR_SCOPE_MASK
    for (const ifa of w.devices[meta[m + M_DEV]!]?.in6?.addrs ?? []) {
      if ((ifa.flags & IFA_F_TENTATIVE) !== 0 && (ifa.flags & IFA_F_OPTIMISTIC) === 0) continue
      if (scope !== 0 && (in6.type(ifa.addr) & scope) === 0) continue
      ip = ifa.addr
      break
    }
  }
  if (id === 0 || ip === 0) {
    w.dropReason = R_NAT_NO_TUPLE
    return NF_DROP
  }
  redirectRange.flags = range.flags | NF_NAT_RANGE_MAP_IPS
  redirectRange.minIp = ip
  redirectRange.maxIp = ip
  redirectRange.minPort = range.minPort
  redirectRange.maxPort = range.maxPort
  redirectRange.basePort = range.basePort
  return nfNatSetupInfo(w, ns, id, slot, redirectRange, NF_NAT_MANIP_DST)
}
