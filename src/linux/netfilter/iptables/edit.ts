/**
 * Commands on a draft of a table: -A -I -D -R -C -N -X -E -F -P -Z as libiptc does them.
 *
 * iptables: libiptc/libiptc.c, iptables/iptables.c. The draft shares chains with the table until one is edited, so a
 * small change to a large table copies one chain.
 */

import type { IptFamily } from './ip-values.ts'
import type { IptCommand } from './parse-rule.ts'
import { printRule, ruleBody } from './print-rule.ts'
import { findTarget } from './registry.ts'
import { IptChain } from './tables.ts'
import { IptRule, IptTextError } from './types.ts'

/** Chains being edited. */
export class TableDraft {
  readonly table: string
  readonly family: IptFamily
  readonly chains: Map<string, IptChain>
  private readonly owned = new Set<string>()
  /** Set on rules made while it is set (source position of the text). */
  origin: unknown = null

  constructor(table: string, family: IptFamily, chains: Map<string, IptChain>) {
    this.table = table
    this.family = family
    this.chains = chains
  }

  /** Carries out a command; -L and -S do nothing here. */
  apply(cmd: IptCommand): void {
    switch (cmd.command) {
      case 'N':
        this.createByCommand(cmd.chain)
        break
      case 'X':
        this.remove(cmd.chain)
        break
      case 'F':
        this.flush(cmd.chain)
        break
      case 'E':
        this.rename(cmd.chain, cmd.argument)
        break
      case 'P':
        this.policy(cmd.chain, cmd.argument, cmd.pcnt, cmd.bcnt)
        break
      case 'Z':
        this.zero(cmd.chain, cmd.ruleNumber)
        break
      case 'L':
      case 'S':
        break
      case '':
        throw new IptTextError('no command specified')
      default:
        this.rule(cmd)
    }
  }

  /** -Z of one chain, of one rule, or of all chains (empty name). */
  zero(name: string, ruleNumber: number): void {
    for (const n of name === '' ? [...this.chains.keys()] : [name]) {
      const chain = this.edit(n)
      if (chain === null) throw noChain()
      if (ruleNumber === 0) chain.pcnt = chain.bcnt = 0
      chain.rules = chain.rules.map((rule, i) => {
        return ruleNumber === 0 || i === ruleNumber - 1 ? this.copyRule(rule, rule.chain, rule.spec.jump, 0, 0) : rule
      })
    }
  }

  /** The chain, ready to be changed; null when it does not exist. */
  edit(name: string): IptChain | null {
    const chain = this.chains.get(name)
    if (chain === undefined) return null
    if (this.owned.has(name)) return chain
    const copy = chain.clone()
    this.owned.add(name)
    this.chains.set(name, copy)
    return copy
  }

  /** -N; a chain declared in a restore text may have the name of a target. */
  createByCommand(name: string): void {
    if (findTarget(this.family, name) !== undefined) throw new IptTextError('chain name may not clash with target name')
    this.create(name)
  }

  /** A new user chain. */
  create(name: string): void {
    if (name.length > 28) throw new IptTextError(`chain name \`${name}' too long (must be under 29 chars)`)
    if (name.startsWith('-') || name.startsWith('!')) {
      throw new IptTextError(`chain name not allowed to start with \`${name[0]}'\n`)
    }
    if (this.chains.has(name)) throw new IptTextError('Chain already exists.', true)
    this.chains.set(name, new IptChain(this.table, name, -1, '-'))
    this.owned.add(name)
  }

  /** -F of one chain, or of all. */
  flush(name: string): void {
    if (name === '') {
      for (const n of this.chains.keys()) this.edit(n)!.rules = []
      return
    }
    const chain = this.edit(name)
    if (chain === null) throw noChain()
    chain.rules = []
  }

  /** -X of one chain, or of all that nobody refers to. */
  remove(name: string): void {
    if (name === '') {
      for (const chain of [...this.chains.values()]) if (chain.hook < 0) this.removeChain(chain)
      return
    }
    const chain = this.chains.get(name)
    if (chain === undefined) throw noChain()
    if (chain.hook >= 0) throw new IptTextError("Can't delete built-in chain", true)
    this.removeChain(chain)
  }

  private removeChain(chain: IptChain): void {
    if (this.references(chain.name) > 0) throw new IptTextError('Too many links.', true)
    if (chain.rules.length > 0) throw new IptTextError('Directory not empty.', true)
    this.chains.delete(chain.name)
  }

  /** Rules that jump to the chain. */
  references(name: string): number {
    let n = 0
    for (const chain of this.chains.values()) {
      for (const rule of chain.rules) if (rule.spec.jump === name && rule.spec.target === null) n++
    }
    return n
  }

  /** -E */
  rename(from: string, to: string): void {
    const chain = this.edit(from)
    if (chain === null || chain.hook >= 0) throw noChain()
    if (this.chains.has(to)) throw new IptTextError('File exists.', true)
    if (findTarget(this.family, to) !== undefined) throw new IptTextError('chain name may not clash with target name')
    const copy = chain.clone(to)
    copy.rules = chain.rules.map((rule) => this.copyRule(rule, to, rule.spec.jump))
    this.chains.delete(from)
    this.chains.set(to, copy)
    this.owned.add(to)
    for (const other of [...this.chains.values()]) {
      if (!other.rules.some((r) => r.spec.jump === from && r.spec.target === null)) continue
      const edited = this.edit(other.name)!
      edited.rules = edited.rules.map((r) => {
        return r.spec.jump === from && r.spec.target === null ? this.copyRule(r, r.chain, to) : r
      })
    }
  }

  private copyRule(rule: IptRule, chain: string, jump: string, pcnt = rule.pcnt, bcnt = rule.bcnt): IptRule {
    const copy = new IptRule(this.table, chain, { ...rule.spec, jump }, pcnt, bcnt, printRule)
    copy.origin = rule.origin
    return copy
  }

  /** -P, with counters when given. */
  policy(name: string, policy: string, pcnt: number, bcnt: number): void {
    const chain = this.edit(name)
    if (chain === null) throw noChain()
    if (chain.hook < 0) throw new IptTextError('Bad built-in chain name', true)
    if (policy !== 'ACCEPT' && policy !== 'DROP')
      throw new IptTextError("Bad policy name. Run `dmesg' for more information.", true)
    chain.policy = policy
    chain.pcnt = pcnt
    chain.bcnt = bcnt
  }

  /** -A -I -R -D -C */
  rule(cmd: IptCommand): void {
    const chain = this.edit(cmd.chain)
    if (chain === null) throw noChain()
    const rules = chain.rules
    const n = cmd.ruleNumber
    for (const spec of cmd.specs) {
      const to = spec.target === null ? this.chains.get(spec.jump) : undefined
      if (to !== undefined && to.hook >= 0)
        throw new IptTextError("Invalid argument. Run `dmesg' for more information.", true)
    }
    switch (cmd.command) {
      case 'A':
        for (const rule of this.make(cmd)) rules.push(rule)
        return
      case 'I': {
        const at = n === 0 ? 0 : n - 1
        if (at > rules.length) throw new IptTextError('Index of insertion too big.', true)
        rules.splice(at, 0, ...this.make(cmd))
        return
      }
      case 'R': {
        if (n > rules.length) throw new IptTextError('Index of replacement too big.', true)
        if (cmd.specs.length !== 1) throw new IptTextError('Replacement rule does not specify a unique address')
        rules[n - 1] = this.make(cmd)[0]!
        return
      }
      case 'D':
        if (n > 0) {
          if (n > rules.length) throw new IptTextError('Index of deletion too big.', true)
          rules.splice(n - 1, 1)
          return
        }
        for (const spec of cmd.specs) rules.splice(this.find(chain, ruleBody(spec)), 1)
        return
      default:
        for (const spec of cmd.specs) this.find(chain, ruleBody(spec))
    }
  }

  private make(cmd: IptCommand): IptRule[] {
    return cmd.specs.map((spec) => {
      const rule = new IptRule(this.table, cmd.chain, spec, cmd.pcnt, cmd.bcnt, printRule)
      rule.origin = this.origin
      return rule
    })
  }

  private find(chain: IptChain, body: string): number {
    const text = `-A ${chain.name}${body}`
    const i = chain.rules.findIndex((rule) => rule.text === text)
    if (i < 0) throw new IptTextError('Bad rule (does a matching rule exist in that chain?).', true)
    return i
  }
}

function noChain(): IptTextError {
  return new IptTextError('No chain/target/match by that name.', true)
}
