/**
 * `podwalk trace` as a process: formats, verdicts as exit codes, determinism.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { parse } from 'yaml'
import { SCHEMAS, type Trace } from '../../src/index.ts'
import { podwalk } from './run-cli.ts'

const SHOP = ['-f', 'topologies/01-shop.yaml']
const ASK = ['trace', 'deploy/shop/web', 'svc/shop/api:80', ...SHOP]

let folder = ''
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'podwalk-trace-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const json = (...args: string[]): Trace => JSON.parse(podwalk([...args, '-o', 'json']).stdout) as Trace

describe('podwalk trace', () => {
  it('walks from a pod through a ClusterIP to a pod on another node and back', () => {
    const trace = json(...ASK)
    expect([trace.verdict, trace.replyVerdict?.verdict]).toEqual(['DELIVERED', 'DELIVERED'])
    const hosts = (hops: Trace['walk']): string[] => hops.map((h) => h.netns).filter((n, i, all) => n !== all[i - 1])
    const [client, server] = [`pod:${trace.question.src.name}`, `pod:${trace.delivered!.pod}`]
    const other = `node:${trace.delivered!.node}`
    expect(hosts(trace.walk)).toEqual([client, 'node:n1', 'underlay', other, server])
    expect(hosts(trace.reply)).toEqual([server, other, 'underlay', 'node:n1', client])
    expect(trace.decidedBy).toMatchObject({
      kind: 'Service',
      namespace: 'shop',
      name: 'api',
      file: 'topologies/01-shop.yaml',
    })
    expect(trace.delivered).toMatchObject({ src: trace.question.src.ip, dport: 8080 })
  })

  it('names the line of the manifest that decided', () => {
    const { decidedBy } = json(...ASK)
    const lines = readFileSync(new URL('../../topologies/01-shop.yaml', import.meta.url), 'utf8').split('\n')
    const service = lines.findIndex((l, i) => l === 'kind: Service' && lines[i + 2] === '  name: api') + 1
    expect(decidedBy!.line).toBeGreaterThan(service)
    expect(decidedBy!.line).toBeLessThan(service + 12)
  })

  it('says on stderr which pod it chose, and on stdout nothing but the answer', () => {
    const { stdout, stderr } = podwalk([...ASK, '-o', 'json'])
    expect(() => JSON.parse(stdout) as unknown).not.toThrow()
    expect(stderr).toMatch(/podwalk: from deploy\/shop\/web: .*shop\/web-/)
  })

  it.each([['text'], ['wide'], ['json'], ['yaml'], ['mermaid'], ['pcapng']])(
    '-o %s gives the same bytes twice',
    (format) => {
      const first = podwalk([...ASK, '--flow', '-o', format])
      expect([first.status, first.bytes.length > 200]).toEqual([0, true])
      expect(podwalk([...ASK, '--flow', '-o', format]).bytes.equals(first.bytes)).toBe(true)
    },
  )

  it('gives another source port or endpoint with another seed, never another verdict', () => {
    const answers = [1, 2, 3, 4, 5, 6].map((seed) => json(...ASK, '--seed', String(seed)))
    expect(new Set(answers.map((t) => t.verdict))).toEqual(new Set(['DELIVERED']))
    expect(new Set(answers.map((t) => t.delivered!.pod)).size).toBeGreaterThan(1)
  })

  it('prints documents that their schema accepts, in JSON and YAML alike', () => {
    const validate = new Ajv2020({ strict: true, allowUnionTypes: true }).compile(SCHEMAS.get('Trace')!)
    for (const args of [
      ASK,
      [...ASK, '--flow', '-v'],
      [...ASK, '--proto', 'udp'],
      ['trace', 'node/n1', 'shop/db-0', '--proto', 'icmp', ...SHOP],
    ]) {
      const trace = json(...args)
      expect([validate(trace), validate.errors]).toEqual([true, null])
      expect(parse(podwalk([...args, '-o', 'yaml']).stdout)).toEqual(trace)
    }
  })

  it('plays the whole connection with --flow', () => {
    const trace = json(...ASK, '--flow')
    expect(trace.flow).toMatchObject({ established: true, closed: true })
    expect(trace.flow!.requestBytes).toBeGreaterThan(0)
    expect(trace.packets.length).toBeGreaterThan(8)
    expect(podwalk([...ASK, '--flow']).stdout).toMatch(
      /✓ connection established, \d+ bytes sent, \d+ bytes received, closed/,
    )
  })

  it('shows rules that did not match with -v only', () => {
    const missed = (t: Trace): number => t.walk.filter((h) => h.detail.matched === false).length
    expect(missed(json(...ASK))).toBe(0)
    expect(missed(json(...ASK, '-v'))).toBeGreaterThan(0)
  })

  it('keeps to 80 columns', () => {
    const { stdout } = podwalk([...ASK, '--flow'])
    expect(stdout.split('\n').filter((l) => [...l].length > 80)).toEqual([])
  })

  it('uses the source port that was asked for', () => {
    expect(json(...ASK, '--sport', '51515').delivered!.sport).toBe(51515)
  })

  it('finds names without a namespace in that of -n', () => {
    expect(json('trace', 'deploy/web', 'svc/api:http', '-n', 'shop', ...SHOP).verdict).toBe('DELIVERED')
  })

  it('writes pcapng to a file', () => {
    const path = join(folder, 'walk.pcapng')
    const { status, stdout } = podwalk([...ASK, '-o', 'pcapng', '-w', path])
    expect([status, stdout]).toEqual([0, ''])
    expect(readFileSync(path).subarray(0, 4).toString('hex')).toBe('0a0d0d0a')
  })
})

describe('exit codes', () => {
  const toNobody = ['trace', 'platform/tools', 'svc/platform/checkout:80', '-f', 'topologies/02-edges.yaml']

  it('are 0 for an answer, whatever it is', () => {
    expect(podwalk(ASK).status).toBe(0)
    expect(podwalk(toNobody).status).toBe(0)
  })

  it.each([
    [ASK, 'DELIVERED', 0],
    [ASK, 'dropped', 1],
    [toNobody, 'REJECTED', 0],
    [toNobody, 'DELIVERED', 1],
  ])('%j --expect %s is %i', (args, verdict, code) => {
    const { status, stdout, stderr } = podwalk([...args, '--expect', verdict])
    expect(status).toBe(code)
    expect(stdout.length).toBeGreaterThan(100)
    if (code === 1) expect(stderr).toMatch(/expected \w+, got \w+/)
  })

  it.each([
    ['a CNI', ['--cni', 'cilium'], /cilium/],
    ['a kube-proxy mode', ['--proxy-mode', 'userspace'], /userspace/],
    ['a transport', ['--proto', 'sctp'], /SCTP socket/],
  ])('are 4 under --strict for %s that is not modelled; without, the verdict says its name', (_what, more, name) => {
    const loose = podwalk([...ASK, ...more])
    expect([loose.status, loose.stdout]).toEqual([0, expect.stringMatching(/\? UNMODELLED/)])
    expect(loose.stdout).toMatch(name)
    const trace = json(...ASK, ...more)
    expect([trace.verdict, trace.walk, trace.frames]).toEqual(['UNMODELLED', [], []])
    expect(podwalk([...ASK, ...more, '--strict']).status).toBe(4)
  })
})

describe('a bug of ours', () => {
  // Breaks a function that every report in JSON needs.
  const broken = encodeURIComponent("JSON.stringify = () => { throw new TypeError('boom') }")
  const env = { NODE_OPTIONS: `--import=data:text/javascript,${broken}` }

  it('ends with 70, says what to do about it and shows no stack', () => {
    const { status, stdout, stderr } = podwalk([...ASK, '-o', 'json'], { env })
    expect([status, stdout]).toEqual([70, ''])
    expect(stderr).toMatch(/podwalk: internal error: boom\n[\s\S]*report/)
    expect(stderr).not.toMatch(/\n\s+at /)
  })

  it('shows the stack with PODWALK_DEBUG=1', () => {
    expect(podwalk([...ASK, '-o', 'json'], { env: { ...env, PODWALK_DEBUG: '1' } }).stderr).toMatch(
      /\n\s+at JSON\.stringify/,
    )
  })
})

describe('a packet that does not arrive', () => {
  it('ends with why, the manifest line and the nearest miss', () => {
    const { stdout } = podwalk([
      'trace',
      'platform/tools',
      'svc/platform/checkout:80',
      '-f',
      'topologies/02-edges.yaml',
    ])
    expect(stdout).toMatch(/✗ REJECTED {2}\[NETFILTER_REJECT\]/)
    expect(stdout).toMatch(/decided by +Service platform\/checkout [\s\S]*topologies\/02-edges\.yaml:\d+/)
    expect(stdout).toMatch(/nearest miss +Service platform\/checkout[\s\S]*app=chekout[\s\S]*app=checkout instead/)
  })
})
