/** The script that `npm test` calls first, with PATHs made up for it: what it asks apt-get for, says and returns. */
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'

const script = fileURLToPath(new URL('../../support/system-packages.mjs', import.meta.url))
// sbin is searched besides PATH, so only what lives in bin can be made to be missing.
const isRoot = process.getuid?.() === 0
/** Every command that the script looks for. */
const COMMANDS = [
  'tshark',
  'python3',
  'ping',
  'ip',
  'bridge',
  'iptables',
  'iptables-restore',
  'ipset',
  'nft',
  'conntrack',
  'ethtool',
  'bird',
  'vtysh',
  'gobgpd',
]
let dir = ''

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'podwalk-packages-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

function executable(name: string, body: string): void {
  writeFileSync(join(dir, name), `#!/bin/sh\n${body}\n`)
  chmodSync(join(dir, name), 0o755)
}

function run(env: Record<string, string> = {}): { status: number | null; text: string } {
  const done = spawnSync(process.execPath, [script], { env: { PATH: dir, ...env }, encoding: 'utf8' })
  return { status: done.status, text: done.stderr + done.stdout }
}

describe('system-packages.mjs', () => {
  it('names what is missing and the suites that skip, and succeeds', () => {
    const { status, text } = run()
    expect(status).toBe(0)
    expect(text).toContain('tshark')
    expect(text).toMatch(/tshark +pcapng/)
    expect(text).toContain('skipped')
  })

  it('fails with CI=true', () => {
    expect(run({ CI: 'true' }).status).toBe(1)
  })

  const itAsRoot = isRoot && process.platform === 'linux' ? it : it.skip
  itAsRoot('as root with apt-get installs the packages of what is missing, once, without questions', () => {
    const log = join(dir, 'log')
    const install = COMMANDS.map((name) => `: > ${dir}/${name}; /bin/chmod 755 ${dir}/${name}`).join('; ')
    executable('apt-get', `echo "$DEBIAN_FRONTEND $@" >> ${log}; ${install}`)
    expect(run({ CI: 'true' })).toEqual({ status: 0, text: expect.stringContaining('installing') as unknown as string })
    expect(readFileSync(log, 'utf8')).toMatch(/^noninteractive -qq install -y --no-install-recommends .*tshark.*\n$/)
  })

  itAsRoot('fetches package lists only when installing fails, and says what apt-get said', () => {
    const log = join(dir, 'log')
    executable(
      'apt-get',
      `echo "$2" >> ${log}; [ "$2" = update ] || { echo "E: Unable to locate package" >&2; exit 100; }`,
    )
    const { status, text } = run({ CI: 'true' })
    expect(status).toBe(1)
    expect(text).toContain('E: Unable to locate package')
    expect(readFileSync(log, 'utf8')).toBe('install\nupdate\ninstall\n')
  })

  it('does nothing when nothing is missing', () => {
    for (const name of COMMANDS) {
      executable(name, 'exit 0')
    }
    executable('apt-get', `: > ${dir}/called`)
    expect(run({ CI: 'true' })).toEqual({ status: 0, text: '' })
    expect(existsSync(join(dir, 'called'))).toBe(false)
  })
})
