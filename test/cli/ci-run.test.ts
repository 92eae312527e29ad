/**
 * `.ci/run`: its closing line repeats jest's numbers, and it invents none.
 */
import { spawnSync } from 'node:child_process'
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { ROOT } from '../arch/sources.ts'

describe('.ci/run', () => {
  let folder = ''
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'podwalk-ci-'))
    mkdirSync(join(folder, '.ci'))
    copyFileSync(join(ROOT, '.ci/run'), join(folder, '.ci/run'))
    // Stands for npm: `npm test` prints what the case says and ends as it says.
    writeFileSync(
      join(folder, 'npm'),
      '#!/bin/sh\nif [ "$1" = "$FAIL_AT" ]; then exit 7; fi\nif [ "$1" = test ]; then printf "$OUT"; exit "$RC"; fi\n',
    )
    chmodSync(join(folder, 'npm'), 0o755)
    chmodSync(join(folder, '.ci/run'), 0o755)
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  const run = (out: string, code: number, failAt = ''): { status: number | null; last: string } => {
    const env = { ...process.env, PATH: `${folder}:${process.env.PATH}`, OUT: out, RC: String(code), FAIL_AT: failAt }
    const done = spawnSync(join(folder, '.ci/run'), { env, encoding: 'utf8' })
    return { status: done.status, last: done.stdout.trimEnd().split('\n').at(-1) ?? '' }
  }

  it.each([
    ['Tests:       166 passed, 166 total\\nTime:        1 s\\n', 0, '166 passed, 0 failed'],
    ['Tests:       2 failed, 1 skipped, 164 passed, 167 total\\n', 1, '164 passed, 2 failed'],
    ['\\033[1mTests:       \\033[22m\\033[31m3 failed\\033[39m, 3 total\\n', 1, '0 passed, 3 failed'],
  ])('says what jest says: %j', (out, code, last) => {
    expect(run(out, code)).toEqual({ status: code, last })
  })

  it('has no numbers when jest had none, and fails', () => {
    expect(run('src/x.ts(1,1): error TS2322\\n', 2)).toEqual({ status: 2, last: 'src/x.ts(1,1): error TS2322' })
  })

  it('fails when npm ci fails, without running the tests', () => {
    expect(run('Tests:       1 passed, 1 total\\n', 0, 'ci')).toEqual({ status: 7, last: '' })
  })
})
