/**
 * What flannel, the runtime and the kernel draw at random, here hashes, so that the same manifests give the same names.
 *
 * Real thing: flannel's newHardwareAddr (pkg/backend/vxlan/device.go: six random bytes, locally administered), the
 * sandbox id of the runtime, the random MAC of a bridge, FormatChainName of the plugins (pkg/utils/utils.go).
 */
import { createHash } from 'node:crypto'
import type { PodModel } from '../kubernetes/types.ts'

/** iptables allows 28 characters in a chain's name. */
const CHAIN_CHARACTERS = 28

/** A locally administered unicast MAC that depends on `key`. */
export function stableMac(key: string): string {
  const bytes = createHash('sha256').update(key).digest().subarray(0, 6)
  bytes[0] = (bytes[0]! & 0xfe) | 0x02
  return [...bytes].map((b) => b.toString(16).padStart(2, '0')).join(':')
}

/** The sandbox id of a pod: 64 hex digits, as containerd's. */
export function containerId(pod: PodModel): string {
  return createHash('sha256').update(pod.uid).digest('hex')
}

/** `CNI-DN-` or `CNI-` and as many hex digits of the SHA-512 of network and container as fit. */
export function pluginChain(prefix: string, network: string, id: string): string {
  const digest = createHash('sha512').update(`${network}${id}`).digest('hex')
  return `${prefix}${digest}`.slice(0, CHAIN_CHARACTERS)
}
