/**
 * curl 7.88: one HTTP or HTTPS exchange per URL, with the messages and exit codes of the real one.
 *
 * -v -k -i -I -f -L -s -S -X -H -d -A -m -o /dev/null -w --resolve --connect-timeout -4. Exit codes 3 (bad URL), 6 (name),
 * 7 (connect), 22 (-f), 28 (timeout), 35 (TLS), 47 (redirects), 52 (empty reply), 56 (reset), 1 (not HTTP). The progress
 * meter is never drawn, times are virtual. HTTPS needs -k: whether a certificate is valid is cryptography, UNMODELLED, as
 * are HTTP/2, proxies, cookies and the lines about certificates that -v would print.
 * Source: curl src/tool_operate.c, lib/{connect,http,url}.c.
 */
import { parseIpv4 } from '../addr/index.ts'
import type { Netns } from '../linux/netns.ts'
import { runTool, strerror, ToolExit, type ToolResult, unmodelled } from '../linux/tools/result.ts'
import { bodyOf, type HttpHeader, type HttpRequest, type HttpResponse, headerOf } from '../wire/http.ts'
import { type CurlOptions, readCurlOptions } from './curl-options.ts'
import { type HttpAnswer, httpExchange } from './http-client.ts'
import { type ProcessFiles, Resolver, UnmodelledDns } from './resolver.ts'
import { type HttpUrl, hostHeader, parseUrl } from './url.ts'

const NS_PER_S = 1_000_000_000
const NS_PER_MS = 1_000_000
const MAX_REDIRECTS = 50
const HTTP_VERSION_NOT_SUPPORTED = 1
const ECONNRESET = -104

/** Runs `curl ARGV`. */
export function curl(ns: Netns, argv: readonly string[], files: ProcessFiles): ToolResult {
  const run = new Curl(ns, files)
  const r = runTool(() => {
    try {
      run.main(argv)
    } catch (e) {
      if (e instanceof UnmodelledDns) unmodelled(e.message)
      throw e
    }
    return ''
  })
  if (r.status === 0) return { status: run.status, stdout: run.out, stderr: run.err }
  return { ...r, stdout: run.out, stderr: run.err + r.stderr }
}

class Curl {
  status = 0
  out = ''
  err = ''
  private readonly ns: Netns
  private readonly resolver: Resolver
  private connections = 0

  constructor(ns: Netns, files: ProcessFiles) {
    this.ns = ns
    this.resolver = new Resolver(ns, files)
  }

  main(argv: readonly string[]): void {
    const o = readCurlOptions(argv)
    if (o.output !== null && o.output !== '/dev/null' && o.output !== '-') unmodelled(`curl -o ${o.output}`)
    if (o.urls.length === 0) throw new ToolExit(2, "curl: try 'curl --help' or 'curl --manual' for more information")
    for (const url of o.urls) this.transfer(url, o)
  }

  private transfer(text: string, o: CurlOptions): void {
    if (/^(?!https?:)[a-z]+:\/\//i.test(text)) unmodelled(`curl ${text}`)
    let url = parseUrl(text)
    const method = o.method || (o.isHead ? 'HEAD' : o.data === null ? 'GET' : 'POST')
    for (let n = 0; ; n++) {
      if (url === null || n > MAX_REDIRECTS) {
        if (url === null) this.fail(o, 3, 'URL using bad/illegal format or missing URL')
        else this.fail(o, 47, `Maximum (${MAX_REDIRECTS}) redirects followed`)
        return
      }
      const answer = this.exchange(url, method, o)
      if (answer === null) return
      const location = headerOf(answer.headers, 'Location')
      const isRedirect = location !== null && answer.status >= 300 && answer.status < 400
      if (!isRedirect || !o.isFollowing) return
      this.verbose(o, `* Issue another request to this URL: '${absolute(location, url)}'\n`)
      url = parseUrl(absolute(location, url))
    }
  }

  private exchange(url: HttpUrl, method: string, o: CurlOptions): HttpResponse | null {
    const address = this.addressOf(url, o)
    if (address === null) {
      this.fail(o, 6, `Could not resolve host: ${url.host}`)
      return null
    }
    if (url.scheme === 'https' && !o.isInsecure) unmodelled('verifying a certificate: give curl -k')
    const request = requestOf(url, method, o)
    this.verbose(o, `*   Trying ${address}:${url.port}...\n`)
    const isNamed = parseIpv4(url.host) === null
    const a = httpExchange(this.ns, {
      ...{ ip: parseIpv4(address)!, port: url.port, request },
      serverName: url.scheme === 'http' ? null : isNamed ? url.host : '',
      connectNs: o.connectTimeoutS * NS_PER_S,
      totalNs: o.maxTimeS * NS_PER_S,
    })
    if (!a.connected) {
      this.connectFailed(url, address, a, o)
      return null
    }
    this.verbose(o, `* Connected to ${url.host} (${address}) port ${url.port} (#${this.connections})\n`)
    const problem = this.problemOf(a, url, o)
    if (problem !== null) {
      this.fail(o, problem[0], problem[1])
      return null
    }
    this.show(request, a.response!, url, address, a, o)
    this.connections++
    return a.response!
  }

  private addressOf(url: HttpUrl, o: CurlOptions): string | null {
    const given = o.resolve.get(`${url.host.toLowerCase()}:${url.port}`)
    if (given !== undefined) {
      this.verbose(o, `* Added ${url.host}:${url.port}:${given} to DNS cache\n`)
      this.verbose(o, `* Hostname ${url.host} was found in DNS cache\n`)
      return given
    }
    const info = this.resolver.addresses(url.host)
    if (info.error === null) {
      return info.addresses[0] ?? unmodelled(`connecting to ${url.host}, which has IPv6 addresses only`)
    }
    this.verbose(o, `* Could not resolve host: ${url.host}\n* Closing connection 0\n`)
    return null
  }

  private connectFailed(url: HttpUrl, address: string, a: HttpAnswer, o: CurlOptions): void {
    const { port } = url
    if (a.isTimeout && o.connectTimeoutS < o.maxTimeS) {
      const limit = o.connectTimeoutS * 1000
      const text = `Failed to connect to ${url.host} port ${port} after ${limit} ms: Timeout was reached`
      this.verbose(o, `* ipv4 connect timeout after ${limit}ms, move on!\n* ${text}\n* Closing connection 0\n`)
      this.fail(o, 28, text)
      return
    }
    if (a.isTimeout) {
      const text = `Connection timed out after ${o.maxTimeS * 1000 + 1} milliseconds`
      this.verbose(o, `* ${text}\n* Closing connection 0\n`)
      this.fail(o, 28, text)
      return
    }
    const ms = Math.floor(a.connectedNs / NS_PER_MS)
    const why = strerror(a.errno)
    const text = `Failed to connect to ${url.host} port ${port} after ${ms} ms: Couldn't connect to server`
    const where =
      a.errno === -101 ? `Immediate connect fail for ${address}` : `connect to ${address} port ${port} failed`
    this.verbose(o, `* ${where}: ${why}\n* ${text}\n* Closing connection 0\n`)
    this.fail(o, 7, text)
  }

  private problemOf(a: HttpAnswer, url: HttpUrl, o: CurlOptions): readonly [number, string] | null {
    if (a.tlsFailure === 'wrong version number')
      return [35, 'OpenSSL/3.0.19: error:0A00010B:SSL routines::wrong version number']
    if (a.tlsFailure === 'alert 112')
      return [35, 'OpenSSL/3.0.19: error:0A000458:SSL routines::tlsv1 unrecognized name']
    if (a.tlsFailure !== null) return [35, `OpenSSL/3.0.19: error:SSL routines::${a.tlsFailure}`]
    if (a.isTimeout) return [28, `Operation timed out after ${o.maxTimeS * 1000} milliseconds with 0 bytes received`]
    if (a.errno === ECONNRESET && !a.secured)
      return [35, `OpenSSL SSL_connect: Connection reset by peer in connection to ${url.host}:${url.port} `]
    if (a.errno !== 0) return [56, `Recv failure: ${strerror(a.errno)}`]
    if (!a.secured) return [35, `OpenSSL SSL_connect: SSL_ERROR_SYSCALL in connection to ${url.host}:${url.port} `]
    if (a.response === null && a.raw.length === 0) return [52, 'Empty reply from server']
    if (a.response === null) return [HTTP_VERSION_NOT_SUPPORTED, 'Received HTTP/0.9 when not allowed']
    return null
  }

  private show(
    request: HttpRequest,
    response: HttpResponse,
    url: HttpUrl,
    address: string,
    a: HttpAnswer,
    o: CurlOptions,
  ): void {
    const start = `HTTP/1.1 ${response.status} ${response.reason}`
    const lines = [start, ...response.headers.map(([n, v]) => `${n}: ${v}`), '']
    const sent = [`${request.method} ${request.target} HTTP/1.1`, ...request.headers.map(([n, v]) => `${n}: ${v}`), '']
    this.verbose(o, sent.map((l) => `> ${l}\n`).join(''))
    if (request.body.length > 0) this.verbose(o, `} [${request.body.length} bytes data]\n`)
    const isError = o.isFailing && response.status >= 400
    this.verbose(
      o,
      lines
        .slice(0, isError ? -1 : undefined)
        .map((l) => `< ${l}\n`)
        .join(''),
    )
    if (isError) this.verbose(o, `* The requested URL returned error: ${response.status}\n`)
    else if (response.body.length > 0) this.verbose(o, `{ [${response.body.length} bytes data]\n`)
    const isRedirected = o.isFollowing && response.status >= 300 && response.status < 400
    if (o.hasHeaders || o.isHead) this.out += lines.map((l) => `${l}\r\n`).join('')
    if (!isError && !isRedirected && o.output !== '/dev/null') this.out += new TextDecoder().decode(response.body)
    const isClosed = /close/i.test(headerOf(response.headers, 'Connection') ?? '') || isError
    this.verbose(
      o,
      isClosed
        ? `* Closing connection ${this.connections}\n`
        : `* Connection #${this.connections} to host ${url.host} left intact\n`,
    )
    if (isError) this.fail(o, 22, `The requested URL returned error: ${response.status}`)
    if (!isRedirected) this.out += writeOut(o.writeOut, response, address, url, a)
  }

  private verbose(o: CurlOptions, text: string): void {
    if (o.isVerbose) this.err += text
  }

  private fail(o: CurlOptions, status: number, text: string): void {
    this.status = status
    if (!o.isSilent || o.showsError) this.err += `curl: (${status}) ${text}\n`
  }
}

/** The request in the order in which curl writes its fields; -H replaces one of its own, or removes it when empty. */
function requestOf(url: HttpUrl, method: string, o: CurlOptions): HttpRequest {
  const own: HttpHeader[] = [
    ['Host', hostHeader(url)],
    ['User-Agent', o.agent],
    ['Accept', '*/*'],
  ]
  const body = o.data === null ? new Uint8Array(0) : bodyOf(o.data)
  const given = o.headers.map((h) => /^([^:;]+)(?::\s*(.*)|;)$/.exec(h)).filter((m) => m !== null)
  const hostGiven = given.find((m) => m[1]!.toLowerCase() === 'host')
  const headers = own.flatMap(([name, value]): HttpHeader[] => {
    if (name === 'Host' && hostGiven !== undefined) return [['Host', hostGiven[2] ?? '']]
    return given.some((m) => m[1]!.toLowerCase() === name.toLowerCase()) ? [] : [[name, value]]
  })
  for (const m of given) if (m !== hostGiven && m[2] !== '') headers.push([m[1]!, m[2] ?? ''])
  const has = (name: string): boolean => headers.some(([n]) => n.toLowerCase() === name)
  if (body.length > 0) {
    headers.push(['Content-Length', String(body.length)])
    if (!has('content-type')) headers.push(['Content-Type', 'application/x-www-form-urlencoded'])
  }
  return { method, target: url.target, headers, body }
}

function absolute(location: string, from: HttpUrl): string {
  if (/^https?:\/\//i.test(location)) return location
  const origin = `${from.scheme}://${hostHeader(from)}`
  return location.startsWith('/') ? `${origin}${location}` : `${origin}${from.target.replace(/[^/]*$/, '')}${location}`
}

function writeOut(format: string, r: HttpResponse, address: string, url: HttpUrl, a: HttpAnswer): string {
  const values: { readonly [name: string]: string } = {
    http_code: String(r.status),
    response_code: String(r.status),
    remote_ip: address,
    remote_port: String(url.port),
    local_port: String(a.sport),
    size_download: String(r.body.length),
    redirect_url: r.status >= 300 && r.status < 400 ? absolute(headerOf(r.headers, 'Location') ?? '', url) : '',
    scheme: url.scheme.toUpperCase(),
    url_effective: `${url.scheme}://${hostHeader(url)}${url.target}`,
  }
  return format
    .replaceAll(/%\{(\w+)\}/g, (_, name: string) => values[name] ?? unmodelled(`curl -w %{${name}}`))
    .replaceAll('\\n', '\n')
    .replaceAll('\\t', '\t')
}
