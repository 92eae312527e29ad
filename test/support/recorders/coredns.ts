/**
 * Records what a real CoreDNS answers for the fixture cluster: test/fixtures/coredns/answers.json.
 *
 *     COREDNS=/path/to/coredns node test/support/recorders/coredns.ts      (Node >= 22)
 *
 * An API server of three handlers (list and watch of Services, EndpointSlices, Namespaces and Pods) feeds its kubernetes
 * plugin with the objects that podwalk built, so that both sides answer from the same endpoints and addresses.
 */
import { spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { buildClusterModel, type ClusterModel, loadInputs } from '../../../src/kubernetes/index.ts'
import { dnsQuery, emitDns } from '../../../src/wire/dns.ts'
import { QUESTIONS, VARIANTS } from '../coredns-questions.ts'

/** DNS_PORT=53 HOLD=60000 keeps each server up for a minute, for real clients to ask. */
const DNS_PORT = Number(process.env.DNS_PORT ?? 10053)

function lists(model: ClusterModel): Record<string, { kind: string; items: object[] }> {
  const meta = (m: object): object => ({ ...m, resourceVersion: '1' })
  return {
    '/api/v1/services': {
      kind: 'ServiceList',
      items: model.services.map(({ object: o }) => ({ metadata: meta(o.metadata), spec: o.spec })),
    },
    '/api/v1/namespaces': {
      kind: 'NamespaceList',
      items: model.namespaces.map((n) => ({ metadata: meta({ name: n.name }) })),
    },
    '/api/v1/pods': {
      kind: 'PodList',
      items: model.pods.map((p) => ({
        metadata: meta({ name: p.name, namespace: p.namespace }),
        spec: {},
        status: { podIP: p.ip, podIPs: [{ ip: p.ip }] },
      })),
    },
    '/apis/discovery.k8s.io/v1/endpointslices': {
      kind: 'EndpointSliceList',
      items: model.endpointSlices.map(({ object: o, service }) => ({
        ...{ metadata: meta({ ...o.metadata, labels: { 'kubernetes.io/service-name': service?.split('/')[1] } }) },
        ...{ addressType: o.addressType, endpoints: o.endpoints, ports: o.ports },
      })),
    },
  }
}

async function ask(hex: Uint8Array): Promise<string> {
  const socket = createSocket('udp4')
  const answer = new Promise<string>((resolve) => socket.once('message', (m) => resolve(m.toString('hex'))))
  socket.send(hex, DNS_PORT, '127.0.0.1')
  const text = await Promise.race([answer, sleep(3000).then(() => 'timeout')])
  socket.close()
  return text
}

async function askTcp(bytes: Uint8Array): Promise<string> {
  const socket = connect(DNS_PORT, '127.0.0.1')
  const chunks: Buffer[] = []
  const done = new Promise<string>((resolve) => {
    socket.on('data', (d) => {
      chunks.push(d)
      const all = Buffer.concat(chunks)
      if (all.length >= 2 && all.length >= all.readUInt16BE(0) + 2) resolve(all.subarray(2).toString('hex'))
    })
  })
  socket.write(Buffer.concat([Buffer.of(bytes.length >> 8, bytes.length & 255), bytes]))
  const text = await done
  socket.destroy()
  return text
}

async function record(): Promise<void> {
  const { model } = buildClusterModel(loadInputs(['test/fixtures/coredns/cluster.yaml']))
  const known = lists(model)
  const server = createServer((req, res) => {
    const url = new URL(req.url ?? '/', 'http://x')
    const list = known[url.pathname]
    res.setHeader('Content-Type', 'application/json')
    if (list === undefined) {
      res.statusCode = 404
      res.end('{}')
    } else if (url.searchParams.get('watch') !== null) res.flushHeaders()
    else {
      const apiVersion = url.pathname.startsWith('/apis') ? 'discovery.k8s.io/v1' : 'v1'
      res.end(JSON.stringify({ kind: list.kind, apiVersion, metadata: { resourceVersion: '1' }, items: list.items }))
    }
  }).listen(18080, '127.0.0.1')
  const upstream = createSocket('udp4').bind(10054, '127.0.0.1')
  upstream.on('message', (m, from) => {
    // what spec.upstreamDNS of the fixture says, spelt out: example.com A 203.0.113.80
    const answer = Buffer.concat([m.subarray(0, 12), m.subarray(12)])
    const isA = m.subarray(-4).equals(Buffer.of(0, 1, 0, 1)) && m.includes('example')
    answer[2] = 0x81
    answer[3] = 0x80
    if (!isA) return upstream.send(answer, from.port, from.address)
    answer[7] = 1
    const rr = Buffer.from('c00c00010001000001 2c0004cb007150'.replaceAll(' ', ''), 'hex')
    upstream.send(Buffer.concat([answer, rr]), from.port, from.address)
  })
  const answers: { [variant: string]: { [question: string]: string } } = {}
  for (const [variant, corefile] of Object.entries(VARIANTS)) {
    const dir = mkdtempSync(join(tmpdir(), 'coredns-'))
    const text = corefile
      .replace('.:53', '.')
      .replace(/(kubernetes [^{]*\{)/, '  bind 127.0.0.1\n$1\n  endpoint http://127.0.0.1:18080')
      .replace('/etc/resolv.conf', '127.0.0.1:10054')
    writeFileSync(join(dir, 'Corefile'), text)
    const args = ['-conf', join(dir, 'Corefile'), '-dns.port', String(DNS_PORT)]
    const child = spawn(process.env.COREDNS ?? 'coredns', args, { stdio: ['ignore', 'ignore', 'inherit'] })
    await sleep(2500)
    const rows: { [question: string]: string } = {}
    for (const question of QUESTIONS) {
      const [name, type, how] = question.split(' ') as [string, string, string | undefined]
      const bytes = emitDns(dnsQuery(0x1234, name, type, how?.startsWith('edns') ? Number(how.slice(4)) : undefined))
      rows[question] = how === 'tcp' ? await askTcp(bytes) : await ask(bytes)
    }
    answers[variant] = rows
    if (process.env.HOLD !== undefined) await sleep(Number(process.env.HOLD))
    child.kill()
    await sleep(300)
  }
  writeFileSync('test/fixtures/coredns/answers.json', `${JSON.stringify(answers, null, 1)}\n`)
  upstream.close()
  server.closeAllConnections()
  server.close()
}

await record()
