/**
 * A TCP proxy's relay: bytes both ways between an accepted connection and one that it opens.
 *
 * An end or an error on one side closes the other; what had been written is sent first.
 */
import { EINPROGRESS } from '../linux/errno.ts'
import type { Netns } from '../linux/netns.ts'
import { tcpConnect } from '../linux/socket/api.ts'
import { Stream } from './stream.ts'

/** Opens a connection from `ns`. @returns the stream (run it once its events are set), or a negative errno */
export function openStream(ns: Netns, ip: number, port: number): Stream | number {
  const c = tcpConnect(ns, { ip, port })
  if (typeof c === 'number') return c
  const s = new Stream(c.sk)
  return c.errno === 0 || c.errno === EINPROGRESS ? s : c.errno
}

/**
 * Connects to `ip:port` and relays.
 * @param first bytes of the client that were read already
 * @returns false when not even a SYN left: the client is closed
 */
export function relay(ns: Netns, client: Stream, ip: number, port: number, first?: Uint8Array): boolean {
  const upstream = openStream(ns, ip, port)
  if (typeof upstream === 'number') {
    client.end()
    return false
  }
  if (first !== undefined) upstream.write(first)
  client.events = { onData: (d) => upstream.write(d), onEnd: () => upstream.end() }
  upstream.events = { onData: (d) => client.write(d), onEnd: () => client.end() }
  upstream.run()
  return true
}
