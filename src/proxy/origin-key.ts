/**
 * The key under which a program keeps the origins of a chain's rules.
 */
import type { IpFamily } from './types.ts'

/** The key of a chain in a program's map of origins. */
export function originKey(family: IpFamily, table: string, chain: string): string {
  return `${family} ${table} ${chain}`
}
