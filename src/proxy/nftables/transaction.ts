/**
 * The text of one nftables transaction, as kube-proxy's library knftables writes it for `nft -f -`.
 *
 * One line per operation; objects' properties end in ` ;` inside braces. Beside the text the origins of the rules are
 * kept. A skipped chain's rules have origins and no text: they are right on the node already.
 *
 * Source: sigs.k8s.io/knftables objects.go (writeOperation), types.go (Concat).
 */
import { originKey } from '../origin-key.ts'
import type { IpFamily, RuleOrigin } from '../types.ts'
import { TABLE } from './names.ts'

/** A transaction under construction. */
export interface NftTransaction {
  readonly family: IpFamily
  /** `ip kube-proxy` or `ip6 kube-proxy`. */
  readonly where: string
  /** `ip` or `ip6`, as in `ip daddr`. */
  readonly ipX: 'ip' | 'ip6'
  /** `ipv4_addr` or `ipv6_addr`. */
  readonly addressType: string
  readonly lines: string[]
  readonly origins: Map<string, readonly (RuleOrigin | null)[]>
  /** Origins of the chains that are being written, by chain. */
  readonly open: Map<string, (RuleOrigin | null)[]>
}

/** An empty transaction on the table of `family`. */
export function nftTransaction(family: IpFamily, origins: Map<string, readonly (RuleOrigin | null)[]>): NftTransaction {
  const ipX = family === 'IPv4' ? 'ip' : 'ip6'
  return {
    family,
    where: `${ipX} ${TABLE}`,
    ipX,
    addressType: family === 'IPv4' ? 'ipv4_addr' : 'ipv6_addr',
    lines: [],
    origins,
    open: new Map(),
  }
}

/** The transaction's text; empty when there is nothing to do. */
export function transactionText(tx: NftTransaction): string {
  return tx.lines.length === 0 ? '' : `${tx.lines.join('\n')}\n`
}

/** `add chain`, with its properties, e.g. `{ type nat hook output priority -100 ; }`. */
export function addChain(tx: NftTransaction, chain: string, properties = ''): void {
  tx.lines.push(`add chain ${tx.where} ${chain}${properties === '' ? '' : ` ${properties}`}`)
}

/** `flush chain`. */
export function flushChain(tx: NftTransaction, chain: string): void {
  tx.lines.push(`flush chain ${tx.where} ${chain}`)
}

/** `delete chain`. */
export function deleteChain(tx: NftTransaction, chain: string): void {
  tx.lines.push(`delete chain ${tx.where} ${chain}`)
}

/** `add rule`; with `isSkipped` only the origin is noted. */
export function addRule(
  tx: NftTransaction,
  chain: string,
  rule: string,
  origin: RuleOrigin | null,
  isSkipped = false,
  comment = '',
): void {
  if (!isSkipped) tx.lines.push(`add rule ${tx.where} ${chain} ${rule}${comment === '' ? '' : ` comment "${comment}"`}`)
  const list = tx.open.get(chain)
  if (list !== undefined) {
    list.push(origin)
    return
  }
  const fresh = [origin]
  tx.open.set(chain, fresh)
  tx.origins.set(originKey(tx.family, TABLE, chain), fresh)
}

/** `add set` or `add map`. */
export function addContainer(tx: NftTransaction, kind: 'set' | 'map', name: string, properties: string): void {
  tx.lines.push(`add ${kind} ${tx.where} ${name} { ${properties} ; }`)
}

/** `delete set`. */
export function deleteSet(tx: NftTransaction, name: string): void {
  tx.lines.push(`delete set ${tx.where} ${name}`)
}

/** `flush set`. */
export function flushSet(tx: NftTransaction, name: string): void {
  tx.lines.push(`flush set ${tx.where} ${name}`)
}

/** `add element`; `value` is empty for a set. */
export function addElement(tx: NftTransaction, container: string, key: string, value: string, comment = ''): void {
  const why = comment === '' ? '' : ` comment "${comment}"`
  tx.lines.push(`add element ${tx.where} ${container} { ${key}${why}${value === '' ? '' : ` : ${value}`} }`)
}

/** `delete element`. */
export function deleteElement(tx: NftTransaction, container: string, key: string): void {
  tx.lines.push(`delete element ${tx.where} ${container} { ${key} }`)
}
