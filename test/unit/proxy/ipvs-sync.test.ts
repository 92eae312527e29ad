/** Later syncs of the IPVS mode: minimal changes, graceful termination, what is left alone. */
import { describe, expect, it } from '@jest/globals'
import { type IpvsState, ipvsMode } from '../../../src/proxy/ipvs/mode.ts'
import type { NodeProgram, ProxyEndpointSlice, ProxyInput, ProxyService } from '../../../src/proxy/types.ts'

const node = { name: 'n1', ips: ['192.168.10.11'] }

function service(name: string, octet: number, spec: object = {}): ProxyService {
  return {
    metadata: { name, namespace: 'ns' },
    spec: { clusterIP: `10.96.0.${octet}`, ports: [{ port: 80 }], ...spec },
  }
}

function slice(name: string, protocol: string, ...ips: string[]): ProxyEndpointSlice {
  return {
    metadata: { name: `${name}-1`, namespace: 'ns', labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    endpoints: ips.map((ip) => ({ addresses: [ip] })),
    ports: [{ port: 80, protocol }],
  }
}

function input(services: ProxyService[], endpointSlices: ProxyEndpointSlice[], more: object = {}): ProxyInput {
  return { node, services, endpointSlices, config: { clusterCidr: '10.244.0.0/16', ...more } }
}

/** The program without its iptables rules. */
function lines(program: NodeProgram<IpvsState>): string[] {
  return program.verbs.flatMap((verb) => {
    if (verb.verb === 'ipset' || verb.verb === 'ipvs') return verb.text.trimEnd().split('\n')
    return verb.verb === 'ip' || verb.verb === 'ipset-try' ? [verb.args.join(' ')] : []
  })
}

const two = input(
  [service('a', 1), service('b', 2)],
  [slice('a', 'TCP', '10.244.1.1'), slice('b', 'TCP', '10.244.1.2', '10.244.1.3')],
)
const without = { ...two, endpointSlices: [slice('a', 'TCP', '10.244.1.1'), slice('b', 'TCP', '10.244.1.3')] }
const busy = { connections: (): number => 1 }

describe('kube-proxy IPVS sync', () => {
  it('writes only the rules again when nothing changed', () => {
    const second = ipvsMode.program(two, ipvsMode.program(two))
    expect(second.verbs.map(({ verb }) => verb)).toEqual(['iptables-restore'])
  })

  it('deletes an endpoint without connections at once', () => {
    expect(lines(ipvsMode.program(without, ipvsMode.program(two)))).toEqual(['-d -t 10.96.0.2:80 -r 10.244.1.2:80'])
  })

  it('gives an endpoint with TCP connections weight 0, and deletes it by the minute when they ended', () => {
    const second = ipvsMode.program(without, ipvsMode.program(two), busy)
    expect(lines(second)).toEqual(['-e -t 10.96.0.2:80 -r 10.244.1.2:80 -m -w 0'])
    expect(lines(ipvsMode.program(without, second, busy))).toEqual([])
    const waiting = ipvsMode.tick(second, busy)
    expect(waiting.verbs).toEqual([])
    const ended = ipvsMode.tick(waiting, { connections: () => 0 })
    expect(lines(ended)).toEqual(['-d -t 10.96.0.2:80 -r 10.244.1.2:80'])
    expect(lines(ipvsMode.tick(ended))).toEqual([])
  })

  it('deletes and adds an endpoint that comes back while it waits', () => {
    const second = ipvsMode.program(without, ipvsMode.program(two), busy)
    expect(lines(ipvsMode.program(two, second, busy))).toEqual([
      '-d -t 10.96.0.2:80 -r 10.244.1.2:80',
      '-a -t 10.96.0.2:80 -r 10.244.1.2:80 -m -w 1',
    ])
  })

  it.each(['UDP', 'SCTP'])('deletes an endpoint of a %s Service whatever its connections', (protocol) => {
    const ports = [{ port: 80, protocol }]
    const before = input([service('a', 1, { ports })], [slice('a', protocol, '10.244.1.1', '10.244.1.2')])
    const after = { ...before, endpointSlices: [slice('a', protocol, '10.244.1.1')] }
    const changed = lines(ipvsMode.program(after, ipvsMode.program(before), busy))
    expect(changed).toEqual([expect.stringMatching(/^-d \S+ 10.96.0.1:80 -r 10.244.1.2:80$/)])
  })

  it('gives endpoints their weight again when kube-proxy starts anew', () => {
    const second = ipvsMode.program(without, ipvsMode.program(two), busy)
    expect(lines(ipvsMode.program(two, second, { restart: true, ...busy }))).toContain(
      '-e -t 10.96.0.2:80 -r 10.244.1.2:80 -m -w 1',
    )
  })

  it('edits a virtual server whose affinity changed, without deleting it', () => {
    const sticky = { sessionAffinity: 'ClientIP', sessionAffinityConfig: { clientIP: { timeoutSeconds: 60 } } }
    const after = { ...two, services: [service('a', 1, sticky), service('b', 2)] }
    expect(lines(ipvsMode.program(after, ipvsMode.program(two)))).toEqual(['-E -t 10.96.0.1:80 -s rr -p 60'])
  })

  it('takes servers, addresses and entries of a Service that is gone away, but leaves excluded servers', () => {
    const after = { ...two, services: two.services.slice(0, 1) }
    const gone = ['del KUBE-CLUSTER-IP 10.96.0.2,tcp:80', 'del KUBE-IPVS-IPS 10.96.0.2']
    expect(lines(ipvsMode.program(after, ipvsMode.program(two)))).toEqual([
      ...gone,
      'addr del 10.96.0.2/32 dev kube-ipvs0',
      '-D -t 10.96.0.2:80',
    ])
    const excluding = { excludeCidrs: ['10.96.0.0/30'] }
    const excluded = input(after.services, [...after.endpointSlices], excluding)
    const before = ipvsMode.program(input([...two.services], [...two.endpointSlices], excluding))
    expect(lines(ipvsMode.program(excluded, before))).not.toContain('-D -t 10.96.0.2:80')
  })

  it('uses the scheduler by name, with the flag that mh gets', () => {
    expect(lines(ipvsMode.program(input(two.services.slice(0, 1), [], { ipvsScheduler: 'mh' })))).toContain(
      '-A -t 10.96.0.1:80 -s mh -b mh-port',
    )
  })

  it('sets the ARP sysctls with strictARP only, and timeouts only when given', () => {
    const sysctls = (more: object): string[] =>
      ipvsMode.program(input([], [], more)).verbs.flatMap((verb) => (verb.verb === 'sysctl' ? [verb.key] : []))
    expect(sysctls({})).not.toContain('net.ipv4.conf.all.arp_ignore')
    expect(sysctls({ strictArp: true })).toContain('net.ipv4.conf.all.arp_ignore')
    const timed = ipvsMode.program(input([], [], { ipvsTimeouts: { tcp: 900, tcpFin: 0, udp: 0 } }))
    expect(lines(timed)).toContain('--set 900 0 0')
    expect(lines(ipvsMode.program(input([], [])))).not.toContain('--set 0 0 0')
  })

  it('tries to store a /0 source range every time and goes on without it', () => {
    const open = {
      ...service('a', 1, { type: 'LoadBalancer', loadBalancerSourceRanges: ['0.0.0.0/0'] }),
      status: { loadBalancer: { ingress: [{ ip: '203.0.113.9' }] } },
    }
    const first = ipvsMode.program(input([open], []))
    const again = lines(ipvsMode.program(input([open], []), first))
    expect(again).toEqual(['add KUBE-LOAD-BALANCER-SOURCE-CIDR 203.0.113.9,tcp:80,0.0.0.0/0 -exist'])
  })

  it('binds external addresses to kube-ipvs0 unless another interface has them', () => {
    const external = service('a', 1, { externalIPs: ['192.168.10.11', '203.0.113.9'] })
    const program = lines(ipvsMode.program(input([external], [])))
    expect(program).toContain('addr add 203.0.113.9/32 dev kube-ipvs0')
    expect(program).not.toContain('addr add 192.168.10.11/32 dev kube-ipvs0')
    expect(program).toContain('-A -t 192.168.10.11:80 -s rr')
  })
})
