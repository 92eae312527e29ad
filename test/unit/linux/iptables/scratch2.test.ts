import { it } from '@jest/globals'
import { checkLab, formatDifferences } from '../../../../src/lab/compare.ts'
import { runLab } from '../../../../src/lab/run.ts'
import { labGolden, labNames, labScenario, labSelection } from '../../../support/lab.ts'
import { writeFileSync } from 'node:fs'
it('lab', () => {
  const out: string[] = []
  for (const name of labSelection() ?? labNames().filter((n) => /^(nf|kp|ct|nat|mtu-reasm|fwd-policy)/.test(n))) {
    try {
      const d = checkLab(runLab(labScenario(name)), labGolden(name))
      out.push(`${name}: ${d.length} differences ${formatDifferences(d).slice(0, 700)}`)
    } catch (e) {
      out.push(`${name}: THROW ${String((e as Error).stack).slice(0, 600)}`)
    }
  }
  writeFileSync('/tmp/ipt/lab.txt', out.join('\n'))
}, 120000)
