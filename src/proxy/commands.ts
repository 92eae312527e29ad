/**
 * The command lines of kube-proxy's verbs, for whoever runs or prints them.
 *
 * `iptables -N` of a chain that exists fails with status 1 and kube-proxy goes on; a rule is inserted only when the
 * check (`-C`) says it is not there.
 *
 * Source: pkg/util/iptables/iptables.go (EnsureChain, EnsureRule, restoreInternal).
 */
import type { ProxyVerb } from './types.ts'

/** One command line; `check` is run first, and `argv` only when it fails. */
export interface CommandLine {
  readonly argv: readonly string[]
  readonly check?: readonly string[]
  readonly stdin?: string
}

/** The command line of one verb. */
export function commandLine(verb: ProxyVerb): CommandLine {
  switch (verb.verb) {
    case 'sysctl':
      return { argv: ['sysctl', '-w', `${verb.key}=${verb.value}`] }
    case 'nfacct-add':
      return { argv: ['nfacct', 'add', verb.name] }
    case 'ensure-chain':
      return { argv: [tool(verb), '-w', '5', '-N', verb.chain, '-t', verb.table] }
    case 'ensure-rule': {
      const rest = [verb.chain, '-t', verb.table, ...verb.args]
      return { check: [tool(verb), '-w', '5', '-C', ...rest], argv: [tool(verb), '-w', '5', '-I', ...rest] }
    }
    case 'iptables-restore':
      return { argv: [`${tool(verb)}-restore`, ...verb.args], stdin: verb.text }
    case 'nft':
      return { argv: ['nft', '-f', '-'], stdin: verb.text }
    case 'ipset':
      return { argv: ['ipset', '-exist', 'restore'], stdin: verb.text }
    case 'ipset-try':
      return { argv: ['ipset', ...verb.args] }
    case 'ipvs':
      return { argv: ['ipvsadm', '-R'], stdin: verb.text }
    case 'ip':
      return { argv: ['ip', ...(verb.family === 'IPv6' ? ['-6'] : []), ...verb.args] }
  }
}

function tool(verb: ProxyVerb & { readonly family: string }): string {
  return verb.family === 'IPv4' ? 'iptables' : 'ip6tables'
}
