/**
 * The proxy modes podwalk knows: one line each.
 */
import { iptablesMode } from './iptables/mode.ts'
import { ipvsMode } from './ipvs/mode.ts'
import type { ProxyMode } from './mode.ts'
import { nftablesMode } from './nftables/mode.ts'

/** Every proxy mode. */
export const PROXY_MODES: readonly ProxyMode[] = [
  iptablesMode as ProxyMode, //
  nftablesMode as ProxyMode,
  ipvsMode as ProxyMode,
]

/** No kube-proxy at all, and modes that podwalk does not model. */
export const OTHER_PROXY_MODES: readonly string[] = ['none', 'kernelspace', 'userspace']

/** The mode of that name, or undefined. */
export function findProxyMode(name: string): ProxyMode | undefined {
  return PROXY_MODES.find((mode) => mode.name === name)
}
