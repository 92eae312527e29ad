/**
 * Why as text: the verdict, then for each end the policies that select it and their rules, each with its place.
 */
import type { Explanation, Miss, PolicyPlace, RuleTrace, SideExplanation } from '../policy/explain.ts'
import type { Why } from '../query/why.ts'
import type { Paint } from './paint.ts'

/** The document as text. */
export function whyText(why: Why, paint: Paint): string {
  const lines: string[] = []
  const { src, dst, protocol, port } = why.question
  const verdict = why.allowed ? paint('good', '✓ allowed') : paint('bad', '✗ denied')
  lines.push(`${verdict}  ${src} -> ${dst} ${protocol}${protocol === 'ICMP' ? '' : `/${port}`}`)
  for (const flow of why.flows) lines.push('', ...flowLines(flow, paint))
  if (why.flows.length === 0) lines.push('', 'There is no such flow: the ends share no address family or protocol.')
  const { ignored, cni, enforces } = why.enforcement
  if (ignored.length > 0) {
    const text = enforces
      ? `${cni} does not read: ${ignored.join(', ')}`
      : `${cni} enforces no policy: on the wire everything is allowed`
    lines.push('', `${paint('warn', '!')} ${text}`)
  }
  for (const note of why.notes) lines.push(`note: ${note}`)
  return `${lines.join('\n')}\n`
}

function flowLines(flow: Explanation, paint: Paint): string[] {
  const mark = flow.allowed ? paint('good', '✓') : paint('bad', '✗')
  const head = `${mark} ${flow.src} -> ${flow.dst} ${flow.port}`
  if (flow.exemption === 'loopback') return [head, '  a pod always reaches itself: no policy is asked']
  if (flow.exemption === 'own-node') return [head, '  a pod and its own node: no policy is asked']
  return [head, ...sideLines(flow.egress, paint), ...sideLines(flow.ingress, paint)]
}

function sideLines(side: SideExplanation, paint: Paint): string[] {
  const what = side.direction === 'egress' ? `out of ${side.party}` : `into ${side.party}`
  const mark = side.allowed ? paint('good', '✓') : paint('bad', '✗')
  const lines = [`  ${mark} ${what}: ${causeText(side)}`]
  for (const tier of side.tiers) {
    if (side.tiers.length > 1) lines.push(`    tier ${tier.name}: ${tier.outcome}`)
    for (const policy of tier.policies) {
      lines.push(`    ${place(policy.at)}${policy.isolates ? '' : ' (does not isolate)'}`)
      for (const rule of policy.rules) lines.push(...ruleLines(rule, paint))
      if (policy.rules.length === 0) lines.push('      no rules: nothing is allowed by it')
    }
  }
  if (side.nearestMiss !== null) {
    lines.push(`    nearest miss: ${place(side.nearestMiss.at)}`)
    for (const miss of side.nearestMiss.misses) lines.push(`      to allow it, change ${missText(miss)}`)
  }
  return lines
}

function causeText(side: SideExplanation): string {
  switch (side.cause) {
    case 'not policed':
      return 'allowed: not a pod that policies select'
    case 'no policy selects it':
      return 'allowed only because no policy selects it'
    case 'rule':
      return `${side.allowed ? 'allowed' : 'denied'} by ${side.decidedBy === null ? 'a rule' : place(side.decidedBy)}`
    case 'isolated':
      return 'denied: policies isolate it and no rule allows this'
    case 'no rule matches':
      return 'allowed: no rule matches and no policy isolates it'
  }
}

function ruleLines(rule: RuleTrace, paint: Paint): string[] {
  const field = rule.at.field === '' ? rule.at.name : rule.at.field
  const at = rule.at.file === '' ? '' : ` (${rule.at.file}:${rule.at.line})`
  if (rule.outcome === 'matched') {
    const l7 = rule.l7 ? ', then a layer 7 proxy decides' : ''
    return [`      ${paint('strong', '=')} ${field} ${rule.action}${at}: matches${l7}`]
  }
  if (rule.outcome === 'not reached') return [`      ${paint('dim', `. ${field} ${rule.action}${at}: not reached`)}`]
  const why = rule.misses.map((m) => `wants ${m.expected}, found ${m.found}`).join('; ')
  return [`      - ${field} ${rule.action}${at}: ${why === '' ? 'does not match' : why}`]
}

function missText(miss: Miss): string {
  const at = miss.file === '' ? '' : ` (${miss.file}:${miss.line})`
  return `${miss.field}${at}: wants ${miss.expected}, found ${miss.found}`
}

function place(at: PolicyPlace): string {
  const name = at.namespace === '' ? at.name : `${at.namespace}/${at.name}`
  const field = at.field === '' ? '' : ` ${at.field}`
  return `${at.kind} ${name}${field}${at.file === '' ? '' : ` (${at.file}:${at.line})`}`
}
