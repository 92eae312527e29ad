/**
 * A rule as text: what iptables-save and iptables -S print, and what -D and -C compare.
 *
 * iptables: iptables/iptables.c (print_rule4), iptables/xshared.c (save_ipv4_addr, save_ipv6_addr, save_iface, save_proto).
 */
import { formatIp, type IpValue, prefixLengthOf } from './ip-values.ts'
import {
  INV_DSTIP,
  INV_FRAG,
  INV_PROTO,
  INV_SRCIP,
  INV_VIA_IN,
  INV_VIA_OUT,
  type IptRule,
  type RuleSpec,
} from './types.ts'
import { protoName } from './values.ts'

function address(flag: string, ip: IpValue, mask: IpValue, inverted: boolean): string {
  const length = prefixLengthOf(mask)
  if (length === 0 && !inverted) return ''
  return `${inverted ? ' !' : ''} ${flag} ${formatIp(ip)}/${length >= 0 ? length : formatIp(mask)}`
}

/** Everything after the chain name, with a leading space. */
export function ruleBody(spec: RuleSpec): string {
  const inv = spec.inverted
  let out =
    address('-s', spec.src, spec.smask, (inv & INV_SRCIP) !== 0) +
    address('-d', spec.dst, spec.dmask, (inv & INV_DSTIP) !== 0)
  // save_iface prints nothing for the pattern that matches every name
  if (spec.inInterface !== '' && spec.inInterface !== '+')
    out += `${(inv & INV_VIA_IN) !== 0 ? ' !' : ''} -i ${spec.inInterface}`
  if (spec.outInterface !== '' && spec.outInterface !== '+')
    out += `${(inv & INV_VIA_OUT) !== 0 ? ' !' : ''} -o ${spec.outInterface}`
  if (spec.proto !== 0) out += `${(inv & INV_PROTO) !== 0 ? ' !' : ''} -p ${protoName(spec.proto)}`
  if (spec.fragment) out += `${(inv & INV_FRAG) !== 0 ? ' !' : ''} -f`
  for (const m of spec.matches) out += ` -m ${m.ext.name}${m.ext.save(m.data)}`
  if (spec.jump !== '') {
    const target = spec.target
    out += ` -${spec.isGoto ? 'g' : 'j'} ${spec.jump}`
    if (target !== null) out += target.ext.save(target.data)
  }
  return out
}

/** The rule as iptables-save prints it, without counters. */
export function printRule(rule: IptRule): string {
  return `-A ${rule.chain}${ruleBody(rule.spec)}`
}
