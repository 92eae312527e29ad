/**
 * The commands: one line each. Only the file of the command that was asked for is loaded, all of them for the help.
 */
import { Command } from 'commander'
import { version } from './version.ts'

/** Adds a command to the program. */
type Register = (program: Command) => void

/** Every command, in the order of the help. */
export const COMMANDS: readonly { readonly name: string; readonly load: () => Promise<Register> }[] = [
  { name: 'trace', load: async () => (await import('./commands/trace.ts')).registerTrace },
  { name: 'exec', load: async () => (await import('./commands/exec.ts')).registerExec },
  { name: 'get', load: async () => (await import('./commands/get.ts')).registerGet },
  { name: 'lab', load: async () => (await import('./lab.ts')).registerLab },
  { name: 'explain', load: async () => (await import('./commands/explain.ts')).registerExplain },
  { name: 'schema', load: async () => (await import('./commands/schema.ts')).registerSchema },
  { name: 'completion', load: async () => (await import('./commands/completion.ts')).registerCompletion },
  { name: 'version', load: async () => (await import('./commands/version.ts')).registerVersion },
]

const EXAMPLES = `Examples:
  podwalk trace deploy/shop/web svc/shop/api:80 -f shop.yaml
  podwalk exec node/n1 -f shop.yaml -- iptables-save -t nat
  podwalk get pods -f shop.yaml
`

/** The program with the commands that `args` need. */
export async function buildProgram(args: readonly string[]): Promise<Command> {
  const program = new Command('podwalk')
    .description('Walks packets through a simulated Kubernetes network: real manifests in, real frames out.')
    .version(version(), '-V, --version', 'print the version')
    .configureHelp({ helpWidth: 80 })
    .showSuggestionAfterError(true)
    .showHelpAfterError('(podwalk --help shows what there is)')
    .enablePositionalOptions()
    .exitOverride()
  program.addHelpText('before', EXAMPLES)
  const asked = COMMANDS.find((c) => c.name === args[0])
  for (const command of asked === undefined ? COMMANDS : [asked]) (await command.load())(program)
  return program
}
