/**
 * A running cluster whose Services change: every node's kube-proxy syncs again, pods and connections stay.
 *
 * Nodes n1 (zone z1) and n2 (zone z2); pods `web-1` and `web-2` with app=web, one per node, TCP 8080, UDP 5353;
 * `client` on n1, `far` on n2; `hclient` on n1 and `hserver` on n2 (TCP 9000) in the node's network; `host:192.0.2.7` outside.
 */
import { formatIpv4, parseIpv4 } from '../../src/addr/index.ts'
import { buildCluster, type Cluster } from '../../src/cluster/build.ts'
import { proxyInput } from '../../src/cluster/proxy-input.ts'
import { buildClusterModel, loadText } from '../../src/kubernetes/index.ts'
import type { ClusterModel } from '../../src/kubernetes/types.ts'
import { execTool } from '../../src/linux/tools/exec.ts'
import type { SyncOptions } from '../../src/proxy/mode.ts'
import { traceInCluster } from '../../src/query/trace.ts'
import type { Trace } from '../../src/query/trace-types.ts'

/** How a pod is: its conditions, as `kubectl get -o yaml` shows them. */
export type PodState = 'ready' | 'not-ready' | 'terminating' | 'gone'

/** Pods behind the Services and their node. */
const BACKENDS: { readonly [name: string]: string } = { 'web-1': 'n1', 'web-2': 'n2' }
const PORTS = '[{ name: http, containerPort: 8080 }, { name: udp, containerPort: 5353, protocol: UDP }]'

/** What one question was answered with. */
export interface Asked {
  /** `web-1`, `node/n1`, or how it failed: `REFUSED`, `DROPPED`, `UNREACHABLE`. */
  readonly who: string
  /** The source address the answering side saw. */
  readonly sees: string
  /** How the reply ended, null when none was sent. */
  readonly reply: string | null
  readonly trace: Trace
}

function podText(name: string, node: string, state: PodState, more: string): string {
  const ready = state === 'ready' || state === 'terminating'
  const deletion = state === 'terminating' ? ', deletionTimestamp: "2026-01-01T00:00:00Z"' : ''
  const labels = name.startsWith('web') ? ', labels: { app: web }' : ''
  return `{ apiVersion: v1, kind: Pod, metadata: { name: ${name}${labels}${deletion} }, spec: { nodeName: ${node}, ${more} containers: [{ name: c, ports: ${PORTS} }] }, status: { phase: Running, conditions: [{ type: Ready, status: "${ready ? 'True' : 'False'}" }] } }`
}

/** A Service of app=web unless it says otherwise; `spec` in YAML flow style. */
export function service(name: string, spec: string, more = ''): string {
  const selector = spec.includes('selector:') || spec.includes('ExternalName') ? '' : ', selector: { app: web }'
  return `{ apiVersion: v1, kind: Service, metadata: { name: ${name}${more.startsWith(', labels') ? more : ''} }, spec: { ${spec}${selector} }${more.startsWith(', status') ? more : ''} }`
}

/** The status that a load balancer has given an address. */
export const vip = (ip: string): string => `, status: { loadBalancer: { ingress: [{ ip: ${ip} }] } }`

/** A lab in one proxy mode. */
export class ServiceLab {
  readonly cluster: Cluster
  readonly mode: string
  private readonly config: string
  private states: { [pod: string]: PodState } = { 'web-1': 'ready', 'web-2': 'ready' }
  private services: readonly string[] = []
  private sport = 41_000

  constructor(mode: string, services: readonly string[] = [], options = '') {
    this.mode = mode
    this.config = options
    this.services = services
    this.cluster = buildCluster(this.model())
    // The balancer is not asked here: what is for its addresses comes to n1, whatever n1 has behind them.
    for (const { ip } of this.cluster.model.loadBalancer?.addresses ?? []) {
      execTool(this.cluster.underlay.ns, ['ip', 'route', 'del', ip])
    }
    const route = ['ip', 'route', 'add', '203.0.113.0/24', 'via', '172.18.0.2']
    if (execTool(this.cluster.underlay.ns, route).status !== 0) throw new Error('no route for balancer addresses')
  }

  /** The objects as they are now; every pod that ever was keeps its address. */
  private model(): ClusterModel {
    const docs = [
      `apiVersion: podwalk.dev/v1alpha1\nkind: Cluster\nmetadata: { name: lab }\nspec:\n  nodes: [{ name: n1, zone: z1 }, { name: n2, zone: z2 }]\n  cni: { name: kubenet }\n  kubeProxy: { mode: ${this.mode}${this.config === '' ? '' : `, options: ${this.config}`} }\n`,
      podText('client', 'n1', 'ready', ''),
      podText('far', 'n2', 'ready', ''),
      ...Object.entries(BACKENDS).map(([name, node]) => podText(name, node, this.states[name] ?? 'ready', '')),
      `{ apiVersion: v1, kind: Pod, metadata: { name: hclient }, spec: { nodeName: n1, hostNetwork: true, containers: [{ name: c }] } }`,
      `{ apiVersion: v1, kind: Pod, metadata: { name: hserver, labels: { app: host } }, spec: { nodeName: n2, hostNetwork: true, containers: [{ name: c, ports: [{ containerPort: 9000 }] }] } }`,
      ...this.services,
    ]
    const { model, diagnostics } = buildClusterModel(loadText(docs.join('\n---\n'), 'lab.yaml'))
    const errors = diagnostics.filter((d) => d.severity === 'error')
    if (errors.length > 0) throw new Error(errors.map((d) => `${d.line}: ${d.message}`).join('\n'))
    const gone = Object.keys(BACKENDS).filter((name) => this.states[name] === 'gone')
    return gone.length === 0 ? model : withoutEndpoints(model, gone)
  }

  /** Changes Services and pods; kube-proxy of every node syncs. */
  update(
    services: readonly string[] | null,
    states: { [pod: string]: PodState } = {},
    options: SyncOptions = {},
  ): void {
    if (services !== null) this.services = services
    this.states = { ...this.states, ...states }
    const model = this.model()
    this.pass(2)
    for (const node of model.nodes) {
      const ns = this.cluster.nodes.get(node.name)
      const proxy = this.cluster.proxies.get(node.name)
      if (ns === undefined || proxy === undefined) throw new Error(`no kube-proxy on ${node.name}`)
      proxy.sync(proxyInput(model, node, ns), options)
    }
  }

  /** Lets virtual time pass. */
  pass(seconds: number): void {
    const w = this.cluster.world
    w.runUntil(w.nowNs + seconds * 1e9)
  }

  /** One connection of its own, or datagram; `sport` for one that goes on. */
  ask(from: string, to: string, protocol: 'TCP' | 'UDP' = 'TCP', sport = this.sport++): Asked {
    const { trace, diagnostics } = traceInCluster(this.cluster, {
      src: from,
      dst: to,
      namespace: 'default',
      protocol,
      sport,
      flow: false,
      seed: 1,
      verbose: false,
    })
    if (trace === null) throw new Error(diagnostics.map((d) => d.message).join('; '))
    const { verdict, delivered, replyVerdict } = trace
    const isRefused = verdict === 'REJECTED' || trace.walk.at(-1)?.detail.reason === 'NO_SOCKET'
    const pod = delivered?.pod?.split('/')[1]
    return {
      who: verdict === 'DELIVERED' ? (pod ?? `node/${delivered?.node ?? ''}`) : isRefused ? 'REFUSED' : verdict,
      sees: delivered?.src ?? '',
      reply: replyVerdict?.verdict ?? null,
      trace,
    }
  }

  /** Who answers `count` connections, without repetition, sorted. */
  answering(from: string, to: string, protocol: 'TCP' | 'UDP' = 'TCP', count = 12): string[] {
    return [...new Set(Array.from({ length: count }, () => this.ask(from, to, protocol).who))].sort()
  }

  /** What a tool prints on a node. */
  exec(node: string, ...argv: string[]): string {
    const ns = this.cluster.nodes.get(node)
    if (ns === undefined) throw new Error(`no node ${node}`)
    const { status, stdout, stderr } = execTool(ns, argv)
    if (status > 1) throw new Error(stderr)
    return stdout
  }

  /** A node's address. */
  nodeIp(node: string): string {
    const ip = this.cluster.model.nodes.find((n) => n.name === node)?.internalIp
    return formatIpv4(parseIpv4(ip ?? '') ?? 0)
  }

  /** The address of a pod. */
  podIp(name: string): string {
    return this.cluster.model.pods.find((p) => p.name === name)?.ip ?? ''
  }
}

function withoutEndpoints(model: ClusterModel, gone: readonly string[]): ClusterModel {
  const ips = new Set(model.pods.filter((p) => gone.includes(p.name)).map((p) => p.ip))
  return {
    ...model,
    endpointSlices: model.endpointSlices.map((slice) => ({
      ...slice,
      object: {
        ...slice.object,
        endpoints: slice.object.endpoints.filter((e) => !ips.has(e.addresses[0] ?? '')),
      },
    })),
  }
}
