/**
 * tcpWouldPass (the flow cache asks it, nothing is written) against tcpInWindow, which learns: near every edge of the
 * window both must say the same of a plain segment in the middle of a connection.
 */
import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import {
  C_TCP_SEEN,
  C_TCP_STATE,
  C_WORDS,
  S_END,
  S_FLAGS,
  S_MAXEND,
  S_MAXWIN,
  SEEN_WORDS,
} from '../../src/linux/netfilter/conntrack/layout.ts'
import { TCP_ACK_SET, TCP_CONNTRACK_ESTABLISHED } from '../../src/linux/netfilter/conntrack/tcp-states.ts'
import {
  NFCT_TCP_ACCEPT,
  TCP_FLAG_MAXACK_SET,
  TCP_FLAG_SACK_PERM,
  tcpInWindow,
  tcpWouldPass,
} from '../../src/linux/netfilter/conntrack/tcp-window.ts'
import { NetSysctl } from '../../src/linux/sysctl.ts'
import { pkt } from '../support/packet-builder.ts'

/** Offsets around which the rules decide: exact edges and one beside them. */
const near = fc.tuple(
  fc.constantFrom(0, 1, -1, 1460, -1460, 66000, -66000, 66001, -66001, 30000, -30000),
  fc.integer({ min: -2, max: 2 }),
)

describe('tcpWouldPass', () => {
  it('agrees with tcpInWindow', () => {
    let passed = 0
    let refused = 0
    fc.assert(
      fc.property(
        fc.integer(),
        fc.integer(),
        near,
        near,
        fc.constantFrom(1, 1000, 29200, 65535),
        fc.constantFrom(1, 1000, 29200, 65535),
        fc.constantFrom(0, 1, 1460),
        fc.boolean(),
        fc.constantFrom(0, 1),
        (mine, theirs, [seqBase, seqOff], [ackBase, ackOff], myWindow, theirWindow, payload, sack, dir) => {
          const rows = new Int32Array(C_WORDS)
          const s = C_TCP_SEEN + dir * SEEN_WORDS
          const r = C_TCP_SEEN + (1 - dir) * SEEN_WORDS
          rows[C_TCP_STATE] = TCP_CONNTRACK_ESTABLISHED
          rows[s + S_END] = mine
          rows[s + S_MAXEND] = mine + theirWindow
          rows[s + S_MAXWIN] = myWindow
          rows[r + S_END] = theirs
          rows[r + S_MAXEND] = theirs + myWindow
          rows[r + S_MAXWIN] = theirWindow
          rows[s + S_FLAGS] = TCP_FLAG_MAXACK_SET
          rows[r + S_FLAGS] = TCP_FLAG_MAXACK_SET | (sack ? TCP_FLAG_SACK_PERM : 0)
          const ack = (theirs + ackBase + ackOff) >>> 0
          const options = sack ? [{ kind: 'sack' as const, blocks: [[ack, (ack + 5) >>> 0] as const] }] : []
          const bytes = pkt()
            .ip({ src: '10.0.0.1', dst: '10.0.0.2' })
            .tcp(1, 2, {
              flags: 'A',
              seq: (mine + seqBase + seqOff) >>> 0,
              ack,
              window: 500,
              options,
            })
            .payload('x'.repeat(payload))
            .bytes()
          const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
          const quiet = tcpWouldPass(rows, 0, dir, view, 20, bytes.length)
          const action = tcpInWindow(
            rows,
            0,
            dir,
            TCP_ACK_SET,
            view,
            20,
            bytes.length,
            view.getInt32(32),
            new NetSysctl(),
          )
          if (quiet) passed++
          else refused++
          expect(quiet).toBe(action === NFCT_TCP_ACCEPT)
        },
      ),
      { numRuns: 5000, seed: 6 },
    )
    expect(passed).toBeGreaterThan(500)
    expect(refused).toBeGreaterThan(500)
  })
})
