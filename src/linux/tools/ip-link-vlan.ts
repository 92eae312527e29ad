/**
 * `ip link ... type vlan`: its options in and out.
 *
 * Not modelled, refused by name: gvrp, mvrp, bridge_binding, QoS maps.
 * Source: iproute2 ip/iplink_vlan.c (vlan_parse_opt, vlan_print_opt); net/8021q/vlan_netlink.c for the errors.
 */
import type { Mac } from '../../addr/mac.ts'
import { ETH_P_8021AD, ETH_P_8021Q } from '../../packet/layout.ts'
import { DEV_LOOPBACK, type NetDevice } from '../device/device.ts'
import { createVlan, type VlanConfig, vlanPriv } from '../device/vlan.ts'
import { EEXIST } from '../errno.ts'
import type { Netns } from '../netns.ts'
import { type Args, invarg, matches, takeNumber, takeOnOff } from './ip-args.ts'
import { rtnetlink, ToolExit, unmodelled } from './result.ts'

const USAGE = [
  'Usage: ... vlan id VLANID',
  '\t\t[ protocol VLANPROTO ]',
  '\t\t[ reorder_hdr { on | off } ]',
  '\t\t[ gvrp { on | off } ]',
  '\t\t[ mvrp { on | off } ]',
  '\t\t[ loose_binding { on | off } ]',
  '\t\t[ bridge_binding { on | off } ]',
  '\t\t[ ingress-qos-map QOS-MAP ]',
  '\t\t[ egress-qos-map QOS-MAP ]',
  '',
  'VLANID := 0-4095',
  'VLANPROTO: [ 802.1Q | 802.1ad ]',
  'QOS-MAP := [ QOS-MAP ] QOS-MAPPING',
  'QOS-MAPPING := FROM:TO',
].join('\n')

function takeProtocol(word: string): number {
  const name = word.toLowerCase()
  if (name === '802.1q' || name === '0x8100') return ETH_P_8021Q
  if (name === '802.1ad' || name === '0x88a8') return ETH_P_8021AD
  return invarg('protocol is invalid', word)
}

function takeOptions(cfg: VlanConfig, args: Args): void {
  while (!args.done) {
    const word = args.take()
    if (matches(word, 'protocol')) cfg.proto = takeProtocol(args.take())
    else if (matches(word, 'id')) cfg.id = takeNumber(args.take(), 0xffff, 'id is invalid')
    else if (matches(word, 'reorder_hdr')) cfg.reorderHdr = takeOnOff('reorder_hdr', args.take())
    else if (matches(word, 'gvrp') || matches(word, 'mvrp')) unmodelled(`vlan option ${word}`)
    else if (matches(word, 'loose_binding')) cfg.looseBinding = takeOnOff('loose_binding', args.take())
    else if (matches(word, 'bridge_binding') || matches(word, 'ingress-qos-map') || matches(word, 'egress-qos-map'))
      unmodelled(`vlan option ${word}`)
    else throw new ToolExit(1, `vlan: unknown command "${word}"?\n${USAGE}`)
  }
}

/** Options of `ip link add link LOWER name NAME type vlan`, then the device. */
export function addVlan(
  ns: Netns,
  name: string,
  lower: NetDevice | null,
  mac: Mac | null,
  mtu: number | null,
  args: Args,
): NetDevice {
  const cfg: VlanConfig = { id: -1, proto: ETH_P_8021Q, reorderHdr: true, looseBinding: false }
  const bare = args.done
  takeOptions(cfg, args)
  if (bare) throw new ToolExit(2, 'Error: 8021q: VLAN properties not specified.')
  if (cfg.id > 4094) throw new ToolExit(2, 'Error: 8021q: Invalid VLAN id.')
  if (lower === null) throw new ToolExit(2, 'Error: 8021q: link not specified.')
  if (cfg.id < 0) throw new ToolExit(2, 'Error: 8021q: VLAN id not specified.')
  if (lower.kind === DEV_LOOPBACK || !lower.ether) throw new ToolExit(2, 'Error: 8021q: VLANs not supported on device.')
  const made = createVlan(ns, name, lower, cfg, mac, mtu)
  if (made === EEXIST) throw new ToolExit(2, 'Error: 8021q: VLAN device already exists.')
  if (typeof made === 'number') rtnetlink(made)
  return made as NetDevice
}

/** `ip link set DEV type vlan ...` */
export function setVlan(dev: NetDevice, args: Args): void {
  const cfg = vlanPriv(dev)
  const before = { id: cfg.id, proto: cfg.proto }
  takeOptions(cfg, args)
  // vlan_changelink looks at the flags only
  Object.assign(cfg, before)
}

/** What `ip -d link` prints after the kind. */
export function vlanDetails(dev: NetDevice): string {
  const cfg = vlanPriv(dev)
  const flags = [...(cfg.reorderHdr ? ['REORDER_HDR'] : []), ...(cfg.looseBinding ? ['LOOSE_BINDING'] : [])]
  const protocol = cfg.proto === ETH_P_8021AD ? '802.1ad' : '802.1Q'
  return `protocol ${protocol} id ${cfg.id} ${flags.length === 0 ? '' : `<${flags.join(',')}> `}`
}
