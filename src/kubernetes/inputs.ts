/**
 * Input paths to file contents: files, directories (recursive), globs and stdin, as `kubectl -R -f` takes them.
 *
 * Directories are read recursively for *.yaml, *.yml and *.json in name order, hidden entries left out; a symbolic link
 * to a directory already seen is not followed again. Text is UTF-8 with or without a byte order mark; anything else is
 * one error with the place of the first bad byte.
 *
 * Sources: kubectl cli-runtime pkg/resource/builder.go (FileExtensions, RecursiveFlag).
 */
import { closeSync, fstatSync, openSync, readdirSync, readFileSync, readSync, realpathSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { Diagnostics } from '../diagnostics/diagnostic.ts'
import { SourceFile } from './source.ts'

/** One file of the input. */
export interface InputFile {
  readonly source: SourceFile
  /** True when the user named it, false when a directory or a glob brought it. */
  readonly isExplicit: boolean
}

/** Where input comes from when it is not a path. */
export interface InputOptions {
  /** What `-` reads; default is file descriptor 0. */
  readonly readStdin?: () => Uint8Array
}

const EXTENSION = /\.(?:ya?ml|json)$/
const GLOB_CHARACTERS = /[*?[\]{}]/
/** No cluster is larger; a device such as /dev/zero has no end. */
const MAX_INPUT_BYTES = 400 * 1024 * 1024
const CHUNK_BYTES = 1 << 20

/** Reads all inputs in the order given; problems go to `diagnostics`. */
export function readInputs(
  paths: readonly string[],
  diagnostics: Diagnostics,
  options: InputOptions = {},
): InputFile[] {
  const files: InputFile[] = []
  const seen = new Set<string>()
  const add = (path: string, isExplicit: boolean): void => {
    if (seen.has(path)) return
    seen.add(path)
    const source = readText(path, diagnostics, () =>
      path === '-' ? (options.readStdin?.() ?? readBounded(0)) : readBounded(path),
    )
    if (source !== null) files.push({ source, isExplicit })
  }
  for (const path of paths) {
    if (path === '-') add(path, true)
    else if (kindOf(path) === 'file') add(path, true)
    else if (kindOf(path) === 'directory') {
      let isWhole = true
      const found = listDirectory(path, new Set(), (bad, found) => {
        isWhole = false
        report(diagnostics, bad, found)
      })
      if (found.length === 0 && isWhole) report(diagnostics, path, 'expected *.yaml, *.yml or *.json files, found none')
      for (const file of found) add(file, false)
    } else if (GLOB_CHARACTERS.test(path)) {
      const found = expandGlob(path)
      if (found.length === 0) report(diagnostics, path, 'expected files matching the pattern, found none')
      for (const file of found) add(file, false)
    } else report(diagnostics, path, 'no such file or directory')
  }
  return files
}

/** Files that match a glob of `*`, `?`, `[...]`, `{a,b}` and `**`, in name order. */
export function expandGlob(pattern: string): string[] {
  const segments = pattern.split('/')
  const isAbsolute = pattern.startsWith('/')
  let found = [isAbsolute ? '/' : '']
  for (const segment of isAbsolute ? segments.slice(1) : segments) {
    const next: string[] = []
    for (const base of found) {
      if (segment === '**') {
        if (base === '' || kindOf(base) === 'directory') next.push(base, ...descendants(base))
      } else if (!GLOB_CHARACTERS.test(segment)) next.push(join(base, segment))
      else {
        const matcher = globToRegExp(segment)
        for (const name of entries(base === '' ? '.' : base)) if (matcher.test(name)) next.push(join(base, name))
      }
    }
    found = next
  }
  return [...new Set(found)].filter((path) => kindOf(path) === 'file').sort()
}

function globToRegExp(segment: string): RegExp {
  const body = segment.replace(/[.+^$()|\\]|\*|\?|\{[^{}]*\}/g, (token) => {
    if (token === '*') return '[^/]*'
    if (token === '?') return '[^/]'
    if (token.startsWith('{')) {
      const choices = token.slice(1, -1).split(',')
      return `(?:${choices.map((c) => c.replace(/[.+^$()|\\*?[\]]/g, (t) => (t === '*' ? '[^/]*' : `\\${t}`))).join('|')})`
    }
    return `\\${token}`
  })
  try {
    return new RegExp(`^${body}$`)
  } catch {
    // An unbalanced bracket: it stands for itself, as in a shell.
    return new RegExp(`^${segment.replace(/[.+^$()|\\*?[\]{}]/g, '\\$&')}$`)
  }
}

function entries(directory: string): string[] {
  try {
    return readdirSync(directory)
      .filter((name) => !name.startsWith('.'))
      .sort()
  } catch {
    // Not a directory or not readable: it holds no match.
    return []
  }
}

function descendants(base: string, visited = new Set<string>()): string[] {
  const real = realpathSync(base === '' ? '.' : base)
  if (visited.has(real)) return []
  visited.add(real)
  const found: string[] = []
  for (const name of entries(base === '' ? '.' : base)) {
    const path = join(base, name)
    if (kindOf(path) === 'directory') found.push(path, ...descendants(path, visited))
  }
  return found
}

/** Manifests below a directory; what cannot be read goes to `onUnreadable`, for a manifest left out changes every answer. */
function listDirectory(
  directory: string,
  visited: Set<string>,
  onUnreadable: (path: string, why: string) => void,
): string[] {
  const real = realpathSync(directory)
  if (visited.has(real)) return []
  visited.add(real)
  let names: string[]
  try {
    names = readdirSync(directory)
  } catch (e) {
    onUnreadable(directory, `expected a directory that can be read, found ${(e as NodeJS.ErrnoException).code}`)
    return []
  }
  const found: string[] = []
  for (const name of names.sort()) {
    if (name.startsWith('.')) continue
    const path = join(directory, name)
    const kind = kindOf(path)
    if (kind === 'directory') found.push(...listDirectory(path, visited, onUnreadable))
    else if (!EXTENSION.test(basename(path))) continue
    else if (kind === 'file') found.push(path)
    else onUnreadable(path, 'expected a file, found a link that leads nowhere or may not be followed')
  }
  return found
}

function kindOf(path: string): 'file' | 'directory' | 'none' {
  try {
    return statSync(path).isDirectory() ? 'directory' : 'file'
  } catch {
    // Missing, a dangling link, a loop of links, a parent that may not be read: there is nothing to load.
    return 'none'
  }
}

/** The bytes of a file, pipe or device, of which no more than the bound is held. */
function readBounded(path: string | number): Uint8Array {
  const fd = typeof path === 'number' ? path : openSync(path, 'r')
  const tooLarge = (): Error => new Error(`larger than ${MAX_INPUT_BYTES / 1024 / 1024} MiB`)
  try {
    const stat = fstatSync(fd)
    if (stat.isFile() && stat.size > MAX_INPUT_BYTES) throw tooLarge()
    if (!stat.isCharacterDevice()) return readFileSync(fd)
    const chunks: Uint8Array[] = []
    for (let total = 0; ; ) {
      const chunk = Buffer.allocUnsafe(CHUNK_BYTES)
      const n = readSync(fd, chunk)
      if (n === 0) return Buffer.concat(chunks)
      chunks.push(chunk.subarray(0, n))
      total += n
      if (total > MAX_INPUT_BYTES) throw tooLarge()
    }
  } finally {
    if (typeof path === 'string') closeSync(fd)
  }
}

function report(diagnostics: Diagnostics, path: string, message: string): void {
  diagnostics.error('input-not-found', { file: path, line: 0, col: 0 }, message)
}

function readText(path: string, diagnostics: Diagnostics, read: () => Uint8Array): SourceFile | null {
  let bytes: Uint8Array
  try {
    bytes = read()
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    diagnostics.error('input-unreadable', { file: path, line: 0, col: 0 }, `cannot be read: ${reason}`)
    return null
  }
  return decodeText(path, bytes, diagnostics)
}

/** The text of a file, or null (reported) when it is not UTF-8 text. */
export function decodeText(name: string, bytes: Uint8Array, diagnostics: Diagnostics): SourceFile | null {
  const isUtf16 = (bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff)
  const text = new TextDecoder('utf-8').decode(bytes)
  const source = new SourceFile(name, text)
  if (isUtf16) {
    diagnostics.error('not-text', source.positionAt(0), 'expected UTF-8 text, found UTF-16', {
      hint: 'PowerShell redirection writes UTF-16: use Out-File -Encoding utf8',
    })
    return null
  }
  const bad = text.search(/[\0\ufffd]/)
  if (bad >= 0) {
    const found = text[bad] === '\0' ? 'a NUL byte' : 'bytes that are not UTF-8'
    diagnostics.error('not-text', source.positionAt(bad), `expected UTF-8 text, found ${found}`)
    return null
  }
  return source
}
