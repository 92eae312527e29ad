/**
 * JSON as iproute2 writes it: compact by default, with its own layout under -p.
 *
 * Source: iproute2 lib/json_writer.c. Field order is the order of printing.
 */

/** What -j prints. */
export type JsonValue = string | number | boolean | null | readonly JsonValue[] | { readonly [name: string]: JsonValue }

/** The array that `ip -j` prints, with its newline. */
export function formatJson(value: readonly JsonValue[], pretty: boolean): string {
  return `${pretty ? prettyValue(value, 0) : JSON.stringify(value)}\n`
}

function prettyValue(v: JsonValue, depth: number): string {
  if (Array.isArray(v)) {
    const items = (v as readonly JsonValue[]).map((x) => prettyValue(x, depth + 1))
    return items.length === 0 ? '[ ]' : `[ ${items.join(',')} ]`
  }
  if (typeof v === 'object' && v !== null) {
    const fields = Object.entries(v).map(
      ([k, x]) => `\n${'    '.repeat(depth + 1)}${JSON.stringify(k)}: ${prettyValue(x, depth + 1)}`,
    )
    return fields.length === 0 ? '{}' : `{${fields.join(',')}\n${'    '.repeat(depth)}}`
  }
  return JSON.stringify(v)
}
