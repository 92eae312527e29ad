/**
 * Names of well-known ports, as getservbyport(3) gives them: the lines of Debian's /etc/services that a cluster meets.
 *
 * Source: netbase 6.4, etc-services. Ports that are not here are printed as numbers.
 */

const TCP = 6
const UDP = 17

/** [name, port, protocols]. */
const NAMES: readonly (readonly [string, number, readonly number[]])[] = [
  ['ftp', 21, [TCP]],
  ['ssh', 22, [TCP]],
  ['telnet', 23, [TCP]],
  ['smtp', 25, [TCP]],
  ['domain', 53, [TCP, UDP]],
  ['tftp', 69, [UDP]],
  ['http', 80, [TCP]],
  ['kerberos', 88, [TCP, UDP]],
  ['pop3', 110, [TCP]],
  ['sunrpc', 111, [TCP, UDP]],
  ['ntp', 123, [UDP]],
  ['imap2', 143, [TCP]],
  ['snmp', 161, [TCP, UDP]],
  ['bgp', 179, [TCP]],
  ['ldap', 389, [TCP, UDP]],
  ['https', 443, [TCP, UDP]],
  ['snpp', 444, [TCP, UDP]],
  ['microsoft-ds', 445, [TCP, UDP]],
  ['submission', 587, [TCP]],
  ['ldaps', 636, [TCP, UDP]],
  ['imaps', 993, [TCP]],
  ['pop3s', 995, [TCP]],
  ['nfs', 2049, [TCP, UDP]],
  ['mysql', 3306, [TCP]],
  ['postgresql', 5432, [TCP]],
  ['mdns', 5353, [UDP]],
  ['amqp', 5672, [TCP]],
  ['redis', 6379, [TCP]],
  ['http-alt', 8080, [TCP, UDP]],
  ['tproxy', 8081, [TCP]],
]

/** getservbyname: null for a name that is not known. */
export function servicePort(name: string, protocol: number): number | null {
  return NAMES.find(([n, , p]) => n === name && p.includes(protocol))?.[1] ?? null
}

/** getservbyport, the number as text when there is no name. */
export function serviceName(port: number, protocol: number): string {
  return NAMES.find(([, n, p]) => n === port && p.includes(protocol))?.[0] ?? String(port)
}
