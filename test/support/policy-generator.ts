/**
 * Random clusters with policies of every kind and all their fields, valid as the API server has it.
 *
 * Values come from small sets, so that selectors select, ports meet and blocks hold addresses. What a Calico selector means
 * is made together with its text (`meaning`), for the judge.
 */
import type { JudgeCluster, JudgePod } from './policy-judge.ts'

/** A source of choices: fast-check's, or a seeded generator. */
export interface Pick {
  /** 0 to n - 1. */
  int(n: number): number
}

type Fields = Record<string, unknown>
type Meaning = (labels: Record<string, string>) => boolean

const NAMESPACES = ['x', 'y', 'z']
const KEYS = ['app', 'tier', 'env']
const VALUES = ['a', 'b', 'c']
const PORT_NAMES = ['web', 'dns', 'pg']
const PORTS = [53, 80, 81, 443, 8080]
const PROTOCOLS = ['TCP', 'UDP', 'SCTP']
const CIDRS = [
  '10.244.0.0/24',
  '10.244.0.2/32',
  '10.244.0.0/30',
  '10.0.0.0/8',
  '0.0.0.0/0',
  '192.0.2.0/25',
  '198.51.100.7/32',
  '172.18.0.0/16',
]
const CIDRS6 = ['fd00::/64', 'fd00::2/128', '::/0', '2001:db8::/32']
const INSIDE: Record<string, string[]> = {
  '10.244.0.0/24': ['10.244.0.2/32', '10.244.0.4/30'],
  '10.0.0.0/8': ['10.244.0.0/30', '10.244.0.0/16'],
  '0.0.0.0/0': ['10.0.0.0/8', '192.0.2.0/24', '172.16.0.0/12'],
  '192.0.2.0/25': ['192.0.2.0/30'],
  '::/0': ['fd00::/64', '2001:db8::/48'],
}

/** Ends that questions are asked about beside the pods and nodes. */
export const EXTERNAL = ['192.0.2.1', '198.51.100.7', '10.244.9.9', '203.0.113.5']
/** And of IPv6. */
export const EXTERNAL6 = ['2001:db8::5', 'fd00:1::1']

/** A random cluster. */
export function randomCluster(pick: Pick): JudgeCluster {
  return new Maker(pick).cluster()
}

class Maker {
  private readonly pick: Pick
  private hasTier = false
  private readonly meanings = new Map<string, Meaning>([
    ['', () => true],
    ['all()', () => true],
  ])

  constructor(pick: Pick) {
    this.pick = pick
  }

  private of<T>(list: readonly T[]): T {
    return list[this.pick.int(list.length)]!
  }

  /** True once in n. */
  private once(n: number): boolean {
    return this.pick.int(n) === 0
  }

  private list<T>(max: number, make: () => T, min = 0): T[] {
    return Array.from({ length: min + this.pick.int(max - min + 1) }, make)
  }

  private some<T>(list: readonly T[]): T[] {
    return list.filter(() => this.once(2))
  }

  cluster(): JudgeCluster {
    const namespaces: Record<string, Record<string, string>> = {}
    for (const name of NAMESPACES) namespaces[name] = { 'kubernetes.io/metadata.name': name, ...this.labels() }
    const serviceAccounts: Record<string, Record<string, string>> = {}
    for (const ns of NAMESPACES) for (const sa of ['default', 'robot']) serviceAccounts[`${ns}/${sa}`] = this.labels()
    const isDual = this.once(3)
    const pods = this.list(6, () => null, 2).map((_, i) => this.pod(i, isDual))
    const nodes = ['n1', 'n2'].map((name, i) => ({
      name,
      ip: `172.18.0.${i + 2}`,
      labels: { ...this.labels(), ...(i === 0 && { 'node-role.kubernetes.io/control-plane': '' }) } as Record<
        string,
        string
      >,
    }))
    const services = this.list(2, () => null).map((_, i) => ({
      namespace: this.of(NAMESPACES),
      name: `s${i}`,
      endpoints: this.some(pods).map((p) => ({ ip: p.ips[0]!, protocol: this.of(PROTOCOLS), port: this.of(PORTS) })),
    }))
    const systems = this.of([
      ['k8s'],
      ['k8s', 'admin'],
      ['k8s', 'admin', 'calico'],
      ['calico'],
      ['k8s', 'cilium'],
      ['cilium'],
      ['k8s', 'admin', 'calico', 'cilium'],
    ])
    const objects: Fields[] = []
    if (systems.includes('calico')) objects.push(...this.calicoBackground())
    this.hasTier = objects.some((o) => o.kind === 'Tier')
    const count = 1 + this.pick.int(5)
    for (let i = 0; i < count; i++) objects.push(this.policy(this.of(systems), `p${i}`, objects))
    const priorities = new Set<number>()
    for (const o of objects) {
      // equal priorities are undefined upstream
      const spec = o.spec as { priority?: number }
      if (spec?.priority === undefined) continue
      while (priorities.has(spec.priority)) spec.priority++
      priorities.add(spec.priority)
    }
    return {
      namespaces,
      serviceAccounts,
      pods,
      nodes,
      services,
      objects,
      meaning: (text, labels) => this.meanings.get(text)!(labels),
    }
  }

  private pod(i: number, isDual: boolean): JudgePod {
    const hostNetwork = this.once(8)
    const node = this.of(['n1', 'n2'])
    const ports = this.some(PORT_NAMES).map((name) => ({
      name,
      protocol: this.of(['TCP', 'TCP', 'UDP']),
      port: this.of(PORTS),
    }))
    return {
      namespace: this.of(NAMESPACES),
      name: `pod${i}`,
      labels: this.labels(),
      ports,
      ips: hostNetwork
        ? [node === 'n1' ? '172.18.0.2' : '172.18.0.3']
        : isDual
          ? [`10.244.0.${i + 1}`, `fd00::${i + 1}`]
          : [`10.244.0.${i + 1}`],
      node,
      hostNetwork,
      serviceAccount: this.of(['default', 'robot']),
    }
  }

  private labels(): Record<string, string> {
    return Object.fromEntries(this.some(KEYS).map((k) => [k, this.of(VALUES)]))
  }

  private policy(system: string, name: string, objects: readonly Fields[]): Fields {
    switch (system) {
      case 'k8s':
        return {
          apiVersion: 'networking.k8s.io/v1',
          kind: 'NetworkPolicy',
          metadata: { name, namespace: this.of(NAMESPACES) },
          spec: this.kubernetesSpec(),
        }
      case 'admin':
        return this.adminPolicy(name, objects)
      case 'calico':
        return this.calicoPolicy(name)
      default:
        return this.ciliumPolicy(name)
    }
  }

  // ------------------------------------------------------------ Kubernetes

  private selector(keys: readonly string[] = KEYS): Fields {
    const selector: Fields = {}
    if (this.once(2)) selector.matchLabels = { [this.of(keys)]: this.of(VALUES) }
    if (this.once(3)) {
      selector.matchExpressions = this.list(
        2,
        () => {
          const operator = this.of(['In', 'NotIn', 'Exists', 'DoesNotExist'])
          const needsValues = operator === 'In' || operator === 'NotIn'
          return {
            key: this.of(keys),
            operator,
            ...(needsValues && { values: this.list(2, () => this.of(VALUES), 1) }),
          }
        },
        1,
      )
    }
    return selector
  }

  private namespaceSelector(): Fields {
    return this.once(3) ? { matchLabels: { 'kubernetes.io/metadata.name': this.of(NAMESPACES) } } : this.selector()
  }

  private ipBlock(): Fields {
    const cidr = this.of([...CIDRS, ...CIDRS6])
    const inside = INSIDE[cidr]
    return inside !== undefined && this.once(2) ? { cidr, except: this.list(2, () => this.of(inside), 1) } : { cidr }
  }

  private kubernetesSpec(): Fields {
    const peer = (): Fields => {
      const kind = this.pick.int(4)
      if (kind === 0) return { podSelector: this.selector() }
      if (kind === 1) return { namespaceSelector: this.namespaceSelector() }
      if (kind === 2) return { podSelector: this.selector(), namespaceSelector: this.namespaceSelector() }
      return { ipBlock: this.ipBlock() }
    }
    const port = (): Fields => {
      const fields: Fields = {}
      if (this.once(2)) fields.protocol = this.of(PROTOCOLS)
      const kind = this.pick.int(4)
      if (kind === 0) fields.port = this.of(PORT_NAMES)
      else if (kind < 3) fields.port = this.of(PORTS)
      if (kind === 2) fields.endPort = (fields.port as number) + this.of([0, 1, 28, 400, 8000])
      return fields
    }
    const rule = (side: string): Fields => {
      const fields: Fields = {}
      if (!this.once(4)) fields[side] = this.list(3, peer)
      if (this.once(2)) fields.ports = this.list(2, port)
      return fields
    }
    const spec: Fields = {}
    if (!this.once(5)) spec.podSelector = this.once(3) ? {} : this.selector()
    if (this.once(2))
      spec.policyTypes = this.of([['Ingress'], ['Egress'], ['Ingress', 'Egress'], ['Egress', 'Ingress']])
    if (!this.once(3)) spec.ingress = this.list(2, () => rule('from'))
    if (!this.once(3)) spec.egress = this.list(2, () => rule('to'))
    return spec
  }

  // ------------------------------------------------------------ policy.networking.k8s.io

  private adminPolicy(name: string, objects: readonly Fields[]): Fields {
    const hasBaseline = objects.some((o) => o.kind === 'BaselineAdminNetworkPolicy')
    const kind = this.of([
      'ClusterNetworkPolicy',
      'AdminNetworkPolicy',
      ...(hasBaseline ? [] : ['BaselineAdminNetworkPolicy']),
    ])
    const isNew = kind === 'ClusterNetworkPolicy'
    const isBaseline = kind === 'BaselineAdminNetworkPolicy'
    const subject = (): Fields =>
      this.once(2)
        ? { namespaces: this.namespaceSelector() }
        : { pods: { namespaceSelector: this.namespaceSelector(), podSelector: this.selector() } }
    const rule = (side: 'from' | 'to'): Fields => {
      const peers = this.list(
        2,
        () => {
          const which = side === 'to' ? this.pick.int(4) : 0
          if (which === 1) return { networks: [...new Set(this.list(2, () => this.of([...CIDRS, ...CIDRS6]), 1))] }
          if (which === 2) return { nodes: this.selector() }
          return subject()
        },
        1,
      )
      const allowsNames = peers.every((p) => !('networks' in p) && !('nodes' in p))
      const actions = isNew ? ['Accept', 'Deny', 'Pass'] : isBaseline ? ['Allow', 'Deny'] : ['Allow', 'Deny', 'Pass']
      const fields: Fields = { action: this.of(actions), [side]: peers }
      if (this.once(2))
        fields[isNew ? 'protocols' : 'ports'] = this.list(
          2,
          () => (isNew ? this.protocol(allowsNames) : this.adminPort(allowsNames)),
          1,
        )
      return fields
    }
    const spec: Fields = { subject: subject() }
    if (!isBaseline) spec.priority = this.pick.int(900)
    if (isNew) spec.tier = this.of(['Admin', 'Baseline'])
    if (!this.once(3)) spec.ingress = this.list(2, () => rule('from'))
    if (!this.once(3)) spec.egress = this.list(2, () => rule('to'))
    return {
      apiVersion: `policy.networking.k8s.io/${isNew ? 'v1alpha2' : 'v1alpha1'}`,
      kind,
      metadata: { name: isBaseline ? 'default' : name },
      spec,
    }
  }

  private protocol(allowsNames: boolean): Fields {
    if (allowsNames && this.once(4)) return { destinationNamedPort: this.of(PORT_NAMES) }
    const start = this.of(PORTS)
    const destinationPort = this.once(2) ? { number: start } : { range: { start, end: start + 1 + this.pick.int(400) } }
    return { [this.of(['tcp', 'udp', 'sctp'])]: { destinationPort } }
  }

  private adminPort(allowsNames: boolean): Fields {
    if (allowsNames && this.once(4)) return { namedPort: this.of(PORT_NAMES) }
    const protocol = this.once(2) ? { protocol: this.of(PROTOCOLS) } : {}
    const start = this.of(PORTS)
    return this.once(2)
      ? { portNumber: { ...protocol, port: start } }
      : { portRange: { ...protocol, start, end: start + 1 + this.pick.int(400) } }
  }

  // ------------------------------------------------------------ Calico

  /** A selector's text; its meaning is remembered. */
  private calicoSelector(depth = 2): string {
    const { text, means } = this.calicoNode(depth)
    this.meanings.set(text, means)
    return text
  }

  private calicoNode(depth: number, isTop = true): { text: string; means: Meaning } {
    const kind = this.pick.int(depth > 0 ? 11 : 8)
    const key = this.of(KEYS)
    const value = this.of(VALUES)
    const q = this.of(["'", '"'])
    switch (kind) {
      case 0:
        // inside of a namespaceSelector, all() is "has a namespace": only used alone
        if (isTop) return { text: 'all()', means: () => true }
        return { text: `! has(${key})`, means: (l) => l[key] === undefined }
      case 1:
        return { text: `has(${key})`, means: (l) => l[key] !== undefined }
      case 2:
        return { text: `${key} != ${q}${value}${q}`, means: (l) => l[key] !== value }
      case 3:
        return { text: `${key} in { ${q}${value}${q}, 'b' }`, means: (l) => l[key] === value || l[key] === 'b' }
      case 4:
        return { text: `${key} not in {${q}${value}${q}}`, means: (l) => l[key] !== value }
      case 5:
        return { text: `${key} starts with ${q}${value}${q}`, means: (l) => l[key]?.startsWith(value) ?? false }
      case 6:
        return { text: `${key} contains ${q}${value}${q}`, means: (l) => l[key]?.includes(value) ?? false }
      case 7:
        return { text: `${key} == ${q}${value}${q}`, means: (l) => l[key] === value }
      case 8: {
        const of = this.calicoNode(depth - 1, false)
        return { text: `!(${of.text})`, means: (l) => !of.means(l) }
      }
      default: {
        const [a, b] = [this.calicoNode(depth - 1, false), this.calicoNode(depth - 1, false)]
        const isAnd = kind === 9
        return {
          text: isAnd
            ? `(${a.text}) && (${b.text})`
            : `(${a.text}) || ${b.text.includes('&&') ? `(${b.text})` : b.text}`,
          means: (l) => (isAnd ? a.means(l) && b.means(l) : a.means(l) || b.means(l)),
        }
      }
    }
  }

  private calicoBackground(): Fields[] {
    const found: Fields[] = []
    const apiVersion = 'projectcalico.org/v3'
    if (this.once(2))
      found.push({
        apiVersion,
        kind: 'GlobalNetworkSet',
        metadata: { name: 'g', labels: this.labels() },
        spec: { nets: this.list(2, () => this.of(CIDRS)) },
      })
    if (this.once(2))
      found.push({
        apiVersion,
        kind: 'NetworkSet',
        metadata: { name: 's', namespace: this.of(NAMESPACES), labels: this.labels() },
        spec: { nets: this.list(2, () => this.of(CIDRS)) },
      })
    if (this.once(2)) {
      const spec = {
        order: this.of([500, 2000, 20_000_000]),
        ...(this.once(2) && { defaultAction: this.of(['Deny', 'Pass']) }),
      }
      found.push({ apiVersion, kind: 'Tier', metadata: { name: 'security' }, spec })
    }
    return found
  }

  private calicoPolicy(name: string): Fields {
    const isGlobal = this.once(2)
    const isStaged = this.once(10)
    const spec: Fields = {}
    if (this.once(3)) spec.tier = this.of([this.hasTier ? 'security' : 'default', 'default'])
    if (!this.once(3)) spec.order = this.of([0, 10, 100, 1000, 2000])
    if (!this.once(4)) spec.selector = this.calicoSelector()
    if (isGlobal && this.once(4)) spec.namespaceSelector = this.calicoSelector()
    if (this.once(8)) spec.serviceAccountSelector = this.calicoSelector(1)
    if (this.once(3)) spec.types = this.of([['Ingress'], ['Egress'], ['Ingress', 'Egress']])
    if (!this.once(3)) spec.ingress = this.list(3, () => this.calicoRule('ingress', isGlobal))
    if (!this.once(3)) spec.egress = this.list(3, () => this.calicoRule('egress', isGlobal))
    if (isGlobal && this.once(12)) {
      spec.applyOnForward = true
      spec.doNotTrack = true
    }
    const kind = `${isStaged ? 'Staged' : ''}${isGlobal ? 'Global' : ''}NetworkPolicy`
    const apiVersion = this.once(5) ? 'crd.projectcalico.org/v1' : 'projectcalico.org/v3'
    return { apiVersion, kind, metadata: { name, ...(!isGlobal && { namespace: this.of(NAMESPACES) }) }, spec }
  }

  private calicoRule(way: 'ingress' | 'egress', isGlobal: boolean): Fields {
    const rule: Fields = { action: this.of(['Allow', 'Allow', 'Deny', 'Pass', 'Log']) }
    const kind = this.pick.int(6)
    let isPorted = false
    if (kind < 3) {
      rule.protocol = this.of([...PROTOCOLS, 6, 17])
      isPorted = true
    } else if (kind === 3) {
      rule.protocol = this.of(['ICMP', 'ICMPv6'])
      if (this.once(2)) rule.icmp = { type: this.of([0, 8]), ...(this.once(4) && { code: this.pick.int(2) }) }
    } else if (kind === 4) rule.notProtocol = this.of(PROTOCOLS)
    const isIcmp = kind === 3
    const family = rule.protocol === 'ICMPv6' ? 6 : isIcmp ? 4 : this.of([4, 4, 4, 6])
    if (this.once(4)) rule.ipVersion = family
    const entity = (isDestination: boolean): Fields => {
      const e: Fields = {}
      const cidrs = family === 6 ? CIDRS6 : CIDRS
      const canServe = isDestination === (way === 'egress')
      if (canServe && this.once(8)) {
        e.services = {
          name: this.of(['s0', 's1', 'none']),
          ...((isGlobal || this.once(2)) && { namespace: this.of(NAMESPACES) }),
        }
        return e
      }
      if (this.once(2)) e.selector = this.calicoSelector()
      if (this.once(6)) e.notSelector = this.calicoSelector(1)
      if (this.once(4)) e.namespaceSelector = this.once(5) ? 'global()' : this.calicoSelector(1)
      if (this.once(8))
        e.serviceAccounts = {
          ...(this.once(2) && { names: this.list(2, () => this.of(['default', 'robot']), 1) }),
          ...(this.once(2) && { selector: this.calicoSelector(1) }),
        }
      if (this.once(4)) e.nets = this.list(2, () => this.of(cidrs), 1)
      if (this.once(6)) e.notNets = this.list(2, () => this.of(cidrs), 1)
      if (isPorted && isDestination && this.once(2))
        e.ports = this.list(3, () => this.of<number | string>([...PORTS, '80:90', '1:1024', 'web', 'dns']), 1)
      if (isPorted && isDestination && this.once(6))
        e.notPorts = this.list(2, () => this.of<number | string>([...PORTS, '8000:9000', 'web']), 1)
      if (isPorted && !isDestination && this.once(10)) e.ports = [this.of<number | string>(['1024:65535', 40000, 53])]
      return e
    }
    if (!this.once(3)) rule.source = entity(false)
    if (!this.once(3)) rule.destination = entity(true)
    return rule
  }

  // ------------------------------------------------------------ Cilium

  private ciliumPolicy(name: string): Fields {
    const isClusterwide = this.once(3)
    const object: Fields = {
      apiVersion: 'cilium.io/v2',
      kind: isClusterwide ? 'CiliumClusterwideNetworkPolicy' : 'CiliumNetworkPolicy',
      metadata: { name, ...(!isClusterwide && { namespace: this.of(NAMESPACES) }) },
    }
    if (this.once(5)) object.specs = this.list(2, () => this.ciliumSpec(), 1)
    else object.spec = this.ciliumSpec()
    return object
  }

  private ciliumSelector(isPeer: boolean): Fields {
    const keys = [...KEYS, ...KEYS.map((k) => `k8s:${k}`), ...KEYS.map((k) => `any:${k}`)]
    const selector = this.selector(keys)
    if (isPeer && this.once(4))
      selector.matchLabels = {
        ...(selector.matchLabels as object),
        [this.of(['io.kubernetes.pod.namespace', 'k8s:io.kubernetes.pod.namespace'])]: this.of(NAMESPACES),
      }
    if (isPeer && this.once(5))
      selector.matchLabels = {
        ...(selector.matchLabels as object),
        [`io.cilium.k8s.namespace.labels.${this.of(KEYS)}`]: this.of(VALUES),
      }
    if (this.once(8))
      selector.matchLabels = {
        ...(selector.matchLabels as object),
        'io.cilium.k8s.policy.serviceaccount': this.of(['default', 'robot']),
      }
    if (this.once(8))
      selector.matchExpressions = [
        ...((selector.matchExpressions as object[]) ?? []),
        { key: 'io.cilium.k8s.policy.cluster', operator: 'Exists' },
      ]
    return selector
  }

  private ciliumSpec(): Fields {
    const spec: Fields = { endpointSelector: this.once(3) ? {} : this.ciliumSelector(false) }
    for (const field of ['ingress', 'ingressDeny', 'egress', 'egressDeny']) {
      if (this.once(field.endsWith('Deny') ? 3 : 2))
        spec[field] = this.list(2, () => this.ciliumRule(field.startsWith('ingress') ? 'from' : 'to'))
    }
    const isEmpty = ['ingress', 'ingressDeny', 'egress', 'egressDeny'].every(
      (f) => ((spec[f] as unknown[]) ?? []).length === 0,
    )
    if (isEmpty) spec.ingress = [this.ciliumRule('from')]
    if (this.once(5)) spec.enableDefaultDeny = { [this.of(['ingress', 'egress'])]: this.once(2) }
    return spec
  }

  private ciliumRule(side: 'from' | 'to'): Fields {
    const rule: Fields = {}
    switch (this.pick.int(7)) {
      case 0:
      case 1:
        rule[`${side}Endpoints`] = this.list(2, () => this.ciliumSelector(true))
        break
      case 2:
        rule[`${side}Entities`] = this.list(
          2,
          () => this.of(['all', 'world', 'cluster', 'host', 'remote-node', 'none']),
          1,
        )
        break
      case 3:
        rule[`${side}CIDR`] = this.list(2, () => this.of([...CIDRS, ...CIDRS6]), 1)
        break
      case 4:
        rule[`${side}CIDRSet`] = this.list(2, () => this.ipBlock(), 1)
        break
      case 5:
        rule[`${side}Nodes`] = [this.selector()]
        break
    }
    if (this.once(2)) {
      rule.toPorts = this.list(
        2,
        () => ({
          ports: this.list(
            2,
            () => ({
              port: this.once(4) ? this.of(PORT_NAMES) : String(this.of([0, ...PORTS])),
              ...(!this.once(4) && { protocol: this.of([...PROTOCOLS, 'ANY']) }),
              ...(this.once(4) && { endPort: 8191 }),
            }),
            1,
          ),
        }),
        1,
      )
    } else if (this.once(5)) rule.icmps = [{ fields: [{ family: this.of(['IPv4', 'IPv6']), type: this.of([8, 128]) }] }]
    return rule
  }
}
