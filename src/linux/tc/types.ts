/**
 * Traffic control of a device: its queueing discipline, the clsact or ingress hooks, their filters and actions.
 *
 * Linux: include/net/sch_generic.h (struct tcf_proto), net/sched/cls_u32.c, cls_matchall.c, act_gact.c, act_mirred.c,
 * act_skbedit.c, act_vlan.c. Queueing disciplines are held and printed; what they do to the time of a packet is left to
 * the timed simulation.
 * Not modelled, refused by name: flower, bpf and other classifiers, u32 hash tables and links, chains, shared blocks,
 * police, pedit, tunnel_key and other actions, random drops of gact and netem.
 */
import type { NetDevice } from '../device/device.ts'

/** TC_ACT_*: what an action and a filter answer. */
export const TC_ACT_UNSPEC = -1
export const TC_ACT_OK = 0
export const TC_ACT_RECLASSIFY = 1
export const TC_ACT_SHOT = 2
export const TC_ACT_PIPE = 3
export const TC_ACT_STOLEN = 4

/** `TcAction.kind` */
export const ACT_GACT = 0
export const ACT_MIRRED = 1
export const ACT_SKBEDIT = 2
export const ACT_VLAN = 3

/** `TcAction.op` of ACT_VLAN */
export const VLAN_POP = 1
export const VLAN_PUSH = 2
export const VLAN_MODIFY = 3

/** One action: struct tc_action with what its kind needs. */
export interface TcAction {
  readonly kind: number
  /** `index`: the lowest free one of the kind in the namespace */
  readonly index: number
  /** TC_ACT_*: what it answers (tcf_action) */
  readonly control: number
  /** ACT_MIRRED: where the packet goes */
  dev: NetDevice | null
  readonly ingress: boolean
  readonly redirect: boolean
  /** ACT_SKBEDIT: null leaves the field alone */
  readonly mark: number | null
  readonly priority: number | null
  readonly ptype: number | null
  /** ACT_VLAN */
  readonly op: number
  /** ACT_VLAN: tag to push or set: ethertype, id and priority; null leaves it alone (modify) */
  readonly vlanProto: number
  readonly vlanId: number | null
  readonly vlanPriority: number | null
  readonly createdNs: number
  usedNs: number
  firstNs: number
  packets: number
  bytes: number
  drops: number
  overlimits: number
}

/** A key of u32: the word at `off` from the network header. */
export interface U32Key {
  readonly off: number
  val: number
  mask: number
}

/** One filter of a classifier: a u32 node, or the only one of matchall. */
export interface TcNode {
  /** node id of u32, handle of matchall */
  readonly handle: number
  readonly keys: readonly U32Key[]
  readonly actions: readonly TcAction[]
  readonly flowid: number
  hits: number
}

/** A classifier at a place in a chain: struct tcf_proto. */
export interface TcProto {
  /** ethertype, ETH_P_ALL (3) for any */
  readonly protocol: number
  readonly pref: number
  readonly kind: 'u32' | 'matchall'
  /** id of the root hash table of u32 */
  readonly htid: number
  nodes: TcNode[]
}

/** A queueing discipline at the root, held as it was configured. */
export interface TcQdisc {
  readonly kind: string
  /** upper half of the handle */
  readonly handle: number
  /** what `tc qdisc show` prints after `refcnt 2` */
  readonly options: string
  packets: number
  bytes: number
}

/** What `tc` has configured on a device. */
export class DevTc {
  root: TcQdisc | null = null
  /** The qdisc with the ingress hook, null without. */
  hookKind: 'clsact' | 'ingress' | null = null
  ingress: TcProto[] = []
  egress: TcProto[] = []
  /** Counters of the clsact or ingress qdisc. */
  packets = 0
  bytes = 0
  drops = 0
  /** `tp_c` of u32: the last hash table id that was given out on a hook, by hook. */
  nextHtid = { ingress: 0x800, egress: 0x800 }
}
