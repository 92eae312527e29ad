/**
 * DNS, HTTP and load balancers as a user of the command line meets them: output, exit codes, findings with their lines.
 */
import { describe, expect, it } from '@jest/globals'
import type { Trace } from '../../src/index.ts'
import { podwalk } from './run-cli.ts'

const DNS = ['-f', 'test/fixtures/coredns/cluster.yaml', '-n', 'shop']
const SHOP = ['-f', 'topologies/32-ingress-nginx.yaml']

function exec(target: string, input: readonly string[], ...command: string[]): [number, string, string] {
  const r = podwalk(['exec', target, ...input, '--', ...command])
  // findings about the manifests are not what is asked here
  return [r.status, r.stdout, r.stderr.replaceAll(/^.*: (?:info|warning): .*\n/gm, '')]
}

describe('podwalk exec', () => {
  it('runs nslookup with the exit code of the real one', () => {
    expect(exec('shop/db-0', DNS, 'nslookup', 'api')).toEqual([0, expect.stringContaining('Address: 10.96.20.1\n'), ''])
    const missing = exec('shop/db-0', DNS, 'nslookup', 'gone.shop.svc.cluster.local.')
    expect(missing).toEqual([
      1,
      expect.stringContaining("** server can't find gone.shop.svc.cluster.local: NXDOMAIN"),
      '',
    ])
  })

  it('runs curl by name, and fails as curl does', () => {
    expect(exec('shop/db-0', DNS, 'curl', '-s', 'http://api/')).toEqual([0, expect.stringMatching(/^shop\/api-/), ''])
    const refused = exec('shop/db-0', DNS, 'curl', 'http://db-1.db:81/')
    expect(refused).toEqual([
      7,
      '',
      expect.stringMatching(/^curl: \(7\) Failed to connect to db-1.db port 81 after \d+ ms/),
    ])
    expect(exec('shop/db-0', DNS, 'curl', 'http://gone.shop.svc.cluster.local./')[0]).toBe(6)
    expect(exec('shop/db-0', DNS, 'nc', '-zv', 'api', '80')[2]).toBe(
      'Connection to api (10.96.20.1) 80 port [tcp/http] succeeded!\n',
    )
  })

  it('asks for a flag rather than guess about a certificate', () => {
    const url = 'https://shop.example.com/'
    const resolve = ['--resolve', 'shop.example.com:443:203.0.113.129']
    const [status, , stderr] = exec('host:198.51.100.7', SHOP, 'curl', ...resolve, url)
    expect([status, stderr]).toEqual([126, 'podwalk: UNMODELLED: verifying a certificate: give curl -k\n'])
    expect(exec('host:198.51.100.7', SHOP, 'curl', '-sk', ...resolve, url)).toEqual([0, 'shop/web\n', ''])
  })
})

describe('podwalk trace', () => {
  it('resolves a name with packets before the connection', () => {
    const { stdout, status } = podwalk(['trace', 'shop/db-0', 'api:80', ...DNS])
    expect(status).toBe(0)
    expect(stdout.indexOf('api is 10.96.20.1, by 10.96.0.10')).toBeGreaterThan(0)
    expect(stdout.indexOf('DNS A? api.shop')).toBeLessThan(stdout.indexOf('connection\n'))
  })

  it('follows a request, and names the rule with its line', () => {
    const r = podwalk(['trace', 'internet', '--http', 'GET', 'https://shop.example.com/api', ...SHOP, '-o', 'json'])
    const t = JSON.parse(r.stdout) as Trace
    expect([t.verdict, t.http?.status, t.onward?.length]).toEqual(['DELIVERED', 200, 1])
    expect(t.decidedBy).toMatchObject({ kind: 'Ingress', rule: 'spec.rules[0].http.paths[1]', file: SHOP[1] })
  })

  it.each([
    [['trace', 'internet', '--http', 'GET', ...SHOP], '--http takes a method and a URL'],
    [['trace', 'internet', ...SHOP], "missing required argument 'dst'"],
  ])('refuses a question that is not one: %j', (args, message) => {
    const r = podwalk(args)
    expect([r.status, r.stderr]).toEqual([2, expect.stringContaining(message)])
  })

  it('refuses a URL that is none with exit code 3', () => {
    const r = podwalk(['trace', 'internet', '--http', 'GET', 'ftp://x/', ...SHOP])
    expect([r.status, r.stderr]).toEqual([
      3,
      expect.stringContaining('expected an http or https URL, found "ftp://x/"'),
    ])
  })

  it('says on stderr what a reviewer would, with the line', () => {
    const yaml = `apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: i}
spec:
  rules:
    - http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: gone, port: {number: 80}}}}
---
apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {containers: [{name: c, image: x}]}`
    const r = podwalk(['trace', 'p', '10.1.1.1:80', '-f', '-'], { stdin: yaml })
    expect(r.stderr).toMatch(
      /:8:\d+: warning: .*Ingress default\/i: there is no Service default\/gone \[unknown-service\]/,
    )
  })
})
