/**
 * Connection states per protocol, their names and timeouts.
 *
 * Linux: net/netfilter/ipvs/ip_vs_proto_{tcp,udp,sctp}.c. `ipvsadm --set` changes three of the timeouts: TCP established,
 * TCP FIN_WAIT and UDP. Tables are one row per event, one column per state, read row by row.
 */
import { IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP, SECOND_NS } from './flags.ts'

export const IP_VS_TCP_S_ESTABLISHED = 1
export const IP_VS_TCP_S_FIN_WAIT = 4
export const IP_VS_TCP_S_TIME_WAIT = 5
export const IP_VS_TCP_S_CLOSE = 6
export const IP_VS_SCTP_S_ESTABLISHED = 8
export const IP_VS_SCTP_S_CLOSED = 13

const TCP_NAMES = [
  ...['NONE', 'ESTABLISHED', 'SYN_SENT', 'SYN_RECV', 'FIN_WAIT', 'TIME_WAIT', 'CLOSE', 'CLOSE_WAIT', 'LAST_ACK'],
  ...['LISTEN', 'SYNACK'],
]
const SCTP_NAMES = [
  ...['NONE', 'INIT1', 'INIT', 'C-SENT', 'C-REPLIED', 'C-WAIT', 'COOKIE', 'C-ECHOED', 'ESTABLISHED', 'S-SENT'],
  ...['S-RECEIVED', 'S-ACK-SENT', 'REJECTED', 'CLOSED'],
]
/** Seconds by state. */
const TCP_SECONDS = [2, 900, 120, 60, 120, 120, 10, 60, 30, 120, 120]
const SCTP_SECONDS = [2, 4, 61, 61, 61, 61, 61, 61, 900, 61, 61, 61, 4, 61]

/** `pd->timeout_table` of each protocol, in ns. */
export class ProtoTimeouts {
  readonly tcp = Float64Array.from(TCP_SECONDS, (s) => s * SECOND_NS)
  readonly sctp = Float64Array.from(SCTP_SECONDS, (s) => s * SECOND_NS)
  udp = 300 * SECOND_NS
}

/** tcp_state_active */
export function tcpStateActive(state: number): boolean {
  return state === 1 || state === 2 || state === 3 || state === 10
}

/** ip_vs_state_name without templates. */
export function stateName(proto: number, state: number): string {
  switch (proto) {
    case IPPROTO_TCP:
      return TCP_NAMES[state] ?? 'ERR!'
    case IPPROTO_SCTP:
      return SCTP_NAMES[state] ?? 'ERR!'
    case IPPROTO_UDP:
      return 'UDP'
    default:
      return 'NONE'
  }
}

function table(codes: string, rows: readonly string[]): Uint8Array {
  const names = codes.split(' ')
  return Uint8Array.from(
    rows.flatMap((row) =>
      row.split(' ').map((name) => {
        const state = names.indexOf(name)
        if (state < 0) throw new Error(`IPVS state table: no state ${name}`)
        return state
      }),
    ),
  )
}

/** States of TCP per event. */
export const TCP_COLUMNS = 11
const TCP_CODES = 'NO ES SS SR FW TW CL CW LA LI SA'

/** Events: syn, fin, ack, rst; INPUT, then OUTPUT, then INPUT-ONLY. */
export const TCP_STATES = table(TCP_CODES, [
  'SR ES ES SR SR SR SR SR SR SR SR',
  'CL CW SS TW TW TW CL CW LA LI TW',
  'ES ES SS ES FW TW CL CW CL LI ES',
  'CL CL CL SR CL CL CL CL LA LI SR',
  'SS ES SS SR SS SS SS SS SS LI SR',
  'TW FW SS TW FW TW CL TW LA LI TW',
  'ES ES SS ES FW TW CL CW LA ES ES',
  'CL CL SS CL CL TW CL CL CL CL CL',
  'SR ES ES SR SR SR SR SR SR SR SR',
  'CL FW SS TW FW TW CL CW LA LI TW',
  'ES ES SS ES FW TW CL CW CL LI ES',
  'CL CL CL SR CL CL CL CL LA LI CL',
])

/** The same with secure_tcp. */
export const TCP_STATES_DOS = table(TCP_CODES, [
  'SR ES ES SR SR SR SR SR SR SR SA',
  'CL CW SS TW TW TW CL CW LA LI SA',
  'ES ES SS SR FW TW CL CW CL LI SA',
  'CL CL CL SR CL CL CL CL LA LI CL',
  'SS ES SS SA SS SS SS SS SS LI SA',
  'TW FW SS TW FW TW CL TW LA LI TW',
  'ES ES SS ES FW TW CL CW LA ES ES',
  'CL CL SS CL CL TW CL CL CL CL CL',
  'SA ES ES SR SA SA SA SA SA SA SA',
  'CL FW SS TW FW TW CL CW LA LI TW',
  'ES ES SS ES FW TW CL CW CL LI ES',
  'CL CL CL SR CL CL CL CL LA LI CL',
])

/** States of SCTP per event, and events. */
export const SCTP_COLUMNS = 14
export const SCTP_EVENTS = 10
const SCTP_CODES = 'NO I1 IN CS CR CW CO CE ES SS SR SA RJ CL'

/** Events: data, init, init-ack, cookie-echo, cookie-ack, shutdown, -ack, -complete, error, abort; three directions. */
export const SCTP_STATES = table(SCTP_CODES, [
  'ES I1 IN CS CR CW CO CE ES SS SR SA RJ CL',
  'I1 IN IN CS CR CW CO CE ES SS SR SA IN IN',
  'CW CW CW CS CR CO CO CE ES SS SR SA RJ CL',
  'CR IN IN CR CR CW CO CE ES SS SR SA RJ CL',
  'ES I1 IN CS CR CW CO ES ES SS SR SA RJ CL',
  'SR I1 IN CS CR CW CO CE SR SS SR SA RJ CL',
  'CL IN IN CS CR CW CO CE ES CL SR CL RJ CL',
  'CL CL CL CS CR CW CO CE ES SS SR CL RJ CL',
  'CL I1 IN CS CR CW CO CL ES SS SR SA RJ CL',
  'CL CL CL CL CL RJ CL CL CL CL CL CL CL CL',
  'ES I1 IN CS CR CW CO CE ES SS SR SA RJ CL',
  'CW CW CW CW CW CW CW CW ES CW CW CW CW CW',
  'CS CS CS CS CR CW CO CE ES SS SR SA RJ CL',
  'CE CE CE CE CE CE CE CE ES SS SR SA RJ CL',
  'ES ES ES ES ES ES ES ES ES SS SR SA RJ CL',
  'SS SS SS SS SS SS SS SS SS SS SR SA RJ CL',
  'SA SA SA SA SA CW CO CE ES SA SA SA RJ CL',
  'CL I1 IN CS CR CW CO CE ES SS SR SA RJ CL',
  'CL CL CL CL CL CW CO CE ES SS SR SA RJ CL',
  'CL RJ CL CL CL CL CL CL CL CL CL CL CL CL',
  'ES I1 IN CS CR ES CO CE ES SS SR SA RJ CL',
  'I1 IN IN IN IN IN CO CE ES SS SR SA IN IN',
  'CE CE CE CE CE CE CO CE ES SS SR SA RJ CL',
  'ES ES ES ES ES ES CO CE ES SS SR SA RJ CL',
  'ES I1 IN ES ES CW ES ES ES SS SR SA RJ CL',
  'SR I1 IN CS CR CW CO CE SR SS SR SA RJ CL',
  'CL IN IN CS CR CW CO CE CL CL SR CL RJ CL',
  'CL CL CL CL CL CW CO CE ES SS CL CL RJ CL',
  'CL I1 IN CS CR CW CO CE ES SS SR SA RJ CL',
  'CL CL CL CL CL RJ CL CL CL CL CL CL CL CL',
])

/** Event by SCTP chunk type; types past the end count as data. */
export const SCTP_EVENT_OF_CHUNK = Uint8Array.of(0, 1, 2, 0, 0, 0, 9, 5, 6, 8, 3, 4, 0, 0, 7)
