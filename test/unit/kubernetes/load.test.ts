import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { formatDiagnostic } from '../../../src/diagnostics/diagnostic.ts'
import { loadInputs, loadText } from '../../../src/kubernetes/load.ts'
import { documentRanges } from '../../../src/kubernetes/yaml.ts'

const object = (name: string) => `apiVersion: v1\nkind: Namespace\nmetadata:\n  name: ${name}\n`
const names = (loaded: ReturnType<typeof loadText>) => loaded.objects.map((o) => o.object.metadata.name)
const place = (at: { line: number; col: number }) => `${at.line}:${at.col}`

describe('documents', () => {
  it('are cut at markers and keep their lines', () => {
    const loaded = loadText(
      `# first\n---\n${object('a')}---\n# only a comment\n---\n\n${object('b')}...\n---  # c\n${object('c')}`,
    )
    expect(names(loaded)).toEqual(['a', 'b', 'c'])
    expect(loaded.objects.map((o) => place(o.source))).toEqual(['3:1', '11:1', '17:1'])
    expect(loaded.diagnostics).toEqual([])
  })
  it('may begin with directives, a byte order mark, or use CRLF', () => {
    expect(names(loadText(`%YAML 1.2\n---\n${object('a')}`))).toEqual(['a'])
    expect(names(loadText(`${object('a')}---\n${object('b')}`.replaceAll('\n', '\r\n')))).toEqual(['a', 'b'])
  })
  it('are not cut inside block scalars', () => {
    const text = `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  x: |\n    ---\n    a: b\n    --- c\n`
    expect(documentRanges(text)).toHaveLength(1)
    expect(loadText(text).objects[0]!.object.data).toEqual({ x: '---\na: b\n--- c\n' })
  })
  it('hide no other when one is broken', () => {
    const loaded = loadText(`${object('a')}---\nx: [\n---\n${object('b')}`)
    expect(names(loaded)).toEqual(['a', 'b'])
    expect(loaded.diagnostics).toHaveLength(1)
    expect(loaded.diagnostics[0]!.line).toBe(7)
  })
  it('resolve scalars as kubectl does, but a bare y stays text', () => {
    const loaded = loadText(
      'apiVersion: v1\nkind: X\na: [yes, no, on, off, y, 0755, 0x1f, 1e3, "yes", 22:22, 1_000, -0b11, 2026-01-02, ~]\n',
    )
    expect(loaded.objects[0]!.object.a).toEqual([
      true,
      false,
      true,
      false,
      'y',
      493,
      31,
      1000,
      'yes',
      '22:22',
      1000,
      -3,
      '2026-01-02',
      null,
    ])
  })
  it('apply merge keys and aliases, and find their places', () => {
    const loaded = loadText('apiVersion: v1\nkind: X\nbase: &b\n  one: 1\nuse:\n  <<: *b\n  two: 2\nalso: *b\n')
    const x = loaded.objects[0]!
    expect(x.object.use).toEqual({ one: 1, two: 2 })
    expect(place(x.positionOf(['use', 'one']))).toBe('4:3')
    expect(place(x.positionOf(['use', 'two']))).toBe('7:3')
    expect(place(x.positionOf(['also', 'one']))).toBe('4:3')
  })
})

describe('lists', () => {
  it('give their items, with places, in YAML', () => {
    const loaded = loadText(
      `apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Namespace\n  metadata: {name: a}\n- apiVersion: v1\n  kind: Namespace\n  metadata:\n    name: b\n`,
    )
    expect(names(loaded)).toEqual(['a', 'b'])
    expect(place(loaded.objects[1]!.source)).toBe('7:3')
    expect(place(loaded.objects[1]!.positionOf(['metadata', 'name']))).toBe('10:5')
    expect(place(loaded.objects[1]!.positionOf(['metadata', 'missing', 'deep']))).toBe('9:3')
  })
  it('give their items, with places, in JSON', () => {
    const text = JSON.stringify(
      {
        apiVersion: 'v1',
        kind: 'List',
        items: ['a', 'b"}', 'c\\'].map((name) => ({
          apiVersion: 'v1',
          kind: 'Namespace',
          metadata: { name, labels: { 'x/y': 'z' } },
        })),
      },
      null,
      2,
    )
    const loaded = loadText(text, 'l.json')
    expect(names(loaded)).toEqual(['a', 'b"}', 'c\\'])
    const lines = text.split('\n')
    const at = loaded.objects[2]!.positionOf(['metadata', 'labels', 'x/y'])
    expect(lines[at.line - 1]!.slice(at.col - 1)).toBe('"z"')
    const start = loaded.objects[1]!.source
    expect(lines[start.line - 1]!.slice(start.col - 1)).toBe('{')
  })
  it('may be typed, nested, and name no kind in their items', () => {
    const loaded = loadText(
      '{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"PodList","items":[{"metadata":{"name":"p"}}]}]}',
    )
    expect(loaded.objects[0]!.object).toMatchObject({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p' } })
  })
  it('may be a stream of JSON values', () => {
    const one = (name: string) => JSON.stringify({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } })
    const loaded = loadText(`${one('a')}\n${one('b')}${one('c')}`)
    expect(names(loaded)).toEqual(['a', 'b', 'c'])
    expect(place(loaded.objects[2]!.source)).toBe(`2:${one('b').length + 1}`)
  })
  it('of two thousand items keep every place', () => {
    const items = Array.from(
      { length: 2000 },
      (_, i) => `- apiVersion: v1\n  kind: Namespace\n  metadata: {name: n${i}}\n`,
    )
    const loaded = loadText(`apiVersion: v1\nitems:\n${items.join('')}kind: List\n`)
    expect(loaded.objects).toHaveLength(2000)
    expect(place(loaded.objects[1999]!.source)).toBe(`${3 + 1999 * 3}:3`)
    expect(place(loaded.objects[1999]!.positionOf(['metadata', 'name']))).toBe(`${3 + 1999 * 3 + 2}:14`)
  })
})

describe('inputs', () => {
  let dir = ''
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'podwalk-load-'))
    mkdirSync(join(dir, 'sub', '.hidden'), { recursive: true })
    writeFileSync(join(dir, 'b.yaml'), object('b'))
    writeFileSync(join(dir, 'a.yml'), object('a'))
    writeFileSync(join(dir, 'sub', 'c.json'), '{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"c"}}')
    writeFileSync(join(dir, 'sub', 'values.yaml'), 'replicas: 3\n')
    writeFileSync(join(dir, 'sub', 'readme.txt'), 'not: loaded')
    writeFileSync(join(dir, 'sub', '.hidden', 'd.yaml'), object('d'))
    symlinkSync(dir, join(dir, 'sub', 'loop'))
    writeFileSync(join(dir, 'utf16.yaml.txt'), Buffer.from('\ufeffkind: X', 'utf16le'))
    writeFileSync(join(dir, 'binary.txt'), Buffer.from([0x61, 0x0a, 0x62, 0x00, 0xff]))
    writeFileSync(join(dir, 'latin1.txt'), Buffer.from([0x61, 0x0a, 0x62, 0xe9, 0x0a]))
    writeFileSync(join(dir, 'empty.txt'), '')
  })
  afterAll(() => rmSync(dir, { recursive: true }))
  const errors = (paths: string[]) =>
    loadInputs(paths).diagnostics.map((d) => formatDiagnostic(d).replaceAll(dir, 'DIR'))

  it('read directories recursively, in name order, once around a loop', () => {
    const loaded = loadInputs([dir])
    expect(names(loaded)).toEqual(['a', 'b', 'c'])
    expect(loaded.diagnostics.map((d) => `${d.severity} ${d.code}`)).toEqual(['warning not-an-object'])
  })
  it('read each file once', () => {
    expect(names(loadInputs([join(dir, 'a.yml'), dir, join(dir, 'a.yml')]))).toEqual(['a', 'b', 'c'])
  })
  it.each([
    ['*.yaml', ['b']],
    ['*.y{a,}ml', ['a', 'b']],
    ['[ab].y*ml', ['a', 'b']],
    ['**/c.json', ['c']],
    ['s?b/c.json', ['c']],
  ])('expand %s', (pattern, expected) => {
    expect(names(loadInputs([join(dir, pattern)])).sort()).toEqual(expected)
  })
  it('read stdin', () => {
    const loaded = loadInputs(['-'], { readStdin: () => Buffer.from(object('in')) })
    expect(names(loaded)).toEqual(['in'])
    expect(loaded.objects[0]!.source).toEqual({ file: '-', line: 1, col: 1 })
  })
  it('leave nothing out silently: a link that leads nowhere in a directory is an error', () => {
    const other = mkdtempSync(join(tmpdir(), 'podwalk-links-'))
    writeFileSync(join(other, 'a.yaml'), object('a'))
    symlinkSync(join(other, 'gone.yaml'), join(other, 'policy.yaml'))
    const found = loadInputs([other]).diagnostics.map((d) => formatDiagnostic(d).replaceAll(other, 'DIR'))
    rmSync(other, { recursive: true })
    expect(found).toEqual([
      'DIR/policy.yaml: error: expected a file, found a link that leads nowhere or may not be followed [input-not-found]',
    ])
  })
  it('say what cannot be read, all at once', () => {
    expect(
      errors([
        join(dir, 'none.yaml'),
        join(dir, '*.nope'),
        join(dir, 'binary.txt'),
        join(dir, 'latin1.txt'),
        join(dir, 'utf16.yaml.txt'),
      ]),
    ).toEqual([
      'DIR/*.nope: error: expected files matching the pattern, found none [input-not-found]',
      'DIR/binary.txt:2:2: error: expected UTF-8 text, found a NUL byte [not-text]',
      'DIR/latin1.txt:2:2: error: expected UTF-8 text, found bytes that are not UTF-8 [not-text]',
      'DIR/none.yaml: error: no such file or directory [input-not-found]',
      'DIR/utf16.yaml.txt:1:1: error: expected UTF-8 text, found UTF-16 [not-text]\n  hint: PowerShell redirection writes UTF-16: use Out-File -Encoding utf8',
    ])
  })
  it('end, also when a device does not', () => {
    if (process.platform !== 'linux') return
    expect(errors(['/dev/zero'])).toEqual(['/dev/zero: error: cannot be read: larger than 400 MiB [input-unreadable]'])
    expect(errors(['/dev/null'])[0]).toMatch('found nothing in /dev/null')
  })
  it('take a List without items', () => {
    const empty = loadText(`apiVersion: v1\nkind: List\nitems: null\n---\n${object('a')}`)
    expect(names(empty)).toEqual(['a'])
    expect(empty.diagnostics).toEqual([])
  })
  it('say that there is nothing', () => {
    expect(errors([join(dir, 'empty.txt')])[0]).toMatch(
      'expected Kubernetes objects, found nothing in DIR/empty.txt [empty-input]',
    )
    expect(errors([])[0]).toMatch('expected Kubernetes objects, found no input [empty-input]')
  })
})
