/**
 * Transcripts of real tools: replay the commands in a simulated namespace and compare output for output.
 *
 * What a run of the real tool draws from time or from a random seed is evened out on both sides: bridge timers, the order
 * of neighbours (hash buckets), and the multicast addresses of `bridge fdb`, which are not modelled.
 */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
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
const GROUP = /^(33:33|01:00:5e)/

function evened(cmd: string, text: string): string {
  let lines = text.replace(/(_timer|gc_timer) +\d+\.\d\d/g, '$1 0').split('\n')
  if (/^bridge (-\S+ )*fdb/.test(cmd)) {
    lines = lines.filter((l) => !GROUP.test(l)).map((l) => (l.startsWith('[') ? JSON.stringify((JSON.parse(l) as { mac: string }[]).filter((e) => !GROUP.test(e.mac))) : l))
  }
  // Linux has sent and received IGMP by then, which is not modelled
  if (/^ip -s /.test(cmd)) lines = lines.map((l) => (/^ +\d+( +\d+){5} $/.test(l) ? l.replace(/ +\d+ +\d+/, ' N N') : l))
  if (/^ip (-\S+ )*neigh/.test(cmd)) {
    lines = lines.map((l) => (l.startsWith('[') ? JSON.stringify((JSON.parse(l) as { dst: string }[]).sort((a, b) => (a.dst < b.dst ? -1 : 1))) : l)).sort()
  }
  return lines.join('\n')
}

/** Replays the transcript in a fresh namespace and gives what differs. */
export function replayTranscript(entries: readonly TranscriptEntry[]): TranscriptDifference[] {
  const w = new World()
  const ns = w.addNetns('transcript')
  const out: TranscriptDifference[] = []
  entries.forEach((e, index) => {
    const words = e.cmd.split(/\s+/)
    if (words[0] === 'sleep') {
      w.runUntil(w.nowNs + Number(words[1]) * NS_PER_S)
      return
    }
    const r = execTool(ns, words)
    const text = (x: { status: number; stdout: string; stderr: string }): string => `status ${x.status}\n${evened(e.cmd, x.stdout)}${x.stderr}`
    if (text(r) !== text(e)) out.push({ index, cmd: e.cmd, expected: text(e), got: text(r) })
  })
  return out
}
