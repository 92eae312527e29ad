/**
 * The hook function of nftables base chains.
 *
 * Linux: nft_do_chain_ipv4, nft_do_chain_ipv6, nft_do_chain_inet (net/netfilter/nft_chain_filter.c),
 * nf_route_table_hook4, nf_route_table_hook6 (nft_chain_route.c): a route chain in LOCAL_OUT routes a packet again whose addresses, mark or TOS it changed.
 */
import { M_DATA, M_MARK, META_SHIFT } from '../../../packet/layout.ts'
import type { NetDevice } from '../../device/device.ts'
import { ip6RouteMeHarder } from '../../ipv6/route.ts'
import type { Netns } from '../../netns.ts'
import { R_NO_ROUTE } from '../../reasons.ts'
import { ipRouteMeHarder } from '../../route/route.ts'
import { RTN_UNSPEC } from '../../route/rtn.ts'
import type { World } from '../../world.ts'
import { NF_ACCEPT, NF_DROP, NF_INET_LOCAL_OUT } from '../conntrack/layout.ts'
import { nftDoChain } from './eval.ts'
import type { NftChain } from './state.ts'

/** Runs the base chain `id`. */
export function nftHook(
  w: World,
  ns: Netns,
  id: number,
  hook: number,
  slot: number,
  inDev: NetDevice | null,
  outDev: NetDevice | null,
): number {
  w.impure = true
  const chain = ns.nft!.chains[id]!
  if (hook !== NF_INET_LOCAL_OUT || chain.spec.base!.type !== 'route')
    return nftDoChain(w, ns, chain, hook, slot, inDev, outDev)
  const { view, meta } = w.arena
  const m = slot << META_SHIFT
  const nh = meta[m + M_DATA]!
  if (view.getUint8(nh) >>> 4 === 6) return routeHook6(w, ns, chain, hook, slot, inDev, outDev)
  const saddr = view.getInt32(nh + 12)
  const daddr = view.getInt32(nh + 16)
  const mark = meta[m + M_MARK]!
  const tos = view.getUint8(nh + 1)
  const verdict = nftDoChain(w, ns, chain, hook, slot, inDev, outDev)
  if (verdict !== NF_ACCEPT) return verdict
  const changed =
    view.getInt32(nh + 12) !== saddr ||
    view.getInt32(nh + 16) !== daddr ||
    meta[m + M_MARK] !== mark ||
    view.getUint8(nh + 1) !== tos
  if (changed && ipRouteMeHarder(w, ns, slot, RTN_UNSPEC) < 0) {
    w.dropReason = R_NO_ROUTE
    return NF_DROP
  }
  return verdict
}

/** nf_route_table_hook6 */
function routeHook6(
  w: World,
  ns: Netns,
  chain: NftChain,
  hook: number,
  slot: number,
  inDev: NetDevice | null,
  outDev: NetDevice | null,
): number {
  const { view, meta } = w.arena
  const m = slot << META_SHIFT
  const nh = meta[m + M_DATA]!
  const saddr = w.in6.read(view, nh + 8)
  const daddr = w.in6.read(view, nh + 24)
  const mark = meta[m + M_MARK]!
  const hopLimit = view.getUint8(nh + 7)
  const flow = view.getInt32(nh)
  const verdict = nftDoChain(w, ns, chain, hook, slot, inDev, outDev)
  if (verdict !== NF_ACCEPT) return verdict
  const changed =
    w.in6.read(view, nh + 8) !== saddr ||
    w.in6.read(view, nh + 24) !== daddr ||
    meta[m + M_MARK] !== mark ||
    view.getUint8(nh + 7) !== hopLimit ||
    view.getInt32(nh) !== flow
  if (changed && ip6RouteMeHarder(w, ns, slot) < 0) {
    w.dropReason = R_NO_ROUTE
    return NF_DROP
  }
  return verdict
}
