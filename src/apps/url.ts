/**
 * An http or https URL, taken apart as curl does: scheme, host, port, path with query.
 */

/** The parts. */
export interface HttpUrl {
  readonly scheme: 'http' | 'https'
  readonly host: string
  readonly port: number
  /** True when the URL names a port. */
  readonly hasPort: boolean
  /** Path and query; `/` at least. */
  readonly target: string
}

/** Reads a URL; without a scheme it is http. Null for what is none. */
export function parseUrl(text: string): HttpUrl | null {
  const m = /^(?:(https?):\/\/)?(?:[^@/?#]*@)?([^:/?#\s]+)(?::(\d{1,5}))?([/?][^#\s]*)?(?:#.*)?$/i.exec(text)
  if (m === null) return null
  const scheme = (m[1] ?? 'http').toLowerCase() as 'http' | 'https'
  const port = m[3] === undefined ? (scheme === 'https' ? 443 : 80) : Number(m[3])
  if (port > 65535) return null
  const rest = m[4] ?? '/'
  const target = rest.startsWith('/') ? rest : `/${rest}`
  return { scheme, host: m[2]!, port, hasPort: m[3] !== undefined, target }
}

/** The Host header: with the port when it is not the scheme's own. */
export function hostHeader(url: HttpUrl): string {
  return url.port === (url.scheme === 'https' ? 443 : 80) ? url.host : `${url.host}:${url.port}`
}
