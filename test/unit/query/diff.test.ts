/**
 * What a change of manifests changes, and which of several changes did it.
 */
import { describe, expect, it } from '@jest/globals'
import { buildClusterModel, loadText } from '../../../src/kubernetes/index.ts'
import { PolicyEngine } from '../../../src/policy/engine.ts'
import { policyInputOf } from '../../../src/policy/input.ts'
import { type DiffSide, diffQuery } from '../../../src/query/diff/diff.ts'
import { DIFF_FORMATS } from '../../../src/report/diff/formats.ts'
import { plain } from '../../../src/report/paint.ts'
import { policyManifests } from '../../support/policy.ts'

const PODS = ['shop/web app=web', 'shop/db app=db', 'other/spy app=spy']

function policy(name: string, spec: string): string {
  return `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: ${name}, namespace: shop}\nspec: ${spec}\n`
}

const DB = policy(
  'db',
  '{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 5432}]}]}',
)
const DB_SSH = DB.replace('{port: 5432}', '{port: 5432}, {port: 22}')
const WEB_OUT = policy(
  'web-out',
  '{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}]}, {to: [{ipBlock: {cidr: 192.168.0.0/16}}]}]}',
)

function side(name: string, pods: readonly string[], policies: readonly string[]): DiffSide {
  const { model } = buildClusterModel(loadText(policyManifests(pods, policies.join('---\n')), `${name}.yaml`))
  return { name, model, engine: new PolicyEngine(policyInputOf(model)) }
}

function diff(before: readonly string[], after: readonly string[], pods: readonly string[] = PODS, oldPods = PODS) {
  return diffQuery(side('old', oldPods, before), side('new', pods, after), 'pod')
}

describe('diff', () => {
  it('finds nothing between a set and itself, nor when only the order or the status differs', () => {
    const swapped = DB.replace(
      '{podSelector: {matchLabels: {app: db}}, ingress',
      '{policyTypes: [Ingress], podSelector: {matchLabels: {app: db}}, ingress',
    )
    const d = diff([DB, WEB_OUT], [WEB_OUT, DB])
    expect([d.added, d.removed, d.policies]).toEqual([[], [], []])
    expect(diff([DB], [swapped])).toMatchObject({
      added: [],
      removed: [],
      policies: [{ change: 'changed', object: 'NetworkPolicy shop/db' }],
    })
  })

  it('says that the CNI enforces none of it', () => {
    expect(diff([], [DB]).notes).toEqual(['new: kubenet does not enforce this policy: NetworkPolicy shop/db'])
    expect(diff([], []).notes).toEqual([])
  })

  it('names ports that are new and ranges outside that are gone, each with the change that did it', () => {
    const d = diff([DB], [DB_SSH, WEB_OUT])
    expect(d.added).toEqual([
      {
        src: 'shop/web',
        dst: 'shop/db',
        protocol: 'TCP',
        ports: '22',
        because: [expect.stringMatching(/^NetworkPolicy shop\/db changed \(new.yaml:\d+\)$/)],
      },
    ])
    expect(d.removed.filter((c) => c.protocol === 'TCP').map((c) => [c.src, c.dst, c.ports])).toEqual([
      ['shop/web', 'ip:0.0.0.0-192.167.255.255', 'all'],
      ['shop/web', 'ip:192.169.0.0-255.255.255.255', 'all'],
      ['shop/web', 'other/spy', 'all'],
    ])
    expect(new Set(d.removed.flatMap((c) => c.because))).toEqual(
      new Set([expect.stringMatching(/^NetworkPolicy shop\/web-out added/)]),
    )
  })

  it('names all changes together when none does it alone', () => {
    const both = [
      policy(
        'a',
        '{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}',
      ),
      policy(
        'b',
        '{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}',
      ),
    ]
    const d = diff(
      both,
      both.map((p) => p.replace('app: web', 'app: nobody')),
    )
    expect(d.removed.map((c) => c.because.length)).toEqual([2, 2, 2])
  })

  it('tells a change of labels from a change of policies', () => {
    const d = diff(
      [DB],
      [DB],
      ['shop/web app=web', 'shop/db app=db', 'other/spy app=spy', 'shop/spare app=web'],
      ['shop/web app=web', 'shop/db app=db', 'other/spy app=spy', 'shop/spare app=spare'],
    )
    expect(d.added).toEqual([
      {
        src: 'shop/spare',
        dst: 'shop/db',
        protocol: 'TCP',
        ports: '5432',
        because: ['the pods, their labels or their namespaces changed'],
      },
    ])
  })

  it('lists ends that are new or gone', () => {
    const d = diff([DB], [DB], ['shop/web app=web', 'shop/db app=db', 'shop/new app=new'])
    expect(d.ends).toEqual({ added: ['shop/new'], removed: ['other/spy'] })
    expect(d.added.find((c) => c.dst === 'shop/new')?.because).toEqual(['shop/new is new'])
    expect(d.removed.find((c) => c.src === 'other/spy' && c.dst === 'shop/web')?.because).toEqual(['other/spy is gone'])
  })

  it('prints one line for all protocols', () => {
    const text = (name: string): string =>
      DIFF_FORMATS.find((f) => f.name === name)!.render(diff([DB], [DB_SSH, WEB_OUT]), plain)
    expect(text('text')).toMatch(/^\+ shop\/web -> shop\/db TCP\/22\n {4}NetworkPolicy shop\/db changed/)
    expect(text('text')).toContain('- shop/web -> other/spy all ports\n')
    expect(text('md')).toContain('| ➖ | shop/web | other/spy | all ports | NetworkPolicy shop/web-out added')
  })
})
