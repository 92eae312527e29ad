/**
 * The token bucket of the limit match.
 *
 * Linux: net/netfilter/xt_limit.c (limit_mt, limit_mt_check). 32 credits per jiffy of 1 ms; the bucket starts full.
 */

const HZ = 1000
const CREDITS_PER_JIFFY = 32
const XT_LIMIT_SCALE = 10000

/** Credits of `user` units of 1/XT_LIMIT_SCALE s. */
export function user2credits(user: number): number {
  if (user > 0xffffffff / (HZ * CREDITS_PER_JIFFY)) return Math.trunc(user / XT_LIMIT_SCALE) * HZ * CREDITS_PER_JIFFY
  return Math.trunc((user * HZ * CREDITS_PER_JIFFY) / XT_LIMIT_SCALE)
}

/** struct xt_limit_priv with what it is filled from. */
export class RateLimit {
  private credit: number
  private readonly cap: number
  private readonly cost: number
  private prev = -1

  constructor(avg: number, burst: number) {
    this.cap = user2credits(avg * burst)
    this.cost = user2credits(avg)
    this.credit = this.cap
  }

  /** limit_mt: true when a packet may pass now. */
  take(nowJiffies: number): boolean {
    if (this.prev >= 0) this.credit = Math.min(this.cap, this.credit + (nowJiffies - this.prev) * CREDITS_PER_JIFFY)
    this.prev = nowJiffies
    if (this.credit < this.cost) return false
    this.credit -= this.cost
    return true
  }
}
