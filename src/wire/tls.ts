/**
 * TLS 1.3 records and the two hellos: enough to find the server name in a connection, as a proxy that passes TLS through
 * does, and to give a capture that dissectors read.
 *
 *     record:  | type 1 | legacy version 2 | length 2 | fragment ... |
 *     hello:   | msg 1 | length 3 | version 2 | random 32 | session id | cipher suites | compression | extensions |
 *
 * UNMODELLED: cryptography. Keys, certificates and signatures are not computed; an application data record carries its
 * plain text, the content type and 16 octets in the place of the tag, so lengths are right and the contents are not
 * secret. Not here: TLS 1.2, HelloRetryRequest, resumption, early data, client certificates, ECH.
 * Sources: RFC 8446 sections 4.1, 4.2, 5; RFC 6066 section 3 (server_name), RFC 7301 (ALPN).
 */

/** Content types. */
export const TLS_CHANGE_CIPHER_SPEC = 20
/** Content type of alerts. */
export const TLS_ALERT = 21
/** Content type of handshake messages. */
export const TLS_HANDSHAKE = 22
/** Content type of everything that is protected. */
export const TLS_APPLICATION_DATA = 23
/** Alert description: the server has no name like that. */
export const TLS_UNRECOGNIZED_NAME = 112

/** What a ClientHello says. */
export interface ClientHello {
  /** server_name, lower case; null without. */
  readonly serverName: string | null
  readonly alpn: readonly string[]
}

/** One record. */
export interface TlsRecord {
  readonly type: number
  readonly fragment: Uint8Array
}

const RECORD_BYTES = 5
const TAG_BYTES = 16
const MAX_PLAIN_BYTES = 16384
const CLIENT_HELLO = 1
const SERVER_HELLO = 2
const LEGACY = 0x0303
const TLS13 = 0x0304
const EXT_SERVER_NAME = 0
const EXT_GROUPS = 10
const EXT_SIGNATURES = 13
const EXT_ALPN = 16
const EXT_VERSIONS = 43
const EXT_KEY_SHARE = 51
const X25519 = 0x001d
const CIPHERS = [0x1301, 0x1302, 0x1303]
const encoder = new TextEncoder()
const decoder = new TextDecoder('latin1')

const u16 = (n: number): number[] => [(n >> 8) & 255, n & 255]
const vec16 = (bytes: readonly number[]): number[] => [...u16(bytes.length), ...bytes]
const vec8 = (bytes: readonly number[]): number[] => [bytes.length, ...bytes]
const extension = (type: number, body: readonly number[]): number[] => [...u16(type), ...vec16(body)]

/** A record of one fragment. */
export function emitTlsRecord(type: number, fragment: ArrayLike<number>, version = LEGACY): Uint8Array {
  return Uint8Array.from([type, ...u16(version), ...u16(fragment.length), ...Array.from(fragment)])
}

/** Plain bytes as application data records (see UNMODELLED above). */
export function emitTlsData(plain: Uint8Array): Uint8Array {
  const out: number[] = []
  for (let at = 0; at < plain.length || at === 0; at += MAX_PLAIN_BYTES) {
    const part = plain.subarray(at, at + MAX_PLAIN_BYTES)
    const fragment = [...part, TLS_APPLICATION_DATA, ...new Array<number>(TAG_BYTES).fill(0)]
    for (const b of emitTlsRecord(TLS_APPLICATION_DATA, fragment)) out.push(b)
  }
  return Uint8Array.from(out)
}

/** The plain bytes of an application data record that emitTlsData wrote. */
export function tlsPlain(record: TlsRecord): Uint8Array {
  return record.fragment.subarray(0, Math.max(0, record.fragment.length - TAG_BYTES - 1))
}

/** The ClientHello record. @param random 64 octets: 32 of the hello, 32 of the key share */
export function emitClientHello(hello: ClientHello, random: Uint8Array): Uint8Array {
  const name = hello.serverName === null ? [] : [...encoder.encode(hello.serverName)]
  const alpn = hello.alpn.flatMap((p) => vec8([...encoder.encode(p)]))
  const extensions = [
    ...(name.length === 0 ? [] : extension(EXT_SERVER_NAME, vec16([0, ...vec16(name)]))),
    ...extension(EXT_GROUPS, vec16(u16(X25519))),
    ...extension(EXT_SIGNATURES, vec16([...u16(0x0403), ...u16(0x0804), ...u16(0x0807)])),
    ...(alpn.length === 0 ? [] : extension(EXT_ALPN, vec16(alpn))),
    ...extension(EXT_VERSIONS, vec8(u16(TLS13))),
    ...extension(EXT_KEY_SHARE, vec16([...u16(X25519), ...vec16([...random.subarray(32, 64)])])),
  ]
  const body = [
    ...u16(LEGACY),
    ...random.subarray(0, 32),
    ...vec8([]),
    ...vec16(CIPHERS.flatMap(u16)),
    ...vec8([0]),
    ...vec16(extensions),
  ]
  return emitTlsRecord(TLS_HANDSHAKE, handshake(CLIENT_HELLO, body), 0x0301)
}

/** The ServerHello record. @param random as in emitClientHello */
export function emitServerHello(random: Uint8Array): Uint8Array {
  const extensions = [
    ...extension(EXT_VERSIONS, u16(TLS13)),
    ...extension(EXT_KEY_SHARE, [...u16(X25519), ...vec16([...random.subarray(32, 64)])]),
  ]
  const body = [...u16(LEGACY), ...random.subarray(0, 32), ...vec8([]), ...u16(CIPHERS[0]!), 0, ...vec16(extensions)]
  return emitTlsRecord(TLS_HANDSHAKE, handshake(SERVER_HELLO, body))
}

/** A fatal alert. */
export function emitTlsAlert(description: number): Uint8Array {
  return emitTlsRecord(TLS_ALERT, [2, description])
}

/** The records at the beginning of `bytes`, and how many bytes they take; the rest is still to come. */
export function parseTlsRecords(bytes: Uint8Array): { readonly records: TlsRecord[]; readonly bytes: number } {
  const records: TlsRecord[] = []
  let at = 0
  while (at + RECORD_BYTES <= bytes.length) {
    const length = (bytes[at + 3]! << 8) | bytes[at + 4]!
    if (at + RECORD_BYTES + length > bytes.length) break
    records.push({ type: bytes[at]!, fragment: bytes.subarray(at + RECORD_BYTES, at + RECORD_BYTES + length) })
    at += RECORD_BYTES + length
  }
  return { records, bytes: at }
}

/** Whether bytes can be the beginning of a TLS connection. */
export function looksLikeTls(bytes: Uint8Array): boolean {
  return bytes[0] === TLS_HANDSHAKE && (bytes.length < 2 || bytes[1] === 3)
}

/** The ClientHello at the beginning of a connection. */
export function parseClientHello(bytes: Uint8Array): ClientHello | 'incomplete' | 'bad' {
  if (!looksLikeTls(bytes)) return 'bad'
  const record = parseTlsRecords(bytes).records[0]
  if (record === undefined) return 'incomplete'
  const f = record.fragment
  if (f[0] !== CLIENT_HELLO || f.length < 39) return 'bad'
  const at16 = (at: number): number => ((f[at] ?? 0) << 8) | (f[at + 1] ?? 0)
  let at = 38
  at += 1 + f[at]!
  at += 2 + at16(at)
  at += 1 + (f[at] ?? 0)
  const end = Math.min(f.length, at + 2 + at16(at))
  at += 2
  let serverName: string | null = null
  const alpn: string[] = []
  while (at + 4 <= end) {
    const type = at16(at)
    const length = at16(at + 2)
    const body = f.subarray(at + 4, at + 4 + length)
    if (type === EXT_SERVER_NAME && body[2] === 0) serverName = decoder.decode(body.subarray(5)).toLowerCase()
    if (type === EXT_ALPN) {
      for (let i = 2; i < body.length; i += 1 + body[i]!)
        alpn.push(decoder.decode(body.subarray(i + 1, i + 1 + body[i]!)))
    }
    at += 4 + length
  }
  return { serverName, alpn }
}

function handshake(type: number, body: readonly number[]): number[] {
  return [type, (body.length >> 16) & 255, ...u16(body.length), ...body]
}
