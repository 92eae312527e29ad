/**
 * Maglev hashing.
 *
 * Linux: net/netfilter/ipvs/ip_vs_mh.c; include/linux/siphash.h (hsiphash of 64-bit machines: SipHash-1-3). A table of
 * 4093 places, filled by the real servers in turns along permutations of their own; the last weight that was not 0 counts,
 * so that draining moves nobody else. 64-bit words are pairs of int32 here.
 */
import { IP_VS_SVC_F_SCHED_FALLBACK, IP_VS_SVC_F_SCHED_PORT } from './flags.ts'
import { gcd } from './sched-wrr.ts'
import type { Scheduler } from './scheduler.ts'
import type { IpVsDest, IpVsService } from './service.ts'

const TAB_SIZE = 4093
/** IP_VS_MH_TAB_BITS */
const TAB_BITS = 12 / 2
const KEY1 = 2654435761 | 0
const KEY2 = 2654446892 | 0

/** struct ip_vs_mh_state */
export class MaglevTable {
  readonly lookup = new Array<IpVsDest | null>(TAB_SIZE).fill(null)
}

/** v0..v3 of SipHash as [low, high] pairs. */
const v = new Int32Array(8)

function addPair(a: number, b: number): void {
  const low = (v[a]! >>> 0) + (v[b]! >>> 0)
  v[a + 1] = (v[a + 1]! + v[b + 1]! + (low > 0xffffffff ? 1 : 0)) | 0
  v[a] = low | 0
}

function rotateXor(a: number, bits: number, b: number): void {
  let low = v[a]!
  let high = v[a + 1]!
  if (bits >= 32) {
    const t = low
    low = high
    high = t
    bits -= 32
  }
  if (bits > 0) {
    const t = (low << bits) | (high >>> (32 - bits))
    high = (high << bits) | (low >>> (32 - bits))
    low = t
  }
  v[a] = low ^ v[b]!
  v[a + 1] = high ^ v[b + 1]!
}

function swapHalves(a: number): void {
  const t = v[a]!
  v[a] = v[a + 1]!
  v[a + 1] = t
}

/** SIPROUND */
function round(): void {
  addPair(0, 2)
  rotateXor(2, 13, 0)
  swapHalves(0)
  addPair(4, 6)
  rotateXor(6, 16, 4)
  addPair(0, 6)
  rotateXor(6, 21, 0)
  addPair(4, 2)
  rotateXor(2, 17, 4)
  swapHalves(4)
}

/** hsiphash_1u32 on a 64-bit machine; both words of the key are `key`. Unsigned. */
function hsiphash1u32(value: number, key: number): number {
  v[0] = 0x70736575 ^ key
  v[1] = 0x736f6d65
  v[2] = 0x6e646f6d ^ key
  v[3] = 0x646f7261
  v[4] = 0x6e657261 ^ key
  v[5] = 0x6c796765
  v[6] = 0x79746573 ^ key
  v[7] = 0x74656462
  const high = 4 << 24
  v[6] = v[6]! ^ value
  v[7] = v[7]! ^ high
  round()
  v[0] = v[0]! ^ value
  v[1] = v[1]! ^ high
  v[4] = v[4]! ^ 0xff
  round()
  round()
  round()
  return (v[0]! ^ v[2]! ^ v[4]! ^ v[6]!) >>> 0
}

function hashKey(addr: number, port: number, key: number, offset: number): number {
  return hsiphash1u32((offset + port + addr) | 0, key)
}

/** ip_vs_mh_reassign */
function reassign(svc: IpVsService): void {
  const table = (svc.schedData as MaglevTable).lookup
  let divisor = 0
  let max = 0
  for (let d = svc.head; d !== null; d = d.next) {
    if (d.lastWeight > 0) divisor = gcd(d.lastWeight, divisor)
    if (d.lastWeight > max) max = d.lastWeight
  }
  table.fill(null)
  if (divisor < 1) return
  const shift = Math.max(0, 32 - Math.clz32(Math.floor(max / divisor)) - TAB_BITS)
  const dests: IpVsDest[] = []
  const place: number[] = []
  const skip: number[] = []
  const turns: number[] = []
  for (let d = svc.head; d !== null; d = d.next) {
    dests.push(d)
    place.push(hashKey(d.addr, d.port, KEY1, 0) % TAB_SIZE)
    skip.push((hashKey(d.addr, d.port, KEY2, 0) % (TAB_SIZE - 1)) + 1)
    turns.push(Math.floor(d.lastWeight / divisor) >> shift || (d.lastWeight !== 0 ? 1 : 0))
  }
  for (let n = 0; n < TAB_SIZE; ) {
    for (let i = 0; i < dests.length; i++) {
      for (let turn = 0; turn < turns[i]!; turn++) {
        let c = place[i]!
        while (table[c] !== null) c = (c + skip[i]!) % TAB_SIZE
        place[i] = c
        table[c] = dests[i]!
        if (++n === TAB_SIZE) return
      }
    }
  }
}

function unavailable(d: IpVsDest): boolean {
  return d.weight <= 0 || d.overloaded
}

export const mhScheduler: Scheduler = {
  name: 'mh',
  init(svc) {
    svc.schedData = new MaglevTable()
    reassign(svc)
  },
  addDest: reassign,
  delDest: reassign,
  updDest: reassign,
  schedule(svc, iph) {
    const table = (svc.schedData as MaglevTable).lookup
    const port = (svc.flags & IP_VS_SVC_F_SCHED_PORT) !== 0 ? iph.cport : 0
    const base = hashKey(iph.caddr, port, KEY1, 0) % TAB_SIZE
    const first = table[base]!
    if (first === null || !unavailable(first)) return first
    if ((svc.flags & IP_VS_SVC_F_SCHED_FALLBACK) === 0) return null
    for (let offset = 0; offset < TAB_SIZE; offset++) {
      const d = table[hashKey(iph.caddr, port, KEY1, (offset + base) % TAB_SIZE) % TAB_SIZE]!
      if (d === null) return null
      if (!unavailable(d)) return d
    }
    return null
  },
}
