/**
 * Packets for policy questions: one first packet of a connection, and whether the other pod got it.
 *
 * Sent by a raw socket of the pod, taken by a raw socket of the other: what lies between is the data plane alone, whatever
 * listens on the port. Every probe has a source port of its own, so that no conntrack entry of an earlier one lets it pass.
 */
import { parseIpv4 } from '../../src/addr/index.ts'
import type { Cluster } from '../../src/cluster/build.ts'
import { icmpEcho, rawOpen, rawRecv, rawSend } from '../../src/linux/socket/api.ts'
import type { RawSock } from '../../src/linux/socket/raw.ts'
import { foldChecksum, pseudoSumV4, sumWords } from '../../src/wire/checksum.ts'
import { crc32c } from '../../src/wire/crc32c.ts'

const PROTOCOLS = { TCP: 6, UDP: 17, SCTP: 132, ICMP: 1 } as const
/** Time for a packet on a path whose neighbours are known: no timer is needed. */
const STEP_NS = 1_000_000
/** Time for ARP on the whole path. */
const WARM_NS = 5_000_000_000

/** Protocols that can be asked about. */
export type ProbeProtocol = keyof typeof PROTOCOLS

/** Asks a built cluster who reaches whom. */
export class PolicyProbe {
  private readonly cluster: Cluster
  private readonly sockets = new Map<string, RawSock>()
  private readonly ips = new Map<string, number>()
  private sport = 20000

  constructor(cluster: Cluster) {
    this.cluster = cluster
    for (const p of cluster.model.pods) this.ips.set(`${p.namespace}/${p.name}`, parseIpv4(p.ip)!)
  }

  /** Source port (ICMP: identifier) of the last packet. */
  get sourcePort(): number {
    return this.sport
  }

  /** Does a packet of `from` reach `to`? Both are `namespace/pod`. */
  reaches(from: string, to: string, protocol: ProbeProtocol, port: number): boolean {
    this.sport = this.sport >= 60000 ? 20000 : this.sport + 1
    const dst = this.ips.get(to)!
    const receiver = this.socket(to, protocol)
    while (typeof rawRecv(receiver) !== 'number');
    const world = this.cluster.world
    rawSend(this.socket(from, protocol), this.packet(this.ips.get(from)!, dst, protocol, port), dst)
    world.runUntil(world.nowNs + STEP_NS)
    if (this.got(receiver, protocol)) return true
    // ARP may not be done yet: a packet that waits for it comes late
    if (world.timers.nextNs() > world.nowNs + WARM_NS) return false
    world.runUntil(world.nowNs + STEP_NS)
    return this.got(receiver, protocol)
  }

  private got(receiver: RawSock, protocol: ProbeProtocol): boolean {
    for (;;) {
      const r = rawRecv(receiver)
      if (typeof r === 'number') return false
      const v = new DataView(r.packet.buffer, r.packet.byteOffset)
      const l4 = (r.packet[0]! & 15) * 4
      if (
        protocol === 'ICMP' ? r.packet[l4] === 8 && v.getUint16(l4 + 4) === this.sport : v.getUint16(l4) === this.sport
      ) {
        return true
      }
    }
  }

  private socket(pod: string, protocol: ProbeProtocol): RawSock {
    const key = `${pod} ${protocol}`
    let sk = this.sockets.get(key)
    if (sk === undefined) {
      const opened = rawOpen(this.cluster.pods.get(pod)!, PROTOCOLS[protocol])
      if (typeof opened === 'number') throw new Error(`raw socket in ${pod}: ${opened}`)
      sk = opened
      this.sockets.set(key, sk)
    }
    return sk
  }

  private packet(src: number, dst: number, protocol: ProbeProtocol, port: number): Uint8Array {
    if (protocol === 'ICMP') return icmpEcho(this.sport, 1, new Uint8Array(8))
    const bytes = new Uint8Array(protocol === 'TCP' ? 20 : protocol === 'UDP' ? 12 : 32)
    const v = new DataView(bytes.buffer)
    v.setUint16(0, this.sport)
    v.setUint16(2, port)
    if (protocol === 'UDP') v.setUint16(4, bytes.length)
    else if (protocol === 'TCP') {
      v.setUint32(4, this.sport)
      v.setUint16(12, 0x5002)
      v.setUint16(14, 64240)
      v.setUint16(16, foldChecksum(sumWords(v, 0, 20, pseudoSumV4(src, dst, 6, 20))))
    } else {
      // INIT: tag 0, one chunk of 20 bytes
      v.setUint16(12, 0x0100)
      v.setUint16(14, 20)
      v.setUint32(16, this.sport)
      v.setUint32(20, 65536)
      v.setUint32(24, 0x00010001)
      v.setUint32(28, this.sport)
      v.setUint32(8, crc32c(v, 0, bytes.length, 8), true)
    }
    return bytes
  }
}
