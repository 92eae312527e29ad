/**
 * Tables as text: iptables-save, iptables -S, iptables -L.
 *
 * iptables: iptables/iptables-save.c (do_output), iptables/iptables.c (print_header, print_firewall), libxtables
 * (xtables_print_num). -L without -n prints no host names: networks stay numeric, only 0.0.0.0/0 is `anywhere`.
 */
import { formatIp, type IpValue, maskText, prefixLengthOf } from './ip-values.ts'
import type { IptCommand } from './parse-rule.ts'
import type { IptChain, IptTable } from './tables.ts'
import {
  INV_DSTIP,
  INV_FRAG,
  INV_PROTO,
  INV_SRCIP,
  INV_VIA_IN,
  INV_VIA_OUT,
  type IptRule,
  IptTextError,
} from './types.ts'
import { protoName } from './values.ts'

/** One table in the form of iptables-save, without the comment lines that carry version and date. */
export function saveTable(table: IptTable, counters: boolean): string {
  table.syncCounters()
  const out: string[] = [`*${table.name}`]
  for (const c of table.chains.values()) {
    // libiptc writes the counters of built-in chains only
    out.push(`:${c.name} ${c.policy} ${c.hook < 0 ? '[0:0]' : `[${c.pcnt}:${c.bcnt}]`}`)
  }
  for (const chain of table.chains.values()) {
    for (const rule of chain.rules) out.push(counters ? `[${rule.pcnt}:${rule.bcnt}] ${rule.text}` : rule.text)
  }
  out.push('COMMIT')
  return `${out.join('\n')}\n`
}

/** iptables -S [chain [rulenum]] [-v] */
export function listRules(table: IptTable, cmd: IptCommand): string {
  table.syncCounters()
  const out: string[] = []
  const chains = chosen(table, cmd.chain)
  const count = (p: number, b: number): string => (cmd.verbose ? ` -c ${p} ${b}` : '')
  if (cmd.ruleNumber === 0) {
    for (const c of chains) {
      out.push(c.hook >= 0 ? `-P ${c.name} ${c.policy}${count(c.pcnt, c.bcnt)}` : `-N ${c.name}`)
    }
  }
  for (const c of chains) {
    c.rules.forEach((rule, i) => {
      if (cmd.ruleNumber === 0 || cmd.ruleNumber === i + 1) out.push(withCounters(rule, count(rule.pcnt, rule.bcnt)))
    })
  }
  return out.map((line) => `${line}\n`).join('')
}

/** The counters of -S -v stand in front of the target. */
function withCounters(rule: IptRule, counters: string): string {
  if (counters === '') return rule.text
  const { jump, isGoto, target } = rule.spec
  if (jump === '') return rule.text + counters
  const tail = ` -${isGoto ? 'g' : 'j'} ${jump}${target === null ? '' : target.ext.save(target.data)}`
  return rule.text.slice(0, rule.text.length - tail.length) + counters + tail
}

function chosen(table: IptTable, name: string): IptChain[] {
  if (name === '') return [...table.chains.values()]
  const chain = table.chains.get(name)
  if (chain === undefined) throw new IptTextError('No chain/target/match by that name.', true)
  return [chain]
}

/** iptables -L [chain [rulenum]] [-n] [-v] [-x] [--line-numbers] */
export function listTable(table: IptTable, cmd: IptCommand): string {
  table.syncCounters()
  const parts = chosen(table, cmd.chain).map((chain) => {
    const header = cmd.ruleNumber === 0 ? listHeader(table, chain, cmd) : ''
    const rows = chain.rules.map((rule, i) => {
      return cmd.ruleNumber === 0 || cmd.ruleNumber === i + 1 ? listRule(rule, i + 1, cmd) : ''
    })
    return header + rows.join('')
  })
  return parts.join('\n')
}

function listHeader(table: IptTable, chain: IptChain, cmd: IptCommand): string {
  let out = `Chain ${chain.name}`
  if (chain.hook >= 0) {
    out += ` (policy ${chain.policy}`
    if (cmd.verbose) out += ` ${num(chain.pcnt, cmd.exact, false)}packets, ${num(chain.bcnt, cmd.exact, false)}bytes`
    out += ')\n'
  } else {
    let refs = 0
    for (const c of table.chains.values()) {
      for (const r of c.rules) if (r.spec.jump === chain.name && r.spec.target === null) refs++
    }
    out += ` (${refs} references)\n`
  }
  if (cmd.lineNumbers) out += 'num  '
  if (cmd.verbose) out += cmd.exact ? `${'pkts'.padStart(8)} ${'bytes'.padStart(10)} ` : ' pkts bytes '
  out += 'target     prot opt'
  if (cmd.verbose) out += ' in     out    '
  return `${out} ${'source'.padEnd(19)}  ${'destination'.padEnd(19)} \n`
}

/** xtables_print_num: 5 digits, then K, M, G, T. */
function num(n: number, exact: boolean, wide: boolean): string {
  if (exact) return wide ? `${String(n).padStart(8)} ` : `${n} `
  const pad = (v: number, w: number): string => (wide ? String(v).padStart(w) : String(v))
  if (n <= 99999) return `${pad(n, 5)} `
  let v = n
  for (const unit of 'KMGT') {
    v = Math.floor((v + 500) / 1000)
    if (v <= 9999 || unit === 'T') return `${pad(v, 4)}${unit} `
  }
  return ''
}

function listRule(rule: IptRule, n: number, cmd: IptCommand): string {
  const s = rule.spec
  let out = ''
  if (cmd.lineNumbers) out += `${String(n).padEnd(4)} `
  if (cmd.verbose) out += num(rule.pcnt, cmd.exact, true) + num(rule.bcnt, cmd.exact, true)
  const name = s.target?.ext.printName?.(s.target.data) ?? s.jump
  out += `${name.padEnd(9)} `
  out += (s.inverted & INV_PROTO) !== 0 ? '!' : ' '
  out += cmd.numeric ? `${String(s.proto).padEnd(4)} ` : `${(s.proto === 0 ? 'all' : protoName(s.proto)).padEnd(4)} `
  out += s.fragment ? ((s.inverted & INV_FRAG) !== 0 ? '!f' : '-f') : '--'
  out += ' '
  if (cmd.verbose) {
    const face = (name: string, inverted: boolean): string => {
      const text = `${inverted ? '!' : ''}${name === '' ? (cmd.numeric ? '*' : 'any') : name}`
      return ` ${text.padEnd(6)}`
    }
    out += `${face(s.inInterface, (s.inverted & INV_VIA_IN) !== 0)}${face(s.outInterface, (s.inverted & INV_VIA_OUT) !== 0)} `
  }
  const net = (ip: IpValue, mask: IpValue, inverted: boolean): string => {
    const text = prefixLengthOf(mask) === 0 && !cmd.numeric ? 'anywhere' : formatIp(ip) + maskText(mask)
    return `${inverted ? '!' : ' '}${text.padEnd(19)}`
  }
  out += `${net(s.src, s.smask, (s.inverted & INV_SRCIP) !== 0)} ${net(s.dst, s.dmask, (s.inverted & INV_DSTIP) !== 0)} `
  if (s.isGoto) out += '[goto] '
  for (const m of s.matches) out += m.ext.list(m.data)
  if (s.target !== null) out += s.target.ext.list(s.target.data)
  return `${out}\n`
}
