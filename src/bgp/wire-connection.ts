/**
 * Messages over a stream of bytes: what simulated and real TCP connections have in common.
 */
import { type BgpMessage, BgpStream, type CodecContext, encodeMessage, INITIAL_CONTEXT } from '../wire/bgp.ts'
import type { ConnectionHandler } from './clock.ts'

/** Turns bytes into messages and back; the owner brings the bytes. */
export class WireConnection {
  handler: ConnectionHandler | null = null
  private readonly stream = new BgpStream()
  private sendContext: CodecContext = INITIAL_CONTEXT
  private receiveContext: CodecContext = INITIAL_CONTEXT
  private reading = false

  /** After the OPENs. */
  agree(send: CodecContext, receive: CodecContext): void {
    this.sendContext = send
    this.receiveContext = receive
  }

  /** A message as bytes. */
  encode(m: BgpMessage): Uint8Array {
    return encodeMessage(m, this.sendContext)
  }

  /** Bytes came: their messages go to the handler. Stops when the handler has gone. */
  push(bytes: Uint8Array): void {
    this.stream.push(bytes)
    if (this.reading) return
    this.reading = true
    while (this.handler !== null) {
      const m = this.stream.next(this.receiveContext)
      if (m === null) break
      this.handler.received(m)
      // what follows an error cannot be told apart
      if (m.type === 'ERROR') break
    }
    this.reading = false
  }
}
