/**
 * `bridge vlan`: the VLANs of bridge ports and of the bridge itself, in and out.
 *
 * Modelled: add, del, show. Not modelled, refused by name: set (states), tunnel_info, global, statistics.
 * Source: iproute2 bridge/vlan.c (vlan_modify, print_vlan_info); net/bridge/br_netlink.c (br_vlan_info).
 */
import type { Bridge, BridgePort } from '../bridge/bridge.ts'
import type { VlanGroup } from '../bridge/vlan.ts'
import type { NetDevice } from '../device/device.ts'
import { EOPNOTSUPP } from '../errno.ts'
import type { Netns } from '../netns.ts'
import { type Args, type IpOptions, matches } from './ip-args.ts'
import { formatJson, type JsonValue } from './ip-json.ts'
import { rtnetlink, ToolExit, unmodelled } from './result.ts'

const FAILED = 255
const VLAN_N_VID = 4096
const COLUMN = 18

/** Runs `bridge vlan ...`. */
export function bridgeVlan(ns: Netns, args: Args, o: IpOptions): string {
  if (args.done) return show(ns, args, o)
  const word = args.take()
  if (matches(word, 'add')) return modify(ns, args, true)
  if (matches(word, 'delete')) return modify(ns, args, false)
  if (matches(word, 'show') || matches(word, 'lst') || matches(word, 'list')) return show(ns, args, o)
  if (['set', 'tunnelshow', 'global'].some((name) => matches(word, name))) unmodelled(`bridge vlan ${word}`)
  throw new ToolExit(FAILED, `Command "${word}" is unknown, try "bridge vlan help".`)
}

/** Whose VLANs a command is about. */
interface Owner {
  readonly bridge: Bridge
  readonly port: BridgePort | null
}

function modify(ns: Netns, args: Args, add: boolean): string {
  let devName: string | null = null
  let range: readonly [number, number] | null = null
  let pvid = false
  let untagged = false
  let self = false
  let master = false
  while (!args.done) {
    const word = args.take()
    if (word === 'dev') devName = args.take()
    else if (word === 'vid') range = takeRange(args.take())
    else if (word === 'self') self = true
    else if (word === 'master') master = true
    else if (matches(word, 'pvid')) pvid = true
    else if (matches(word, 'untagged')) untagged = true
    else if (word === 'tunnel_info') unmodelled('bridge vlan tunnel_info')
  }
  if (devName === null || range === null) throw new ToolExit(FAILED, 'Device and VLAN ID are required arguments.')
  const dev = ns.devices.get(devName)
  if (dev === undefined) throw new ToolExit(FAILED, `Cannot find bridge device "${devName}"`)
  if (range[1] > range[0] && pvid) throw new ToolExit(FAILED, 'pvid cannot be configured for a vlan range')
  for (const { bridge, port } of ownersOf(dev, self, master)) {
    for (let vid = range[0]; vid <= range[1]; vid++) {
      if (vid === 0 || vid >= VLAN_N_VID - 1) throw new ToolExit(FAILED, 'Error: bridge: Vlan id is invalid.')
      if (add) bridge.vlanAdd(port, vid, pvid, untagged)
      else bridge.vlanDelete(port, vid)
    }
  }
  return ''
}

/** A port by default or with `master`, the bridge itself with `self`. */
function ownersOf(dev: NetDevice, self: boolean, master: boolean): Owner[] {
  const out: Owner[] = []
  if (!self || master) {
    if (dev.port === null) rtnetlink(EOPNOTSUPP, FAILED)
    else out.push({ bridge: dev.port.bridge, port: dev.port })
  }
  if (self) {
    if (dev.bridge === null) rtnetlink(EOPNOTSUPP, FAILED)
    else out.push({ bridge: dev.bridge, port: null })
  }
  return out
}

function takeRange(word: string): readonly [number, number] {
  const m = /^(\d+)(?:-(\d+))?$/.exec(word)
  const from = Number(m?.[1] ?? Number.NaN)
  const to = m?.[2] === undefined ? from : Number(m[2])
  if (m === null || from >= VLAN_N_VID || to >= VLAN_N_VID) {
    throw new ToolExit(FAILED, `Invalid VLAN ID "${word}"`)
  }
  if (m[2] !== undefined && from >= to) throw new ToolExit(FAILED, `Invalid VLAN range "${from}-${to}"`)
  return [from, to]
}

function show(ns: Netns, args: Args, o: IpOptions): string {
  let only: NetDevice | null = null
  let vid = 0
  while (!args.done) {
    const word = args.take()
    if (word === 'dev') {
      const name = args.take()
      const dev = ns.devices.get(name)
      if (dev === undefined) throw new ToolExit(FAILED, `Cannot find device "${name}"`)
      only = dev
    } else if (word === 'vid') vid = takeRange(args.take())[0]
    else unmodelled(`bridge vlan show ${word}`)
  }
  if (o.stats > 0 || o.details) unmodelled('bridge vlan statistics and details')
  const json: JsonValue[] = []
  const lines = ['port              vlan-id  ']
  for (const dev of ns.byIndex) {
    if (dev === undefined || (only !== null && dev !== only)) continue
    const vg = groupOf(dev)
    if (vg === null) continue
    const rows = [...vg.vlans].filter(([v]) => vid === 0 || v === vid)
    if (rows.length === 0) continue
    json.push({
      ifname: dev.name,
      vlans: rows.map(([vlan, untagged]) => {
        const flags = flagsOf(vg, vlan, untagged)
        return { vlan, ...(flags.length === 0 ? {} : { flags }) }
      }),
    })
    rows.forEach(([vlan, untagged], i) => {
      const words = [String(vlan), ...flagsOf(vg, vlan, untagged)].join(' ')
      lines.push(`${(i === 0 ? dev.name : '').padEnd(COLUMN)}${words}`)
    })
  }
  return o.json ? formatJson(json, o.pretty) : `${lines.join('\n')}\n`
}

/** A bridge that was never asked about VLANs has the default one, as a kernel with VLAN filtering gives it. */
function groupOf(dev: NetDevice): VlanGroup | null {
  const bridge = dev.bridge ?? dev.port?.bridge ?? null
  if (bridge === null) return null
  const vg = dev.bridge === null ? (dev.port?.vlanGroup ?? null) : bridge.vlanGroup
  return vg ?? bridge.defaultVlans()
}

function flagsOf(vg: VlanGroup, vid: number, untagged: boolean): string[] {
  return [...(vg.pvid === vid ? ['PVID'] : []), ...(untagged ? ['Egress Untagged'] : [])]
}
