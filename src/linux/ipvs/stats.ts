/**
 * Counters of a service or a real server and the rates that are estimated from them.
 *
 * Linux: struct ip_vs_kstats, net/netfilter/ipvs/ip_vs_est.c (every two seconds: rate += (new - rate) / 4, in fixed
 * point). Here the two-second steps are caught up with when somebody counts or asks: the numbers are those of a timer.
 * The phase of the kernel's timer is not defined; ours ticks at even virtual seconds.
 */

const TICK_NS = 2e9

/** What a reader sees: counters since the last zeroing, and rates. */
export interface IpVsStatsView {
  readonly conns: number
  readonly inpkts: number
  readonly outpkts: number
  readonly inbytes: number
  readonly outbytes: number
  readonly cps: number
  readonly inpps: number
  readonly outpps: number
  readonly inbps: number
  readonly outbps: number
}

/** struct ip_vs_stats: [conns, inpkts, outpkts, inbytes, outbytes]. */
export class IpVsStats {
  private readonly count = new Float64Array(5)
  private readonly zero = new Float64Array(5)
  private readonly last = new Float64Array(5)
  private readonly rate = new Float64Array(5)
  private tick: number

  /** @param nowNs time at which the estimator starts */
  constructor(nowNs: number) {
    this.tick = Math.floor(nowNs / TICK_NS)
  }

  /** A new connection. */
  conn(nowNs: number): void {
    this.estimate(nowNs)
    this.count[0] = this.count[0]! + 1
  }

  /** A request of `bytes`. */
  input(nowNs: number, bytes: number): void {
    this.estimate(nowNs)
    this.count[1] = this.count[1]! + 1
    this.count[3] = this.count[3]! + bytes
  }

  /** A reply of `bytes`. */
  output(nowNs: number, bytes: number): void {
    this.estimate(nowNs)
    this.count[2] = this.count[2]! + 1
    this.count[4] = this.count[4]! + bytes
  }

  /** ip_vs_zero_stats */
  reset(nowNs: number): void {
    this.estimate(nowNs)
    this.zero.set(this.count)
    this.last.set(this.count)
    this.rate.fill(0)
  }

  /** ip_vs_copy_stats */
  view(nowNs: number): IpVsStatsView {
    this.estimate(nowNs)
    const { count: c, zero: z, rate: r } = this
    const since = (i: number): number => c[i]! - z[i]!
    return {
      conns: since(0),
      inpkts: since(1),
      outpkts: since(2),
      inbytes: since(3),
      outbytes: since(4),
      cps: Math.floor((r[0]! + 0x1ff) / 1024),
      inpps: Math.floor((r[1]! + 0x1ff) / 1024),
      outpps: Math.floor((r[2]! + 0x1ff) / 1024),
      inbps: Math.floor((r[3]! + 0xf) / 32),
      outbps: Math.floor((r[4]! + 0xf) / 32),
    }
  }

  /** estimation_timer for every step that has passed. */
  private estimate(nowNs: number): void {
    const now = Math.floor(nowNs / TICK_NS)
    if (now === this.tick) return
    // after so many idle steps every rate has come to rest
    const steps = Math.min(now - this.tick, 400)
    this.tick = now
    for (let s = 0; s < steps; s++) {
      for (let i = 0; i < 5; i++) {
        const scale = i < 3 ? 512 : 16
        const rate = (this.count[i]! - this.last[i]!) * scale
        this.last[i] = this.count[i]!
        this.rate[i] = this.rate[i]! + Math.floor((rate - this.rate[i]!) / 4)
      }
    }
  }
}
