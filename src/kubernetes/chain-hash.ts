/**
 * The hash that kubelet and kube-proxy put into the names of their iptables chains.
 *
 * Sources: pkg/proxy/iptables/proxier.go (portProtoHash), pkg/kubelet/dockershim/network/hostport/hostport_manager.go
 * (getHostportChain), RFC 4648 section 6 (base32).
 */
import { hash } from 'node:crypto'

const HASH_CHARACTERS = 16
const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'

/** The first 16 characters of the base32 of the SHA-256: ten bytes hold exactly 80 bits. */
export function chainHash(text: string): string {
  const digest = hash('sha256', text, 'buffer')
  let out = ''
  let bits = 0
  let held = 0
  for (let i = 0; out.length < HASH_CHARACTERS; i++) {
    held = (held << 8) | (digest[i] ?? 0)
    bits += 8
    while (bits >= 5) {
      bits -= 5
      out += BASE32[(held >> bits) & 31]
    }
    held &= (1 << bits) - 1
  }
  return out
}
