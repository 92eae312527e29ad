/**
 * JSON of any document: keys sorted, two spaces, a newline at the end; the same document gives the same bytes.
 */

/** A value with the keys of all its objects in sorted order. */
export function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys)
  if (typeof value !== 'object' || value === null) return value
  const record = value as Record<string, unknown>
  const sorted: Record<string, unknown> = {}
  for (const key of Object.keys(record).sort()) if (record[key] !== undefined) sorted[key] = sortKeys(record[key])
  return sorted
}

/** The document as JSON. */
export function toJson(document: unknown): string {
  return `${JSON.stringify(sortKeys(document), null, 2)}\n`
}
