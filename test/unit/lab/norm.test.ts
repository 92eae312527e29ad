import { readFileSync } from 'node:fs'
import { describe, expect, it } from '@jest/globals'
import { fixedIds, Norm } from '../../../src/lab/norm.ts'
import { labGolden, labScenario } from '../../support/lab.ts'

const RAW = JSON.parse(readFileSync(new URL('../../fixtures/kernel-lab/raw/frames.json', import.meta.url), 'utf8')) as {
  [scenario: string]: { [iface: string]: string[] }
}

function bytes(hex: string): Uint8Array {
  return Buffer.from(hex, 'hex')
}

function hex(b: Uint8Array): string {
  return Buffer.from(b).toString('hex')
}

/** Ethernet + IPv4 (id 0x1234) + UDP 1000>2000 with right checksums. */
const UDP =
  '0200000000020200000000010800' + '4500001d1234400040115495' + '0a0000010a000002' + '03e807d00009' + 'dffd' + '61'

describe('Norm', () => {
  it.each(Object.keys(RAW))('rewrites the kernel frames of %s as the recorder did', (name) => {
    const scenario = labScenario(name)
    const golden = labGolden(name)
    for (const [iface, frames] of Object.entries(RAW[name] ?? {})) {
      const norm = new Norm(scenario.norm ?? {}, fixedIds(scenario))
      const got = frames.map((h) => hex(norm.frame(bytes(h), golden.link_types[iface] ?? 'ether').bytes))
      expect(got).toEqual(golden.ifaces[iface])
    }
  })

  it('numbers IPv4 IDs in order of first appearance and keeps the header checksum right', () => {
    const norm = new Norm({}, new Set())
    const { bytes: out, touched } = norm.frame(bytes(UDP), 'ether')
    expect(hex(out.subarray(18, 20))).toBe('f001')
    expect(touched).toEqual([[18, 2, 'ip.id']])
    expect(hex(norm.frame(bytes(UDP), 'ether').bytes)).toBe(hex(out))
  })

  it('leaves IDs of injected frames and ID 0 alone', () => {
    expect(hex(new Norm({}, new Set([0x1234])).frame(bytes(UDP), 'ether').bytes)).toBe(UDP)
    const zero = UDP.replace('12344000', '00004000')
    expect(hex(new Norm({}, new Set()).frame(bytes(zero), 'ether').bytes)).toBe(zero)
  })

  it('keeps a wrong header checksum wrong', () => {
    const wrong = UDP.replace('40115495', '4011dead')
    const out = new Norm({}, new Set()).frame(bytes(wrong), 'ether').bytes
    expect(hex(out.subarray(24, 26))).toBe('dead')
  })

  it('renames ports in the given range only, one name per port', () => {
    const norm = new Norm({ ports: [900, 1999], known_ports: [1500] }, new Set([0x1234]))
    const { bytes: out, touched } = norm.frame(bytes(UDP), 'ether')
    expect(hex(out.subarray(34, 38))).toBe('d00107d0')
    expect(touched).toEqual([[34, 2, 'l4.port']])
  })

  it('leaves frames alone that are not IPv4 or too short', () => {
    for (const h of [
      'ffffffffffff0200000000010806',
      UDP.slice(0, 60),
      `02000000000202000000000186dd${'00'.repeat(40)}`,
    ]) {
      expect(hex(new Norm({ tcp: true }, new Set()).frame(bytes(h), 'ether').bytes)).toBe(h)
    }
  })
})

describe('fixedIds', () => {
  it('collects the IDs of injected frames with those of quoted headers', () => {
    const quoted = '4500001c432100004001' + '0000' + '0a0000020a000001'
    const icmp =
      '0200000000020200000000010800' +
      '45000038123400004001' +
      '0000' +
      '0a0000010a000002' +
      '0301000000000000' +
      quoted
    const scenario = { name: 'x', netns: ['a'], steps: [{ op: 'frame', ns: 'a', dev: 'e', hex: icmp }] }
    expect([...fixedIds(scenario)].sort((a, b) => a - b)).toEqual([0x1234, 0x4321])
  })
})
