/**
 * Frames recorded on the real kernel, against the codecs and the one-line description.
 *
 * `fixtures/kernel-frames.tsv`: scenario, link kind, frame, and how the recorder's own decoder (Python, written apart
 * from this code) reads it.
 */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from '@jest/globals'
import { emitArp, parseArp } from '../../../src/wire/arp.ts'
import { describeFrame } from '../../../src/wire/describe.ts'
import { dissectFrame, type LinkKind } from '../../../src/wire/dissect.ts'
import { emitEthernet, parseEthernet } from '../../../src/wire/ethernet.ts'
import { emitIcmp, fillIcmpChecksum, parseIcmp } from '../../../src/wire/icmp.ts'
import { emitIpv4, fillIpv4Checksum, parseIpv4 } from '../../../src/wire/ipv4.ts'
import type { Layer } from '../../../src/wire/layers.ts'
import { emitTcp, parseTcp } from '../../../src/wire/tcp.ts'
import { emitUdp, parseUdp } from '../../../src/wire/udp.ts'
import { viewOf } from '../../../src/wire/view.ts'
import { emitVxlan, parseVxlan } from '../../../src/wire/vxlan.ts'

const file = new URL('./fixtures/kernel-frames.tsv', import.meta.url)
const frames = readFileSync(file, 'utf8')
  .trimEnd()
  .split('\n')
  .map((line) => {
    const [scenario, link, hex, text] = line.split('\t') as [string, LinkKind, string, string]
    return { scenario, link, text, bytes: Uint8Array.from(Buffer.from(hex, 'hex')) }
  })

/** Takes away what describeFrame says beyond the recorder's decoder. */
function asRecorder(text: string): string {
  return text
    .replace(/ <[^>]*>/g, '')
    .replace(/ bad-csum/g, '')
    .replace(/ opts[\d,]+/g, '')
    .replace(/ gw[\d.]+/g, '')
    .replace(/ ptr\d+/g, '')
    .replace(/ urg\d+/g, '')
    .replace(/ none seq/g, ' seq')
    .replace(/(ICMP 1[3-8]\/0 [a-z ]+) id\d+ seq\d+/, '$1')
    .replace(/ VXLAN vni\d+ fl\w+ \{ETHER \(short\)\}/, '')
    .replace(/IP \(short\)/, 'ip-short')
    .replace(/ (TCP \d+>\d+|TCP|UDP|ICMP) \(short\)/, ' (short)')
    .replace(/(ICMP \d+\/\d+) [a-zA-Z ]+?(?= id\d| mtu\d| \{|\}|$)/g, '$1')
}

/** Parses and writes back one layer's header; null for layers without a codec of their own here. */
function rewritten(layer: Layer, bytes: Uint8Array): Uint8Array | null {
  const view = viewOf(bytes)
  const out = new Uint8Array(bytes.length + 4)
  const to = viewOf(out)
  const { offset } = layer
  const len = bytes.length - offset
  const run = <T>(
    parse: (v: DataView, o: number, n: number) => T | null,
    emit: (f: T, v: DataView, o: number) => number,
  ) => {
    const fields = parse(view, offset, len)
    if (fields === null) throw new Error(`${layer.layer} at ${offset} did not parse`)
    return out.slice(0, emit(fields, to, 0))
  }
  switch (layer.layer) {
    case 'ethernet':
      return run(parseEthernet, emitEthernet)
    case 'arp':
      return run(parseArp, emitArp)
    case 'ipv4':
      return run(parseIpv4, emitIpv4)
    case 'icmp':
      return run(parseIcmp, emitIcmp)
    case 'udp':
      return run(parseUdp, emitUdp)
    case 'tcp':
      return run(parseTcp, emitTcp)
    case 'vxlan':
      return run(parseVxlan, emitVxlan)
    default:
      return null
  }
}

describe('frames of the real kernel', () => {
  it('are there', () => {
    expect(frames.length).toBeGreaterThan(300)
  })

  it('are described as the recorder decodes them, with more detail only', () => {
    const wrong = frames
      .map((f) => ({
        scenario: f.scenario,
        ours: asRecorder(describeFrame(f.bytes, f.link)),
        recorder: f.text.trimEnd(),
      }))
      .filter((f) => f.ours !== f.recorder)
      // Bad version, header or total length (or payload that is no packet): the recorder reads on, the kernel drops.
      .filter((f) => !(['fwd-badpkt', 'mtu-df'].includes(f.scenario) && f.ours.includes('short')))
    expect(wrong).toEqual([])
  })

  it('keep every header byte through parse and emit', () => {
    let headers = 0
    for (const frame of frames) {
      for (const layer of dissectFrame(frame.bytes, frame.link)) {
        const back = rewritten(layer, frame.bytes)
        if (back === null) continue
        headers++
        const there = frame.bytes.subarray(layer.offset, layer.offset + back.length)
        expect(Buffer.from(back).toString('hex')).toBe(Buffer.from(there).toString('hex'))
      }
    }
    expect(headers).toBeGreaterThan(frames.length * 2)
  })

  it('carry the checksums that we compute', () => {
    let checked = 0
    for (const frame of frames) {
      for (const layer of dissectFrame(frame.bytes, frame.link)) {
        const copy = frame.bytes.slice()
        const view = viewOf(copy)
        if (layer.layer === 'ipv4' && layer.checksumOk) fillIpv4Checksum(view, layer.offset)
        else if (layer.layer === 'icmp' && layer.checksumOk === true) {
          const end = endOfDatagram(frame, layer)
          fillIcmpChecksum(view, layer.offset, end - layer.offset)
        } else continue
        checked++
        expect(Buffer.from(copy).equals(Buffer.from(frame.bytes))).toBe(true)
      }
    }
    expect(checked).toBeGreaterThan(frames.length / 2)
  })

  it('have good checksums, but for the scenarios that send bad ones', () => {
    const bad = new Set<string>()
    for (const frame of frames) {
      for (const layer of dissectFrame(frame.bytes, frame.link)) {
        if ('checksumOk' in layer && layer.checksumOk === false) bad.add(`${frame.scenario} ${layer.layer}`)
      }
    }
    expect([...bad].sort()).toEqual(['fwd-badpkt icmp', 'fwd-badpkt ipv4', 'fwd-badpkt tcp'])
  })
})

function endOfDatagram(frame: { bytes: Uint8Array; link: LinkKind }, of: Layer): number {
  const ip = dissectFrame(frame.bytes, frame.link).findLast((l) => l.layer === 'ipv4' && l.offset < of.offset)
  if (ip?.layer !== 'ipv4') throw new Error('no IPv4 layer')
  return ip.offset + ip.totalLength
}
