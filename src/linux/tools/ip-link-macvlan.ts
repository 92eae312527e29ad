/**
 * `ip link ... type macvlan` and `type ipvlan`: their options in and out.
 *
 * Not modelled, refused by name: macvlan mode source, flags and bcqueuelen; ipvlan mode l3s.
 * Source: iproute2 ip/iplink_macvlan.c, ip/iplink_ipvlan.c; drivers/net/macvlan.c, drivers/net/ipvlan/ipvlan_main.c.
 */
import type { Mac } from '../../addr/mac.ts'
import type { NetDevice } from '../device/device.ts'
import {
  createIpvlan,
  IPVLAN_F_PRIVATE,
  IPVLAN_F_VEPA,
  IPVLAN_L2,
  IPVLAN_L3,
  ipvlanPort,
  ipvlanSetMode,
} from '../device/ipvlan.ts'
import {
  createMacvlan,
  MACVLAN_BRIDGE,
  MACVLAN_PASSTHRU,
  MACVLAN_PRIVATE,
  MACVLAN_VEPA,
  macvlanPriv,
} from '../device/macvlan.ts'
import { EINVAL } from '../errno.ts'
import type { Netns } from '../netns.ts'
import { type Args, matches } from './ip-args.ts'
import { rtnetlink, ToolExit, unmodelled } from './result.ts'

const MACVLAN_USAGE = [
  'Usage: ... macvlan mode MODE [flag MODE_FLAG] MODE_OPTS [bcqueuelen BC_QUEUE_LEN]',
  '',
  'MODE: private | vepa | bridge | passthru | source',
  'MODE_FLAG: null | nopromisc | nodst',
  'MODE_OPTS: for mode "source":',
  '\tmacaddr { { add | del } <macaddr> | set [ <macaddr> [ <macaddr>  ... ] ] | flush }',
  'BC_QUEUE_LEN: Length of the rx queue for broadcast/multicast: [0-4294967295]',
].join('\n')
const IPVLAN_USAGE = [
  'Usage: ... ipvlan [ mode MODE ] [ FLAGS ]',
  '',
  'MODE: l3 | l3s | l2',
  'FLAGS: bridge | private | vepa',
  '(first values are the defaults if nothing is specified).',
].join('\n')
const MODES: { readonly [name: string]: number } = {
  private: MACVLAN_PRIVATE,
  vepa: MACVLAN_VEPA,
  bridge: MACVLAN_BRIDGE,
  passthru: MACVLAN_PASSTHRU,
}

function takeMacvlan(args: Args): number | null {
  let mode: number | null = null
  while (!args.done) {
    const word = args.take()
    if (matches(word, 'mode')) {
      const name = args.take()
      if (name === 'source') unmodelled('macvlan mode source')
      const known = MODES[name]
      if (known === undefined) {
        const names = '"private", "vepa", "bridge", "passthru" or "source"'
        throw new ToolExit(1, `Error: argument of "mode" must be ${names}, not "${name}"`)
      }
      mode = known
    } else if (['flag', 'macaddr', 'bcqueuelen', 'nopromisc'].includes(word)) unmodelled(`macvlan option ${word}`)
    else throw new ToolExit(1, `macvlan: unknown option "${word}"?\n${MACVLAN_USAGE}`)
  }
  return mode
}

/** Options of `ip link add link LOWER name NAME type macvlan`, then the device. */
export function addMacvlan(
  ns: Netns,
  name: string,
  lower: NetDevice | null,
  mac: Mac | null,
  mtu: number | null,
  args: Args,
): void {
  const mode = takeMacvlan(args)
  if (lower === null) {
    rtnetlink(EINVAL)
    return
  }
  const made = createMacvlan(ns, name, lower, mode ?? MACVLAN_VEPA, mac, mtu)
  if (typeof made === 'number') rtnetlink(made)
}

/** `ip link set DEV type macvlan mode MODE`: passthru neither comes nor goes. */
export function setMacvlan(dev: NetDevice, args: Args): void {
  const mode = takeMacvlan(args)
  const priv = macvlanPriv(dev)
  if (mode === null || mode === priv.mode) return
  if (mode === MACVLAN_PASSTHRU || priv.mode === MACVLAN_PASSTHRU) rtnetlink(EINVAL)
  priv.mode = mode
}

/** What `ip -d link` prints after the kind. */
export function macvlanDetails(dev: NetDevice): string {
  const { mode } = macvlanPriv(dev)
  const name = Object.keys(MODES).find((k) => MODES[k] === mode) ?? ''
  return `mode ${name} bcqueuelen 1000 usedbcqueuelen 1000 `
}

/** The flags are always sent: without a word they are those of bridge. */
function takeIpvlan(args: Args): { mode: number | null; flags: number } {
  let mode: number | null = null
  let flags = 0
  while (!args.done) {
    const word = args.take()
    if (matches(word, 'mode')) {
      const name = args.take()
      if (name === 'l3s') unmodelled('ipvlan mode l3s')
      if (name !== 'l2' && name !== 'l3')
        throw new ToolExit(1, 'Error: argument of "mode" must be either "l2", "l3" or "l3s"')
      mode = name === 'l2' ? IPVLAN_L2 : IPVLAN_L3
    } else if (matches(word, 'private')) flags = IPVLAN_F_PRIVATE
    else if (matches(word, 'vepa')) flags = IPVLAN_F_VEPA
    else if (matches(word, 'bridge')) flags = 0
    else throw new ToolExit(1, `ipvlan: unknown option "${word}"?\n${IPVLAN_USAGE}`)
  }
  return { mode, flags }
}

/** Options of `ip link add link LOWER name NAME type ipvlan`, then the device. */
export function addIpvlan(
  ns: Netns,
  name: string,
  lower: NetDevice | null,
  mac: Mac | null,
  mtu: number | null,
  args: Args,
): void {
  const { mode, flags } = takeIpvlan(args)
  if (lower === null) {
    rtnetlink(EINVAL)
    return
  }
  const made = createIpvlan(ns, name, lower, mode ?? IPVLAN_L3, flags, mac, mtu)
  if (typeof made === 'number') rtnetlink(made)
}

/** `ip link set DEV type ipvlan ...`: for every device of the same lower one. */
export function setIpvlan(dev: NetDevice, args: Args): void {
  const { mode, flags } = takeIpvlan(args)
  const port = ipvlanPort(dev)
  ipvlanSetMode(dev, mode ?? port.mode, flags)
}

/** What `ip -d link` prints after the kind. */
export function ipvlanDetails(dev: NetDevice): string {
  const port = ipvlanPort(dev)
  const flags = port.flags === IPVLAN_F_PRIVATE ? 'private' : port.flags === IPVLAN_F_VEPA ? 'vepa' : 'bridge'
  return ` mode ${port.mode === IPVLAN_L2 ? 'l2' : 'l3'} ${flags} `
}
