/**
 * curl, nc and wget say what the real ones said, to the same servers (recorded by test/support/recorders/apps.sh).
 * Milliseconds that a connection took are the machine's and are not compared.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { parseIpv4 } from '../../../src/addr/index.ts'
import { findApp } from '../../../src/apps/registry.ts'
import { listenStreams, type Stream } from '../../../src/apps/stream.ts'
import { inetAddrAdd } from '../../../src/linux/device/inet.ts'
import { createLink, setUp } from '../../../src/linux/device/ops.ts'
import type { Netns } from '../../../src/linux/netns.ts'
import { serveUdp } from '../../../src/linux/socket/apps.ts'
import { execTool } from '../../../src/linux/tools/exec.ts'
import { World } from '../../../src/linux/world.ts'
import { ROOT } from '../../arch/sources.ts'

const TRANSCRIPT = join(ROOT, 'test/fixtures/apps/transcript.txt')
const encoder = new TextEncoder()

function response(status: string, body: string, more = ''): Uint8Array {
  const head = `HTTP/1.1 ${status}\r\n${more === '' ? 'Content-Type: text/plain\r\n' : more}Content-Length: ${body.length}\r\n`
  return encoder.encode(`${head}Connection: close\r\n\r\n${body}`)
}

/** The servers of the recorder. */
function twoHosts(): Netns {
  const w = new World()
  const [a, b] = [w.addNetns('a'), w.addNetns('b')]
  const ends = createLink({ ns: a, name: 'v0' }, { ns: b, name: 'v1' }, 1500)
  for (const [i, dev] of ends.entries()) {
    setUp(dev.ns.lo)
    inetAddrAdd(dev, { ip: parseIpv4(`10.77.0.${i + 1}`)!, prefixLength: 24 })
  }
  for (const dev of ends) setUp(dev)
  execTool(b, 'iptables -A INPUT -p tcp --dport 8090 -j DROP'.split(' '))
  const answering = (bytes: Uint8Array) => (s: Stream) => {
    s.events.onData = () => {
      s.write(bytes)
      s.end()
    }
  }
  listenStreams(b, 8080, answering(response('200 OK', 'web\n')))
  listenStreams(b, 8081, answering(response('404 Not Found', 'none\n')))
  listenStreams(b, 8082, answering(response('302 Found', '', 'Location: http://10.77.0.2:8080/x\r\n')))
  listenStreams(b, 8083, answering(new Uint8Array(0)))
  listenStreams(b, 8084, (s) => {
    // unread data at the time of close: Linux resets, as SO_LINGER 0 does in the recorder
    s.run = () => s.end()
  })
  listenStreams(b, 8085, answering(encoder.encode('hello there\n')))
  listenStreams(b, 8086, () => undefined)
  serveUdp(b, 0, 5353, { respond: (d) => d })
  return a
}

function shellWords(line: string): string[] {
  return [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, word]) => quoted ?? word!)
}

describe('the real transcript', () => {
  const blocks = readFileSync(TRANSCRIPT, 'utf8').split(/^\$ /m).slice(1)
  const plain = (text: string): string => text.replaceAll(/ after \d+ ms/g, ' after N ms')
  const files = { resolvConf: 'nameserver 10.77.0.9\n', hosts: '127.0.0.1 localhost\n10.77.0.2 web web.shop\n' }

  it.each(blocks.map((b) => [b.slice(0, b.indexOf('\n')), b.slice(b.indexOf('\n') + 1)] as const))(
    '%s',
    (command, text) => {
      const [name, ...argv] = shellWords(command)
      const r = findApp(name!)!(twoHosts(), argv, { ...files, libc: 'glibc', unmodelled: [] }, '')
      const stderr = r.stderr.replaceAll(/^/gm, '! ').replace(/! $/, '')
      expect(plain(`${r.stdout.replaceAll('\r\n', '\\r\n')}${stderr}rc=${r.status}\n`)).toBe(plain(text))
    },
  )
})
