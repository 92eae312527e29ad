import { fileURLToPath } from 'node:url'
import { describe, expect, it } from '@jest/globals'
import { formatDiagnostic } from '../../../src/diagnostics/diagnostic.ts'
import { buildClusterModel } from '../../../src/kubernetes/build.ts'
import { resolvConfOf, resolveName } from '../../../src/kubernetes/dns.ts'
import { safeEncode, suffixFrom, uidFrom } from '../../../src/kubernetes/hash.ts'
import { loadInputs } from '../../../src/kubernetes/load.ts'
import { didYouMean, parseQuantity } from '../../../src/kubernetes/names.ts'
import type { TargetOptions } from '../../../src/kubernetes/target.ts'
import { resolveTarget } from '../../../src/kubernetes/target.ts'

const shop = fileURLToPath(new URL('../../fixtures/kubernetes/shop.yaml', import.meta.url))
const { model } = buildClusterModel(loadInputs([shop]))
const podNamed = (prefix: string) => model.pods.find((p) => p.name.startsWith(prefix))!
const clusterIp = (name: string) => model.services.find((s) => s.object.metadata.name === name)!.object.spec.clusterIP!

describe('DNS', () => {
  const ask = (name: string, from = podNamed('web')) => resolveName(model, from, name)
  it('gives each pod the resolv.conf of its policy', () => {
    expect(resolvConfOf(model, podNamed('web'))).toEqual({
      nameservers: ['10.96.0.10'],
      searches: ['shop.svc.cluster.local', 'svc.cluster.local', 'cluster.local'],
      ndots: 5,
      isClusterDns: true,
    })
    expect(resolvConfOf(model, podNamed('agent'))).toMatchObject({ searches: [], isClusterDns: false })
    expect(resolvConfOf(model, podNamed('custom'))).toEqual({
      nameservers: ['10.96.0.10'],
      searches: ['shop.svc.cluster.local'],
      ndots: 1,
      isClusterDns: true,
    })
  })
  it('walks the search list until a name answers', () => {
    const answer = ask('web.shop')
    expect(answer).toMatchObject({
      status: 'NOERROR',
      addresses: [clusterIp('web')],
      canonicalName: 'web.shop.svc.cluster.local',
      service: 'shop/web',
      how: 'Service shop/web',
    })
    expect(answer.queries).toEqual([
      { name: 'web.shop.shop.svc.cluster.local', status: 'NXDOMAIN' },
      { name: 'web.shop.svc.cluster.local', status: 'NOERROR' },
    ])
    expect(ask('web').queries).toHaveLength(1)
    expect(ask('kubernetes.default').addresses).toEqual(['10.96.0.1'])
  })
  it('asks for a name with enough dots, or a trailing one, as it is', () => {
    expect(ask('web.shop.svc.cluster.local.').queries).toHaveLength(1)
    expect(ask('web.shop.svc.cluster.local').queries).toHaveLength(4)
    expect(ask('web.shop.svc.cluster.local', podNamed('custom')).queries).toHaveLength(1)
    expect(ask('web.').status).toBe('NXDOMAIN')
    expect(ask('www.example.com').status).toBe('EXTERNAL')
  })
  it('answers headless Services with ready endpoints, and names of their pods', () => {
    const ips = [podNamed('db-0').ip, podNamed('db-1').ip]
    expect(ask('db').addresses).toEqual(ips)
    expect(ask('db-1.db').addresses).toEqual([ips[1]])
    expect(ask('db-1.db').how).toBe('endpoint db-1 of Service shop/db')
    expect(ask(`${podNamed('web').ip.replaceAll('.', '-')}.web`).addresses).toEqual([podNamed('web').ip])
    expect(ask('db-2.db.shop.svc.cluster.local.').status).toBe('NXDOMAIN')
    expect(ask('cache').status).toBe('NXDOMAIN')
  })
  it('follows ExternalName, inside and outside of the cluster', () => {
    expect(ask('alias')).toMatchObject({
      status: 'NOERROR',
      addresses: [clusterIp('web')],
      cnames: ['web.shop.svc.cluster.local'],
    })
    expect(ask('pay')).toMatchObject({ status: 'EXTERNAL', cnames: ['pay.example.com'], addresses: [] })
  })
  it('answers pod addresses with dashes, /etc/hosts, and nothing else', () => {
    expect(ask('10-1-2-3.shop.pod').addresses).toEqual(['10.1.2.3'])
    expect(ask('10-1-2-3.nowhere.pod').status).toBe('EXTERNAL')
    expect(ask('legacy', podNamed('custom'))).toMatchObject({ addresses: ['192.0.2.7'], how: '/etc/hosts' })
    expect(ask('localhost').addresses).toEqual(['127.0.0.1'])
    expect(ask(podNamed('web').name).addresses).toEqual([podNamed('web').ip])
    expect(ask('wbe').status).toBe('NXDOMAIN')
    expect(ask('web', podNamed('agent')).status).toBe('EXTERNAL')
  })
})

describe('endpoints of a question', () => {
  const target = (text: string, options: TargetOptions = {}) => {
    const result = resolveTarget(model, text, options)
    if (result.diagnostic !== undefined) return formatDiagnostic(result.diagnostic)
    const { target: t, notes } = result
    const name =
      t.kind === 'pod'
        ? t.pod.name
        : t.kind === 'service'
          ? t.service.metadata.name
          : t.kind === 'node'
            ? t.node.name
            : ''
    return [t.kind, name, t.ip, t.port, ...notes]
  }
  const web = model.pods.filter((p) => p.name.startsWith('web'))
  const [first] = web
  it('are pods by name and by a unique beginning of it', () => {
    expect(target('shop/db-0')).toEqual(['pod', 'db-0', podNamed('db-0').ip, undefined])
    expect(target('pod/shop/db-0:pg')).toEqual(['pod', 'db-0', podNamed('db-0').ip, 5432])
    expect(target('db-0', { namespace: 'shop' })).toEqual(['pod', 'db-0', podNamed('db-0').ip, undefined])
    const prefix = `shop/${first!.name.slice(0, -2)}`
    for (const text of [`${prefix}..`, prefix, `${prefix}...`, `pod/${prefix}..`]) {
      expect(target(text)).toEqual(['pod', first!.name, first!.ip, undefined, `${text} is pod shop/${first!.name}`])
    }
  })
  it('are pods of workloads, ready ones first, and say which', () => {
    expect(target('deploy/shop/web')).toEqual([
      'pod',
      first!.name,
      first!.ip,
      undefined,
      `chose pod shop/${first!.name} of 2 ready of Deployment shop/web`,
    ])
    expect(target('sts/db:5432', { namespace: 'shop' })).toEqual([
      'pod',
      'db-0',
      podNamed('db-0').ip,
      5432,
      'chose pod shop/db-0 of 2 ready of StatefulSet shop/db',
    ])
    expect(target('deployment/shop/cache').at(-1)).toMatch(
      /^chose pod shop\/cache-\S+ of 1 that are not ready of Deployment shop\/cache$/,
    )
  })
  it('are Service ports by number and by name', () => {
    expect(target('svc/shop/web:80')).toEqual(['service', 'web', clusterIp('web'), 80])
    expect(target('svc/web:metrics', { namespace: 'shop' })).toEqual(['service', 'web', clusterIp('web'), 9090])
    expect(target('svc/shop/web:81')).toEqual([
      'ip',
      '',
      clusterIp('web'),
      81,
      'Service shop/web has no port 81; it has 80 (http)/TCP, 9090 (metrics)/TCP',
    ])
    expect(target('svc/shop/db:pg')).toEqual([
      'pod',
      'db-0',
      podNamed('db-0').ip,
      5432,
      `headless Service shop/db: chose endpoint ${podNamed('db-0').ip}`,
    ])
    expect(target('svc/default/kubernetes')).toEqual(['service', 'kubernetes', '10.96.0.1', 443])
  })
  it('are nodes, hosts, addresses and DNS names', () => {
    expect(target('node/n1:22')).toEqual(['node', 'n1', '172.18.0.2', 22])
    expect(target('host:203.0.113.9:4000')).toEqual(['host', '', '203.0.113.9', 4000])
    expect(target('10.244.1.2:80')).toEqual(['ip', '', '10.244.1.2', 80])
    expect(target('web.shop:http')).toEqual([
      'service',
      'web',
      clusterIp('web'),
      80,
      `web.shop is ${clusterIp('web')} (Service shop/web)`,
    ])
    expect(target('db-1.db.shop.svc.cluster.local:5432')).toEqual([
      'ip',
      '',
      podNamed('db-1').ip,
      5432,
      `db-1.db.shop.svc.cluster.local is ${podNamed('db-1').ip} (endpoint db-1 of Service shop/db)`,
    ])
  })
  it.each([
    ['', 'error: expected an endpoint, found nothing'],
    ['shop/we', 'error: shop/we: "we" begins the names of 2 pods in shop [unresolvable]\n  hint: give more of: web-'],
    ['shop/dbb-0', 'error: shop/dbb-0: no pod shop/dbb-0 [unresolvable]\n  hint: did you mean db-0'],
    ['shopp/web', 'error: shopp/web: no pod in namespace shopp [unresolvable]\n  hint: did you mean shop?'],
    [
      'deploy/shop/wbe',
      'error: deploy/shop/wbe: no Deployment shop/wbe with pods [unresolvable]\n  hint: did you mean web',
    ],
    ['svc/shop/wbe:80', 'error: svc/shop/wbe:80: no Service shop/wbe [unresolvable]\n  hint: did you mean web'],
    [
      'svc/shop/web',
      'error: svc/shop/web: expected svc/shop/web:PORT, found no port [unresolvable]\n  hint: the Service has 80 (http)/TCP, 9090 (metrics)/TCP',
    ],
    [
      'svc/shop/web:htpp',
      'error: svc/shop/web:htpp: Service shop/web has no port htpp [unresolvable]\n  hint: it has 80 (http)/TCP',
    ],
    ['svc/shop/cache', 'error: svc/shop/cache: headless Service shop/cache has no ready endpoint'],
    [
      'svc/shop/pay',
      'error: svc/shop/pay: pay.shop.svc.cluster.local (an alias of pay.example.com) is a name outside of the cluster',
    ],
    ['node/n9', 'error: node/n9: no node n9 [unresolvable]\n  hint: did you mean n1, n2?'],
    [
      'nod/x/n1',
      'error: nod/x/n1: expected KIND/NS/NAME or NS/POD, found "nod/x/n1" [unresolvable]\n  hint: did you mean no',
    ],
    ['host:nowhere', 'error: host:nowhere: expected host:IP with an IPv4 address, found "nowhere"'],
    ['host:127.0.0.1', 'error: host:127.0.0.1: no machine can have the address 127.0.0.1'],
    ['nobody', 'error: nobody: no pod default/nobody and no such name: NXDOMAIN'],
    ['host:1.2.3.4:99999', 'error: host:1.2.3.4:99999: expected a port 1-65535, found "99999"'],
    ['1.2.3.4:http', 'error: 1.2.3.4:http: expected a port 1-65535, found "http"'],
    ['1.2.3', 'error: 1.2.3: expected an IPv4 address, found "1.2.3"'],
    ['a//b', 'error: a//b: expected names between the slashes'],
    [
      'pod/shop/db-0:http',
      'error: pod/shop/db-0:http: no port http of pod shop/db-0 [unresolvable]\n  hint: there are: pg',
    ],
    [
      'default/homeless',
      "error: default/homeless: pod default/homeless has no address: 0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.",
    ],
    [
      'nosuch.shop.svc.cluster.local',
      'error: nosuch.shop.svc.cluster.local: no such name: nosuch.shop.svc.cluster.local is NXDOMAIN',
    ],
    ['www.example.com:80', 'error: www.example.com:80: www.example.com is a name outside of the cluster'],
    ['fe80::1', 'error: fe80::1: IPv6 is not modelled yet'],
  ])('%j is refused with a reason and near names', (text, expected) => {
    expect(String(target(text)).slice(0, expected.length)).toBe(expected)
  })
})

describe('names', () => {
  it('are encoded in the alphabet of Kubernetes', () => {
    expect(safeEncode('0123456789')).toBe('456789bcdf')
    expect(suffixFrom('a')).toMatch(/^[bcdfghjklmnpqrstvwxz2456789]{5}$/)
    expect(uidFrom('x')).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  })
  it('are guessed from near misses', () => {
    expect(didYouMean('conatiners', ['initContainers', 'containers'])).toBe('containers')
    expect(didYouMean('zzz', ['containers', 'volumes'])).toBeUndefined()
  })
  it.each([
    ['100m', 0.1],
    ['2', 2],
    [2, 2],
    ['64Mi', 64 * 2 ** 20],
    ['1e3', 1000],
    ['0.5Gi', 2 ** 29],
    ['1E', 1e18],
    ['.5', 0.5],
    ['1k', 1000],
    ['lots', null],
    ['1 Gi', null],
    ['', null],
  ])('quantity %j is %j', (text, value) => {
    expect(parseQuantity(text)).toBe(value)
  })
})
