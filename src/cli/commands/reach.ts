/**
 * `podwalk reach [SRC] [DST]`: who can talk to whom.
 */
import type { Command } from 'commander'
import type { ReachBy, ReachEngine } from '../../query/reach-types.ts'
import { REACH_FORMATS } from '../../report/reach/formats.ts'
import { choiceOption } from '../choice.ts'
import { CliError, EXIT_UNMODELLED } from '../exit.ts'
import { reportDiagnostics } from '../input.ts'
import { addInputOptions, addOutputOptions, type InputFlags, type OutputFlags } from '../options.ts'
import { note, stdoutPaint, writeData } from '../output.ts'
import { addPolicyOptions, type PolicyFlags, type PortProbe, portProbe, readPolicies } from '../policy-options.ts'

const EXAMPLES = `Examples:
  podwalk reach -f shop.yaml
  podwalk reach deploy/shop/web svc/shop/db:5432 -f shop.yaml
  podwalk reach -f k8s/ --by pod --port TCP/80 --port UDP/53 -o json
`

interface ReachFlags extends InputFlags, OutputFlags, PolicyFlags {
  readonly by: ReachBy
  readonly port?: PortProbe[]
  readonly engine: ReachEngine
  readonly focus?: string
  readonly exposure?: boolean
}

/** Adds the command. */
export function registerReach(program: Command): void {
  const command = program
    .command('reach')
    .argument('[src]', 'only from here: NS/POD, deploy/NS/NAME, ns/NAME, node/NAME, an IP, a CIDR')
    .argument('[dst]', 'only to here; svc/NS/NAME:PORT stands for its endpoints')
    .description('who can talk to whom: by pod or workload, with ports and outside addresses')
    .addHelpText('before', EXAMPLES)
    .addOption(choiceOption('--by <what>', 'what a line is about', ['workload', 'pod']).default('workload'))
    .option('--port <proto/port>', 'ask all pairs about a port, such as TCP/80 (repeatable)', collectPort)
    .addOption(choiceOption('--engine <which>', 'whose answer', ['policy', 'packets', 'both']).default('policy'))
    .option('--focus <end>', 'only what this one sends or receives')
    .option('--exposure', 'what is open to pods that are not in the manifests')
  addPolicyOptions(command)
  addInputOptions(
    addOutputOptions(
      command,
      REACH_FORMATS.map((f) => f.name),
    ),
  ).action(reach)
}

async function reach(src: string | undefined, dst: string | undefined, flags: ReachFlags): Promise<void> {
  const { model, engine } = await readPolicies(flags)
  const { resolveParties } = await import('../../query/parties.ts')
  const end = (text: string | undefined) => {
    if (text === undefined || text === '*') return undefined
    const { found, diagnostic } = resolveParties(engine, model, text, flags.namespace)
    if (diagnostic !== undefined) reportDiagnostics([diagnostic], flags)
    return found
  }
  const [from, to, focus] = [end(src), end(dst), end(flags.focus)]
  const question = {
    by: flags.by,
    probes: flags.port ?? [],
    exposure: flags.exposure ?? false,
    ...(from !== undefined && { src: from }),
    ...(to !== undefined && { dst: to }),
    ...(focus !== undefined && { focus }),
  }
  const { askReach } = await import('../../query/ask-reach.ts')
  const { answer, diagnostics, unmodelled } = askReach(
    engine,
    model,
    question,
    flags.engine,
    flags.seed ?? model.config.seed,
  )
  reportDiagnostics(diagnostics, flags)
  for (const text of answer.notes) note(`podwalk: ${text}`)
  const format = REACH_FORMATS.find((f) => f.name === flags.output)!
  writeData(await format.render(answer, stdoutPaint(flags.color, flags.write)), flags.write)
  if (flags.strict === true && unmodelled !== null) throw new CliError(EXIT_UNMODELLED, unmodelled)
}

function collectPort(text: string, before: PortProbe[] = []): PortProbe[] {
  return [...before, portProbe(text)]
}
