/**
 * Who speaks BGP with whom: the mesh, global and node peers, route reflectors.
 *
 * Real thing: confd's templates bird.cfg.template (v0.3 BIRD) and bgp_processor.go. Route reflectors are not in the mesh. Of
 * two nodes the one with the larger address, compared as text, connects; the other waits (passive). A peerSelector makes
 * sessions with nodes, in both directions. The same address is never peered with twice: the first object counts.
 */
import type { NodeModel } from '../../kubernetes/types.ts'
import {
  type BgpNode,
  type BgpPeerObject,
  type BgpSettings,
  isGlobalPeer,
  peerAppliesTo,
  peerSelects,
} from './bgp-config.ts'

/** A session of a node. */
export interface CalicoSession {
  /** What its name begins with in bird.cfg. */
  readonly kind: 'Mesh' | 'Global' | 'Node'
  readonly address: string
  readonly port: number | null
  readonly asn: number
  readonly localAsn: number | null
  readonly passive: boolean
  /** The peer is a client of this route reflector. */
  readonly isClient: boolean
  readonly nextHopMode: 'Auto' | 'Self' | 'Keep'
  readonly allowLocalAs: number
  /** Same AS: tunnel routes are not announced. */
  readonly isInternal: boolean
  readonly usesNodeIp: boolean
  readonly password: boolean
  readonly ttlSecurity: number | null
  readonly restartTime: number | null
  readonly filters: readonly string[]
  /** The node at the other end, when it is one. */
  readonly peer: NodeModel | null
  readonly object: BgpPeerObject | null
}

/** All sessions of a node, in the order of bird.cfg: mesh, global peers, node peers. */
export function sessionsOf(me: BgpNode, s: BgpSettings): CalicoSession[] {
  const out: CalicoSession[] = []
  const seen = new Set<string>()
  const add = (session: CalicoSession): void => {
    const key = `${session.address}:${session.port ?? ''}`
    if (session.address === me.node.internalIp || seen.has(key)) return
    seen.add(key)
    out.push(session)
  }
  if (s.mesh && me.clusterId === '') {
    for (const other of [...s.nodes].sort((a, b) => (a.node.name < b.node.name ? -1 : 1))) {
      if (other === me || other.clusterId !== '') continue
      const base = nodeSession('Mesh', me, other, null, s)
      add({ ...base, restartTime: s.meshRestartTime, port: s.listenPort === 179 ? null : s.listenPort })
    }
  }
  const objects = [...s.peers].sort((a, b) => (a.name < b.name ? -1 : 1))
  for (const isGlobal of [true, false]) {
    for (const p of objects) {
      if (isGlobalPeer(p) !== isGlobal) continue
      const kind = isGlobal ? 'Global' : 'Node'
      if (peerAppliesTo(p, me.node)) {
        if (p.peerSelector === '') add(addressSession(kind, me, p, s))
        else for (const other of s.nodes) if (peerSelects(p, other.node)) add(nodeSession(kind, me, other, p, s))
      }
      // the other direction of a peerSelector
      if (!peerSelects(p, me.node)) continue
      for (const other of s.nodes) if (peerAppliesTo(p, other.node)) add(nodeSession(kind, me, other, p, s))
    }
  }
  return out
}

function nodeSession(
  kind: CalicoSession['kind'],
  me: BgpNode,
  other: BgpNode,
  p: BgpPeerObject | null,
  s: BgpSettings,
): CalicoSession {
  return {
    ...common(kind, me, other.asn, other.clusterId, p),
    address: other.node.internalIp,
    port: s.listenPort === 179 ? null : s.listenPort,
    passive: other.node.internalIp > me.node.internalIp,
    peer: other.node,
  }
}

function addressSession(kind: CalicoSession['kind'], me: BgpNode, p: BgpPeerObject, s: BgpSettings): CalicoSession {
  const other = s.nodes.find((n) => n.node.internalIp === p.peerIp)
  return {
    ...common(kind, me, p.asn, other?.clusterId ?? '', p),
    address: p.peerIp,
    port: p.port,
    passive: other !== undefined && p.peerIp > me.node.internalIp,
    peer: other?.node ?? null,
  }
}

function common(
  kind: CalicoSession['kind'],
  me: BgpNode,
  asn: number,
  clusterId: string,
  p: BgpPeerObject | null,
): Omit<CalicoSession, 'address' | 'port' | 'passive' | 'peer'> {
  const localAsn = p?.localAsn ?? null
  const isInternal = asn === (localAsn ?? me.asn)
  return {
    ...{ kind, asn, localAsn, isInternal, object: p },
    isClient: isInternal && me.clusterId !== '' && clusterId !== me.clusterId,
    nextHopMode: (p?.nextHopMode ?? 'Auto') as 'Auto',
    allowLocalAs: p?.allowLocalAs ?? 0,
    usesNodeIp: (p?.sourceAddress ?? 'UseNodeIP') === 'UseNodeIP',
    password: p?.password ?? false,
    ttlSecurity: p?.ttlSecurity ?? null,
    restartTime: p?.restartTime ?? null,
    filters: p?.filters ?? [],
  }
}
