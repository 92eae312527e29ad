/**
 * Recordings of kube-proxy's IPVS mode on User-Mode Linux (Linux 6.1): generated Services, connections, every frame. podwalk
 * does the same, on machines without that kernel too. test/kernel/kube-proxy-ipvs.test.ts takes them.
 */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from '@jest/globals'
import { checkLab, formatDifferences } from '../../src/lab/compare.ts'
import { runLab } from '../../src/lab/run.ts'
import type { LabResult, LabScenario } from '../../src/lab/scenario.ts'
import { maskOneSidedAcks } from '../support/live-cluster.ts'

const FOLDER = fileURLToPath(new URL('../fixtures/proxy-ipvs/', import.meta.url))

describe('recordings of kube-proxy IPVS mode', () => {
  it.each(['set-0', 'set-1', 'set-2'])('podwalk does what the kernel did in %s', (name) => {
    const { lab, kernel } = JSON.parse(readFileSync(`${FOLDER}${name}.json`, 'utf8')) as {
      lab: LabScenario
      kernel: LabResult
    }
    expect(kernel.events.length).toBeGreaterThan(50)
    const sim = maskOneSidedAcks(runLab(lab, { strict: true }), 'cbr0')
    expect(formatDifferences(checkLab(sim, maskOneSidedAcks(kernel, 'cbr0')))).toBe('')
  })
})
