/** The pcapng writer, read back by a small reader written from the draft. */
import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { LINKTYPE_ETHERNET, LINKTYPE_RAW, type PcapngCapture, writePcapng } from '../../../src/wire/pcapng.ts'

interface Block {
  type: number
  body: Buffer
}

/** Cuts a big-endian section into blocks and checks both total lengths. */
function blocksOf(bytes: Uint8Array): Block[] {
  const file = Buffer.from(bytes)
  const out: Block[] = []
  for (let at = 0; at < file.length; ) {
    const total = file.readUInt32BE(at + 4)
    if (total % 4 !== 0 || file.readUInt32BE(at + total - 4) !== total)
      throw new Error(`block at ${at}: lengths differ`)
    out.push({ type: file.readUInt32BE(at), body: file.subarray(at + 8, at + total - 4) })
    at += total
  }
  return out
}

function optionsOf(body: Buffer, at: number): Map<number, Buffer> {
  const out = new Map<number, Buffer>()
  while (at < body.length) {
    const [code, size] = [body.readUInt16BE(at), body.readUInt16BE(at + 2)]
    if (code === 0) {
      expect(at + 4).toBe(body.length)
      return out
    }
    out.set(code, body.subarray(at + 4, at + 4 + size))
    at += 4 + ((size + 3) & ~3)
  }
  throw new Error('no opt_endofopt')
}

const iface = (name: string, linkType = LINKTYPE_ETHERNET) => ({ name, description: `device ${name}`, linkType })

describe('writePcapng', () => {
  it('writes the section, interface, name and packet blocks in this order', () => {
    const bytes = writePcapng({
      interfaces: [iface('n1/root/eth0'), iface('n1/root/tunl0', LINKTYPE_RAW)],
      packets: [{ interfaceId: 1, atNs: 0, bytes: Uint8Array.of(1, 2, 3), direction: 'tx' }],
      names: [{ ip: '10.96.0.10', name: 'svc/shop/api' }],
    })
    expect(blocksOf(bytes).map((b) => b.type)).toEqual([0x0a0d0d0a, 1, 1, 4, 6])
    expect(Buffer.from(bytes.subarray(8, 16)).toString('hex')).toBe('1a2b3c4d00010000')
  })

  it('leaves the name block out when there are no names', () => {
    expect(blocksOf(writePcapng({ interfaces: [], packets: [], names: [] })).map((b) => b.type)).toEqual([0x0a0d0d0a])
  })

  it('writes IPv4 and IPv6 names as records closed by an end record', () => {
    const names = [
      { ip: '10.96.0.10', name: 'api' },
      { ip: 'fd00::a', name: 'db' },
    ]
    const [, block] = blocksOf(writePcapng({ interfaces: [], packets: [], names }))
    expect(block?.body.toString('hex')).toBe(
      ['00010008', '0a60000a', '61706900', '00020013', 'fd00000000000000000000000000000a', '64620000', '00000000'].join(
        '',
      ),
    )
  })

  it('keeps every packet, time, direction and comment', () => {
    const packet = fc.record({
      interfaceId: fc.nat(2),
      atNs: fc.maxSafeNat(),
      bytes: fc.uint8Array({ maxLength: 80 }),
      direction: fc.constantFrom('rx' as const, 'tx' as const),
      comment: fc.string({ unit: 'grapheme', maxLength: 40 }),
    })
    const interfaces = [iface('a'), iface('b'), iface('c', LINKTYPE_RAW)]
    fc.assert(
      fc.property(fc.array(packet, { maxLength: 20 }), (packets) => {
        const blocks = blocksOf(writePcapng({ interfaces, packets, names: [], comment: 'walk' }))
        expect(optionsOf(blocks[0]!.body, 16).get(1)?.toString()).toBe('walk')
        expect(blocks.slice(1, 4).map((b) => optionsOf(b.body, 8).get(2)?.toString())).toEqual(['a', 'b', 'c'])
        expect(blocks.slice(1, 4).map((b) => optionsOf(b.body, 8).get(9)?.[0])).toEqual([9, 9, 9])
        const read = blocks.slice(4).map(({ body }) => {
          const size = body.readUInt32BE(12)
          expect(body.readUInt32BE(16)).toBe(size)
          const options = optionsOf(body, 20 + ((size + 3) & ~3))
          return {
            interfaceId: body.readUInt32BE(0),
            atNs: body.readUInt32BE(4) * 2 ** 32 + body.readUInt32BE(8),
            bytes: Uint8Array.from(body.subarray(20, 20 + size)),
            direction: options.get(2)?.readUInt32BE(0) === 1 ? 'rx' : 'tx',
            comment: options.get(1)?.toString(),
          }
        })
        expect(read).toEqual(packets.map((p) => ({ ...p, comment: Buffer.from(p.comment).toString() })))
      }),
    )
  })

  it('cuts a packet at the snap length and keeps its original length', () => {
    const capture: PcapngCapture = {
      interfaces: [{ ...iface('a'), snaplen: 5 }],
      packets: [{ interfaceId: 0, atNs: 1, bytes: new Uint8Array(9).fill(7), direction: 'rx' }],
      names: [],
    }
    const body = blocksOf(writePcapng(capture))[2]!.body
    expect([body.readUInt32BE(12), body.readUInt32BE(16)]).toEqual([5, 9])
    expect(body.subarray(20, 28).toString('hex')).toBe('0707070707000000')
  })

  it('cuts a comment of more than 65,535 bytes between two characters', () => {
    const comment = 'é'.repeat(40_000)
    const body = blocksOf(writePcapng({ interfaces: [], packets: [], names: [], comment }))[0]!.body
    expect(optionsOf(body, 16).get(1)?.toString()).toBe('é'.repeat(32_767))
  })

  it('refuses packets of no interface, times that are none, and names without an address', () => {
    const packet = { interfaceId: 0, atNs: 0, bytes: new Uint8Array(1), direction: 'rx' } as const
    const write = (c: Partial<PcapngCapture>) => () => writePcapng({ interfaces: [], packets: [], names: [], ...c })
    expect(write({ packets: [packet] })).toThrow('interface 0')
    expect(write({ interfaces: [iface('a')], packets: [{ ...packet, atNs: 0.5 }] })).toThrow('0.5 ns')
    expect(write({ names: [{ ip: 'web', name: 'x' }] })).toThrow('expected an IP address, got "web"')
  })
})
