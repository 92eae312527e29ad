/** The feature tables of the docs are made from the modes' feature lists. */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from '@jest/globals'
import { PROXY_MODES } from '../../../src/proxy/registry.ts'

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
  },
)
