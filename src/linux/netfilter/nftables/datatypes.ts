/**
 * The data types of nftables: names, sizes, byte order, symbols.
 *
 * nft: src/datatype.c, src/meta.c, src/ct.c, src/fib.c, src/proto.c (1.0.6). Names of protocols come from /etc/protocols,
 * of services from /etc/services, of device groups and realms from /etc/iproute2: the usual entries stand here.
 *
 * Not modelled: host names as addresses (no resolver: they are refused as nft refuses an unknown one), user and group
 * names other than root.
 */

/** How a value is read and printed when no symbol fits. */
export type BaseFormat =
  | 'dec'
  | 'hex'
  | 'mark'
  | 'string'
  | 'ipv4'
  | 'ipv6'
  | 'mac'
  | 'ifindex'
  | 'time'
  | 'verdict'
  | 'classid'
  | 'ctlabel'
  | 'date'
  | 'hour'

/** struct datatype */
export interface DataType {
  readonly name: string
  readonly desc: string
  /** Bits; 0 where the expression says it. */
  readonly size: number
  /** Byte order in registers: numbers of the host, or of the network. */
  readonly hostOrder: boolean
  readonly format: BaseFormat
  /** True for flags that are combined with commas. */
  readonly bitmask: boolean
  readonly symbols: readonly (readonly [string, number])[]
  /** What nft says of an unknown symbol. */
  readonly error: string
}

const TYPES = new Map<string, DataType>()

function type(
  name: string,
  desc: string,
  size: number,
  format: BaseFormat,
  o: Partial<Pick<DataType, 'hostOrder' | 'bitmask' | 'symbols' | 'error'>> = {},
): DataType {
  const t: DataType = {
    name,
    desc,
    size,
    format,
    hostOrder: o.hostOrder ?? false,
    bitmask: o.bitmask ?? false,
    symbols: o.symbols ?? [],
    error: o.error ?? `Could not parse ${desc}`,
  }
  TYPES.set(name, t)
  return t
}

/** /etc/protocols */
export const PROTOCOL_NAMES: readonly (readonly [string, number])[] = [
  ['ip', 0],
  ['icmp', 1],
  ['igmp', 2],
  ['ggp', 3],
  ['ipencap', 4],
  ['st', 5],
  ['tcp', 6],
  ['egp', 8],
  ['igp', 9],
  ['pup', 12],
  ['udp', 17],
  ['hmp', 20],
  ['xns-idp', 22],
  ['rdp', 27],
  ['iso-tp4', 29],
  ['dccp', 33],
  ['xtp', 36],
  ['ddp', 37],
  ['idpr-cmtp', 38],
  ['ipv6', 41],
  ['ipv6-route', 43],
  ['ipv6-frag', 44],
  ['idrp', 45],
  ['rsvp', 46],
  ['gre', 47],
  ['esp', 50],
  ['ah', 51],
  ['skip', 57],
  ['ipv6-icmp', 58],
  // an alias: read, never printed
  ['icmpv6', 58],
  ['ipv6-nonxt', 59],
  ['ipv6-opts', 60],
  ['rspf', 73],
  ['vmtp', 81],
  ['eigrp', 88],
  ['ospf', 89],
  ['ax.25', 93],
  ['ipip', 94],
  ['etherip', 97],
  ['encap', 98],
  ['pim', 103],
  ['ipcomp', 108],
  ['vrrp', 112],
  ['l2tp', 115],
  ['isis', 124],
  ['sctp', 132],
  ['fc', 133],
  ['mobility-header', 135],
  ['udplite', 136],
  ['mpls-in-ip', 137],
  ['manet', 138],
  ['hip', 139],
  ['shim6', 140],
  ['wesp', 141],
  ['rohc', 142],
  ['ethernet', 143],
  ['mptcp', 262],
]

/** /etc/services, the names that rules use. */
export const SERVICE_NAMES: readonly (readonly [string, number])[] = [
  ['echo', 7],
  ['discard', 9],
  ['daytime', 13],
  ['chargen', 19],
  ['ftp-data', 20],
  ['ftp', 21],
  ['ssh', 22],
  ['telnet', 23],
  ['smtp', 25],
  ['time', 37],
  ['domain', 53],
  ['bootps', 67],
  ['bootpc', 68],
  ['tftp', 69],
  ['http', 80],
  ['www', 80],
  ['kerberos', 88],
  ['pop3', 110],
  ['sunrpc', 111],
  ['auth', 113],
  ['ntp', 123],
  ['netbios-ns', 137],
  ['netbios-dgm', 138],
  ['netbios-ssn', 139],
  ['imap2', 143],
  ['snmp', 161],
  ['snmp-trap', 162],
  ['bgp', 179],
  ['ldap', 389],
  ['https', 443],
  ['microsoft-ds', 445],
  ['isakmp', 500],
  ['syslog', 514],
  ['submission', 587],
  ['ldaps', 636],
  ['domain-s', 853],
  ['imaps', 993],
  ['pop3s', 995],
  ['openvpn', 1194],
  ['ms-sql-s', 1433],
  ['nfs', 2049],
  ['mysql', 3306],
  ['rdp', 3389],
  ['sip', 5060],
  ['postgresql', 5432],
  ['x11', 6000],
  ['redis', 6379],
  ['http-alt', 8080],
]

export const T_INTEGER = type('integer', 'integer', 0, 'dec')
export const T_XINTEGER = type('integer', 'integer', 0, 'hex')
TYPES.set('integer', T_INTEGER)
export const T_STRING = type('string', 'string', 0, 'string', { hostOrder: true })
export const T_INVALID = type('invalid', 'invalid', 0, 'dec')
export const T_VERDICT = type('verdict', 'netfilter verdict', 0, 'verdict')
export const T_NFPROTO = type('nf_proto', 'netfilter protocol', 8, 'dec', {
  symbols: [
    ['ipv4', 2],
    ['ipv6', 10],
  ],
})
export const T_BITMASK = type('bitmask', 'bitmask', 0, 'dec', { bitmask: true })
export const T_LLADDR = type('ll_addr', 'link layer address', 0, 'mac')
export const T_IPV4 = type('ipv4_addr', 'IPv4 address', 32, 'ipv4')
export const T_IPV6 = type('ipv6_addr', 'IPv6 address', 128, 'ipv6')
export const T_INET_PROTO = type('inet_proto', 'Internet protocol', 8, 'dec', {
  symbols: PROTOCOL_NAMES,
  error: 'Could not resolve protocol name',
})
export const T_SERVICE = type('inet_service', 'internet network service', 16, 'dec', {
  error: 'Could not resolve service: Servname not supported for ai_socktype',
})
export const T_MARK = type('mark', 'packet mark', 32, 'mark', { hostOrder: true })
export const T_TIME = type('time', 'relative time', 64, 'time', { hostOrder: true })
export const T_BOOLEAN = type('boolean', 'boolean type', 1, 'dec', {
  symbols: [
    ['exists', 1],
    ['missing', 0],
  ],
})
export const T_ETHERADDR = type('ether_addr', 'Ethernet address', 48, 'mac')
export const T_ETHERTYPE = type('ether_type', 'Ethernet protocol', 16, 'hex', {
  symbols: [
    ['ip', 0x800],
    ['arp', 0x806],
    ['ip6', 0x86dd],
    ['8021q', 0x8100],
    ['8021ad', 0x88a8],
    ['vlan', 0x8100],
  ],
})
export const T_ARPOP = type('arp_op', 'ARP operation', 16, 'dec', {
  symbols: [
    ['request', 1],
    ['reply', 2],
    ['rrequest', 3],
    ['rreply', 4],
    ['inrequest', 8],
    ['inreply', 9],
    ['nak', 10],
  ],
})
export const T_IFINDEX = type('iface_index', 'network interface index', 32, 'ifindex', {
  hostOrder: true,
  error: 'Interface does not exist',
})
export const T_IFNAME = type('ifname', 'network interface name', 128, 'string', { hostOrder: true })
export const T_ARPHRD = type('iface_type', 'network interface type', 16, 'dec', {
  hostOrder: true,
  symbols: [
    ['ether', 1],
    ['ppp', 512],
    ['ipip', 768],
    ['ipip6', 769],
    ['loopback', 772],
    ['sit', 776],
    ['ipgre', 778],
  ],
})
export const T_UID = type('uid', 'user ID', 32, 'dec', { hostOrder: true, error: 'User does not exist' })
export const T_GID = type('gid', 'group ID', 32, 'dec', { hostOrder: true, error: 'Group does not exist' })
export const T_PKTTYPE = type('pkt_type', 'packet type', 8, 'dec', {
  hostOrder: true,
  symbols: [
    ['host', 0],
    ['unicast', 0],
    ['broadcast', 1],
    ['multicast', 2],
    ['other', 3],
  ],
})
export const T_REALM = type('realm', 'routing realm', 32, 'dec', { hostOrder: true, symbols: [['cosmos', 0]] })
export const T_CLASSID = type('classid', 'TC classid', 32, 'classid', { hostOrder: true })
export const T_DEVGROUP = type('devgroup', 'devgroup name', 32, 'dec', { hostOrder: true, symbols: [['default', 0]] })
export const T_DAY = type('day', 'Day of week of packet reception', 8, 'dec', {
  hostOrder: true,
  symbols: [
    ['Sunday', 0],
    ['Monday', 1],
    ['Tuesday', 2],
    ['Wednesday', 3],
    ['Thursday', 4],
    ['Friday', 5],
    ['Saturday', 6],
  ],
})
export const T_HOUR = type('hour', 'Hour of day of packet reception', 64, 'hour', { hostOrder: true })
export const T_DATE = type('time', 'Relative time of packet reception', 64, 'date', { hostOrder: true })
TYPES.set('time', T_TIME)
export const T_CGROUPV2 = type('cgroupsv2', 'cgroupsv2 path', 64, 'dec', { hostOrder: true })
export const T_TCPFLAG = type('tcp_flag', 'TCP flag', 8, 'hex', {
  bitmask: true,
  symbols: [
    ['fin', 1],
    ['syn', 2],
    ['rst', 4],
    ['psh', 8],
    ['ack', 16],
    ['urg', 32],
    ['ecn', 64],
    ['cwr', 128],
  ],
})
export const T_DSCP = type('dscp', 'Differentiated Services Code Point', 6, 'hex', {
  symbols: [
    ['cs0', 0],
    ['cs1', 8],
    ['cs2', 16],
    ['cs3', 24],
    ['cs4', 32],
    ['cs5', 40],
    ['cs6', 48],
    ['cs7', 56],
    ['df', 0],
    ['be', 0],
    ['lephb', 1],
    ['af11', 10],
    ['af12', 12],
    ['af13', 14],
    ['af21', 18],
    ['af22', 20],
    ['af23', 22],
    ['af31', 26],
    ['af32', 28],
    ['af33', 30],
    ['af41', 34],
    ['af42', 36],
    ['af43', 38],
    ['va', 44],
    ['ef', 46],
  ],
})
export const T_ECN = type('ecn', 'Explicit Congestion Notification', 2, 'hex', {
  symbols: [
    ['not-ect', 0],
    ['ect1', 1],
    ['ect0', 2],
    ['ce', 3],
  ],
})
export const T_MH_TYPE = type('mh_type', 'Mobility Header Type', 8, 'dec', {
  symbols: [
    ['binding-refresh-request', 0],
    ['home-test-init', 1],
    ['careof-test-init', 2],
    ['home-test', 3],
    ['careof-test', 4],
    ['binding-update', 5],
    ['binding-acknowledgement', 6],
    ['binding-error', 7],
    ['fast-binding-update', 8],
    ['fast-binding-acknowledgement', 9],
    ['fast-binding-advertisement', 10],
    ['experimental-mobility-header', 11],
    ['home-agent-switch-message', 12],
  ],
})
export const T_ICMP_TYPE = type('icmp_type', 'ICMP type', 8, 'dec', {
  symbols: [
    ['echo-reply', 0],
    ['destination-unreachable', 3],
    ['source-quench', 4],
    ['redirect', 5],
    ['echo-request', 8],
    ['router-advertisement', 9],
    ['router-solicitation', 10],
    ['time-exceeded', 11],
    ['parameter-problem', 12],
    ['timestamp-request', 13],
    ['timestamp-reply', 14],
    ['info-request', 15],
    ['info-reply', 16],
    ['address-mask-request', 17],
    ['address-mask-reply', 18],
  ],
})
export const T_ICMP_CODE = type('icmp_code', 'icmp code', 8, 'dec', {
  symbols: [
    ['net-unreachable', 0],
    ['host-unreachable', 1],
    ['prot-unreachable', 2],
    ['port-unreachable', 3],
    ['frag-needed', 4],
    ['net-prohibited', 9],
    ['host-prohibited', 10],
    ['admin-prohibited', 13],
  ],
})
export const T_ICMPV6_CODE = type('icmpv6_code', 'icmpv6 code', 8, 'dec', {
  symbols: [
    ['no-route', 0],
    ['admin-prohibited', 1],
    ['addr-unreachable', 3],
    ['port-unreachable', 4],
    ['policy-fail', 5],
    ['reject-route', 6],
  ],
})
export const T_ICMPX_CODE = type('icmpx_code', 'icmpx code', 8, 'dec', {
  symbols: [
    ['port-unreachable', 1],
    ['admin-prohibited', 3],
    ['no-route', 0],
    ['host-unreachable', 2],
  ],
})
export const T_ICMPV6_TYPE = type('icmpv6_type', 'ICMPv6 type', 8, 'dec', {
  symbols: [
    ['destination-unreachable', 1],
    ['packet-too-big', 2],
    ['time-exceeded', 3],
    ['parameter-problem', 4],
    ['echo-request', 128],
    ['echo-reply', 129],
    ['mld-listener-query', 130],
    ['mld-listener-report', 131],
    ['mld-listener-done', 132],
    ['mld-listener-reduction', 132],
    ['nd-router-solicit', 133],
    ['nd-router-advert', 134],
    ['nd-neighbor-solicit', 135],
    ['nd-neighbor-advert', 136],
    ['nd-redirect', 137],
    ['router-renumbering', 138],
    ['ind-neighbor-solicit', 141],
    ['ind-neighbor-advert', 142],
    ['mld2-listener-report', 143],
  ],
})
export const T_IGMP_TYPE = type('igmp_type', 'IGMP type', 8, 'dec', {
  symbols: [
    ['membership-query', 0x11],
    ['membership-report-v1', 0x12],
    ['membership-report-v2', 0x16],
    ['membership-report-v3', 0x22],
    ['leave-group', 0x17],
  ],
})
export const T_CT_STATE = type('ct_state', 'conntrack state', 32, 'hex', {
  hostOrder: true,
  bitmask: true,
  symbols: [
    ['invalid', 1],
    ['established', 2],
    ['related', 4],
    ['new', 8],
    ['untracked', 64],
  ],
})
export const T_CT_DIR = type('ct_dir', 'conntrack direction', 8, 'dec', {
  symbols: [
    ['original', 0],
    ['reply', 1],
  ],
})
export const T_CT_STATUS = type('ct_status', 'conntrack status', 32, 'hex', {
  hostOrder: true,
  bitmask: true,
  symbols: [
    ['expected', 1],
    ['seen-reply', 2],
    ['assured', 4],
    ['confirmed', 8],
    ['snat', 16],
    ['dnat', 32],
    ['dying', 512],
  ],
})
export const T_CT_LABEL = type('ct_label', 'conntrack label', 128, 'ctlabel', { hostOrder: true, bitmask: true })
export const T_CT_EVENT = type('ct_event', 'conntrack event bits', 32, 'dec', {
  hostOrder: true,
  bitmask: true,
  symbols: [
    ['new', 1],
    ['related', 2],
    ['destroy', 4],
    ['reply', 8],
    ['assured', 16],
    ['protoinfo', 32],
    ['helper', 64],
    ['mark', 128],
    ['label', 1024],
  ],
})
export const T_FIB_ADDR = type('fib_addrtype', 'fib address type', 32, 'dec', {
  hostOrder: true,
  symbols: [
    ['unspec', 0],
    ['unicast', 1],
    ['local', 2],
    ['broadcast', 3],
    ['anycast', 4],
    ['multicast', 5],
    ['blackhole', 6],
    ['unreachable', 7],
    ['prohibit', 8],
  ],
})

/** datatype_lookup_byname */
export function typeByName(name: string): DataType | undefined {
  return name === 'invalid' ? undefined : TYPES.get(name)
}

/** An integer type of a given width, in host or network order. */
export function integerType(bits: number, hostOrder = false): DataType {
  return { ...T_INTEGER, size: bits, hostOrder }
}

/** Bytes that a value of `bits` takes in a register key: 32-bit registers. */
export function registerWords(bits: number): number {
  return Math.max(1, Math.ceil(bits / 32))
}
