/**
 * Golden files: text that is compared as a whole and reviewed when it changes. `UPDATE_GOLDEN=1` writes them; with CI=true
 * a missing one is a failure.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from '@jest/globals'

const FOLDER = fileURLToPath(new URL('../golden/', import.meta.url))

/** Expects `text` to be what test/golden/NAME holds. */
export function expectGolden(name: string, text: string): void {
  const file = join(FOLDER, name)
  if (process.env.UPDATE_GOLDEN === '1') {
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, text)
    return
  }
  if (!existsSync(file))
    throw new Error(`no golden file ${name}: look at the text and write it with UPDATE_GOLDEN=1\n${text}`)
  expect(text).toBe(readFileSync(file, 'utf8'))
}
