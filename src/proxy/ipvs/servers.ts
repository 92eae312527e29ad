/**
 * Virtual servers and their real servers: what IPVS should hold, and the ipvsadm lines from what it holds to that.
 *
 * A real server that goes away while connections use it gets weight 0 and waits on a list; once a minute those without
 * connections are deleted. UDP and SCTP servers are deleted at once. One that comes back while it waits is deleted and
 * added. The first sync of a kube-proxy gives every real server that stays its weight of 1 again.
 *
 * Sources: pkg/proxy/ipvs/proxier.go (syncService, syncEndpoint, cleanLegacyService), graceful_termination.go.
 */
import { parseIp, parsePrefix, prefixContains } from '../addresses.ts'
import type { SyncOptions } from '../mode.ts'
import { compareText } from '../service-port.ts'

/** One virtual server. */
export interface VirtualServer {
  readonly address: string
  readonly port: number
  /** Lower case. */
  readonly protocol: string
  readonly scheduler: string
  /** Seconds of persistence, null without. */
  readonly persistence: number | null
}

/** A virtual server with its real servers `ip:port` and their weights. */
export interface ProgrammedServer {
  readonly server: VirtualServer
  readonly destinations: ReadonlyMap<string, number>
}

/** By `serverKey`. */
export type ProgrammedServers = ReadonlyMap<string, ProgrammedServer>

const OPTION: { readonly [protocol: string]: string } = { tcp: '-t', udp: '-u', sctp: '--sctp-service' }

/** `tcp 10.96.0.1:80`, an IPv6 address in brackets. */
export function serverKey({ address, port, protocol }: VirtualServer): string {
  return `${protocol} ${address.includes(':') ? `[${address}]` : address}:${port}`
}

/** The option and address by which ipvsadm names the server. */
function nameOf(key: string): string {
  const [protocol = '', at = ''] = key.split(' ')
  return `${OPTION[protocol] ?? '-t'} ${at}`
}

function definition({ scheduler, persistence }: VirtualServer): string {
  const sticky = persistence === null ? '' : ` -p ${persistence}`
  // kube-proxy sets IP_VS_SVC_F_SCHED2 for mh, meant as source hash with the port.
  return `-s ${scheduler}${sticky}${scheduler === 'mh' ? ' -b mh-port' : ''}`
}

/** The servers during one sync. */
export interface ServerSync {
  readonly lines: string[]
  readonly servers: Map<string, ProgrammedServer>
  /** Destinations that wait for their connections to end: `server key/ip:port`. */
  readonly terminating: Set<string>
  readonly active: Set<string>
  readonly isStart: boolean
  readonly options: SyncOptions
}

/** A sync that finds `existing` in the kernel. */
export function serverSync(
  existing: ProgrammedServers | undefined,
  terminating: Iterable<string>,
  isStart: boolean,
  options: SyncOptions,
): ServerSync {
  return {
    lines: [],
    servers: new Map(existing),
    terminating: new Set(terminating),
    active: new Set(),
    isStart,
    options,
  }
}

/** Makes sure of a virtual server and its real servers. */
export function ensureServer(sync: ServerSync, server: VirtualServer, targets: readonly string[]): void {
  const key = serverKey(server)
  sync.active.add(key)
  const known = sync.servers.get(key)
  const wanted = definition(server)
  if (known === undefined) sync.lines.push(`-A ${nameOf(key)} ${wanted}`)
  else if (definition(known.server) !== wanted) sync.lines.push(`-E ${nameOf(key)} ${wanted}`)
  if (!sync.isStart && known !== undefined && hasExactly(known.destinations, targets)) {
    sync.servers.set(key, { server, destinations: known.destinations })
    return
  }
  const destinations = new Map(known?.destinations)
  sync.servers.set(key, { server, destinations })
  ensureDestinations(sync, key, targets, destinations)
}

/** True when the targets are there with full weight and nothing else is. */
function hasExactly(destinations: ReadonlyMap<string, number>, targets: readonly string[]): boolean {
  return destinations.size === targets.length && targets.every((target) => destinations.get(target) === 1)
}

function ensureDestinations(
  sync: ServerSync,
  key: string,
  targets: readonly string[],
  destinations: Map<string, number>,
): void {
  const current = [...destinations.keys()]
  const someWeightDiffers = current.some((target) => destinations.get(target) !== 1)
  for (const target of targets) {
    const waiting = `${key}/${target}`
    if (destinations.has(target)) {
      if (sync.isStart && someWeightDiffers) sync.lines.push(`-e ${nameOf(key)} -r ${target} -m -w 1`)
      if (sync.terminating.delete(waiting)) sync.lines.push(`-d ${nameOf(key)} -r ${target}`)
      else {
        destinations.set(target, sync.isStart ? 1 : (destinations.get(target) ?? 1))
        continue
      }
    }
    sync.lines.push(`-a ${nameOf(key)} -r ${target} -m -w 1`)
    destinations.delete(target)
    destinations.set(target, 1)
  }
  const keep = new Set(targets)
  for (const target of current.sort(compareText)) {
    if (keep.has(target) || sync.terminating.has(`${key}/${target}`)) continue
    if (removeWhenUnused(sync, key, target)) {
      destinations.delete(target)
      continue
    }
    sync.lines.push(`-e ${nameOf(key)} -r ${target} -m -w 0`)
    destinations.set(target, 0)
    sync.terminating.add(`${key}/${target}`)
  }
}

/** Deletes the virtual servers nothing asked for, but for excluded addresses. */
export function deleteUnusedServers(sync: ServerSync, excludeCidrs: readonly string[]): void {
  const excluded = excludeCidrs.map(parsePrefix).filter((prefix) => prefix !== null)
  for (const [key, { server }] of [...sync.servers].sort(([a], [b]) => compareText(a, b))) {
    const ip = parseIp(server.address)
    if (sync.active.has(key) || (ip !== null && excluded.some((prefix) => prefixContains(prefix, ip)))) continue
    sync.lines.push(`-D ${nameOf(key)}`)
    sync.servers.delete(key)
  }
}

/** Once a minute: deletes the waiting destinations whose connections have ended. */
export function deleteTerminated(sync: ServerSync): void {
  for (const waiting of [...sync.terminating].sort(compareText)) {
    const at = waiting.lastIndexOf('/')
    const [key, target] = [waiting.slice(0, at), waiting.slice(at + 1)]
    const known = sync.servers.get(key)
    if (known?.destinations.has(target) !== true) sync.terminating.delete(waiting)
    else if (removeWhenUnused(sync, key, target)) {
      sync.terminating.delete(waiting)
      const destinations = new Map(known.destinations)
      destinations.delete(target)
      sync.servers.set(key, { ...known, destinations })
    }
  }
}

/** Deletes a destination that nobody uses; false when TCP connections still do. */
function removeWhenUnused(sync: ServerSync, key: string, target: string): boolean {
  const connections = sync.options.connections?.(key, target) ?? 0
  if (key.startsWith('tcp ') && connections > 0) return false
  sync.lines.push(`-d ${nameOf(key)} -r ${target}`)
  return true
}
