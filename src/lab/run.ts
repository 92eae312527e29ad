/**
 * Runs a scenario: in the simulator, or on the real kernel through the recorder.
 *
 * After each step the lab waits until no frame was seen for `quiet_ms` (at most 6 s), in virtual time here. The result is
 * what the recorder prints, with `kernel` naming podwalk.
 */
import type { World } from '../linux/world.ts'
import { buildLab } from './build.ts'
import { Capture } from './capture.ts'
import { runOnLinux } from './linux.ts'
import { fixedIds, Norm } from './norm.ts'
import { LabOps } from './ops.ts'
import type {
  LabEvent,
  LabLinkType,
  LabOpResult,
  LabResult,
  LabScenario,
  LabState,
  LabVolatileField,
} from './scenario.ts'
import { UnmodelledError } from './scenario.ts'
import { labState } from './state.ts'

/** Where a scenario runs. */
export type LabBackend = 'sim' | 'linux'

/** Options of a run. */
export interface LabOptions {
  readonly backend?: LabBackend
  /** Seed of the simulator's random draws. Default 1. */
  readonly seed?: number
  /** UnmodelledError when a packet of the lab met something that is not modelled. Default false. */
  readonly strict?: boolean
}

const NS_PER_MS = 1_000_000
const SETTLE_MAX_MS = 6000
const SETTLE_BEFORE_MS = 30
const DEFAULT_QUIET_MS = 25

/**
 * Runs a scenario and gives its recording.
 *
 * Throws UnmodelledError for what the simulator does not model, LabError for a scenario that a tool refuses, and
 * LinuxBackendError when the real kernel cannot be asked.
 */
export function runLab(scenario: LabScenario, options: LabOptions = {}): LabResult {
  if (options.backend === 'linux') return runOnLinux(scenario)
  const w = buildLab(scenario, options.seed ?? 1)
  const capture = new Capture(w.arena, scenario.capture_lo === true)
  w.tap = capture
  const ops = runSteps(w, scenario, capture)
  // what the questions about the state set off (ping) is not part of the recording
  w.tap = null
  const state = labState(w, scenario)
  if (options.strict === true && w.unmodelled > 0) {
    throw new UnmodelledError(
      typeof w.unmodelledRef === 'string' ? w.unmodelledRef : "something on a packet's way",
      `${w.unmodelled} packets`,
    )
  }
  return result(w, scenario, capture, ops, state)
}

function runSteps(w: World, scenario: LabScenario, capture: Capture): LabOpResult[] {
  const lab = new LabOps(w, scenario)
  const results: LabOpResult[] = []
  w.runUntilQuiet(SETTLE_BEFORE_MS * NS_PER_MS, SETTLE_MAX_MS * NS_PER_MS)
  scenario.steps.forEach((step, i) => {
    capture.step = i
    const r = lab.run(step)
    const quietMs = step.quiet_ms ?? scenario.quiet_ms ?? DEFAULT_QUIET_MS
    w.runUntilQuiet(quietMs * NS_PER_MS, SETTLE_MAX_MS * NS_PER_MS)
    if (r !== null) results.push({ step: i, op: step.op, ...r })
  })
  return results
}

function result(w: World, scenario: LabScenario, capture: Capture, ops: LabOpResult[], state: LabState): LabResult {
  const fixed = fixedIds(scenario)
  const norms = new Map<string, Norm>()
  const ifaces: { [iface: string]: string[] } = {}
  const raw: { [iface: string]: string[] } = {}
  const linkTypes: { [iface: string]: LabLinkType } = {}
  const events: LabEvent[] = []
  const volatileMarks: (readonly [string, number, readonly LabVolatileField[]])[] = []
  for (const f of capture.frames) {
    const link: LabLinkType = f.ether ? 'ether' : 'ip'
    let norm = norms.get(f.iface)
    if (norm === undefined) {
      norm = new Norm(scenario.norm ?? {}, fixed)
      norms.set(f.iface, norm)
    }
    const { bytes, touched } = norm.frame(f.bytes, link)
    const list = (ifaces[f.iface] ??= [])
    events.push([f.step, f.iface, f.direction, list.length])
    if (touched.length > 0) volatileMarks.push([f.iface, list.length, touched])
    list.push(Buffer.from(bytes).toString('hex'))
    ;(raw[f.iface] ??= []).push(Buffer.from(f.bytes).toString('hex'))
    linkTypes[f.iface] = link
  }
  for (const ns of w.namespaces) {
    for (const dev of ns.devices.values()) {
      const key = `${ns.name}/${dev.name}`
      if (dev.name === 'lo' && ifaces[key] === undefined) continue
      ifaces[key] ??= []
      linkTypes[key] = dev.ether ? 'ether' : 'ip'
    }
  }
  const changed = Object.entries(raw).filter(([k, frames]) => frames.some((h, i) => h !== ifaces[k]?.[i]))
  return {
    scenario: scenario.name,
    title: scenario.title ?? '',
    kernel: 'podwalk',
    iptables_backend:
      scenario.iptables === undefined || Object.keys(scenario.iptables).length === 0
        ? null
        : (scenario.backend ?? 'legacy'),
    link_types: linkTypes,
    ifaces,
    events,
    ops,
    state,
    volatile: volatileMarks,
    raw: Object.fromEntries(changed),
    csum_partial_seen: false,
  }
}
