/**
 * The input of one iptables-restore: chain lines and rules per table, and the object that caused each rule.
 *
 * In a restore with --noflush a chain line creates the chain or flushes it; a chain that is not named stays as it is.
 * A skipped rule belongs to a chain that is right on the node already: it has an origin and no text.
 *
 * Source: iptables-restore(8); pkg/proxy/util/linebuffer.go.
 */
import { originKey } from '../origin-key.ts'
import type { IpFamily, RuleOrigin } from '../types.ts'

/** One table's block. Text goes straight into lines: an object per rule costs more than all else in a large cluster. */
export interface TableBuffer {
  readonly table: 'filter' | 'nat'
  readonly chains: string[]
  /** `-A` and `-X` lines. */
  readonly lines: string[]
  /** Origins of every rule by chain, skipped rules included. */
  readonly origins: Map<string, (RuleOrigin | null)[]>
}

/** An empty block. */
export function tableBuffer(table: 'filter' | 'nat'): TableBuffer {
  return { table, chains: [], lines: [], origins: new Map() }
}

/** Appends `-A chain args`. */
export function appendRule(
  buffer: TableBuffer,
  chain: string,
  args: string,
  origin: RuleOrigin | null,
  isSkipped = false,
): void {
  if (!isSkipped) buffer.lines.push(`-A ${chain} ${args}`)
  const origins = buffer.origins.get(chain)
  if (origins === undefined) buffer.origins.set(chain, [origin])
  else origins.push(origin)
}

/** Flushes and deletes a chain. */
export function deleteChain(buffer: TableBuffer, chain: string): void {
  buffer.chains.push(chain)
  buffer.lines.push(`-X ${chain}`)
}

/** The restore text of the blocks. */
export function restoreInput(buffers: readonly TableBuffer[]): string {
  const blocks = buffers.map(({ table, chains, lines }) => {
    const chainLines = chains.map((chain) => `:${chain} - [0:0]`)
    return [`*${table}`].concat(chainLines, lines, 'COMMIT\n').join('\n')
  })
  return blocks.join('')
}

/** Adds the origins of the blocks to `into`. */
export function collectOrigins(
  into: Map<string, readonly (RuleOrigin | null)[]>,
  family: IpFamily,
  buffers: readonly TableBuffer[],
): void {
  for (const { table, origins } of buffers) {
    for (const [chain, list] of origins) into.set(originKey(family, table, chain), list)
  }
}
