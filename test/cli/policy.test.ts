/**
 * `podwalk reach` and `podwalk why` as a user runs them: documents, exit codes, what-if, refused policies.
 */
import { describe, expect, it } from '@jest/globals'
import type { Reach } from '../../src/query/reach-types.ts'
import { policyManifests } from '../support/policy.ts'
import { podwalk } from './run-cli.ts'

const POLICY = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec: {podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: api}}}]}]}
`
const stdin = policyManifests(['shop/api app=api', 'shop/db app=db ports=pg:5432', 'shop/web app=web'], POLICY)

function reach(...args: readonly string[]): Reach {
  const { status, stdout, stderr } = podwalk(['reach', '-f', '-', '-o', 'json', ...args], { stdin })
  expect([status, stderr]).toEqual([0, stderr])
  return JSON.parse(stdout) as Reach
}

describe('podwalk reach', () => {
  it('answers a port for all pairs of pods', () => {
    const [probe] = reach('--by', 'pod', '--port', 'TCP/5432').probes!
    expect(probe!.denied).toEqual([['shop/web', 'shop/db']])
    expect(probe!.allowed).toContainEqual(['shop/api', 'shop/db'])
  })

  it('asks what if a policy were not there', () => {
    expect(reach('--by', 'pod', '--port', '5432', '--without', 'shop/db').probes![0]!.denied).toEqual([])
  })

  it('compares with the packets and says why they differ', () => {
    const { differences } = reach('shop/web', 'shop/db', '--engine', 'both', '--port', 'TCP/5432')
    expect(differences).toMatchObject([{ policy: 'denied', cause: 'not-enforced' }])
  })

  it('prints the same bytes twice', () => {
    const run = (): string => podwalk(['reach', '-f', '-', '-o', 'svg'], { stdin }).stdout
    expect(run()).toBe(run())
  })
})

describe('podwalk why', () => {
  it('names the nearest miss and exits with 1 when the verdict is not the expected one', () => {
    const run = podwalk(['why', 'shop/web', 'shop/db:pg', '-f', '-', '--expect', 'allowed'], { stdin })
    expect(run.status).toBe(1)
    expect(run.stdout).toContain('wants app=api, found app=web')
  })

  it('does not take denied from policies that the CNI does not enforce', () => {
    const args = ['why', 'shop/web', 'shop/db:pg', '-f', '-', '--expect', 'denied']
    expect(podwalk([...args, '--cni', 'calico'], { stdin }).status).toBe(0)
    const run = podwalk(args, { stdin })
    expect(run.status).toBe(1)
    expect(run.stderr).toContain('kubenet does not enforce them')
  })

  it('refuses a policy that the API server refuses, with its reason', () => {
    const bad = `${stdin}---\n${POLICY.replace('name: db', 'name: bad').replace('{podSelector: {matchLabels: {app: api}}}', '{}')}`
    const run = podwalk(['why', 'shop/web', 'shop/db:5432', '-f', '-'], { stdin: bad })
    expect([run.status, run.stdout]).toEqual([3, ''])
    expect(run.stderr).toContain('spec.ingress[0].from[0]: expected podSelector')
    expect(run.stderr).toContain('must specify a peer')
  })
})
