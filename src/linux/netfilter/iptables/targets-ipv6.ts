/**
 * Targets that only ip6tables has: its REJECT, and HL.
 *
 * iptables: extensions/libip6t_REJECT.c, libip6t_HL.c. Kernel: net/ipv6/netfilter/ip6t_REJECT.c, net/netfilter/xt_HL.c.
 */
import { TARGET_HL, TARGET_REJECT6 } from './kinds.ts'
import { INV_PROTO, IptTextError, type XtTarget } from './types.ts'
import { uint } from './values.ts'

/** Kinds of REJECT, enum ip6t_reject_with. */
export const REJECT6_NO_ROUTE = 0
export const REJECT6_ADM_PROHIBITED = 1
export const REJECT6_ADDR_UNREACH = 3
export const REJECT6_PORT_UNREACH = 4
export const REJECT6_TCP_RESET = 6
export const REJECT6_POLICY_FAIL = 7
export const REJECT6_REJECT_ROUTE = 8

const REJECTS6 = [
  ['icmp6-no-route', 'no-route', REJECT6_NO_ROUTE],
  ['icmp6-adm-prohibited', 'adm-prohibited', REJECT6_ADM_PROHIBITED],
  ['icmp6-addr-unreachable', 'addr-unreach', REJECT6_ADDR_UNREACH],
  ['icmp6-port-unreachable', 'port-unreach', REJECT6_PORT_UNREACH],
  ['tcp-reset', 'tcp-reset', REJECT6_TCP_RESET],
  ['icmp6-policy-fail', 'policy-fail', REJECT6_POLICY_FAIL],
  ['icmp6-reject-route', 'reject-route', REJECT6_REJECT_ROUTE],
] as const

function rejectName(kind: number): string {
  return REJECTS6.find(([, , k]) => k === kind)![0]
}

/** `-j REJECT` of ip6tables */
export const reject6Target: XtTarget<{ kind: number }> = {
  name: 'REJECT',
  tables: ['filter'],
  hooks: (1 << 1) | (1 << 2) | (1 << 3),
  options: [
    {
      name: 'reject-with',
      arg: true,
      set(d, v) {
        const word = v.toLowerCase()
        const row = REJECTS6.find(([name, alias]) => name.startsWith(word) || alias.startsWith(word))
        if (row === undefined) throw new IptTextError(`unknown reject type "${v}"`)
        d.kind = row[2]
      },
    },
  ],
  init: () => ({ kind: REJECT6_PORT_UNREACH }),
  refuse(d, rule) {
    if (d.kind !== REJECT6_TCP_RESET || (rule.proto === 6 && (rule.inverted & INV_PROTO) === 0)) return null
    return 'REJECT: tcp-reset invalid for non-tcp'
  },
  save: (d) => ` --reject-with ${rejectName(d.kind)}`,
  list: (d) => ` reject-with ${rejectName(d.kind)}`,
  compile(d, c) {
    c.emit(TARGET_REJECT6, d.kind)
  },
}

const HL_NAMES = ['set', 'inc', 'dec']

/** `-j HL` */
export const hlTarget: XtTarget<{ mode: number; hl: number }> = {
  name: 'HL',
  tables: ['mangle'],
  options: HL_NAMES.map((name, mode) => ({
    name: `hl-${name}`,
    arg: true,
    set(d: { mode: number; hl: number }, v: string) {
      d.mode = mode
      d.hl = uint('HL', `hl-${name}`, v, 255, mode === 0 ? 0 : 1)
    },
  })),
  init: () => ({ mode: 0, hl: 0 }),
  check(_d, seen) {
    if (seen.size === 0) throw new IptTextError('HL: You must specify an action')
  },
  save: (d) => ` --hl-${HL_NAMES[d.mode]} ${d.hl}`,
  list: (d) => (d.mode === 0 ? ` HL set to ${d.hl}` : ` HL ${d.mode === 1 ? 'increment' : 'decrement'} by ${d.hl}`),
  compile(d, c) {
    c.emit(TARGET_HL, d.mode, d.hl)
  },
}
