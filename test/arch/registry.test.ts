/**
 * What it costs to add a driver or a mode: one folder and one line in a registry. The rest of the project may not know
 * their names, or that line would not be enough.
 */
import { describe, expect, it } from '@jest/globals'
import { CNI_DRIVERS, findCniDriver } from '../../src/cni/registry.ts'
import { findProxyMode, PROXY_MODES } from '../../src/proxy/registry.ts'
import { readSources } from './sources.ts'

const SOURCES = readSources()

describe.each([
  ['src/cni', 'src/cni/registry.ts', CNI_DRIVERS.map((d) => d.name)],
  ['src/proxy', 'src/proxy/registry.ts', PROXY_MODES.map((m) => m.name)],
])('%s', (folder, registry, names) => {
  it.each(names)('%s is imported from outside its folder by the registry alone, on one line', (name) => {
    const inside = `${folder}/${name}/`
    const importers = SOURCES.filter(
      (s) => !s.path.startsWith(inside) && s.imports.some((i) => i.path.startsWith(inside)),
    )
    expect(importers.map((s) => s.path)).toEqual([registry])
    expect(importers[0]!.imports.filter((i) => i.path.startsWith(inside))).toHaveLength(1)
    expect(importers[0]!.text.split('\n').filter((l) => new RegExp(`^ {2}${name}\\w*\\b.*,`).test(l))).toHaveLength(1)
  })
})

describe('registries', () => {
  it('find by name and know nothing else', () => {
    for (const driver of CNI_DRIVERS) expect(findCniDriver(driver.name)).toBe(driver)
    for (const mode of PROXY_MODES) expect(findProxyMode(mode.name)).toBe(mode)
    expect([findCniDriver('none-such'), findProxyMode('none-such')]).toEqual([undefined, undefined])
  })

  it('hold drivers that declare what they model, and something that they do not', () => {
    for (const { features } of [...CNI_DRIVERS, ...PROXY_MODES]) {
      expect(new Set(features.map((f) => f.name)).size).toBe(features.length)
      expect(features.some((f) => f.support === 'supported')).toBe(true)
      expect(features.some((f) => f.support !== 'supported')).toBe(true)
      for (const f of features) expect(f.sentence).toMatch(/^.{10,}\.$/)
    }
  })
})
