/**
 * The set types: what their elements are made of.
 *
 * Linux: net/netfilter/ipset/ip_set_{hash,bitmap,list}_*.c; ipset 7.17 lib/ipset_*.c. Not modelled: bitmap:ip,mac,
 * hash:ip,mac.
 */

/** A part of an element, in text order. */
export type SetPart = 'ip' | 'net' | 'port' | 'ip2' | 'net2' | 'mark' | 'iface' | 'mac' | 'set'

/** A set type. */
export interface SetType {
  readonly name: string
  readonly kind: 'hash' | 'bitmap' | 'list'
  readonly parts: readonly SetPart[]
  readonly dimensions: number
  readonly revision: number
}

function type(name: string, parts: readonly SetPart[], revision: number): SetType {
  const kind = name.startsWith('hash') ? 'hash' : name.startsWith('bitmap') ? 'bitmap' : 'list'
  return { name, kind, parts, dimensions: parts.length, revision }
}

const LIST: readonly SetType[] = [
  type('hash:ip', ['ip'], 6),
  type('hash:net', ['net'], 7),
  type('hash:ip,port', ['ip', 'port'], 7),
  type('hash:ip,port,ip', ['ip', 'port', 'ip2'], 6),
  type('hash:ip,port,net', ['ip', 'port', 'net2'], 8),
  type('hash:net,port', ['net', 'port'], 8),
  type('hash:net,net', ['net', 'net2'], 4),
  type('hash:net,port,net', ['net', 'port', 'net2'], 3),
  type('hash:net,iface', ['net', 'iface'], 8),
  type('hash:mac', ['mac'], 1),
  type('hash:ip,mark', ['ip', 'mark'], 3),
  type('bitmap:ip', ['ip'], 3),
  type('bitmap:port', ['port'], 3),
  type('list:set', ['set'], 3),
]

/** Set types by name. */
export const SET_TYPES: ReadonlyMap<string, SetType> = new Map(LIST.map((t) => [t.name, t]))
/** Types of ipset that podwalk does not have. */
export const SET_TYPES_ELSEWHERE: ReadonlySet<string> = new Set(['bitmap:ip,mac', 'hash:ip,mac'])
