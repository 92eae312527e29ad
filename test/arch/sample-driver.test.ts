/**
 * The sample driver of docs/adding-a-driver.md works in a real cluster once its one line is in the registry.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { CniDriver } from '../../src/cni/driver.ts'
import { askTrace, buildCluster, buildClusterModel, CNI_DRIVERS, execTool, loadInputs } from '../../src/index.ts'
import { ptp } from '../support/sample-driver.ts'

describe('a driver that is nothing but one folder and one line in the registry', () => {
  const registry = CNI_DRIVERS as CniDriver[]
  beforeAll(() => void registry.push(ptp))
  afterAll(() => void registry.splice(registry.indexOf(ptp), 1))

  const { model } = buildClusterModel(loadInputs(['topologies/01-shop.yaml']), { cni: 'ptp' })

  it.each([
    ['a pod on another node through its Service', 'deploy/shop/web', 'svc/shop/api:80'],
    ['a pod on the same node', 'deploy/shop/api', 'shop/db-0:5432'],
    ['a pod from outside through a NodePort', 'host:192.0.2.7', 'node/n2:30080'],
  ])('reaches %s', (_what, src, dst) => {
    const { trace } = askTrace(model, {
      src,
      dst,
      namespace: 'shop',
      protocol: 'TCP',
      flow: true,
      seed: 1,
      verbose: false,
    })
    expect([trace!.verdict, trace!.flow?.established, trace!.question.cni]).toEqual(['DELIVERED', true, 'ptp'])
    expect(trace!.walk.some((h) => h.point === 'bridge' && h.netns !== 'underlay')).toBe(false)
  })

  it('is seen by the tools', () => {
    const cluster = buildCluster(model)
    expect(execTool(cluster.nodes.get('n1')!, ['ip', 'route']).stdout).toMatch(
      /^10\.244\.0\.2 dev ptp[0-9a-f]{8} scope link/m,
    )
  })
})
