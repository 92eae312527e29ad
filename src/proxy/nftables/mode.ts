/**
 * kube-proxy's nftables mode: objects in, the `nft -f -` transactions kube-proxy runs on one node out.
 *
 * Text is kube-proxy's own, byte for byte, except that Services, stale chains and leftover elements come sorted where
 * kube-proxy has Go's random map order.
 *
 * Not modelled: see features.ts.
 *
 * Source: pkg/proxy/nftables/proxier.go as of 1.34.
 */
import { afterSync } from '../after-sync.ts'
import { ipFamilies } from '../families.ts'
import type { ProxyMode, SyncOptions } from '../mode.ts'
import { PRIMARY } from '../node-port-addresses.ts'
import { conntrackSysctls } from '../start.ts'
import type { IpFamily, NodeProgram, ProxyInput, ProxyVerb, RuleOrigin } from '../types.ts'
import { NFTABLES_FEATURES } from './features.ts'
import { type NftFamilyState, syncNftFamily } from './sync.ts'

/** What the nftables mode remembers between syncs, by family. */
export type NftablesState = ReadonlyMap<IpFamily, NftFamilyState>

/** The nftables mode. */
export const nftablesMode = {
  name: 'nftables',
  features: NFTABLES_FEATURES,
  program,
} satisfies ProxyMode<NftablesState>

function program(
  input: ProxyInput,
  previous?: NodeProgram<NftablesState>,
  options: SyncOptions = {},
): NodeProgram<NftablesState> {
  const isStart = previous === undefined || options.restart === true
  const verbs: ProxyVerb[] = isStart ? conntrackSysctls(input) : []
  const origins = new Map<string, readonly (RuleOrigin | null)[]>()
  const lookups = new Map<string, RuleOrigin>()
  const state = new Map<IpFamily, NftFamilyState>()
  for (const [key, list] of previous?.origins ?? []) origins.set(key, list)
  for (const family of ipFamilies(input)) {
    const sync = syncNftFamily(input, family, previous?.state.get(family), options, origins, lookups)
    for (const text of sync.texts) verbs.push({ verb: 'nft', family, text })
    state.set(family, sync.state)
  }
  return { verbs, origins, lookups, state, ...afterSync(input, previous?.state, state, [PRIMARY]) }
}
