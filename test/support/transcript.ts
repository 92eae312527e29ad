/**
 * Transcripts of real tools: replay the commands in a simulated namespace and compare output for output.
 *
 * What a run of the real tool draws from time or from a random seed is evened out on both sides: bridge timers, the order
 * of neighbours (hash buckets), round-trip times, names of far namespaces (the simulator prints their ids), and the
 * multicast addresses of `bridge fdb`, which are not modelled.
 *
 * `sleep` lets virtual time pass and `modprobe ipip` loads that module; both are the transcript's, not tools.
 *
 * A command may start with @a or @b: the namespace that it runs in; @b elsewhere is that namespace's name.
 */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { loadIpip } from '../../src/linux/device/ipip.ts'
import { execTool } from '../../src/linux/tools/exec.ts'
import { World } from '../../src/linux/world.ts'

/** One command of a transcript. */
export interface TranscriptEntry {
  readonly cmd: string
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** A command whose answers differ. */
export interface TranscriptDifference {
  readonly index: number
  readonly cmd: string
  readonly expected: string
  readonly got: string
}

const NS_PER_S = 1_000_000_000

/** The transcript fixture of that name. */
export function loadTranscript(name: string): TranscriptEntry[] {
  const file = fileURLToPath(new URL(`../fixtures/kernel-lab/tools/${name}.json`, import.meta.url))
  return JSON.parse(readFileSync(file, 'utf8')) as TranscriptEntry[]
}

/** Multicast MACs that every Linux device listens to. */
const GROUP = /^(33:33|01:00:5e|01:80:c2)/

function evened(cmd: string, text: string): string {
  let lines = text.replace(/(_timer|gc_timer) +\d+\.\d\d/g, '$1 0').split('\n')
  if (cmd.startsWith('ping '))
    lines = lines.map((l) =>
      l
        .replace(/time=[\d.]+ ms/, 'time=T ms')
        .replace(/time \d+ms/, 'time Tms')
        .replace(/= [\d./]+ ms$/, '= T ms'),
    )
  lines = lines.map((l) => l.replace(/link-netns \w+$/, 'link-netnsid 0'))
  if (/^bridge (-\S+ )*fdb/.test(cmd)) {
    lines = lines
      .filter((l) => !GROUP.test(l))
      .map((l) =>
        l.startsWith('[') ? JSON.stringify((JSON.parse(l) as { mac: string }[]).filter((e) => !GROUP.test(e.mac))) : l,
      )
  }
  // Linux has sent and received IGMP by then, which is not modelled
  if (/^ip -s /.test(cmd))
    lines = lines.map((l) => (/^ +\d+( +\d+){5} $/.test(l) ? l.replace(/ +\d+ +\d+/, ' N N') : l))
  // the time of day, and which tables were created at all
  if (cmd.startsWith('ebtables-save')) lines = lines.filter((l) => !l.startsWith('# '))
  if (cmd.startsWith('tc ')) lines = lines.map((l) => l.replace(/\d+ sec\b/g, 'N sec'))
  if (/^ip (-\S+ )*neigh/.test(cmd)) {
    lines = lines
      .map((l) =>
        l.startsWith('[')
          ? JSON.stringify((JSON.parse(l) as { dst: string }[]).sort((a, b) => (a.dst < b.dst ? -1 : 1)))
          : l,
      )
      .sort()
  }
  return lines.join('\n')
}

/** Replays the transcript in a fresh namespace and gives what differs. */
export function replayTranscript(entries: readonly TranscriptEntry[]): TranscriptDifference[] {
  const w = new World()
  const namespaces = new Map(['a', 'b'].map((name) => [name, w.addNetns(name)]))
  const out: TranscriptDifference[] = []
  entries.forEach((e, index) => {
    const words = e.cmd.split(/\s+/)
    const home = namespaces.get(words[0]?.startsWith('@') === true ? (words.shift() ?? '').slice(1) : 'a')
    if (home === undefined) throw new Error(`unknown namespace in ${e.cmd}`)
    if (words[0] === 'sleep') {
      w.runUntil(w.nowNs + Number(words[1]) * NS_PER_S)
      return
    }
    if (words.join(' ') === 'modprobe ipip') {
      loadIpip(w)
      return
    }
    const cmd = words.join(' ')
    const r = execTool(
      home,
      words.map((x) => x.replace(/^@/, '')),
    )
    const text = (x: { status: number; stdout: string; stderr: string }): string =>
      `status ${x.status}\n${evened(cmd, x.stdout)}${x.stderr}`
    if (text(r) !== text(e)) out.push({ index, cmd: e.cmd, expected: text(e), got: text(r) })
  })
  return out
}
