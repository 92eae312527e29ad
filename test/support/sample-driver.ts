/**
 * The sample driver of docs/adding-a-driver.md: `ptp`, every pod on its own veth pair and a route to it on the node.
 *
 * Real thing: the CNI plugin ptp of containernetworking with host-local, and static routes between nodes. Not modelled:
 * masquerading (`ipMasq`), IPv6. Source: containernetworking/plugins plugins/main/ptp/ptp.go.
 */
import type { CniDriver, CniFeature } from '../../src/cni/driver.ts'
import type { CniVerb, NetnsName } from '../../src/cni/verb.ts'
import { vethName } from '../../src/cni/veth-name.ts'
import type { ClusterModel } from '../../src/kubernetes/types.ts'

const FEATURES: readonly CniFeature[] = [
  { name: 'veth per pod', support: 'supported', sentence: 'No bridge: the node routes to each pod by its own device.' },
  { name: 'ipMasq', support: 'not', sentence: 'Traffic that leaves the cluster keeps the address of the pod.' },
]

/** Every pod's default route goes here: the node answers for it on each veth by proxy ARP. */
const GATEWAY = '169.254.1.1'

function program(model: ClusterModel): ReturnType<CniDriver['program']> {
  const verbs: CniVerb[] = []
  const hostDevices = new Map<string, string>()
  for (const node of model.nodes) {
    const netns: NetnsName = `node:${node.name}`
    verbs.push({ verb: 'sysctl', netns, key: 'net.ipv4.ip_forward', value: '1', origin: node.source })
    for (const other of model.nodes) {
      if (other === node) continue
      verbs.push({
        verb: 'route-add',
        netns,
        dst: other.podCidr,
        dev: 'eth0',
        via: other.internalIp,
        origin: other.source,
      })
    }
  }
  for (const pod of model.pods) {
    if (pod.hostNetwork) continue
    const key = `${pod.namespace}/${pod.name}`
    const [host, node, inside] = [vethName('ptp', key), `node:${pod.node}`, `pod:${key}`] as [
      string,
      NetnsName,
      NetnsName,
    ]
    const origin = pod.source
    hostDevices.set(key, host)
    verbs.push(
      {
        verb: 'link-add',
        netns: node,
        link: { type: 'veth', name: host, peer: { netns: inside, name: 'eth0' } },
        origin,
      },
      { verb: 'link-set', netns: node, dev: host, up: true, origin },
      { verb: 'sysctl', netns: node, key: `net.ipv4.conf.${host}.proxy_arp`, value: '1', origin },
      { verb: 'sysctl', netns: node, key: `net.ipv4.neigh.${host}.proxy_delay`, value: '0', origin },
      { verb: 'route-add', netns: node, dst: `${pod.ip}/32`, dev: host, scope: 'link', origin },
      { verb: 'addr-add', netns: inside, dev: 'eth0', address: `${pod.ip}/32`, origin },
      { verb: 'link-set', netns: inside, dev: 'eth0', up: true, origin },
      { verb: 'route-add', netns: inside, dst: `${GATEWAY}/32`, dev: 'eth0', scope: 'link', origin },
      { verb: 'route-add', netns: inside, dst: 'default', dev: 'eth0', via: GATEWAY, origin },
    )
  }
  return { verbs, diagnostics: [], hostDevices }
}

/** The driver. */
export const ptp = {
  name: 'ptp',
  features: FEATURES,
  enforcesNetworkPolicy: false,
  podMtu: (underlayMtuBytes: number) => underlayMtuBytes,
  program,
} satisfies CniDriver
