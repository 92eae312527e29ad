/**
 * What is asked of CoreDNS, the real one when it is recorded and ours when it is compared, and with which Corefiles.
 */
const Z = 'cluster.local'
const S = `svc.${Z}`

/** `NAME TYPE [tcp|ednsN]`. */
export const QUESTIONS: readonly string[] = [
  // first: an alias that leads there would leave it in the real server's cache
  'example.com A',
  ...['A', 'AAAA', 'SRV', 'TXT', 'MX', 'CNAME', 'PTR', 'NS', 'SOA'].map((t) => `api.shop.${S} ${t}`),
  ...['A', 'AAAA', 'SRV', 'TXT'].map((t) => `db.shop.${S} ${t}`),
  ...['A', 'SRV'].map((t) => `db-0.db.shop.${S} ${t}`),
  `db-7.db.shop.${S} A`,
  `_http._tcp.api.shop.${S} SRV`,
  `_metrics._tcp.api.shop.${S} SRV`,
  `_http._udp.api.shop.${S} SRV`,
  `_pg._tcp.db.shop.${S} SRV`,
  `_pg._tcp.db.shop.${S} A`,
  `noport.shop.${S} SRV`,
  ...['A', 'SRV'].map((t) => `portless.shop.${S} ${t}`),
  `nobody.shop.${S} A`,
  `nobody.shop.${S} AAAA`,
  ...['A', 'AAAA', 'CNAME', 'SRV'].map((t) => `inside.shop.${S} ${t}`),
  ...['A', 'CNAME'].map((t) => `outside.shop.${S} ${t}`),
  `_x._tcp.outside.shop.${S} SRV`,
  `loop.shop.${S} A`,
  `missing.shop.${S} A`,
  `missing.shop.${S} SRV`,
  `missing.shop.${S} SOA`,
  `missing.shop.${S} MX`,
  `api.nowhere.${S} A`,
  `a.b.c.api.shop.${S} A`,
  `shop.${S} A`,
  `empty.${S} A`,
  `nowhere.${S} A`,
  `${S} A`,
  ...['A', 'SOA', 'NS', 'TXT'].map((t) => `${Z} ${t}`),
  `pod.${Z} A`,
  `other.${Z} A`,
  `dns-version.${Z} TXT`,
  `ns.dns.${Z} A`,
  `10-244-0-3.shop.pod.${Z} A`,
  `10-244-0-3.shop.pod.${Z} AAAA`,
  `10-9-9-9.shop.pod.${Z} A`,
  `10-244-0-3.nowhere.pod.${Z} A`,
  `not-an-address.shop.pod.${Z} A`,
  `shop.pod.${Z} A`,
  '1.20.96.10.in-addr.arpa PTR',
  '10.0.96.10.in-addr.arpa PTR',
  '1.0.250.10.in-addr.arpa PTR',
  '99.99.96.10.in-addr.arpa PTR',
  '1.20.96.10.in-addr.arpa A',
  `NoPort.Shop.${S} A`,
  `DB.Shop.${S} CNAME`,
  `Missing.Shop.${S} A`,
  `many.shop.${S} A`,
  `many.shop.${S} A tcp`,
  `many.shop.${S} A edns1232`,
  `many.shop.${S} SRV`,
  `api.shop.${S} A edns4096`,
  `missing.shop.${S} A edns1232`,
]

/** Corefiles by name; none has loadbalance, whose order is random. */
export const VARIANTS: { readonly [name: string]: string } = {
  kubeadm: `.:53 {
  errors
  kubernetes ${Z} in-addr.arpa ip6.arpa {
    pods insecure
    fallthrough in-addr.arpa ip6.arpa
    ttl 30
  }
  forward . /etc/resolv.conf
  cache 30
}
`,
  verified: `.:53 {
  kubernetes ${Z} in-addr.arpa {
    pods verified
  }
}
`,
  narrow: `${Z} 10.in-addr.arpa {
  kubernetes {
    namespaces shop
    endpoint_pod_names
    ignore empty_service
    fallthrough
  }
}
`,
  hosts: `.:53 {
  hosts {
    192.0.2.7 api.shop.${S} example.com
    192.0.2.8 api.shop.${S}
    ttl 60
    fallthrough svc.${Z}
  }
  kubernetes ${Z} {
    ttl 5
  }
}
`,
}
