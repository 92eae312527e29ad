/**
 * check, diff and lint as commands: formats, exit codes, git revisions, wrong use.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { podwalk } from './run-cli.ts'

const POLICY = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: db, namespace: shop }
spec:
  podSelector: { matchLabels: { app: db } }
  ingress: [{ from: [{ podSelector: { matchLabels: { app: web } } }], ports: [{ port: 5432 }] }]
`
const PODS = ['web', 'db']
  .map(
    (n) =>
      `apiVersion: v1\nkind: Pod\nmetadata: { name: ${n}, namespace: shop, labels: { app: ${n} } }\nspec: { containers: [{ name: c, image: x }] }\n---\n`,
  )
  .join('')

let dir = ''

function put(name: string, text: string): string {
  const path = join(dir, name)
  writeFileSync(path, text)
  return path
}

function assertions(...lines: string[]): string {
  return `apiVersion: podwalk.dev/v1alpha1\nkind: PolicyAssertions\nspec:\n  assertions:\n${lines.map((l) => `  - ${l}\n`).join('')}`
}

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'podwalk-ci-'))
  put('k.yaml', PODS + POLICY)
  put('good.yaml', assertions('{allow: {from: shop/web, to: shop/db, ports: [5432]}}'))
  put('bad.yaml', assertions('{deny: {from: shop/web, to: shop/db}}'))
  put('wrong.yaml', assertions('{deny: {from: shop/web, to: shop/db, port: 1}}', '{what: 1}'))
})

afterAll(() => rmSync(dir, { recursive: true }))

function isValid(kind: string, text: string): void {
  const validate = new Ajv2020({ strict: false }).compile(JSON.parse(podwalk(['schema', kind]).stdout) as object)
  expect(validate(JSON.parse(text)) ? [] : validate.errors).toEqual([])
}

describe('check, diff, lint', () => {
  const input = (): string[] => ['-f', join(dir, 'k.yaml'), '--cni', 'calico']

  it('check: 0 when all hold, 1 when one does not, 3 for a wrong file with every problem, 2 without a file', () => {
    const good = podwalk(['check', join(dir, 'good.yaml'), ...input()])
    expect([good.status, good.stdout]).toEqual([0, expect.stringContaining('\n1 of 1 hold\n')])
    const bad = podwalk(['check', join(dir, 'bad.yaml'), ...input(), '-o', 'json'])
    expect(bad.status).toBe(1)
    isValid('Check', bad.stdout)
    const wrong = podwalk(['check', join(dir, 'wrong.yaml'), ...input()])
    expect([wrong.status, wrong.stdout]).toEqual([3, ''])
    expect(wrong.stderr).toMatch(/wrong.yaml:5:\d+: error: unknown field .*port/)
    expect(wrong.stderr).toMatch(/wrong.yaml:6:\d+: error: spec.assertions\[1\]: expected one of allow/)
    expect(podwalk(['check', join(dir, 'none.yaml'), ...input()])).toMatchObject({ status: 2 })
    expect(podwalk(['check', ...input()])).toMatchObject({ status: 2 })
  })

  it('diff: two files, a git revision, --exit-code', () => {
    const repo = join(dir, 'repo')
    mkdirSync(join(repo, 'k8s'), { recursive: true })
    const git = (...args: string[]): void => {
      const done = spawnSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@example.org', ...args], {
        cwd: repo,
        encoding: 'utf8',
      })
      expect([args[0], done.status, done.stderr]).toEqual([args[0], 0, done.stderr])
    }
    writeFileSync(join(repo, 'k8s', 'k.yaml'), PODS + POLICY)
    git('init', '-q')
    git('add', '-A')
    git('commit', '-q', '-m', 'first')
    writeFileSync(join(repo, 'k8s', 'k.yaml'), PODS + POLICY.replace('{ port: 5432 }', '{ port: 5432 }, { port: 22 }'))
    const same = podwalk(['diff', join(dir, 'k.yaml'), join(dir, 'k.yaml'), '--exit-code'])
    expect([same.status, same.stdout.split('\n')[0]]).toEqual([0, 'no connection changes'])
    const done = podwalk(['diff', 'HEAD:k8s/', 'k8s/', '--exit-code'], { cwd: repo })
    expect([done.status, done.stdout.split('\n')[0]]).toEqual([1, '+ shop/Pod/web -> shop/Pod/db TCP/22'])
    const json = podwalk(['diff', 'HEAD:k8s', 'k8s', '-o', 'json', '--by', 'pod'], { cwd: repo })
    expect(json.status).toBe(0)
    isValid('Diff', json.stdout)
    expect(podwalk(['diff', 'HEAD:nowhere', 'k8s'], { cwd: repo })).toMatchObject({ status: 2 })
    expect(podwalk(['diff', 'NOSUCH:k8s', 'k8s'], { cwd: repo })).toMatchObject({ status: 2 })
  })

  it('lint: 0 without errors, 1 with one, --fail-on lowers the bar', () => {
    const clean = podwalk(['lint', ...input()])
    expect([clean.status, clean.stdout]).toEqual([0, '0 errors, 0 warnings, 0 remarks\n'])
    const ignored = podwalk(['lint', '-f', join(dir, 'k.yaml'), '--cni', 'kubenet', '-o', 'json'])
    expect(ignored.status).toBe(1)
    isValid('Lint', ignored.stdout)
    const typo = put('typo.yaml', PODS + POLICY.replace('app: web', 'app: wbe'))
    expect(podwalk(['lint', '-f', typo, '--cni', 'calico'])).toMatchObject({ status: 0 })
    expect(podwalk(['lint', '-f', typo, '--cni', 'calico', '--fail-on', 'warning'])).toMatchObject({ status: 1 })
  })
})
