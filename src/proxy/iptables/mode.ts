/**
 * kube-proxy's iptables mode: objects in, the commands kube-proxy issues on one node out.
 *
 * Per family: on start sysctls and canaries; with a full sync the chains and jumps; then one iptables-restore with the
 * filter block and the nat block. Rule text is kube-proxy's own, byte for byte, except that services come sorted by
 * name where kube-proxy has Go's random map order.
 *
 * Not modelled: see features.ts.
 *
 * Source: pkg/proxy/iptables/proxier.go.
 */
import { afterSync } from '../after-sync.ts'
import { ipFamilies } from '../families.ts'
import type { ProxyMode, SyncOptions } from '../mode.ts'
import type { IpFamily, NodeProgram, ProxyInput, ProxyVerb, RuleOrigin } from '../types.ts'
import { ensureJumps, startCommands } from './bootstrap.ts'
import { IPTABLES_FEATURES } from './features.ts'
import { type FamilyState, syncFamily } from './sync.ts'

/** What the iptables mode remembers between syncs, by family. */
export type IptablesState = ReadonlyMap<IpFamily, FamilyState>

/** `iptables-restore` as kube-proxy calls it. */
export const RESTORE_ARGS: readonly string[] = ['-w', '5', '--noflush', '--counters']

/** The iptables mode. */
export const iptablesMode = {
  name: 'iptables',
  features: IPTABLES_FEATURES,
  program,
} satisfies ProxyMode<IptablesState>

/** What kube-proxy issues on a bare node before its first iptables-restore. */
export function bootstrapCommands(input: ProxyInput): ProxyVerb[] {
  const families = ipFamilies(input)
  return [...startCommands(input, families), ...families.flatMap(ensureJumps)]
}

/** The restore text of a first sync for one family. */
export function restoreText(input: ProxyInput, family: IpFamily = 'IPv4'): string {
  return syncFamily(input, family, undefined, {}, new Map()).text
}

function program(
  input: ProxyInput,
  previous?: NodeProgram<IptablesState>,
  options: SyncOptions = {},
): NodeProgram<IptablesState> {
  const families = ipFamilies(input)
  const verbs: ProxyVerb[] = previous === undefined ? startCommands(input, families) : []
  const origins = new Map<string, readonly (RuleOrigin | null)[]>()
  const state = new Map<IpFamily, FamilyState>()
  for (const family of families) {
    const sync = syncFamily(input, family, previous?.state.get(family), options, origins, previous?.origins)
    if (sync.isFull) verbs.push(...ensureJumps(family))
    verbs.push({ verb: 'iptables-restore', family, args: RESTORE_ARGS, text: sync.text })
    state.set(family, sync.state)
  }
  return { verbs, origins, lookups: new Map(), state, ...afterSync(input, previous?.state, state) }
}
