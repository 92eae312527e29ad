/**
 * A neighbour: connecting, the two connections that may exist at a time, what is kept when the session is lost.
 *
 * RFC 4271 8 with the timers of the implementation that the speaker follows. Collisions as bgp_rx_open of BIRD states the
 * rule of 6.8: of two connections, the one that the side with the higher identifier opened stays. Graceful restart of
 * the neighbour: RFC 4724 4.2, RFC 8538 (N bit), RFC 9494 (long-lived). NOT modelled: idle hold of FRR's damping, DelayOpen
 * as RFC 4271 8.1.1 has it (no daemon uses it by default).
 */
import { parseIpv4 } from '../addr/ipv4.ts'
import {
  afiOf,
  type BgpRouteRefresh,
  type BgpUpdate,
  CEASE_RESET,
  CEASE_SHUTDOWN,
  ERR_CEASE,
  notificationName,
} from '../wire/bgp.ts'
import { familyOf } from '../wire/bgp-prefix.ts'
import { familiesOf } from './capabilities.ts'
import type { BgpConnection, BgpTimer } from './clock.ts'
import type { BgpFamily, BgpPeerSpec } from './config.ts'
import { addressKey, type DecisionPeer } from './decision.ts'
import { Exported } from './exported.ts'
import { type CompiledPolicy, compilePolicy } from './policy.ts'
import { Session, type SessionEnd, type SessionState } from './session.ts'
import type { Speaker } from './speaker.ts'

/** State of a neighbour as RFC 4271 8.2.2 names it. */
export type PeerState = 'Idle' | 'Connect' | 'Active' | 'OpenSent' | 'OpenConfirm' | 'Established'

const DEFAULT_PORT = 179
/** BIRD forgets how often a session failed after so long (error forget time). */
const FORGET_ERRORS_MS = 300_000
/** After a NOTIFICATION of these the neighbour wants its routes gone (RFC 8538 4: Hard Reset, and without the N bit all). */
const HARD_RESET = 9

/** A neighbour. */
export class Peer implements DecisionPeer {
  readonly speaker: Speaker
  readonly spec: BgpPeerSpec
  /** In the speaker's list; 0 is the speaker itself. */
  readonly index: number
  readonly isLocal = false
  readonly isInternal: boolean
  readonly localAsn: number
  readonly addressKey: string
  readonly families: readonly BgpFamily[]
  readonly importPolicy: CompiledPolicy | null
  readonly exportPolicy: CompiledPolicy | null
  readonly exported = new Exported()
  outgoing: Session | null = null
  incoming: Session | null = null
  established: Session | null = null
  /** Of the last session. */
  routerId = 0
  localAddress: string
  establishedAtMs = 0
  lastError = ''
  /** Families whose End-of-RIB came. */
  readonly endOfRib = new Set<BgpFamily>()
  /** The neighbour is away and its routes are kept: normally, or as long-lived stale. */
  restart: 'none' | 'graceful' | 'long-lived' = 'none'
  /** Updates may go out: the delay after Established is over. */
  isOpenForUpdates = false
  private connecting = false
  private stopped = true
  private readonly connectTimer: BgpTimer
  private readonly idleTimer: BgpTimer
  private readonly restartTimer: BgpTimer
  private readonly updateTimer: BgpTimer
  private readonly refreshTimer: BgpTimer
  private longLivedMs = 0
  private keptFamilies: readonly BgpFamily[] = []
  private errorWaitS = 0
  private lastErrorMs = -Infinity

  constructor(speaker: Speaker, spec: BgpPeerSpec, index: number) {
    this.speaker = speaker
    this.spec = spec
    this.index = index
    this.localAsn = spec.localAsn ?? speaker.spec.asn
    this.isInternal = spec.asn === this.localAsn
    this.addressKey = addressKey(spec.address)
    this.families = familiesOf(spec)
    this.importPolicy = compilePolicy(spec.import)
    this.exportPolicy = compilePolicy(spec.export)
    this.localAddress = spec.localAddress ?? ''
    const { clock } = speaker.host
    this.connectTimer = clock.timer(() => this.connect())
    this.idleTimer = clock.timer(() => this.active(false))
    this.restartTimer = clock.timer(() => this.restartOver())
    this.updateTimer = clock.timer(() => this.openForUpdates())
    this.refreshTimer = clock.timer(() => this.answerRefresh())
  }

  /** ManualStart. */
  start(): void {
    if (!this.stopped) return
    this.stopped = false
    this.active(false)
  }

  /** ManualStop: Cease, Administrative Shutdown, and everything of the neighbour is forgotten. */
  stop(subcode = CEASE_SHUTDOWN): void {
    this.stopped = true
    this.connectTimer.cancel()
    this.idleTimer.cancel()
    this.connecting = false
    for (const s of [this.outgoing, this.incoming]) s?.fail(ERR_CEASE, subcode, new Uint8Array(0))
    this.restartTimer.cancel()
    this.restart = 'none'
    this.speaker.forgetRoutes(this, false)
  }

  /** Closes the session with Cease, Administrative Reset, and comes back. */
  reset(): void {
    for (const s of [this.outgoing, this.incoming]) s?.fail(ERR_CEASE, CEASE_RESET, new Uint8Array(0))
  }

  /** The process dies: connections close without a word, nothing is kept. */
  kill(): void {
    this.stopped = true
    for (const t of [this.connectTimer, this.idleTimer, this.restartTimer, this.updateTimer, this.refreshTimer])
      t.cancel()
    for (const s of [this.outgoing, this.incoming]) s?.drop()
    this.outgoing = null
    this.incoming = null
    this.established = null
  }

  /** RFC 4271's name for where this neighbour stands. */
  get state(): PeerState {
    if (this.established !== null) return 'Established'
    const states = [this.outgoing, this.incoming].map((s) => ((s?.connection ?? null) === null ? null : s!.state))
    if (states.includes('OpenConfirm')) return 'OpenConfirm'
    if (states.includes('OpenSent') && !this.connecting) return 'OpenSent'
    if (this.incoming !== null) return 'OpenSent'
    if (this.connecting) return 'Connect'
    if (this.stopped || this.idleTimer.armed) return 'Idle'
    return 'Active'
  }

  /** The connection comes from the neighbour. @returns who hears of it, null to refuse */
  accept(c: BgpConnection): Session | null {
    if (this.stopped || this.idleTimer.armed) return null
    const { collision } = this.speaker.profile
    if (this.established !== null) {
      // a neighbour that restarted may come back before its old connection is known to be dead
      if (this.established.agreement?.graceful === null || collision === 'first') return null
      const old = this.established
      old.end({ kind: 'closed', code: 0, subcode: 0, data: new Uint8Array(0), text: 'replaced by a new connection' })
      this.connectTimer.cancel()
    }
    if (this.incoming !== null) return null
    // GoBGP takes one connection and closes what comes after it
    if (collision === 'first' && this.outgoing?.connection != null && !this.connecting) return null
    const s = new Session(this, true)
    this.incoming = s
    s.connection = c
    const { ttl, tos } = this.speaker.profile
    c.options(this.spec.multihopTtl ?? (this.isInternal ? ttl.accepted : 1), tos)
    return s
  }

  /** TCP of a session is there. */
  sessionConnected(s: Session): void {
    if (s === this.outgoing) {
      this.connecting = false
      this.connectTimer.cancel()
    }
    this.localAddress = s.connection?.localAddress ?? this.localAddress
  }

  /** RFC 4271 6.8, on receipt of an OPEN. @returns the session that gave way, null when none did */
  resolveCollision(s: Session, remoteId: number): Session | null {
    const other = s === this.outgoing ? this.incoming : this.outgoing
    if (other === null) return null
    if (this.connecting && other === this.outgoing) {
      // only an attempt: it ends
      this.abandonConnect()
      return null
    }
    if (other.state === 'OpenSent') return null
    if (this.speaker.profile.collision === 'first') {
      const loser = this.outgoing === other ? s : other
      loser.yieldTo()
      return loser
    }
    const own = (parseIpv4(this.speaker.spec.routerId) ?? 0) >>> 0
    const isDominant = own < remoteId || (own === remoteId && this.localAsn < this.spec.asn)
    const keepsNew = isDominant === s.isIncoming && other.state !== 'Established'
    const loser = keepsNew ? other : s
    loser.yieldTo()
    return loser
  }

  /** A session reached Established. */
  sessionEstablished(s: Session): void {
    this.established = s
    const other = s === this.outgoing ? this.incoming : this.outgoing
    other?.yieldTo()
    if (this.connecting) this.abandonConnect()
    this.connectTimer.cancel()
    const { host, profile } = this.speaker
    this.establishedAtMs = host.clock.nowMs()
    this.routerId = (parseIpv4(s.remote!.routerId) ?? 0) >>> 0
    this.endOfRib.clear()
    this.exported.clear()
    this.isOpenForUpdates = false
    this.speaker.event(this, 'established', '')
    if (this.restart !== 'none') {
      this.restartTimer.cancel()
      // RFC 4724 4.2: what the neighbour did not keep forwarding for goes at once, the rest waits for End-of-RIB
      const kept = s.agreement!.graceful?.families.filter((f) => f.forwarding).map((f) => f.family) ?? []
      this.speaker.forgetStale(this, (p) => !kept.includes(familyOf(p)))
      this.restart = 'none'
    }
    this.updateTimer.arm(profile.initialUpdateMs)
  }

  /** A session ended. */
  sessionEnded(s: Session, was: SessionState, why: SessionEnd): void {
    if (this.outgoing === s) {
      this.outgoing = null
      this.connecting = false
      this.connectTimer.cancel()
    }
    if (this.incoming === s) this.incoming = null
    // a neighbour that closes without a word, in its idle hold time, says less than its NOTIFICATION before
    const isSilent = why.kind === 'closed' && why.text === undefined && was !== 'Established'
    if (why.kind !== 'replaced' && !(isSilent && this.lastError !== '')) {
      const text = endText(why)
      const isNews = was !== 'Established' && why.kind !== 'closed' && text !== this.lastError
      this.lastError = text
      if (isNews) this.speaker.event(this, 'refused', text)
    }
    if (was === 'Established') this.leftEstablished(s, why)
    if (this.stopped || why.kind === 'replaced') return
    if (isError(why)) {
      for (const other of [this.outgoing, this.incoming]) other?.drop()
      this.outgoing = null
      this.incoming = null
      this.connectTimer.cancel()
      this.connecting = false
      this.errorWait()
      return
    }
    if (this.outgoing === null && this.incoming === null) this.active(was === 'OpenSent' && s.connection === null)
  }

  /** Whether a silent neighbour's routes stay (BIRD: when both know long-lived graceful restart). */
  keepsOnHoldExpiry(s: Session): boolean {
    const { graceful, longLived } = s.agreement!
    return (
      this.speaker.spec.implementation === 'bird' && longLived !== null && longLived.length > 0 && graceful !== null
    )
  }

  /** An UPDATE came. */
  onUpdate(m: BgpUpdate, withdraw: boolean): void {
    this.speaker.onUpdate(this, m, withdraw)
    if (m.endOfRib === undefined) return
    this.endOfRib.add(m.endOfRib)
    const family = m.endOfRib
    this.speaker.forgetStale(this, (p) => familyOf(p) === family)
    this.speaker.endOfRibCame()
  }

  /** A ROUTE-REFRESH came: a request, or the frame around an answer to ours. */
  onRefresh(m: BgpRouteRefresh): void {
    const family = this.families.find((f) => afiOf(f) === m.afi && m.safi === 1)
    if (family === undefined) return
    if (m.subtype === 1) this.speaker.markStale(this, (p) => familyOf(p) === family)
    else if (m.subtype === 2) this.speaker.forgetStale(this, (p) => familyOf(p) === family)
    else if (m.subtype === 0 && this.isOpenForUpdates) {
      this.frameRefresh(1)
      this.refreshTimer.arm(this.speaker.profile.refreshMs)
    }
  }

  /** Asks for all routes again. */
  requestRefresh(): void {
    if (this.established?.agreement?.refresh !== true) return
    for (const f of this.families) {
      this.established.send({ type: 'ROUTE-REFRESH', afi: afiOf(f), safi: 1, subtype: 0 })
    }
  }

  /** Sends all routes once the delay after Established is over and no restart of ours is in the way. */
  openForUpdates(): void {
    if (this.established === null || this.isOpenForUpdates || this.speaker.isDeferring) return
    if (this.updateTimer.armed) return
    this.isOpenForUpdates = true
    this.speaker.sendAll(this)
    const { agreement } = this.established
    const rule = this.speaker.profile.endOfRib
    const isDue =
      rule === 'always' ||
      (rule === 'peer-gr' && agreement!.graceful !== null) ||
      (rule === 'configured' && this.spec.gracefulRestart === 'on')
    if (!isDue) return
    for (const f of agreement!.families) {
      this.established.send({ type: 'UPDATE', unreach: [], reach: [], attributes: null, endOfRib: f })
    }
  }

  private answerRefresh(): void {
    if (this.established === null) return
    this.speaker.sendAll(this)
    this.frameRefresh(2)
  }

  private frameRefresh(subtype: number): void {
    if (!this.speaker.profile.enhancedRefresh || this.established?.agreement?.enhancedRefresh !== true) return
    for (const f of this.established.agreement.families) {
      this.established.send({ type: 'ROUTE-REFRESH', afi: afiOf(f), safi: 1, subtype })
    }
  }

  /** Waits for the next attempt; `failed`: the last one did not even connect. */
  private active(failed: boolean): void {
    if (this.stopped || this.spec.passive === true) return
    const { profile } = this.speaker
    const delay = this.spec.connectDelayTime ?? profile.connectDelayTime
    const retry = this.spec.connectRetryTime ?? profile.connectRetryTime
    const wait = failed && this.speaker.spec.implementation !== 'bird' ? retry : Math.max(delay, 1)
    this.connectTimer.arm(this.speaker.jittered(wait * 1000))
  }

  private connect(): void {
    if (this.stopped || this.established !== null) return
    if (this.connecting) this.abandonConnect()
    if (this.outgoing !== null || this.incoming?.state === 'OpenConfirm') return
    const { host, profile } = this.speaker
    const s = new Session(this, false)
    this.outgoing = s
    this.connecting = true
    this.connectTimer.arm(this.speaker.jittered((this.spec.connectRetryTime ?? profile.connectRetryTime) * 1000))
    const ttl =
      this.spec.multihopTtl ?? (this.isInternal ? profile.ttl.ibgp : this.spec.ttlSecurity === undefined ? 1 : 255)
    s.connection = host.transport.connect(
      {
        address: this.spec.address,
        port: this.spec.port ?? DEFAULT_PORT,
        localAddress: this.spec.localAddress,
        ttl,
        tos: profile.tos,
      },
      s,
    )
  }

  private abandonConnect(): void {
    this.outgoing?.drop()
    this.outgoing = null
    this.connecting = false
    this.connectTimer.cancel()
  }

  private errorWait(): void {
    const [first, longest] = this.spec.errorWaitTime ?? this.speaker.profile.errorWaitTime
    const now = this.speaker.host.clock.nowMs()
    const forgotten = now - this.lastErrorMs > FORGET_ERRORS_MS
    this.errorWaitS = forgotten || this.errorWaitS === 0 ? first : Math.min(longest, this.errorWaitS * 2)
    this.lastErrorMs = now
    this.idleTimer.arm(this.errorWaitS * 1000)
  }

  private leftEstablished(s: Session, why: SessionEnd): void {
    this.established = null
    this.isOpenForUpdates = false
    this.updateTimer.cancel()
    this.refreshTimer.cancel()
    this.exported.clear()
    this.speaker.leave(this)
    const keep = this.stopped ? [] : this.familiesToKeep(s, why)
    this.speaker.event(this, 'lost', `${endText(why)}${keep.length > 0 ? '; routes are kept for a restart' : ''}`)
    this.keptFamilies = keep
    this.speaker.forgetRoutes(this, false, (p) => !keep.includes(familyOf(p)))
    if (keep.length === 0) return
    const { graceful, longLived } = s.agreement!
    this.restart = 'graceful'
    this.longLivedMs = Math.max(0, ...(longLived ?? []).map((f) => f.staleTime * 1000))
    this.speaker.markStale(this, (p) => keep.includes(familyOf(p)))
    this.restartTimer.arm((graceful?.time ?? 0) * 1000)
  }

  private familiesToKeep(s: Session, why: SessionEnd): readonly BgpFamily[] {
    const { graceful, longLived } = s.agreement!
    if (graceful === null || (this.spec.gracefulRestart ?? 'aware') === 'off') return []
    if (why.kind !== 'closed' && !(graceful.notification && why.subcode !== HARD_RESET)) return []
    const able = new Set<BgpFamily>(graceful.families.map((f) => f.family))
    if (this.speaker.spec.implementation === 'bird') for (const f of longLived ?? []) able.add(f.family)
    return s.agreement!.families.filter((f) => able.has(f))
  }

  private restartOver(): void {
    if (this.restart === 'graceful' && this.longLivedMs > 0) {
      this.restart = 'long-lived'
      this.speaker.redecide(this)
      this.restartTimer.arm(this.longLivedMs)
      return
    }
    this.restart = 'none'
    this.speaker.event(this, 'restart-over', `the neighbour did not come back for ${this.keptFamilies.join(', ')}`)
    this.speaker.forgetStale(this, () => true)
  }
}

function isError(why: SessionEnd): boolean {
  return why.kind === 'sent' || (why.kind === 'received' && why.code !== ERR_CEASE)
}

/** The end of a session in words. */
export function endText(why: SessionEnd): string {
  if (why.kind === 'sent') return `sent ${notificationName(why.code, why.subcode)}`
  if (why.kind === 'received') return `received ${notificationName(why.code, why.subcode)}`
  return why.text ?? 'connection closed'
}
