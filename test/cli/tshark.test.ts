/**
 * tshark opens what `podwalk trace -o pcapng` writes: no malformed packet, no bad checksum, the interfaces' names, the
 * names of the addresses, and the connection as tshark itself follows it.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import type { Trace } from '../../src/index.ts'
import { describeKernel, runCommand } from '../support/kernel.ts'
import { podwalk } from './run-cli.ts'

const CHECKS = ['ip', 'tcp', 'udp'].flatMap((p) => ['-o', `${p}.check_checksum:TRUE`])
const WRONG = [
  '_ws.malformed',
  '_ws.expert.severity == error',
  'ip.checksum.status == Bad',
  'tcp.checksum.status == Bad',
]
  .concat(['udp.checksum.status == Bad', 'icmp.checksum.status == Bad'])
  .join(' || ')

const SHOP = ['-f', 'topologies/01-shop.yaml']
const EDGES = ['-f', 'topologies/02-edges.yaml']
const INGRESS = ['-f', 'topologies/32-ingress-nginx.yaml']
const CASES: readonly (readonly [string, readonly string[]])[] = [
  ['a ClusterIP on another node', ['deploy/shop/web', 'svc/shop/api:80', '--flow', ...SHOP]],
  ['a NodePort from outside', ['host:192.0.2.7', 'node/n3:30080', '--flow', ...SHOP]],
  ['a ping', ['deploy/shop/web', 'shop/db-0', '--proto', 'icmp', ...SHOP]],
  ['a large datagram', ['deploy/shop/web', 'shop/db-0:9000', '--proto', 'udp', '--size', '4000', ...SHOP]],
  ['a hairpin', ['platform/registry', 'svc/platform/registry:5000', '--flow', ...EDGES]],
  ['a name and a connection', ['shop/db-0', 'api:80', '-n', 'shop', '-f', 'test/fixtures/coredns/cluster.yaml']],
  [
    'an answer that is cut and comes over TCP',
    ['shop/db-0', 'many:80', '-n', 'shop', '-f', 'test/fixtures/coredns/cluster.yaml'],
  ],
  ['a request through an ingress', ['internet', '--http', 'GET', 'http://shop.example.com/', ...INGRESS]],
  ['TLS that ends at a controller', ['internet', '--http', 'GET', 'https://shop.example.com/api', ...INGRESS]],
  ['TLS that passes through', ['internet', '--http', 'GET', 'https://vault.example.com/', ...INGRESS]],
  ['a rejected connection', ['platform/tools', 'svc/platform/checkout:80', '--flow', ...EDGES]],
]

describeKernel('tshark on the captures of a trace', ['tshark'], () => {
  let folder = ''
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'podwalk-tshark-'))
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  const tshark = (file: string, ...args: string[]): string[] => {
    const done = runCommand(['tshark', '-r', file, ...CHECKS, ...args])
    expect([done.status, done.stderr.replace(/^Running as user.*\n/, '')]).toEqual([0, ''])
    return done.stdout.split('\n').filter((l) => l !== '')
  }

  it.each(CASES)(
    'finds nothing wrong with %s',
    (name, args) => {
      const file = join(folder, `${name.replaceAll(' ', '-')}.pcapng`)
      const trace = JSON.parse(podwalk(['trace', ...args, '-o', 'json']).stdout) as Trace
      expect(podwalk(['trace', ...args, '-o', 'pcapng', '-w', file]).status).toBe(0)
      expect(tshark(file, '-Y', WRONG)).toEqual([])
      const rows = tshark(file, '-T', 'fields', '-e', 'frame.interface_name', '-e', 'frame.comment')
      expect(rows.map((r) => r.split('\t')[0])).toEqual(trace.frames.map((f) => `${f.netns}/${f.device}`))
      expect(rows.filter((r) => (r.split('\t')[1] ?? '') === '')).toEqual([])
    },
    60_000,
  )

  it('reads names, requests and server names', () => {
    const fields = (args: readonly string[], field: string, ...filter: string[]): string[] => {
      const file = join(folder, `fields-${field}.pcapng`)
      expect(podwalk(['trace', ...args, '-o', 'pcapng', '-w', file]).status).toBe(0)
      return [...new Set(tshark(file, '-T', 'fields', '-e', field, ...filter).filter((l) => l !== ''))]
    }
    const dns = ['shop/db-0', 'api:80', '-n', 'shop', '-f', 'test/fixtures/coredns/cluster.yaml']
    expect(fields(dns, 'dns.a')).toEqual(['10.96.20.1'])
    expect(fields(dns, 'dns.qry.name')).toEqual(['api.shop.svc.cluster.local'])
    const get = ['internet', '--http', 'GET', 'http://shop.example.com/x', ...INGRESS]
    expect(fields(get, 'http.response.code')).toEqual(['308'])
    expect(fields(get, 'http.request.uri')).toEqual(['/x'])
    const secure = ['internet', '--http', 'GET', 'https://vault.example.com/', ...INGRESS]
    expect(fields(secure, 'tls.handshake.extensions_server_name')).toEqual(['vault.example.com'])
  }, 120_000)

  it('follows the connection and its data', () => {
    const file = join(folder, 'follow.pcapng')
    podwalk(['trace', ...CASES[0]![1], '-o', 'pcapng', '-w', file])
    const client = 'frame.interface_name matches "^pod:shop/web-"'
    const flags = tshark(file, '-Y', `tcp && ${client}`, '-T', 'fields', '-e', 'tcp.flags.str').map((f) =>
      f.replaceAll('·', ''),
    )
    expect(flags.slice(0, 3)).toEqual(['S', 'AS', 'A'])
    expect(flags.filter((f) => f.includes('F'))).toHaveLength(2)
    expect(flags.filter((f) => f.includes('R'))).toEqual([])
    // tshark reads HTTP where it first sees a segment, and calls it a retransmission on every device after that.
    expect(tshark(file, '-Y', `http.request && ${client}`)).toHaveLength(1)
    expect(tshark(file, '-Y', 'http.response.code == 200').length).toBeGreaterThan(0)
  })

  it('shows names for addresses', () => {
    const file = join(folder, 'names.pcapng')
    podwalk(['trace', ...CASES[0]![1], '-o', 'pcapng', '-w', file])
    expect(tshark(file, '-q', '-z', 'hosts').join('\n')).toMatch(/10\.96\.\d+\.\d+\tsvc\/shop\/api/)
  })
})
