/**
 * The rules of the house that a reader can rely on: imports go one way, the packet path imports no package, files stay
 * small and begin with what they are about.
 */
import { describe, expect, it } from '@jest/globals'
import { importsOf, readSources, type Source } from './sources.ts'

const SOURCES = readSources()

/** Rooms from the ground up: a room may use those of lower rank and itself. */
const RANK: { readonly [room: string]: number } = {
  ...{
    diagnostics: 0,
    addr: 0,
    wire: 1,
    packet: 2,
    linux: 3,
    bgp: 4,
    kubernetes: 4,
    lab: 4,
    apps: 4,
    policy: 5,
    cni: 5,
    proxy: 5,
    ingress: 5,
  },
  ...{ cluster: 6, engine: 6, traffic: 6, query: 7, report: 8, cli: 9, web: 9, sweep: 9, 'index.ts': 9 },
}
/** The packet path. */
const HOT_ROOMS = ['packet', 'linux']
/** Packages and the only rooms that may import them. */
const PACKAGE_ROOMS: { readonly [name: string]: readonly string[] } = {
  'ip-num': ['addr'],
  netmask: ['addr'],
  yaml: ['kubernetes', 'report'],
  commander: ['cli'],
  'dns-packet': ['wire'],
}
const MAX_LINES = 600
const MAX_COMMAND_LINES = 120
const MAX_MEDIAN_LINES = 150
const MAX_HEADER_LINES = 22

const packageName = (specifier: string): string =>
  specifier.startsWith('@') ? specifier.split('/').slice(0, 2).join('/') : specifier.split('/')[0]!

describe('imports', () => {
  it('finds static, type, side-effect, re-exported and dynamic imports', () => {
    const text = `import { a } from './a.ts'\nimport type { B } from './b.ts'\nimport './c.ts'\nexport * from './d.ts'\nconst e = await import('./e.ts')\nimport {\n  f,\n} from './f.ts'\n/* import x from './no.ts' */`
    expect(
      importsOf(text)
        .map((i) => i.specifier)
        .sort(),
    ).toEqual(['./a.ts', './b.ts', './c.ts', './d.ts', './e.ts', './f.ts'])
  })

  it('knows the rank of every room', () => {
    expect([...new Set(SOURCES.map((s) => s.room))].filter((room) => RANK[room] === undefined)).toEqual([])
  })

  it('go one way: never to a room above', () => {
    const wrong = SOURCES.flatMap((s) =>
      s.imports.filter((i) => RANK[roomOf(i.path)]! > RANK[s.room]!).map((i) => `${s.path} -> ${i.path}`),
    )
    expect(wrong).toEqual([])
  })

  it('lead to files that exist', () => {
    const known = new Set(SOURCES.map((s) => s.path))
    expect(
      SOURCES.flatMap((s) => s.imports.filter((i) => !known.has(i.path)).map((i) => `${s.path} -> ${i.path}`)),
    ).toEqual([])
  })

  it('bring no package into the packet path, not even one of Node', () => {
    expect(
      SOURCES.filter((s) => HOT_ROOMS.includes(s.room) && s.packages.length > 0).map(
        (s) => `${s.path}: ${s.packages.join(' ')}`,
      ),
    ).toEqual([])
  })

  it('bring each package into its own room only, and none that is not listed', () => {
    const wrong = SOURCES.flatMap((s) =>
      s.packages
        .filter((p) => !p.startsWith('node:') && PACKAGE_ROOMS[packageName(p)]?.includes(s.room) !== true)
        .map((p) => `${s.path}: ${p}`),
    )
    expect(wrong).toEqual([])
  })
})

describe('files', () => {
  it(`have at most ${MAX_LINES} lines`, () => {
    expect(SOURCES.filter((s) => s.lines > MAX_LINES).map((s) => `${s.path}: ${s.lines}`)).toEqual([])
  })

  it(`have ${MAX_MEDIAN_LINES} lines or fewer in the middle`, () => {
    const sizes = SOURCES.map((s) => s.lines).sort((a, b) => a - b)
    expect(sizes[sizes.length >> 1]).toBeLessThanOrEqual(MAX_MEDIAN_LINES)
  })

  it(`of commands have at most ${MAX_COMMAND_LINES} lines`, () => {
    const commands = SOURCES.filter((s) => s.path.startsWith('src/cli/commands/'))
    expect(commands.length).toBeGreaterThan(5)
    expect(commands.filter((s) => s.lines > MAX_COMMAND_LINES).map((s) => `${s.path}: ${s.lines}`)).toEqual([])
  })

  it('begin with a comment that says what they are about, and not for pages', () => {
    expect(SOURCES.filter((s) => !isHeaded(s)).map((s) => s.path)).toEqual([])
  })

  it('print in the command line only', () => {
    expect(
      SOURCES.filter(
        (s) => s.room !== 'cli' && /\bconsole\.\w+\(|process\.std(?:out|err)\.write/.test(withoutComments(s.text)),
      ).map((s) => s.path),
    ).toEqual([])
  })

  it('export by name only and have no enum', () => {
    expect(
      SOURCES.filter((s) => /^export default|^(?:export )?(?:const )?enum /m.test(withoutComments(s.text))).map(
        (s) => s.path,
      ),
    ).toEqual([])
  })
})

function roomOf(path: string): string {
  return path.split('/')[1]!
}

function withoutComments(text: string): string {
  return text
    .replaceAll(/\/\*[\s\S]*?\*\//g, '')
    .replaceAll(/\/\/.*$/gm, '')
    .replaceAll(/'[^'\n]*'|`[^`]*`/g, "''")
}

function isHeaded(s: Source): boolean {
  const text = s.text.replace(/^#!.*\n/, '')
  const end = text.indexOf('*/')
  return text.startsWith('/**') && end > 0 && text.slice(0, end).split('\n').length <= MAX_HEADER_LINES
}
