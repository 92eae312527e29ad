/**
 * docs/conformance.md: what is modelled and how it is proven, from the fixtures and declarations themselves.
 *
 * A fixture that is added appears by itself under the group that its name begins with. `UPDATE_GOLDEN=1 npm run jest --
 * test/arch` rewrites the page.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { CNI_DRIVERS } from '../../src/cni/registry.ts'
import { OLD_KERNEL_COUNTERS } from '../../src/lab/compare.ts'
import { TOOL_NAMES } from '../../src/linux/tools/exec.ts'
import { PROXY_MODES } from '../../src/proxy/registry.ts'
import { supportTable } from '../../src/report/features.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const LAB = `${ROOT}test/fixtures/kernel-lab/`
const HUNTED = `${ROOT}test/fixtures/hunted/`

/** Titles of groups by the first part of a scenario's name; others stand under that part itself. */
const GROUPS: { readonly [prefix: string]: string } = {
  arp: 'ARP and neighbours',
  brvlan: 'VLAN filtering of bridges',
  cal: 'Calico, routed',
  calico: 'Calico',
  ct: 'Connection tracking',
  eb: 'ebtables',
  flannel: 'flannel',
  fwd: 'IPv4 forwarding',
  geneve: 'Geneve',
  gre: 'GRE',
  gretap: 'GRE',
  ip6: 'IPv6',
  ipip: 'IPIP',
  ipvlan: 'ipvlan',
  ipvs: 'IPVS',
  kp: 'kube-proxy rules',
  l2: 'Bridges',
  macvlan: 'macvlan',
  mix: 'Mixed traffic',
  mtu: 'MTU, fragments, path MTU',
  n6: 'IPv6 netfilter',
  nat: 'NAT',
  nf: 'Netfilter',
  nft: 'nftables',
  tc: 'tc',
  tunnel: 'Tunnels in external mode',
  v6: 'IPv6',
  vlan: 'VLAN devices',
  vx: 'VXLAN',
}

interface Row {
  readonly name: string
  readonly title: string
  readonly kernel: string
  readonly frames: number
  readonly states: number
}

interface Golden {
  readonly kernel: string
  readonly events: readonly unknown[]
  readonly state: object
}

function readRows(): Row[] {
  return readdirSync(`${LAB}scenarios`)
    .map((f) => f.replace(/\.json$/, ''))
    .sort()
    .map((name) => {
      const scenario = JSON.parse(readFileSync(`${LAB}scenarios/${name}.json`, 'utf8')) as { title?: string }
      const golden = JSON.parse(readFileSync(`${LAB}golden/${name}.json`, 'utf8')) as Golden
      return {
        name,
        title: scenario.title ?? '',
        kernel: golden.kernel,
        frames: golden.events.length,
        states: Object.keys(golden.state).length,
      }
    })
}

/** User-Mode Linux of Debian is 6.1; the machines that record directly are newer. */
function kernelName(release: string): string {
  const short = release.split('.').slice(0, 2).join('.')
  return short === '6.1' ? 'User-Mode Linux 6.1' : `Linux ${short}`
}

function number(n: number): string {
  return n.toLocaleString('en-US')
}

function groupTables(rows: readonly Row[]): string {
  const groups = new Map<string, Row[]>()
  for (const r of rows) {
    const prefix = r.name.split('-')[0]!
    const title = GROUPS[prefix] ?? prefix
    groups.set(title, [...(groups.get(title) ?? []), r])
  }
  return [...groups]
    .sort(([a], [b]) => (a.toLowerCase() < b.toLowerCase() ? -1 : 1))
    .map(([title, list]) => {
      const lines = list.map(
        (r) => `| \`${r.name}\` | ${r.title.replaceAll('|', '\\|')} | ${kernelName(r.kernel)} | ${r.frames} |`,
      )
      return [
        `### ${title}`,
        '',
        '| scenario | what it shows | recorded on | frames |',
        '|---|---|---|---|',
        ...lines,
      ].join('\n')
    })
    .join('\n\n')
}

function transcriptTable(): string {
  const rows = readdirSync(`${LAB}tools`)
    .sort()
    .map((f) => {
      const entries = JSON.parse(readFileSync(`${LAB}tools/${f}`, 'utf8')) as { cmd: string }[]
      const tools = [...new Set(entries.map((e) => e.cmd.replace(/^@\w /, '').split(' ')[0]!))].filter(
        (t) => t !== 'sleep',
      )
      return `| ${f.replace('.json', '')} | ${entries.length} | ${tools.sort().join(', ')} |`
    })
  return ['| session | commands | tools |', '|---|---|---|', ...rows].join('\n')
}

/** The row `all` of docs/hunting.md: labs and frames that were compared. */
function hunterTally(): { readonly labs: string; readonly frames: string } {
  const page = readFileSync(`${ROOT}docs/hunting.md`, 'utf8')
  const m = /^\| all \| ([\d,]+) \| ([\d,]+) \|/m.exec(page)
  if (m === null) throw new Error('docs/hunting.md: no row `all` in the log')
  return { labs: m[1]!, frames: m[2]! }
}

/** Scenario files in a folder; none when there is no such folder. */
function count(folder: string): number {
  return !existsSync(folder) ? 0 : readdirSync(folder).filter((f) => f.endsWith('.json')).length
}

/** The whole page. */
export function conformanceMarkdown(): string {
  const rows = readRows()
  const frames = rows.reduce((n, r) => n + r.frames, 0)
  const kernels = new Map<string, number>()
  for (const r of rows) kernels.set(kernelName(r.kernel), (kernels.get(kernelName(r.kernel)) ?? 0) + 1)
  const on = [...kernels].map(([k, n]) => `${n} on ${k}`).join(', ')
  const tally = hunterTally()
  const open = count(`${HUNTED}open`)
  const parts = [
    ...CNI_DRIVERS.map((d) => ({ title: `CNI ${d.name}`, features: d.features })),
    ...PROXY_MODES.map((m) => ({ title: `kube-proxy ${m.name}`, features: m.features })),
  ]
  return `# Conformance

This page is made from the fixtures (\`UPDATE_GOLDEN=1 npm run jest -- test/arch\`); a test fails when it is out of date.

The real thing is the specification. A *scenario* is a file: namespaces, links, addresses, rules, then an exact sequence of
frames and socket calls. The real kernel ran it once and was recorded; podwalk runs it in every test and must give the same
frames on every interface, in the same order, the same results of the calls and the same state at the end (counters,
tables, neighbours).

- **${rows.length} scenarios**, ${number(frames)} frames, ${number(rows.reduce((n, r) => n + r.states, 0))} answers about state: ${on}. All are equal (\`test/conformance\`).
- **${count(`${HUNTED}scenarios`)} scenarios found by the difference hunter** ([hunting](hunting.md)), equal too; ${open === 0 ? 'none is open' : `${open} more are known and open (\`test/fixtures/hunted/open\`)`}.
- The hunter has compared ${tally.labs} random labs with the kernel, ${tally.frames} frames.
- **Round trips** (\`test/kernel/round-trips.test.ts\`): the text that podwalk's tools print of the scenarios is read by the real
  tool on the real kernel and printed back, and is the same text: iptables-save (by both variants), nft list ruleset, ipset
  save, ip -d link, ip addr, ip route, ip rule, ip neigh, bridge fdb. Left out: namespaces with kinds of device that the kernel
  here lacks, VLAN-filtering bridges, pairs with both ends in one namespace, rules with \`-m ipvs\`, IPv6 listings.
- **Sessions of the real tools**, replayed command by command, answer for answer:

${transcriptTable()}

Tools: ${TOOL_NAMES.map((t) => `\`${t}\``).join(', ')}. What a tool is asked for and podwalk does not model ends with exit status 126 and
the feature's name; a packet that meets it has the verdict UNMODELLED.

## What is evened out before comparing

Only what a kernel draws at random, the same way on both sides, per interface in order of first appearance
(\`src/lab/norm.ts\`, \`class Norm\` in \`src/lab/linux/recorder.py\`); checksums that were right are made right again, wrong ones stay:

| field | becomes |
|---|---|
| IPv4 identification, unless 0 or that of an injected frame | 0xF001, 0xF002 ... per source, destination, protocol and value |
| TCP sequence and acknowledgement numbers (scenarios with \`norm.tcp\`) | initial numbers 0x10000000 * n |
| UDP source port of VXLAN and Geneve (\`norm.vxsport\`) | 0xE001, 0xE002 ... per port |
| ephemeral ports and ICMP echo ids (\`norm.ports\`) | 0xD001, 0xD002 ... per value |

Of the state: conntrack lines lose \`use=\`, \`id=\` and their timeout, lists whose order is that of a hash are sorted, and the
multicast addresses that Linux lists for every device in \`bridge fdb\` are left out.

## Known differences

| what | why |
|---|---|
| ${OLD_KERNEL_COUNTERS.map((c) => `\`${c}\``).join(', ')} of recordings by Linux before 6.7 | the counters meant something else (commit b4a11b2033b7); not compared there |
| \`statistic --mode random\`, \`numgen random\`, MASQUERADE's random ports | drawn by the kernel: the property is checked, not the draw |
| order of events between a work queue and the softirq (ipvlan broadcasts, linkwatch) | scheduling: one defined order here; scenarios avoid the race |
| a carrier that is lost and back within a second | linkwatch looks once a second and may see nothing; here each change counts at once |
| \`numrxqueues\`, and \`vlan_*\` fields of a bridge that was never asked to filter VLANs | depend on the kernel's configuration: shown as by an SMP kernel, the VLAN fields once they are used |
| \`gre0\`, \`gretap0\`, \`erspan0\` | not made, as with net.core.fb_tunnels_only_for_init_net=2 |

## What drivers and modes declare

${supportTable(parts)}
## Scenarios

${groupTables(rows)}
`
}
