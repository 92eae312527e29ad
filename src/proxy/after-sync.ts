/**
 * What every mode does when its rules are in place: health check servers and the UDP conntrack clean-up.
 */
import type { ObjectState } from './changes.ts'
import { type UdpServing, udpCleanup } from './conntrack.ts'
import { type HealthCheck, healthChecks } from './health.ts'
import { nodePortAddresses } from './node-port-addresses.ts'
import type { IpFamily, ProxyInput } from './types.ts'

/** The results beside the verbs. */
export interface AfterSync {
  /** Per family whose UDP entries are to be looked through. */
  readonly conntrack: readonly UdpServing[]
  readonly health: readonly HealthCheck[]
}

/** Works them out from the states before and after. `whenEmpty`: what an empty `--nodeport-addresses` means. */
export function afterSync(
  input: ProxyInput,
  before: ReadonlyMap<IpFamily, ObjectState> | undefined,
  now: ReadonlyMap<IpFamily, ObjectState>,
  whenEmpty: readonly string[] = [],
): AfterSync {
  const conntrack: UdpServing[] = []
  const health: HealthCheck[] = []
  for (const [family, state] of now) {
    const serving = udpCleanup(family, before?.get(family), state)
    if (serving !== null) conntrack.push(serving)
    const nodePorts = nodePortAddresses(input.config, input.node, family, whenEmpty)
    for (const check of healthChecks(state, nodePorts, input.node.name)) {
      // The families' servers of one port are one listener when they listen on all addresses.
      if (check.ips.length > 0 || !health.some((other) => other.port === check.port)) health.push(check)
    }
  }
  return { conntrack, health }
}
