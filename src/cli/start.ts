/**
 * From the cluster as data to the running cluster, for commands that look into it. What podwalk has no driver for ends
 * the command: there is nothing to look into.
 */
import type { Cluster } from '../cluster/build.ts'
import type { ClusterModel } from '../kubernetes/types.ts'
import { CliError, EXIT_UNMODELLED } from './exit.ts'
import { reportDiagnostics } from './input.ts'
import type { InputFlags } from './options.ts'

/** Builds the world; findings of the driver go to stderr. */
export async function startCluster(model: ClusterModel, flags: InputFlags): Promise<Cluster> {
  const { buildCluster, UnmodelledClusterError } = await import('../cluster/build.ts')
  try {
    const cluster = buildCluster(model, { seed: flags.seed ?? model.config.seed })
    reportDiagnostics(cluster.diagnostics, flags)
    if (flags.at !== undefined) cluster.events.playUntil(flags.at)
    return cluster
  } catch (error) {
    if (!(error instanceof UnmodelledClusterError)) throw error
    throw new CliError(EXIT_UNMODELLED, `UNMODELLED: ${error.message}`, 'choose another with --cni or --proxy-mode')
  }
}
