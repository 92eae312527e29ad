/**
 * The kube-proxy fixtures: one YAML file per situation (node, configuration, objects, flows) and beside it what
 * each mode writes for it (.rules: iptables, .nft: nftables, .ipvs: IPVS). `PODWALK_UPDATE_GOLDEN=1` rewrites the rules, for review.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import type { ProxyConfig, ProxyEndpointSlice, ProxyInput, ProxyNode, ProxyService } from '../../src/proxy/types.ts'

/** One packet and what the rules make of it. */
export interface ProxyFlow {
  readonly from: string
  readonly to: string
  readonly proto: string
  readonly port: number
  readonly output: string
  readonly masq: boolean
}

/** One fixture. */
export interface ProxyFixture {
  readonly name: string
  readonly input: ProxyInput
  readonly flows: readonly ProxyFlow[]
}

interface FixtureFile {
  readonly node: ProxyNode
  readonly config: ProxyConfig
  readonly flows: readonly ProxyFlow[]
  readonly objects: readonly ({ readonly kind: string } & ProxyService & ProxyEndpointSlice)[]
}

const FOLDER = fileURLToPath(new URL('../fixtures/proxy/', import.meta.url))

/** Every fixture, by file name. */
export function proxyFixtures(): ProxyFixture[] {
  const names = readdirSync(FOLDER).filter((file) => file.endsWith('.yaml'))
  return names.sort().map((file) => proxyFixture(file.slice(0, -'.yaml'.length)))
}

/** One fixture. */
export function proxyFixture(name: string): ProxyFixture {
  const file = parse(readFileSync(`${FOLDER}${name}.yaml`, 'utf8')) as FixtureFile
  const ofKind = (kind: string) => file.objects.filter((object) => object.kind === kind)
  const input = {
    node: file.node,
    config: file.config,
    services: ofKind('Service'),
    endpointSlices: ofKind('EndpointSlice'),
  }
  return { name, input, flows: file.flows }
}

/** The golden text of a fixture and mode; with PODWALK_UPDATE_GOLDEN=1 it becomes `actual` first. */
export function goldenRules(name: string, actual: string, extension: 'rules' | 'nft' | 'ipvs' = 'rules'): string {
  const file = `${FOLDER}${name}.${extension}`
  if (process.env.PODWALK_UPDATE_GOLDEN === '1') writeFileSync(file, actual)
  if (!existsSync(file)) throw new Error(`no golden file ${file}: run with PODWALK_UPDATE_GOLDEN=1 and review it`)
  return readFileSync(file, 'utf8')
}
