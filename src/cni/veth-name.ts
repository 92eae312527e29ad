/**
 * Names of host-side veth devices.
 *
 * The bridge plugin draws `veth` and eight random hex digits (pkg/ip/link_linux.go RandomVethName). Here the digits are a
 * hash of the pod's name, so that the same manifests give the same names.
 */

/** `prefix` and eight hex digits that depend on `key` (FNV-1a, 32 bits). */
export function vethName(prefix: string, key: string): string {
  let h = 0x811c9dc5
  for (let i = 0; i < key.length; i++) {
    h ^= key.charCodeAt(i)
    h = Math.imul(h, 0x01000193)
  }
  return `${prefix}${(h >>> 0).toString(16).padStart(8, '0')}`
}
