/**
 * Kubernetes for podwalk: manifests in, the cluster as data out.
 *
 *     const loaded = loadInputs(['shop.yaml'])
 *     const { model, diagnostics, inferred } = buildClusterModel(loaded, { cni: 'kubenet' })
 *
 * Sources: see each file.
 */
export type { BuiltCluster } from './build.ts'
export { buildClusterModel } from './build.ts'
export type { DnsAnswer, DnsClient, DnsQuery, DnsStatus, ResolvConf } from './dns.ts'
export { clusterDnsAddress, resolvConfOf, resolveName } from './dns.ts'
export { HostLocalRange } from './host-local.ts'
export type { Loaded } from './load.ts'
export { loadInputs, loadText, loadTexts } from './load.ts'
export { matchesMap, matchesRequirement, matchesSelector } from './selector.ts'
export type { Target, TargetOptions, TargetResult } from './target.ts'
export { resolveTarget } from './target.ts'
export * from './types.ts'
