/**
 * NAT against the real kernel: packets through a router with one DNAT and one SNAT rule, every byte that left it and the
 * conntrack table at the end, recorded on Linux 6.18 (timeouts rounded up to the second).
 */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from '@jest/globals'
import {
  NatRange,
  NF_NAT_RANGE_MAP_IPS,
  NF_NAT_RANGE_PERSISTENT,
  NF_NAT_RANGE_PROTO_OFFSET,
  NF_NAT_RANGE_PROTO_SPECIFIED,
} from '../../../../src/linux/netfilter/nat/range.ts'
import { internetChecksum } from '../../../../src/wire/checksum.ts'
import { ip, Router } from '../conntrack/support.ts'

/** direction, packet in, packet out ('' = dropped or not forwarded), both in hex */
type Step = [0 | 1, string, string]
interface Recording {
  readonly kernel: string
  readonly cases: readonly {
    readonly name: string
    readonly dnat: string
    readonly snat: string
    readonly steps: readonly Step[]
    readonly conntrack: readonly string[]
  }[]
}

const recording = JSON.parse(
  readFileSync(new URL('./fixtures/nat-linux-6.18.json', import.meta.url), 'utf8'),
) as Recording

/** `--to-source a[-b][:p[-q][/base]] [--persistent]` */
function range(text: string): NatRange {
  const m = /^--to-\w+ ([\d.]+)(?:-([\d.]+))?(?::(\d+)(?:-(\d+))?(?:\/(\d+))?)?( --persistent)?$/.exec(text)!
  const r = new NatRange()
  r.flags = NF_NAT_RANGE_MAP_IPS
  r.minIp = ip(m[1]!)
  r.maxIp = ip(m[2] ?? m[1]!)
  if (m[3] !== undefined) {
    r.flags |= NF_NAT_RANGE_PROTO_SPECIFIED
    r.minPort = Number(m[3])
    r.maxPort = Number(m[4] ?? m[3])
  }
  if (m[5] !== undefined) {
    r.flags |= NF_NAT_RANGE_PROTO_OFFSET
    r.basePort = Number(m[5])
  }
  if (m[6] !== undefined) r.flags |= NF_NAT_RANGE_PERSISTENT
  return r
}

/** ip_forward's part: TTL less one. */
function forwarded(bytes: Uint8Array): string {
  const b = Uint8Array.from(bytes)
  const v = new DataView(b.buffer)
  b[8] = b[8]! - 1
  v.setUint16(10, 0)
  v.setUint16(10, internetChecksum(v, 0, 20))
  return Buffer.from(b).toString('hex')
}

describe(`NAT as Linux ${recording.kernel}`, () => {
  for (const c of recording.cases) {
    it(c.name, () => {
      const r = new Router()
      for (const [dir, input, output] of c.steps) {
        const packet = Uint8Array.from(Buffer.from(input, 'hex'))
        const proto = packet[9]!
        const ports = proto === 6 || proto === 17
        const o = r.forward(packet, {
          ...(c.dnat !== '' && dir === 0 && ports ? { dnat: range(c.dnat) } : {}),
          ...(c.snat !== '' && dir === 0 && (ports || !c.snat.includes(':')) ? { snat: range(c.snat) } : {}),
        })
        // what the recording router did not forward was dropped, or stayed there because it was not translated
        if (output !== '') expect(forwarded(o.bytes)).toBe(output)
        else expect(o.verdict === 0 || Buffer.from(o.bytes).toString('hex') === input).toBe(true)
      }
      expect(r.list()).toEqual(c.conntrack)
    })
  }
})
