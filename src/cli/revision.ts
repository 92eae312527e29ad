/**
 * Manifests of a git revision: `main:k8s/`, `HEAD~1:shop.yaml` from the root of the repository, `HEAD:./x.yaml` from here.
 *
 * What exists as a file, directory or glob is that; only else a revision is tried. git is run in the current directory.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { type Loaded, loadInputs, loadTexts } from '../kubernetes/index.ts'
import { usageError } from './exit.ts'

const MANIFEST = /\.(?:ya?ml|json)$/

function git(args: readonly string[]): string {
  const done = spawnSync('git', args, { encoding: 'utf8', maxBuffer: 1 << 30 })
  if (done.error !== undefined) throw usageError(`git cannot be run: ${done.error.message}`)
  if (done.status !== 0) throw usageError(`git ${args[0]}: ${done.stderr.trim()}`)
  return done.stdout
}

/** Loads a path, or a path in a revision. */
export function loadRevision(text: string): Loaded {
  const colon = text.indexOf(':')
  if (colon <= 0 || existsSync(text)) return loadInputs([text])
  const [revision, written] = [text.slice(0, colon), text.slice(colon + 1)]
  if (revision.startsWith('-')) throw usageError(`${text}: a revision cannot start with -`)
  const path = (
    written.startsWith('./') ? git(['rev-parse', '--show-prefix']).trim() + written.slice(2) : written
  ).replace(/\/+$/, '')
  const args = ['ls-tree', '-r', '--name-only', '--full-tree', revision]
  const names = git(path === '' || path === '.' ? args : [...args, '--', path])
    .split('\n')
    .filter((n) => MANIFEST.test(n))
  if (names.length === 0) throw usageError(`${text}: no manifests there`, 'write REVISION:PATH, such as main:k8s/')
  return loadTexts(names.map((name) => ({ name: `${revision}:${name}`, text: git(['show', `${revision}:${name}`]) })))
}
