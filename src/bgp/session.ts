/**
 * One TCP connection to a neighbour and its part of the state machine: OpenSent, OpenConfirm, Established.
 *
 * RFC 4271 8 has one machine per connection; a neighbour may have two at a time, and peer.ts keeps one of them. Here:
 * OPEN is checked (6.2), the hold and keepalive timers run, messages that do not belong into a state end it (6.6).
 * Until the OPENs are exchanged the hold timer has four minutes (8.2.2).
 */
import { parseIpv4 } from '../addr/ipv4.ts'
import {
  type BgpMessage,
  type BgpOpen,
  type BgpProtocolError,
  type BgpUpdate,
  CEASE_COLLISION,
  ERR_CEASE,
  ERR_FSM,
  ERR_HOLD_TIMER,
  ERR_OPEN,
  uint16Bytes,
  uint32Bytes,
} from '../wire/bgp.ts'
import { type Agreement, agree, asnOf, openMessage } from './capabilities.ts'
import type { BgpConnection, BgpTimer, ConnectionHandler } from './clock.ts'
import type { Peer } from './peer.ts'

/** RFC 4271 8.2.2: the hold timer before the peer's OPEN. */
const LARGE_HOLD_MS = 240_000

/** States of a connection that is there. */
export type SessionState = 'OpenSent' | 'OpenConfirm' | 'Established' | 'Closed'

/** Why a session ended. */
export interface SessionEnd {
  readonly kind: 'sent' | 'received' | 'closed' | 'replaced'
  readonly code: number
  readonly subcode: number
  readonly data: Uint8Array
  readonly text?: string
}

/** Real timers fire a little early. */
const HOLD_SLACK_MS = 1

const NO_DATA = new Uint8Array(0)

/** One connection. */
export class Session implements ConnectionHandler {
  readonly peer: Peer
  readonly isIncoming: boolean
  state: SessionState = 'OpenSent'
  connection: BgpConnection | null = null
  open: BgpOpen | null = null
  /** The neighbour's OPEN. */
  remote: BgpOpen | null = null
  agreement: Agreement | null = null
  private readonly holdTimer: BgpTimer
  private readonly keepaliveTimer: BgpTimer
  private keepaliveMs = 0
  private heardAtMs = 0
  /** Messages of each direction, for reports. */
  sentCount = 0
  receivedCount = 0

  constructor(peer: Peer, isIncoming: boolean) {
    this.peer = peer
    this.isIncoming = isIncoming
    const { clock } = peer.speaker.host
    this.holdTimer = clock.timer(() => this.holdExpired())
    this.keepaliveTimer = clock.timer(() => {
      this.send({ type: 'KEEPALIVE' })
      this.armKeepalive()
    })
  }

  /** ConnectionHandler: TCP is there; our OPEN goes out. */
  connected(): void {
    if (this.state === 'Closed') return
    const { peer } = this
    peer.sessionConnected(this)
    const { spec } = peer
    this.open = openMessage({
      implementation: peer.speaker.spec.implementation,
      name: peer.speaker.spec.name,
      asn: peer.localAsn,
      routerId: peer.speaker.spec.routerId,
      holdTime: spec.holdTime ?? peer.speaker.profile.holdTime,
      restarting: peer.speaker.isRestarting,
      peer: spec,
    })
    this.send(this.open)
    this.holdTimer.arm(LARGE_HOLD_MS)
  }

  /** ConnectionHandler: a message, or bytes that are none. */
  received(m: BgpMessage | BgpProtocolError): void {
    if (this.state === 'Closed') return
    this.receivedCount++
    if (m.type === 'ERROR') this.fail(m.code, m.subcode, m.data)
    else if (m.type === 'NOTIFICATION') {
      this.end({ kind: 'received', code: m.code, subcode: m.subcode, data: m.data })
    } else if (this.state === 'OpenSent') {
      if (m.type === 'OPEN') this.onOpen(m)
      else this.fail(ERR_FSM, 1, NO_DATA)
    } else if (this.state === 'OpenConfirm') {
      if (m.type === 'KEEPALIVE') this.establish()
      else this.fail(ERR_FSM, 2, NO_DATA)
    } else this.inEstablished(m)
  }

  /** ConnectionHandler: the connection is gone. */
  closed(error: string | null): void {
    if (this.state === 'Closed') return
    this.end({ kind: 'closed', code: 0, subcode: 0, data: NO_DATA, ...(error === null ? {} : { text: error }) })
  }

  /** Sends a message. */
  send(m: BgpMessage): void {
    this.sentCount++
    this.connection?.send(m)
  }

  /** Answers with a NOTIFICATION and ends. */
  fail(code: number, subcode: number, data: Uint8Array): void {
    if (this.state === 'Closed') return
    // GoBGP closes without a word on these
    if (!(this.peer.speaker.spec.implementation === 'gobgp' && code === 1)) {
      this.send({ type: 'NOTIFICATION', code, subcode, data })
    }
    this.end({ kind: 'sent', code, subcode, data })
  }

  /** Closes without a word; the peer does not hear of it. */
  drop(): void {
    this.state = 'Closed'
    this.holdTimer.cancel()
    this.keepaliveTimer.cancel()
    this.connection?.close()
  }

  /** Ends the session and tells the peer why. */
  end(why: SessionEnd): void {
    if (this.state === 'Closed') return
    const was = this.state
    this.drop()
    this.peer.sessionEnded(this, was, why)
  }

  private onOpen(m: BgpOpen): void {
    const { peer } = this
    const { profile, spec: own } = peer.speaker
    const kind = own.implementation
    if (m.version !== 4) {
      // BIRD sends the version in two bytes as if little-endian, FRR as RFC 4271 says, GoBGP nothing
      this.fail(ERR_OPEN, 1, kind === 'bird' ? Uint8Array.of(4, 0) : kind === 'frr' ? uint16Bytes(4) : NO_DATA)
      return
    }
    const asn = asnOf(m)
    if (asn !== peer.spec.asn) {
      this.fail(ERR_OPEN, 2, kind === 'bird' ? uint32Bytes(asn) : kind === 'frr' ? uint16Bytes(m.asn) : NO_DATA)
      return
    }
    const id = (parseIpv4(m.routerId) ?? 0) >>> 0
    if (id === 0 || (peer.isInternal && m.routerId === own.routerId)) {
      this.fail(ERR_OPEN, 3, kind === 'frr' ? uint32Bytes(id) : NO_DATA)
      return
    }
    if (m.holdTime === 1 || m.holdTime === 2) {
      this.fail(ERR_OPEN, 6, kind === 'gobgp' ? NO_DATA : uint16Bytes(m.holdTime))
      return
    }
    const agreement = agree(this.open!, m, peer.isInternal, profile.asPathExtended)
    if (agreement.families.length === 0 && !profile.toleratesNoFamily) {
      this.fail(ERR_OPEN, 7, NO_DATA)
      return
    }
    this.remote = m
    const loser = peer.resolveCollision(this, id)
    if (loser === this) return
    this.agreement = agreement
    this.connection?.agree(agreement.send, agreement.receive)
    this.state = 'OpenConfirm'
    this.send({ type: 'KEEPALIVE' })
    const { holdTime } = agreement
    if (holdTime === 0) this.holdTimer.cancel()
    else this.holdTimer.arm(holdTime * 1000)
    const wanted = peer.spec.keepaliveTime
    this.keepaliveMs =
      holdTime === 0 ? 0 : (wanted === undefined ? holdTime / 3 : Math.min(wanted, holdTime / 3)) * 1000
    this.armKeepalive()
  }

  /** Collision: closes with Cease, Connection Collision Resolution, or in silence (GoBGP). */
  yieldTo(): void {
    if (this.state === 'Closed') return
    if (this.peer.speaker.profile.collision === 'router-id') {
      this.send({ type: 'NOTIFICATION', code: ERR_CEASE, subcode: CEASE_COLLISION, data: NO_DATA })
    }
    this.end({ kind: 'replaced', code: ERR_CEASE, subcode: CEASE_COLLISION, data: NO_DATA })
  }

  private establish(): void {
    this.state = 'Established'
    this.restartHold()
    this.peer.sessionEstablished(this)
    // a GoBGP without a hold time gives up at once
    if (this.agreement!.holdTime === 0 && this.peer.speaker.spec.implementation === 'gobgp') {
      this.end({ kind: 'closed', code: 0, subcode: 0, data: NO_DATA, text: 'hold time 0' })
    }
  }

  private inEstablished(m: Exclude<BgpMessage, { type: 'NOTIFICATION' }>): void {
    this.restartHold()
    if (m.type === 'UPDATE') this.onUpdate(m)
    else if (m.type === 'ROUTE-REFRESH') this.peer.onRefresh(m)
    else if (m.type === 'OPEN') this.fail(ERR_FSM, 3, NO_DATA)
  }

  private onUpdate(m: BgpUpdate): void {
    const { profile } = this.peer.speaker
    let withdraw = false
    for (const f of m.faults ?? []) {
      const action = profile.fault(f)
      if (action === 'reset') {
        this.fail(3, f.subcode, f.data.slice())
        return
      }
      if (action === 'withdraw') withdraw = true
    }
    this.peer.onUpdate(m, withdraw)
  }

  /** Moving the timer at every message would cost more than the message: it looks at the time when it fires. */
  private restartHold(): void {
    const hold = this.agreement?.holdTime ?? 0
    if (hold === 0) return
    this.heardAtMs = this.peer.speaker.host.clock.nowMs()
    if (!this.holdTimer.armed) this.holdTimer.arm(hold * 1000)
  }

  private armKeepalive(): void {
    if (this.keepaliveMs > 0) this.keepaliveTimer.arm(this.peer.speaker.jittered(this.keepaliveMs))
  }

  private holdExpired(): void {
    if (this.state === 'Established') {
      const silent = this.peer.speaker.host.clock.nowMs() - this.heardAtMs
      const left = this.agreement!.holdTime * 1000 - silent
      if (left > HOLD_SLACK_MS) {
        this.holdTimer.arm(left)
        return
      }
    }
    // bgp_hold_timeout of BIRD: with a long-lived graceful restart the silence counts as a restart
    if (this.state === 'Established' && this.peer.keepsOnHoldExpiry(this)) {
      this.end({ kind: 'closed', code: 0, subcode: 0, data: NO_DATA, text: 'hold timer expired' })
      return
    }
    this.fail(ERR_HOLD_TIMER, 0, NO_DATA)
  }
}
