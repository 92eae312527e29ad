/**
 * The judge: a slow, obvious evaluator of policies, to be read beside the API documents.
 *
 * It works on the manifests themselves, one packet at a time, and shares nothing with src/policy: no compilation, no
 * classes, no port sets, its own addresses and selectors. Calico's selectors come with a function that says what their text
 * means (the generator makes both).
 */

/** A pod. */
export interface JudgePod {
  readonly namespace: string
  readonly name: string
  readonly labels: Record<string, string>
  readonly ports: readonly { readonly name: string; readonly protocol: string; readonly port: number }[]
  readonly ips: readonly string[]
  readonly node: string
  readonly hostNetwork: boolean
  readonly serviceAccount: string
}

/** A cluster as manifests. */
export interface JudgeCluster {
  readonly namespaces: Record<string, Record<string, string>>
  readonly serviceAccounts: Record<string, Record<string, string>>
  readonly pods: readonly JudgePod[]
  readonly nodes: readonly { readonly name: string; readonly ip: string; readonly labels: Record<string, string> }[]
  readonly services: readonly {
    readonly namespace: string
    readonly name: string
    readonly endpoints: readonly { readonly ip: string; readonly protocol: string; readonly port: number }[]
  }[]
  // biome-ignore lint/suspicious/noExplicitAny: manifests as they are written
  readonly objects: readonly any[]
  /** What a Calico selector's text means for the labels of an endpoint. */
  readonly meaning: (text: string, labels: Record<string, string>) => boolean
}

/** One end of a packet. */
export interface JudgeEnd {
  readonly pod?: JudgePod
  readonly node?: JudgeCluster['nodes'][number]
  readonly ip: string
}

/** One packet. */
export interface JudgePacket {
  readonly src: JudgeEnd
  readonly dst: JudgeEnd
  readonly protocol: string
  /** ICMP: the type. */
  readonly port: number
  readonly sourcePort: number
}

/** Switches, as PolicyOptions. */
export interface JudgeOptions {
  readonly ipBlockMatchesPods: boolean
  readonly hostNetwork: 'ignored' | 'as-pod'
  readonly nodeTraffic: 'exempt' | 'exempt-ingress' | 'subject'
}

// biome-ignore lint/suspicious/noExplicitAny: manifests as they are written
type Raw = any
type Way = 'ingress' | 'egress'

/** The verdict on a packet. */
export function judge(cluster: JudgeCluster, packet: JudgePacket, options: JudgeOptions): boolean {
  return new Judge(cluster, options).allows(packet)
}

class Judge {
  private readonly cluster: JudgeCluster
  private readonly options: JudgeOptions

  constructor(cluster: JudgeCluster, options: JudgeOptions) {
    this.cluster = cluster
    this.options = options
  }

  allows(p: JudgePacket): boolean {
    if (p.src.pod !== undefined && p.src.pod === p.dst.pod) return true
    const [from, to] = [this.isPod(p.src), this.isPod(p.dst)]
    const sameNode = nodeOf(p.src) !== '' && nodeOf(p.src) === nodeOf(p.dst)
    if (sameNode && !from && to && this.options.nodeTraffic !== 'subject') return true
    if (sameNode && from && !to && this.options.nodeTraffic === 'exempt') return true
    return this.side(p, 'egress') && this.side(p, 'ingress')
  }

  /** A pod with a network of its own, or one that counts as such. */
  private isPod(end: JudgeEnd): boolean {
    return end.pod !== undefined && (!end.pod.hostNetwork || this.options.hostNetwork === 'as-pod')
  }

  private side(p: JudgePacket, way: Way): boolean {
    const subject = way === 'ingress' ? p.dst : p.src
    if (subject.pod === undefined) return true
    const objects = this.cluster.objects
    const isCalico = objects.some(
      (o) => o.apiVersion.includes('projectcalico') && o.kind.endsWith('NetworkPolicy') && !o.kind.startsWith('Staged'),
    )
    const isCilium = (o: Raw): boolean => o.apiVersion.startsWith('cilium.io')
    // with both systems in the cluster, each must let the packet through
    if (isCalico && this.cilium(p, way, objects.filter(isCilium)) === 'deny') return false
    for (const tier of this.tiers()) {
      if (tier.name === 'default') {
        const others = isCalico ? [] : objects.filter(isCilium)
        const verdict = this.middle(p, way, others)
        if (verdict === 'deny') return false
        if (verdict === 'allow') return true
      } else {
        const verdict = this.ordered(p, way, this.policiesOfTier(tier.name), tier.defaultAction)
        if (verdict === 'deny') return false
        if (verdict === 'allow') return true
      }
    }
    return true
  }

  private tiers(): { name: string; order: number; defaultAction: string }[] {
    const known: Record<string, { order: number; defaultAction: string }> = {
      'kube-admin': { order: 1000, defaultAction: 'Pass' },
      default: { order: 1_000_000, defaultAction: 'Deny' },
      'kube-baseline': { order: 10_000_000, defaultAction: 'Pass' },
    }
    for (const o of this.cluster.objects) {
      if (o.kind === 'Tier')
        known[o.metadata.name] = { order: o.spec?.order ?? Infinity, defaultAction: o.spec?.defaultAction ?? 'Deny' }
      const tier = o.apiVersion.includes('projectcalico') && o.kind.endsWith('NetworkPolicy') && o.spec?.tier
      if (tier && known[tier] === undefined && !o.kind.startsWith('Staged')) {
        const declared = this.cluster.objects.find((t) => t.kind === 'Tier' && t.metadata.name === tier)
        if (declared === undefined) known[tier] = { order: Infinity, defaultAction: 'Deny' }
      }
    }
    return Object.entries(known)
      .map(([name, t]) => ({ name, ...t }))
      .sort((a, b) => (a.order === b.order ? (a.name < b.name ? -1 : 1) : a.order < b.order ? -1 : 1))
  }

  private policiesOfTier(tier: string): Raw[] {
    return this.cluster.objects
      .filter((o) => {
        if (!o.kind.endsWith('NetworkPolicy') || o.kind.startsWith('Staged')) return false
        if (o.apiVersion.includes('projectcalico')) return (o.spec.tier || 'default') === tier
        if (o.apiVersion.startsWith('policy.networking')) {
          const isBaseline = o.kind.startsWith('Baseline') || o.spec.tier === 'Baseline'
          return tier === (isBaseline ? 'kube-baseline' : 'kube-admin')
        }
        return tier === 'default' && o.apiVersion.startsWith('networking.k8s.io')
      })
      .sort((a, b) => {
        const order = (o: Raw): number =>
          o.apiVersion.startsWith('networking')
            ? 1000
            : o.apiVersion.startsWith('policy')
              ? (o.spec.priority ?? 0)
              : (o.spec.order ?? Infinity)
        const name = (o: Raw): string =>
          o.apiVersion.startsWith('networking') ? `knp.default.${o.metadata.name}` : o.metadata.name
        if (order(a) !== order(b)) return order(a) < order(b) ? -1 : 1
        if (name(a) !== name(b)) return name(a) < name(b) ? -1 : 1
        return (a.metadata.namespace ?? '') < (b.metadata.namespace ?? '') ? -1 : 1
      })
  }

  /** NetworkPolicy v1, Calico's default tier, Cilium's policies. */
  private middle(p: JudgePacket, way: Way, ciliums: Raw[]): 'allow' | 'deny' | 'next' {
    const cilium = this.cilium(p, way, ciliums)
    if (cilium === 'denied by rule') return 'deny'
    if (cilium === 'allow') return 'allow'
    const rest = this.ordered(p, way, this.policiesOfTier('default'), 'Deny')
    return rest === 'next' && cilium === 'deny' ? 'deny' : rest
  }

  /** Policies in order: the first rule that matches; at the end the tier's default if one of them isolates. */
  private ordered(p: JudgePacket, way: Way, policies: Raw[], defaultAction: string): 'allow' | 'deny' | 'next' {
    let isolated = false
    for (const o of policies) {
      if (!this.selects(o, p, way) || !this.appliesTo(o, way)) continue
      if (!o.apiVersion.startsWith('policy.networking')) isolated = true
      for (const rule of o.spec[way] ?? []) {
        const action = this.ruleAction(o, rule, p, way)
        if (action === 'Allow' || action === 'Accept') return 'allow'
        if (action === 'Deny') return 'deny'
        if (action === 'Pass') return 'next'
      }
    }
    return isolated && defaultAction === 'Deny' ? 'deny' : 'next'
  }

  private appliesTo(o: Raw, way: Way): boolean {
    const word = way === 'ingress' ? 'Ingress' : 'Egress'
    const has = (w: Way): boolean => (o.spec[w] ?? []).length > 0
    if (o.apiVersion.startsWith('policy.networking')) return has(way)
    if (o.apiVersion.startsWith('networking')) {
      if ((o.spec.policyTypes ?? []).length > 0) return o.spec.policyTypes.includes(word)
      return way === 'ingress' || has('egress')
    }
    if (o.spec.types) return o.spec.types.includes(word)
    return way === 'egress' ? has('egress') : has('ingress') || !has('egress')
  }

  private selects(o: Raw, p: JudgePacket, way: Way): boolean {
    const end = way === 'ingress' ? p.dst : p.src
    const pod = end.pod!
    if (o.apiVersion.startsWith('networking')) {
      return (
        this.isPod(end) && pod.namespace === o.metadata.namespace && labelSelector(o.spec.podSelector ?? {}, pod.labels)
      )
    }
    if (pod.hostNetwork) return false
    if (o.apiVersion.startsWith('policy.networking')) return this.adminPeer(o.spec.subject, end)
    if (o.spec.preDNAT || o.spec.doNotTrack) return false
    if (!o.kind.includes('Global') && pod.namespace !== o.metadata.namespace) return false
    if (o.spec.selector && !this.cluster.meaning(o.spec.selector, this.calicoLabels(pod))) return false
    if (
      o.spec.namespaceSelector &&
      !this.cluster.meaning(o.spec.namespaceSelector, this.namespaceLabels(pod.namespace))
    )
      return false
    const account = this.cluster.serviceAccounts[`${pod.namespace}/${pod.serviceAccount}`] ?? {}
    return !o.spec.serviceAccountSelector || this.cluster.meaning(o.spec.serviceAccountSelector, account)
  }

  /** What a rule of an ordered policy does with the packet, or nothing. */
  private ruleAction(o: Raw, rule: Raw, p: JudgePacket, way: Way): string | null {
    if (o.apiVersion.startsWith('networking')) return this.kubernetesRule(o, rule, p, way) ? 'Allow' : null
    if (o.apiVersion.startsWith('policy.networking')) return this.adminRule(rule, p, way) ? rule.action : null
    return rule.action !== 'Log' && this.calicoRule(o, rule, p, way) ? rule.action : null
  }

  // ------------------------------------------------------------ networking.k8s.io/v1

  private kubernetesRule(o: Raw, rule: Raw, p: JudgePacket, way: Way): boolean {
    const peer = way === 'ingress' ? p.src : p.dst
    const peers = (way === 'ingress' ? rule.from : rule.to) ?? []
    if (peers.length > 0 && !peers.some((x: Raw) => this.kubernetesPeer(o, x, peer))) return false
    const ports = rule.ports ?? []
    if (ports.length === 0) return true
    return ports.some((x: Raw) => {
      if ((x.protocol ?? 'TCP') !== p.protocol) return false
      if (x.port === undefined || x.port === null) return true
      if (typeof x.port === 'string') return this.hasNamed(p.dst, x.port, p.protocol, p.port)
      return p.port >= x.port && p.port <= (x.endPort ?? x.port)
    })
  }

  private kubernetesPeer(o: Raw, x: Raw, end: JudgeEnd): boolean {
    if (x.ipBlock) {
      if (this.options.ipBlockMatchesPods === false && this.isPod(end)) return false
      return inCidr(end.ip, x.ipBlock.cidr) && !(x.ipBlock.except ?? []).some((c: string) => inCidr(end.ip, c))
    }
    if (!this.isPod(end)) return false
    const pod = end.pod!
    if (x.namespaceSelector) {
      if (!labelSelector(x.namespaceSelector, this.cluster.namespaces[pod.namespace]!)) return false
    } else if (pod.namespace !== o.metadata.namespace) return false
    return !x.podSelector || labelSelector(x.podSelector, pod.labels)
  }

  private hasNamed(end: JudgeEnd, name: string, protocol: string | null, port: number): boolean {
    if (!this.isPod(end)) return false
    return end.pod!.ports.some(
      (q) => q.name === name && (protocol === null || q.protocol === protocol) && q.port === port,
    )
  }

  // ------------------------------------------------------------ policy.networking.k8s.io

  private adminRule(rule: Raw, p: JudgePacket, way: Way): boolean {
    const peer = way === 'ingress' ? p.src : p.dst
    if (!(way === 'ingress' ? rule.from : rule.to).some((x: Raw) => this.adminPeer(x, peer))) return false
    if (rule.ports && rule.ports.length > 0) {
      return rule.ports.some((x: Raw) => {
        if (x.namedPort) return this.namedAnyProtocol(p, x.namedPort)
        const of = x.portNumber ?? x.portRange
        if ((of.protocol ?? 'TCP') !== p.protocol) return false
        return x.portNumber ? p.port === of.port : p.port >= of.start && p.port <= of.end
      })
    }
    if (!rule.protocols) return true
    return rule.protocols.some((x: Raw) => {
      if (x.destinationNamedPort) return this.namedAnyProtocol(p, x.destinationNamedPort)
      const of = x[p.protocol.toLowerCase()]
      if (!of) return false
      const { number, range } = of.destinationPort
      return number ? p.port === number : p.port >= range.start && p.port <= range.end
    })
  }

  /** A name without a protocol: of the packet's own, when that has ports. */
  private namedAnyProtocol(p: JudgePacket, name: string): boolean {
    return this.hasNamed(p.dst, name, p.protocol, p.port)
  }

  private adminPeer(x: Raw, end: JudgeEnd): boolean {
    const pod = end.pod
    if (x.networks) return x.networks.some((c: string) => inCidr(end.ip, c))
    if (x.nodes) {
      const node = end.node ?? (pod?.hostNetwork ? this.cluster.nodes.find((n) => n.name === pod.node) : undefined)
      return node !== undefined && labelSelector(x.nodes, node.labels)
    }
    if (pod === undefined || pod.hostNetwork) return false
    const namespace = this.cluster.namespaces[pod.namespace]!
    if (x.namespaces) return labelSelector(x.namespaces, namespace)
    if (x.pods)
      return labelSelector(x.pods.namespaceSelector ?? {}, namespace) && labelSelector(x.pods.podSelector, pod.labels)
    return false
  }

  // ------------------------------------------------------------ projectcalico.org

  private calicoRule(o: Raw, rule: Raw, p: JudgePacket, way: Way): boolean {
    const protocol = (x: unknown): string => {
      const numbers: Record<string, string> = { 6: 'TCP', 17: 'UDP', 132: 'SCTP', 1: 'ICMP', 58: 'ICMPv6' }
      return numbers[String(x)] ?? String(x)
    }
    const isV6 = p.src.ip.includes(':')
    if (rule.ipVersion && (rule.ipVersion === 6) !== isV6) return false
    if (rule.protocol !== undefined && protocol(rule.protocol) !== p.protocol) return false
    if (rule.notProtocol !== undefined && protocol(rule.notProtocol) === p.protocol) return false
    if (protocol(rule.protocol) === 'ICMP' && isV6) return false
    if (protocol(rule.protocol) === 'ICMPv6' && !isV6) return false
    if (rule.icmp?.type !== undefined && p.port !== rule.icmp.type) return false
    if (rule.icmp?.code !== undefined && rule.icmp.code !== 0) return false
    if (rule.notICMP?.type !== undefined && p.protocol === 'ICMP' && p.port === rule.notICMP.type && !rule.notICMP.code)
      return false
    return (
      this.entity(o, rule.source ?? {}, p.src, p, p.sourcePort, false, way) &&
      this.entity(o, rule.destination ?? {}, p.dst, p, p.port, true, way)
    )
  }

  private entity(
    o: Raw,
    e: Raw,
    end: JudgeEnd,
    p: JudgePacket,
    port: number,
    isDestination: boolean,
    _way: Way,
  ): boolean {
    const own = o.kind.includes('Global') ? '' : o.metadata.namespace
    if (e.services) {
      const service = this.cluster.services.find(
        (s) => s.name === e.services.name && s.namespace === (e.services.namespace || own),
      )
      if (
        !service?.endpoints.some(
          (x) => x.ip === end.ip && (!isDestination || (x.protocol === p.protocol && x.port === port)),
        )
      )
        return false
    }
    const { selector, notSelector, namespaceSelector } = e
    // an empty match of ServiceAccounts is none
    const isAccount = (e.serviceAccounts?.names ?? []).length > 0 || e.serviceAccounts?.selector
    const serviceAccounts = isAccount ? e.serviceAccounts : undefined
    if (selector || namespaceSelector || serviceAccounts || (notSelector && own !== '')) {
      const isIt = this.labelled(end).some((labels) => {
        if (namespaceSelector) {
          const namespace = labels['projectcalico.org/namespace']
          if (namespaceSelector.trim() === 'global()') {
            if (namespace !== undefined) return false
          } else if (namespaceSelector.trim() === 'all()') {
            if (namespace === undefined) return false
          } else if (
            !this.cluster.meaning(namespaceSelector, namespace === undefined ? {} : this.namespaceLabels(namespace))
          )
            return false
        } else if (own !== '' && labels['projectcalico.org/namespace'] !== own) return false
        if (selector && !this.cluster.meaning(selector, labels)) return false
        if (serviceAccounts) {
          const name = labels['projectcalico.org/serviceaccount']
          const account =
            name === undefined
              ? {}
              : (this.cluster.serviceAccounts[`${labels['projectcalico.org/namespace']}/${name}`] ?? {})
          if ((serviceAccounts.names ?? []).length > 0 && (name === undefined || !serviceAccounts.names.includes(name)))
            return false
          if (serviceAccounts.selector && !this.cluster.meaning(serviceAccounts.selector, account)) return false
        }
        // Felix looks for one thing at the address that satisfies both
        return !(notSelector && this.cluster.meaning(notSelector, labels))
      })
      if (!isIt) return false
    } else if (notSelector && this.labelled(end).some((labels) => this.cluster.meaning(notSelector, labels)))
      return false
    if ((e.nets ?? []).length > 0 && !e.nets.some((c: string) => inCidr(end.ip, c))) return false
    if ((e.notNets ?? []).length > 0 && e.notNets.some((c: string) => inCidr(end.ip, c))) return false
    // Felix writes no rule for a family that notNets says nothing of
    const isSix = (ip: string): boolean => ip.includes(':')
    if ((e.notNets ?? []).length > 0 && !e.notNets.some((c: string) => isSix(c) === isSix(end.ip))) return false
    const inPorts = (list: (number | string)[]): boolean =>
      list.some((x) => {
        if (typeof x === 'number') return x === port
        const range = /^(\d+):(\d+)$/.exec(x)
        if (range) return port >= Number(range[1]) && port <= Number(range[2])
        return /^\d+$/.test(x) ? Number(x) === port : this.hasNamed(end, x, p.protocol, port)
      })
    if ((e.ports ?? []).length > 0 && !inPorts(e.ports)) return false
    return !((e.notPorts ?? []).length > 0 && inPorts(e.notPorts))
  }

  /** Whatever at this address has labels: the pod, and the network sets that hold the address. */
  private labelled(end: JudgeEnd): Record<string, string>[] {
    const found: Record<string, string>[] = []
    if (end.pod !== undefined && !end.pod.hostNetwork) found.push(this.calicoLabels(end.pod))
    for (const o of this.cluster.objects) {
      if (o.kind !== 'NetworkSet' && o.kind !== 'GlobalNetworkSet') continue
      if (!(o.spec?.nets ?? []).some((c: string) => inCidr(end.ip, c))) continue
      const scope = o.kind === 'NetworkSet' ? { 'projectcalico.org/namespace': o.metadata.namespace } : {}
      found.push({ ...o.metadata.labels, ...scope } as Record<string, string>)
    }
    return found
  }

  private calicoLabels(pod: JudgePod): Record<string, string> {
    return {
      ...pod.labels,
      'projectcalico.org/namespace': pod.namespace,
      'projectcalico.org/serviceaccount': pod.serviceAccount,
    }
  }

  private namespaceLabels(name: string): Record<string, string> {
    return this.cluster.namespaces[name]!
  }

  // ------------------------------------------------------------ cilium.io

  private cilium(p: JudgePacket, way: Way, objects: Raw[]): 'allow' | 'deny' | 'denied by rule' | 'next' {
    const subject = way === 'ingress' ? p.dst : p.src
    const pod = subject.pod!
    if (pod.hostNetwork) return 'next'
    let isolated = false
    let isAllowed = false
    let isDenied = false
    for (const o of objects) {
      const own = o.kind === 'CiliumNetworkPolicy' ? o.metadata.namespace : ''
      for (const spec of [...(o.spec ? [o.spec] : []), ...(o.specs ?? [])]) {
        if (!spec.endpointSelector || (own !== '' && pod.namespace !== own)) continue
        if (!this.ciliumSelector(spec.endpointSelector, pod, own !== '')) continue
        const allow = spec[way] ?? []
        const deny = spec[`${way}Deny`] ?? []
        if (spec.enableDefaultDeny?.[way] ?? allow.length + deny.length > 0) isolated = true
        if (deny.some((r: Raw) => this.ciliumRule(r, p, way, own))) isDenied = true
        if (allow.some((r: Raw) => this.ciliumRule(r, p, way, own))) isAllowed = true
      }
    }
    if (isDenied) return this.isAlone(objects) ? 'denied by rule' : 'deny'
    if (isAllowed) return 'allow'
    return isolated ? 'deny' : 'next'
  }

  private isAlone(objects: Raw[]): boolean {
    return (
      objects.length > 0 &&
      !this.cluster.objects.some(
        (o) =>
          o.apiVersion.includes('projectcalico') && o.kind.endsWith('NetworkPolicy') && !o.kind.startsWith('Staged'),
      )
    )
  }

  private ciliumRule(r: Raw, p: JudgePacket, way: Way, own: string): boolean {
    const peer = way === 'ingress' ? p.src : p.dst
    const subject = way === 'ingress' ? p.dst : p.src
    const side = way === 'ingress' ? 'from' : 'to'
    const lists = ['Endpoints', 'Entities', 'CIDR', 'CIDRSet', 'Nodes'].map((f) => r[`${side}${f}`])
    const hasPorts = (r.toPorts ?? []).length > 0 || (r.icmps ?? []).length > 0
    if (lists.every((l) => l === undefined || l === null)) {
      if (!hasPorts) return false
    } else {
      const [endpoints, entities, cidrs, sets, nodes] = lists
      const isOutside = peer.pod === undefined && peer.node === undefined
      const isNode = peer.node !== undefined || peer.pod?.hostNetwork === true
      const match =
        (endpoints ?? []).some((s: Raw) => {
          if (peer.pod === undefined || peer.pod.hostNetwork) return false
          const says = Object.keys(s.matchLabels ?? {}).concat((s.matchExpressions ?? []).map((x: Raw) => x.key))
          const isScoped = says.some((k: string) =>
            /io\.kubernetes\.pod\.namespace$|io\.cilium\.k8s\.namespace\.labels\./.test(k),
          )
          if (own !== '' && !isScoped && peer.pod.namespace !== own) return false
          return this.ciliumSelector(s, peer.pod, false)
        }) ||
        (entities ?? []).some((name: string) => {
          if (name === 'all') return true
          if (name === 'world') return isOutside
          if (name === 'cluster') return !isOutside
          if (name === 'host') return isNode && nodeOf(peer) === nodeOf(subject)
          if (name === 'remote-node') return isNode && nodeOf(peer) !== nodeOf(subject)
          return false
        }) ||
        (isOutside && (cidrs ?? []).some((c: string) => inCidr(peer.ip, c))) ||
        (isOutside &&
          (sets ?? []).some(
            (x: Raw) => inCidr(peer.ip, x.cidr) && !(x.except ?? []).some((c: string) => inCidr(peer.ip, c)),
          )) ||
        (isNode &&
          (nodes ?? []).some((s: Raw) =>
            labelSelector(s, this.cluster.nodes.find((n) => n.name === nodeOf(peer))!.labels),
          ))
      if (!match) return false
    }
    if ((r.icmps ?? []).length > 0) {
      return r.icmps.some((x: Raw) =>
        (x.fields ?? []).some(
          (f: Raw) => (f.family === 'IPv6' ? 'ICMPv6' : 'ICMP') === p.protocol && Number(f.type) === p.port,
        ),
      )
    }
    if ((r.toPorts ?? []).length === 0) return true
    return r.toPorts.some((x: Raw) =>
      (x.ports ?? []).some((q: Raw) => {
        const protocol = (q.protocol ?? 'ANY').toUpperCase()
        if (protocol === 'ANY' ? !['TCP', 'UDP', 'SCTP'].includes(p.protocol) : protocol !== p.protocol) return false
        if (!/^\d+$/.test(q.port)) return this.hasNamed(p.dst, q.port, p.protocol, p.port)
        const first = Number(q.port)
        return first === 0 || (p.port >= first && p.port <= Math.max(first, q.endPort ?? 0))
      }),
    )
  }

  private ciliumSelector(s: Raw, pod: JudgePod, isConfined: boolean): boolean {
    const labels: Record<string, string> = { ...pod.labels, 'io.kubernetes.pod.namespace': pod.namespace }
    labels['io.cilium.k8s.policy.serviceaccount'] = pod.serviceAccount
    labels['io.cilium.k8s.policy.cluster'] = 'default'
    for (const [k, v] of Object.entries(this.cluster.namespaces[pod.namespace]!))
      labels[`io.cilium.k8s.namespace.labels.${k}`] = v
    const bare = (key: string): string => key.replace(/^(k8s|any):/, '')
    const matchLabels = Object.fromEntries(Object.entries(s.matchLabels ?? {}).map(([k, v]) => [bare(k), v as string]))
    const matchExpressions = (s.matchExpressions ?? []).map((x: Raw) => ({ ...x, key: bare(x.key) }))
    if (isConfined) delete matchLabels['io.kubernetes.pod.namespace']
    const kept = matchExpressions.filter((x: Raw) => !(isConfined && x.key === 'io.kubernetes.pod.namespace'))
    return labelSelector({ matchLabels, matchExpressions: kept }, labels)
  }
}

function nodeOf(end: JudgeEnd): string {
  return end.pod?.node ?? end.node?.name ?? ''
}

function labelSelector(s: Raw, labels: Record<string, string>): boolean {
  for (const [k, v] of Object.entries(s.matchLabels ?? {})) if (labels[k] !== v) return false
  for (const x of s.matchExpressions ?? []) {
    const value = labels[x.key]
    if (x.operator === 'In' && !(value !== undefined && x.values.includes(value))) return false
    if (x.operator === 'NotIn' && value !== undefined && x.values.includes(value)) return false
    if (x.operator === 'Exists' && value === undefined) return false
    if (x.operator === 'DoesNotExist' && value !== undefined) return false
  }
  return true
}

/** The bits of an address as text. */
function bits(ip: string): string {
  if (!ip.includes(':'))
    return ip
      .split('.')
      .map((n) => Number(n).toString(2).padStart(8, '0'))
      .join('')
  const [head, tail] = ip.split('::')
  const left = (head ?? '').split(':').filter((g) => g !== '')
  const right = (tail ?? '').split(':').filter((g) => g !== '')
  const middle = Array.from({ length: ip.includes('::') ? 8 - left.length - right.length : 0 }, () => '0')
  return [...left, ...middle, ...right].map((g) => Number.parseInt(g, 16).toString(2).padStart(16, '0')).join('')
}

function inCidr(ip: string, cidr: string): boolean {
  const [network, length = ip.includes(':') ? '128' : '32'] = cidr.split('/')
  if (network!.includes(':') !== ip.includes(':')) return false
  return bits(network!).slice(0, Number(length)) === bits(ip).slice(0, Number(length))
}
