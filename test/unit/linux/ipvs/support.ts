/**
 * The director of the IPVS recordings: its links, addresses and neighbours, frames in and out.
 *
 * `c` is the clients' side, `r` the real servers': what the recordings call the node's ports. Frames are read at the far
 * ends of the veth pairs. What the kernel draws at random in packets of its own is taken out of a frame before it is
 * compared: IP identifications that no injected frame had, and GUE's source port with the checksum over it.
 */
import { readFileSync } from 'node:fs'
import { formatIpv4 } from '../../../../src/addr/ipv4.ts'
import { injectFrame } from '../../../../src/linux/core/dev.ts'
import type { NetDevice } from '../../../../src/linux/device/device.ts'
import { ipVsGet } from '../../../../src/linux/ipvs/ipvs.ts'
import type { Netns } from '../../../../src/linux/netns.ts'
import { execTool } from '../../../../src/linux/tools/exec.ts'
import { connViews } from '../../../../src/linux/tools/ipvsadm-list.ts'
import { World } from '../../../../src/linux/world.ts'
import { foldChecksum, sumWords } from '../../../../src/wire/checksum.ts'

/** A frame that came out: port letter and hex. */
export type Received = readonly [string, string]

/** A wire of the node: the letter and name of its port, MAC addresses. */
export interface Wire {
  readonly port: string
  readonly dev: string
  readonly mac: string
}

/** Reads a fixture of test/fixtures/ipvs. */
export function ipvsFixture<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`../../../fixtures/ipvs/${name}.json`, import.meta.url), 'utf8')) as T
}

/** A node with one wire per port. */
export class Node {
  readonly w = new World()
  readonly ns: Netns
  /** Frames seen at the far ends since the last `take`. */
  private received: Received[] = []
  private readonly far = new Map<string, NetDevice>()
  private readonly injectedIds = new Set<number>([0])

  constructor(wires: readonly Wire[]) {
    this.ns = this.w.addNetns('node')
    const outside = this.w.addNetns('outside')
    this.run('sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 net.ipv4.ip_forward=1')
    this.run('sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv4.icmp_msgs_per_sec=1000000 net.ipv4.icmp_msgs_burst=100000')
    this.run('ip link set lo up')
    for (const wire of wires) {
      this.run(`ip link add ${wire.dev} address ${wire.mac} type veth peer name far-${wire.dev} netns outside`)
      const dev = outside.devices.get(`far-${wire.dev}`)!
      this.far.set(wire.dev, dev)
      this.far.set(wire.port, dev)
      execTool(outside, ['ip', 'link', 'set', dev.name, 'up'])
      this.run(`ip link set ${wire.dev} up`)
    }
    const ports = new Map(wires.map((wire) => [`far-${wire.dev}`, wire.port]))
    this.w.runUntil(1e9)
    this.w.tap = {
      frame: (direction, slot, dev) => {
        const port = ports.get(dev.name)
        if (direction === 0 && port !== undefined) {
          this.received.push([port, Buffer.from(this.w.arena.frameBytes(slot)).toString('hex')])
        }
      },
    }
  }

  /** Runs a command on the node as the recordings write it; what it printed. */
  run(line: string, stdin = ''): string {
    const echo = /^echo (\S+) > \/proc\/sys\/net\/ipv4\/vs\/(\w+)$/.exec(line)
    if (echo !== null) return this.run(`sysctl -qw net.ipv4.vs.${echo[2]}=${echo[1]}`)
    let out = ''
    for (const command of line.split(';')) {
      const r = execTool(this.ns, command.trim().split(/\s+/), stdin)
      if (r.status !== 0) throw new Error(`${command}: ${r.status} ${r.stderr}`)
      out += r.stdout
    }
    return out
  }

  /** Sends a frame into the node's port; the frames that came out because of it, taken as `take` does. */
  send(port: string, frame: string | Uint8Array): Received[] {
    const bytes = typeof frame === 'string' ? Buffer.from(frame, 'hex') : frame
    this.injectedIds.add((bytes[18]! << 8) | bytes[19]!)
    injectFrame(this.w, this.far.get(port)!, bytes)
    this.w.softirq()
    return this.take()
  }

  /** The frames that came out since the last call, comparable. */
  take(): Received[] {
    const frames = this.received
    this.received = []
    return frames.map(([port, hex]) => [port, this.comparable(hex)] as const)
  }

  /** A frame without what the kernel draws at random. */
  comparable(hex: string): string {
    const b = Buffer.from(hex, 'hex')
    if (b.readUInt16BE(12) !== 0x0800) return hex
    if (!this.injectedIds.has(b.readUInt16BE(18))) {
      b.writeUInt16BE(0xffff, 18)
      b.writeUInt16BE(0, 24)
      b.writeUInt16BE(foldChecksum(sumWords(new DataView(b.buffer, b.byteOffset), 14, (b[14]! & 15) * 4)), 24)
    }
    const gue = b[23] === 17 && b.length > 46 && b.readUInt16BE(36) === 6080
    if (gue && (b.readUInt16BE(20) & 0x1fff) === 0) {
      b.writeUInt16BE(0, 34)
      if (b.readUInt16BE(40) !== 0) b.writeUInt16BE(1, 40)
    }
    return b.toString('hex')
  }

  /** Connections as the recordings list them: [protocol, client, virtual, real, state], sorted. */
  connections(): string[][] {
    return connViews(ipVsGet(this.ns)).map((c) => [
      c.proto,
      `${formatIpv4(c.caddr)}:${c.cport}`,
      `${formatIpv4(c.vaddr)}:${c.vport}`,
      `${formatIpv4(c.daddr)}:${c.dport}`,
      c.state,
    ])
  }
}

/** The node of the scheduler and forwarding recordings. */
export function directorNode(vips: 'one by one' | 'a local range'): Node {
  const node = new Node([
    { port: 'c', dev: 'c0', mac: '02:00:00:00:c0:01' },
    { port: 'r', dev: 'r0', mac: '02:00:00:00:d0:01' },
  ])
  node.run('ip addr add 192.168.50.1/24 dev c0; ip addr add 10.10.0.1/24 dev r0')
  node.run('ip neigh replace 192.168.50.2 lladdr 02:00:00:00:c0:02 dev c0 nud permanent')
  node.run('ip neigh replace 192.168.50.77 lladdr 02:00:00:00:c0:02 dev c0 nud permanent')
  node.run('ip route add 172.16.0.0/12 via 192.168.50.2; ip route add 100.64.0.0/10 via 192.168.50.2')
  for (let n = 2; n < 60; n++) {
    const mac = `02:00:00:00:d0:${n.toString(16).padStart(2, '0')}`
    node.run(`ip neigh replace 10.10.0.${n} lladdr ${mac} dev r0 nud permanent`)
  }
  node.run('ip link add kube-ipvs0 type dummy; ip link set kube-ipvs0 up')
  if (vips === 'a local range') node.run('ip route add local 10.96.0.0/12 dev kube-ipvs0')
  else for (let n = 1; n < 30; n++) node.run(`ip addr add 10.96.1.${n}/32 dev kube-ipvs0`)
  return node
}
