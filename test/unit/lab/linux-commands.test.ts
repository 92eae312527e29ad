import { describe, expect, it } from '@jest/globals'
import { checkCommands } from '../../../src/lab/linux.ts'
import type { LabScenario } from '../../../src/lab/scenario.ts'

function scenario(...argv: string[]): LabScenario {
  return { name: 'c', netns: ['a'], steps: [{ op: 'cmd', ns: 'a', argv }] }
}

describe('commands of a scenario on the real kernel', () => {
  it.each([
    ['ip', 'link', 'set', 'eth0', 'down'],
    ['sysctl', '-qw', 'net.ipv4.ip_forward=1'],
    ['bridge', 'fdb', 'show'],
  ])('may be the tools of the lab: %s %s', (...argv) => {
    expect(() => checkCommands(scenario(...argv))).not.toThrow()
  })

  it.each([
    ['sh', '-c', 'touch /tmp/x'],
    ['/bin/ip', 'link'],
    ['ip', 'netns', 'exec', 'x', 'sh'],
    ['ip', 'net', 'e', 'x', 'sh'],
    ['ip', 'vrf', 'exec', 'x', 'sh'],
    ['python3', '-c', '0'],
    ['sysctl', '-w', 'kernel.core_pattern=|/tmp/x'],
  ])('may not start another program: %s %s', (...argv) => {
    expect(() => checkCommands(scenario(...argv))).toThrow(/does not run/)
  })

  it('may not set what is not of a network namespace', () => {
    for (const key of ['kernel.core_pattern', 'net/../kernel/core_pattern']) {
      expect(() => checkCommands({ ...scenario('ip', 'link'), sysctl: { a: { [key]: '1' } } })).toThrow(/only net/)
    }
  })
})
