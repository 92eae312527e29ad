/**
 * ipvsadm: every command of a session recorded with the real tool (1.31, Linux 6.1) prints the same, says the same on
 * stderr and ends with the same status. The recording is one session: state carries over from command to command.
 */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from '@jest/globals'
import { execTool } from '../../../../src/linux/tools/exec.ts'
import { World } from '../../../../src/linux/world.ts'

interface Exchange {
  readonly argv: readonly string[]
  readonly stdin: string | null
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

const session = JSON.parse(
  readFileSync(new URL('../../../fixtures/ipvs/ipvsadm-transcript.json', import.meta.url), 'utf8'),
) as Exchange[]

const w = new World()
const ns = w.addNetns('node')
for (const line of ['link add d0 type dummy', 'link set d0 up', 'addr add 10.1.0.254/16 dev d0']) {
  execTool(ns, ['ip', ...line.split(' ')])
}
const answers = session.map((x) => execTool(ns, ['ipvsadm', ...x.argv], x.stdin ?? ''))

describe('ipvsadm answers as the real tool', () => {
  it.each(session.map((x, i) => [`${i} ipvsadm ${x.argv.join(' ')}`, i] as const))('%s', (_name, i) => {
    const { status, stdout, stderr } = session[i]!
    expect(answers[i]).toEqual({ status, stdout, stderr })
  })
})

describe('what is not modelled is named', () => {
  it.each([
    ['--start-daemon master', 'the sync daemon'],
    ['-A -t [2001:db8::1]:80 -s rr', 'IPv6'],
    ['-A -t 10.0.0.200:80 -s rr -p --pe sip', 'persistence engines'],
  ])('ipvsadm %s', (line, feature) => {
    const r = execTool(ns, ['ipvsadm', ...line.split(' ')])
    expect(r).toMatchObject({ status: 126, stderr: `podwalk: UNMODELLED: ipvsadm: ${feature}\n` })
  })
})
