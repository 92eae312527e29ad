/**
 * Small clusters for policy tests: pods in a line each, policies as YAML.
 *
 *     const engine = policyEngine(['shop/web app=web', 'shop/db app=db ports=pg:5432'], POLICY)
 *     ask(engine, 'shop/web', 'shop/db', 'TCP/5432')
 */
import { buildClusterModel, loadText } from '../../src/kubernetes/index.ts'
import { PolicyEngine } from '../../src/policy/engine.ts'
import { policyInputOf } from '../../src/policy/input.ts'
import type { Party, PolicyOptions } from '../../src/policy/model.ts'
import type { PolicyProtocol } from '../../src/policy/port-set.ts'

/**
 * A pod: `namespace/name key=value ... [ports=name:80/UDP,...] [ip=10.0.0.9] [node=n2] [host] [sa=name]`.
 */
function podYaml(line: string): string {
  const [id, ...words] = line.split(' ')
  const [namespace, name] = id!.split('/')
  const labels: string[] = []
  const spec: string[] = []
  const ports: string[] = []
  let ips: string[] = []
  let node = 'n1'
  for (const word of words) {
    const [key, value = ''] = word.split(/=(.*)/s)
    if (key === 'ports') {
      for (const port of value.split(',')) {
        const [portName, rest = ''] = port.split(':')
        const [number, protocol = 'TCP'] = rest.split('/')
        ports.push(`{name: ${portName}, containerPort: ${number}, protocol: ${protocol}}`)
      }
    } else if (key === 'ip') ips = value.split(',')
    else if (key === 'node') node = value
    else if (key === 'host') spec.push('hostNetwork: true')
    else if (key === 'sa') spec.push(`serviceAccountName: ${value}`)
    else labels.push(`${key}: "${value}"`)
  }
  const status =
    ips.length === 0 ? '' : `status: {podIP: "${ips[0]}", podIPs: [${ips.map((ip) => `{ip: "${ip}"}`).join(', ')}]}\n`
  return `apiVersion: v1
kind: Pod
metadata: {name: ${name}, namespace: ${namespace}, labels: {${labels.join(', ')}}}
spec: {nodeName: ${node}, containers: [{name: c, image: x, ports: [${ports.join(', ')}]}]${spec.map((s) => `, ${s}`).join('')}}
${status}`
}

/** Manifests of a cluster of two nodes. */
export function policyManifests(pods: readonly string[], policies: string): string {
  const cluster = 'apiVersion: podwalk.dev/v1alpha1\nkind: Cluster\nspec: {nodes: [{name: n1}, {name: n2}]}\n'
  return [cluster, ...pods.map(podYaml), ...(policies.trim() === '' ? [] : [policies])].join('---\n')
}

/** The engine over such a cluster; errors in the manifests throw. */
export function policyEngine(
  pods: readonly string[],
  policies: string,
  options: Partial<PolicyOptions> = {},
): PolicyEngine {
  const built = buildClusterModel(loadText(policyManifests(pods, policies), 'test.yaml'))
  const errors = built.diagnostics.filter((d) => d.severity === 'error')
  if (errors.length > 0) throw new Error(errors.map((e) => `${e.line}: ${e.path ?? ''} ${e.message}`).join('\n'))
  return new PolicyEngine(policyInputOf(built.model), options)
}

/** A pod, a node (`node/n1`) or an address. */
export function party(engine: PolicyEngine, name: string): Party {
  const found = name.startsWith('node/')
    ? engine.input.nodes.find((n) => `node/${n.name}` === name)
    : (engine.pod(name) ?? engine.partyAt(name))
  if (found === null || found === undefined) throw new Error(`no ${name}`)
  return found
}

/** Whether a connection is allowed: `TCP/80`, `ICMP/8`. */
export function ask(engine: PolicyEngine, from: string, to: string, port: string): boolean {
  const [protocol, number] = port.split('/')
  return engine.isAllowed(
    engine.flow(party(engine, from), party(engine, to), protocol as PolicyProtocol, Number(number)),
  )
}
