/**
 * kube-proxy's and kubenet's chains, small, over the lab's addresses: marks, services, endpoints with hairpin marks,
 * node ports, masquerade, rejects for services without endpoints. Backends are chosen by `statistic --mode nth`.
 */
import { formatIpv4 } from '../../addr/ipv4.ts'
import type { Draft } from './draft.ts'

/** A nat and a filter table as kube-proxy writes them. */
export function kubeProxy(d: Draft, ns: string): string {
  const services: string[] = []
  const chains: string[] = []
  const rules: string[] = []
  const filter: string[] = []
  const nodePorts: string[] = []
  const local = d.dice.chance(40)
  const hosts = d.hosts().filter((i) => i.ips.length > 0)
  for (let n = d.dice.between(1, 3); n > 0; n--) {
    const ip = (0x0a600000 + d.dice.between(1, 20)) | 0
    const proto = d.dice.chance(50) ? 6 : 17
    const word = proto === 6 ? 'tcp' : 'udp'
    const port = d.dice.pick([80, 443, 53])
    if (d.services.some((s) => s.ip === ip && s.port === port && s.proto === proto)) continue
    const backends =
      d.dice.chance(15) || hosts.length === 0
        ? []
        : d.dice
            .shuffle(hosts)
            .slice(0, d.dice.between(1, 3))
            .map((i) => ({ ip: i.ips[0]!, port: d.dice.pick([8080, 80, 5201]) }))
    d.services.push({ ip, port, proto, backends })
    const vip = formatIpv4(ip)
    const name = `SVC${d.services.length}`
    if (backends.length === 0) {
      filter.push(
        `-A KUBE-SERVICES -d ${vip}/32 -p ${word} -m comment --comment "${name} has no endpoints" -m ${word} --dport ${port} -j REJECT --reject-with icmp-port-unreachable`,
      )
      continue
    }
    chains.push(`:KUBE-${name} - [0:0]`)
    services.push(
      `-A KUBE-SERVICES -d ${vip}/32 -p ${word} -m comment --comment "${name} cluster IP" -m ${word} --dport ${port} -j KUBE-${name}`,
    )
    if (d.dice.chance(50))
      rules.push(
        `-A KUBE-${name} ! -s ${d.anyPrefix()} -d ${vip}/32 -p ${word} -m ${word} --dport ${port} -j KUBE-MARK-MASQ`,
      )
    backends.forEach((b, k) => {
      const sep = `KUBE-SEP-${name}-${k}`
      chains.push(`:${sep} - [0:0]`)
      const left = backends.length - k
      const choose = left > 1 ? ` -m statistic --mode nth --every ${left} --packet 0` : ''
      rules.push(`-A KUBE-${name} -m comment --comment "${name} -> ${formatIpv4(b.ip)}:${b.port}"${choose} -j ${sep}`)
      rules.push(`-A ${sep} -s ${formatIpv4(b.ip)}/32 -j KUBE-MARK-MASQ`)
      rules.push(`-A ${sep} -p ${word} -m ${word} -j DNAT --to-destination ${formatIpv4(b.ip)}:${b.port}`)
    })
    if (d.dice.chance(40)) {
      const nodePort = 30080 + d.services.length
      nodePorts.push(
        `-A KUBE-NODEPORTS -p ${word} -m ${word} --dport ${nodePort} -j KUBE-MARK-MASQ`,
        `-A KUBE-NODEPORTS -p ${word} -m ${word} --dport ${nodePort} -j KUBE-${name}`,
      )
      const mine = d.of(ns).find((i) => i.ips.length > 0)
      if (mine !== undefined) d.services.push({ ip: mine.ips[0]!, port: nodePort, proto, backends })
    }
  }
  const nat = [
    '*nat',
    ':PREROUTING ACCEPT [0:0]',
    ':INPUT ACCEPT [0:0]',
    ':OUTPUT ACCEPT [0:0]',
    ':POSTROUTING ACCEPT [0:0]',
    ':KUBE-SERVICES - [0:0]',
    ':KUBE-NODEPORTS - [0:0]',
    ':KUBE-POSTROUTING - [0:0]',
    ':KUBE-MARK-MASQ - [0:0]',
    ...chains,
    '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
    '-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
    '-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',
    '-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000',
    '-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN',
    '-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0',
    `-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE`,
    ...services,
    ...rules,
    ...nodePorts,
    `-A KUBE-SERVICES${local ? ' ! -d 127.0.0.0/8' : ''} -m comment --comment "node ports; last" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS`,
    ...(d.dice.chance(40)
      ? [
          `-A POSTROUTING ! -d 10.0.0.0/8 -m comment --comment "kubenet: SNAT for outbound traffic" -m addrtype ! --dst-type LOCAL -j MASQUERADE`,
        ]
      : []),
    'COMMIT',
    '',
  ]
  const filterText = [
    '*filter',
    ':INPUT ACCEPT [0:0]',
    `:FORWARD ${d.dice.chance(30) ? 'DROP' : 'ACCEPT'} [0:0]`,
    ':OUTPUT ACCEPT [0:0]',
    ':KUBE-SERVICES - [0:0]',
    ':KUBE-FORWARD - [0:0]',
    '-A INPUT -m conntrack --ctstate NEW -j KUBE-SERVICES',
    '-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD',
    '-A FORWARD -m conntrack --ctstate NEW -j KUBE-SERVICES',
    '-A OUTPUT -m conntrack --ctstate NEW -j KUBE-SERVICES',
    ...(d.dice.chance(70) ? ['-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP'] : []),
    '-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT',
    '-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
    ...filter,
    'COMMIT',
    '',
  ]
  return `${nat.join('\n')}${filterText.join('\n')}`
}
