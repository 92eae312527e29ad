/**
 * The version, from package.json: the one place where it is written.
 */
import { readFileSync } from 'node:fs'

/** podwalk's version. */
export function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}
