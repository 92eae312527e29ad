/**
 * tc(8) of iproute2 6.1: queueing disciplines and, in tc-filter.ts, filters.
 *
 * Modelled: `qdisc` add, replace, del and show of clsact and ingress, and of noqueue, pfifo_fast, pfifo, bfifo, fq_codel,
 * htb (without classes), tbf and netem (delay, limit) at the root, held as configuration: what they do to the time of a
 * packet is left to the timed simulation. Refused by name: classes, qdiscs below a class, mq, netem's loss, duplication,
 * corruption and reordering, other disciplines.
 * Source: iproute2 tc/tc.c, tc_qdisc.c, q_*.c, tc_util.c (print_rate, print_size).
 */
import { DEV_NIC, type NetDevice } from '../device/device.ts'
import type { Netns } from '../netns.ts'
import { allocHandle, devTc, tcChanged } from '../tc/config.ts'
import type { TcQdisc } from '../tc/types.ts'
import { Args, batchCommands, matches, takeDevice } from './ip-args.ts'
import { hasQdisc } from './ip-link-show.ts'
import { runTool, ToolExit, type ToolResult, unmodelled } from './result.ts'
import { tcFilter } from './tc-filter.ts'
import { qdiscOptions } from './tc-qdisc.ts'

const KNOWN = ['noqueue', 'pfifo_fast', 'pfifo', 'bfifo', 'fq_codel', 'htb', 'tbf', 'netem']
const REFUSED = [
  'mq',
  'mqprio',
  'fq',
  'codel',
  'sfq',
  'prio',
  'hfsc',
  'cake',
  'red',
  'drr',
  'ets',
  'multiq',
  'plug',
  'qfq',
  'choke',
  'sfb',
  'hhf',
  'pie',
  'fq_pie',
  'taprio',
  'etf',
  'cbs',
  'gred',
  'teql0',
  'skbprio',
  'pfifo_head_drop',
]

/** Runs `tc ARGV`; `stdin` is what `-batch -` reads. */
export function tc(ns: Netns, argv: readonly string[], stdin = ''): ToolResult {
  const args = new Args(argv)
  let stats = false
  let batch = false
  return runTool(() => {
    for (let word = args.peek(); word?.startsWith('-') === true; word = args.peek()) {
      const opt = args.take()
      if (opt === '-s' || matches(opt, '-statistics')) stats = true
      else if (opt === '-V') return 'tc utility, iproute2-6.1.0, libbpf 1.1.2\n'
      else if (opt === '-n' || opt === '-netns') args.take()
      else if (opt === '-b' || opt === '-batch') {
        if (args.take() !== '-') unmodelled('tc -batch FILE (only -batch - is)')
        batch = true
      } else if (
        opt === '-d' ||
        opt === '-details' ||
        opt === '-j' ||
        opt === '-json' ||
        opt === '-p' ||
        opt === '-pretty'
      )
        unmodelled(`tc ${opt}`)
      else throw new ToolExit(255, `Option "${opt}" is unknown, try "tc -help".`)
    }
    if (!batch) return dispatch(ns, args, stats)
    let out = ''
    let line = 0
    for (const words of batchCommands(stdin)) {
      line++
      const r = runTool(() => dispatch(ns, new Args(words), stats))
      if (r.status !== 0) throw new ToolExit(1, `${r.stderr}Command failed -:${line}`)
      out += r.stdout
    }
    return out
  })
}

function dispatch(ns: Netns, args: Args, stats: boolean): string {
  const object = args.take()
  if (matches(object, 'qdisc')) return qdisc(ns, args, stats)
  if (matches(object, 'class')) return unmodelled('tc class')
  if (matches(object, 'filter')) return tcFilter(ns, args, stats)
  if (['actions', 'chain', 'monitor', 'exec'].some((x) => matches(object, x))) unmodelled(`tc ${object}`)
  throw new ToolExit(255, `Object "${object}" is unknown, try "tc help".`)
}

function qdisc(ns: Netns, args: Args, stats: boolean): string {
  const word = args.done ? 'show' : args.take()
  if (matches(word, 'add')) return change(ns, args, 'add')
  if (matches(word, 'change') || word === 'replace') return change(ns, args, 'replace')
  if (matches(word, 'link')) unmodelled('tc qdisc link')
  if (matches(word, 'delete')) return change(ns, args, 'del')
  if (matches(word, 'show') || matches(word, 'list') || word === 'lst') return show(ns, args, stats)
  throw new ToolExit(255, `Command "${word}" is unknown, try "tc qdisc help".`)
}

function change(ns: Netns, args: Args, verb: 'add' | 'replace' | 'del'): string {
  let devName: string | null = null
  let handle: number | null = null
  let root = false
  let kind: string | null = null
  while (!args.done && kind === null) {
    const word = args.take()
    if (word === 'dev') devName = args.take()
    else if (word === 'handle') handle = takeHandle(args.take())
    else if (word === 'root') root = true
    else if (word === 'parent') {
      const parent = args.take()
      if (parent !== 'ffff:fff1') unmodelled(`tc qdisc parent ${parent}`)
    } else kind = word
  }
  if (devName === null) throw new ToolExit(255, 'Must specify "dev" device')
  const dev = takeDevice(ns, devName)
  if (kind === 'clsact' || kind === 'ingress') return changeHook(dev, kind, verb)
  if (verb === 'del') return delRoot(dev, root)
  if (kind === null || !root) unmodelled('tc qdisc without root and kind')
  if (REFUSED.includes(kind)) unmodelled(`qdisc ${kind}`)
  if (!KNOWN.includes(kind)) throw new ToolExit(2, 'Error: Specified qdisc kind is unknown.')
  const options = qdiscOptions(kind, args, dev)
  const tcOf = devTc(dev)
  if (verb === 'add' && tcOf.root !== null) throw new ToolExit(2, 'Error: NLM_F_REPLACE needed to override.')
  tcOf.root = { kind, handle: handle ?? allocHandle(ns.world), options, packets: 0, bytes: 0 }
  tcChanged(dev)
  return ''
}

function takeHandle(word: string): number {
  const m = /^([0-9a-f]{1,4}):?$/i.exec(word)
  if (m === null) throw new ToolExit(255, 'Error: argument "handle" is wrong: invalid qdisc ID')
  return Number.parseInt(m[1]!, 16)
}

function changeHook(dev: NetDevice, kind: 'clsact' | 'ingress', verb: 'add' | 'replace' | 'del'): string {
  if (verb === 'del') {
    if (dev.tc === null || dev.tc.hookKind === null) throw new ToolExit(2, 'Error: Invalid handle.')
    if (dev.tc.hookKind !== kind) throw new ToolExit(2, 'Error: Invalid qdisc name.')
    dev.tc.hookKind = null
    dev.tc.ingress = []
    dev.tc.egress = []
    dev.tc.packets = 0
    dev.tc.bytes = 0
    dev.tc.drops = 0
    tcChanged(dev)
    return ''
  }
  const tcOf = devTc(dev)
  if (tcOf.hookKind !== null && (verb === 'add' || tcOf.hookKind !== kind)) {
    throw new ToolExit(2, 'Error: Exclusivity flag on, cannot modify.')
  }
  tcOf.hookKind = kind
  tcChanged(dev)
  return ''
}

function delRoot(dev: NetDevice, root: boolean): string {
  if (!root) unmodelled('tc qdisc del without root')
  if (dev.tc === null || dev.tc.root === null) {
    throw new ToolExit(2, 'Error: Cannot delete qdisc with handle of zero.')
  }
  dev.tc.root = null
  tcChanged(dev)
  return ''
}

function show(ns: Netns, args: Args, stats: boolean): string {
  let only: NetDevice | null = null
  let hookOnly = false
  while (!args.done) {
    const word = args.take()
    if (word === 'dev') only = takeDevice(ns, args.take())
    else if (word === 'ingress' || word === 'clsact') hookOnly = true
    else if (word !== 'root') throw new ToolExit(255, `What is "${word}"? Try "tc qdisc help".`)
  }
  const out: string[] = []
  for (const dev of ns.byIndex) {
    if (dev === undefined || (only !== null && dev !== only)) continue
    const name = only === null ? `dev ${dev.name} ` : ''
    const root = dev.tc?.root ?? implicitRoot(dev)
    if (root !== null && !hookOnly) {
      const handle = root.handle === 0 ? '0:' : `${root.handle.toString(16)}:`
      out.push(`qdisc ${root.kind} ${handle} ${name}root refcnt 2 ${root.options}\n`)
      if (stats) out.push(statLines(root.bytes, root.packets, 0, root.kind))
    }
    const hook = dev.tc?.hookKind ?? null
    if (hook === null || dev.tc === null) continue
    out.push(`qdisc ${hook} ffff: ${name}parent ffff:fff1 ${hook === 'ingress' ? '---------------- ' : ''}\n`)
    if (stats) out.push(statLines(dev.tc.bytes, dev.tc.packets, dev.tc.drops, hook))
  }
  return out.join('')
}

/** What a device has without being told, once it was up. */
function implicitRoot(dev: NetDevice): TcQdisc | null {
  if (!hasQdisc(dev)) return null
  const kind = dev.kind === DEV_NIC ? 'fq_codel' : 'noqueue'
  return { kind, handle: 0, options: qdiscOptions(kind, new Args([]), dev), packets: 0, bytes: 0 }
}

function statLines(bytes: number, packets: number, drops: number, kind: string): string {
  if (kind === 'fq_codel' || kind === 'htb' || kind === 'netem') unmodelled(`tc -s qdisc of ${kind}`)
  return (
    ` Sent ${bytes} bytes ${packets} pkt (dropped ${drops}, overlimits 0 requeues 0) \n` + ' backlog 0b 0p requeues 0\n'
  )
}
