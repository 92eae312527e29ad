/**
 * Marks that stand for endpoints, when kube-proxy runs in IPVS mode: cali-set-endpoint-mark, cali-from-endpoint-mark.
 *
 * Real thing: felix/rules/{epmark,dispatch,endpoints}.go. IPVS sends forwarded packets through INPUT and OUTPUT, where the
 * interface they came in by can no longer be matched: INPUT marks them with a number per interface, OUTPUT goes by it. The
 * number is the FNV-1 hash of the name within the mask's bits, the next free one when it is taken; 0 and 1 (not Calico's)
 * are kept.
 */
import { fnv1 } from '../../kubernetes/calico/go-rand.ts'
import { dispatchChains } from './dispatch.ts'
import type { FelixConfig } from './felix-config.ts'
import { goTo, hex, setMaskedMark } from './static-chains.ts'
import { type FelixChain, type FelixRule, limitedId } from './text.ts'
import type { FelixMarks } from './version.ts'

/** Marks by interface name. */
export function endpointMarks(names: readonly string[], marks: FelixMarks): Map<string, number> {
  const shift = 31 - Math.clz32(marks.endpointMask & -marks.endpointMask)
  const count = 2 ** (32 - shift)
  const taken = new Set([0, 1])
  const out = new Map<string, number>()
  for (const name of [...names].sort()) {
    let position = fnv1(name) % count
    for (let tried = 0; taken.has(position) && tried < count; tried++) position = (position + 1) % count
    if (taken.has(position)) continue
    taken.add(position)
    out.set(name, (position << shift) >>> 0)
  }
  return out
}

/** The dispatch chains by mark and cali-sm- of each endpoint. */
export function endpointMarkChains(
  marks: FelixMarks,
  config: FelixConfig,
  workloads: readonly string[],
  hosts: readonly string[],
): FelixChain[] {
  const byName = endpointMarks([...workloads, ...hosts], marks)
  const deny = `--jump ${config.filterDenyAction}`
  const setChain = 'cali-set-endpoint-mark'
  const set: FelixChain[] = []
  const rootSet: FelixRule[] = []
  for (const names of [workloads, hosts]) {
    if (names.length === 0) continue
    const chains = dispatchChains(setChain, names, '--in-interface', 'cali-sm-', [])
    rootSet.push(...chains.at(-1)!.rules)
    set.push(...chains.slice(0, -1))
  }
  rootSet.push(
    { match: `--in-interface ${config.interfacePrefix}+`, action: deny, comments: ['Unknown endpoint'] },
    { action: setMaskedMark(marks.nonCaliEndpoint, marks.endpointMask), comments: ['Non-Cali endpoint mark'] },
  )
  const from = (names: readonly string[], prefix: string): FelixRule[] =>
    [...names]
      .sort()
      .filter((n) => byName.has(n))
      .map((n) => ({
        match: `-m mark --mark ${hex(byName.get(n)!)}/${hex(marks.endpointMask)}`,
        action: goTo(limitedId(prefix, n)),
      }))
  const rootFrom = [
    ...from(workloads, 'cali-fw-'),
    ...from(hosts, 'cali-fhfw-'),
    { action: deny, comments: ['Unknown interface'] },
  ]
  const own = [...workloads, ...hosts].map((n) => ({
    name: limitedId('cali-sm-', n),
    rules: byName.has(n) ? [{ action: setMaskedMark(byName.get(n)!, marks.endpointMask) }] : [],
  }))
  return [...set, { name: setChain, rules: rootSet }, { name: 'cali-from-endpoint-mark', rules: rootFrom }, ...own]
}
