/**
 * The project's source files and what they import, for tests of the architecture.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** One source file. */
export interface Source {
  /** From the project's folder: `src/linux/world.ts`. */
  readonly path: string
  /** First folder below src (`linux`), or the file's own name. */
  readonly room: string
  readonly text: string
  readonly lines: number
  /** Files of the project, by path. */
  readonly imports: readonly { readonly path: string; readonly isType: boolean }[]
  /** Packages, `node:` ones included. */
  readonly packages: readonly string[]
}

/** Files below a folder with this ending, sorted. */
export function filesBelow(folder: string, ending: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(ending))
    .map((name) => join(folder, name))
    .sort()
}

/** Every file of src. */
export function readSources(): Source[] {
  return filesBelow('src', '.ts').map(readSource)
}

function readSource(path: string): Source {
  const text = readFileSync(join(ROOT, path), 'utf8')
  const imports: Source['imports'][number][] = []
  const packages: string[] = []
  for (const { specifier, isType } of importsOf(text)) {
    if (specifier.startsWith('.')) imports.push({ path: relative(ROOT, join(ROOT, dirname(path), specifier)), isType })
    else packages.push(specifier)
  }
  return { path, room: path.split('/')[1]!, text, lines: text.split('\n').length - 1, imports, packages }
}

/** Static and dynamic imports and re-exports of a text. */
export function importsOf(text: string): { readonly specifier: string; readonly isType: boolean }[] {
  const found: { specifier: string; isType: boolean }[] = []
  const code = text.replaceAll(/\/\*[\s\S]*?\*\//g, '')
  for (const m of code.matchAll(/^\s*(?:import|export)(\s+type)?\b[^'"`;]*?from\s+'([^']+)'/gm)) {
    found.push({ specifier: m[2]!, isType: m[1] !== undefined })
  }
  for (const m of code.matchAll(/^\s*import\s+'([^']+)'/gm)) found.push({ specifier: m[1]!, isType: false })
  for (const m of code.matchAll(/\bimport\('([^']+)'\)/g)) found.push({ specifier: m[1]!, isType: false })
  return found
}
