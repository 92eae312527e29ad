/**
 * JSON, YAML, Mermaid and pcapng of a Trace, and the table of formats.
 */
import { describe, expect, it } from '@jest/globals'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { parse } from 'yaml'
import { SCHEMAS } from '../../../src/query/schema.ts'
import { TRACE_FORMATS } from '../../../src/report/formats.ts'
import { toJson } from '../../../src/report/json.ts'
import { traceMermaid } from '../../../src/report/mermaid.ts'
import { plain } from '../../../src/report/paint.ts'
import { tracePcapng } from '../../../src/report/pcapng.ts'
import { toYaml } from '../../../src/report/yaml.ts'
import { expectGolden } from '../../support/golden.ts'
import { crossNodeTrace, rejectedTrace } from '../../support/trace-doc.ts'

describe('every format', () => {
  it.each(TRACE_FORMATS.map((f) => [f.name, f] as const))(
    '%s gives the same bytes twice and says something of every trace',
    async (_name, format) => {
      for (const trace of [crossNodeTrace(), rejectedTrace()]) {
        const first = await format.render(trace, plain)
        expect(await format.render(structuredClone(trace), plain)).toEqual(first)
        expect(first.length).toBeGreaterThan(100)
        expect(first instanceof Uint8Array).toBe(format.isBinary)
      }
    },
  )
})

describe('json and yaml', () => {
  it('gives the document back', () => {
    expect(JSON.parse(toJson(crossNodeTrace()))).toEqual(crossNodeTrace())
    expect(parse(toYaml(crossNodeTrace()))).toEqual(crossNodeTrace())
  })

  it('sorts keys at every depth, whatever their order was', () => {
    expect(toJson({ b: [{ z: 1, a: 2 }], a: null })).toBe(toJson({ a: null, b: [{ a: 2, z: 1 }] }))
    expect(toJson({ b: 1, a: 2 }).indexOf('"a"')).toBeLessThan(toJson({ b: 1, a: 2 }).indexOf('"b"'))
  })

  it('keeps a seed-like text a text in YAML', () => {
    expect(parse(toYaml({ hex: '0123e4', yes: 'yes', colon: 'a: b' }))).toEqual({
      hex: '0123e4',
      yes: 'yes',
      colon: 'a: b',
    })
  })
})

describe('schema of Trace', () => {
  const validate = new Ajv2020({ strict: true, allowUnionTypes: true }).compile(SCHEMAS.get('Trace')!)

  it('accepts traces', () => {
    for (const trace of [crossNodeTrace(), rejectedTrace()])
      expect([validate(trace), validate.errors]).toEqual([true, null])
  })

  it.each([
    ['a verdict that does not exist', { verdict: 'LOST' }],
    ['another kind', { kind: 'Reach' }],
    ['a field that does not exist', { extra: 1 }],
    ['a frame that is not hex', { frames: [{ ...crossNodeTrace().frames[0]!, hex: 'zz' }] }],
    ['a port above 65535', { delivered: { ...crossNodeTrace().delivered!, dport: 65536 } }],
  ])('refuses %s', (_what, change) => {
    expect(validate({ ...crossNodeTrace(), ...change })).toBe(false)
  })

  it('compiles every published schema, each under an id of its own', () => {
    const ajv = new Ajv2020({ strict: true, allowUnionTypes: true })
    const ids = [...SCHEMAS.values()].map((s) => {
      expect(() => ajv.compile(s)).not.toThrow()
      return s.$id
    })
    expect(new Set(ids).size).toBe(SCHEMAS.size)
  })
})

describe('mermaid', () => {
  it('draws a delivered walk as reviewed', () => {
    expectGolden('report/delivered.mmd', traceMermaid(crossNodeTrace()))
  })

  it('leaves no character in a label that Mermaid or HTML would read', () => {
    for (const trace of [crossNodeTrace(), rejectedTrace()]) {
      const labels = [...traceMermaid(trace).matchAll(/"([^"]*)"/g)].map((m) => m[1]!)
      expect(labels.length).toBeGreaterThan(4)
      for (const label of labels) expect(label.replaceAll(/#\d+;/g, '')).not.toMatch(/[<>&;#"]/)
    }
  })

  it('names every node of an arrow that it declares, and no other', () => {
    const chart = traceMermaid(crossNodeTrace())
    const declared = new Set([...chart.matchAll(/^ {4}(h\d+d\d+)[[{]/gm)].map((m) => m[1]))
    const used = new Set(
      [...chart.matchAll(/(h\d+d\d+) -\.?->|\| (h\d+d\d+)$/gm)].flatMap((m) =>
        [m[1], m[2]].filter((x) => x !== undefined),
      ),
    )
    expect(used).toEqual(declared)
  })

  it('shows why a packet ended', () => {
    expect(traceMermaid(rejectedTrace())).toContain('✗ REJECTED: A netfilter rule rejected the packet with an answer.')
  })
})

describe('pcapng', () => {
  const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')

  it('holds an interface per namespace and device, named so', () => {
    const capture = text(tracePcapng(crossNodeTrace()))
    for (const name of [
      'pod:shop/web-0/eth0',
      'node:n1/veth0f1e2d3c4b5',
      'node:n1/eth0',
      'node:n2/eth0',
      'pod:shop/api-0/eth0',
    ]) {
      expect(capture).toContain(name)
    }
    expect(capture).toContain('eth0 of pod shop/web-0 on n1')
  })

  it('holds every frame and beside it what the hops decided', () => {
    const trace = crossNodeTrace()
    const capture = Buffer.from(tracePcapng(trace)).toString('hex')
    for (const frame of trace.frames) expect(capture).toContain(frame.hex)
    expect(text(tracePcapng(trace))).toContain('12 nat: destination becomes 10.244.1.2 (pod/shop/api-0):8080')
  })

  it('describes a frame without hops as it is there, not as it was sent', () => {
    const trace = crossNodeTrace()
    const capture = text(tracePcapng({ ...trace, walk: [], reply: [] }))
    expect(capture).toMatch(/packet 1: \S+ IP 10\.244\.0\.2>10\.244\.1\.2 .* TCP 40000>8080 S /)
  })

  it('names addresses', () => {
    expect(text(tracePcapng(crossNodeTrace()))).toContain('svc/shop/api')
  })

  it('throws when a frame is on no interface of the trace', () => {
    expect(() => tracePcapng({ ...crossNodeTrace(), interfaces: [] })).toThrow(/frame 0/)
  })
})
