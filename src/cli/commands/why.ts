/**
 * `podwalk why SRC DST`: every policy and rule that had a say in a connection.
 */
import type { Command } from 'commander'
import type { Parties } from '../../query/parties.ts'
import { choiceOption } from '../choice.ts'
import { CliError, EXIT_NO, usageError } from '../exit.ts'
import { reportDiagnostics } from '../input.ts'
import { addInputOptions, addOutputOptions, type InputFlags, type OutputFlags } from '../options.ts'
import { note, stdoutPaint, writeData, writeDocument } from '../output.ts'
import { addPolicyOptions, type PolicyFlags, type PortProbe, portProbe, readPolicies } from '../policy-options.ts'

const EXAMPLES = `Examples:
  podwalk why deploy/shop/web shop/db-0 --port TCP/5432 -f shop.yaml
  podwalk why ns/shop 198.51.100.7 --port TCP/443 -f k8s/
  podwalk why shop/web svc/shop/db:5432 -f shop.yaml --without db-only-api
`

interface WhyFlags extends InputFlags, OutputFlags, PolicyFlags {
  readonly port?: PortProbe
  readonly expect?: 'allowed' | 'denied'
}

/** Adds the command. */
export function registerWhy(program: Command): void {
  const command = program
    .command('why')
    .argument('<src>', 'who sends: NS/POD, deploy/NS/NAME, ns/NAME, node/NAME, an IP')
    .argument('<dst>', 'to whom; svc/NS/NAME:PORT stands for its endpoints')
    .description('why a connection is allowed or denied, rule by rule')
    .addHelpText('before', EXAMPLES)
    .option('--port <proto/port>', 'which port, such as TCP/80', portProbe)
    .addOption(choiceOption('--expect <verdict>', 'exit with 1 when the verdict is another', ['allowed', 'denied']))
  addPolicyOptions(command)
  addInputOptions(addOutputOptions(command, ['text', 'json', 'yaml'])).action(why)
}

async function why(src: string, dst: string, flags: WhyFlags): Promise<void> {
  const { model, engine } = await readPolicies(flags)
  const { resolveParties } = await import('../../query/parties.ts')
  const end = (text: string): Parties => {
    const { found, diagnostic } = resolveParties(engine, model, text, flags.namespace)
    if (diagnostic !== undefined) reportDiagnostics([diagnostic], flags)
    return found!
  }
  const [from, to] = [end(src), end(dst)]
  const port = flags.port?.port ?? to.port ?? to.parties[0]?.ports[0]?.port
  if (port === undefined) throw usageError('no port was given', 'name one with --port TCP/80 or behind the destination')
  if (flags.port === undefined)
    note(`podwalk: port TCP/${port}: ${to.port === null ? 'the first that the pod declares' : 'of the destination'}`)
  const { whyQuery } = await import('../../query/why.ts')
  const { isEnforced } = await import('../../query/enforcement.ts')
  const protocol = flags.port?.protocol ?? 'TCP'
  const question = { asked: { src, dst }, src: from, dst: to, protocol, port }
  const answer = whyQuery(engine, model, question)
  if (flags.output === 'text') {
    const { whyText } = await import('../../report/why.ts')
    writeData(whyText(answer, stdoutPaint(flags.color, flags.write)), flags.write)
  } else await writeDocument(answer, flags)
  const { cni, ignored } = answer.enforcement
  if (flags.expect === 'denied' && !answer.allowed && ignored.length > 0) {
    const enforced = engine.withPolicies(engine.policies.filter((p) => isEnforced(p, cni)))
    if (whyQuery(enforced, model, question).allowed)
      throw new CliError(EXIT_NO, `expected denied: the policies say so, but ${cni} does not enforce them`)
  }
  if (flags.expect !== undefined && (flags.expect === 'allowed') !== answer.allowed) {
    throw new CliError(EXIT_NO, `expected ${flags.expect}, got ${answer.allowed ? 'allowed' : 'denied'}`)
  }
}
