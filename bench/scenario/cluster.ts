/**
 * The cluster that the walks run in: two nodes, kubenet (a bridge cbr0 per node, pod CIDRs routed over the underlay) or
 * another CNI, kube-proxy in iptables mode or another, a client and two echo pods, one Service per echo pod, `services` more beside them.
 */
import { parseIpv4 } from '../../src/addr/index.ts'
import { buildCluster, type Cluster } from '../../src/cluster/build.ts'
import { buildClusterModel, loadText } from '../../src/kubernetes/index.ts'
import type { NetDevice } from '../../src/linux/device/device.ts'
import type { Netns } from '../../src/linux/netns.ts'
import { udpOpen, udpRecv, udpSend } from '../../src/linux/socket/api.ts'
import { foldChecksum, pseudoSumV4, sumWords } from '../../src/wire/checksum.ts'

/** Port that the echo pods listen on, behind port 80 of their Services. */
export const ECHO_PORT = 8080
/** Source port of the measured flow. */
export const CLIENT_PORT = 10_000
/** Bytes of a frame in memory: 64 on the wire. */
export const FRAME_BYTES = 60
const SECOND = 1_000_000_000

function pod(name: string, node: string): string {
  return `apiVersion: v1
kind: Pod
metadata: { name: ${name}, labels: { app: ${name} } }
spec:
  nodeName: ${node}
  containers: [{ name: c, image: example.org/echo:1, ports: [{ containerPort: ${ECHO_PORT}, protocol: UDP }] }]
`
}

function service(name: string, ip: string, app: string): string {
  return `apiVersion: v1
kind: Service
metadata: { name: ${name} }
spec: { clusterIP: ${ip}, selector: { app: ${app} }, ports: [{ port: 80, targetPort: ${ECHO_PORT}, protocol: UDP }] }
`
}

/** ClusterIPs of the measured Services. */
export const NEAR_VIP = '10.96.255.1'
export const FAR_VIP = '10.96.255.2'

/** CNI sections of the Cluster object, and what else each needs. */
const CNIS = {
  kubenet: { cni: '{ name: kubenet }', objects: [] },
  'flannel-vxlan': { cni: '{ name: flannel, options: { Backend: { Type: vxlan } } }', objects: [] },
  'calico-routed': {
    cni: '{ name: calico }',
    objects: [
      `apiVersion: projectcalico.org/v3
kind: IPPool
metadata: { name: default-ipv4-ippool }
spec: { cidr: 10.244.0.0/16, ipipMode: Never, vxlanMode: Never, natOutgoing: true, nodeSelector: all() }
`,
      `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: far-from-client }
spec:
  podSelector: { matchLabels: { app: far } }
  policyTypes: [Ingress]
  ingress: [{ from: [{ podSelector: { matchLabels: { app: client } } }], ports: [{ protocol: UDP, port: ${ECHO_PORT} }] }]
`,
    ],
  },
} as const

/** Which CNI a walk runs over. */
export type BenchCni = keyof typeof CNIS

/** The manifests. @param services Services of the same echo pod that kube-proxy writes before the measured ones */
export function manifests(services: number, cni: BenchCni = 'kubenet', mode = 'iptables'): string {
  const docs = [
    `apiVersion: podwalk.dev/v1alpha1
kind: Cluster
metadata: { name: bench }
spec:
  nodes: [{ name: n1 }, { name: n2 }]
  podCIDR: 10.244.0.0/16
  serviceCIDR: 10.96.0.0/16
  cni: ${CNIS[cni].cni}
  kubeProxy: { mode: ${mode} }
`,
    pod('client', 'n1'),
    pod('near', 'n1'),
    pod('far', 'n2'),
    service('znear', NEAR_VIP, 'near'),
    service('zfar', FAR_VIP, 'far'),
    ...CNIS[cni].objects,
  ]
  for (let i = 0; i < services; i++) {
    docs.push(service(`s${String(i).padStart(5, '0')}`, `10.96.${(i + 256) >> 8}.${i & 255}`, 'far'))
  }
  return docs.join('---\n')
}

/** One flow of the client pod, ready to be sent. */
export interface Path {
  readonly cluster: Cluster
  readonly client: Netns
  readonly clientDev: NetDevice
  readonly server: Netns
  readonly serverDev: NetDevice
  /** Where the flow is addressed to. */
  readonly dst: number
  readonly dport: number
  readonly src: number
  readonly serverIp: number
  readonly frame: Uint8Array
}

/** Builds the cluster. */
export function benchCluster(services = 0, cni: BenchCni = 'kubenet', mode = 'iptables'): Cluster {
  const built = buildClusterModel(loadText(manifests(services, cni, mode), 'bench.yaml'))
  const errors = built.diagnostics.filter((d) => d.severity === 'error')
  if (errors.length > 0) throw new Error(errors.map((d) => d.message).join('\n'))
  return buildCluster(built.model, { seed: 1 })
}

function podNs(c: Cluster, name: string): { ns: Netns; dev: NetDevice; ip: number } {
  const ns = c.pods.get(`default/${name}`)
  const model = c.model.pods.find((p) => p.name === name)
  const dev = ns?.devices.get('eth0')
  if (ns === undefined || dev === undefined || model === undefined) throw new Error(`no pod ${name}`)
  return { ns, dev, ip: parseIpv4(model.ip)! }
}

/**
 * Opens the flow: a datagram there and one back, so that neighbours are known and conntrack has an established entry.
 * @param to the pod that answers; @param dst the address that the client speaks to
 */
export function openPath(cluster: Cluster, to: 'near' | 'far', dst: number | null): Path {
  const client = podNs(cluster, 'client')
  const server = podNs(cluster, to)
  const w = cluster.world
  const address = dst ?? server.ip
  const dport = dst === null ? ECHO_PORT : 80
  // the builder has a server on every declared port already, which nobody reads from: ours stands beside it
  const listener = udpOpen(server.ns, { bind: { ip: server.ip, port: ECHO_PORT } })
  const socket = udpOpen(client.ns, { bind: { ip: client.ip, port: CLIENT_PORT } })
  if (typeof listener === 'number' || typeof socket === 'number') throw new Error('cannot open the sockets')
  const payload = new Uint8Array(FRAME_BYTES - 42)
  for (let i = 0; i < payload.length; i++) payload[i] = i
  for (let round = 0; round < 3; round++) {
    const sent = udpSend(socket, payload, { ip: address, port: dport })
    if (sent < 0) throw new Error(`send: ${sent}`)
    w.runUntil(w.nowNs + SECOND)
    const got = udpRecv(listener)
    if (typeof got === 'number') throw new Error(`nothing arrived: ${got}`)
    udpSend(listener, payload, { ip: got.from, port: got.port })
    w.runUntil(w.nowNs + SECOND)
    const back = udpRecv(socket)
    if (typeof back === 'number') throw new Error(`no answer: ${back}`)
    if (back.from !== address) throw new Error('the answer was not translated back')
  }
  const frame = udpFrame(
    client.dev,
    gatewayMac(cluster, client.ns, client.dev, address),
    client.ip,
    address,
    CLIENT_PORT,
    dport,
    payload,
  )
  return {
    cluster,
    client: client.ns,
    clientDev: client.dev,
    server: server.ns,
    serverDev: server.dev,
    dst: address,
    dport,
    src: client.ip,
    serverIp: server.ip,
    frame,
  }
}

function gatewayMac(cluster: Cluster, ns: Netns, dev: NetDevice, dst: number): { hi: number; lo: number } {
  const rt = ns.fib.routeOutputTo(dst, 0)
  const n = rt === null ? undefined : ns.neigh.lookup(dev, rt.hasGateway ? rt.gateway : dst)
  if (n === undefined) throw new Error(`${cluster.model.pods[0]!.name}: the next hop is not known`)
  return { hi: n.macHi, lo: n.macLo }
}

/** A UDP frame with right checksums, DF set. */
export function udpFrame(
  dev: NetDevice,
  to: { hi: number; lo: number },
  src: number,
  dst: number,
  sport: number,
  dport: number,
  payload: Uint8Array,
): Uint8Array {
  const bytes = new Uint8Array(42 + payload.length)
  const v = new DataView(bytes.buffer)
  v.setUint16(0, to.hi)
  v.setInt32(2, to.lo)
  v.setUint16(6, dev.macHi)
  v.setInt32(8, dev.macLo)
  v.setUint16(12, 0x0800)
  v.setUint16(14, 0x4500)
  v.setUint16(16, bytes.length - 14)
  v.setUint16(20, 0x4000)
  v.setUint8(22, 64)
  v.setUint8(23, 17)
  v.setInt32(26, src)
  v.setInt32(30, dst)
  v.setUint16(24, foldChecksum(sumWords(v, 14, 20)))
  v.setUint16(34, sport)
  v.setUint16(36, dport)
  v.setUint16(38, 8 + payload.length)
  bytes.set(payload, 42)
  v.setUint16(40, foldChecksum(sumWords(v, 34, 8 + payload.length, pseudoSumV4(src, dst, 17, 8 + payload.length))))
  return bytes
}
