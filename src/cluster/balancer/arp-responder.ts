/**
 * Answers ARP for addresses that the kernel does not have, from a packet socket: what a MetalLB speaker does.
 *
 * A request for an announced address is answered with the device's own MAC; becoming the owner is told by gratuitous ARP,
 * a request and a reply to everybody. Not modelled: the repetitions in the first five seconds, NDP.
 * Sources: go.universe.tf/metallb internal/layer2/{arp,announcer}.go, github.com/mdlayher/arp.
 */
import { injectFrame } from '../../linux/core/dev.ts'
import type { NetDevice } from '../../linux/device/device.ts'
import { type PacketSock, packetClose, packetOpen } from '../../linux/socket/packet.ts'
import { ETH_P_ARP } from '../../packet/layout.ts'
import { ARP_HEADER_BYTES, ARPHRD_ETHER, ARPOP_REPLY, ARPOP_REQUEST, emitArp, parseArp } from '../../wire/arp.ts'
import { emitEthernet } from '../../wire/ethernet.ts'
import { viewOf } from '../../wire/view.ts'

const ETH_HLEN = 14
const ETH_P_IP = 0x0800
const BROADCAST = { hi: 0xffff, lo: -1 }

/** The responder of one device. */
export class ArpResponder {
  private readonly dev: NetDevice
  private readonly addresses = new Set<number>()
  private sk: PacketSock | null = null

  constructor(dev: NetDevice) {
    this.dev = dev
  }

  /** Begins to answer for an address, and says so. */
  announce(ip: number): void {
    if (this.addresses.has(ip)) return
    this.addresses.add(ip)
    this.sk ??= packetOpen(this.dev, ETH_P_ARP, (sk) => this.run(sk))
    const own = { hi: this.dev.macHi, lo: this.dev.macLo }
    for (const op of [ARPOP_REQUEST, ARPOP_REPLY]) this.send(op, ip, BROADCAST, ip, BROADCAST, own)
  }

  /** Stops to answer for an address. */
  withdraw(ip: number): void {
    this.addresses.delete(ip)
    if (this.addresses.size > 0 || this.sk === null) return
    packetClose(this.sk)
    this.sk = null
  }

  private run(sk: PacketSock): void {
    for (let frame = sk.queue.shift(); frame !== undefined; frame = sk.queue.shift()) {
      const arp = parseArp(viewOf(frame), ETH_HLEN, frame.length - ETH_HLEN)
      if (arp === null || arp.op !== ARPOP_REQUEST || !this.addresses.has(arp.tpa)) continue
      const own = { hi: this.dev.macHi, lo: this.dev.macLo }
      this.send(ARPOP_REPLY, arp.tpa, arp.sha, arp.spa, arp.sha, own)
    }
  }

  private send(
    op: number,
    spa: number,
    tha: { hi: number; lo: number },
    tpa: number,
    to: { hi: number; lo: number },
    sha: { hi: number; lo: number },
  ): void {
    const frame = new Uint8Array(ETH_HLEN + ARP_HEADER_BYTES)
    const view = viewOf(frame)
    emitEthernet({ dst: to, src: sha, etherType: ETH_P_ARP, tags: [] }, view, 0)
    emitArp({ htype: ARPHRD_ETHER, ptype: ETH_P_IP, op, sha, spa, tha, tpa }, view, ETH_HLEN)
    injectFrame(this.dev.ns.world, this.dev, frame)
  }
}
