/**
 * The steps of a scenario: frames, commands, time; socket calls are in socket-ops.ts.
 *
 * A step gives its result fields, `errno` when a call failed, or null when there is nothing to say.
 */
import { injectFrame } from '../linux/core/dev.ts'
import { ENODEV, errnoName } from '../linux/errno.ts'
import { execTool } from '../linux/tools/exec.ts'
import type { World } from '../linux/world.ts'
import { labTool, netnsOf } from './build.ts'
import { LabError, type LabScenario, type LabStep } from './scenario.ts'
import { SocketOps } from './socket-ops.ts'

/** Fields of a step's result. */
export interface StepResult {
  readonly [field: string]: unknown
}

const NS_PER_MS = 1_000_000

/** Runs the steps of one scenario in one world. */
export class LabOps {
  private readonly w: World
  private readonly scenario: LabScenario
  private readonly sockets: SocketOps

  constructor(w: World, scenario: LabScenario) {
    this.w = w
    this.scenario = scenario
    this.sockets = new SocketOps(w)
  }

  /** Runs one step; what it sends is handled before this returns, time passes only for `wait`. */
  run(step: LabStep): StepResult | null {
    switch (step.op) {
      case 'frame':
        return this.frame(step)
      case 'wait':
        this.w.runUntil(this.w.nowNs + (step.ms ?? 0) * NS_PER_MS)
        return null
      case 'cmd':
        return this.command(step)
      case 'iptables':
      case 'ip6tables': {
        const tool = `${step.op}-${this.scenario.backend ?? 'legacy'}-restore`
        labTool(netnsOf(this.w, step.ns ?? ''), [tool, ...(step.args ?? [])], step.text ?? '')
        return null
      }
      default:
        return this.sockets.run(step)
    }
  }

  private frame(step: LabStep): StepResult | null {
    const dev = netnsOf(this.w, step.ns ?? '').devices.get(step.dev ?? '')
    if (dev === undefined) return { errno: errnoName(ENODEV) }
    const sent = injectFrame(this.w, dev, Buffer.from(step.hex ?? '', 'hex'))
    return sent < 0 ? { errno: errnoName(sent) } : null
  }

  private command(step: LabStep): StepResult {
    const ns = netnsOf(this.w, step.ns ?? '')
    const argv = step.argv ?? []
    if (step.may_fail !== true) labTool(ns, argv, step.stdin)
    else {
      const r = execTool(ns, argv, step.stdin)
      if (r.status === 127) throw new LabError(r.stderr.trim())
      return { rc: r.status }
    }
    return { rc: 0 }
  }
}
