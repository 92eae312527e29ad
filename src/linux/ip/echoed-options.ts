/**
 * Options of an answer: what ip_options_echo makes of a received packet's, before ip_options_build writes them.
 *
 * Linux: struct ip_options_data, net/ipv4/ip_options.c. In a file of its own, without imports, so that modules of a cycle
 * can make one while they load.
 */

/** What ip_options_echo made: options for an answer, in network form, and what build has yet to fill in. */
export class EchoedOptions {
  readonly bytes = new Uint8Array(40)
  optlen = 0
  /** The far end of a source route: who sent the packet (`ipc.addr`). */
  addr = 0
  /** First hop of a source route that was turned round, 0 when none. */
  faddr = 0
  /** Offsets from the IP header, 0 when there is no such option. */
  srr = 0
  rr = 0
  ts = 0
  /** What is to be filled in when the header is built. */
  rrNeedaddr = false
  tsNeedaddr = false
  tsNeedtime = false
}
