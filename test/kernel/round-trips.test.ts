/**
 * Round trips: what podwalk's tools print of every kernel-lab fixture, read by the real tool on the real kernel and
 * printed back, is the same text.
 *
 * Rule sets (iptables for both variants, nft, ipset, ebtables) are restored and saved as they are. Links, addresses,
 * routes, rules, neighbours and forwarding databases have no restore command: the words of the listing are given back as
 * `ip` and `bridge` commands. Fixtures whose device types this kernel lacks are counted, not compared.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { buildLab } from '../../src/lab/build.ts'
import type { Netns } from '../../src/linux/netns.ts'
import { execTool } from '../../src/linux/tools/exec.ts'
import { describeKernel, inNetns, netnsAdd, netnsDel } from '../support/kernel.ts'
import { labNames, labScenario } from '../support/lab.ts'
import { FAR_NETNS, type NetnsText, roundTripNetns } from '../support/round-trip.ts'

const NS = 'dev-round-trip'
const MARK = '---- podwalk ----'
const TIMEOUT_MS = 180_000

/** One namespace of a fixture after its set-up. */
interface State {
  readonly name: string
  readonly ns: Netns
}

function states(): State[] {
  return labNames().flatMap((name) =>
    buildLab(labScenario(name)).namespaces.map((ns) => ({ name: `${name} ${ns.name}`, ns })),
  )
}

function text(ns: Netns, argv: readonly string[]): string {
  const r = execTool(ns, argv)
  if (r.status !== 0) throw new Error(`${argv.join(' ')}: ${r.stderr}`)
  return r.stdout
}

/** Distinct texts that are not empty, with the first fixture that has each. */
function distinct(all: readonly State[], argv: readonly string[]): Map<string, string> {
  const out = new Map<string, string>()
  for (const { name, ns } of all) {
    const t = text(ns, argv)
    if (t.trim() !== '' && !out.has(t)) out.set(t, name)
  }
  return out
}

describeKernel(
  'round trips through the real tools',
  ['iptables-legacy-restore', 'iptables-nft-restore', 'ipset', 'nft', 'bridge', 'ebtables-restore'],
  () => {
    const dir = mkdtempSync(join(tmpdir(), 'podwalk-round-'))
    let all: State[] = []
    beforeAll(() => {
      netnsAdd(NS)
      netnsAdd(FAR_NETNS)
      all = states()
    })
    afterAll(() => {
      netnsDel(NS)
      netnsDel(FAR_NETNS)
      rmSync(dir, { recursive: true })
    })

    /** Gives every text to `load` (stdin) and `print` in one shell; answers what was printed, in order. */
    function throughTool(
      texts: readonly string[],
      before: string | readonly string[],
      load: string,
      print: string,
    ): string[] {
      const script = texts.map((t, i) => {
        writeFileSync(join(dir, `t${i}`), t)
        const first = typeof before === 'string' ? before : before[i]!
        return `${first} ${load} < ${dir}/t${i} 2>&1; ${print} 2>/dev/null; echo '${MARK}'`
      })
      return inNetns(NS, ['sh'], script.join('\n')).stdout.split(`${MARK}\n`).slice(0, texts.length)
    }

    /** Compares every text with what came back. */
    function expectSame(
      sent: Map<string, string>,
      back: readonly string[],
      even: (t: string) => string = (t) => t,
    ): void {
      expect(sent.size).toBeGreaterThan(0)
      const wrong = [...sent].flatMap(([t, name], i) =>
        even(back[i] ?? '') === even(t) ? [] : [`${name}\n${onlyHere(even(t), even(back[i] ?? ''))}`],
      )
      expect(wrong.join('\n\n')).toBe('')
    }

    it(
      'ipset save',
      () => {
        const sent = distinct(all, ['ipset', 'save'])
        expectSame(
          sent,
          throughTool([...sent.keys()], 'ipset flush; ipset destroy;', 'ipset restore', 'ipset save'),
          sortedMembers,
        )
      },
      TIMEOUT_MS,
    )

    it.each(['legacy', 'nft'])(
      'iptables-save of iptables-%s',
      (variant) => {
        const sent = new Map<string, string>()
        const sets: string[] = []
        for (const { name, ns } of all) {
          const t = byTable(text(ns, ['iptables-save']))
          // xt_ipvs is not in every kernel
          if (t === '' || sent.has(t) || t.includes('-m ipvs')) continue
          sent.set(t, name)
          sets.push(text(ns, ['ipset', 'save']))
        }
        const tables = ['raw', 'mangle', 'nat', 'filter']
        const clear = tables.map((t) => `iptables-legacy -t ${t} -F; iptables-legacy -t ${t} -X;`).join(' ')
        const policies = ['INPUT', 'FORWARD', 'OUTPUT'].map((c) => `iptables-legacy -P ${c} ACCEPT;`).join(' ')
        const flush = variant === 'nft' ? 'nft flush ruleset;' : `${clear} ${policies}`
        const before = sets.map((t, i) => {
          if (t !== '') writeFileSync(join(dir, `s${i}`), t)
          return `${flush} ipset flush; ipset destroy; ${t === '' ? '' : `ipset restore < ${dir}/s${i};`}`
        })
        const [load, print] = [`iptables-${variant}-restore`, `iptables-${variant}-save`]
        const back = throughTool([...sent.keys()], before, load, print)
        expectSame(sent, back, byTable)
        inNetns(NS, ['sh'], `${flush} nft flush ruleset; ipset flush; ipset destroy`)
      },
      TIMEOUT_MS,
    )

    it(
      'nft list ruleset',
      () => {
        const sent = distinct(all, ['nft', 'list', 'ruleset'])
        // rules that name a device by number need it
        const devices = new Set<string>()
        for (const t of sent.keys()) for (const m of t.matchAll(/\b(?:iif|oif) "([^"]+)"/g)) devices.add(m[1]!)
        const links = [...devices].map((d) => `ip link add ${d} type bridge`)
        inNetns(NS, ['sh'], links.join('\n'))
        const load = 'nft -f -'
        expectSame(sent, throughTool([...sent.keys()], 'nft flush ruleset;', load, 'nft list ruleset'), withoutTimes)
        inNetns(NS, ['nft', 'flush', 'ruleset'])
      },
      TIMEOUT_MS,
    )

    it(
      'ip -d link, addr, route, rule, neigh and bridge fdb',
      () => {
        const seen = new Map<string, NetnsText & { name: string }>()
        let lacking = 0
        for (const { name, ns } of all) {
          const t = roundTripNetns(ns)
          if (t === null) lacking++
          else if (!seen.has(t.key)) seen.set(t.key, { ...t, name })
        }
        expect(seen.size).toBeGreaterThan(100)
        process.stderr.write(
          `round trips: ${seen.size} namespaces, ${lacking} with device types that this kernel may lack\n`,
        )
        const cases = [...seen.values()]
        const out = inNetns(
          NS,
          ['sh'],
          cases.map((c, i) => c.script(join(dir, `n${i}`), writeFileSync, MARK)).join('\n'),
        )
        const back = out.stdout.split(`${MARK}\n`)
        const wrong: string[] = []
        cases.forEach((c, i) => {
          const got = c.even(back[i] ?? '')
          if (got !== c.text) wrong.push(`${c.name}\n${onlyHere(c.text, got)}`)
        })
        expect(wrong.slice(0, 20).join('\n\n')).toBe('')
      },
      TIMEOUT_MS,
    )
  },
)

/** Lines of one text that the other does not have. */
function onlyHere(ours: string, theirs: string): string {
  const [a, b] = [ours.split('\n'), theirs.split('\n')]
  const left = a.filter((l) => !b.includes(l)).map((l) => `- ${l}`)
  const right = b.filter((l) => !a.includes(l)).map((l) => `+ ${l}`)
  return [...left, ...right].join('\n') || 'the same lines in another order'
}

/** Members of a set stand in the order of its hash. */
function sortedMembers(t: string): string {
  const lines = t.split('\n').filter((l) => l !== '')
  const creates = lines.filter((l) => l.startsWith('create '))
  return creates
    .map((c) => {
      const name = c.split(' ')[1]!
      return [
        c.replace(/ (initval 0x\w+|bucketsize \d+)/g, ''),
        ...lines.filter((l) => l.startsWith(`add ${name} `)).sort(),
      ].join('\n')
    })
    .join('\n')
}

/** Tables by name, without comments, counters and tables that hold nothing. */
function byTable(t: string): string {
  const tables = t
    .split(/^(?=\*)/m)
    .filter((x) => x.startsWith('*'))
    .map((x) => x.replace(/^#.*\n?/gm, '').replace(/ \[\d+:\d+\]$/gm, ' [0:0]'))
  return tables
    .filter((x) => /^-A/m.test(x) || /^:\S+ (DROP|-)/m.test(x))
    .sort()
    .join('')
}

/** What is left of a timeout depends on the moment. */
function withoutTimes(t: string): string {
  return t.replace(/ expires \w+/g, '')
}
