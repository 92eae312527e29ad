/**
 * The Corefile: server blocks and their plugins, read from the text of a ConfigMap.
 *
 *     .:53 {
 *         kubernetes cluster.local in-addr.arpa ip6.arpa { pods insecure ... }
 *         forward . /etc/resolv.conf
 *     }
 *
 * Not modelled: import, snippets, environment variables, views; a Corefile that holds them is said to be unmodelled.
 * Sources: github.com/coredns/caddy caddyfile/{lexer,parse}.go, kubeadm app/phases/addons/dns/manifests.go (the default).
 */

/** One plugin of a server block. */
export interface CorefilePlugin {
  readonly name: string
  readonly args: readonly string[]
  /** Lines of its own block, split into words. */
  readonly block: readonly (readonly string[])[]
  /** Line in the Corefile, from 1. */
  readonly line: number
}

/** One server block. */
export interface ServerBlock {
  /** Lower case, without the trailing dot; the root is empty. */
  readonly zones: readonly string[]
  readonly port: number
  readonly plugins: readonly CorefilePlugin[]
}

/** A parsed Corefile. */
export interface Corefile {
  readonly blocks: readonly ServerBlock[]
  /** What in it podwalk cannot follow: words of a sentence, empty when nothing. */
  readonly unmodelled: readonly string[]
}

const DNS_PORT = 53

/** The Corefile that kubeadm writes, for a DNS domain. */
export function defaultCorefile(dnsDomain: string): string {
  return `.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes ${dnsDomain} in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success ${dnsDomain}
       disable denial ${dnsDomain}
    }
    loop
    reload
    loadbalance
}
`
}

/** Reads a Corefile; what cannot be followed is named, never thrown. */
export function parseCorefile(text: string): Corefile {
  const blocks: ServerBlock[] = []
  const unmodelled: string[] = []
  const lines = text.split('\n').map((line) => words(line))
  let i = 0
  while (i < lines.length) {
    const head = lines[i]!
    if (head.length === 0) {
      i++
      continue
    }
    if (head[0] === 'import' || head[0]!.startsWith('(')) unmodelled.push(`${head[0]} in line ${i + 1} of the Corefile`)
    if (head.at(-1) !== '{') {
      i++
      continue
    }
    const { plugins, next } = readBlock(lines, i + 1)
    for (const p of plugins) if (p.name === 'import') unmodelled.push(`import in line ${p.line} of the Corefile`)
    const keys = head.slice(0, -1).map((k) => k.replace(/,$/, ''))
    blocks.push({ zones: keys.map(zoneOf), port: portOf(keys[0] ?? '.'), plugins })
    i = next
  }
  return { blocks, unmodelled }
}

function readBlock(lines: readonly (readonly string[])[], start: number): { plugins: CorefilePlugin[]; next: number } {
  const plugins: CorefilePlugin[] = []
  let i = start
  for (; i < lines.length; i++) {
    const line = lines[i]!
    if (line.length === 0) continue
    if (line[0] === '}') return { plugins, next: i + 1 }
    const hasBlock = line.at(-1) === '{'
    const block: string[][] = []
    const at = i + 1
    if (hasBlock) {
      for (i++; i < lines.length && lines[i]![0] !== '}'; i++) if (lines[i]!.length > 0) block.push([...lines[i]!])
    }
    plugins.push({ name: line[0]!, args: line.slice(1, hasBlock ? -1 : undefined), block, line: at })
  }
  return { plugins, next: i }
}

function words(line: string): string[] {
  const out: string[] = []
  for (const [, quoted, word] of line.matchAll(/"([^"]*)"|(\S+)/g)) {
    if (word?.startsWith('#')) break
    out.push(quoted ?? word!)
  }
  return out
}

function zoneOf(key: string): string {
  const host = key.replace(/^dns:\/\//, '').replace(/:\d+$/, '')
  return host.replace(/\.$/, '').toLowerCase()
}

function portOf(key: string): number {
  const port = /:(\d+)$/.exec(key)?.[1]
  return port === undefined ? DNS_PORT : Number(port)
}

/** The longest of `zones` that `name` is in, or null; names in lower case, the root is empty. */
export function matchZone(zones: readonly string[], name: string): string | null {
  let best: string | null = null
  for (const zone of zones) {
    if (zone !== '' && name !== zone && !name.endsWith(`.${zone}`)) continue
    if (best === null || zone.length > best.length) best = zone
  }
  return best
}
