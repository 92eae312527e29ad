/** `-m ipvs`: the text of iptables 1.8.9 on User-Mode Linux; what it matches is in the kernel-lab scenarios ipvs-kube and ipvs-local. */
import { describe, expect, it } from '@jest/globals'
import { execTool } from '../../../../src/linux/tools/exec.ts'
import { World } from '../../../../src/linux/world.ts'

function rule(...words: string[]): { readonly status: number; readonly said: string } {
  const ns = new World({ seed: 1 }).addNetns('d')
  const r = execTool(ns, ['iptables', '-A', 'INPUT', '-m', 'ipvs', ...words])
  if (r.status !== 0) return { status: r.status, said: r.stderr }
  return { status: 0, said: execTool(ns, ['iptables', '-S', 'INPUT']).stdout.split('\n')[1] ?? '' }
}

describe('iptables -m ipvs', () => {
  it.each([
    ['--ipvs', '--ipvs'],
    ['! --ipvs', '! --ipvs'],
    ['--vproto tcp', '--vproto 6'],
    ['! --vproto udp', '! --vproto 17'],
    ['--vaddr 10.0.0.0/24', '--vaddr 10.0.0.0/24'],
    ['! --vaddr 10.0.0.1 --vport 80', '! --vaddr 10.0.0.1 --vport 80'],
    ['--vport http', '--vport 80'],
    ['--vport 70000', '--vport 4464'],
    ['--vdir reply', '--vdir REPLY'],
    ['--vmethod masq', '--vmethod MASQ'],
    ['! --vmethod MASQ', '! --vmethod MASQ'],
    ['--vportctl 21', '--vportctl 21'],
    ['--ipvs --vport 80', '--vport 80'],
    [
      '--vportctl 21 --vmethod GATE --vdir ORIGINAL --vport 80 --vaddr 10.0.0.1 --vproto 6',
      '--vproto 6 --vaddr 10.0.0.1 --vport 80 --vdir ORIGINAL --vmethod GATE --vportctl 21',
    ],
  ])('%s is listed as %s', (given, listed) => {
    expect(rule(...given.split(' '))).toEqual({ status: 0, said: `-A INPUT -m ipvs ${listed}` })
  })

  it.each([
    ['', 'IPVS: At least one option is required'],
    ['! --vdir REPLY', 'ipvs: option "--vdir" cannot be inverted.'],
    ['--vdir X', 'ipvs: Bad value for "--vdir" option: "X"'],
    ['--vmethod X', 'ipvs: Bad value for "--vmethod" option: "X"'],
    ['--vproto xyz', 'unknown protocol "xyz" specified'],
  ])('%j is refused', (given, message) => {
    const r = rule(...given.split(' ').filter((w) => w !== ''))
    expect(r.status).toBe(2)
    expect(r.said).toContain(message)
  })
})
