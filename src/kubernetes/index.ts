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
export { HostLocalRange } from './host-local.ts'
export type { Loaded } from './load.ts'
export { loadInputs, loadText, loadTexts } from './load.ts'
export { matchesMap, matchesRequirement, matchesSelector } from './selector.ts'
export * from './types.ts'
