/**
 * Replay equals the walk: every lab scenario runs in two worlds, one with a flow cache that records at once and audits
 * every fourth packet, one without. Every frame and every send is repeated, so that flows get their programs. What both
 * worlds hold afterwards must be the same: socket calls, whole packets at raw sockets, counters of devices, rules and
 * MIBs, conntrack with its time left, neighbours, bridge tables with their stamps, clock and random state.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from '@jest/globals'
import type { LabScenario } from '../../src/lab/scenario.ts'
import { parseScenario } from '../../src/lab/validate.ts'
import { playTwin } from '../support/flow-twin.ts'
import { labNames, labScenario } from '../support/lab.ts'

const HUNTED = fileURLToPath(new URL('../fixtures/hunted/scenarios/', import.meta.url))
/** How often each packet of a scenario is sent. */
const TIMES = 9

function hunted(): string[] {
  return readdirSync(HUNTED).sort()
}

let replayed = 0

function judge(scenario: LabScenario): void {
  const walked = playTwin(scenario, false, TIMES)
  const cached = playTwin(scenario, true, TIMES)
  expect(cached.dump).toEqual(walked.dump)
  expect(cached.cache!.stats.mismatches).toBe(0)
  replayed += cached.cache!.stats.replayed
}

describe('a world with a flow cache ends as one without', () => {
  it.each(labNames())('%s', (name) => judge(labScenario(name)))

  it.each(hunted())('hunted %s', (name) => {
    const { scenario } = parseScenario(readFileSync(HUNTED + name, 'utf8'), name)
    judge(scenario!)
  })

  it('and a good part of those packets was replayed', () => {
    expect(replayed).toBeGreaterThan(500)
  })
})
