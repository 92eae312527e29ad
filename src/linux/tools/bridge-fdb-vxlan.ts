/**
 * `bridge fdb` on the table of a VXLAN device (the `self` entries).
 *
 * Source: iproute2 bridge/fdb.c (print_fdb, fdb_modify); drivers/net/vxlan/vxlan_core.c (vxlan_fdb_parse, vxlan_fdb_info).
 */
import { formatMac } from '../../addr/mac.ts'
import { DEV_VXLAN, type NetDevice } from '../device/device.ts'
import { vxlanPriv } from '../device/vxlan.ts'
import {
  FDB_NUD_NOARP,
  FDB_NUD_PERMANENT,
  FDB_NUD_REACHABLE,
  type FdbVerb,
  type VxlanFdbEntry,
  VxlanRdst,
} from '../device/vxlan-fdb.ts'
import { EINVAL, EOPNOTSUPP } from '../errno.ts'
import type { JsonValue } from './ip-json.ts'
import { underlay } from './ip-link-vxlan.ts'
import { rtnetlink, ToolExit } from './result.ts'

const FAILED = 255
const NS_PER_S = 1_000_000_000

/** What a `bridge fdb` command says about a destination. */
export interface FdbTarget {
  /** null: not given */
  dst: number | null
  port: number | null
  vni: number | null
  via: NetDevice | null
  externLearn: boolean
}

/** bridge fdb add, append, replace or del with `self` on a VXLAN device. */
export function vxlanFdbModify(
  dev: NetDevice,
  mac: { hi: number; lo: number },
  target: FdbTarget,
  kind: 'local' | 'static' | 'dynamic',
  verb: FdbVerb | 'del',
): void {
  const vxlan = vxlanPriv(dev)
  const cfg = vxlan.cfg
  const rd = new VxlanRdst(target.dst ?? 0, target.port ?? cfg.dstport, target.vni ?? cfg.vni, target.via)
  if (verb === 'del') {
    rtnetlink(vxlan.fdb.delete(mac.hi, mac.lo, rd), FAILED)
    return
  }
  if (target.dst === null) rtnetlink(EINVAL, FAILED)
  const state =
    kind === 'local' ? FDB_NUD_PERMANENT : kind === 'static' ? FDB_NUD_NOARP | FDB_NUD_REACHABLE : FDB_NUD_REACHABLE
  const now = dev.ns.world.nowNs
  const err = vxlan.fdb.update(mac.hi, mac.lo, rd, state, target.externLearn, verb, now)
  if (err === EOPNOTSUPP) throw new ToolExit(FAILED, 'Error: Cannot replace non-unicast fdb entries.')
  rtnetlink(err, FAILED)
  vxlan.armAgeing()
}

/** vxlan_fdb_delete_bulk: everything but the device's own default entry's kind of exception: Linux flushes all. */
export function vxlanFdbFlush(dev: NetDevice): void {
  vxlanPriv(dev).fdb.removeIf(() => true)
}

/** An entry's state word. */
export function vxlanEntryState(e: VxlanFdbEntry): string {
  if ((e.state & FDB_NUD_PERMANENT) !== 0) return 'permanent'
  return (e.state & FDB_NUD_NOARP) !== 0 ? 'static' : ''
}

/** One destination of an entry, as bridge(8) lists it. */
export interface VxlanFdbRow {
  readonly dev: NetDevice
  readonly entry: VxlanFdbEntry
  readonly rd: VxlanRdst
}

/** All destinations of a device, entries newest first. */
export function vxlanRows(dev: NetDevice): VxlanFdbRow[] {
  if (dev.kind !== DEV_VXLAN) return []
  const entries = [...vxlanPriv(dev).fdb.entries()].reverse()
  return entries.flatMap((entry) => entry.remotes.map((rd) => ({ dev, entry, rd })))
}

function used({ dev, entry }: VxlanFdbRow): readonly [number, number] {
  const now = dev.ns.world.nowNs
  return [Math.floor((now - entry.usedNs) / NS_PER_S), Math.floor((now - entry.updatedNs) / NS_PER_S)]
}

/** `02:.. dev vx0 dst 10.0.0.2 self permanent` */
export function vxlanRowText(row: VxlanFdbRow, withDev: boolean, stats: boolean): string {
  const { dev, entry, rd } = row
  const cfg = vxlanPriv(dev).cfg
  return [
    `${formatMac({ hi: entry.macHi, lo: entry.macLo })} `,
    withDev ? `dev ${dev.name} ` : '',
    rd.remote === 0 ? '' : `dst ${underlay(dev, rd.remote)} `,
    rd.port === cfg.dstport ? '' : `port ${rd.port} `,
    rd.vni === cfg.vni ? '' : `vni ${rd.vni} `,
    rd.via === null ? '' : `via ${rd.via.name} `,
    stats ? `used ${used(row).join('/')} ` : '',
    'self ',
    entry.externLearn ? 'extern_learn ' : '',
    `${vxlanEntryState(entry)}\n`,
  ].join('')
}

/** The same under -j. */
export function vxlanRowJson(row: VxlanFdbRow, withDev: boolean, stats: boolean): JsonValue {
  const { dev, entry, rd } = row
  const cfg = vxlanPriv(dev).cfg
  const [u, m] = used(row)
  return {
    mac: formatMac({ hi: entry.macHi, lo: entry.macLo }),
    ...(withDev ? { ifname: dev.name } : {}),
    ...(rd.remote === 0 ? {} : { dst: underlay(dev, rd.remote) }),
    ...(rd.port === cfg.dstport ? {} : { port: rd.port }),
    ...(rd.vni === cfg.vni ? {} : { vni: rd.vni }),
    ...(rd.via === null ? {} : { viaIf: rd.via.name }),
    ...(stats ? { used: u, updated: m } : {}),
    flags: entry.externLearn ? ['self', 'extern_learn'] : ['self'],
    state: vxlanEntryState(entry),
  }
}
