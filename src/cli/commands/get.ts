/**
 * `podwalk get nodes|pods|services|links|routes|rules|bgp|timeline`: the built cluster as tables.
 */
import type { Command } from 'commander'
import type { ClusterModel } from '../../kubernetes/types.ts'
import { nodesTable, podsTable, servicesTable, type TableDocument } from '../../query/tables.ts'
import { documentTable } from '../../report/table.ts'
import { choiceArgument } from '../choice.ts'
import { readCluster } from '../input.ts'
import { addInputOptions, addOutputOptions, addTimeOption, type InputFlags, type OutputFlags } from '../options.ts'
import { stdoutPaint, writeData, writeDocument } from '../output.ts'
import { startCluster } from '../start.ts'

type What = 'nodes' | 'pods' | 'services' | 'links' | 'routes' | 'rules' | 'bgp' | 'timeline'
const KINDS: readonly What[] = ['nodes', 'pods', 'services', 'links', 'routes', 'rules', 'bgp', 'timeline']
const SHORT: { readonly [word: string]: What } = {
  node: 'nodes',
  no: 'nodes',
  pod: 'pods',
  po: 'pods',
  service: 'services',
  svc: 'services',
}

const EXAMPLES = `Examples:
  podwalk get pods -f shop.yaml
  podwalk get services -n shop -f shop.yaml -o json
  podwalk get links -f shop.yaml -o wide
`

/** Adds the command. */
export function registerGet(program: Command): void {
  const command = program
    .command('get')
    .argument('<what>', KINDS.join(', '), choiceArgument(KINDS, SHORT))
    .description('show the built cluster: nodes, pods, services, links, routes, rules, bgp, timeline')
    .addHelpText('before', EXAMPLES)
  addInputOptions(addOutputOptions(addTimeOption(command), ['text', 'wide', 'json', 'yaml'])).action(get)
}

async function get(what: What, flags: InputFlags & OutputFlags, command: Command): Promise<void> {
  const model = await readCluster(flags)
  let document = await ask(what, model, flags)
  if (command.getOptionValueSource('namespace') === 'cli' && (what === 'pods' || what === 'services')) {
    document = { ...document, items: document.items.filter((i) => i.namespace === flags.namespace) }
  }
  if (flags.output === 'json' || flags.output === 'yaml') {
    await writeDocument(document, flags)
    return
  }
  writeData(documentTable(document, flags.output === 'wide', stdoutPaint(flags.color, flags.write)), flags.write)
}

async function ask(what: What, model: ClusterModel, flags: InputFlags): Promise<TableDocument> {
  switch (what) {
    case 'nodes':
      return nodesTable(model)
    case 'pods':
      return podsTable(model)
    case 'services':
      return servicesTable(model)
  }
  const cluster = await startCluster(model, flags)
  const { bgpTable, linksTable, routesTable, rulesTable, timelineTable } = await import('../../query/kernel-tables.ts')
  if (what === 'bgp') return bgpTable(cluster)
  if (what === 'timeline') return timelineTable(cluster)
  return what === 'links' ? linksTable(cluster) : what === 'routes' ? routesTable(cluster) : rulesTable(cluster)
}
