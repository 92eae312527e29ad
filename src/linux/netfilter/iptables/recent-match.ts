/**
 * What the recent match answers once it knows the address: shared by both families.
 *
 * Linux: net/netfilter/xt_recent.c (recent_mt).
 */
import { RECENT_CHECK, RECENT_REAP, RECENT_REMOVE, RECENT_SET, RECENT_TTL, RECENT_UPDATE } from './match-kube.ts'
import type { RecentTable } from './recent.ts'

/**
 * recent_mt behind the reading of the header.
 * @param a arguments of MATCH_RECENT in `words`
 * @param ip the masked address: a number of IPv4, an id of IPv6
 * @param ttl TTL or hop limit as it was before forwarding
 */
export function recentMatch(
  t: RecentTable,
  words: Int32Array,
  a: number,
  ip: number,
  ttl: number,
  now: number,
): boolean {
  const checkSet = words[a + 1]!
  let hit = words[a + 4] === 1
  const e = t.lookup(ip, (checkSet & RECENT_TTL) !== 0 ? ttl : 0)
  if (e === null) {
    if ((checkSet & RECENT_SET) === 0) return hit
    t.add(ip, ttl, now)
    return !hit
  }
  if ((checkSet & RECENT_SET) !== 0) hit = !hit
  else if ((checkSet & RECENT_REMOVE) !== 0) {
    t.remove(e)
    hit = !hit
  } else if ((checkSet & (RECENT_CHECK | RECENT_UPDATE)) !== 0) {
    const seconds = words[a + 2]! >>> 0
    const hitCount = words[a + 3]!
    const time = now - seconds * 1000
    let hits = 0
    for (let i = 0; i < e.stamps.length; i++) {
      if (seconds !== 0 && time > e.stamps[i]!) continue
      if (hitCount === 0 || ++hits >= hitCount) {
        hit = !hit
        break
      }
    }
    if ((checkSet & RECENT_REAP) !== 0) t.reap(time, e, (checkSet & RECENT_UPDATE) !== 0 && hit)
  }
  if ((checkSet & RECENT_SET) !== 0 || ((checkSet & RECENT_UPDATE) !== 0 && hit)) {
    t.update(e, now)
    e.ttl = ttl
  }
  return hit
}
