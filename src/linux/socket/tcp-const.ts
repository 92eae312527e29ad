/**
 * Numbers of TCP with Linux's names.
 *
 * Source: include/net/tcp.h, include/net/tcp_states.h, include/net/inet_connection_sock.h, include/uapi/linux/tcp.h.
 */

export const TCP_ESTABLISHED = 1
export const TCP_SYN_SENT = 2
export const TCP_SYN_RECV = 3
export const TCP_FIN_WAIT1 = 4
export const TCP_FIN_WAIT2 = 5
export const TCP_TIME_WAIT = 6
export const TCP_CLOSE = 7
export const TCP_CLOSE_WAIT = 8
export const TCP_LAST_ACK = 9
export const TCP_LISTEN = 10
export const TCP_CLOSING = 11
export const TCP_NEW_SYN_RECV = 12

/** State names as ss(8) and the kernel print them, by number. */
export const TCP_STATE_NAMES: readonly string[] = [
  '',
  'ESTABLISHED',
  'SYN_SENT',
  'SYN_RECV',
  'FIN_WAIT1',
  'FIN_WAIT2',
  'TIME_WAIT',
  'CLOSE',
  'CLOSE_WAIT',
  'LAST_ACK',
  'LISTEN',
  'CLOSING',
  'NEW_SYN_RECV',
]

export const TCPHDR_FIN = 0x01
export const TCPHDR_SYN = 0x02
export const TCPHDR_RST = 0x04
export const TCPHDR_PSH = 0x08
export const TCPHDR_ACK = 0x10
export const TCPHDR_URG = 0x20
export const TCPHDR_ECE = 0x40
export const TCPHDR_CWR = 0x80

/** Bytes of a TCP header without options. */
export const TCP_HEADER_BYTES = 20
export const TCP_MSS_DEFAULT = 536
export const TCP_MIN_MSS = 88
export const TCP_MAX_WSCALE = 14
/** TCPOLEN_TSTAMP_ALIGNED */
export const TCPOLEN_TSTAMP_ALIGNED = 12
export const TCP_INIT_CWND = 10
export const TCP_MAX_QUICKACKS = 16
export const TCP_PINGPONG_THRESH = 1
export const TCP_FASTRETRANS_THRESH = 3

/** Milliseconds (TCP_RTO_MIN, TCP_RTO_MAX, TCP_TIMEOUT_INIT, TCP_ATO_MIN, TCP_DELACK_MAX, TCP_TIMEWAIT_LEN). */
export const TCP_RTO_MIN_MS = 200
export const TCP_RTO_MAX_MS = 120_000
export const TCP_TIMEOUT_INIT_MS = 1000
/** TCP_TIMEOUT_FALLBACK: when the handshake gave no round-trip time. */
export const TCP_TIMEOUT_FALLBACK_MS = 3000
export const TCP_ATO_MIN_MS = 40
export const TCP_DELACK_MIN_MS = 40
export const TCP_DELACK_MAX_MS = 200
export const TCP_TIMEWAIT_LEN_MS = 60_000
/** TCP_TIMEOUT_MIN: two jiffies at HZ 1000. */
export const TCP_TIMEOUT_MIN_MS = 2

/** icsk_ack.pending bits. */
export const ICSK_ACK_SCHED = 1
export const ICSK_ACK_TIMER = 2
export const ICSK_ACK_PUSHED = 4
export const ICSK_ACK_PUSHED2 = 8
export const ICSK_ACK_NOW = 16

/** What the retransmission timer is for (icsk_pending). */
export const ICSK_TIME_NONE = 0
export const ICSK_TIME_RETRANS = 1
export const ICSK_TIME_PROBE0 = 3
export const ICSK_TIME_LOSS_PROBE = 5

/** tcp_ca_state */
export const TCP_CA_OPEN = 0
export const TCP_CA_RECOVERY = 3
export const TCP_CA_LOSS = 4

/** before(): whether sequence number `a` is earlier than `b`. */
export function before(a: number, b: number): boolean {
  return ((a - b) | 0) < 0
}

/** after() */
export function after(a: number, b: number): boolean {
  return ((a - b) | 0) > 0
}

/** IPV6_MIN_MTU less the headers: what an IPv6 peer that announces no MSS is taken for. */
export const TCP6_MSS_DEFAULT = 1220
