/**
 * bridge(8) of iproute2 6.1: fdb, link and vlan.
 *
 * Modelled: `fdb` with `master` entries and those of vxlan devices (add, append, replace, del, show, flush), `link` show and set. Not modelled, and
 * said so: `self` entries of devices other than vxlan, mdb, monitor. The multicast addresses that Linux lists for every
 * device (33:33..., 01:00:5e...) are not shown.
 *
 * Source: iproute2 bridge/fdb.c, bridge/link.c; net/bridge/br_fdb.c (br_fdb_add, fdb_to_nud).
 */
import { formatMac } from '../../addr/mac.ts'
import type { Bridge, BridgePort } from '../bridge/bridge.ts'
import type { FdbEntry } from '../bridge/fdb.ts'
import { DEV_VXLAN, type NetDevice } from '../device/device.ts'
import { vxlanPriv } from '../device/vxlan.ts'
import { EAFNOSUPPORT, EEXIST, ENOENT, EOPNOTSUPP } from '../errno.ts'
import type { Netns } from '../netns.ts'
import {
  type FdbTarget,
  vxlanEntryState,
  vxlanFdbFlush,
  vxlanFdbModify,
  vxlanRowJson,
  vxlanRows,
  vxlanRowText,
} from './bridge-fdb-vxlan.ts'
import { bridgeVlan } from './bridge-vlan.ts'
import {
  Args,
  batchCommands,
  type IpOptions,
  matches,
  takeAddress,
  takeAddress6,
  takeDevice,
  takeMac,
  takeNumber,
  takeOnOff,
} from './ip-args.ts'
import { formatJson, type JsonValue } from './ip-json.ts'
import { flagNames, linkName, portStateName } from './ip-link-show.ts'
import { rtnetlink, runTool, ToolExit, type ToolResult, unmodelled } from './result.ts'

const FAILED = 255
const NS_PER_S = 1_000_000_000

/** Runs `bridge ARGV`; `stdin` is what `-batch -` reads. */
export function bridge(ns: Netns, argv: readonly string[], stdin = ''): ToolResult {
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
  const args = new Args(argv)
  let batch = false
  return runTool(() => {
    for (let word = args.peek(); word?.startsWith('-') === true; word = args.peek()) {
      const opt = args.take().replace(/^--/, '-')
      if (opt === '-V' || opt === '-Version') return 'bridge utility, 6.1.0\n'
      if (opt === '-b' || opt === '-batch') {
        if (args.take() !== '-') unmodelled('bridge -batch FILE (only -batch - is)')
        batch = true
      } else if (opt === '-j' || opt === '-json') o.json = true
      else if (opt === '-p' || opt === '-pretty') o.pretty = true
      else if (opt === '-o' || opt === '-oneline') o.oneline = true
      else if (opt === '-n' || opt === '-netns') args.take()
      else if (matches(opt, '-details')) o.details = true
      else if (matches(opt, '-stats') || matches(opt, '-statistics')) o.stats++
      else if (!/^-(c|color)(=.*)?$/.test(opt))
        throw new ToolExit(FAILED, `Option "${opt}" is unknown, try "bridge help".`)
    }
    if (!batch) return dispatch(ns, args, o)
    let out = ''
    let line = 0
    for (const words of batchCommands(stdin)) {
      line++
      const r = runTool(() => dispatch(ns, new Args(words), o))
      if (r.status !== 0) throw new ToolExit(1, `${r.stderr}Command failed -:${line}`)
      out += r.stdout
    }
    return out
  })
}

function dispatch(ns: Netns, args: Args, o: IpOptions): string {
  if (args.done) throw new ToolExit(FAILED, 'Usage: bridge [ OPTIONS ] OBJECT { COMMAND | help }')
  const object = args.take()
  if (matches(object, 'link')) return bridgeLink(ns, args, o)
  if (matches(object, 'fdb')) return bridgeFdb(ns, args, o)
  if (matches(object, 'vlan')) return bridgeVlan(ns, args, o)
  if (['mdb', 'vni', 'monitor'].some((name) => matches(object, name))) unmodelled(`bridge ${object}`)
  throw new ToolExit(FAILED, `Object "${object}" is unknown, try "bridge help".`)
}

function bridgeFdb(ns: Netns, args: Args, o: IpOptions): string {
  if (args.done) return fdbShow(ns, args, o)
  const word = args.take()
  if (matches(word, 'add')) return fdbModify(ns, args, 'add')
  if (matches(word, 'append')) return fdbModify(ns, args, 'append')
  if (matches(word, 'replace')) return fdbModify(ns, args, 'replace')
  if (matches(word, 'delete')) return fdbModify(ns, args, 'del')
  if (matches(word, 'get')) unmodelled('bridge fdb get')
  if (matches(word, 'show') || matches(word, 'lst') || matches(word, 'list')) return fdbShow(ns, args, o)
  if (matches(word, 'flush')) return fdbFlush(ns, args)
  throw new ToolExit(FAILED, `Command "${word}" is unknown, try "bridge fdb help".`)
}

/** A device of the namespace, or bridge(8)'s message with its exit status. */
function device(ns: Netns, name: string): NetDevice {
  return takeDevice(ns, name, FAILED)
}

function fdbModify(ns: Netns, args: Args, verb: 'add' | 'append' | 'replace' | 'del'): string {
  let macText: string | null = null
  let devName: string | null = null
  let master = false
  let self = false
  let kind: 'local' | 'static' | 'dynamic' = 'local'
  let vid = 0
  let dst6 = false
  const target: FdbTarget = { dst: null, port: null, vni: null, via: null, externLearn: false }
  while (!args.done) {
    const word = args.take()
    if (word === 'dev') devName = args.take()
    else if (word === 'dst') {
      const to = args.take()
      dst6 = to.includes(':')
      target.dst = dst6 ? takeAddress6(ns, to) : takeAddress(to)
    } else if (word === 'port') target.port = takeNumber(args.take(), 0xffff, 'invalid port')
    else if (word === 'vni') target.vni = takeNumber(args.take(), 0xffffff, 'invalid VNI')
    else if (word === 'via') target.via = takeDevice(ns, args.take(), FAILED)
    else if (word === 'vlan') vid = takeNumber(args.take(), 4094, 'invalid VLAN ID')
    else if (word === 'extern_learn') target.externLearn = true
    else if (word === 'master') master = true
    else if (word === 'self') self = true
    else if (matches(word, 'local') || matches(word, 'permanent')) kind = 'local'
    else if (matches(word, 'temp') || matches(word, 'static')) kind = 'static'
    else if (matches(word, 'dynamic')) kind = 'dynamic'
    else if (['src_vni', 'nhid', 'router', 'use', 'sticky'].includes(word)) unmodelled(`bridge fdb ... ${word}`)
    else macText = word === 'to' ? args.take() : word
  }
  if (devName === null || macText === null) throw new ToolExit(FAILED, 'Device and address are required arguments.')
  const dev = device(ns, devName)
  const mac = takeMac(macText)
  if (dev.kind === DEV_VXLAN) {
    if (target.dst !== null && dst6 !== vxlanPriv(dev).cfg.six && verb !== 'del') rtnetlink(EAFNOSUPPORT, FAILED)
    if (self || !master) vxlanFdbModify(dev, mac, target, kind, verb)
    if (!master) return ''
    self = false
  } else if (target.dst !== null && dev.bridge === null)
    unmodelled(`bridge fdb ${verb} ... dst on a device of this kind`)
  else if (target.externLearn) unmodelled('bridge fdb ... extern_learn')
  if (!master && dev.bridge === null) unmodelled(`bridge fdb ${verb} ... self`)
  const br = dev.bridge ?? dev.port?.bridge
  if (br === undefined || (self && dev.bridge === null)) {
    rtnetlink(EOPNOTSUPP, FAILED)
    return ''
  }
  const port = dev.bridge === null ? dev.port : null
  const old = br.fdb.find(mac.hi, mac.lo, vid)
  if (verb === 'del') {
    if (old === undefined || old.port !== port) rtnetlink(ENOENT, FAILED)
    else br.fdb.remove(old)
    return ''
  }
  const now = ns.world.nowNs
  if (old !== undefined) {
    if (verb === 'add') rtnetlink(EEXIST, FAILED)
    old.port = port
    old.isLocal = kind === 'local'
    old.isStatic = kind !== 'dynamic'
    old.addedByUser = true
    old.updatedNs = now
    old.usedNs = now
    return ''
  }
  br.fdb.insert({
    macHi: mac.hi,
    macLo: mac.lo,
    vid,
    port,
    isLocal: kind === 'local',
    isStatic: kind !== 'dynamic',
    addedByUser: true,
    updatedNs: now,
    usedNs: now,
    createdNs: now,
  })
  return ''
}

interface FdbFilter {
  br: Bridge | null
  dev: NetDevice | null
  state: string | null
}

function takeFdbFilter(ns: Netns, args: Args): FdbFilter {
  const f: FdbFilter = { br: null, dev: null, state: null }
  while (!args.done) {
    const word = args.take()
    if (word === 'br') {
      const name = args.take()
      const br = ns.devices.get(name)
      if (br === undefined) throw new ToolExit(FAILED, `Cannot find bridge device "${name}"`)
      f.br = br.bridge
    } else if (word === 'brport' || word === 'dev') {
      const name = args.take()
      const dev = ns.devices.get(name)
      if (dev === undefined) throw new ToolExit(FAILED, `Cannot find device "${name}"`)
      f.dev = dev
    } else if (word === 'state') f.state = args.take()
    else if (word === 'dynamic') f.state = 'dynamic'
    else if (word === 'vlan') unmodelled('bridge fdb show vlan')
    else throw new ToolExit(FAILED, `Error: argument "${word}" is wrong: unknown`)
  }
  return f
}

/** fdb_to_nud, as bridge(8) names it: nothing for a learned entry that is fresh. */
function entryState(br: Bridge, e: FdbEntry): string {
  if (e.isLocal) return 'permanent'
  if (e.isStatic) return 'static'
  return br.dev.ns.world.nowNs - e.updatedNs >= br.ageingNs ? 'stale' : ''
}

/** Entries behind one device, newest first, as the kernel's list has them. */
function entriesOf(dev: NetDevice): { br: Bridge; entry: FdbEntry }[] {
  const br = dev.bridge ?? dev.port?.bridge
  if (br === undefined) return []
  const port: BridgePort | null = dev.bridge === null ? dev.port : null
  return br.fdb
    .entries()
    .filter((e) => e.port === port)
    .reverse()
    .map((entry) => ({ br, entry }))
}

function fdbShow(ns: Netns, args: Args, o: IpOptions): string {
  const f = takeFdbFilter(ns, args)
  const devs = ns.byIndex.filter((d): d is NetDevice => d !== undefined && (f.dev === null || d === f.dev))
  const fits = (state: string): boolean => f.state === null || f.state === 'all' || stateFits(state, f.state)
  const withDev = f.dev === null
  const text: string[] = []
  const json: JsonValue[] = []
  for (const dev of devs) {
    for (const { br, entry } of entriesOf(dev)) {
      if ((f.br !== null && br !== f.br) || !fits(entryState(br, entry))) continue
      if (o.json) json.push(fdbJson(dev, br, entry, f, o))
      else text.push(fdbText(dev, br, entry, f, o))
    }
    if (f.br !== null && dev.port?.bridge !== f.br) continue
    for (const row of vxlanRows(dev)) {
      if (!fits(vxlanEntryState(row.entry))) continue
      if (o.json) json.push(vxlanRowJson(row, withDev, o.stats > 0))
      else text.push(vxlanRowText(row, withDev, o.stats > 0))
    }
  }
  return o.json ? formatJson(json, o.pretty) : text.join('')
}

function stateFits(state: string, wanted: string): boolean {
  return (
    state === wanted ||
    (wanted === 'dynamic' && (state === '' || state === 'stale')) ||
    (wanted === 'reachable' && state === '')
  )
}

function used(br: Bridge, e: FdbEntry): readonly [number, number] {
  const now = br.dev.ns.world.nowNs
  return [Math.floor((now - e.usedNs) / NS_PER_S), Math.floor((now - e.updatedNs) / NS_PER_S)]
}

function fdbText(dev: NetDevice, br: Bridge, e: FdbEntry, f: FdbFilter, o: IpOptions): string {
  const mac = formatMac({ hi: e.macHi, lo: e.macLo })
  const stats = o.stats > 0 ? `used ${used(br, e).join('/')} ` : ''
  return `${mac} ${f.dev === null ? `dev ${dev.name} ` : ''}${e.vid === 0 ? '' : `vlan ${e.vid} `}${stats}master ${br.dev.name} ${entryState(br, e)}\n`
}

function fdbJson(dev: NetDevice, br: Bridge, e: FdbEntry, f: FdbFilter, o: IpOptions): JsonValue {
  const [u, m] = used(br, e)
  return {
    mac: formatMac({ hi: e.macHi, lo: e.macLo }),
    ...(f.dev === null ? { ifname: dev.name } : {}),
    ...(e.vid === 0 ? {} : { vlan: e.vid }),
    ...(o.stats > 0 ? { used: u, updated: m } : {}),
    flags: [],
    master: br.dev.name,
    state: entryState(br, e),
  }
}

function fdbFlush(ns: Netns, args: Args): string {
  let devName: string | null = null
  let master = false
  while (!args.done) {
    const word = args.take()
    if (word === 'dev') devName = args.take()
    else if (word === 'master') master = true
    else if (word !== 'self') unmodelled(`bridge fdb flush ... ${word}`)
  }
  if (devName === null) throw new ToolExit(FAILED, 'Device is a required argument.')
  const dev = device(ns, devName)
  if (dev.bridge !== null) dev.bridge.fdbFlush()
  else if (dev.kind === DEV_VXLAN && !master) vxlanFdbFlush(dev)
  else if (dev.port === null) rtnetlink(EOPNOTSUPP, FAILED)
  else {
    const port = dev.port
    port.bridge.fdb.removeIf((e) => e.port === port && !e.isStatic && !e.isLocal)
  }
  return ''
}

function bridgeLink(ns: Netns, args: Args, o: IpOptions): string {
  if (args.done) return linkShow(ns, args, o)
  const word = args.take()
  if (matches(word, 'set') || matches(word, 'change')) return linkSet(ns, args)
  if (matches(word, 'show') || matches(word, 'lst') || matches(word, 'list')) return linkShow(ns, args, o)
  throw new ToolExit(FAILED, `Command "${word}" is unknown, try "bridge link help".`)
}

/** Words of `bridge link set` with the port's field that each one sets. */
const FLAGS: {
  readonly [word: string]:
    | 'hairpin'
    | 'learning'
    | 'flood'
    | 'mcastFlood'
    | 'bcastFlood'
    | 'isolated'
    | 'guard'
    | 'rootBlock'
    | 'fastleave'
    | 'mcastToUnicast'
} = {
  hairpin: 'hairpin',
  learning: 'learning',
  flood: 'flood',
  mcast_flood: 'mcastFlood',
  bcast_flood: 'bcastFlood',
  isolated: 'isolated',
  guard: 'guard',
  root_block: 'rootBlock',
  fastleave: 'fastleave',
  mcast_to_unicast: 'mcastToUnicast',
}

function linkSet(ns: Netns, args: Args): string {
  let devName: string | null = null
  const changes: (readonly [string, boolean])[] = []
  while (!args.done) {
    const word = args.take()
    if (word === 'dev') devName = args.take()
    else if (FLAGS[word] !== undefined) changes.push([word, takeOnOff(word, args.take())])
    else if (word !== 'self' && word !== 'master') unmodelled(`bridge link set ... ${word}`)
  }
  if (devName === null) throw new ToolExit(FAILED, 'Device is a required argument.')
  const dev = ns.devices.get(devName)
  if (dev === undefined) throw new ToolExit(FAILED, `Cannot find bridge device "${devName}"`)
  const port = dev.port
  if (port === null) {
    rtnetlink(EOPNOTSUPP, FAILED)
    return ''
  }
  for (const [word, on] of changes) {
    const field = FLAGS[word]
    if (field !== undefined) port[field] = on
  }
  return ''
}

function linkShow(ns: Netns, args: Args, o: IpOptions): string {
  let only: NetDevice | null = null
  while (!args.done) {
    const word = args.take()
    if (word !== 'dev') throw new ToolExit(FAILED, `Error: argument "${word}" is wrong: unknown`)
    const name = args.take()
    const dev = ns.devices.get(name)
    if (dev === undefined) throw new ToolExit(FAILED, `Cannot find device "${name}"`)
    only = dev
  }
  const ports = ns.byIndex.filter(
    (d): d is NetDevice => d !== undefined && d.port !== null && (only === null || d === only),
  )
  if (o.json)
    return formatJson(
      ports.map((d) => linkJson(d, o)),
      o.pretty,
    )
  return ports.map((d) => linkText(d, o)).join('')
}

function portFlags(p: BridgePort): readonly (readonly [string, boolean])[] {
  return [
    ['hairpin', p.hairpin],
    ['guard', p.guard],
    ['root_block', p.rootBlock],
    ['fastleave', p.fastleave],
    ['learning', p.learning],
    ['flood', p.flood],
    ['mcast_flood', p.mcastFlood],
    ['bcast_flood', p.bcastFlood],
  ]
}

function lateFlags(p: BridgePort): readonly (readonly [string, boolean])[] {
  return [
    ['mcast_to_unicast', p.mcastToUnicast],
    ['neigh_suppress', p.neighSuppress],
    ['vlan_tunnel', p.vlanTunnel],
    ['isolated', p.isolated],
    ['locked', p.locked],
  ]
}

function onOff(flags: readonly (readonly [string, boolean])[]): string {
  return flags.map(([name, on]) => `${name} ${on ? 'on' : 'off'} `).join('')
}

function linkText(dev: NetDevice, o: IpOptions): string {
  const p = dev.port
  if (p === null) return ''
  const head =
    `${dev.ifindex}: ${linkName(dev)}: <${flagNames(dev).join(',')}> mtu ${dev.mtu} master ${p.bridge.dev.name} ` +
    `state ${portStateName(p)} priority ${p.priority} cost ${p.cost} `
  if (!o.details) return `${head}\n`
  return `${head}${o.oneline ? '\\' : '\n'}    ${onOff(portFlags(p))}mcast_router 1 ${onOff(lateFlags(p))}\n`
}

function linkJson(dev: NetDevice, o: IpOptions): JsonValue {
  const p = dev.port
  if (p === null) return {}
  const peer = dev.peer
  return {
    ifindex: dev.ifindex,
    ...(peer === null ? {} : peer.ns === dev.ns ? { link: peer.name } : { link_index: peer.ifindex }),
    ifname: dev.name,
    flags: flagNames(dev),
    mtu: dev.mtu,
    master: p.bridge.dev.name,
    state: portStateName(p),
    priority: p.priority,
    cost: p.cost,
    ...(o.details ? { ...Object.fromEntries(portFlags(p)), mcast_router: 1, ...Object.fromEntries(lateFlags(p)) } : {}),
  }
}
