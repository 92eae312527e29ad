/**
 * wget 1.21 with -qO-: prints the body of one URL.
 *
 * `wget -q -O - [-T SECONDS] [-t TRIES] [--no-check-certificate] URL`. Exit status 4 for the network, 8 for an error
 * status, 5 never (TLS needs --no-check-certificate: certificates are UNMODELLED). Redirects are not followed: UNMODELLED,
 * as is everything that wget says without -q.
 * Source: wget src/{http,exits}.c.
 */
import { parseIpv4 } from '../addr/index.ts'
import type { Netns } from '../linux/netns.ts'
import { runTool, ToolExit, type ToolResult, unmodelled } from '../linux/tools/result.ts'
import { httpExchange } from './http-client.ts'
import { type ProcessFiles, Resolver, UnmodelledDns } from './resolver.ts'
import { hostHeader, parseUrl } from './url.ts'

const NS_PER_S = 1_000_000_000
const DEFAULT_TIMEOUT_S = 900
const STATUS_NETWORK = 4
const STATUS_SERVER = 8

/** Runs `wget ARGV`. */
export function wget(ns: Netns, argv: readonly string[], files: ProcessFiles): ToolResult {
  return runTool(() => {
    const { url: text, timeoutS, isInsecure } = readOptions(argv)
    const url = parseUrl(text)
    if (url === null) throw new ToolExit(1, '')
    if (url.scheme === 'https' && !isInsecure) unmodelled('verifying a certificate: give wget --no-check-certificate')
    const resolver = new Resolver(ns, files)
    let address: string | undefined
    try {
      address = resolver.addresses(url.host).addresses[0]
    } catch (e) {
      if (e instanceof UnmodelledDns) unmodelled(e.message)
      throw e
    }
    if (address === undefined) throw new ToolExit(STATUS_NETWORK, '')
    const headers = [
      ['Host', hostHeader(url)],
      ['User-Agent', 'Wget/1.21.3'],
      ['Accept', '*/*'],
      ['Accept-Encoding', 'identity'],
      ['Connection', 'Keep-Alive'],
    ] as const
    const isNamed = parseIpv4(url.host) === null
    const a = httpExchange(ns, {
      ...{ ip: parseIpv4(address)!, port: url.port },
      serverName: url.scheme === 'http' ? null : isNamed ? url.host : '',
      request: { method: 'GET', target: url.target, headers, body: new Uint8Array(0) },
      ...{ connectNs: timeoutS * NS_PER_S, totalNs: timeoutS * NS_PER_S },
    })
    if (a.response === null) throw new ToolExit(STATUS_NETWORK, '')
    const { status } = a.response
    if (status >= 300 && status < 400) unmodelled('wget that follows a redirect')
    if (status >= 400) throw new ToolExit(STATUS_SERVER, '')
    return new TextDecoder().decode(a.response.body)
  })
}

function readOptions(argv: readonly string[]): { url: string; timeoutS: number; isInsecure: boolean } {
  let [url, timeoutS, isInsecure, isQuiet, isStdout] = ['', DEFAULT_TIMEOUT_S, false, false, false]
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i]!
    if (word === '-qO-') [isQuiet, isStdout] = [true, true]
    else if (word === '-q') isQuiet = true
    else if (word === '-O-' || (word === '-O' && argv[i + 1] === '-')) {
      isStdout = true
      if (word === '-O') i++
    } else if (word === '-qO' && argv[i + 1] === '-') {
      ;[isQuiet, isStdout] = [true, true]
      i++
    } else if (word === '--no-check-certificate') isInsecure = true
    else if (/^-T\d+$/.test(word)) timeoutS = Number(word.slice(2))
    else if (word === '-T') timeoutS = Number(argv[++i])
    else if (word.startsWith('--timeout=')) timeoutS = Number(word.slice('--timeout='.length))
    else if (word === '-t') i++
    else if (word.startsWith('-')) unmodelled(`wget ${word}`)
    else url = word
  }
  if (!isQuiet || !isStdout) unmodelled('wget without -qO-')
  return { url, timeoutS, isInsecure }
}
