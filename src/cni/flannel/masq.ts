/**
 * flanneld's iptables rules: what is masqueraded, what is forwarded.
 *
 * Real thing: pkg/trafficmngr/iptables/iptables.go (masqRules, forwardRules), written with iptables-restore --noflush; the
 * jumps are appended. What kube-proxy marked is left to kube-proxy (0x4000), since masquerading twice ends in wrong
 * checksums on some cards. EnableNFTables: pkg/trafficmngr/nftables/nftables.go, tables of its own; its fourth rule has pod
 * and cluster network the other way round than iptables mode, so that the last rule is never reached: what comes from
 * outside for a pod of another node is not masqueraded. Not modelled: the resync every five seconds.
 */
import type { NodeModel } from '../../kubernetes/types.ts'
import type { CniVerb, NetnsName } from '../verb.ts'

const POSTRTG = 'FLANNEL-POSTRTG'
const FWD = 'FLANNEL-FWD'
/** kube-proxy's masquerade mark. */
const KUBE_PROXY_MARK = '0x4000/0x4000'
const MULTICAST = '224.0.0.0/4'

/** Chains and rules of --ip-masq. */
export function* masqVerbs(node: NodeModel, network: string, randomFully: boolean): Generator<CniVerb> {
  const netns: NetnsName = `node:${node.name}`
  const origin = node.source
  const note = ['-m', 'comment', '--comment', 'flanneld masq']
  const masquerade = ['-j', 'MASQUERADE', ...(randomFully ? ['--random-fully'] : [])]
  const rule = (...args: string[]): CniVerb => ({
    verb: 'iptables',
    netns,
    origin,
    ensure: 'append',
    args: ['-t', 'nat', ...args],
  })
  yield { verb: 'iptables-chain', netns, origin, table: 'nat', chain: POSTRTG }
  yield rule('POSTROUTING', ...note, '-j', POSTRTG)
  yield rule(POSTRTG, '-m', 'mark', '--mark', KUBE_PROXY_MARK, ...note, '-j', 'RETURN')
  yield rule(POSTRTG, '-s', node.podCidr, '-d', network, ...note, '-j', 'RETURN')
  yield rule(POSTRTG, '-s', network, '-d', node.podCidr, ...note, '-j', 'RETURN')
  yield rule(POSTRTG, '!', '-s', network, '-d', node.podCidr, ...note, '-j', 'RETURN')
  yield rule(POSTRTG, '-s', network, '!', '-d', MULTICAST, ...note, ...masquerade)
  yield rule(POSTRTG, '!', '-s', network, '-d', network, ...note, ...masquerade)
}

/** Chain and rules of --iptables-forward-rules. */
export function* forwardVerbs(node: NodeModel, network: string): Generator<CniVerb> {
  const netns: NetnsName = `node:${node.name}`
  const origin = node.source
  const note = ['-m', 'comment', '--comment', 'flanneld forward']
  const rule = (...args: string[]): CniVerb => ({ verb: 'iptables', netns, origin, ensure: 'append', args })
  yield { verb: 'iptables-chain', netns, origin, table: 'filter', chain: FWD }
  yield rule('FORWARD', ...note, '-j', FWD)
  yield rule(FWD, '-s', network, ...note, '-j', 'ACCEPT')
  yield rule(FWD, '-d', network, ...note, '-j', 'ACCEPT')
}

/** Table flannel-ipv4 of EnableNFTables, with the chains that the flags ask for. */
export function nftVerb(
  node: NodeModel,
  network: string,
  options: { readonly ipMasq: boolean; readonly forwardRules: boolean; readonly randomFully: boolean },
): CniVerb {
  const pod = node.podCidr
  const masquerade = `masquerade${options.randomFully ? ' fully-random' : ''}`
  const lines = ['add table ip flannel-ipv4 { comment "rules for flannel-ipv4" ; }']
  if (options.ipMasq) {
    lines.push(
      'add chain ip flannel-ipv4 postrtg { type nat hook postrouting priority srcnat ; comment "chain to manage traffic masquerading by flannel" ; }',
      ...[
        'meta mark 0x4000 return',
        `ip saddr ${pod} ip daddr ${network} return`,
        `ip saddr ${network} ip daddr ${pod} return`,
        `ip saddr != ${pod} ip daddr ${network} return`,
        `ip saddr ${network} ip daddr != ${MULTICAST} ${masquerade}`,
        `ip saddr != ${network} ip daddr ${network} ${masquerade}`,
      ].map((rule) => `add rule ip flannel-ipv4 postrtg ${rule}`),
    )
  }
  if (options.forwardRules) {
    lines.push(
      'add chain ip flannel-ipv4 forward { type filter hook forward priority 0 ; comment "chain to accept flannel traffic" ; }',
      `add rule ip flannel-ipv4 forward ip saddr ${network} accept`,
      `add rule ip flannel-ipv4 forward ip daddr ${network} accept`,
    )
  }
  return { verb: 'nft', netns: `node:${node.name}`, origin: node.source, text: `${lines.join('\n')}\n` }
}
