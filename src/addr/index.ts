/**
 * Addresses at the edges of podwalk: text in, words out. The only room that imports ip-num and netmask.
 *
 * Sources: see each file.
 */
export * from './cidr.ts'
export * from './ipv4.ts'
export * from './ipv6.ts'
export * from './mac.ts'
