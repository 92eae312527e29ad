/**
 * Applies configuration verbs to the simulated Linux: the side of netlink, sysctl and iptables that answers.
 *
 * A verb that the kernel refuses is our bug or the driver's (the manifests were checked before), so it throws with the
 * verb in the message.
 */
import { parseCidr, parseIpv4, parseMac } from '../addr/index.ts'
import type { CniVerb, LinkSpec } from '../cni/verb.ts'
import { DEV_VXLAN, type NetDevice, RT_SCOPE_HOST, RT_SCOPE_LINK, RT_SCOPE_UNIVERSE } from '../linux/device/device.ts'
import { inetAddrAdd } from '../linux/device/inet.ts'
import { createIpip, ipipDefaults, loadIpip } from '../linux/device/ipip.ts'
import {
  createBridge,
  createDummy,
  createVeth,
  setMac,
  setMaster,
  setMtu,
  setPromisc,
  setUp,
} from '../linux/device/ops.ts'
import { createVxlan, vxlanDefaults, vxlanPriv } from '../linux/device/vxlan.ts'
import { FDB_NUD_PERMANENT, VxlanRdst } from '../linux/device/vxlan-fdb.ts'
import { errnoName } from '../linux/errno.ts'
import {
  NEIGH_UPDATE_F_ADMIN,
  NEIGH_UPDATE_F_OVERRIDE,
  NUD_PERMANENT,
  neighUpdate,
} from '../linux/neighbour/neighbour.ts'
import { restoreText } from '../linux/netfilter/iptables/restore.ts'
import type { Netns } from '../linux/netns.ts'
import { RTN_BLACKHOLE } from '../linux/route/rtn.ts'
import { sysctlSet } from '../linux/sysctl.ts'
import { execTool } from '../linux/tools/exec.ts'
import { UNMODELLED_STATUS } from '../linux/tools/result.ts'
import { commandLine } from '../proxy/commands.ts'
import type { ProxyVerb } from '../proxy/types.ts'

/** Finds (or makes) the namespace that a verb names. */
export type NetnsLookup = (name: string) => Netns

const SCOPES = { global: RT_SCOPE_UNIVERSE, link: RT_SCOPE_LINK, host: RT_SCOPE_HOST } as const

function refused(verb: unknown, why: string): never {
  throw new Error(`the simulated kernel refused ${JSON.stringify(verb)}: ${why}`)
}

function check(verb: unknown, errno: number): void {
  if (errno < 0) refused(verb, errnoName(errno))
}

function device(ns: Netns, name: string, verb: unknown): NetDevice {
  return ns.devices.get(name) ?? refused(verb, `no device ${name} in ${ns.name}`)
}

function macOf(text: string | undefined): { hi: number; lo: number } | null {
  return text === undefined ? null : parseMac(text)
}

function created(link: LinkSpec, dev: NetDevice | number): void {
  if (typeof dev === 'number') refused(link, errnoName(dev))
}

function addLink(ns: Netns, link: LinkSpec, lookup: NetnsLookup): void {
  switch (link.type) {
    case 'bridge':
      createBridge(ns, link.name, macOf(link.mac), link.mtu ?? null)
      break
    case 'veth':
      createVeth(
        { ns, name: link.name, mac: macOf(link.mac) },
        { ns: lookup(link.peer.netns), name: link.peer.name, mac: macOf(link.peer.mac) },
        link.mtu,
      )
      break
    case 'vxlan': {
      const cfg = vxlanDefaults(link.vni)
      cfg.dstport = link.dstport ?? cfg.dstport
      cfg.local = parseIpv4(link.local) ?? refused(link, 'bad address')
      cfg.lowerdev = device(ns, link.dev, link)
      cfg.learning = link.learning
      created(link, createVxlan(ns, link.name, cfg, macOf(link.mac), link.mtu ?? null))
      break
    }
    case 'ipip': {
      const remote = link.remote === undefined ? 0 : (parseIpv4(link.remote) ?? refused(link, 'bad address'))
      const local = parseIpv4(link.local) ?? refused(link, 'bad address')
      created(link, createIpip(ns, link.name, { ...ipipDefaults(), local, remote, pmtudisc: link.pmtudisc }, link.mtu))
      break
    }
    case 'dummy':
      createDummy(ns, link.name, macOf(link.mac), link.mtu)
      break
  }
}

/** Applies one verb of a CNI driver. */
export function applyCniVerb(verb: CniVerb, lookup: NetnsLookup): void {
  const ns = lookup(verb.netns)
  switch (verb.verb) {
    case 'sysctl':
      if (!sysctlSet(ns, verb.key, verb.value)) refused(verb, 'no such sysctl')
      break
    case 'link-add':
      addLink(ns, verb.link, lookup)
      break
    case 'link-set': {
      const dev = device(ns, verb.dev, verb)
      if (verb.mtu !== undefined) check(verb, setMtu(dev, verb.mtu))
      if (verb.mac !== undefined) setMac(dev, parseMac(verb.mac) ?? refused(verb, 'bad MAC'))
      if (verb.master !== undefined) check(verb, setMaster(dev, device(ns, verb.master, verb)))
      if (verb.hairpin !== undefined) {
        if (dev.port === null) refused(verb, 'not a bridge port')
        dev.port.hairpin = verb.hairpin
      }
      if (verb.promisc !== undefined) setPromisc(dev, verb.promisc)
      if (verb.up === true) setUp(dev)
      break
    }
    case 'addr-add': {
      const cidr = parseCidr(verb.address)
      if (cidr === null || cidr.family !== 4) refused(verb, 'bad address')
      check(
        verb,
        inetAddrAdd(device(ns, verb.dev, verb), {
          ip: cidr.ip,
          prefixLength: cidr.prefixLength,
          broadcast: verb.broadcast === undefined ? 0 : (parseIpv4(verb.broadcast) ?? 0),
        }),
      )
      break
    }
    case 'route-add': {
      const dst = verb.dst === 'default' ? { ip: 0, prefixLength: 0 } : parseCidr(verb.dst)
      if (dst === null || typeof dst.ip !== 'number') refused(verb, 'bad destination')
      const via = verb.via === undefined ? undefined : (parseIpv4(verb.via) ?? refused(verb, 'bad gateway'))
      check(
        verb,
        ns.fib.addRoute({
          dst: dst.ip,
          prefixLength: dst.prefixLength,
          scope: verb.scope === undefined ? undefined : SCOPES[verb.scope],
          type: verb.type === 'blackhole' ? RTN_BLACKHOLE : undefined,
          protocol: verb.protocol,
          metric: verb.metric,
          mtu: verb.mtu,
          nexthops:
            verb.dev === undefined ? [] : [{ dev: device(ns, verb.dev, verb), via, onlink: verb.onlink ?? false }],
        }),
      )
      break
    }
    case 'neigh-replace': {
      const dev = device(ns, verb.dev, verb)
      const ip = parseIpv4(verb.ip) ?? refused(verb, 'bad address')
      const n = ns.neigh.lookup(dev, ip) ?? ns.neigh.create(dev, ip)
      check(
        verb,
        neighUpdate(ns.world, n, macOf(verb.mac), NUD_PERMANENT, NEIGH_UPDATE_F_ADMIN | NEIGH_UPDATE_F_OVERRIDE),
      )
      break
    }
    case 'fdb-replace': {
      const dev = device(ns, verb.dev, verb)
      if (dev.kind !== DEV_VXLAN) refused(verb, 'not a VXLAN device')
      const { cfg, fdb } = vxlanPriv(dev)
      const mac = parseMac(verb.mac) ?? refused(verb, 'bad MAC')
      const dst = parseIpv4(verb.dst) ?? refused(verb, 'bad address')
      const rd = new VxlanRdst(dst, cfg.dstport, cfg.vni, null)
      check(verb, fdb.update(mac.hi, mac.lo, rd, FDB_NUD_PERMANENT, false, 'replace', ns.world.nowNs))
      break
    }
    case 'modprobe':
      loadIpip(ns.world)
      break
    case 'file':
      break
    case 'nft': {
      const r = execTool(ns, ['nft', '-f', '-'], verb.text)
      if (r.status !== 0) refused('nft -f -', r.stderr)
      break
    }
    case 'ipset-restore': {
      const r = execTool(ns, ['ipset', 'restore'], verb.text)
      if (r.status !== 0) refused('ipset restore', r.stderr)
      break
    }
    case 'iptables-restore': {
      const r = restoreText(ns, 4, verb.text, { noflush: true, origin: (line) => verb.origins.get(line) ?? null })
      if (!r.ok) refused('iptables-restore', r.errors.map((e) => `${e.line}: ${e.message}`).join('\n'))
      break
    }
    case 'ebtables': {
      const r = execTool(ns, ['ebtables', ...verb.args])
      if (r.status > 1) refused(verb, r.stderr)
      break
    }
    case 'iptables-chain': {
      // iptables -N: a chain that exists already is status 1
      const r = execTool(ns, ['iptables', '-w', '-t', verb.table, '-N', verb.chain])
      if (r.status > 1) refused(verb, r.stderr)
      break
    }
    case 'iptables': {
      const at = verb.args.indexOf('-t')
      const table = at < 0 ? 'filter' : verb.args[at + 1]!
      const [chain, ...rule] = at < 0 ? verb.args : [...verb.args.slice(0, at), ...verb.args.slice(at + 2)]
      const base = ['iptables', '-w', '-t', table]
      if (execTool(ns, [...base, '-C', chain!, ...rule]).status === 0) break
      const flag = verb.ensure === 'append' ? '-A' : '-I'
      const r = execTool(ns, [...base, flag, chain!, ...rule])
      if (r.status !== 0) refused(verb, r.stderr)
      const rules = ns.nf.tables.get(table)?.chains.get(chain!)?.rules
      const written = verb.ensure === 'append' ? rules?.at(-1) : rules?.[0]
      if (written !== undefined) written.origin = verb.origin ?? null
      break
    }
  }
}

/**
 * Applies one command of kube-proxy. What it goes on after (iptables -N of a chain that exists) is not an error.
 * @returns what the simulated tools name as not modelled, null when the command was run
 */
export function applyProxyVerb(verb: ProxyVerb, ns: Netns): string | null {
  const { argv, check: probe, stdin } = commandLine(verb)
  if (probe !== undefined && execTool(ns, probe).status === 0) return null
  const r = execTool(ns, argv, stdin)
  if (r.status === 0 || verb.verb === 'ipset-try' || (verb.verb === 'ensure-chain' && r.status === 1)) return null
  if (r.status === UNMODELLED_STATUS) return r.stderr.trim()
  refused(argv.join(' '), r.stderr)
}
