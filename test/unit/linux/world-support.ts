/** Small worlds for the tests of devices, bridges and neighbours: names in, frames out. */
import { formatIpv4, parseIpv4 } from '../../../src/addr/index.ts'
import { injectFrame } from '../../../src/linux/core/dev.ts'
import type { NetDevice } from '../../../src/linux/device/device.ts'
import { inetAddrAdd } from '../../../src/linux/device/inet.ts'
import { createBridge, createVeth, setMaster, setUp } from '../../../src/linux/device/ops.ts'
import type { Netns } from '../../../src/linux/netns.ts'
import { World } from '../../../src/linux/world.ts'

/** A MAC of the locally administered kind by number. */
export function mac(n: number): { hi: number; lo: number } {
  return { hi: 0x0200, lo: n }
}

/** signed int32 of a dotted address. */
export function ip(text: string): number {
  const v = parseIpv4(text)
  if (v === null) throw new Error(text)
  return v
}

/** `02:00:..` of numbers. */
function macText(v: DataView, at: number): string {
  const n = v.getInt32(at + 2)
  if (v.getUint16(at) === 0xffff && n === -1) return 'bcast'
  return v.getUint16(at) === 0x0200 ? `m${n}` : `${v.getUint16(at).toString(16)}:${(n >>> 0).toString(16)}`
}

/** One line for a frame: `m1>bcast arp who 10.0.0.2 tell 10.0.0.1`, `m1>m2 ip`, `m1>m2 0x88b5`. */
export function frameText(bytes: Uint8Array): string {
  const v = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const head = `${macText(v, 6)}>${macText(v, 0)}`
  const type = v.getUint16(12)
  if (type === 0x0800) return `${head} ip ${formatIpv4(v.getInt32(26))}>${formatIpv4(v.getInt32(30))}`
  if (type !== 0x0806) return `${head} 0x${type.toString(16)}`
  const sip = formatIpv4(v.getInt32(28))
  const tip = formatIpv4(v.getInt32(38))
  return v.getUint16(20) === 1 ? `${head} who ${tip} tell ${sip}` : `${head} ${sip} is ${macText(v, 22)} to ${tip}`
}

/** A world with its frames recorded. */
export class Lab {
  readonly world = new World({ seed: 1 })
  private seen: { dev: NetDevice; text: string; direction: 0 | 1; atNs: number }[] = []

  constructor() {
    const w = this.world
    w.tap = {
      frame: (direction, slot, dev) => {
        this.seen.push({ dev, direction, text: frameText(w.arena.frameBytes(slot)), atNs: w.nowNs })
      },
    }
  }

  ns(name: string): Netns {
    return this.world.netnsByName.get(name) ?? this.world.addNetns(name)
  }

  /** A pair that is up on both sides; MACs by number. */
  veth(a: [string, string, number], b: [string, string, number], mtu = 1500): [NetDevice, NetDevice] {
    const pair = createVeth(
      { ns: this.ns(a[0]), name: a[1], mac: mac(a[2]) },
      { ns: this.ns(b[0]), name: b[1], mac: mac(b[2]) },
      mtu,
    )
    setUp(pair[0])
    setUp(pair[1])
    return pair
  }

  /** A bridge `br0` in `n` that is up, with `ports` pods p1, p2 ... behind it; their eth0 have the MACs 1, 2 ... */
  bridge(ports: number): { br: NetDevice; pods: NetDevice[]; ports: NetDevice[] } {
    const br = createBridge(this.ns('n'), 'br0', mac(100))
    setUp(br)
    const out = { br, pods: [] as NetDevice[], ports: [] as NetDevice[] }
    for (let i = 1; i <= ports; i++) {
      const [pod, port] = this.veth([`p${i}`, 'eth0', i], ['n', `v${i}`, 1000 + i])
      setMaster(port, br)
      out.pods.push(pod)
      out.ports.push(port)
    }
    this.ns('n').sysctl.bridge_nf_call_iptables = 0
    return out
  }

  addr(dev: NetDevice, text: string): void {
    const [a, p] = text.split('/')
    const errno = inetAddrAdd(dev, { ip: ip(a!), prefixLength: Number(p) })
    if (errno !== 0) throw new Error(`addr add ${text}: ${errno}`)
  }

  /** Sends a frame of an experimental ethertype. */
  send(dev: NetDevice, dst: { hi: number; lo: number }, src: { hi: number; lo: number }, bytes = 60): number {
    const f = new Uint8Array(Math.max(bytes, 14))
    const v = new DataView(f.buffer)
    v.setUint16(0, dst.hi)
    v.setInt32(2, dst.lo)
    v.setUint16(6, src.hi)
    v.setInt32(8, src.lo)
    v.setUint16(12, 0x88b5)
    return injectFrame(this.world, dev, f.subarray(0, bytes))
  }

  /** An ARP packet; `tha` 0 by default. */
  arp(
    dev: NetDevice,
    op: 1 | 2,
    from: { hi: number; lo: number },
    sip: string,
    tip: string,
    to = { hi: 0xffff, lo: -1 },
    tha = { hi: 0, lo: 0 },
  ): void {
    const f = new Uint8Array(42)
    const v = new DataView(f.buffer)
    v.setUint16(0, to.hi)
    v.setInt32(2, to.lo)
    v.setUint16(6, from.hi)
    v.setInt32(8, from.lo)
    v.setUint16(12, 0x0806)
    v.setUint16(14, 1)
    v.setUint16(16, 0x0800)
    v.setUint16(18, 0x0604)
    v.setUint16(20, op)
    v.setUint16(22, from.hi)
    v.setInt32(24, from.lo)
    v.setInt32(28, ip(sip))
    v.setUint16(32, tha.hi)
    v.setInt32(34, tha.lo)
    v.setInt32(38, ip(tip))
    injectFrame(this.world, dev, f)
  }

  /** Devices that received or sent frames since the last call, in order: `p2/eth0`. */
  receivers(): string[] {
    const out = this.seen.filter((s) => s.direction === 0 && s.dev.name === 'eth0').map((s) => s.dev.ns.name)
    this.seen = []
    return out
  }

  /** Frames received by `dev` since the last call of anything that reads frames. */
  received(dev: NetDevice): string[] {
    const out = this.seen.filter((s) => s.direction === 0 && s.dev === dev).map((s) => s.text)
    this.seen = []
    return out
  }

  /** Frames sent by `dev`, with their time in ms. */
  sent(dev: NetDevice): string[] {
    const out = this.seen.filter((s) => s.direction === 1 && s.dev === dev).map((s) => `${s.atNs / 1e6} ${s.text}`)
    this.seen = []
    return out
  }

  /** Lets time pass. */
  ms(n: number): void {
    this.world.runUntil(this.world.nowNs + n * 1e6)
  }
}
