import { describe, expect, it } from '@jest/globals'
import { formatDiagnostics } from '../../../src/diagnostics/diagnostic.ts'
import { parseJson } from '../../../src/lab/json-positions.ts'
import { parseResult, parseScenario } from '../../../src/lab/validate.ts'
import { labGolden, labNames, labScenario } from '../../support/lab.ts'

function problems(text: string): string[] {
  return formatDiagnostics(parseScenario(text, 's.json').diagnostics).split('\n')
}

describe('parseScenario', () => {
  it.each(labNames())('accepts %s without a warning', (name) => {
    expect(parseScenario(JSON.stringify(labScenario(name)), name).diagnostics).toEqual([])
  })

  it('shows all problems at once, each with line, column and path', () => {
    const text = `{"name": "x y", "netns": ["a", "a"],
 "links": [{"type": "veth", "a": ["b", "e", 1], "b": ["a", "x", "02:00:00:00:00:01"]}],
 "steps": [{"op": "frame", "ns": "q", "dev": "x", "hex": "abc"},
  {"op": "nope"},
  {"op": "udp_send", "id": "u"}]}`
    expect(problems(text)).toEqual([
      's.json:1:10: error: name: expected a name (letters, digits, - and _), got "x y" [lab-scenario]',
      's.json:1:32: error: netns[1]: expected different namespaces, got "a" twice [lab-scenario]',
      `s.json:2:35: error: links[0].a[0]: expected one of the scenario's netns, got "b" [lab-scenario]`,
      's.json:2:45: error: links[0].a[2]: expected a MAC address, got 1 [lab-scenario]',
      `s.json:3:34: error: steps[0].ns: expected one of the scenario's netns, got "q" [lab-scenario]`,
      's.json:3:58: error: steps[0].hex: expected 14-65549 bytes as hex digits, got "abc" [lab-scenario]',
      's.json:4:10: error: steps[1].op: expected op to be one of frame, wait, cmd, iptables, ip6tables, udp_open, udp_send, udp_recv, ping, tcp_listen, tcp_connect, tcp_status, tcp_accept, tcp_send, tcp_recv, tcp_shutdown, close; got "nope" [lab-scenario]',
      's.json:5:3: error: steps[2]: expected data or len, got neither [lab-scenario]',
    ])
  })

  it('takes __proto__ for a field that it does not know', () => {
    expect(problems('{"__proto__":{},"name":"x","netns":["a"],"steps":[]}')).toEqual([
      's.json:1:14: warning: __proto__: the field is not known and has no effect [unknown-field]',
    ])
  })

  it('says when it gets a recording, and a recording when it gets a scenario', () => {
    const name = labNames()[0]!
    expect(problems(JSON.stringify(labGolden(name)))).toEqual([
      's.json:1:1: error: expected a scenario, got a recording [lab-scenario]',
      '  hint: podwalk lab show RECORDING prints it',
    ])
    const { result, diagnostics } = parseResult(JSON.stringify(labScenario(name)), 'r.json')
    expect(result).toBeNull()
    expect(diagnostics.map((d) => d.message)).toEqual(['expected a recording, got a scenario'])
  })

  it('warns about a field that it does not know and goes on', () => {
    const r = parseScenario('{"name":"x","netns":["a"],"steps":[],"zap":1}', 's.json')
    expect(formatDiagnostics(r.diagnostics)).toBe(
      's.json:1:44: warning: zap: the field is not known and has no effect [unknown-field]',
    )
    expect(r.scenario?.name).toBe('x')
  })

  it.each([
    ['', 's.json:1:1: error: unexpected end of file [json-syntax]'],
    ['{"name":\n [1,2,,]}', 's.json:2:7: error: unexpected "," [json-syntax]'],
    ['{"name": "x"', `s.json:1:13: error: expected ',' or '}' [json-syntax]`],
    ['{"a":1,"a":2}', 's.json:1:11: error: field "a" stands twice [json-syntax]'],
    ['"abc', 's.json:1:5: error: unterminated string [json-syntax]'],
    ['[1] x', 's.json:1:5: error: unexpected text after the document [json-syntax]'],
    ['[]', 's.json:1:1: error: expected an object, got [] [lab-scenario]'],
    ['null', 's.json:1:1: error: expected an object, got null [lab-scenario]'],
  ])('says what is wrong with %j', (text, message) => {
    expect(problems(text)).toEqual([message])
  })

  it('refuses deep nesting and huge files without running out of stack or memory', () => {
    expect(problems('['.repeat(100_000))[0]).toMatch(/nested deeper than 200/)
    expect(problems(' '.repeat(33 * 1024 * 1024))[0]).toMatch(/expected at most \d+ bytes/)
  })

  it('keeps a field called __proto__ a field', () => {
    const doc = parseJson('{"__proto__": {"x": 1}}')
    expect(doc.ok && Object.keys(doc.value as object)).toEqual(['__proto__'])
  })
})

describe('parseResult', () => {
  it('accepts every golden and names what is wrong in another', () => {
    for (const name of labNames()) expect(parseResult(JSON.stringify(labGolden(name)), name).diagnostics).toEqual([])
    const r = parseResult(
      '{"scenario":"x","title":"","link_types":{"a/b":"wifi"},"ifaces":{"a/b":["abc"]},"events":[[0,"a/b","up",0]],"ops":[1],"state":{"q":1}}',
      'r.json',
    )
    expect(r.result).toBeNull()
    expect(r.diagnostics.map((d) => d.path)).toEqual([
      'link_types.a/b',
      'ifaces.a/b[0]',
      'events[0][2]',
      'ops[0]',
      'state.q',
    ])
  })
})
