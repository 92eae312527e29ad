/** Two hosts on one link, a recorder of the frames that cross it, and a hook that loses frames. */
import { parseIpv4 } from '../../../../src/addr/ipv4.ts'
import type { NetDevice } from '../../../../src/linux/device/device.ts'
import { inetAddrAdd } from '../../../../src/linux/device/inet.ts'
import { createVeth, setUp } from '../../../../src/linux/device/ops.ts'
import type { Netns } from '../../../../src/linux/netns.ts'
import { World } from '../../../../src/linux/world.ts'
import { M_DATA, META_SHIFT } from '../../../../src/packet/layout.ts'

export const ip = (text: string): number => parseIpv4(text)! | 0

export interface TcpFrame {
  atMs: number
  dir: '>' | '<'
  flags: string
  seq: number
  ack: number
  win: number
  len: number
  options: string
  id: number
  df: boolean
  sport: number
  dport: number
}

export class Net {
  readonly w: World
  readonly a: Netns
  readonly b: Netns
  readonly devA: NetDevice
  readonly devB: NetDevice
  /** Frames as the device of `b` sees them: received and sent. */
  readonly frames: { atMs: number; dir: '>' | '<'; bytes: Uint8Array }[] = []

  constructor(options: { seed?: number; mtu?: number; timestamps?: number } = {}) {
    const w = new World({ seed: options.seed ?? 1 })
    this.w = w
    this.a = w.addNetns('a')
    this.b = w.addNetns('b')
    const [da, db] = createVeth(
      { ns: this.a, name: 'e0', mac: { hi: 0x0200, lo: 1 } },
      { ns: this.b, name: 'e0', mac: { hi: 0x0200, lo: 2 } },
      options.mtu ?? 1500,
    )
    this.devA = da
    this.devB = db
    for (const ns of [this.a, this.b]) {
      setUp(ns.lo)
      ns.sysctl.tcp_timestamps = options.timestamps ?? 0
      ns.sysctl.icmp_ratelimit = 0
      // the settings that the recordings were made with: the window scale depends on them
      ns.sysctl.tcp_rmem_default = 131072
      ns.sysctl.tcp_rmem_max = 6291456
      ns.sysctl.tcp_wmem_default = 16384
      ns.sysctl.tcp_wmem_max = 4194304
    }
    setUp(da)
    setUp(db)
    inetAddrAdd(da, { ip: ip('10.9.0.1'), prefixLength: 24 })
    inetAddrAdd(db, { ip: ip('10.9.0.2'), prefixLength: 24 })
    w.tap = {
      frame: (direction, slot, dev) => {
        if (direction === 0 && this.lose !== null && this.isTcp(slot) && this.lose(dev === this.devB ? '>' : '<')) {
          // a receiver drops what has a wrong checksum: the frame is as good as lost
          const th = w.arena.meta[(slot << META_SHIFT) + M_DATA]! + 20
          w.arena.bytes[th + 16] = w.arena.bytes[th + 16]! ^ 0x55
          if (dev === this.devB) this.lost++
          return
        }
        if (dev !== this.devB) return
        this.frames.push({ atMs: w.nowNs / 1e6, dir: direction === 0 ? '>' : '<', bytes: w.arena.frameBytes(slot) })
      },
    }
  }

  /** Says of each TCP segment that arrives whether it is lost; null loses none. */
  lose: ((dir: '>' | '<') => boolean) | null = null
  lost = 0

  private isTcp(slot: number): boolean {
    const at = this.w.arena.meta[(slot << META_SHIFT) + M_DATA]!
    return this.w.arena.bytes[at] === 0x45 && this.w.arena.bytes[at + 9] === 6
  }

  /** Lets time pass. */
  run(ms: number): void {
    this.w.runUntil(this.w.nowNs + ms * 1e6)
  }

  /** TCP segments seen so far, sequence numbers relative to the SYNs; the record is emptied. */
  private readonly isn = new Map<string, number>()
  tcp(): TcpFrame[] {
    const out: TcpFrame[] = []
    for (const f of this.frames.splice(0)) {
      const v = new DataView(f.bytes.buffer, f.bytes.byteOffset, f.bytes.byteLength)
      if (v.getUint16(12) !== 0x0800 || v.getUint8(23) !== 6) continue
      const th = 14 + (v.getUint8(14) & 15) * 4
      const total = v.getUint16(16)
      const head = (v.getUint8(th + 12) >> 4) * 4
      const sport = v.getUint16(th)
      const dport = v.getUint16(th + 2)
      const bits = v.getUint8(th + 13)
      const seq = v.getInt32(th + 4)
      const ack = v.getInt32(th + 8)
      const mine = `${f.dir}${sport}-${dport}`
      const theirs = `${f.dir === '>' ? '<' : '>'}${dport}-${sport}`
      if ((bits & 2) !== 0) this.isn.set(mine, seq)
      out.push({
        atMs: f.atMs,
        dir: f.dir,
        flags: [...'FSRPAUEC'].filter((_, i) => ((bits >> i) & 1) !== 0).join(''),
        seq: (seq - (this.isn.get(mine) ?? 0)) >>> 0,
        ack: (bits & 16) !== 0 ? (ack - (this.isn.get(theirs) ?? 0)) >>> 0 : ack,
        win: v.getUint16(th + 14),
        len: total - (th - 14) - head,
        options: Buffer.from(f.bytes.subarray(th + 20, th + head)).toString('hex'),
        id: v.getUint16(18),
        df: (v.getUint8(20) & 0x40) !== 0,
        sport,
        dport,
      })
    }
    return out
  }

  /** The segments as lines: `> PA 1:6 ack 1 win 502`. */
  lines(withTime = false): string[] {
    return this.tcp().map(
      (f) =>
        `${withTime ? `${Math.round(f.atMs)} ` : ''}${f.dir} ${f.flags} ${f.seq}+${f.len} ack ${f.ack} win ${f.win}`,
    )
  }
}
