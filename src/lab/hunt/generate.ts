/**
 * A random, valid lab out of a seed.
 *
 * Topics weigh what is generated; `--only` narrows them. A lab is small on purpose (two to five namespaces, some tens of
 * steps): thousands of them find more than one large one, and what fails is near its minimum already.
 */
import type { LabScenario } from '../scenario.ts'
import { Dice } from './dice.ts'
import { Draft, TOPICS, type Topic } from './draft.ts'
import { buildIpsets } from './ipsets.ts'
import { buildIptables } from './iptables.ts'
import { buildPolicy, buildSettings, buildState, buildStatic } from './settings.ts'
import { buildTopology } from './topology.ts'
import { buildTraffic } from './traffic.ts'

/** The lab of a seed. */
export function generateLab(seed: number, only: readonly Topic[] = []): LabScenario {
  const dice = new Dice(seed)
  const pool = only.length > 0 ? only : TOPICS
  const topics = new Set<Topic>([dice.pick(pool)])
  if (dice.chance(50)) topics.add(dice.pick(pool))
  if (dice.chance(20)) topics.add(dice.pick(pool))
  const d = new Draft(dice, topics)
  buildTopology(d)
  buildPolicy(d)
  buildStatic(d)
  buildIpsets(d)
  buildIptables(d)
  buildSettings(d)
  buildTraffic(d)
  buildState(d)
  return d.scenario(`hunt-${seed.toString(16).padStart(8, '0')}`, `hunted: ${[...topics].join(', ')}`)
}
