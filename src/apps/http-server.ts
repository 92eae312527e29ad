/**
 * The server of a pod: answers every request with its own name, over HTTP or, where the port says so, HTTPS.
 *
 * What is not HTTP is answered in the same way, once, and the connection closed: the peer has been reached. A TLS port that
 * gets plain HTTP says what Go's server says; a plain port that gets a ClientHello answers 400 as nginx does.
 * Not modelled: what the program in the container would really do; keep-alive.
 */
import type { Netns } from '../linux/netns.ts'
import { bodyOf, emitHttpResponse, HTTP_REASONS, parseHttpRequest } from '../wire/http.ts'
import { looksLikeTls } from '../wire/tls.ts'
import { join, listenStreams, type Stream, TlsSession } from './stream.ts'

/** An HTTP response whose body is one line of text. */
export function textResponse(status: number, text: string, isHead = false): Uint8Array {
  const body = bodyOf(`${text}\n`)
  return emitHttpResponse({
    status,
    reason: HTTP_REASONS[status] ?? '',
    headers: [
      ['Content-Type', 'text/plain'],
      ['Content-Length', String(body.length)],
      ['Connection', 'close'],
    ],
    body: isHead ? new Uint8Array(0) : body,
  })
}

/** Opens the server. @returns false when something listens there already */
export function serveHttp(ns: Netns, port: number, name: string, isTls: boolean): boolean {
  const answer = (request: Uint8Array): Uint8Array | null => {
    const read = parseHttpRequest(request)
    if (read === 'incomplete' && /^[A-Z]+ /.test(new TextDecoder('latin1').decode(request.subarray(0, 10)))) return null
    return textResponse(200, name, typeof read !== 'string' && read.message.method === 'HEAD')
  }
  return typeof listenStreams(ns, port, (s) => (isTls ? secure(s, answer) : plain(s, answer))) !== 'number'
}

function plain(s: Stream, answer: (request: Uint8Array) => Uint8Array | null): void {
  let got: Uint8Array = new Uint8Array(0)
  s.events.onEnd = () => s.end()
  s.events.onData = (d) => {
    got = join(got, d)
    const reply = looksLikeTls(got) ? textResponse(400, 'Bad Request') : answer(got)
    if (reply === null) return
    s.write(reply)
    s.end()
  }
}

function secure(s: Stream, answer: (request: Uint8Array) => Uint8Array | null): void {
  const tls = new TlsSession(s, true)
  let got: Uint8Array = new Uint8Array(0)
  tls.onFailure = () => {
    s.write(textResponse(400, 'Client sent an HTTP request to an HTTPS server.'))
    s.end()
  }
  tls.onData = (d) => {
    got = join(got, d)
    const reply = answer(got)
    if (reply === null) return
    tls.write(reply)
    s.end()
  }
  s.events.onData = (d) => tls.receive(d)
}
