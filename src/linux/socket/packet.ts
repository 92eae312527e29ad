/**
 * Packet sockets that receive: AF_PACKET, SOCK_RAW, bound to one device and one EtherType.
 *
 * Linux: net/packet/af_packet.c (packet_rcv), net/core/dev.c (ptype_specific). What a MetalLB speaker answers ARP with.
 * The frame is copied with its link header and waits in the queue; the process runs after the softirq. Sending is
 * injectFrame (core/dev.ts). Not modelled: ETH_P_ALL, filters, rings, promiscuous mode, outgoing frames, queue limits.
 */
import { M_PROTO, META_SHIFT } from '../../packet/layout.ts'
import { type NetDevice, RX_PACKET } from '../device/device.ts'
import type { World } from '../world.ts'
import { InetSock } from './sock.ts'

/** A packet socket. */
export class PacketSock extends InetSock {
  readonly dev: NetDevice
  /** EtherType that it receives. */
  readonly proto: number
  readonly queue: Uint8Array[] = []

  constructor(dev: NetDevice, proto: number) {
    super(dev.ns, 0)
    this.dev = dev
    this.proto = proto
  }
}

/** socket(AF_PACKET) with bind(2). */
export function packetOpen(dev: NetDevice, proto: number, onReadable: (sk: PacketSock) => void): PacketSock {
  const sk = new PacketSock(dev, proto)
  sk.onReadable = () => onReadable(sk)
  dev.packetSocks ??= []
  dev.packetSocks.push(sk)
  dev.hooks |= RX_PACKET
  return sk
}

/** close(2) */
export function packetClose(sk: PacketSock): void {
  const { dev } = sk
  sk.closed = true
  sk.cancelWakeUp()
  dev.packetSocks = dev.packetSocks?.filter((other) => other !== sk) ?? null
  if (dev.packetSocks?.length === 0) {
    dev.packetSocks = null
    dev.hooks &= ~RX_PACKET
  }
}

/** packet_rcv for every socket of the device that wants this EtherType. */
export function packetRcv(w: World, slot: number, dev: NetDevice): void {
  const proto = w.arena.meta[(slot << META_SHIFT) + M_PROTO]!
  const socks = dev.packetSocks!
  for (let i = 0; i < socks.length; i++) {
    const sk = socks[i]!
    if (sk.proto !== proto) continue
    sk.queue.push(w.arena.frameBytes(slot))
    sk.wakeUp()
  }
}
