/** A world of two hosts with a wire between them, for tests of tunnel devices: frames as hex by device. */
import { parseIpv4 } from '../../../../src/addr/index.ts'
import type { NetDevice } from '../../../../src/linux/device/device.ts'
import type { Netns } from '../../../../src/linux/netns.ts'
import { execTool } from '../../../../src/linux/tools/exec.ts'
import type { Tracer } from '../../../../src/linux/trace.ts'
import { T_END } from '../../../../src/linux/trace.ts'
import { World, type WorldOptions } from '../../../../src/linux/world.ts'

/** Signed int32 of a dotted address. */
export function ip(text: string): number {
  const v = parseIpv4(text)
  if (v === null) throw new Error(text)
  return v
}

/** Runs a command line; anything but success is an error. */
export function sh(ns: Netns, command: string): string {
  const r = execTool(ns, command.split(' '))
  if (r.status !== 0) throw new Error(`${command}: ${r.status} ${r.stderr}`)
  return r.stdout
}

/** Hosts a (10.0.0.1) and b (10.0.0.2), eth0 to eth0; what every device saw, and every drop reason. */
export class Wire {
  readonly w: World
  readonly a: Netns
  readonly b: Netns
  /** `a/eth0 tx` to frames */
  readonly seen = new Map<string, Uint8Array[]>()
  readonly ends: number[] = []

  constructor(options: WorldOptions = {}) {
    this.w = new World(options)
    this.a = this.w.addNetns('a')
    this.b = this.w.addNetns('b')
    sh(this.a, 'ip link add eth0 address 02:00:00:00:00:01 type veth peer name eth0 address 02:00:00:00:00:02 netns b')
    for (const [ns, n] of [
      [this.a, 1],
      [this.b, 2],
    ] as const) {
      sh(ns, 'ip link set eth0 up')
      sh(ns, `ip addr add 10.0.0.${n}/24 dev eth0`)
      sh(ns, `ip neigh replace 10.0.0.${3 - n} lladdr 02:00:00:00:00:0${3 - n} dev eth0 nud permanent`)
    }
    this.w.tap = {
      frame: (direction, slot, dev) => {
        const key = `${dev.ns.name}/${dev.name} ${direction === 1 ? 'tx' : 'rx'}`
        const list = this.seen.get(key) ?? []
        list.push(this.w.arena.frameBytes(slot))
        this.seen.set(key, list)
      },
    }
    const tracer: Tracer = {
      wantMisses: false,
      step: (point, _slot, _ns, _dev, code) => {
        if (point === T_END) this.ends.push(code)
      },
    }
    this.w.tracer = tracer
  }

  dev(ns: Netns, name: string): NetDevice {
    const d = ns.devices.get(name)
    if (d === undefined) throw new Error(name)
    return d
  }

  /** Frames seen since the last call. */
  take(key: string): Uint8Array[] {
    const list = this.seen.get(key) ?? []
    this.seen.delete(key)
    return list
  }
}

/** An Ethernet frame with MACs by number; 255 is broadcast. */
export function frame(dst: number, src: number, type: number, payload: Uint8Array): Uint8Array {
  const f = new Uint8Array(14 + payload.length)
  if (dst === 255) f.fill(255, 0, 6)
  else {
    f[0] = 2
    f[5] = dst
  }
  f[6] = 2
  f[11] = src
  f[12] = type >> 8
  f[13] = type & 255
  f.set(payload, 14)
  return f
}

/** A UDP datagram in IPv4, without checksums (nobody on the tunnel's way looks). */
export function udpPacket(src: string, dst: string, sport: number, dport: number, tos = 0, fragOff = 0): Uint8Array {
  const p = new Uint8Array(36)
  const v = new DataView(p.buffer)
  v.setUint16(0, 0x4500 | tos)
  v.setUint16(2, 36)
  v.setUint16(6, fragOff)
  v.setUint16(8, 0x4011)
  v.setInt32(12, ip(src))
  v.setInt32(16, ip(dst))
  v.setUint16(20, sport)
  v.setUint16(22, dport)
  v.setUint16(24, 16)
  return p
}
