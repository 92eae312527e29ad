import { describe, expect, it } from '@jest/globals'
import { parseIpv4Cidr } from '../../../src/addr/cidr.ts'
import { formatIpv4, parseIpv4 } from '../../../src/addr/ipv4.ts'
import { HostLocalRange } from '../../../src/kubernetes/host-local.ts'
import { build, buildGood, cluster, deployment, errorsOf, findingsOf, service, serviceOf } from './support.ts'

const podsOf = (built: ReturnType<typeof build>, name: string) =>
  built.model.pods.filter((p) => p.owner?.workloadName === name || p.name === name)
const nodesOf = (built: ReturnType<typeof build>, name: string) => podsOf(built, name).map((p) => p.node)
const facts = (built: ReturnType<typeof build>) => built.inferred.map((f) => f.text)

describe('nodes', () => {
  it('are two workers when the input names none, with kind addresses and NodeIPAM CIDRs', () => {
    const { model } = buildGood(deployment('web', 1))
    expect(model.nodes.map((n) => [n.name, n.internalIp, n.podCidr])).toEqual([
      ['n1', '172.18.0.2', '10.244.0.0/24'],
      ['n2', '172.18.0.3', '10.244.1.0/24'],
    ])
    expect(model.nodes[0]!.labels['kubernetes.io/hostname']).toBe('n1')
    expect(model.config).toMatchObject({
      clusterCidr: '10.244.0.0/16',
      serviceCidr: '10.96.0.0/12',
      mtu: 1500,
      cni: { name: 'kubenet' },
      proxy: { mode: 'iptables' },
    })
  })
  it('come from Node objects, whose addresses are kept and whose gaps are filled', () => {
    const node = (name: string, spec: string, ip: string) =>
      `apiVersion: v1\nkind: Node\nmetadata: {name: ${name}}\nspec: {${spec}}\nstatus: {addresses: [{type: Hostname, address: ${name}}, {type: InternalIP, address: ${ip}}]}\n---\n`
    const built = buildGood(node('b', 'podCIDR: 10.42.1.0/24', '192.168.7.11') + node('a', '', '192.168.7.10'))
    expect(built.model.nodes.map((n) => [n.name, n.internalIp, n.podCidr])).toEqual([
      ['b', '192.168.7.11', '10.42.1.0/24'],
      ['a', '192.168.7.10', '10.42.0.0/24'],
    ])
    expect(built.model.config).toMatchObject({ nodeCidr: '192.168.7.0/24', clusterCidr: '10.42.0.0/16' })
    expect(facts(built)).toEqual([
      "inferred node network 192.168.7.0/24 from the nodes' addresses",
      "inferred pod network 10.42.0.0/16 from the nodes' podCIDRs",
    ])
  })
  it('come from the Cluster object, list or count, and give way to the command line', () => {
    const list = cluster(
      'nodes: [{name: cp, role: control-plane}, {name: w, zone: z1, podCIDR: 10.244.9.0/24}], mtu: 9000',
    )
    const { model } = buildGood(list)
    expect(model.nodes.map((n) => [n.name, n.isControlPlane, n.zone, n.podCidr])).toEqual([
      ['cp', true, undefined, '10.244.0.0/24'],
      ['w', false, 'z1', '10.244.9.0/24'],
    ])
    expect(model.nodes[0]!.taints).toEqual([{ key: 'node-role.kubernetes.io/control-plane', effect: 'NoSchedule' }])
    expect(model.config.mtu).toBe(9000)
    expect(buildGood(cluster('nodes: 3'), { nodes: 5 }).model.nodes).toHaveLength(5)
    const set = [
      { path: 'mtu', value: 1400 },
      { path: 'cni.options.bridge', value: 'br0' },
      { path: 'kubeProxy.mode', value: 'ipvs' },
    ]
    expect(buildGood(list, { set }).model.config).toMatchObject({
      mtu: 1400,
      cni: { name: 'kubenet', options: { bridge: 'br0' } },
      proxy: { mode: 'ipvs' },
    })
  })
  it.each([
    ['mtu', 'big', '--set mtu: error: expected an integer 576-65535, found string "big"'],
    ['mtuu', 1400, '--set mtuu: error: unknown field "spec.mtuu" [unknown-field]\n  hint: did you mean "mtu"?'],
    ['__proto__.x', 1, '--set __proto__.x: error: unknown field'],
  ])('refuse --set %s=%j', (path, value, expected) => {
    expect(errorsOf(build(cluster('nodes: 1'), { set: [{ path, value }] })).join()).toContain(expected)
  })
})

describe('inference', () => {
  const configMap = (name: string, key: string, text: string) =>
    `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ${name}, namespace: kube-system}\ndata:\n  ${key}: |\n${text
      .split('\n')
      .map((l) => `    ${l}`)
      .join('\n')}\n---\n`
  it('reads flannel', () => {
    const built = buildGood(
      configMap(
        'kube-flannel-cfg',
        'net-conf.json',
        '{"Network": "10.5.0.0/16", "SubnetLen": 25, "Backend": {"Type": "vxlan"}}',
      ),
    )
    expect(built.model.config).toMatchObject({
      clusterCidr: '10.5.0.0/16',
      nodeCidrMaskSize: 25,
      cni: { name: 'flannel', options: { Backend: { Type: 'vxlan' } } },
    })
    expect(facts(built).slice(0, 3)).toEqual([
      'inferred cni flannel (vxlan) from m.yaml:5',
      'inferred pod network 10.5.0.0/16 from m.yaml:5',
      'inferred node CIDR mask size 25 from m.yaml:5',
    ])
  })
  it('reads kubeadm and kube-proxy, as objects and in ConfigMaps', () => {
    const kubeadm =
      'apiVersion: kubeadm.k8s.io/v1beta3\nkind: ClusterConfiguration\nnetworking:\n  podSubnet: 10.1.0.0/16\n  serviceSubnet: 10.2.0.0/16\n  dnsDomain: corp.example'
    const proxy =
      'apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: ipvs\nclusterCIDR: 10.1.0.0/16'
    const expected = {
      clusterCidr: '10.1.0.0/16',
      serviceCidr: '10.2.0.0/16',
      dnsDomain: 'corp.example',
      proxy: { mode: 'ipvs' },
    }
    expect(buildGood(`${kubeadm}\n---\n${proxy}\n`).model.config).toMatchObject(expected)
    expect(
      buildGood(
        configMap('kubeadm-config', 'ClusterConfiguration', kubeadm) + configMap('kube-proxy', 'config.conf', proxy),
      ).model.config,
    ).toMatchObject(expected)
  })
  it('reads kind', () => {
    const built = buildGood(
      'kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nname: lab\nnetworking: {kubeProxyMode: nftables}\nnodes:\n- role: control-plane\n- role: worker\n- role: worker\n',
    )
    expect(built.model.nodes.map((n) => n.name)).toEqual(['lab-control-plane', 'lab-worker', 'lab-worker2'])
    expect(built.model.config).toMatchObject({ serviceCidr: '10.96.0.0/16', proxy: { mode: 'nftables' } })
  })
  it('reads Calico pools and Cilium', () => {
    const pool =
      'apiVersion: crd.projectcalico.org/v1\nkind: IPPool\nmetadata: {name: p}\nspec: {cidr: 192.168.0.0/16, vxlanMode: Never, ipipMode: Always}\n'
    const built = buildGood(pool)
    expect(built.model.config).toMatchObject({ clusterCidr: '192.168.0.0/16', cni: { name: 'calico' } })
    expect(facts(built)[0]).toBe('inferred cni calico (ipip) from m.yaml:4')
    const cilium =
      'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cilium-config}\ndata: {routing-mode: tunnel, tunnel-protocol: geneve, cluster-pool-ipv4-cidr: 10.7.0.0/16, kube-proxy-replacement: "true"}\n'
    expect(buildGood(cilium).model.config).toMatchObject({
      clusterCidr: '10.7.0.0/16',
      cni: { name: 'cilium' },
      proxy: { mode: 'none' },
    })
    expect(findingsOf(buildGood(`${pool}---\n${cilium}`))[0]).toContain(
      'found cni cilium beside calico of m.yaml:4:1: using',
    )
  })
  it('takes the service network of a dump from its kubernetes Service', () => {
    const built = buildGood(
      service('kubernetes', 'clusterIP: 172.20.0.1, ports: [{port: 443}]') +
        service('a', 'clusterIP: 172.20.33.7, ports: [{port: 80}]'),
    )
    expect(built.model.config.serviceCidr).toBe('172.20.0.0/16')
  })
})

describe('controllers', () => {
  it('name pods as the real ones do, from their own object only', () => {
    const alone = buildGood(deployment('web', 2))
    const among = buildGood(deployment('other', 3) + deployment('web', 3) + service('x', 'ports: [{port: 80}]'))
    const names = podsOf(alone, 'web').map((p) => p.name)
    for (const name of names) expect(name).toMatch(/^web-[bcdf4-9]{6,10}-[bcdfghjklmnpqrstvwxz2456789]{5}$/)
    expect(
      podsOf(among, 'web')
        .map((p) => p.name)
        .slice(0, 2),
    ).toEqual(names)
    expect(podsOf(alone, 'web')[0]!.labels['pod-template-hash']).toBe(names[0]!.split('-')[1])
    expect(podsOf(buildGood(deployment('web', 2, 'hostNetwork: true')), 'web')[0]!.name.split('-')[1]).not.toBe(
      names[0]!.split('-')[1],
    )
  })
  it('number StatefulSet pods and give them their identity', () => {
    const text = deployment('db', 2)
      .replace('kind: Deployment', 'kind: StatefulSet')
      .replace('spec:\n  replicas', 'spec:\n  serviceName: db\n  replicas')
    const pods = podsOf(buildGood(text), 'db')
    expect(pods.map((p) => p.name)).toEqual(['db-0', 'db-1'])
    expect(pods[1]!.labels['statefulset.kubernetes.io/pod-name']).toBe('db-1')
    expect(pods[1]!.spec).toMatchObject({ hostname: 'db-1', subdomain: 'db' })
  })
  it('run a DaemonSet on every node that it tolerates', () => {
    const daemon = (spec: string) =>
      deployment('agent', 1, spec).replace('kind: Deployment', 'kind: DaemonSet').replace('  replicas: 1\n', '')
    const nodes = cluster('nodes: [{name: cp, role: control-plane}, {name: a}, {name: b, unschedulable: true}]')
    expect(nodesOf(buildGood(nodes + daemon('')), 'agent')).toEqual(['a', 'b'])
    expect(nodesOf(buildGood(nodes + daemon('tolerations: [{operator: Exists}]')), 'agent')).toEqual(['cp', 'a', 'b'])
    expect(nodesOf(buildGood(nodes + daemon('nodeSelector: {kubernetes.io/hostname: a}')), 'agent')).toEqual(['a'])
  })
  it('make Job pods, and none for a CronJob or what is done', () => {
    const job =
      'apiVersion: batch/v1\nkind: Job\nmetadata: {name: j}\nspec: {parallelism: 3, completions: 2, template: {spec: {restartPolicy: Never, containers: [{name: c}]}}}\n'
    expect(podsOf(buildGood(job), 'j').map((p) => p.labels['job-name'])).toEqual(['j', 'j'])
    expect(buildGood(`${job}status: {conditions: [{type: Complete, status: "True"}]}\n`).model.pods).toEqual([])
    const cron =
      'apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: c}\nspec: {schedule: "* * * * *", jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c}]}}}}}\n'
    expect(buildGood(cron).model.pods).toEqual([])
  })
  it('adopt the pods and ReplicaSets of a dump instead of making them twice', () => {
    const owner = (kind: string, name: string) =>
      `ownerReferences: [{apiVersion: apps/v1, kind: ${kind}, name: ${name}, uid: u, controller: true}]`
    const rs = deployment('web-abc', 2)
      .replace('kind: Deployment', 'kind: ReplicaSet')
      .replace('{name: web-abc}', `{name: web-5d9f8, ${owner('Deployment', 'web')}}`)
    const pod = `apiVersion: v1\nkind: Pod\nmetadata: {name: web-5d9f8-x2x2x, labels: {app: web}, ${owner('ReplicaSet', 'web-5d9f8')}}\nspec: {nodeName: n2, containers: [{name: c}]}\nstatus: {podIP: 10.244.1.77, phase: Running}\n---\n`
    const built = buildGood(`${deployment('web', 2)}${rs}\n${pod}`)
    expect(podsOf(built, 'web')).toHaveLength(2)
    expect(built.model.pods.map((p) => p.owner?.workloadKind)).toEqual(['Deployment', 'Deployment'])
    expect(built.model.pods.find((p) => p.name === 'web-5d9f8-x2x2x')).toMatchObject({ node: 'n2', ip: '10.244.1.77' })
    const withoutReplicaSet = buildGood(`${deployment('web', 2)}\n${pod}`)
    expect(podsOf(withoutReplicaSet, 'web')).toHaveLength(2)
  })
})

describe('the scheduler', () => {
  const three = cluster('nodes: [{name: a, zone: z1, labels: {disk: ssd}}, {name: b, zone: z1}, {name: c, zone: z2}]')
  it('spreads replicas over nodes and zones', () => {
    expect(nodesOf(buildGood(three + deployment('web', 3)), 'web').sort()).toEqual(['a', 'b', 'c'])
    expect(nodesOf(buildGood(three + deployment('web', 2)), 'web')).toEqual(['a', 'c'])
  })
  it('honours nodeSelector, required and preferred node affinity', () => {
    expect(nodesOf(buildGood(three + deployment('web', 2, 'nodeSelector: {disk: ssd}')), 'web')).toEqual(['a', 'a'])
    const notIn =
      'affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: topology.kubernetes.io/zone, operator: NotIn, values: [z1]}]}]}}}'
    expect(nodesOf(buildGood(three + deployment('web', 2, notIn)), 'web')).toEqual(['c', 'c'])
    const field =
      'affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchFields: [{key: metadata.name, operator: In, values: [b]}]}]}}}'
    expect(nodesOf(buildGood(three + deployment('web', 1, field)), 'web')).toEqual(['b'])
    const soft =
      'affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 100, preference: {matchExpressions: [{key: topology.kubernetes.io/zone, operator: In, values: [z2]}]}}]}}'
    expect(nodesOf(buildGood(three + deployment('web', 1, soft)), 'web')).toEqual(['c'])
  })
  it('honours pod anti-affinity in both directions and says so when full', () => {
    const anti =
      'affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: web}}}]}}'
    const built = build(three + deployment('web', 4, anti))
    expect(nodesOf(built, 'web').sort()).toEqual(['a', 'b', 'c'])
    expect(built.model.pendingPods[0]!.message).toBe(
      "0/3 nodes are available: 3 node(s) didn't satisfy existing pods anti-affinity rules.",
    )
    const zone = anti.replace('kubernetes.io/hostname', 'topology.kubernetes.io/zone')
    expect(nodesOf(build(three + deployment('web', 3, zone)), 'web')).toEqual(['a', 'c'])
  })
  it('honours pod affinity, starting a group that likes itself anywhere', () => {
    const near =
      'affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: db}}}]}}'
    const built = buildGood(
      three + deployment('db', 1, 'nodeSelector: {kubernetes.io/hostname: c}') + deployment('web', 2, near),
    )
    expect(nodesOf(built, 'web')).toEqual(['c', 'c'])
    expect(build(three + deployment('web', 1, near)).model.pendingPods[0]!.message).toBe(
      "0/3 nodes are available: 3 node(s) didn't match pod affinity rules.",
    )
    expect(new Set(nodesOf(buildGood(three + deployment('db', 3, near)), 'db')).size).toBe(1)
  })
  it('honours topology spread', () => {
    const spread =
      'topologySpreadConstraints: [{maxSkew: 1, topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: web}}}]'
    const nodes = nodesOf(buildGood(three + deployment('web', 4, spread)), 'web')
    expect(nodes.filter((n) => n === 'c')).toHaveLength(2)
    const host = spread.replace('topology.kubernetes.io/zone', 'rack')
    expect(build(three + deployment('web', 1, host)).model.pendingPods[0]!.message).toBe(
      "0/3 nodes are available: 3 node(s) didn't match pod topology spread constraints (missing required label).",
    )
  })
  it('honours taints, host ports and resources, and counts all reasons', () => {
    const nodes = cluster(
      'nodes: [{name: cp, role: control-plane}, {name: a, allocatable: {cpu: "1", memory: 1Gi}}, {name: b, allocatable: {cpu: "1", memory: 1Gi}}]',
    )
    const big = `${nodes}\napiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, resources: {requests: {cpu: 1200m}}}]}\n`
    expect(build(big).model.pendingPods[0]!.message).toBe(
      '0/3 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, 2 Insufficient cpu.',
    )
    const port = `${nodes}${[1, 2, 3].map((i) => `\napiVersion: v1\nkind: Pod\nmetadata: {name: p${i}}\nspec: {containers: [{name: c, ports: [{containerPort: 80, hostPort: 80}]}]}\n---`).join('')}`
    expect(build(port).model.pendingPods[0]!.message).toContain(
      "2 node(s) didn't have free ports for the requested pod ports",
    )
    const many = cluster('nodes: [{name: a, allocatable: {pods: 2}}]') + deployment('web', 3)
    expect(build(many).model.pendingPods[0]!.message).toBe('0/1 nodes are available: 1 Too many pods.')
    const cordoned = cluster('nodes: [{name: a, unschedulable: true}]') + deployment('web', 1)
    expect(build(cordoned).model.pendingPods[0]!.message).toBe('0/1 nodes are available: 1 node(s) were unschedulable.')
  })
  it('prefers the emptier node', () => {
    const nodes = cluster(
      'nodes: [{name: a, allocatable: {cpu: "4", memory: 8Gi}}, {name: b, allocatable: {cpu: "4", memory: 8Gi}}]',
    )
    const pod = (name: string, extra: string) =>
      `\napiVersion: v1\nkind: Pod\nmetadata: {name: ${name}}\nspec: {${extra}containers: [{name: c, resources: {requests: {cpu: "2"}}}]}\n---`
    expect(nodesOf(buildGood(nodes + pod('p', 'nodeName: a, ') + pod('q', '')), 'q')).toEqual(['b'])
  })
})

describe('host-local IPAM', () => {
  const range = (text: string) => new HostLocalRange(parseIpv4Cidr(text)!)
  it('allocates round robin and reuses only after wrapping, as the plugin was seen to do', () => {
    const r = range('10.9.0.0/29')
    const next = () => {
      const result = r.allocate('x')
      return result.error ?? formatIpv4(result.ip!)
    }
    expect([next(), next()]).toEqual(['10.9.0.2', '10.9.0.3'])
    r.release(parseIpv4('10.9.0.2')!)
    expect([next(), next(), next(), next(), next()]).toEqual([
      '10.9.0.4',
      '10.9.0.5',
      '10.9.0.6',
      '10.9.0.2',
      'failed to allocate for range 0: no IP addresses available in range set: 10.9.0.1-10.9.0.6',
    ])
  })
  it('refuses what the plugin refuses, in its words', () => {
    const r = range('10.9.0.0/29')
    expect(r.reserve(parseIpv4('10.9.0.1')!, 'x').error).toBe(
      "failed to allocate for range 0: requested ip 10.9.0.1 is subnet's gateway",
    )
    expect(r.reserve(parseIpv4('10.9.0.9')!, 'x').error).toBe('failed to allocate all requested IPs: 10.9.0.9')
    expect(r.reserve(parseIpv4('10.9.0.5')!, 'x').ip).toBe(parseIpv4('10.9.0.5'))
    expect(r.reserve(parseIpv4('10.9.0.5')!, 'x').error).toBe(
      'failed to allocate for range 0: requested IP address 10.9.0.5 is not available in range set 10.9.0.1-10.9.0.6',
    )
    expect(HostLocalRange.invalidRange(parseIpv4Cidr('10.12.0.0/31')!)).toBe(
      'invalid range set 0: Network 10.12.0.0/31 too small to allocate from',
    )
  })
  it('gives host-network pods their node and the others the next address', () => {
    const built = buildGood(cluster('nodes: 1') + deployment('h', 1, 'hostNetwork: true') + deployment('web', 2))
    expect(built.model.pods.map((p) => p.ip)).toEqual(['172.18.0.2', '10.244.0.2', '10.244.0.3'])
  })
  it('leaves given addresses to their pods', () => {
    const given = `apiVersion: v1\nkind: Pod\nmetadata: {name: z}\nspec: {nodeName: n1, containers: [{name: c}]}\nstatus: {podIP: 10.244.0.2}\n`
    const built = buildGood(`${cluster('nodes: 1')}${deployment('web', 1)}\n${given}`)
    expect(built.model.pods.map((p) => p.ip)).toEqual(['10.244.0.3', '10.244.0.2'])
  })
})

describe('Services', () => {
  it('get defaults as the API server fills them in', () => {
    const built = buildGood(
      service('a', 'selector: {app: web}, ports: [{port: 80}]') +
        service('np', 'type: NodePort, sessionAffinity: ClientIP, ports: [{port: 80, targetPort: http}]') +
        service('h', 'clusterIP: None, selector: {a: b}'),
    )
    expect(serviceOf(built, 'a').spec).toMatchObject({
      type: 'ClusterIP',
      sessionAffinity: 'None',
      internalTrafficPolicy: 'Cluster',
      ipFamilies: ['IPv4'],
      ipFamilyPolicy: 'SingleStack',
      ports: [{ port: 80, targetPort: 80, protocol: 'TCP' }],
    })
    expect(serviceOf(built, 'a').spec.externalTrafficPolicy).toBeUndefined()
    expect(serviceOf(built, 'np').spec).toMatchObject({
      externalTrafficPolicy: 'Cluster',
      sessionAffinityConfig: { clientIP: { timeoutSeconds: 10800 } },
    })
    expect(serviceOf(built, 'h').spec).toMatchObject({ clusterIP: 'None', clusterIPs: ['None'] })
    expect(built.model.services.map((s) => s.object.metadata.name)).toEqual(['a', 'h', 'kubernetes', 'np'])
  })
  it('get addresses from the upper band, the same whatever else there is', () => {
    const a = service('a', 'ports: [{port: 80}]')
    const one = serviceOf(buildGood(a), 'a').spec.clusterIP!
    const many = buildGood(
      Array.from({ length: 300 }, (_, i) => service(`s${i}`, 'type: NodePort, ports: [{port: 80}]')).join('') + a,
    )
    expect(serviceOf(many, 'a').spec.clusterIP).toBe(one)
    expect((parseIpv4(one)! - parseIpv4('10.96.0.0')!) >>> 0).toBeGreaterThan(256)
    const ips = many.model.services.map((s) => s.object.spec.clusterIP)
    expect(new Set(ips).size).toBe(302)
    const ports = many.model.services
      .flatMap((s) => s.object.spec.ports!.map((p) => p.nodePort))
      .filter((p) => p !== undefined)
    expect(new Set(ports).size).toBe(300)
    expect(Math.min(...ports)).toBeGreaterThanOrEqual(30086)
  })
  it('fill a small range to its end and then say so', () => {
    const text =
      cluster('serviceCIDR: 10.3.0.0/28') +
      Array.from({ length: 15 }, (_, i) => service(`s${i}`, 'ports: [{port: 80}]')).join('')
    const built = build(text)
    const ips = built.model.services.flatMap((s) => s.object.spec.clusterIP ?? [])
    expect(new Set(ips).size).toBe(14)
    expect(errorsOf(built)).toHaveLength(2)
    expect(errorsOf(built)[0]).toContain('failed to allocate a serviceIP: range is full (10.3.0.0/28)')
  })
  it('keep given addresses and ports, and what a load balancer has', () => {
    const lb = service(
      'lb',
      'type: LoadBalancer, externalTrafficPolicy: Local, clusterIP: 10.96.0.20, ports: [{port: 80, nodePort: 30001}]',
    ).replace('---', 'status: {loadBalancer: {ingress: [{ip: 203.0.113.5}]}}\n---')
    const object = serviceOf(buildGood(lb), 'lb')
    expect(object.spec).toMatchObject({
      clusterIP: '10.96.0.20',
      clusterIPs: ['10.96.0.20'],
      ports: [{ nodePort: 30001 }],
      healthCheckNodePort: expect.any(Number),
    })
    expect(object.status?.loadBalancer?.ingress).toEqual([{ ip: '203.0.113.5' }])
    const none = service('lb', 'type: LoadBalancer, allocateLoadBalancerNodePorts: false, ports: [{port: 80}]')
    expect(serviceOf(buildGood(none), 'lb').spec.ports![0]!.nodePort).toBeUndefined()
  })
})

describe('EndpointSlices', () => {
  const slicesOf = (built: ReturnType<typeof build>, name: string) =>
    built.model.endpointSlices.filter((s) => s.service === `default/${name}`).map((s) => s.object)
  it('hold the pods of the selector with resolved ports and conditions', () => {
    const notReady = deployment('web', 1)
      .replace('name: web}\nspec', 'name: web-b}\nspec')
      .replace('{labels: {app: web}}', '{labels: {app: web}, annotations: {podwalk.dev/ready: "false"}}')
    const built = buildGood(
      deployment('web', 2) + notReady + service('web', 'selector: {app: web}, ports: [{port: 80, targetPort: http}]'),
    )
    const [slice, ...more] = slicesOf(built, 'web')
    expect(more).toEqual([])
    expect(slice!.metadata.name).toMatch(/^web-[bcdfghjklmnpqrstvwxz2456789]{5}$/)
    expect(slice!.ports).toEqual([{ name: '', port: 8080, protocol: 'TCP' }])
    expect(slice!.endpoints.map((e) => e.conditions)).toEqual([
      { ready: true, serving: true, terminating: false },
      { ready: true, serving: true, terminating: false },
      { ready: false, serving: false, terminating: false },
    ])
    const pod = built.model.pods[0]!
    expect(slice!.endpoints[0]).toMatchObject({
      addresses: [pod.ip],
      nodeName: pod.node,
      targetRef: { kind: 'Pod', name: pod.name, uid: pod.uid },
    })
    const published = buildGood(
      notReady + service('web', 'publishNotReadyAddresses: true, selector: {app: web}, ports: [{port: 80}]'),
    )
    expect(slicesOf(published, 'web')[0]!.endpoints[0]!.conditions).toEqual({
      ready: true,
      serving: false,
      terminating: false,
    })
  })
  it('are cut at 100 endpoints and grouped by what a port name means', () => {
    const nodes = cluster('nodes: 3')
    const built = buildGood(
      nodes + deployment('web', 205) + service('web', 'selector: {app: web}, ports: [{port: 80}]'),
    )
    expect(
      slicesOf(built, 'web')
        .map((s) => s.endpoints.length)
        .sort(),
    ).toEqual([100, 100, 5].sort())
    const other = deployment('web', 1)
      .replace('name: web}\nspec', 'name: web-b}\nspec')
      .replace('containerPort: 8080', 'containerPort: 9090')
    const mixed = buildGood(
      deployment('web', 1) + other + service('web', 'selector: {app: web}, ports: [{port: 80, targetPort: http}]'),
    )
    expect(
      slicesOf(mixed, 'web')
        .map((s) => s.ports![0]!.port)
        .sort(),
    ).toEqual([8080, 9090])
  })
  it('exist empty for a selector that finds nothing', () => {
    const [slice] = slicesOf(buildGood(service('a', 'selector: {x: z}, ports: [{port: 80}]')), 'a')
    expect(slice!.endpoints).toEqual([])
  })
  it('are taken as given, and Endpoints are mirrored, for Services without selector', () => {
    const slice =
      'apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a-1, labels: {kubernetes.io/service-name: a}}\naddressType: IPv4\nendpoints: [{addresses: [192.0.2.1]}]\nports: [{port: 80}]\n---\n'
    const given = buildGood(slice + service('a', 'ports: [{port: 80}]'))
    expect(slicesOf(given, 'a')).toEqual([
      expect.objectContaining({
        endpoints: [{ addresses: ['192.0.2.1'] }],
        ports: [{ port: 80, name: '', protocol: 'TCP' }],
      }),
    ])
    const endpoints =
      'apiVersion: v1\nkind: Endpoints\nmetadata: {name: a}\nsubsets: [{addresses: [{ip: 192.0.2.1}], notReadyAddresses: [{ip: 192.0.2.2}], ports: [{port: 80}]}]\n---\n'
    const [mirrored] = slicesOf(buildGood(endpoints + service('a', 'ports: [{port: 80}]')), 'a')
    expect(mirrored!.endpoints.map((e) => [e.addresses[0], e.conditions!.ready])).toEqual([
      ['192.0.2.1', true],
      ['192.0.2.2', false],
    ])
    expect(mirrored!.metadata.labels!['endpointslice.kubernetes.io/managed-by']).toBe(
      'endpointslicemirroring-controller.k8s.io',
    )
  })
  it('of default/kubernetes point at the API server', () => {
    const [slice] = slicesOf(buildGood(cluster('nodes: [{name: w}, {name: cp, role: control-plane}]')), 'kubernetes')
    expect(slice).toMatchObject({ endpoints: [{ addresses: ['172.18.0.3'] }], ports: [{ name: 'https', port: 6443 }] })
    expect(serviceOf(buildGood(cluster('nodes: 1')), 'kubernetes').spec.clusterIP).toBe('10.96.0.1')
  })
  it('leave out finished pods and mark terminating ones', () => {
    const pod = (name: string, status: string, meta = '') =>
      `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}, labels: {app: web}${meta}}\nspec: {containers: [{name: c}]}\nstatus: {${status}}\n---\n`
    const text =
      pod('done', 'phase: Succeeded') +
      pod('going', 'phase: Running', ', deletionTimestamp: "2026-01-01T00:00:00Z"') +
      pod('starting', 'phase: Pending') +
      service('web', 'selector: {app: web}, ports: [{port: 80}]')
    const [slice] = slicesOf(buildGood(text), 'web')
    expect(slice!.endpoints.map((e) => [e.targetRef!.name, e.conditions])).toEqual([
      ['going', { ready: false, serving: true, terminating: true }],
      ['starting', { ready: false, serving: false, terminating: false }],
    ])
  })
})

describe('determinism', () => {
  it('gives the same bytes for the same input, also when built twice from one load', () => {
    const text =
      cluster('nodes: 3') +
      deployment('web', 7) +
      deployment('db', 2) +
      service('web', 'selector: {app: web}, ports: [{port: 80}]')
    const strip = (b: ReturnType<typeof build>) => JSON.stringify(b.model)
    expect(strip(build(text))).toBe(strip(build(text)))
  })
})
