/**
 * Sets of transport ports over one line of numbers.
 *
 * Protocol and port are one number: TCP 0-65535, then UDP, SCTP, ICMP and ICMPv6 (type and code in the port), then every
 * other IP protocol by its number. A set is sorted, disjoint, non-adjacent pairs first, last, first, last ..., so that
 * union, intersection and difference are merges whatever a policy says: one port, a range, all of a protocol, everything.
 */

/** A protocol that a policy can name. */
export type PolicyProtocol = 'TCP' | 'UDP' | 'SCTP' | 'ICMP' | 'ICMPv6'

/** Flat pairs of first and last number. */
export type PortSet = readonly number[]

const SPAN = 65536
const OTHER_BASE = 5 * SPAN
const PROTOCOLS: readonly PolicyProtocol[] = ['TCP', 'UDP', 'SCTP', 'ICMP', 'ICMPv6']
const IP_PROTOCOL: Readonly<Record<PolicyProtocol, number>> = { TCP: 6, UDP: 17, SCTP: 132, ICMP: 1, ICMPv6: 58 }

/** No port. */
export const NO_PORTS: PortSet = []
/** Everything, of every protocol. */
export const ALL_PORTS: PortSet = [0, OTHER_BASE + 255]
/** Port 0 of the transport protocols is no port that a connection can have: left out of what is shown. */
export const CONNECTION_PORTS: PortSet = [1, SPAN - 1, SPAN + 1, 2 * SPAN - 1, 2 * SPAN + 1, 3 * SPAN - 1]

/** The number of a protocol and port; for ICMP the port is the type, the code is 0. */
export function portNumberOf(protocol: PolicyProtocol, port: number): number {
  switch (protocol) {
    case 'TCP':
      return port
    case 'UDP':
      return SPAN + port
    case 'SCTP':
      return 2 * SPAN + port
    case 'ICMP':
      return 3 * SPAN + (port & 255) * 256
    case 'ICMPv6':
      return 4 * SPAN + (port & 255) * 256
  }
}

/** Ports first to last of a protocol. */
export function portRange(protocol: PolicyProtocol, first: number, last: number = first): PortSet {
  const base = PROTOCOLS.indexOf(protocol) * SPAN
  return [base + first, base + last]
}

/** One ICMP type, of all codes or of one. */
export function icmpType(protocol: 'ICMP' | 'ICMPv6', type: number, code?: number): PortSet {
  return portRange(protocol, type * 256 + (code ?? 0), type * 256 + (code ?? 255))
}

/** All of a protocol, by its name or its number. */
export function protocolPorts(protocol: PolicyProtocol | number): PortSet {
  if (typeof protocol !== 'number') return portRange(protocol, 0, SPAN - 1)
  const name = PROTOCOLS.find((p) => IP_PROTOCOL[p] === protocol)
  return name === undefined ? [OTHER_BASE + protocol, OTHER_BASE + protocol] : portRange(name, 0, SPAN - 1)
}

/** Ports in one of the sets. */
export function unionPorts(a: PortSet, b: PortSet): PortSet {
  if (a.length === 0) return b
  if (b.length === 0) return a
  const out: number[] = []
  let i = 0
  let j = 0
  while (i < a.length || j < b.length) {
    const takeA = j >= b.length || (i < a.length && a[i]! <= b[j]!)
    const first = takeA ? a[i]! : b[j]!
    const last = takeA ? a[i + 1]! : b[j + 1]!
    if (takeA) i += 2
    else j += 2
    const end = out.length - 1
    if (end > 0 && first <= out[end]! + 1) out[end] = Math.max(out[end]!, last)
    else out.push(first, last)
  }
  return out
}

/** Ports in both sets. */
export function intersectPorts(a: PortSet, b: PortSet): PortSet {
  const out: number[] = []
  let i = 0
  let j = 0
  while (i < a.length && j < b.length) {
    const first = Math.max(a[i]!, b[j]!)
    const last = Math.min(a[i + 1]!, b[j + 1]!)
    if (first <= last) out.push(first, last)
    if (a[i + 1]! < b[j + 1]!) i += 2
    else j += 2
  }
  return out
}

/** Ports of `a` that are not in `b`. */
export function subtractPorts(a: PortSet, b: PortSet): PortSet {
  const out: number[] = []
  let j = 0
  for (let i = 0; i < a.length; i += 2) {
    let first = a[i]!
    const last = a[i + 1]!
    while (j < b.length && b[j + 1]! < first) j += 2
    for (let k = j; k < b.length && b[k]! <= last; k += 2) {
      if (b[k]! > first) out.push(first, b[k]! - 1)
      first = b[k + 1]! + 1
    }
    if (first <= last) out.push(first, last)
  }
  return out
}

/** True when the number is in the set. */
export function portsContain(set: PortSet, port: number): boolean {
  for (let i = 0; i < set.length; i += 2) {
    if (port < set[i]!) return false
    if (port <= set[i + 1]!) return true
  }
  return false
}

/** True when both sets hold the same. */
export function samePorts(a: PortSet, b: PortSet): boolean {
  return a === b || (a.length === b.length && a.every((v, i) => v === b[i]))
}

/** The ports of one transport protocol as text: `80,443,8000-8999`, `all` for 1-65535, empty for none. */
export function portsText(set: PortSet, protocol: 'TCP' | 'UDP' | 'SCTP'): string {
  const base = PROTOCOLS.indexOf(protocol) * SPAN
  const inside = intersectPorts(set, [base + 1, base + SPAN - 1])
  if (inside.length === 2 && inside[0] === base + 1 && inside[1] === base + SPAN - 1) return 'all'
  const parts: string[] = []
  for (let i = 0; i < inside.length; i += 2) {
    const first = inside[i]! - base
    const last = inside[i + 1]! - base
    parts.push(first === last ? String(first) : `${first}-${last}`)
  }
  return parts.join(',')
}

/** What ICMP a set holds: `echo`, all, or nothing. */
export function allowsIcmp(set: PortSet, family: 4 | 6 = 4): boolean {
  return portsContain(set, family === 4 ? portNumberOf('ICMP', 8) : portNumberOf('ICMPv6', 128))
}

/** `TCP/80`, `ICMP/8`: one number as people write it. */
export function portText(port: number): string {
  const which = Math.floor(port / SPAN)
  const protocol = PROTOCOLS[which]
  if (protocol === undefined) return `protocol ${port - OTHER_BASE}`
  const value = port - which * SPAN
  return `${protocol}/${which >= 3 ? value >> 8 : value}`
}
