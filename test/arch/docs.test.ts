/**
 * Documents that are made from the sources stay equal to them: reasons, feature tables, the list of commands.
 * `UPDATE_GOLDEN=1` rewrites the generated parts.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { COMMANDS } from '../../src/cli/program.ts'
import { COMMAND_NAMES } from '../../src/cluster/exec.ts'
import { FEATURE_PAGES } from '../../src/cluster/features.ts'
import { CNI_DRIVERS } from '../../src/cni/registry.ts'
import { REASONS } from '../../src/linux/reasons.ts'
import { PROXY_MODES } from '../../src/proxy/registry.ts'
import { featureTable, supportTable } from '../../src/report/features.ts'
import { TRACE_FORMATS } from '../../src/report/formats.ts'
import { reasonsMarkdown } from '../../src/report/reason.ts'
import { podwalk } from '../cli/run-cli.ts'
import { conformanceMarkdown } from '../support/conformance.ts'
import { filesBelow, ROOT } from './sources.ts'

const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8')

/** Expects the part of a page between its markers to be `text`. */
function expectPart(path: string, name: string, text: string): void {
  const page = read(path)
  const [start, end] = [`<!-- ${name} -->\n`, `<!-- /${name.split(':')[0]} -->`]
  const from = page.indexOf(start) + start.length
  const to = page.indexOf(end, from)
  expect([path, page.includes(start), to > 0]).toEqual([path, true, true])
  if (process.env.UPDATE_GOLDEN === '1') writeFileSync(join(ROOT, path), page.slice(0, from) + text + page.slice(to))
  else expect(page.slice(from, to)).toBe(text)
}

describe('docs', () => {
  it('docs/reasons.md is what src/linux/reasons.ts says', () => {
    if (process.env.UPDATE_GOLDEN === '1') writeFileSync(join(ROOT, 'docs/reasons.md'), reasonsMarkdown())
    expect(read('docs/reasons.md')).toBe(reasonsMarkdown())
  })

  it('docs/conformance.md lists every fixture and what it proves', () => {
    if (process.env.UPDATE_GOLDEN === '1') writeFileSync(join(ROOT, 'docs/conformance.md'), conformanceMarkdown())
    expect(read('docs/conformance.md')).toBe(conformanceMarkdown())
  })

  it.each([
    ...CNI_DRIVERS.map((d) => [`docs/${d.name}.md`, d.name, d.features] as const),
    ...PROXY_MODES.map((m) => [`docs/proxy-${m.name}.md`, m.name, m.features] as const),
    ...FEATURE_PAGES.map((p) => [p.page, p.name, p.features] as const),
  ])('%s has the features that %s declares', (path, name, features) => {
    expectPart(path, `features:${name}`, featureTable(features))
  })

  it('the README says what is supported and what is not', () => {
    const parts = [
      ...CNI_DRIVERS.map((d) => ({ title: `CNI ${d.name}`, features: d.features })),
      ...PROXY_MODES.map((m) => ({ title: `kube-proxy ${m.name}`, features: m.features })),
      ...FEATURE_PAGES,
    ]
    expectPart('README.md', 'support', supportTable(parts))
  })

  it('docs/adding-a-driver.md shows the sample driver as it is', () => {
    const page = 'docs/adding-a-driver.md'
    expectPart(
      page,
      'sample:driver',
      read('test/support/sample-driver.ts').replaceAll('../../src/cni/', '../').replaceAll('../../src/', '../../'),
    )
  })

  it.each([
    ['demo', ['trace', 'deploy/shop/web', 'svc/shop/api:80', '-f', 'topologies/01-shop.yaml', '--flow'], 'stdout'],
    ['rejected', ['trace', 'platform/tools', 'svc/platform/checkout:80', '-f', 'topologies/02-edges.yaml'], 'stdout'],
    ['badinput', ['get', 'pods', '-f', 'test/fixtures/cli/bad.yaml'], 'stderr'],
  ] as const)('the README shows what podwalk really prints: %s', (part, args, stream) => {
    const shown = podwalk(args)[stream]
    const text = part === 'rejected' ? shown.slice(shown.indexOf('✗'), shown.indexOf('reply')) : shown
    const command = part === 'badinput' ? `$ podwalk ${args.join(' ')}\n` : ''
    expectPart('README.md', part, `\`\`\`\n${command}${text.trimEnd()}\n\`\`\`\n`)
  })

  it.each([
    [
      'docs/dns.md',
      'nslookup',
      ['exec', 'shop/db-0', '-f', 'test/fixtures/coredns/cluster.yaml', '--', 'nslookup', 'api'],
      '',
    ],
    [
      'docs/ingress.md',
      'http',
      [
        'trace',
        'internet',
        '--http',
        'GET',
        'https://shop.example.com/api/v1',
        '-f',
        'topologies/32-ingress-nginx.yaml',
      ],
      'HTTP 200',
    ],
    [
      'docs/load-balancers.md',
      'metallb',
      ['trace', 'internet', 'svc/apps/web:80', '-f', 'topologies/30-metallb.yaml'],
      '',
    ],
  ] as const)('%s shows what podwalk really prints: %s', (page, part, args, from) => {
    const { stdout } = podwalk(args)
    const end = part === 'metallb' ? stdout.indexOf('reply') : undefined
    const text = stdout.slice(from === '' ? 0 : stdout.indexOf(from), end).trimEnd()
    expectPart(page, `shown:${part}`, `\`\`\`\n$ podwalk ${args.join(' ')}\n${text}\n\`\`\`\n`)
  })

  it('the command of npm start is the one whose output the README shows', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: { start: string } }
    expect(scripts.start).toContain('trace deploy/shop/web svc/shop/api:80 -f topologies/01-shop.yaml --flow')
  })

  it('the README names every command, format and tool', () => {
    const readme = read('README.md')
    for (const { name } of COMMANDS) expect(readme).toContain(`podwalk ${name}`)
    for (const { name } of TRACE_FORMATS) expect(readme).toMatch(new RegExp(`\\b${name}\\b`))
    for (const name of COMMAND_NAMES.filter((t) => !t.includes('legacy'))) expect(readme).toContain(`\`${name}`)
  })

  it('every link between our pages leads somewhere', () => {
    const pages = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', ...filesBelow('docs', '.md')]
    for (const page of pages) {
      for (const [, target] of read(page).matchAll(/\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)/g)) {
        expect([page, target, () => read(join(page, '..', target!))]).toEqual([page, target, expect.any(Function)])
        expect(() => read(join(page, '..', target!))).not.toThrow()
      }
    }
  })
})

describe('reasons', () => {
  const rows = REASONS.filter((r) => r !== undefined)

  it('have a code and a name of their own, a sentence and a hint', () => {
    expect(new Set(rows.map((r) => r.symbol)).size).toBe(rows.length)
    expect(rows.map((r) => REASONS.indexOf(r))).toEqual(rows.map((r) => r.code))
    for (const r of rows) {
      expect(r.symbol).toMatch(/^[A-Z][A-Z0-9_]*$/)
      expect(r.text).toMatch(/^[A-Z].*\.$/)
      expect(r.hint.length).toBeGreaterThan(3)
    }
  })
})

describe('topologies', () => {
  it.each(filesBelow('topologies', '.yaml'))('%s tells a story and says what it expects', (path) => {
    const text = read(path)
    expect(path).toMatch(/\/\d\d-[a-z-]+\.yaml$/)
    expect(text).toMatch(/^# .+\n(?:#.*\n)*# The story: /)
    expect(text).toMatch(/^ {2}expect:\n/m)
  })
})
