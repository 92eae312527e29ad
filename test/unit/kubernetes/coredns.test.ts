/**
 * CoreDNS' answers, byte for byte: recorded from the real server (test/support/recorders/coredns.ts), except for the
 * SOA's serial, which is the time at which the API server changed something.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { CoreDns } from '../../../src/kubernetes/coredns/server.ts'
import { buildClusterModel, type ClusterModel, type LoadedObject, loadInputs } from '../../../src/kubernetes/index.ts'
import { dnsQuery, emitDns, parseDns } from '../../../src/wire/dns.ts'
import { ROOT } from '../../arch/sources.ts'
import { QUESTIONS, VARIANTS } from '../../support/coredns-questions.ts'

const FOLDER = join(ROOT, 'test/fixtures/coredns')
const recorded = JSON.parse(readFileSync(join(FOLDER, 'answers.json'), 'utf8')) as {
  [variant: string]: { [question: string]: string }
}
const { model } = buildClusterModel(loadInputs([join(FOLDER, 'cluster.yaml')]))

function withCorefile(text: string): ClusterModel {
  const object = {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'coredns', namespace: 'kube-system' },
    data: { Corefile: text },
  }
  const source = { file: '', line: 0, col: 0 }
  const map: LoadedObject = { object, source, positionOf: () => source }
  return { ...model, otherObjects: [map] }
}

/** The message in words, with the serial set to 1, and its size. */
function shown(hex: string): unknown {
  const bytes = Buffer.from(hex, 'hex')
  const m = parseDns(bytes)
  if (m === null) return hex
  const plain = (list: typeof m.answers): unknown[] =>
    list.map((r) => (r.type === 'SOA' ? { ...r, data: { ...r.data, serial: 1 } } : r))
  return { ...m, answers: plain(m.answers), authorities: plain(m.authorities), bytes: bytes.length }
}

describe.each(Object.keys(VARIANTS))('CoreDNS with the Corefile "%s"', (variant) => {
  const server = new CoreDns(withCorefile(VARIANTS[variant]!), () => 0)

  it.each(QUESTIONS)('answers %s as the real one', (question) => {
    const [name, type, how] = question.split(' ') as [string, string, string | undefined]
    const edns = how?.startsWith('edns') ? Number(how.slice(4)) : undefined
    const reply = server.answer(dnsQuery(0x1234, name, type, edns), how === 'tcp' ? 'tcp' : 'udp')
    const real = recorded[variant]![question]!
    if (reply.unmodelled !== undefined) throw new Error(reply.unmodelled)
    expect(shown(Buffer.from(reply.bytes).toString('hex'))).toEqual(shown(real))
    const { answers, authorities } = reply.message
    if ([...answers, ...authorities].some((r) => r.type === 'SOA')) return
    expect(Buffer.from(reply.bytes).toString('hex')).toBe(real)
  })
})

describe('DNS messages', () => {
  it('survive a round trip, compressed or not', () => {
    for (const hex of Object.values(recorded.kubeadm!)) {
      const m = parseDns(Buffer.from(hex, 'hex'))!
      expect(parseDns(emitDns(m))).toEqual(m)
      expect(parseDns(emitDns(m, true))).toEqual(m)
    }
  })

  it('are refused when they are cut short', () => {
    const bytes = Buffer.from(recorded.kubeadm!['api.shop.svc.cluster.local A']!, 'hex')
    for (let n = 0; n < bytes.length; n++) expect(parseDns(bytes.subarray(0, n))).toBeNull()
  })
})
