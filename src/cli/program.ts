/**
 * The commands: one entry each. Only the file of the command that was asked for is loaded.
 */
import { Command } from 'commander'
import { version } from './version.ts'

/** Adds a command to the program. */
type Register = (program: Command) => void

interface CommandEntry {
  readonly name: string
  readonly summary: string
  readonly load: () => Promise<Register>
}

/** Every command, in the order of the help. */
export const COMMANDS: readonly CommandEntry[] = [
  {
    name: 'trace',
    summary: 'walk one packet and its reply through the cluster',
    load: async () => (await import('./commands/trace.ts')).registerTrace,
  },
  {
    name: 'reach',
    summary: 'who can talk to whom: by pod or workload, with ports',
    load: async () => (await import('./commands/reach.ts')).registerReach,
  },
  {
    name: 'why',
    summary: 'why a connection is allowed or denied, rule by rule',
    load: async () => (await import('./commands/why.ts')).registerWhy,
  },
  {
    name: 'check',
    summary: 'check assertions about who can talk to whom, for CI',
    load: async () => (await import('./commands/check.ts')).registerCheck,
  },
  {
    name: 'diff',
    summary: 'connections that a change of manifests adds and removes',
    load: async () => (await import('./commands/diff.ts')).registerDiff,
  },
  {
    name: 'lint',
    summary: 'findings in policies, services and addressing',
    load: async () => (await import('./commands/lint.ts')).registerLint,
  },
  {
    name: 'advise',
    summary: 'suggest the least policies that let given flows through',
    load: async () => (await import('./commands/advise.ts')).registerAdvise,
  },
  {
    name: 'exec',
    summary: 'run ip, iptables-save, ping ... inside a simulated node or pod',
    load: async () => (await import('./commands/exec.ts')).registerExec,
  },
  {
    name: 'get',
    summary: 'show nodes, pods, services, links, routes, rules, bgp',
    load: async () => (await import('./commands/get.ts')).registerGet,
  },
  {
    name: 'lab',
    summary: 'run low-level scenarios in the simulator or on the real kernel',
    load: async () => (await import('./lab.ts')).registerLab,
  },
  {
    name: 'bgp',
    summary: 'speak BGP with real routers',
    load: async () => (await import('./commands/bgp.ts')).registerBgp,
  },
  {
    name: 'explain',
    summary: 'say what a reason means and what to look at',
    load: async () => (await import('./commands/explain.ts')).registerExplain,
  },
  {
    name: 'schema',
    summary: 'print the JSON Schema of a document',
    load: async () => (await import('./commands/schema.ts')).registerSchema,
  },
  {
    name: 'completion',
    summary: 'print a completion script for a shell',
    load: async () => (await import('./commands/completion.ts')).registerCompletion,
  },
  {
    name: 'version',
    summary: 'print the versions of podwalk and of Node',
    load: async () => (await import('./commands/version.ts')).registerVersion,
  },
]

const EXAMPLES = `Examples:
  podwalk trace deploy/shop/web svc/shop/api:80 -f shop.yaml
  podwalk exec node/n1 -f shop.yaml -- iptables-save -t nat
  podwalk get pods -f shop.yaml
`

function helpHint(command: string): string {
  return `(${command} --help shows what there is)`
}

/** An error in a command names the help of that command, not the program's. */
function pointToOwnHelp(command: Command, path: string): void {
  command.showHelpAfterError(helpHint(path))
  for (const inner of command.commands) pointToOwnHelp(inner, `${path} ${inner.name()}`)
}

/**
 * The program with the command of these arguments, or with all of them. What is not loaded is there by name and summary,
 * for the help and for did-you-mean.
 */
export async function buildProgram(wanted: readonly string[] | 'all'): Promise<Command> {
  const program = new Command('podwalk')
    .description('Walks packets through a simulated Kubernetes network: real manifests in, real frames out.')
    .version(version(), '-V, --version', 'print the version')
    .configureHelp({ helpWidth: 80 })
    .showSuggestionAfterError(true)
    .showHelpAfterError(helpHint('podwalk'))
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'podwalk: ')) })
    .enablePositionalOptions()
    .exitOverride()
  program.addHelpText('before', EXAMPLES)
  const name = wanted === 'all' ? '' : wanted[0] === 'help' ? wanted[1] : wanted[0]
  for (const command of COMMANDS) {
    if (wanted === 'all' || command.name === name) (await command.load())(program)
    else program.command(command.name).description(command.summary)
  }
  for (const command of program.commands) pointToOwnHelp(command, `podwalk ${command.name()}`)
  return program
}
