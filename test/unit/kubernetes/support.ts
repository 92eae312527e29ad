/** Helpers of the Kubernetes tests: manifests as text, findings as text. */
import type { Diagnostic } from '../../../src/diagnostics/diagnostic.ts'
import { formatDiagnostic } from '../../../src/diagnostics/diagnostic.ts'
import type { BuiltCluster } from '../../../src/kubernetes/build.ts'
import { buildClusterModel } from '../../../src/kubernetes/build.ts'
import { loadText } from '../../../src/kubernetes/load.ts'
import type { ClusterOverrides, Service } from '../../../src/kubernetes/types.ts'

/** The cluster of a manifest text. */
export function build(text: string, overrides: ClusterOverrides = {}): BuiltCluster {
  return buildClusterModel(loadText(text, 'm.yaml'), overrides)
}

/** The cluster of a manifest that must be without errors. */
export function buildGood(text: string, overrides: ClusterOverrides = {}): BuiltCluster {
  const built = build(text, overrides)
  const bad = errorsOf(built)
  if (bad.length > 0) throw new Error(`unexpected errors:\n${bad.join('\n')}`)
  return built
}

/** The errors as text. */
export function errorsOf(built: { readonly diagnostics: readonly Diagnostic[] }): string[] {
  return built.diagnostics.filter((d) => d.severity === 'error').map(formatDiagnostic)
}

/** All findings as text. */
export function findingsOf(built: { readonly diagnostics: readonly Diagnostic[] }): string[] {
  return built.diagnostics.map(formatDiagnostic)
}

/** A Service of the cluster. */
export function serviceOf(built: BuiltCluster, name: string, namespace = 'default'): Service {
  const found = built.model.services.find(
    (s) => s.object.metadata.name === name && s.object.metadata.namespace === namespace,
  )
  if (found === undefined) throw new Error(`no Service ${namespace}/${name}`)
  return found.object
}

/** A Deployment in few words. */
export function deployment(name: string, replicas: number, podSpec = '', labels = ''): string {
  return `
apiVersion: apps/v1
kind: Deployment
metadata: {name: ${name}}
spec:
  replicas: ${replicas}
  selector: {matchLabels: {app: ${name}}}
  template:
    metadata: {labels: {app: ${name}${labels}}}
    spec:
      containers: [{name: c, image: i, ports: [{name: http, containerPort: 8080}]}]${podSpec
        .split('\n')
        .map((line) => `\n      ${line}`)
        .join('')}
---`
}

/** A Service in few words. */
export function service(name: string, fields: string): string {
  return `
apiVersion: v1
kind: Service
metadata: {name: ${name}}
spec: {${fields}}
---`
}

/** A Cluster object. */
export function cluster(fields: string): string {
  return `
apiVersion: podwalk.dev/v1alpha1
kind: Cluster
metadata: {name: lab}
spec: {${fields}}
---`
}
