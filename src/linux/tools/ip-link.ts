/**
 * `ip link`: add, delete, set and show.
 *
 * Modelled types: KIND_NAMES of ip-link-show.ts. Others exist in Linux and are refused by name (bond, sit ...): UNMODELLED.
 *
 * Source: iproute2 ip/iplink.c, iplink_bridge.c, iplink_bridge_slave.c; net/core/rtnetlink.c for the errors.
 */
import type { Mac } from '../../addr/mac.ts'
import { formatMac } from '../../addr/mac.ts'
import { ETH_P_8021AD, ETH_P_8021Q } from '../../packet/layout.ts'
import {
  DEV_GENEVE,
  DEV_GRE,
  DEV_IPIP,
  DEV_IPVLAN,
  DEV_LOOPBACK,
  DEV_MACVLAN,
  DEV_VLAN,
  DEV_VXLAN,
  type NetDevice,
} from '../device/device.ts'
import { geneveMaxMtu } from '../device/geneve.ts'
import {
  createBridge,
  createDummy,
  createVeth,
  deleteDevice,
  moveDevice,
  renameDevice,
  setDown,
  setMac,
  setMaster,
  setMtu,
  setPromisc,
  setUp,
} from '../device/ops.ts'
import { EEXIST, EINVAL, EOPNOTSUPP } from '../errno.ts'
import type { Netns } from '../netns.ts'
import { type Args, type IpOptions, invarg, matches, takeDevice, takeMac, takeNumber, takeOnOff } from './ip-args.ts'
import { formatJson } from './ip-json.ts'
import { addGeneve, addGre } from './ip-link-gre.ts'
import { addIpip } from './ip-link-ipip.ts'
import { addIpvlan, addMacvlan, setIpvlan, setMacvlan } from './ip-link-macvlan.ts'
import { detailsJson, KIND_NAMES, linkJson, linkText, noteUp } from './ip-link-show.ts'
import { addVlan, setVlan } from './ip-link-vlan.ts'
import { addVxlan, setVxlan } from './ip-link-vxlan.ts'
import { rtnetlink, ToolExit, unmodelled } from './result.ts'

const MTU_MIN = 68
const MTU_MAX = 65535
const USER_HZ_NS = 10_000_000
/** Types that Linux has and podwalk does not: refused by name rather than called unknown. */
const OTHER_TYPES = [
  'bond',
  'sit',
  'vti',
  'xfrm',
  'wireguard',
  'tun',
  'ifb',
  'vrf',
  'macvtap',
  'ipvtap',
  'ip6tnl',
  'ip6gre',
  'can',
  'vcan',
  'nlmon',
  'team',
  'macsec',
  'netkit',
  'bareudp',
  'batadv',
  'hsr',
]

/** Runs `ip link ...`. */
export function ipLink(ns: Netns, args: Args, o: IpOptions): string {
  if (args.done) return show(ns, args, o)
  const word = args.take()
  if (matches(word, 'add')) return add(ns, args)
  if (matches(word, 'set') || matches(word, 'change')) return set(ns, args)
  if (matches(word, 'replace')) return unmodelled('ip link replace')
  if (matches(word, 'delete')) return del(ns, args)
  if (matches(word, 'show') || matches(word, 'lst') || matches(word, 'list') || word === 'ls') return show(ns, args, o)
  throw new ToolExit(255, `Command "${word}" is unknown, try "ip link help".`)
}

interface LinkSpec {
  name: string | null
  mac: Mac | null
  mtu: number | null
  txqueuelen: number | null
  netns: string | null
  link: string | null
}

function takeName(word: string): string {
  if (word.length > 15 || word === '' || /[\s/]/.test(word)) invarg('"name" not a valid ifname', word)
  return word
}

/** Reads what stands before `type`, or about a veth peer. */
function takeLinkWords(args: Args, spec: LinkSpec, words: 'add' | 'peer'): string | null {
  while (!args.done) {
    const word = args.take()
    if (word === 'name') spec.name = takeName(args.take())
    else if (matches(word, 'address')) spec.mac = takeMac(args.take())
    else if (word === 'mtu') spec.mtu = takeNumber(args.take(), 0xffffffff, 'Invalid "mtu" value')
    else if (matches(word, 'txqueuelen') || word === 'qlen')
      spec.txqueuelen = takeNumber(args.take(), 0xffffffff, 'Invalid "txqueuelen" value')
    else if (word === 'netns') spec.netns = args.take()
    else if (word === 'link' && words === 'add') spec.link = args.take()
    else if (matches(word, 'type') && words === 'add') return args.take()
    else if (word === 'dev' || spec.name === null) spec.name = takeName(word === 'dev' ? args.take() : word)
    else if (matches(word, 'group') || word === 'numtxqueues' || word === 'index') unmodelled(`ip link add ... ${word}`)
    else throw new ToolExit(255, `Error: either "dev" is duplicate, or "${word}" is a garbage.`)
  }
  return null
}

function targetNetns(ns: Netns, name: string | null): Netns {
  if (name === null) return ns
  const other = ns.world.netnsByName.get(name)
  if (other === undefined) invarg('Invalid "netns" value', name)
  return other
}

function checkMtu(mtu: number | null): number {
  if (mtu === null) return 1500
  if (mtu < MTU_MIN) throw new ToolExit(2, 'Error: mtu less than device minimum.')
  if (mtu > MTU_MAX) throw new ToolExit(2, 'Error: mtu greater than device maximum.')
  return mtu
}

function add(ns: Netns, args: Args): string {
  const spec: LinkSpec = { name: null, mac: null, mtu: null, txqueuelen: null, netns: null, link: null }
  const type = takeLinkWords(args, spec, 'add')
  if (type === null) throw new ToolExit(255, 'Not enough information: "type" argument is required')
  if (OTHER_TYPES.includes(type)) unmodelled(`device type ${type}`)
  const home = targetNetns(ns, spec.netns)
  const name = spec.name ?? freeName(home, type)
  // what the type's own function checks
  const ownMtu = type === 'ipip' || type === 'vlan' || type === 'gre'
  const mtu = ownMtu ? 0 : checkMtu(spec.mtu)
  const lower = spec.link === null ? null : takeDevice(ns, spec.link)
  if (lower !== null && !['vlan', 'macvlan', 'ipvlan'].includes(type)) unmodelled(`ip link add link ... type ${type}`)
  if (type === 'veth') addVeth(ns, home, name, spec, mtu, args)
  else if (type === 'bridge') {
    if (home.devices.has(name)) rtnetlink(EEXIST)
    const dev = createBridge(home, name, spec.mac, spec.mtu)
    setBridge(dev, args)
  } else if (type === 'dummy') {
    if (home.devices.has(name)) rtnetlink(EEXIST)
    createDummy(home, name, spec.mac, mtu)
  } else if (type === 'vxlan') {
    if (home.devices.has(name)) rtnetlink(EEXIST)
    addVxlan(home, name, spec.mac, spec.mtu, args)
  } else if (type === 'vlan') {
    if (home.devices.has(name)) rtnetlink(EEXIST)
    addVlan(home, name, lower, spec.mac, spec.mtu, args)
  } else if (type === 'macvlan' || type === 'ipvlan') {
    if (home.devices.has(name)) rtnetlink(EEXIST)
    const make = type === 'macvlan' ? addMacvlan : addIpvlan
    make(home, name, lower, spec.mac, spec.mtu, args)
  } else if (type === 'gre' || type === 'gretap') {
    if (home.devices.has(name)) rtnetlink(EEXIST)
    addGre(home, name, type, spec.mac, spec.mtu, args)
  } else if (type === 'geneve') {
    if (home.devices.has(name)) rtnetlink(EEXIST)
    addGeneve(home, name, spec.mac, spec.mtu, args)
  } else if (type === 'ipip') {
    if (home.devices.has(name)) rtnetlink(EEXIST)
    addIpip(home, name, spec.mtu, args)
  } else throw new ToolExit(2, 'Error: Unknown device type.')
  return ''
}

function addVeth(ns: Netns, home: Netns, name: string, spec: LinkSpec, mtu: number, args: Args): void {
  const peer: LinkSpec = { name: null, mac: null, mtu: null, txqueuelen: null, netns: null, link: null }
  if (!args.done) {
    const word = args.take()
    if (word !== 'peer') throw new ToolExit(255, `veth: unknown option "${word}"?`)
    takeLinkWords(args, peer, 'peer')
  }
  const peerNs = targetNetns(ns, peer.netns ?? spec.netns)
  const peerName = peer.name ?? freeName(peerNs, 'veth', name)
  if (home.devices.has(name) || peerNs.devices.has(peerName) || (home === peerNs && name === peerName))
    rtnetlink(EEXIST)
  const peerMtu = peer.mtu === null ? 1500 : checkMtu(peer.mtu)
  const [dev] = createVeth({ ns: home, name, mac: spec.mac }, { ns: peerNs, name: peerName, mac: peer.mac }, peerMtu)
  if (dev.mtu !== mtu) setMtu(dev, mtu)
}

/** dev_alloc_name of `veth%d` and its like. */
function freeName(ns: Netns, type: string, taken = ''): string {
  for (let i = 0; ; i++) if (!ns.devices.has(`${type}${i}`) && `${type}${i}` !== taken) return `${type}${i}`
}

function del(ns: Netns, args: Args): string {
  let name: string | null = null
  while (!args.done) {
    const word = args.take()
    if (word === 'dev') name = args.take()
    else if (matches(word, 'type')) args.take()
    else if (name === null) name = word
    else throw new ToolExit(255, `Error: either "dev" is duplicate, or "${word}" is a garbage.`)
  }
  if (name === null) throw new ToolExit(255, 'Not enough information: "dev" argument is required.')
  const dev = takeDevice(ns, name)
  if (KIND_NAMES[dev.kind] === undefined) rtnetlink(EOPNOTSUPP)
  deleteDevice(dev)
  return ''
}

/** What `ip link set` changes, applied in the order of do_setlink. */
interface Change {
  up: boolean | null
  mac: Mac | null
  mtu: number | null
  name: string | null
  master: NetDevice | null | undefined
  netns: string | null
  txqueuelen: number | null
  promisc: boolean | null
}

function set(ns: Netns, args: Args): string {
  const c: Change = {
    up: null,
    mac: null,
    mtu: null,
    name: null,
    master: undefined,
    netns: null,
    txqueuelen: null,
    promisc: null,
  }
  let dev: NetDevice | null = null
  while (!args.done) {
    const word = args.take()
    if (word === 'up') c.up = true
    else if (word === 'down') c.up = false
    else if (word === 'name') c.name = takeName(args.take())
    else if (word === 'mtu') c.mtu = takeNumber(args.take(), 0xffffffff, 'Invalid "mtu" value')
    else if (matches(word, 'address')) c.mac = takeMac(args.take())
    else if (matches(word, 'txqueuelen') || word === 'qlen')
      c.txqueuelen = takeNumber(args.take(), 0xffffffff, 'Invalid "txqueuelen" value')
    else if (word === 'master') {
      const name = args.take()
      const master = ns.devices.get(name)
      if (master === undefined) invarg('Device does not exist', name)
      c.master = master
    } else if (word === 'nomaster') c.master = null
    else if (word === 'netns') c.netns = args.take()
    else if (word === 'promisc') c.promisc = takeOnOff(word, args.take())
    else if (word === 'type') {
      if (dev === null) throw new ToolExit(255, 'Not enough information: "dev" argument is required.')
      return setType(dev, args.take(), args)
    } else if (word === 'dev' || dev === null) {
      const name = word === 'dev' ? args.take() : word
      dev = takeDevice(ns, name)
    } else if (
      ['allmulticast', 'multicast', 'arp', 'alias', 'group', 'vf', 'addrgenmode', 'link-netnsid', 'carrier'].includes(
        word,
      )
    ) {
      unmodelled(`ip link set ... ${word}`)
    } else throw new ToolExit(255, `Error: either "dev" is duplicate, or "${word}" is a garbage.`)
  }
  if (dev === null) throw new ToolExit(255, 'Not enough information: "dev" argument is required.')
  apply(ns, dev, c)
  return ''
}

function apply(ns: Netns, dev: NetDevice, c: Change): void {
  if (c.netns !== null) {
    const target = targetNetns(ns, c.netns)
    if (dev.kind === DEV_LOOPBACK) rtnetlink(EINVAL)
    if (target !== ns && target.devices.has(c.name ?? dev.name)) rtnetlink(EEXIST)
    moveDevice(dev, target)
  }
  if (c.mac !== null) {
    if (dev.kind === DEV_LOOPBACK) rtnetlink(EOPNOTSUPP)
    if ((c.mac.hi & 0x100) !== 0 || (c.mac.hi === 0 && c.mac.lo === 0))
      throw new ToolExit(2, 'RTNETLINK answers: Cannot assign requested address')
    if (dev.kind === DEV_IPVLAN) rtnetlink(EOPNOTSUPP)
    rtnetlink(setMac(dev, c.mac))
  }
  if (c.mtu !== null && ![DEV_LOOPBACK, DEV_IPIP, DEV_VLAN, DEV_GRE].includes(dev.kind)) checkMtu(c.mtu)
  if (c.mtu !== null && dev.kind === DEV_GENEVE && c.mtu > geneveMaxMtu(dev))
    throw new ToolExit(2, 'Error: mtu greater than device maximum.')
  if (c.mtu !== null) rtnetlink(setMtu(dev, c.mtu))
  if (c.name !== null) {
    if (c.name !== dev.name && dev.ns.devices.has(c.name)) rtnetlink(EEXIST)
    renameDevice(dev, c.name)
  }
  if (c.promisc !== null) setPromisc(dev, c.promisc)
  if (c.txqueuelen !== null) dev.txqueuelen = c.txqueuelen
  if (c.master !== undefined) {
    if (c.master !== null && c.master.bridge === null) rtnetlink(EOPNOTSUPP)
    rtnetlink(setMaster(dev, c.master))
  }
  noteUp(dev)
  if (c.up === true) rtnetlink(setUp(dev))
  if (c.up === false) setDown(dev)
  noteUp(dev)
}

function setType(dev: NetDevice, type: string, args: Args): string {
  if (type === 'bridge') {
    if (dev.bridge === null) rtnetlink(EOPNOTSUPP)
    setBridge(dev, args)
  } else if (type === 'bridge_slave') setSlave(dev, args)
  else if (type === 'vlan' && dev.kind === DEV_VLAN) setVlan(dev, args)
  else if (type === 'macvlan' && dev.kind === DEV_MACVLAN) setMacvlan(dev, args)
  else if (type === 'ipvlan' && dev.kind === DEV_IPVLAN) setIpvlan(dev, args)
  else if (type === 'vxlan' && dev.kind === DEV_VXLAN) setVxlan(dev, args)
  else unmodelled(`ip link set ... type ${type}`)
  return ''
}

/** Options after `type bridge`. */
function setBridge(dev: NetDevice, args: Args): void {
  const b = dev.bridge
  if (b === null) return
  while (!args.done) {
    const word = args.take()
    const number = (max: number): number => takeNumber(args.take(), max, `invalid ${word}`)
    if (matches(word, 'forward_delay')) b.forwardDelayNs = number(0xffffffff) * USER_HZ_NS
    else if (matches(word, 'hello_time')) b.helloTimeNs = number(0xffffffff) * USER_HZ_NS
    else if (matches(word, 'max_age')) b.maxAgeNs = number(0xffffffff) * USER_HZ_NS
    else if (matches(word, 'ageing_time')) b.ageingNs = number(0xffffffff) * USER_HZ_NS
    else if (matches(word, 'stp_state')) {
      if (number(2) !== 0) unmodelled('spanning tree')
    } else if (matches(word, 'priority')) number(0xffff)
    else if (matches(word, 'vlan_filtering')) {
      b.setVlanFiltering(number(1) !== 0)
    } else if (matches(word, 'vlan_protocol')) {
      const proto = args.take().toLowerCase()
      if (proto !== '802.1q' && proto !== '802.1ad') invarg('invalid vlan_protocol', proto)
      b.vlanAware()
      b.vlanProto = proto === '802.1ad' ? ETH_P_8021AD : ETH_P_8021Q
    } else if (matches(word, 'vlan_default_pvid')) {
      const pvid = number(0xffff)
      if (pvid >= 4095) rtnetlink(EINVAL)
      // br_vlan_set_default_pvid: only while the bridge does not filter, or to switch it off
      b.setDefaultPvid(pvid)
    } else if (matches(word, 'group_fwd_mask')) {
      const mask = number(0xffff)
      if ((mask & 0x7) !== 0) rtnetlink(EINVAL)
      b.groupFwdMask = mask
    } else if (word === 'fdb_flush') b.fdbFlush()
    else if (matches(word, 'mcast_snooping')) b.mcastSnooping = number(1) !== 0
    else if (matches(word, 'nf_call_iptables')) b.nfCallIptables = number(1) !== 0
    else if (matches(word, 'nf_call_ip6tables')) b.nfCallIp6tables = number(1) !== 0
    else unmodelled(`bridge option ${word}`)
  }
}

/** Options after `type bridge_slave`. */
function setSlave(dev: NetDevice, args: Args): void {
  const p = dev.port
  if (p === null) rtnetlink(EOPNOTSUPP)
  if (p === null) return
  while (!args.done) {
    const word = args.take()
    if (word === 'hairpin') p.hairpin = takeOnOff(word, args.take())
    else if (word === 'learning') p.learning = takeOnOff(word, args.take())
    else if (word === 'flood') p.flood = takeOnOff(word, args.take())
    else if (word === 'mcast_flood') p.mcastFlood = takeOnOff(word, args.take())
    else if (word === 'bcast_flood') p.bcastFlood = takeOnOff(word, args.take())
    else if (word === 'isolated') p.isolated = takeOnOff(word, args.take())
    else if (word === 'guard') p.guard = takeOnOff(word, args.take())
    else if (word === 'fastleave') p.fastleave = takeOnOff(word, args.take())
    else unmodelled(`bridge_slave option ${word}`)
  }
}

function show(ns: Netns, args: Args, o: IpOptions): string {
  let dev: NetDevice | null = null
  let master: NetDevice | null = null
  let type: string | null = null
  let up = false
  while (!args.done) {
    const word = args.take()
    if (word === 'up') up = true
    else if (word === 'master') {
      const name = args.take()
      const m = ns.devices.get(name)
      if (m === undefined) invarg('Device does not exist', name)
      master = m
    } else if (word === 'type') type = args.take()
    else if (word === 'nomaster' || word === 'group' || word === 'vrf') unmodelled(`ip link show ${word}`)
    else {
      const name = word === 'dev' ? args.take() : word
      const d = ns.devices.get(name)
      if (d === undefined) throw new ToolExit(1, `Device "${name}" does not exist.`)
      dev = d
    }
  }
  const list = ns.byIndex.filter((d): d is NetDevice => {
    if (d === undefined || (dev !== null && d !== dev) || (up && !d.up)) return false
    if (master !== null && d.port?.bridge.dev !== master) return false
    return type === null || KIND_NAMES[d.kind] === type
  })
  if (o.json && !o.brief)
    return formatJson(
      list.map((d) => ({ ...linkJson(d, true), ...(o.details ? detailsJson(d) : {}) })),
      o.pretty,
    )
  if (o.json)
    return formatJson(
      list.map((d) => ({ ifname: d.name, address: formatMac({ hi: d.macHi, lo: d.macLo }) })),
      o.pretty,
    )
  return list.map((d) => linkText(d, o)).join('')
}
