/**
 * `podwalk exec`, `get`, `schema`, `explain` and `completion` as processes.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { SCHEMAS } from '../../src/index.ts'
import { ROOT } from '../arch/sources.ts'
import { podwalk } from './run-cli.ts'

const SHOP = ['-f', 'topologies/01-shop.yaml']

describe('podwalk exec', () => {
  it('prints what iptables-save prints on that node', () => {
    const { status, stdout } = podwalk(['exec', 'node/n1', ...SHOP, '--', 'iptables-save', '-t', 'nat'])
    expect(status).toBe(0)
    expect(stdout).toMatch(/^\*nat\n:PREROUTING ACCEPT/m)
    expect(stdout).toMatch(
      /^-A KUBE-SERVICES -d \S+\/32 -p tcp -m comment --comment "shop\/api:http cluster IP" -m tcp --dport 80 -j KUBE-SVC-/m,
    )
    expect(stdout.trimEnd().endsWith('# Completed') || stdout.includes('\nCOMMIT\n')).toBe(true)
  })

  it.each([
    ['node/n2', 'cbr0'],
    ['pod/shop/db-0', 'eth0'],
    ['shop/db-0', 'eth0'],
    ['deploy/shop/web', 'eth0'],
  ])('runs in %s', (target, device) => {
    const { status, stdout } = podwalk(['exec', target, ...SHOP, '--', 'ip', 'addr', 'show', device])
    expect([status, stdout]).toEqual([
      0,
      expect.stringMatching(new RegExp(`: ${device}(@|:)[\\s\\S]*inet 10\\.244\\.`)),
    ])
  })

  it('pings another pod, and gives the exit code of ping when nobody answers', () => {
    const pods = JSON.parse(podwalk(['get', 'pods', ...SHOP, '-o', 'json']).stdout) as {
      items: { name: string; ip: string }[]
    }
    const { ip } = pods.items.find((p) => p.name === 'db-0')!
    const there = podwalk(['exec', 'deploy/shop/web', ...SHOP, '--', 'ping', '-c', '1', ip])
    expect([there.status, there.stdout]).toEqual([
      0,
      expect.stringMatching(/1 packets transmitted, 1 received, 0% packet loss/),
    ])
    const gone = podwalk(['exec', 'deploy/shop/web', ...SHOP, '--', 'ping', '-c', '1', '-W', '1', '10.244.1.250'])
    expect([gone.status, gone.stdout]).toEqual([1, expect.stringMatching(/0 received/)])
  })

  it('passes stdin to tools that read', () => {
    const rules = '*filter\n:TEST - [0:0]\n-A TEST -j ACCEPT\nCOMMIT\n'
    const good = podwalk(['exec', 'node/n1', ...SHOP, '--', 'iptables-restore', '--noflush'], { stdin: rules })
    expect([good.status, good.stderr]).toEqual([0, ''])
    const bad = podwalk(['exec', 'node/n1', ...SHOP, '--', 'iptables-restore', '--noflush'], {
      stdin: rules.replace('ACCEPT', 'NO-SUCH'),
    })
    expect(bad.status).not.toBe(0)
    expect(bad.stderr).not.toBe('')
  })

  it.each([
    ['a tool that is not modelled', ['arptables', '-L'], 126],
    ['a tool that there is not', ['frobnicate'], 127],
    ['a wrong use of a tool', ['ip', 'rout', 'bogus'], 255],
  ])('gives the exit code of the tool: %s', (_what, argv, code) => {
    const { status, stderr } = podwalk(['exec', 'node/n1', ...SHOP, '--', ...argv])
    expect(stderr).not.toBe('')
    if (code !== 255) expect(status).toBe(code)
    else expect(status).not.toBe(0)
  })

  it('names what is near a target that is not there', () => {
    const { status, stderr } = podwalk(['exec', 'node/n9', ...SHOP, '--', 'ip', 'addr'])
    expect([status, stderr]).toEqual([3, expect.stringMatching(/n9[\s\S]*n1/)])
  })
})

describe('podwalk get', () => {
  const ajv = new Ajv2020({ strict: true, allowUnionTypes: true })
  it.each(['nodes', 'pods', 'services', 'links', 'routes', 'rules'])(
    '%s prints a table, and JSON that its schema accepts',
    (what) => {
      const text = podwalk(['get', what, ...SHOP])
      expect([text.status, text.stderr]).toEqual([0, ''])
      expect(text.stdout.split('\n')[0]).toMatch(/^[A-Z][A-Z -]+$/)
      const document = JSON.parse(podwalk(['get', what, ...SHOP, '-o', 'json']).stdout) as {
        kind: string
        items: object[]
      }
      expect(text.stdout.trimEnd().split('\n')).toHaveLength(document.items.length + 1)
      expect(document.items.length).toBeGreaterThan(2)
      const validate = ajv.compile(SCHEMAS.get(document.kind)!)
      expect([validate(document), validate.errors]).toEqual([true, null])
    },
  )

  it('shows the ports that are ready and the pods that are not', () => {
    const { stdout } = podwalk(['get', 'pods', '-f', 'topologies/03-not-ready.yaml'])
    expect(stdout).toMatch(/orders-0 +no +Running/)
    expect(stdout).toMatch(/payments-1 +yes +Running/)
  })

  it('keeps to the namespace of -n', () => {
    expect(podwalk(['get', 'services', '-n', 'default', ...SHOP]).stdout).not.toContain('redis')
    expect(podwalk(['get', 'services', '-n', 'shop', ...SHOP]).stdout).toContain('redis')
  })

  it('takes overrides: nodes, CIDRs, settings', () => {
    const nodes = (...args: string[]): string =>
      podwalk(['get', 'nodes', '-f', 'topologies/03-not-ready.yaml', ...args]).stdout
    expect(nodes('--nodes', '4').trimEnd().split('\n')).toHaveLength(5)
    expect(nodes('--set', 'podCIDR=10.10.0.0/16')).toContain('10.10.1.0/24')
  })
})

describe('podwalk lab', () => {
  const SCENARIO = 'test/fixtures/kernel-lab/scenarios/l2-learn-flood.json'
  const GOLDEN = 'test/fixtures/kernel-lab/golden/l2-learn-flood.json'
  const errorsOf = (kind: string, document: unknown): unknown => {
    const validate = new Ajv2020({ strict: true, allowUnionTypes: true }).compile(SCHEMAS.get(kind)!)
    return validate(document) ? null : validate.errors
  }

  it("prints documents that their schemas accept, as the real kernel's recording is", () => {
    expect(errorsOf('LabResult', JSON.parse(podwalk(['lab', 'run', SCENARIO, '-o', 'json']).stdout))).toBeNull()
    expect(errorsOf('LabResult', JSON.parse(readFileSync(join(ROOT, GOLDEN), 'utf8')))).toBeNull()
    const check = podwalk(['lab', 'check', SCENARIO, '--golden', GOLDEN, '-o', 'json'])
    expect([check.status, errorsOf('LabCheck', JSON.parse(check.stdout))]).toEqual([0, null])
    const unequal = podwalk([
      'lab',
      'check',
      SCENARIO,
      '--golden',
      GOLDEN.replace('l2-learn-flood', 'arp-basic'),
      '-o',
      'json',
    ])
    expect([unequal.status, errorsOf('LabCheck', JSON.parse(unequal.stdout))]).toEqual([1, null])
  })
})

describe('podwalk schema, explain and completion', () => {
  it('prints a schema for every kind that it lists', () => {
    const kinds = podwalk(['schema']).stdout.trimEnd().split('\n')
    expect(kinds).toEqual([...SCHEMAS.keys()])
    for (const kind of kinds) expect(JSON.parse(podwalk(['schema', kind]).stdout)).toEqual(SCHEMAS.get(kind))
  })

  it('explains a reason by any spelling, and lists them all', () => {
    expect(podwalk(['explain', 'ip-rpfilter']).stdout).toMatch(/^IP_RPFILTER\n {2}Reverse path filter/)
    expect(podwalk(['explain']).stdout.split('\n').length).toBeGreaterThan(50)
    const document = JSON.parse(podwalk(['explain', '-o', 'json']).stdout) as object
    const validate = new Ajv2020({ strict: true, allowUnionTypes: true }).compile(SCHEMAS.get('Reasons')!)
    expect([validate(document), validate.errors]).toEqual([true, null])
  })

  it('completes commands and options in bash', () => {
    const script = podwalk(['completion', 'bash']).stdout
    const ask = (words: string, index: number): string =>
      spawnSync(
        'bash',
        ['-c', `${script}\nCOMP_WORDS=(${words}); COMP_CWORD=${index}; _podwalk; echo "\${COMPREPLY[@]}"`],
        { encoding: 'utf8' },
      ).stdout.trim()
    expect(ask('podwalk tr', 1)).toBe('trace')
    expect(ask('podwalk trace --exp', 2)).toBe('--expect')
    expect(ask('podwalk lab r', 2)).toBe('run')
  })

  it.each(['zsh', 'fish'])('has a script for %s that names every command', (shell) => {
    const { status, stdout } = podwalk(['completion', shell])
    expect(status).toBe(0)
    for (const command of ['trace', 'exec', 'get', 'lab', 'bgp', 'explain', 'schema', 'completion', 'version'])
      expect(stdout).toContain(command)
  })
})
