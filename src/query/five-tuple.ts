/**
 * Addresses and ports of a captured Ethernet frame.
 */
import { ETH_HLEN, ETH_P_IP } from '../packet/layout.ts'

/** Addresses as int32; ports are the id for ICMP echo, 0 where there is none. */
export interface FiveTuple {
  readonly src: number
  readonly dst: number
  readonly protocol: number
  readonly sport: number
  readonly dport: number
}

/** The tuple of an IPv4 frame, null for anything else or a truncated one. */
export function parseFiveTuple(frame: Uint8Array): FiveTuple | null {
  const v = new DataView(frame.buffer, frame.byteOffset, frame.byteLength)
  if (frame.length < ETH_HLEN + 20 || v.getUint16(12) !== ETH_P_IP) return null
  const l4 = ETH_HLEN + (v.getUint8(ETH_HLEN) & 15) * 4
  const protocol = v.getUint8(ETH_HLEN + 9)
  const first = (v.getUint16(ETH_HLEN + 6) & 0x1fff) === 0
  let sport = 0
  let dport = 0
  if (first && frame.length >= l4 + 8) {
    if (protocol === 6 || protocol === 17 || protocol === 132) {
      sport = v.getUint16(l4)
      dport = v.getUint16(l4 + 2)
    } else if (protocol === 1) sport = v.getUint16(l4 + 4)
  }
  return { src: v.getInt32(ETH_HLEN + 12), dst: v.getInt32(ETH_HLEN + 16), protocol, sport, dport }
}
