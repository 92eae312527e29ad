/**
 * What Kubernetes' own end-to-end tests of the network ask of Services (test/e2e/network: service.go, networking.go,
 * conntrack.go, loadbalancer.go, kube_proxy.go, traffic_distribution.go, endpointslice.go), in every proxy mode, by packets
 * through a running cluster whose Services change.
 *
 * Asked elsewhere: node port collisions and ranges (test/unit/proxy/wrong-input), DNS (test of the DNS server), network
 * policies, host ports and MetalLB (their own suites), IPv6 texts (test/unit/proxy fixtures).
 */
import { describe, expect, it } from '@jest/globals'
import { parseIpv4 } from '../../src/addr/index.ts'
import { runSession, tcpClientSession } from '../../src/linux/socket/apps.ts'
import { ServiceLab, service, vip } from '../support/service-lab.ts'

const CIP = '10.96.0.10'
const VIP = '203.0.113.5'
const OUTSIDE = 'host:192.0.2.7'
const N1 = '172.18.0.2'
const N2 = '172.18.0.3'
const PORTS = 'ports: [{ port: 80, targetPort: 8080 }]'
const UDP_PORTS = 'ports: [{ port: 5353, protocol: UDP }]'
const NODE_PORTS = 'ports: [{ port: 80, targetPort: 8080, nodePort: 30080 }]'
const LB = (more = ''): string => `type: LoadBalancer, clusterIP: ${CIP}, ${NODE_PORTS}${more}`

const a = (spec: string, more = ''): string => service('a', `clusterIP: ${CIP}, ${spec}`, more)

describe.each(['iptables', 'nftables', 'ipvs'])('Services in %s mode', (mode) => {
  /** Refusal of a policy without local endpoints: IPVS has no drop, it has no real server. */
  const dropped = mode === 'ipvs' ? 'REFUSED' : 'DROPPED'

  describe('service.go', () => {
    it('serves the API server as the Service kubernetes', () => {
      expect(new ServiceLab(mode).ask('far', '10.96.0.1:443').who).toBe('node/n1')
    })

    it('follows endpoints as pods come and go', () => {
      const lab = new ServiceLab(mode, [a(PORTS)])
      expect(lab.answering('client', `${CIP}:80`)).toEqual(['web-1', 'web-2'])
      lab.update(null, { 'web-1': 'gone' })
      expect(lab.answering('client', `${CIP}:80`)).toEqual(['web-2'])
      lab.update(null, { 'web-1': 'ready', 'web-2': 'not-ready' })
      expect(lab.answering('client', `${CIP}:80`)).toEqual(['web-1'])
    })

    it('follows ports that are added and removed', () => {
      const lab = new ServiceLab(mode, [a('ports: [{ name: x, port: 80, targetPort: 8080 }]')])
      const unserved = lab.ask('client', `${CIP}:81`).who
      expect(['REFUSED', 'UNREACHABLE']).toContain(unserved)
      lab.update([a('ports: [{ name: x, port: 80, targetPort: 8080 }, { name: y, port: 81, targetPort: 8080 }]')])
      expect(lab.ask('client', `${CIP}:81`).who).toMatch(/^web/)
      lab.update([a('ports: [{ name: y, port: 81, targetPort: 8080 }]')])
      expect([lab.ask('client', `${CIP}:80`).who, lab.ask('client', `${CIP}:81`).who[0]]).toEqual([unserved, 'w'])
    })

    it('keeps the address of the client pod, on the same node and on another', () => {
      const lab = new ServiceLab(mode, [a(PORTS)])
      for (const [pod, states] of [
        ['web-1', { 'web-2': 'gone' }],
        ['web-2', { 'web-1': 'gone', 'web-2': 'ready' }],
      ] as const) {
        lab.update(null, states)
        expect(lab.ask('client', `${CIP}:80`)).toMatchObject({
          who: pod,
          sees: lab.podIp('client'),
          reply: 'DELIVERED',
        })
      }
    })

    it('lets a pod reach itself through its own Service', () => {
      const lab = new ServiceLab(mode, [a(PORTS)])
      lab.update(null, { 'web-2': 'gone' })
      expect(lab.ask('web-1', `${CIP}:80`)).toMatchObject({ who: 'web-1', sees: '10.244.0.1', reply: 'DELIVERED' })
    })

    it('brings Services up and down and up again', () => {
      const lab = new ServiceLab(mode, [a(PORTS)])
      lab.update([])
      expect(lab.ask('client', `${CIP}:80`).who).not.toMatch(/^web/)
      lab.update([a(PORTS)])
      expect(lab.ask('client', `${CIP}:80`).who).toMatch(/^web/)
    })

    it('serves on when kube-proxy restarts, and keeps the flows', () => {
      const lab = new ServiceLab(mode, [a(UDP_PORTS)])
      const before = lab.ask('client', `${CIP}:5353`, 'UDP', 42_000).who
      lab.update(null, {}, { restart: true })
      for (let i = 0; i < 5; i++) expect(lab.ask('client', `${CIP}:5353`, 'UDP', 42_000).who).toBe(before)
      expect(lab.answering('client', `${CIP}:5353`, 'UDP')).toEqual(['web-1', 'web-2'])
    })

    it('answers a NodePort on the address of every node, from outside, from a pod and from a node', () => {
      const lab = new ServiceLab(mode, [a(`type: NodePort, ${NODE_PORTS}`)])
      for (const node of [N1, N2]) {
        for (const from of [OUTSIDE, 'client', 'node/n1']) {
          expect(lab.ask(from, `${node}:30080`)).toMatchObject({
            who: expect.stringMatching(/^web/),
            reply: 'DELIVERED',
          })
        }
      }
    })

    it('serves an external IP that no node has, from a pod', () => {
      const lab = new ServiceLab(mode, [a(`${PORTS}, externalIPs: [203.0.113.77]`)])
      expect(lab.ask('client', '203.0.113.77:80')).toMatchObject({
        who: expect.stringMatching(/^web/),
        reply: 'DELIVERED',
      })
    })

    it('gives TCP and UDP the same NodePort number', () => {
      const both =
        'ports: [{ name: t, port: 80, targetPort: 8080, nodePort: 30080 }, { name: u, port: 80, targetPort: 5353, protocol: UDP, nodePort: 30080 }]'
      const lab = new ServiceLab(mode, [a(`type: NodePort, ${both}`)])
      expect(lab.ask(OUTSIDE, `${N1}:30080`, 'TCP').who).toMatch(/^web/)
      expect(lab.ask(OUTSIDE, `${N1}:30080`, 'UDP').who).toMatch(/^web/)
    })

    it('follows the type: ClusterIP, NodePort, ExternalName and back', () => {
      const lab = new ServiceLab(mode, [a(PORTS)])
      const closed = lab.ask(OUTSIDE, `${N1}:30080`).who
      expect(closed).toBe('REFUSED')
      lab.update([a(`type: NodePort, ${NODE_PORTS}`)])
      expect(lab.ask(OUTSIDE, `${N1}:30080`).who).toMatch(/^web/)
      lab.update([service('a', 'type: ExternalName, externalName: example.org')])
      expect(lab.ask(OUTSIDE, `${N1}:30080`).who).toBe(closed)
      expect(lab.ask('client', `${CIP}:80`).who).not.toMatch(/^web/)
      lab.update([a(PORTS)])
      expect(lab.ask('client', `${CIP}:80`).who).toMatch(/^web/)
    })

    it('sends to unready and terminating pods with publishNotReadyAddresses, and refuses without', () => {
      const lab = new ServiceLab(mode, [a(`type: NodePort, ${NODE_PORTS}, publishNotReadyAddresses: true`)])
      lab.update(null, { 'web-1': 'not-ready', 'web-2': 'terminating' })
      for (const [from, to] of [
        ['client', `${CIP}:80`],
        [OUTSIDE, `${N1}:30080`],
        [OUTSIDE, `${N2}:30080`],
      ] as const) {
        expect(lab.answering(from, to)).toEqual(['web-1', 'web-2'])
      }
      lab.update([a(`type: NodePort, ${NODE_PORTS}`)], { 'web-2': 'not-ready' })
      expect(lab.ask('client', `${CIP}:80`).who).toBe('REFUSED')
      expect(lab.ask(OUTSIDE, `${N1}:30080`).who).toBe('REFUSED')
    })

    it.each([
      ['ClusterIP', 'client', `${CIP}:80`],
      ['NodePort', OUTSIDE, `${N1}:30080`],
      ['load balancer', OUTSIDE, `${VIP}:80`],
    ])('keeps a client at one endpoint with session affinity, by %s, and lets it go without', (_by, from, to) => {
      const sticky = ', sessionAffinity: ClientIP'
      const lab = new ServiceLab(mode, [service('a', LB(sticky), vip(VIP))])
      expect(lab.answering(from, to, 'TCP', 15)).toHaveLength(1)
      lab.update([service('a', LB(), vip(VIP))])
      lab.pass(1)
      expect(lab.answering(from, to, 'TCP', 15)).toEqual(['web-1', 'web-2'])
      lab.update([service('a', LB(sticky), vip(VIP))])
      expect(lab.answering(from, to, 'TCP', 15)).toHaveLength(1)
    })

    it('lets a client move on when its affinity ran out', () => {
      const spec = `${UDP_PORTS}, sessionAffinity: ClientIP, sessionAffinityConfig: { clientIP: { timeoutSeconds: 10 } }`
      const lab = new ServiceLab(mode, [a(spec)])
      const seen = new Set<string>()
      for (let i = 0; i < 12; i++) {
        expect(lab.answering('client', `${CIP}:5353`, 'UDP', 3)).toHaveLength(1)
        seen.add(lab.ask('client', `${CIP}:5353`, 'UDP').who)
        // IPVS keeps a client while its connections last, UDP ones for 300 s
        lab.pass(mode === 'ipvs' ? 700 : 30)
      }
      expect([...seen].sort()).toEqual(['web-1', 'web-2'])
    })

    it('leaves Services with the labels of another proxy alone, until the label is gone', () => {
      for (const label of ['service-proxy-name: other', 'headless: ""']) {
        const labels = `, labels: { service.kubernetes.io/${label} }`
        const lab = new ServiceLab(mode, [a(PORTS, labels)])
        expect(lab.ask('client', `${CIP}:80`).who).not.toMatch(/^web/)
        lab.update([a(PORTS)])
        expect(lab.ask('client', `${CIP}:80`).who).toMatch(/^web/)
      }
    })

    it('refuses at once without endpoints, also after all pods are gone', () => {
      const lab = new ServiceLab(mode, [
        service('none', 'clusterIP: 10.96.0.20, selector: { app: nobody }, ports: [{ port: 80 }]'),
        a(PORTS),
      ])
      expect(lab.ask('client', '10.96.0.20:80').who).toBe('REFUSED')
      lab.update(null, { 'web-1': 'gone', 'web-2': 'gone' })
      expect([lab.ask('client', `${CIP}:80`).who, lab.ask('node/n2', `${CIP}:80`).who]).toEqual(['REFUSED', 'REFUSED'])
    })

    it('internalTrafficPolicy Local: only endpoints of the own node answer pods and host-network clients', () => {
      const lab = new ServiceLab(mode, [a(`${PORTS}, internalTrafficPolicy: Local`)])
      expect(lab.answering('client', `${CIP}:80`)).toEqual(['web-1'])
      expect(lab.answering('far', `${CIP}:80`)).toEqual(['web-2'])
      expect(lab.answering('hclient', `${CIP}:80`)).toEqual(['web-1'])
      lab.update(null, { 'web-1': 'gone' })
      expect([lab.ask('client', `${CIP}:80`).who, lab.ask('hclient', `${CIP}:80`).who]).toEqual([dropped, dropped])
      lab.update([
        service(
          'a',
          `clusterIP: ${CIP}, selector: { app: host }, internalTrafficPolicy: Local, ports: [{ port: 80, targetPort: 9000 }]`,
        ),
      ])
      expect([lab.ask('far', `${CIP}:80`).who, lab.ask('client', `${CIP}:80`).who]).toEqual(['node/n2', dropped])
    })

    it('answers the health check NodePort 200 with a ready local pod and 503 once only terminating ones are left', () => {
      const health = ', externalTrafficPolicy: Local, healthCheckNodePort: 32000'
      const lab = new ServiceLab(mode, [service('a', LB(health), vip(VIP))])
      const get = (node: string): string => {
        const host = lab.cluster.host('192.0.2.7')
        const request = new TextEncoder().encode('GET /healthz HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n')
        const session = tcpClientSession(host, {
          dst: parseIpv4(node) ?? 0,
          dport: 32000,
          request,
          responseBytes: 9999,
        })
        return new TextDecoder().decode(runSession(lab.cluster.world, session, 5000)?.response)
      }
      expect(get(N1)).toMatch(/^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\nX-Load-Balancing-Endpoint-Weight: 1\r\n/)
      lab.update(null, { 'web-1': 'terminating' })
      expect(get(N1)).toMatch(/^HTTP\/1\.1 503 Service Unavailable\r\n[\s\S]*"localEndpoints": 0,/)
      expect(get(N2)).toMatch(/^HTTP\/1\.1 200 OK/)
    })

    it.each([
      ['internalTrafficPolicy Cluster', '', 'client', `${CIP}:80`],
      ['internalTrafficPolicy Local', ', internalTrafficPolicy: Local', 'client', `${CIP}:80`],
      ['externalTrafficPolicy Cluster', '', OUTSIDE, `${N1}:30080`],
      ['externalTrafficPolicy Local', ', externalTrafficPolicy: Local', OUTSIDE, `${N1}:30080`],
    ])('falls back to serving terminating endpoints when no ready one is left: %s', (_title, policy, from, to) => {
      const lab = new ServiceLab(mode, [a(`type: NodePort, ${NODE_PORTS}${policy}`)])
      lab.update(null, { 'web-1': 'terminating', 'web-2': 'gone' })
      expect(lab.answering(from, to, 'TCP', 4)).toEqual(['web-1'])
      if (policy.includes('Local')) return
      lab.update(null, { 'web-2': 'ready' })
      expect(lab.answering(from, to, 'TCP', 4)).toEqual(['web-2'])
    })

    it('tells TCP and UDP of one port number apart, by ClusterIP and by load balancer', () => {
      const both =
        'ports: [{ name: t, port: 80, targetPort: 8080 }, { name: u, port: 80, protocol: UDP, targetPort: 5353 }]'
      const lab = new ServiceLab(mode, [service('a', `type: LoadBalancer, clusterIP: ${CIP}, ${both}`, vip(VIP))])
      for (const to of [`${CIP}:80`, `${VIP}:80`]) {
        expect([lab.ask('client', to, 'TCP').who[0], lab.ask('client', to, 'UDP').who[0]]).toEqual(['w', 'w'])
      }
    })

    it('writes an SCTP Service down although nothing on the node speaks SCTP', () => {
      const lab = new ServiceLab(mode, [a('ports: [{ port: 80, protocol: SCTP }]')])
      const tools: { readonly [mode: string]: readonly string[] } = {
        iptables: ['iptables-save'],
        nftables: ['nft', 'list', 'ruleset'],
        ipvs: ['ipvsadm', '-Sn'],
      }
      const listed = lab.exec('n1', ...(tools[mode] ?? []))
      expect(listed).toMatch(/-p sctp .*--to-destination|meta l4proto sctp dnat|--sctp-service 10\.96\.0\.10:80/)
    })
  })

  describe('networking.go', () => {
    it.each(['TCP', 'UDP'] as const)(
      'reaches a Service from pods, nodes and host-network endpoints over %s',
      (protocol) => {
        const ports =
          'ports: [{ name: t, port: 80, targetPort: 8080, nodePort: 30080 }, { name: u, port: 80, protocol: UDP, targetPort: 5353, nodePort: 30080 }]'
        const lab = new ServiceLab(mode, [a(`type: NodePort, ${ports}`)])
        for (const from of ['client', 'far', 'node/n1', 'hclient']) {
          expect(lab.answering(from, `${CIP}:80`, protocol)).toEqual(['web-1', 'web-2'])
          expect(lab.answering(from, `${N2}:30080`, protocol)).toEqual(['web-1', 'web-2'])
        }
        lab.update(null, { 'web-1': 'gone' })
        expect(lab.answering('client', `${CIP}:80`, protocol)).toEqual(['web-2'])
      },
    )

    it('is unreachable by a NodePort that was removed', () => {
      const lab = new ServiceLab(mode, [a(`type: NodePort, ${NODE_PORTS}`)])
      lab.update([a(PORTS)])
      expect(lab.ask(OUTSIDE, `${N1}:30080`).who).toBe('REFUSED')
    })

    it('serves several Services of one selector and host-network backends', () => {
      const lab = new ServiceLab(mode, [
        a(PORTS),
        service('b', `clusterIP: 10.96.0.11, ${PORTS}`),
        service('h', 'clusterIP: 10.96.0.12, selector: { app: host }, ports: [{ port: 80, targetPort: 9000 }]'),
      ])
      expect(lab.answering('client', `${CIP}:80`)).toEqual(lab.answering('client', '10.96.0.11:80'))
      expect(lab.ask('client', '10.96.0.12:80')).toMatchObject({ who: 'node/n2', reply: 'DELIVERED' })
      expect(lab.ask('hclient', '10.96.0.12:80')).toMatchObject({ who: 'node/n2', reply: 'DELIVERED' })
    })

    it('keeps a UDP client at one endpoint with affinity', () => {
      const lab = new ServiceLab(mode, [a(`${UDP_PORTS}, sessionAffinity: ClientIP`)])
      expect(lab.answering('client', `${CIP}:5353`, 'UDP', 15)).toHaveLength(1)
    })

    it('lets pods reach machines outside', () => {
      expect(new ServiceLab(mode).ask('client', OUTSIDE).who).toMatch(/REFUSED|node\/$/)
    })

    it('writes everything again after an external flush', () => {
      const lab = new ServiceLab(mode, [a(PORTS)])
      const flush = {
        iptables: ['iptables', '-t', 'nat', '-F', 'KUBE-SERVICES'],
        nftables: ['nft', 'flush', 'chain', 'ip', 'kube-proxy', 'services'],
        ipvs: ['iptables', '-t', 'nat', '-F', 'KUBE-POSTROUTING'],
      }[mode]
      lab.exec('n1', ...(flush ?? []))
      if (mode !== 'ipvs') expect(lab.ask('client', `${CIP}:80`).who).not.toMatch(/^web/)
      lab.update(null, {}, { full: true })
      expect(lab.ask('client', `${CIP}:80`).who).toMatch(/^web/)
      if (mode === 'ipvs') expect(lab.exec('n1', 'iptables-save', '-t', 'nat')).toContain('-A KUBE-POSTROUTING')
    })
  })

  describe('conntrack.go and kube_proxy.go', () => {
    it.each([
      ['ClusterIP', 'client', `${CIP}:5353`],
      ['NodePort', OUTSIDE, `${N1}:30053`],
    ])('a UDP client with a fixed source port goes on when its backend is replaced, by %s', (_by, from, to) => {
      const lab = new ServiceLab(mode, [a('type: NodePort, ports: [{ port: 5353, protocol: UDP, nodePort: 30053 }]')])
      const first = lab.ask(from, to, 'UDP', 42_000).who
      expect(lab.ask(from, to, 'UDP', 42_000).who).toBe(first)
      lab.update(null, { [first]: 'gone' })
      const second = lab.ask(from, to, 'UDP', 42_000)
      expect(second).toMatchObject({ who: first === 'web-1' ? 'web-2' : 'web-1', reply: 'DELIVERED' })
    })

    it('a UDP Service that goes from no endpoint to one is not black-holed by the entries of before', () => {
      const lab = new ServiceLab(mode, [a(UDP_PORTS)])
      lab.update(null, { 'web-1': 'gone', 'web-2': 'gone' })
      expect(lab.ask('client', `${CIP}:5353`, 'UDP', 42_000).who).toBe('REFUSED')
      lab.update(null, { 'web-1': 'ready' })
      expect(lab.ask('client', `${CIP}:5353`, 'UDP', 42_000)).toMatchObject({ who: 'web-1', reply: 'DELIVERED' })
    })

    it('sets the CLOSE_WAIT timeout of conntrack to an hour', () => {
      expect(new ServiceLab(mode).exec('n1', 'sysctl', '-n', 'net.netfilter.nf_conntrack_tcp_timeout_close_wait')).toBe(
        '3600\n',
      )
    })

    it('drops INVALID packets on forward in iptables mode, and only there', () => {
      const rules = new ServiceLab(mode, [a(PORTS)]).exec('n1', 'iptables-save', '-t', 'filter')
      expect(rules.includes('-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP')).toBe(mode === 'iptables')
    })

    it('carries pod to pod across nodes without translation', () => {
      const lab = new ServiceLab(mode)
      expect(lab.ask('client', `${lab.podIp('web-2')}:8080`)).toMatchObject({ who: 'web-2', sees: lab.podIp('client') })
      expect(lab.ask('far', `${lab.podIp('web-1')}:8080`)).toMatchObject({ who: 'web-1', sees: lab.podIp('far') })
    })

    it('connects from and to a pod that is terminating', () => {
      const lab = new ServiceLab(mode, [a(PORTS)])
      lab.update(null, { 'web-1': 'terminating' })
      expect(lab.ask('web-1', `${CIP}:80`).who).toBe('web-2')
      expect(lab.ask('far', `${lab.podIp('web-1')}:8080`).who).toBe('web-1')
    })
  })

  describe('loadbalancer.go', () => {
    it('keeps the address while ports change, and works without NodePorts', () => {
      const bare = (port: number): string =>
        service(
          'a',
          `type: LoadBalancer, allocateLoadBalancerNodePorts: false, clusterIP: ${CIP}, ports: [{ port: ${port}, targetPort: 8080 }]`,
          vip(VIP),
        )
      const lab = new ServiceLab(mode, [bare(80)])
      expect(lab.ask(OUTSIDE, `${VIP}:80`)).toMatchObject({ who: expect.stringMatching(/^web/), reply: 'DELIVERED' })
      lab.update([bare(81)])
      expect(lab.ask(OUTSIDE, `${VIP}:81`).who).toMatch(/^web/)
      expect(lab.ask(OUTSIDE, `${VIP}:80`).who).not.toMatch(/^web/)
    })

    it('lets only listed sources in, follows changes of the list, and all without one', () => {
      const ranges = (cidr: string): string => service('a', LB(`, loadBalancerSourceRanges: [${cidr}]`), vip(VIP))
      const lab = new ServiceLab(mode, [ranges('192.0.2.0/24')])
      expect(lab.ask(OUTSIDE, `${VIP}:80`).who).toMatch(/^web/)
      expect(lab.ask('host:198.51.100.9', `${VIP}:80`).who).toBe('DROPPED')
      lab.update([ranges('198.51.100.0/24')])
      expect(lab.ask(OUTSIDE, `${VIP}:80`).who).toBe('DROPPED')
      expect(lab.ask('host:198.51.100.9', `${VIP}:80`).who).toMatch(/^web/)
      lab.update([service('a', LB(), vip(VIP))])
      expect(lab.ask(OUTSIDE, `${VIP}:80`).who).toMatch(/^web/)
    })

    it.each(['Cluster', 'Local'])('keeps a client at one endpoint with externalTrafficPolicy %s', (policy) => {
      const lab = new ServiceLab(mode, [
        service('a', LB(`, externalTrafficPolicy: ${policy}, sessionAffinity: ClientIP`), vip(VIP)),
      ])
      expect(lab.answering(OUTSIDE, `${VIP}:80`, 'TCP', 15)).toHaveLength(1)
    })

    it('a UDP client goes on when its backend changes to one of the same or of another node', () => {
      const udp = service('a', `type: LoadBalancer, clusterIP: ${CIP}, ${UDP_PORTS}`, vip(VIP))
      const lab = new ServiceLab(mode, [udp])
      lab.update(null, { 'web-2': 'gone' })
      expect(lab.ask(OUTSIDE, `${VIP}:5353`, 'UDP', 42_000).who).toBe('web-1')
      lab.update(null, { 'web-1': 'gone', 'web-2': 'ready' })
      expect(lab.ask(OUTSIDE, `${VIP}:5353`, 'UDP', 42_000)).toMatchObject({ who: 'web-2', reply: 'DELIVERED' })
    })

    it.each(['Cluster', 'Local'])('loses no connection during a rolling update, externalTrafficPolicy %s', (policy) => {
      const lab = new ServiceLab(mode, [service('a', LB(`, externalTrafficPolicy: ${policy}`), vip(VIP))])
      const at = (): string[] => lab.answering(OUTSIDE, `${VIP}:80`, 'TCP', 4)
      for (const states of [
        { 'web-1': 'terminating' },
        { 'web-1': 'ready', 'web-2': 'terminating' },
        { 'web-2': 'gone' },
        { 'web-2': 'ready' },
      ] as const) {
        lab.update(null, states)
        expect(at().every((who) => who.startsWith('web'))).toBe(true)
      }
    })

    it('keeps the client address with externalTrafficPolicy Local, where there are endpoints', () => {
      const local = service('a', LB(', externalTrafficPolicy: Local'), vip(VIP))
      const lab = new ServiceLab(mode, [local])
      expect(lab.answering(OUTSIDE, `${VIP}:80`, 'TCP', 6)).toEqual(['web-1'])
      expect(lab.ask(OUTSIDE, `${VIP}:80`).sees).toBe('192.0.2.7')
      expect(lab.ask(OUTSIDE, `${N2}:30080`)).toMatchObject({ who: 'web-2', sees: '192.0.2.7' })
      // from a pod the policy is short-circuited (IPVS: the node's own endpoints, as for anybody)
      const fromPod = lab.answering('client', `${VIP}:80`)
      expect(fromPod).toEqual(mode === 'ipvs' ? ['web-1'] : ['web-1', 'web-2'])
      lab.update([service('a', LB(), vip(VIP))])
      expect(lab.answering(OUTSIDE, `${VIP}:80`)).toEqual(['web-1', 'web-2'])
      expect(lab.ask(OUTSIDE, `${VIP}:80`).sees).not.toBe('192.0.2.7')
    })

    it('closes the health check server when the policy is Cluster again', () => {
      const lab = new ServiceLab(mode, [
        service('a', LB(', externalTrafficPolicy: Local, healthCheckNodePort: 32000'), vip(VIP)),
      ])
      expect(lab.ask(OUTSIDE, `${N1}:32000`)).toMatchObject({ who: 'node/n1', reply: 'DELIVERED' })
      lab.update([service('a', LB(), vip(VIP))])
      expect(lab.ask(OUTSIDE, `${N1}:32000`).who).toBe('REFUSED')
    })
  })

  describe('traffic_distribution.go and endpointslice.go', () => {
    const slice = (name: string, of: string, endpoints: string, port = '{ port: 8080 }'): string =>
      `{ apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: { name: ${name}, labels: { kubernetes.io/service-name: ${of} } }, addressType: IPv4, endpoints: [${endpoints}], ports: [${port}] }`
    const bare = (more = ''): string =>
      `{ apiVersion: v1, kind: Service, metadata: { name: s }, spec: { clusterIP: ${CIP}, ports: [{ port: 80 }]${more} } }`
    const [ip1, ip2] = ['10.244.0.3', '10.244.1.3']

    it('uses endpoints of the own zone by their hints, and all where the zone has none', () => {
      const endpoint = (ip: string, node: string, zone: string): string =>
        `{ addresses: [${ip}], nodeName: ${node}, hints: { forZones: [{ name: ${zone} }] } }`
      const both = `${endpoint(ip1, 'n1', 'z1')}, ${endpoint(ip2, 'n2', 'z2')}`
      const lab = new ServiceLab(mode, [bare(), slice('s-1', 's', both)])
      expect([lab.podIp('web-1'), lab.podIp('web-2')]).toEqual([ip1, ip2])
      expect([lab.answering('client', `${CIP}:80`), lab.answering('far', `${CIP}:80`)]).toEqual([['web-1'], ['web-2']])
      const oneZone = `${endpoint(ip1, 'n1', 'z1')}, ${endpoint(ip2, 'n2', 'z1')}`
      lab.update([bare(), slice('s-1', 's', oneZone)])
      expect(lab.answering('client', `${CIP}:80`)).toEqual(['web-1', 'web-2'])
      expect(lab.answering('far', `${CIP}:80`)).toEqual(['web-1', 'web-2'])
    })

    it.each(['PreferClose', 'PreferSameZone', 'PreferSameNode'])(
      'keeps clients in their zone with %s',
      (distribution) => {
        const lab = new ServiceLab(mode, [a(`${PORTS}, trafficDistribution: ${distribution}`)])
        expect([lab.answering('client', `${CIP}:80`), lab.answering('far', `${CIP}:80`)]).toEqual([
          ['web-1'],
          ['web-2'],
        ])
        lab.update(null, { 'web-1': 'gone' })
        expect(lab.answering('client', `${CIP}:80`)).toEqual(['web-2'])
      },
    )

    it('prefers the own node by node hints', () => {
      const endpoint = (ip: string, node: string): string =>
        `{ addresses: [${ip}], nodeName: ${node}, hints: { forZones: [{ name: z1 }, { name: z2 }], forNodes: [{ name: ${node} }] } }`
      const lab = new ServiceLab(mode, [bare(), slice('s-1', 's', `${endpoint(ip1, 'n1')}, ${endpoint(ip2, 'n2')}`)])
      expect([lab.answering('client', `${CIP}:80`), lab.answering('far', `${CIP}:80`)]).toEqual([['web-1'], ['web-2']])
    })

    it('routes to every address of every slice of a Service', () => {
      const lab = new ServiceLab(mode, [
        bare(),
        slice('s-1', 's', `{ addresses: [${ip1}] }`),
        slice('s-2', 's', `{ addresses: [${ip2}] }`),
      ])
      expect(lab.answering('client', `${CIP}:80`)).toEqual(['web-1', 'web-2'])
      lab.update([bare(), slice('s-2', 's', `{ addresses: [${ip2}] }`)])
      expect(lab.answering('client', `${CIP}:80`)).toEqual(['web-2'])
    })

    it('routes to what an Endpoints object mirrors, also with several subsets of one address', () => {
      const named = (ports: string): string =>
        `{ apiVersion: v1, kind: Service, metadata: { name: s }, spec: { clusterIP: ${CIP}, ports: [${ports}] } }`
      const endpoints = `{ apiVersion: v1, kind: Endpoints, metadata: { name: s }, subsets: [{ addresses: [{ ip: ${ip1} }], ports: [{ name: x, port: 8080 }] }, { addresses: [{ ip: ${ip1} }], ports: [{ name: y, port: 5353, protocol: UDP }] }] }`
      const lab = new ServiceLab(mode, [
        named('{ name: x, port: 80 }, { name: y, port: 81, protocol: UDP }'),
        endpoints,
      ])
      expect([lab.ask('client', `${CIP}:80`).who, lab.ask('client', `${CIP}:81`, 'UDP').who]).toEqual([
        'web-1',
        'web-1',
      ])
    })
  })
})
