/**
 * The simulated tools answer as the real ones did: whole sessions recorded on Linux with iproute2 6.1, procps 4.0,
 * iputils 20221126 and conntrack-tools 1.4.7,
 * replayed command by command, each answer (status, stdout, stderr) compared.
 */
import { describe, expect, it } from '@jest/globals'
import { loadTranscript, replayTranscript } from '../../../support/transcript.ts'

describe.each([
  ['ip', 200],
  ['sysctl', 20],
  ['node', 45],
  ['vxlan', 60],
  ['ipip', 30],
  ['vlan', 40],
  ['macvlan', 40],
  ['ipvlan', 30],
  ['gre', 35],
  ['geneve', 30],
  ['tc', 60],
  ['ebtables', 50],
])('%s session', (name, least) => {
  it('gives every answer of the real tools', () => {
    const entries = loadTranscript(name)
    expect(entries.length).toBeGreaterThanOrEqual(least)
    const text = replayTranscript(entries).map(
      (d) => `#${d.index} $ ${d.cmd}\n--- expected\n${d.expected}\n--- got\n${d.got}`,
    )
    expect(text.join('\n')).toBe('')
  })
})
