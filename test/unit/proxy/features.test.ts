/** The feature tables of the docs are made from the modes' feature lists, the drawn walks from a trace. */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from '@jest/globals'
import { buildClusterModel, loadInputs } from '../../../src/kubernetes/index.ts'
import { PROXY_MODES } from '../../../src/proxy/registry.ts'
import { traceQuery } from '../../../src/query/trace.ts'

describe.each(PROXY_MODES.map((mode) => ({ name: mode.name, features: mode.features })))(
  'docs of proxy mode $name',
  ({ name, features }) => {
    it('holds the table of its features', () => {
      const file = fileURLToPath(new URL(`../../../docs/proxy-${name}.md`, import.meta.url))
      const rows = features.map((feature) => `| ${feature.name} | ${feature.support} | ${feature.sentence} |`)
      const table = ['| feature | modelled | |', '|---|---|---|', ...rows].join('\n')
      const text = readFileSync(file, 'utf8')
      const expected = text.replace(
        new RegExp(`(<!-- features:${name} -->\\n)[\\s\\S]*?(<!-- /features -->)`),
        (_, open: string, close: string) => `${open}${table}\n${close}`,
      )
      expect(expected).toContain(table)
      if (process.env.PODWALK_UPDATE_GOLDEN === '1') writeFileSync(file, expected)
      else expect(text).toBe(expected)
    })

    it('shows a walk as a trace has it', () => {
      const file = fileURLToPath(new URL(`../../../docs/proxy-${name}.md`, import.meta.url))
      const drawn = `\`\`\`\n${walkText(name).join('\n')}\n\`\`\``
      const text = readFileSync(file, 'utf8')
      const expected = text.replace(
        new RegExp(`(<!-- walk:${name} -->\\n)[\\s\\S]*?(<!-- /walk -->)`),
        (_, open: string, close: string) => `${open}${drawn}\n${close}`,
      )
      expect(expected).toContain(drawn)
      if (process.env.PODWALK_UPDATE_GOLDEN === '1') writeFileSync(file, expected)
      else expect(text).toBe(expected)
    })
  },
)

/** What the packet of a pod to a Service meets on its node, one line each. */
function walkText(mode: string): string[] {
  const topology = fileURLToPath(new URL('../../../topologies/20-proxy-nftables.yaml', import.meta.url))
  const { model } = buildClusterModel(loadInputs([topology]), { proxyMode: mode })
  const { trace } = traceQuery(model, {
    src: 'shop/web',
    dst: 'svc/shop/api:80',
    namespace: 'default',
    protocol: 'TCP',
    flow: false,
    seed: 1,
    verbose: false,
  })
  const shown = new Set(['rule', 'nat', 'route', 'ipvs', 'deliver'])
  const onNode = (trace?.walk ?? []).filter((hop) => hop.node === 'n1' && hop.netns.startsWith('node:'))
  return onNode
    .filter((hop) => shown.has(hop.point))
    .map((hop) => `${hop.point.padEnd(8)}${hop.action.replace(/^nft ip kube-proxy /, '').replace(/ handle \d+:/, ':')}`)
}
