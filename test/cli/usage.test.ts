/**
 * The command line itself: help, wrong use, wrong input, exit codes, streams.
 */
import { spawn, spawnSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { podwalk } from './run-cli.ts'

const SHOP = 'topologies/01-shop.yaml'
const STACK = /\n\s+at \S+/

let folder = ''
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'podwalk-cli-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function file(name: string, text: string | Uint8Array): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

describe('help', () => {
  it.each([['trace'], ['exec'], ['get'], ['explain'], ['schema'], ['completion']])(
    '%s shows three examples before anything else',
    (command) => {
      const { status, stdout } = podwalk([command, '--help'])
      expect(status).toBe(0)
      expect(stdout.indexOf('Examples:')).toBeLessThan(stdout.indexOf('Usage:'))
      expect(stdout.slice(0, stdout.indexOf('Usage:')).match(/podwalk /g)!.length).toBeGreaterThanOrEqual(3)
    },
  )

  it('lists the commands that work and no other', () => {
    const { stdout } = podwalk(['--help'])
    for (const command of [
      'trace',
      'reach',
      'why',
      'advise',
      'check',
      'diff',
      'lint',
      'exec',
      'get',
      'lab',
      'bgp',
      'explain',
      'schema',
      'completion',
      'version',
    ])
      expect(stdout).toMatch(new RegExp(`^  ${command}`, 'm'))
    for (const later of ['compare', 'ebpf']) expect(stdout).not.toMatch(new RegExp(`^  ${later}`, 'm'))
  })

  it('prints the version of package.json', () => {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
      version: string
    }
    expect(podwalk(['--version']).stdout).toBe(`${version}\n`)
    expect(podwalk(['version']).stdout).toContain(`podwalk ${version} (node `)
  })
})

describe('wrong use ends with 2 and a hint', () => {
  it.each<[string, string[], RegExp]>([
    ['no command', [], /Usage:/],
    ['an unknown command', ['trase'], /Did you mean trace/],
    ['an unknown option', ['trace', 'a', 'b', '-f', SHOP, '--expekt', 'DROPPED'], /Did you mean --expect/],
    ['a missing argument', ['trace', 'a', '-f', SHOP], /missing required argument 'dst'/],
    ['no manifests', ['trace', 'a', 'b'], /no manifests[\s\S]*-f/],
    ['an unknown format', ['trace', 'a', 'b', '-f', SHOP, '-o', 'jsn'], /Did you mean json/],
    ['an unknown verdict', ['trace', 'a', 'b', '-f', SHOP, '--expect', 'DELIVERD'], /Did you mean DELIVERED/],
    ['an unknown protocol', ['trace', 'a', 'b', '-f', SHOP, '--proto', 'tpc'], /Did you mean tcp/],
    ['a port out of range', ['trace', 'a', 'b', '-f', SHOP, '--sport', '70000'], /1-65535/],
    ['a node count that is no number', ['trace', 'a', 'b', '-f', SHOP, '--nodes', 'two'], /1-100000/],
    ['a setting without a value', ['trace', 'a', 'b', '-f', SHOP, '--set', 'mtu'], /path=value/],
    ['a CNI that is mistyped', ['get', 'pods', '-f', SHOP, '--cni', 'flanel'], /did you mean flannel\?/],
    [
      'a proxy mode that is mistyped',
      ['get', 'pods', '-f', SHOP, '--proxy-mode', 'nftable'],
      /did you mean nftables\?/,
    ],
    ['a proxy mode of no meaning', ['get', 'pods', '-f', SHOP, '--proxy-mode', 'qqqq'], /no such name/],
    ['two CNIs', ['trace', 'a', 'b', '-f', SHOP, '--cni', 'kubenet,flannel'], /takes one name/],
    ['an unknown table', ['get', 'nodez', '-f', SHOP], /Did you mean nodes/],
    ['an unknown reason', ['explain', 'NETFILTER_REJET'], /did you mean NETFILTER_REJECT/],
    ['an unknown schema', ['schema', 'Trase'], /did you mean Trace/],
    ['an unknown shell', ['completion', 'tcsh'], /bash, zsh, fish/],
    ['a colour that is none', ['explain', '--color', 'sometimes'], /auto, always, never/],
  ])('%s', (_what, args, message) => {
    const { status, stdout, stderr } = podwalk(args)
    expect([status, stdout]).toEqual([2, ''])
    expect(stderr).toMatch(message)
    expect(stderr).not.toMatch(STACK)
  })
})

describe('wrong input ends with 3, every problem with its place, never a stack', () => {
  const ask = (...args: string[]): ReturnType<typeof podwalk> => podwalk(['trace', 'a/b', 'svc/a/c:80', ...args])

  it('names a file that is not there', () => {
    const { status, stdout, stderr } = ask('-f', 'no/such.yaml')
    expect([status, stdout]).toEqual([3, ''])
    expect(stderr).toMatch(/no\/such\.yaml: error: .*no such file/)
  })

  it('shows all errors of all files at once', () => {
    const broken = file('broken.yaml', 'apiVersion: v1\nkind: Service\nmetadata:\n  name: x\n   bad: indent\n')
    const wrong = file(
      'wrong.yaml',
      'apiVersion: v1\nkind: Service\nmetadata: {name: api, namespace: shop}\nspec:\n  selector: 7\n  ports:\n  - port: 99999\n  - port: "80"\n',
    )
    const { status, stderr } = ask('-f', broken, '-f', wrong)
    expect(status).toBe(3)
    expect(stderr).toMatch(/broken\.yaml:\d+:\d+: error/)
    expect(stderr).toMatch(/wrong\.yaml:5:\d+: error: spec\.selector/)
    expect(stderr).toMatch(/wrong\.yaml:7:\d+: error: spec\.ports\[0\]\.port/)
    expect(stderr).toMatch(/wrong\.yaml:8:\d+: error: spec\.ports\[1\]\.port/)
    expect(stderr).toMatch(/podwalk: \d+ errors in the input/)
    expect(stderr).not.toMatch(STACK)
  })

  it.each<[string, () => string | Uint8Array, RegExp]>([
    ['an empty file', () => '', /nothing in/],
    ['text that is no manifest', () => 'hello there\n', /expected an object/],
    ['bytes that are no text', () => Uint8Array.from({ length: 100_000 }, (_, i) => (i * 7919) & 255), /UTF-8|NUL/],
    ['ten megabytes of junk', () => 'x: [\n'.repeat(2_000_000), /error/],
    [
      'an alias bomb',
      () =>
        `a: &a [x,x,x,x,x,x,x,x,x]\n${'bcdefghij'
          .split('')
          .map((c, i) => `${c}: &${c} [${Array(9).fill(`*${'abcdefghij'[i]}`).join(',')}]`)
          .join('\n')}\n`,
      /alias/i,
    ],
    [
      'a pod on a node that is not there',
      () => pod('nodeName: nowhere'),
      /expected a node of the cluster, found "nowhere"/,
    ],
    ['a pod that fits no node', () => pod('nodeSelector: {disk: ssd}'), /cannot be scheduled/],
    [
      'CIDRs that overlap',
      () => `${cluster('podCIDR: 10.96.0.0/16\n  serviceCIDR: 10.96.0.0/12')}---\n${pod('')}`,
      /overlap/,
    ],
    [
      'a pod CIDR that is used up',
      () =>
        `${cluster('nodes: 1\n  nodeCIDRMaskSize: 30')}---\n${pod('')}---\n${pod('').replace('name: p', 'name: q')}---\n${pod('').replace('name: p', 'name: r')}`,
      /no IP addresses available/,
    ],
    ['a CIDR that is none', () => `${cluster('podCIDR: 10.244.0.0/99')}---\n${pod('')}`, /CIDR/],
  ])(
    '%s',
    (what, text, message) => {
      const { status, stdout, stderr } = ask('-f', file(`${what.replaceAll(' ', '-')}.yaml`, text()))
      expect([status, stdout]).toEqual([3, ''])
      expect(stderr).toMatch(message)
      expect(stderr).not.toMatch(STACK)
    },
    60_000,
  )

  it.each<[string, string, string, RegExp]>([
    ['a pod', 'shop/webb', 'svc/shop/api:80', /shop\/webb/],
    ['a Service', 'deploy/shop/web', 'svc/shop/apii:80', /api/],
    ['a name in DNS', 'deploy/shop/web', 'nobody.example:80', /nobody\.example/],
    ['a workload', 'deploy/shop/wep', 'svc/shop/api:80', /web/],
  ])('%s that is not there is named, with what is near', (_what, src, dst, message) => {
    const { status, stdout, stderr } = podwalk(['trace', src, dst, '-f', SHOP])
    expect([status, stdout]).toEqual([3, ''])
    expect(stderr).toMatch(message)
    expect(stderr).not.toMatch(STACK)
  })

  it('judges --set by the schema of the Cluster object', () => {
    const { status, stderr } = podwalk(['get', 'nodes', '-f', SHOP, '--set', 'mtu=huge'])
    expect(status).toBe(3)
    expect(stderr).toMatch(/--set mtu: error/)
  })
})

it('reads a manifest behind a long comment in no time', () => {
  const path = file(
    'comment.yaml',
    `${'# a line of a licence, a story\n'.repeat(200)}${cluster('nodes: 1')}---\n${pod('')}`,
  )
  expect(podwalk(['get', 'nodes', '-f', path]).status).toBe(0)
})

describe('streams', () => {
  it('reads manifests from stdin', () => {
    const { status, stdout } = podwalk(['get', 'services', '-f', '-'], {
      stdin: readFileSync(new URL('../../topologies/01-shop.yaml', import.meta.url)),
    })
    expect(status).toBe(0)
    expect(stdout).toMatch(/shop +api +ClusterIP/)
  })

  it('writes to -w what it would print, and prints nothing', () => {
    const path = join(folder, 'nodes.json')
    const { stdout } = podwalk(['get', 'nodes', '-f', SHOP, '-o', 'json', '-w', path])
    expect(stdout).toBe('')
    expect(readFileSync(path, 'utf8')).toBe(podwalk(['get', 'nodes', '-f', SHOP, '-o', 'json']).stdout)
  })

  it('says when stdout is full: no bug of ours', () => {
    if (process.platform !== 'linux') return
    const full = openSync('/dev/full', 'w')
    const main = fileURLToPath(new URL('../../dist/bundle/main.js', import.meta.url))
    const { status, stderr } = spawnSync(process.execPath, [main, 'explain', 'LOOP'], {
      stdio: ['ignore', full, 'pipe'],
      encoding: 'utf8',
    })
    closeSync(full)
    expect(stderr).toMatch(/^podwalk: cannot write to stdout: ENOSPC/)
    expect(status).toBe(2)
  })

  it('points to the help of the command that was used wrongly', () => {
    expect(podwalk(['lab', 'check', 'x.json']).stderr).toMatch('(podwalk lab check --help shows what there is)')
    expect(podwalk(['get', 'pods', '--nope']).stderr).toMatch('(podwalk get --help shows what there is)')
  })

  it('says when it cannot write', () => {
    const { status, stderr } = podwalk(['get', 'nodes', '-f', SHOP, '-w', join(folder, 'no', 'such', 'folder')])
    expect(status).toBe(2)
    expect(stderr).toMatch(/cannot write/)
  })

  it.each<[string[], { [name: string]: string }, boolean]>([
    [[], {}, false],
    [[], { FORCE_COLOR: '1' }, true],
    [[], { FORCE_COLOR: '0' }, false],
    [[], { NO_COLOR: '1', FORCE_COLOR: '1' }, false],
    [['--color', 'always'], { NO_COLOR: '1' }, true],
    [['--color', 'never'], { FORCE_COLOR: '1' }, false],
  ])('colours with %j and %j: %s', (args, env, expected) => {
    const { stdout } = podwalk(['get', 'nodes', '-f', SHOP, ...args], { env })
    expect(stdout.includes('\x1b[')).toBe(expected)
  })

  it('ends quietly when its reader goes away', async () => {
    const main = fileURLToPath(new URL('../../dist/bundle/main.js', import.meta.url))
    const child = spawn(process.execPath, [main, 'explain', '-o', 'json'], { stdio: ['ignore', 'pipe', 'pipe'] })
    child.stdout.destroy()
    let stderr = ''
    child.stderr.on('data', (d) => {
      stderr += String(d)
    })
    const status = await new Promise((resolve) => child.on('close', resolve))
    expect([status, stderr]).toEqual([0, ''])
  })
})

function cluster(spec: string): string {
  return `apiVersion: podwalk.dev/v1alpha1\nkind: Cluster\nmetadata: {name: c}\nspec:\n  ${spec}\n`
}

function pod(spec: string): string {
  return `apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: a}\nspec:\n  containers: [{name: c, image: i}]\n${spec === '' ? '' : `  ${spec}\n`}`
}
