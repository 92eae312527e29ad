/** The IPVS mode over every fixture: the program against the golden file, and that the simulated kernel takes it. */
import { describe, expect, it } from '@jest/globals'
import { applyProxyVerb } from '../../../src/cluster/apply.ts'
import { execTool } from '../../../src/linux/tools/exec.ts'
import { World } from '../../../src/linux/world.ts'
import { ipvsMode } from '../../../src/proxy/ipvs/mode.ts'
import type { NodeProgram, ProxyVerb } from '../../../src/proxy/types.ts'
import { goldenRules, proxyFixtures } from '../../support/proxy-fixtures.ts'

/** Everything but the jumps and sysctls, which bootstrap tests hold. */
function programText(program: NodeProgram): string {
  return program.verbs.map(verbText).join('')
}

function verbText(verb: ProxyVerb): string {
  switch (verb.verb) {
    case 'ip':
    case 'ipset-try':
      return `${verb.family} ${verb.verb === 'ip' ? 'ip' : 'ipset'} ${verb.args.join(' ')}\n`
    case 'ipset':
    case 'ipvs':
    case 'iptables-restore':
      return `${verb.family} ${verb.verb}\n${verb.text}`
    default:
      return ''
  }
}

describe.each(proxyFixtures())('kube-proxy IPVS mode, $name', ({ name, input }) => {
  const program = ipvsMode.program(input)

  it('issues the reviewed commands', () => {
    const text = programText(program)
    expect(text).toBe(goldenRules(name, text, 'ipvs'))
  })

  it('issues the same whatever the order of the objects', () => {
    const reversed = {
      ...input,
      services: [...input.services].reverse(),
      endpointSlices: [...input.endpointSlices].reverse(),
    }
    expect(programText(ipvsMode.program(reversed))).toBe(programText(program))
  })

  it('leaves in the simulated kernel what it says it leaves', () => {
    const ns = new World({ seed: 1, packets: 16 }).addNetns('n')
    const v4 = ipvsMode.program({ ...input, config: { ...input.config, ipFamilies: ['IPv4'] } })
    for (const verb of v4.verbs) applyProxyVerb(verb, ns)
    const state = v4.state.get('IPv4')
    const listed = execTool(ns, ['ipvsadm', '-Sn']).stdout.split('\n')
    expect(listed.filter((line) => line.startsWith('-A'))).toHaveLength(state?.servers.size ?? -1)
    const destinations = [...(state?.servers.values() ?? [])].reduce((sum, server) => sum + server.destinations.size, 0)
    expect(listed.filter((line) => line.startsWith('-a'))).toHaveLength(destinations)
    const bound = execTool(ns, ['ip', '-o', 'addr', 'show', 'dev', 'kube-ipvs0']).stdout.trimEnd().split('\n')
    expect(bound.filter((line) => line.includes('inet '))).toHaveLength(state?.bound.size ?? -1)
  })
})
