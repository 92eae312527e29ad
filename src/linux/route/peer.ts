/**
 * What is remembered about single remote hosts: struct inet_peer.
 *
 * Linux: net/ipv4/inetpeer.c. Holds the token bucket shared by ICMP errors (icmp_ratelimit), ip_error and redirects.
 * Not modelled: garbage collection of idle peers (a new one starts with a full bucket, as an old one has by then).
 */

/** CONFIG_HZ of the kernel whose recordings are the judge (250, as distributions build it); buckets count jiffies. */
export const HZ = 250
/** Nanoseconds of one jiffy. */
export const JIFFY_NS = 1e9 / HZ

/** One remote host. */
export class InetPeer {
  /** Jiffies; starts with a minute's worth (inet_getpeer). */
  rateTokens = 0
  rateLast: number
  nRedirects = 0

  constructor(nowJiffies: number) {
    this.rateLast = nowJiffies - 60 * HZ
  }
}

/** All peers of a namespace by address. */
export class InetPeers {
  private readonly peers = new Map<number, InetPeer>()

  /** inet_getpeer_v4 */
  get(daddr: number, nowJiffies: number): InetPeer {
    let p = this.peers.get(daddr)
    if (p === undefined) {
      p = new InetPeer(nowJiffies)
      this.peers.set(daddr, p)
    }
    return p
  }
}

/** XRLIM_BURST_FACTOR */
const XRLIM_BURST_FACTOR = 6

/** jiffies at a virtual time; starts above zero as in a kernel that has been up for a while. */
export function jiffiesAt(nowNs: number): number {
  return Math.floor(nowNs / JIFFY_NS) + 3600 * HZ
}

/** msecs_to_jiffies */
export function msToJiffies(ms: number): number {
  return Math.ceil((ms * HZ) / 1000)
}

/**
 * inet_peer_xrlim_allow: one token per `timeout` jiffies, at most six saved up. The bucket is cut to that only when time
 * has passed: with a timeout of 0 it is emptied then, which ip_error, who shares it, notices (seen on Linux 6.18).
 */
export function inetPeerXrlimAllow(peer: InetPeer, nowJiffies: number, timeout: number): boolean {
  let token = peer.rateTokens
  const delta = nowJiffies - peer.rateLast
  if (delta !== 0) {
    peer.rateLast = nowJiffies
    token = Math.min(token + delta, XRLIM_BURST_FACTOR * timeout)
  }
  const ok = token >= timeout
  if (ok) token -= timeout
  peer.rateTokens = token
  return ok
}
