/**
 * Times as the Cluster object and the command line write them.
 */

/** `2s`, `500ms`, `1m`, `2` as seconds, null when it is no time. */
export function durationSeconds(text: string): number | null {
  const m = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text)
  if (m === null) return null
  return Number(m[1]) * { ms: 0.001, s: 1, m: 60, h: 3600 }[m[2] ?? 's']!
}
