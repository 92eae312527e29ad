/**
 * Options that the policy commands share: where implementations differ, and what-if.
 */
import { type Command, InvalidArgumentError } from 'commander'
import type { ClusterModel } from '../kubernetes/types.ts'
import type { PolicyEngine } from '../policy/engine.ts'
import { choiceOption } from './choice.ts'
import { readCluster } from './input.ts'
import type { InputFlags } from './options.ts'

/** What the options give. */
export interface PolicyFlags {
  readonly ipBlockMatchesPods: 'true' | 'false'
  readonly hostNetwork: 'ignored' | 'as-pod'
  readonly nodeTraffic: 'exempt' | 'exempt-ingress' | 'subject'
  readonly with?: string[]
  readonly without?: string[]
}

/** A protocol and port: `TCP/80`, `UDP/53`, `ICMP/8`, or a number for TCP. */
export interface PortProbe {
  readonly protocol: 'TCP' | 'UDP' | 'SCTP' | 'ICMP'
  readonly port: number
}

/** Adds the options, and what-if. */
export function addPolicyOptions(command: Command): Command {
  return addOptionsOfPolicies(command)
    .option('--with <file>', 'as if this file were applied too (repeatable)', collect)
    .option('--without <name>', 'as if this policy were not there (repeatable)', collect)
}

/** Adds the options that say how policies are read. */
export function addOptionsOfPolicies(command: Command): Command {
  return command
    .addOption(
      choiceOption('--ip-block-matches-pods <bool>', 'blocks match pod addresses', ['true', 'false']).default('true'),
    )
    .addOption(choiceOption('--host-network <how>', 'host-network pods', ['ignored', 'as-pod']).default('ignored'))
    .addOption(
      choiceOption('--node-traffic <how>', 'a pod and its own node', ['exempt', 'exempt-ingress', 'subject']).default(
        'exempt',
      ),
    )
}

/** Reads `TCP/80`. */
export function portProbe(text: string): PortProbe {
  const match = /^(?:(tcp|udp|sctp|icmp)\/)?(\d{1,5})$/i.exec(text)
  const port = Number(match?.[2])
  if (match === null || port > 65535) throw new InvalidArgumentError('Expected a protocol and port such as TCP/80.')
  return { protocol: (match[1] ?? 'tcp').toUpperCase() as PortProbe['protocol'], port }
}

/** Reads the cluster and indexes its policies. */
export async function readPolicies(
  flags: InputFlags & PolicyFlags,
): Promise<{ readonly model: ClusterModel; readonly engine: PolicyEngine }> {
  const model = await readCluster(flags)
  return { model, engine: await policyEngineOf(model, flags) }
}

/** Indexes the policies of a cluster, read as the options say. */
export async function policyEngineOf(model: ClusterModel, flags: PolicyFlags): Promise<PolicyEngine> {
  const { PolicyEngine } = await import('../policy/engine.ts')
  const { policyInputOf } = await import('../policy/input.ts')
  return new PolicyEngine(policyInputOf(model), {
    ipBlockMatchesPods: flags.ipBlockMatchesPods === 'true',
    hostNetwork: flags.hostNetwork,
    nodeTraffic: flags.nodeTraffic,
  })
}

function collect(value: string, before: string[] = []): string[] {
  return [...before, value]
}
