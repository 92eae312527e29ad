/**
 * HTTP/1.1 messages as bytes: what is written is what a capture shows, what is read may come in pieces.
 *
 * Bodies by Content-Length, by chunks, or until the connection ends. Header names keep their case and order. Not here:
 * trailers, folded lines, HTTP/2, content codings. Sources: RFC 9110, RFC 9112 sections 2 to 7.
 */

/** One header field. */
export type HttpHeader = readonly [name: string, value: string]

/** A request. */
export interface HttpRequest {
  readonly method: string
  /** origin-form: path and query. */
  readonly target: string
  readonly headers: readonly HttpHeader[]
  readonly body: Uint8Array
}

/** A response. */
export interface HttpResponse {
  readonly status: number
  readonly reason: string
  readonly headers: readonly HttpHeader[]
  readonly body: Uint8Array
}

/** What reading brought. `incomplete`: more bytes are needed; `bad`: this is not HTTP. */
export type HttpRead<T> = { readonly message: T; readonly bytes: number } | 'incomplete' | 'bad'

const encoder = new TextEncoder()
const decoder = new TextDecoder('latin1')
const MAX_HEAD_BYTES = 65536
const METHOD = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/

/** Reason phrases of the statuses that occur here. */
export const HTTP_REASONS: { readonly [status: number]: string } = {
  200: 'OK',
  301: 'Moved Permanently',
  302: 'Found',
  303: 'See Other',
  307: 'Temporary Redirect',
  308: 'Permanent Redirect',
  400: 'Bad Request',
  403: 'Forbidden',
  404: 'Not Found',
  421: 'Misdirected Request',
  500: 'Internal Server Error',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
}

/** The value of a header, joined by commas when it comes more than once; null without. */
export function headerOf(headers: readonly HttpHeader[], name: string): string | null {
  const lower = name.toLowerCase()
  const values = headers.flatMap(([n, v]) => (n.toLowerCase() === lower ? [v] : []))
  return values.length === 0 ? null : values.join(', ')
}

/** Text as body bytes. */
export function bodyOf(text: string): Uint8Array {
  return encoder.encode(text)
}

/** Writes a request. */
export function emitHttpRequest(r: HttpRequest): Uint8Array {
  return emit(`${r.method} ${r.target} HTTP/1.1`, r.headers, r.body)
}

/** Writes a response. */
export function emitHttpResponse(r: HttpResponse): Uint8Array {
  return emit(`HTTP/1.1 ${r.status} ${r.reason}`, r.headers, r.body)
}

/** Reads a request from the beginning of `bytes`. */
export function parseHttpRequest(bytes: Uint8Array): HttpRead<HttpRequest> {
  const head = readHead(bytes)
  if (typeof head === 'string') return head
  const [method, target, version] = head.start.split(' ')
  if (version === undefined || !METHOD.test(method!) || !/^HTTP\/1\.[01]$/.test(version)) return 'bad'
  const body = readBody(bytes, head, false)
  if (body === null) return 'incomplete'
  return { message: { method: method!, target: target!, headers: head.headers, body: body.data }, bytes: body.end }
}

/**
 * Reads a response from the beginning of `bytes`.
 * @param isEnd the connection has ended, which ends a body without a length
 * @param hasBody false for the answer to a HEAD
 */
export function parseHttpResponse(bytes: Uint8Array, isEnd: boolean, hasBody = true): HttpRead<HttpResponse> {
  const head = readHead(bytes)
  if (typeof head === 'string') return head
  const match = /^HTTP\/1\.[01] (\d{3})(?: (.*))?$/.exec(head.start)
  if (match === null) return 'bad'
  const status = Number(match[1])
  const isEmpty = !hasBody || status === 204 || status === 304
  const body = isEmpty ? { data: new Uint8Array(0), end: head.end } : readBody(bytes, head, true, isEnd)
  if (body === null) return 'incomplete'
  return { message: { status, reason: match[2] ?? '', headers: head.headers, body: body.data }, bytes: body.end }
}

function emit(start: string, headers: readonly HttpHeader[], body: Uint8Array): Uint8Array {
  const head = encoder.encode(`${[start, ...headers.map(([n, v]) => `${n}: ${v}`)].join('\r\n')}\r\n\r\n`)
  const out = new Uint8Array(head.length + body.length)
  out.set(head)
  out.set(body, head.length)
  return out
}

interface Head {
  readonly start: string
  readonly headers: HttpHeader[]
  readonly end: number
}

function readHead(bytes: Uint8Array): Head | 'incomplete' | 'bad' {
  const text = decoder.decode(bytes.subarray(0, MAX_HEAD_BYTES))
  const end = text.indexOf('\r\n\r\n')
  if (end < 0) {
    const first = text.split('\r\n', 1)[0]!
    const isPossible = /^[\x20-\x7e]*$/.test(first) && text.length < MAX_HEAD_BYTES
    return isPossible ? 'incomplete' : 'bad'
  }
  const [start, ...lines] = text.slice(0, end).split('\r\n')
  const headers: HttpHeader[] = []
  for (const line of lines) {
    const colon = line.indexOf(':')
    if (colon <= 0) return 'bad'
    headers.push([line.slice(0, colon), line.slice(colon + 1).trim()])
  }
  return { start: start!, headers, end: end + 4 }
}

function readBody(
  bytes: Uint8Array,
  head: Head,
  isResponse: boolean,
  isEnd = false,
): { data: Uint8Array; end: number } | null {
  if (/\bchunked$/i.test(headerOf(head.headers, 'Transfer-Encoding') ?? '')) return readChunks(bytes, head.end)
  const length = headerOf(head.headers, 'Content-Length')
  if (length !== null) {
    const end = head.end + Number(length)
    return bytes.length < end ? null : { data: bytes.slice(head.end, end), end }
  }
  if (!isResponse) return { data: new Uint8Array(0), end: head.end }
  return isEnd ? { data: bytes.slice(head.end), end: bytes.length } : null
}

function readChunks(bytes: Uint8Array, start: number): { data: Uint8Array; end: number } | null {
  const text = decoder.decode(bytes)
  const parts: Uint8Array[] = []
  let at = start
  for (;;) {
    const line = text.indexOf('\r\n', at)
    if (line < 0) return null
    const size = Number.parseInt(text.slice(at, line), 16)
    const next = line + 2 + size + 2
    if (Number.isNaN(size) || bytes.length < next) return null
    if (size === 0) break
    parts.push(bytes.slice(line + 2, line + 2 + size))
    at = next
  }
  const data = new Uint8Array(parts.reduce((n, p) => n + p.length, 0))
  let to = 0
  for (const p of parts) {
    data.set(p, to)
    to += p.length
  }
  return { data, end: text.indexOf('\r\n\r\n', at) + 4 }
}
