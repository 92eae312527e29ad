/**
 * What of DNS, load balancers, ingress and the programs in pods is modelled, one sentence each; the tables of their pages
 * come from here.
 */

/** A declared feature. */
export interface ServiceFeature {
  readonly name: string
  readonly support: 'supported' | 'partial' | 'not'
  readonly sentence: string
}

/** A page of the docs and the features that it shows. */
export interface FeaturePage {
  /** Marker in the page. */
  readonly name: string
  /** Row of the README's table. */
  readonly title: string
  readonly page: string
  readonly features: readonly ServiceFeature[]
}

const yes = (name: string, sentence: string): ServiceFeature => ({ name, support: 'supported', sentence })
const part = (name: string, sentence: string): ServiceFeature => ({ name, support: 'partial', sentence })
const no = (name: string, sentence: string): ServiceFeature => ({ name, support: 'not', sentence })

const DNS: readonly ServiceFeature[] = [
  yes(
    'kubernetes plugin',
    'A, AAAA, SRV, PTR, CNAME, TXT, NS and SOA of Services, endpoints and pods, NXDOMAIN and no data with the SOA.',
  ),
  yes(
    'Corefile',
    "Server blocks, kubernetes, hosts, forward, loadbalance and the TTL cap of cache, from the ConfigMap or kubeadm's own.",
  ),
  part('cache', 'Answers are made anew each time: TTLs do not count down, nothing is stale.'),
  part(
    'forward',
    'Names outside are what spec.upstreamDNS says, a single label is NXDOMAIN; anything else is UNMODELLED.',
  ),
  no('other plugins', 'rewrite, template, autopath, file, view and the like make the answer UNMODELLED.'),
  yes('UDP and TCP', 'Truncation and compression as in miekg/dns, EDNS payload size, TCP after TC.'),
  yes('resolv.conf', 'dnsPolicy, dnsConfig, search list, ndots; hostAliases, hostname and subdomain in /etc/hosts.'),
  part(
    'resolver',
    'glibc (A and AAAA together, 5 s, two rounds) and musl for images that say alpine; not rotate, single-request, nscd.',
  ),
  part(
    'clusters without DNS',
    'Without a kube-dns Service in the manifests the answers are implied and come without packets.',
  ),
  no('NodeLocal DNSCache', 'The cache on the node and its NOTRACK rules.'),
  no('node resolvers', 'The resolv.conf of nodes and of pods with dnsPolicy Default.'),
]

const INGRESS: readonly ServiceFeature[] = [
  yes(
    'ingress-nginx',
    "Servers, locations in nginx' order, use-regex and rewrite-target, 308 to https, 404 and 503, service-upstream, whitelists.",
  ),
  part(
    'Traefik',
    'Ingress routers by rule length, entry points, redirects, strictPrefixMatching; middlewares are UNMODELLED.',
  ),
  part(
    'HAProxy controller',
    "haproxytech's maps of hosts and paths, 302 to https; annotations that change routing are UNMODELLED.",
  ),
  yes(
    'HTTPRoute',
    'Matches by path, header, query and method with the precedence of the specification, weights, ReferenceGrant.',
  ),
  yes('filters', 'RequestHeaderModifier, ResponseHeaderModifier, RequestRedirect, URLRewrite.'),
  no('other filters', 'RequestMirror, ExtensionRef and CORS make the answer UNMODELLED.'),
  yes(
    'Gateway',
    'Listeners by port and hostname, allowedRoutes, sectionName; data planes by label, or by class and image.',
  ),
  yes('TLS termination', 'By the server name of a ClientHello that is real; records have real lengths.'),
  yes('TLS passthrough', 'ssl-passthrough of ingress-nginx and TLSRoute: the bytes of the connection are relayed.'),
  no(
    'cryptography',
    'Keys and certificates: what protected records carry is plain text, and certificates are never verified.',
  ),
  part('HTTP', 'HTTP/1.1 with bodies by length or chunks; not HTTP/2, gRPC, WebSocket, retries of a response.'),
  no(
    'canary, authentication, snippets',
    'Annotations of ingress-nginx that lead elsewhere make the answer UNMODELLED.',
  ),
  no('ExternalName backends', 'Controllers would resolve the name themselves.'),
]

const BALANCERS: readonly ServiceFeature[] = [
  yes(
    'MetalLB allocation',
    'IPAddressPools, asked addresses, pinned pools with priority, shared addresses, autoAssign, avoidBuggyIPs.',
  ),
  yes(
    'MetalLB layer 2',
    'Election by the hash of node and address, node selectors, interfaces, ARP from a packet socket, gratuitous ARP.',
  ),
  yes('failover', 'Events node-down and link-down of the Cluster object: five seconds later the next node announces.'),
  no('MetalLB BGP', 'Addresses that only a BGPAdvertisement would announce are UNMODELLED from outside.'),
  yes(
    'cloud, ipMode VIP',
    'The fabric hands the packet to a healthy node by the hash of the 5-tuple, addresses unchanged.',
  ),
  part(
    'cloud, ipMode Proxy',
    'A machine that accepts TCP and connects to a NodePort in turn; not UDP, not the PROXY protocol.',
  ),
  yes('health checks', 'Nodes without a 200 on the healthCheckNodePort get nothing with externalTrafficPolicy Local.'),
  no('kube-vip, IPv6 addresses', 'Only IPv4 addresses are announced.'),
]

const PROGRAMS: readonly ServiceFeature[] = [
  yes('nslookup', 'BIND 9.18: a name or an address, -type, another server.'),
  part('dig', '+short with +search, -x, @server and a type.'),
  yes('ping', 'By name too, with the names that reverse lookups bring.'),
  yes(
    'curl',
    'HTTP and HTTPS with -v -k -i -I -f -L -s -S -X -H -d -A -m -o -w --resolve --connect-timeout; exit codes of 7.88.',
  ),
  part('nc', 'OpenBSD nc -z -v -u -w -n -p, and a session with standard input; not -l.'),
  part('wget', '-qO- with -T and --no-check-certificate.'),
]

/** Every page. */
export const FEATURE_PAGES: readonly FeaturePage[] = [
  { name: 'dns', title: 'DNS', page: 'docs/dns.md', features: DNS },
  { name: 'ingress', title: 'Ingress and Gateway API', page: 'docs/ingress.md', features: INGRESS },
  { name: 'load-balancers', title: 'Load balancers', page: 'docs/load-balancers.md', features: BALANCERS },
  { name: 'programs', title: 'Programs in pods', page: 'docs/dns.md', features: PROGRAMS },
]
