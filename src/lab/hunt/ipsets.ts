/**
 * ipsets: the types that Felix and kube-proxy's IPVS mode use, with elements that the lab's traffic meets.
 *
 * Not generated: types that the recorded kernel was built without (hash:net,net, hash:net,port,net, hash:ip,mark, hash:mac),
 * timeouts (their remaining seconds depend on the moment), comments, counters on nested sets.
 */
import { formatIpv4 } from '../../addr/ipv4.ts'
import type { Draft } from './draft.ts'

const PORTS = [80, 443, 53, 8080, 5201, 30080]

/** Adds sets to the namespaces that will filter. */
export function buildIpsets(d: Draft): void {
  if (!d.about('ipset') && !d.dice.chance(8)) return
  for (const ns of d.netns) {
    if (!d.routers.has(ns) && !d.dice.chance(25)) continue
    const lines: string[] = []
    const sets: { name: string; type: string }[] = []
    for (let n = d.dice.between(1, 3); n > 0; n--) {
      const name = `s${sets.length}`
      const type = d.dice.pick([
        'hash:ip',
        'hash:ip',
        'hash:net',
        'hash:net',
        'hash:ip,port',
        'hash:ip,port,ip',
        'hash:ip,port,net',
        'hash:net,port',
        'hash:net,iface',
        'bitmap:port',
      ])
      sets.push({ name, type })
      lines.push(`create ${name} ${type}${createOptions(d, type)}`)
      const seen = new Set<string>()
      for (let k = d.dice.below(6); k > 0; k--) {
        const e = element(d, type, ns)
        if (seen.has(e)) continue
        seen.add(e)
        lines.push(`add -exist ${name} ${e}${type.includes('net') && d.dice.chance(10) ? ' nomatch' : ''}`)
      }
    }
    if (d.dice.chance(20)) {
      lines.push('create l0 list:set size 8')
      for (const s of sets) if (!s.type.startsWith('bitmap')) lines.push(`add l0 ${s.name}`)
    }
    d.ipset[ns] = `${lines.join('\n')}\n`
    d.sets.set(ns, sets)
  }
}

function createOptions(d: Draft, type: string): string {
  if (type === 'bitmap:port') return ' range 0-40000'
  let out = ''
  if (type === 'hash:ip' && d.dice.chance(10)) out += ' netmask 24'
  if (d.dice.chance(30)) out += ' counters'
  return out
}

function port(d: Draft): string {
  return `${d.dice.pick(['tcp', 'udp', 'tcp', 'udp', 'sctp'])}:${d.dice.pick(PORTS)}`
}

function net(d: Draft): string {
  return d
    .anyPrefix()
    .replace('/32', '')
    .replace(/^0\.0\.0\.0\/.*/, '128.0.0.0/1')
}

function element(d: Draft, type: string, ns: string): string {
  const host = (): string => formatIpv4(d.anyHostIp())
  switch (type) {
    case 'hash:ip':
      return host()
    case 'hash:net':
      return net(d)
    case 'hash:ip,port':
      return `${host()},${port(d)}`
    case 'hash:ip,port,ip':
      return `${host()},${port(d)},${host()}`
    case 'hash:ip,port,net':
      return `${host()},${port(d)},${net(d)}`
    case 'hash:net,port':
      return `${net(d)},${port(d)}`
    case 'hash:net,iface':
      return `${net(d)},${d.of(ns).length > 0 ? d.dice.pick(d.of(ns)).dev : 'eth0'}`
    default:
      return String(d.dice.pick(PORTS))
  }
}

/** The `src,dst` words of a set match for a type. */
export function setDirections(d: Draft, type: string): string {
  const n = type === 'list:set' ? 1 : type.slice(type.indexOf(':') + 1).split(',').length
  return Array.from({ length: n }, () => d.dice.pick(['src', 'dst'])).join(',')
}
