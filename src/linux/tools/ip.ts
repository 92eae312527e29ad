/**
 * ip(8) of iproute2 6.1: link, address, route, rule and neighbour, in the tool's own syntax and output.
 *
 * Not modelled, and said so: IPv6 objects, tunnels, netns, xfrm, tc objects, `ip monitor`. `-n` is taken and ignored: the
 * namespace is the one the tool runs in.
 *
 * Source: iproute2 ip/ip.c.
 */
import type { Netns } from '../netns.ts'
import { ipAddr } from './ip-addr.ts'
import { Args, batchCommands, type IpOptions, matches } from './ip-args.ts'
import { ipLink } from './ip-link.ts'
import { ipNeigh } from './ip-neigh.ts'
import { ipRoute } from './ip-route.ts'
import { ipRule } from './ip-rule.ts'
import { runTool, ToolExit, type ToolResult, unmodelled } from './result.ts'

type IpObject = (ns: Netns, args: Args, o: IpOptions) => string

/** In the order of ip.c: an abbreviation means the first object that it is a prefix of. */
const OBJECTS: readonly (readonly [string, IpObject | null])[] = [
  ['address', ipAddr],
  ['addrlabel', null],
  ['maddress', null],
  ['route', ipRoute],
  ['rule', ipRule],
  ['neighbor', ipNeigh],
  ['neighbour', ipNeigh],
  ['ntable', null],
  ['ntbl', null],
  ['link', ipLink],
  ['l2tp', null],
  ['fou', null],
  ['ila', null],
  ['macsec', null],
  ['tunnel', null],
  ['tunl', null],
  ['tuntap', null],
  ['tap', null],
  ['token', null],
  ['tcpmetrics', null],
  ['tcp_metrics', null],
  ['monitor', null],
  ['xfrm', null],
  ['mroute', null],
  ['mrule', null],
  ['netns', null],
  ['netconf', null],
  ['vrf', null],
  ['sr', null],
  ['nexthop', null],
  ['mptcp', null],
  ['ioam', null],
  ['stats', null],
]

/** Runs `ip ARGV`; `stdin` is what `-batch -` reads. */
export function ip(ns: Netns, argv: readonly string[], stdin = ''): ToolResult {
  ns.gen++
  const o: IpOptions = {
    details: false,
    json: false,
    pretty: false,
    oneline: false,
    brief: false,
    stats: 0,
    family: '',
  }
  let batch: string | null = null
  let force = false
  const args = new Args(argv)
  return runTool(() => {
    for (let word = args.peek(); word?.startsWith('-') === true; word = args.peek()) {
      const opt = args.take().replace(/^--/, '-')
      if (opt === '-V' || opt === '-Version') return 'ip utility, iproute2-6.1.0\n'
      if (opt === '-b' || opt === '-batch') batch = args.take()
      else if (opt === '-force') force = true
      else readOption(opt, o, args)
    }
    if (batch !== null) return runBatch(ns, o, batch, force, stdin)
    if (args.done) throw new ToolExit(255, 'Usage: ip [ OPTIONS ] OBJECT { COMMAND | help }')
    return dispatch(ns, args, o)
  })
}

function readOption(opt: string, o: IpOptions, args: Args): void {
  if (opt === '-4') o.family = 'inet'
  else if (opt === '-6') o.family = 'inet6'
  else if (opt === '-f' || opt === '-family') {
    const family = args.take()
    if (family !== 'inet' && family !== 'inet6') unmodelled(`ip -family ${family}`)
    o.family = family
  } else if (opt === '-j' || opt === '-json' || opt === '-js') o.json = true
  else if (opt === '-p' || opt === '-pretty') o.pretty = true
  else if (opt === '-o' || opt === '-oneline') o.oneline = true
  else if (opt === '-br' || opt === '-brief') o.brief = true
  else if (opt === '-n' || opt === '-netns') args.take()
  else if (matches(opt, '-details') && opt.length > 1) o.details = true
  else if (matches(opt, '-stats') || matches(opt, '-statistics')) o.stats++
  else if (/^-(c|color)(=.*)?$/.test(opt) || opt === '-N' || opt === '-Numeric' || opt === '-r' || opt === '-resolve')
    return
  else throw new ToolExit(255, `Option "${opt}" is unknown, try "ip -help".`)
}

function dispatch(ns: Netns, args: Args, o: IpOptions): string {
  const word = args.take()
  const object = OBJECTS.find(([name]) => matches(word, name))
  if (object === undefined) throw new ToolExit(1, `Object "${word}" is unknown, try "ip help".`)
  if (object[1] === null) unmodelled(`ip ${object[0]}`)
  return object[1](ns, args, o)
}

function runBatch(ns: Netns, o: IpOptions, file: string, force: boolean, stdin: string): string {
  if (file !== '-') unmodelled(`ip -batch ${file} (only -batch - is)`)
  let out = ''
  let line = 0
  for (const words of batchCommands(stdin)) {
    line++
    const r = runTool(() => dispatch(ns, new Args(words), o))
    out += r.stdout
    if (r.status !== 0 && !force) throw new ToolExit(1, `${r.stderr}Command failed ${file}:${line}`)
  }
  return out
}
