/**
 * One sync of kube-proxy's IPVS mode for one address family.
 *
 * Every sync goes over all Services and changes what differs: virtual and real servers and addresses while it goes, then
 * ipset entries, the iptables rules (always all of them), addresses and virtual servers that are left over.
 *
 * Not modelled: kube-proxy's probe with a dummy virtual server at start, commands that fail (but for ipset entries that
 * cannot be stored).
 *
 * Source: pkg/proxy/ipvs/proxier.go (syncProxyRules, NewProxier), v1.34.
 */
import { familyOf, isLoopback, parseIp } from '../addresses.ts'
import { type ObjectState, surroundingsOf } from '../changes.ts'
import { localDetector } from '../detector.ts'
import { endpointKey, serviceEndpoints } from '../endpoint.ts'
import type { SyncOptions } from '../mode.ts'
import { nodePortAddresses } from '../node-port-addresses.ts'
import { compareText, servicePorts } from '../service-port.ts'
import { masqueradeMark } from '../traffic.ts'
import type { IpFamily, ProxyInput, ProxyVerb, RuleOrigin } from '../types.ts'
import { collectPort, type IpvsCollection } from './collect.ts'
import { ensureIpvsJumps, ipvsRestoreText } from './rules.ts'
import { deleteUnusedServers, type ProgrammedServers, serverSync } from './servers.ts'
import { createLine, emptySets, isRefusedEntry, SET_NAMES, type SetEntries, setNameOf } from './sets.ts'

/** The interface that carries the Service addresses. */
export const DUMMY_DEVICE = 'kube-ipvs0'

const DEFAULT_SCHEDULER = 'rr'
const RESTORE_ARGS: readonly string[] = ['-w', '5', '--noflush', '--counters']

/** What a sync leaves for the next one. */
export interface IpvsFamilyState extends ObjectState {
  readonly servers: ProgrammedServers
  readonly terminating: ReadonlySet<string>
  readonly sets: SetEntries
  readonly bound: ReadonlySet<string>
}

/** Runs one sync; origins of virtual servers and entries are added to `lookups`. */
export function syncIpvsFamily(
  input: ProxyInput,
  family: IpFamily,
  previous: IpvsFamilyState | undefined,
  options: SyncOptions,
  lookups: Map<string, RuleOrigin>,
): { readonly verbs: readonly ProxyVerb[]; readonly state: IpvsFamilyState } {
  const ports = servicePorts(input.services, family, input.config)
  const endpoints = serviceEndpoints(input.endpointSlices, family, input.node.name)
  const surroundings = surroundingsOf(input)
  const isStart = previous === undefined || options.restart === true || previous.surroundings !== surroundings
  const collection = collect(input, family, previous, isStart, options, lookups)
  for (const port of ports) collectPort(collection, port, endpoints.get(endpointKey(port)) ?? [])
  const { bound, servers, sets } = collection
  sets.set('KUBE-IPVS-IPS', new Set(bound))

  const verbs: ProxyVerb[] = []
  if (isStart || options.full === true) {
    verbs.push(...ensureIpvsJumps(family))
    if (previous === undefined) verbs.push({ verb: 'ip', family, args: ['link', 'add', DUMMY_DEVICE, 'type', 'dummy'] })
    verbs.push({ verb: 'ipset', family, text: SET_NAMES.map((name) => `${createLine(name, family)}\n`).join('') })
  }
  const length = family === 'IPv4' ? 32 : 128
  const address = (what: 'add' | 'del', ip: string): ProxyVerb => ({
    verb: 'ip',
    family,
    args: ['addr', what, `${ip}/${length}`, 'dev', DUMMY_DEVICE],
  })
  if (servers.lines.length > 0) verbs.push({ verb: 'ipvs', family, text: `${servers.lines.join('\n')}\n` })
  for (const ip of bound) if (previous?.bound.has(ip) !== true) verbs.push(address('add', ip))
  verbs.push(...setChanges(family, previous?.sets, sets))
  const detector = localDetector(input.config, input.node, family)
  const text = ipvsRestoreText(collection, detector, masqueradeMark(input.config))
  verbs.push({ verb: 'iptables-restore', family, args: RESTORE_ARGS, text })
  for (const ip of [...(previous?.bound ?? [])].sort(compareText)) if (!bound.has(ip)) verbs.push(address('del', ip))
  servers.lines.length = 0
  deleteUnusedServers(servers, input.config.excludeCidrs ?? [])
  if (servers.lines.length > 0) verbs.push({ verb: 'ipvs', family, text: `${servers.lines.join('\n')}\n` })
  return {
    verbs,
    state: {
      ports,
      endpoints,
      surroundings,
      servers: servers.servers,
      terminating: servers.terminating,
      sets,
      bound,
    },
  }
}

function collect(
  input: ProxyInput,
  family: IpFamily,
  previous: IpvsFamilyState | undefined,
  isStart: boolean,
  options: SyncOptions,
  lookups: Map<string, RuleOrigin>,
): IpvsCollection {
  const { config, node } = input
  const ips = node.ips.map(parseIp).filter((ip) => ip !== null)
  const ofFamily = ips.filter((ip) => familyOf(ip) === family)
  const local = node.ips.filter((text) => {
    const ip = parseIp(text)
    return ip !== null && familyOf(ip) === family && !isLoopback(ip) && !text.toLowerCase().startsWith('fe80:')
  })
  const accepted = nodePortAddresses(config, node, family)
  const nodePortIps = accepted.matchAll
    ? [...local].sort(compareText)
    : accepted.ips.filter((ip) => !isLoopbackText(ip))
  // A kube-proxy that has just started has no list of terminating servers.
  const terminating = isStart ? [] : (previous?.terminating ?? [])
  return {
    input,
    family,
    scheduler:
      config.ipvsScheduler === undefined || config.ipvsScheduler === '' ? DEFAULT_SCHEDULER : config.ipvsScheduler,
    nodeIp: ofFamily[0] ?? null,
    nodeAddresses: new Set(local),
    nodePortIps,
    sets: emptySets(),
    servers: serverSync(previous?.servers, terminating, isStart, options),
    bound: new Set(),
    refusedToNode: [],
    lookups,
  }
}

function isLoopbackText(text: string): boolean {
  const ip = parseIp(text)
  return ip !== null && isLoopback(ip)
}

function setChanges(family: IpFamily, before: SetEntries | undefined, now: SetEntries): ProxyVerb[] {
  const lines: string[] = []
  const tries: ProxyVerb[] = []
  for (const name of SET_NAMES) {
    const old = before?.get(name) ?? new Set<string>()
    const current = now.get(name) ?? new Set<string>()
    const set = setNameOf(name, family)
    for (const entry of old) {
      if (!current.has(entry) && !isRefusedEntry(name, entry)) lines.push(`del ${set} ${entry}`)
    }
    for (const entry of current) {
      if (isRefusedEntry(name, entry)) tries.push({ verb: 'ipset-try', family, args: ['add', set, entry, '-exist'] })
      else if (!old.has(entry)) lines.push(`add ${set} ${entry}`)
    }
  }
  return lines.length === 0 ? tries : [{ verb: 'ipset', family, text: `${lines.join('\n')}\n` }, ...tries]
}
