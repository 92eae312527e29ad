/**
 * A connection as a process with an event loop sees it: bytes in, bytes out, an end; plain or under TLS.
 *
 * Everything runs in process context, woken by the socket. What cannot be written yet waits. TLS is the shape of TLS 1.3
 * without its cryptography (wire/tls.ts): ClientHello; ServerHello, ChangeCipherSpec and one protected record for the
 * server's part of the handshake; ChangeCipherSpec and Finished; then data.
 * Not modelled: half-closed connections that go on in one direction, close_notify.
 */
import { EAGAIN } from '../linux/errno.ts'
import type { Netns } from '../linux/netns.ts'
import { close, tcpAccept, tcpListen, tcpRecv, tcpSend, tcpStatus } from '../linux/socket/api.ts'
import { TCP_CLOSE, TCP_SYN_SENT } from '../linux/socket/tcp-const.ts'
import type { TcpSock } from '../linux/socket/tcp-sock.ts'
import {
  type ClientHello,
  emitClientHello,
  emitServerHello,
  emitTlsAlert,
  emitTlsData,
  emitTlsRecord,
  looksLikeTls,
  parseTlsRecords,
  TLS_ALERT,
  TLS_APPLICATION_DATA,
  TLS_CHANGE_CIPHER_SPEC,
  tlsPlain,
} from '../wire/tls.ts'

/** What a connection tells its owner. */
export interface StreamEvents {
  /** The handshake of TCP is done (for the side that connects). */
  onConnect?: () => void
  /** Plain bytes came. */
  onData?: (bytes: Uint8Array) => void
  /** The peer closed (errno 0), or the connection failed with a negative errno. */
  onEnd?: (errno: number) => void
}

/** EncryptedExtensions, Certificate, CertificateVerify and Finished of a server with one ECDSA certificate. */
const SERVER_FLIGHT_BYTES = 1200
/** Finished of the client. */
const FINISHED_BYTES = 36

/** One TCP connection. */
export class Stream {
  readonly sk: TcpSock
  events: StreamEvents = {}
  isConnected = false
  isOver = false
  private out: Uint8Array[] = []
  private isClosing = false

  constructor(sk: TcpSock) {
    this.sk = sk
    sk.onReadable = () => this.run()
    sk.onWritable = () => this.run()
  }

  /** Sends, or keeps what does not fit yet. */
  write(bytes: Uint8Array): void {
    if (this.isOver) return
    this.out.push(bytes)
    this.flush()
  }

  /** Closes once everything is sent. */
  end(): void {
    this.isClosing = true
    this.flush()
  }

  /** Looks at the socket: called when it woke, and once by whoever made it. */
  run(): void {
    if (this.isOver) return
    const { sk } = this
    if (sk.state === TCP_SYN_SENT) return
    if (sk.state === TCP_CLOSE && !this.isConnected) {
      this.over(tcpStatus(sk))
      return
    }
    if (!this.isConnected) {
      this.isConnected = true
      this.events.onConnect?.()
    }
    this.flush()
    while (!this.isOver) {
      const d = tcpRecv(sk)
      if (d === EAGAIN) return
      if (typeof d === 'number' || d.length === 0) {
        this.over(typeof d === 'number' ? d : 0)
        return
      }
      this.events.onData?.(d)
    }
  }

  private over(errno: number): void {
    if (this.isOver) return
    this.isOver = true
    close(this.sk)
    this.events.onEnd?.(errno)
  }

  private flush(): void {
    while (this.out.length > 0 && !this.isOver && this.sk.state !== TCP_SYN_SENT) {
      const n = tcpSend(this.sk, this.out[0]!)
      if (n === EAGAIN) return
      if (n < 0) {
        this.over(n)
        return
      }
      if (n === this.out[0]!.length) this.out.shift()
      else this.out[0] = this.out[0]!.subarray(n)
    }
    if (this.isClosing && this.out.length === 0 && !this.isOver) {
      this.isOver = true
      close(this.sk)
    }
  }
}

/** Listens; every accepted connection is handed over. @returns the listener or a negative errno */
export function listenStreams(ns: Netns, port: number, onStream: (s: Stream) => void): TcpSock | number {
  const l = tcpListen(ns, { ip: 0, port }, 128)
  if (typeof l === 'number') return l
  l.onReadable = () => {
    for (;;) {
      const c = tcpAccept(l)
      if (typeof c === 'number') return
      const s = new Stream(c)
      s.isConnected = true
      onStream(s)
      s.run()
    }
  }
  return l
}

/** One side of TLS on a stream. */
export class TlsSession {
  /** Called with the plain bytes. */
  onData: (bytes: Uint8Array) => void = () => undefined
  /** Called when the handshake is done. */
  onReady: () => void = () => undefined
  /** Called when the peer sent an alert or something that is not TLS. */
  onFailure: (why: string) => void = () => undefined
  isReady = false
  private readonly stream: Stream
  private readonly isServer: boolean
  private buffer: Uint8Array = new Uint8Array(0)

  constructor(stream: Stream, isServer: boolean) {
    this.stream = stream
    this.isServer = isServer
  }

  /** The client's first flight. */
  hello(hello: ClientHello): void {
    this.stream.write(emitClientHello(hello, randomBytes(this.stream)))
  }

  /** Sends plain bytes. */
  write(plain: Uint8Array): void {
    this.stream.write(emitTlsData(plain))
  }

  /** Ends the connection with a fatal alert. */
  alert(description: number): void {
    this.stream.write(emitTlsAlert(description))
    this.stream.end()
  }

  /** Takes bytes of the connection. */
  receive(bytes: Uint8Array): void {
    this.buffer = join(this.buffer, bytes)
    const { records, bytes: used } = parseTlsRecords(this.buffer)
    if (records.length === 0 && !looksLikeTls(this.buffer) && !this.isReady && this.buffer.length >= 2) {
      this.onFailure('wrong version number')
      return
    }
    this.buffer = this.buffer.slice(used)
    for (const r of records) {
      if (r.type === TLS_ALERT) {
        this.onFailure(`alert ${r.fragment[1] ?? 0}`)
        return
      }
      if (r.type === TLS_CHANGE_CIPHER_SPEC) continue
      if (r.type !== TLS_APPLICATION_DATA) {
        if (this.isServer) this.answerHello()
      } else if (this.isReady) this.onData(tlsPlain(r))
      else this.finish()
    }
  }

  private answerHello(): void {
    this.stream.write(emitServerHello(randomBytes(this.stream)))
    this.stream.write(emitTlsRecord(TLS_CHANGE_CIPHER_SPEC, [1]))
    this.stream.write(emitTlsData(new Uint8Array(SERVER_FLIGHT_BYTES)))
  }

  /** The client got the server's flight, or the server the client's Finished. */
  private finish(): void {
    if (!this.isServer) {
      this.stream.write(emitTlsRecord(TLS_CHANGE_CIPHER_SPEC, [1]))
      this.stream.write(emitTlsData(new Uint8Array(FINISHED_BYTES)))
    }
    this.isReady = true
    this.onReady()
  }
}

/** Two pieces as one. */
export function join(a: Uint8Array, b: Uint8Array): Uint8Array {
  if (a.length === 0) return b
  const out = new Uint8Array(a.length + b.length)
  out.set(a)
  out.set(b, a.length)
  return out
}

function randomBytes(s: Stream): Uint8Array {
  const { random } = s.sk.ns.world
  return Uint8Array.from({ length: 64 }, () => random.below(256))
}
