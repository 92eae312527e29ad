/**
 * Generated sets of Services and EndpointSlices in every mode, on the real kernel.
 *
 * Text: one history of syncs, from set to set, goes into the real tools (iptables legacy and nft, nft, ipset) and into
 * podwalk; after every sync the real tools list what podwalk lists. Flows: 20 connections per set are played on the real
 * kernel and in podwalk; every frame, every answer and the state at the end are equal (choices by chance replaced by turns).
 *
 * PROXY_SETS asks for more sets than CI has time for, PROXY_SEED for others. IPVS needs a kernel that has it: of that mode
 * the sets and rules are loaded here, its flows are in kube-proxy-ipvs.test.ts.
 */
import { expect, it } from '@jest/globals'
import { applyProxyVerb } from '../../src/cluster/apply.ts'
import { checkLab, formatDifferences } from '../../src/lab/compare.ts'
import { RecorderPool } from '../../src/lab/hunt/pool.ts'
import { runLab } from '../../src/lab/run.ts'
import type { LabResult, LabScenario } from '../../src/lab/scenario.ts'
import type { Netns } from '../../src/linux/netns.ts'
import { execTool } from '../../src/linux/tools/exec.ts'
import { World } from '../../src/linux/world.ts'
import { commandLine } from '../../src/proxy/commands.ts'
import type { ProxyMode } from '../../src/proxy/mode.ts'
import { findProxyMode } from '../../src/proxy/registry.ts'
import type { IpFamily, NodeProgram, ProxyVerb } from '../../src/proxy/types.ts'
import { describeKernel, inNetns, netnsAdd, netnsDel } from '../support/kernel.ts'
import { LIVE_TOOLS, maskOneSidedAcks } from '../support/live-cluster.ts'
import { proxyLab } from '../support/proxy-lab.ts'
import { askedConnections, inputOf, proxySets, setCluster, toIpv6 } from '../support/proxy-sets.ts'

const SETS = Number(process.env.PROXY_SETS ?? 20)
const SEED = Number(process.env.PROXY_SEED ?? 2026)
const CONNECTIONS = 20
const JOBS = 2
const TIMEOUT_MS = 120_000 + SETS * 5_000
const TOOLS = [
  'ip6tables-legacy-restore',
  'iptables-legacy-restore',
  'iptables-nft-restore',
  'nft',
  'ipset',
  ...LIVE_TOOLS,
]

function modeOf(name: string): ProxyMode {
  const mode = findProxyMode(name)
  if (mode === undefined) throw new Error(`no mode ${name}`)
  return mode
}

/** Tables by name: chain lines sorted, rules by chain in their order; counters, dates and needless quotes left out. */
function tables(save: string): string {
  const blocks = new Map<string, { chains: string[]; rules: Map<string, string[]> }>()
  let block = { chains: [] as string[], rules: new Map<string, string[]>() }
  for (const line of save.split('\n')) {
    if (line.startsWith('*')) blocks.set(line, (block = { chains: [], rules: new Map() }))
    else if (line.startsWith(':')) block.chains.push(line.replace(/ \[\d+:\d+\]$/, ''))
    else if (line.startsWith('-A ')) {
      const chain = line.split(' ')[1] ?? ''
      const rules = block.rules.get(chain) ?? []
      block.rules.set(chain, rules)
      rules.push(line.replace(/"(\S+)"/g, '$1'))
    }
  }
  return [...blocks]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([name, { chains, rules }]) => [name, ...chains.sort(), ...[...rules].sort().flatMap(([, list]) => list)])
    .join('\n')
}

/** Elements of a set come in the order of a hash with a secret. */
function sortedElements(ruleset: string): string {
  return ruleset.replace(/elements = \{([^}]*)\}/g, (_, list: string) => {
    const elements = list.split(',').map((element) => element.trim().replace(/\s+/g, ' '))
    return `elements = { ${elements.sort().join(', ')} }`
  })
}

function sortedSets(save: string): string {
  const lines = save.split('\n').map((line) => line.replace(/ bucketsize.*$/, ''))
  return lines.sort().join('\n')
}

/** IPVS itself and the match on it are not in every kernel. */
function withoutIpvs(verbs: readonly ProxyVerb[]): ProxyVerb[] {
  return verbs.flatMap((verb): ProxyVerb[] => {
    if (verb.verb === 'ipvs' || verb.verb === 'ip') return []
    if (verb.verb === 'sysctl' && verb.key.startsWith('net.ipv4.vs.')) return []
    if (verb.verb !== 'iptables-restore') return [verb]
    return [{ ...verb, text: verb.text.replace(/^.* -m ipvs .*\n/gm, '') }]
  })
}

interface Side {
  readonly netns: string
  readonly backend: 'legacy' | 'nft'
}

/** Runs the verbs with the real tools, as kube-proxy would. */
function applyReally(verbs: readonly ProxyVerb[], { netns, backend }: Side): void {
  for (const verb of verbs) {
    const { argv, check, stdin } = commandLine(verb)
    const real = (args: readonly string[]): string[] => [
      (args[0] ?? '').replace(/^(ip6?tables)(.*)$/, `$1-${backend}$2`),
      ...args.slice(1),
    ]
    if (verb.verb === 'sysctl') continue
    if (check !== undefined && inNetns(netns, real(check)).status === 0) continue
    const run = inNetns(netns, real(argv), stdin)
    const isTolerated = verb.verb === 'ipset-try' || (verb.verb === 'ensure-chain' && run.status === 1)
    if (run.status !== 0 && !isTolerated) throw new Error(`${argv.join(' ')}: ${run.stderr}`)
  }
}

function printed(ns: Netns, argv: readonly string[]): string {
  const { status, stdout, stderr } = execTool(ns, argv)
  if (status !== 0) throw new Error(`podwalk ${argv.join(' ')}: ${stderr}`)
  return stdout
}

/** Goes through all sets with one kube-proxy; `compare` looks after every sync. */
function history(
  mode: ProxyMode,
  sides: readonly Side[],
  filter: (verbs: readonly ProxyVerb[]) => readonly ProxyVerb[],
  compare: (ns: Netns, set: number) => void,
  family: IpFamily = 'IPv4',
): void {
  const cluster = setCluster()
  const ns = new World({ seed: 1, packets: 16 }).addNetns('text')
  let program: NodeProgram | undefined
  for (const [i, set] of proxySets(SETS, SEED).entries()) {
    const input = inputOf(cluster, 'n1', set)
    program = mode.program(family === 'IPv4' ? input : toIpv6(input), program)
    const verbs = filter(program.verbs)
    for (const verb of verbs) applyProxyVerb(verb, ns)
    for (const side of sides) applyReally(verbs, side)
    compare(ns, i)
  }
}

function withNetns(name: string, fn: (netns: string) => void): void {
  const netns = `prx-${name}-${process.pid}`
  netnsAdd(netns)
  try {
    fn(netns)
  } finally {
    netnsDel(netns)
  }
}

async function both(pool: RecorderPool, lab: LabScenario): Promise<{ text: string; kernel: LabResult }> {
  const kernel = await pool.record(lab)
  const sim = runLab(lab, { strict: true })
  const differences = checkLab(maskOneSidedAcks(sim, 'cbr0'), maskOneSidedAcks(kernel, 'cbr0'))
  return { text: formatDifferences(differences), kernel }
}

describeKernel('kube-proxy modes over generated sets of Services', TOOLS, () => {
  it(
    `iptables: ${SETS} syncs are taken and listed back by both backends as podwalk lists them`,
    () => {
      withNetns('legacy', (legacy) =>
        withNetns('nft', (nft) => {
          const sides: Side[] = [
            { netns: legacy, backend: 'legacy' },
            { netns: nft, backend: 'nft' },
          ]
          history(
            modeOf('iptables'),
            sides,
            (verbs) => verbs,
            (ns, set) => {
              const ours = `set ${set}\n${tables(printed(ns, ['iptables-save']))}`
              for (const { netns, backend } of sides) {
                const theirs = inNetns(netns, [`iptables-${backend}-save`]).stdout
                expect(`set ${set}\n${tables(theirs)}`).toBe(ours)
              }
            },
          )
        }),
      )
    },
    TIMEOUT_MS,
  )

  it(
    `nftables: ${SETS} syncs are taken by nft and listed back as podwalk lists them`,
    () => {
      withNetns('ruleset', (netns) => {
        history(
          modeOf('nftables'),
          [{ netns, backend: 'nft' }],
          (verbs) => verbs,
          (ns, set) => {
            const theirs = inNetns(netns, ['nft', 'list', 'ruleset']).stdout
            const ours = printed(ns, ['nft', 'list', 'ruleset'])
            expect(`set ${set}\n${sortedElements(ours)}`).toBe(`set ${set}\n${sortedElements(theirs)}`)
          },
        )
      })
    },
    TIMEOUT_MS,
  )

  it(
    `ipvs: sets and rules of ${SETS} syncs are taken by ipset and iptables-restore and listed back as podwalk lists them`,
    () => {
      withNetns('ipvs', (netns) => {
        history(modeOf('ipvs'), [{ netns, backend: 'legacy' }], withoutIpvs, (ns, set) => {
          const theirs = inNetns(netns, ['iptables-legacy-save']).stdout
          expect(`set ${set}\n${tables(printed(ns, ['iptables-save']))}`).toBe(`set ${set}\n${tables(theirs)}`)
          expect(sortedSets(printed(ns, ['ipset', 'save']))).toBe(sortedSets(inNetns(netns, ['ipset', 'save']).stdout))
        })
      })
    },
    TIMEOUT_MS,
  )

  it(
    `IPv6: ${SETS} syncs are taken by ip6tables, nft and ipset and listed back as podwalk lists them`,
    () => {
      withNetns('six', (netns) => {
        const side: Side = { netns, backend: 'legacy' }
        const check = (ns: Netns, set: number): void => {
          const theirs = inNetns(netns, ['ip6tables-legacy-save']).stdout
          expect(`set ${set}\n${tables(printed(ns, ['ip6tables-save']))}`).toBe(`set ${set}\n${tables(theirs)}`)
        }
        history(modeOf('iptables'), [side], (verbs) => verbs, check, 'IPv6')
      })
      withNetns('six-sets', (netns) => {
        const check = (ns: Netns, set: number): void => {
          const theirs = inNetns(netns, ['ip6tables-legacy-save']).stdout
          expect(`set ${set}\n${tables(printed(ns, ['ip6tables-save']))}`).toBe(`set ${set}\n${tables(theirs)}`)
          expect(sortedSets(printed(ns, ['ipset', 'save']))).toBe(sortedSets(inNetns(netns, ['ipset', 'save']).stdout))
        }
        history(modeOf('ipvs'), [{ netns, backend: 'legacy' }], withoutIpvs, check, 'IPv6')
      })
      withNetns('six-nft', (netns) => {
        const check = (ns: Netns, set: number): void => {
          const theirs = sortedElements(inNetns(netns, ['nft', 'list', 'ruleset']).stdout)
          expect(`set ${set}\n${sortedElements(printed(ns, ['nft', 'list', 'ruleset']))}`).toBe(`set ${set}\n${theirs}`)
        }
        history(modeOf('nftables'), [{ netns, backend: 'nft' }], (verbs) => verbs, check, 'IPv6')
      })
    },
    TIMEOUT_MS,
  )

  it.each(['iptables', 'nftables'])(
    `%s: ${CONNECTIONS} connections to each of ${SETS} sets give the same frames, answers and state`,
    async (name) => {
      const mode = modeOf(name)
      const pool = new RecorderPool(JOBS)
      const odd: string[] = []
      let frames = 0
      let again = 0
      const sets = proxySets(SETS, SEED)
      const play = async (first: number): Promise<void> => {
        for (let i = first; i < sets.length; i += JOBS) {
          const set = sets[i]
          if (set === undefined) return
          const lab = proxyLab(`${name}-${i}`, mode, set, askedConnections(set, CONNECTIONS, SEED * 1000 + i))
          let result = await both(pool, lab)
          frames += result.kernel.events.length
          // A busy machine may let a timer fire between two steps; a difference that stays is one.
          for (let tries = 0; result.text !== '' && tries < 2; tries++, again++) result = await both(pool, lab)
          if (result.text !== '') odd.push(`set ${i} of seed ${SEED}\n${result.text}`)
        }
      }
      try {
        await Promise.all(Array.from({ length: JOBS }, (_, job) => play(job)))
      } finally {
        pool.close()
      }
      process.stderr.write(`${name}: ${sets.length} sets, ${frames} frames, ${again} played again\n`)
      expect(odd.join('\n\n')).toBe('')
      expect(frames).toBeGreaterThan(SETS * CONNECTIONS)
      expect(again).toBeLessThanOrEqual(Math.max(4, SETS / 10))
    },
    TIMEOUT_MS,
  )
})
