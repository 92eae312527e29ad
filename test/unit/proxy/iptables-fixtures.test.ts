/** The iptables mode over every fixture: the rules against the golden file, the flows through a tracer, the origins. */
import { describe, expect, it } from '@jest/globals'
import { iptablesMode } from '../../../src/proxy/iptables/mode.ts'
import { originKey } from '../../../src/proxy/origin-key.ts'
import { restoreTextOf } from '../../support/iptables-dump.ts'
import { applyRestore, type TracedTables, tracePacket } from '../../support/iptables-tracer.ts'
import { goldenRules, proxyFixtures } from '../../support/proxy-fixtures.ts'

describe.each(proxyFixtures())('kube-proxy iptables mode, $name', ({ name, input, flows }) => {
  const program = iptablesMode.program(input)

  it('writes the reviewed rules', () => {
    const text = restoreTextOf(program)
    expect(text).toBe(goldenRules(name, text))
  })

  it.each(flows)('$proto from $from to $to port $port: "$output", masquerade $masq', (flow) => {
    const tables: TracedTables = new Map()
    for (const verb of program.verbs) {
      if (verb.verb === 'iptables-restore' && verb.family === 'IPv4') applyRestore(tables, verb.text)
    }
    const packet = { sourceIp: flow.from, protocol: flow.proto, destIp: flow.to, destPort: flow.port }
    expect(tracePacket(tables, packet, input.node.ips)).toEqual({ output: flow.output, masq: flow.masq })
  })

  it('names an origin for every rule that mentions a Service, in the order of the chain', () => {
    for (const verb of program.verbs) {
      if (verb.verb !== 'iptables-restore') continue
      const seen = new Map<string, number>()
      let table = ''
      for (const line of verb.text.split('\n')) {
        if (line.startsWith('*')) table = line.slice(1)
        if (!line.startsWith('-A ')) continue
        const key = originKey(verb.family, table, line.split(' ')[1] ?? '')
        const index = seen.get(key) ?? 0
        seen.set(key, index + 1)
        const origin = program.origins.get(key)?.[index]
        const named = /"?([a-z]+)\/([a-z]+)/.exec(/--comment ("[^"]*"|\S+)/.exec(line)?.[1] ?? '')
        if (named === null && !/^-A KUBE-(SVC|SVL|EXT|FW|SEP)-/.test(line)) {
          expect(origin).toBeNull()
          continue
        }
        if (named === null) expect(origin?.kind).toBe('Service')
        else expect([origin?.namespace, origin?.name.replace(/-\w+$/, '')]).toEqual([named[1], named[2]])
      }
      for (const [key, count] of seen) expect(program.origins.get(key)).toHaveLength(count)
    }
  })

  it('writes the same whatever the order of the objects', () => {
    const reversed = {
      ...input,
      services: [...input.services].reverse(),
      endpointSlices: [...input.endpointSlices].reverse(),
    }
    expect(restoreTextOf(iptablesMode.program(reversed))).toBe(restoreTextOf(program))
  })
})
