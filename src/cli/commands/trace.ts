/**
 * `podwalk trace SRC DST`: the walk of one packet and of its reply.
 */
import type { Command } from 'commander'
import type { ClusterModel } from '../../kubernetes/types.ts'
import type { Verdict } from '../../linux/reasons.ts'
import type { Trace } from '../../query/trace-types.ts'
import { TRACE_FORMATS } from '../../report/formats.ts'
import { choiceOption } from '../choice.ts'
import { CliError, EXIT_NO, EXIT_UNMODELLED, usageError } from '../exit.ts'
import { readCluster, reportDiagnostics } from '../input.ts'
import {
  addInputOptions,
  addOutputOptions,
  addTimeOption,
  type InputFlags,
  integer,
  type OutputFlags,
} from '../options.ts'
import { note, refuseBinaryToTty, stdoutPaint, writeData } from '../output.ts'

const VERDICTS: readonly Verdict[] = [
  ...(['DELIVERED', 'DROPPED', 'REJECTED', 'UNREACHABLE'] as const),
  ...(['TTL_EXCEEDED', 'FRAG_NEEDED', 'LOOP', 'UNMODELLED'] as const),
]

const EXAMPLES = `Examples:
  podwalk trace deploy/shop/web svc/shop/api:80 -f shop.yaml
  podwalk trace shop/db-0 api:http -n shop --flow -f k8s/ -o pcapng -w walk.pcapng
  podwalk trace internet --http GET https://shop.example.com/api -f k8s/
`

const ENDPOINTS = `
Endpoints: NS/POD, pod/NS/POD, deploy/NS/NAME, svc/NS/NAME:PORT, node/NAME,
host:IP (a machine outside the cluster; internet is one), an IP, a DNS name as a pod
resolves it.
:PORT is a number or a port name; without NS/ the namespace is that of -n.

Exit codes: 0 answered, 1 not as --expect says, 2 usage, 3 invalid input,
4 UNMODELLED under --strict, 70 internal error.
`

interface TraceFlags extends InputFlags, OutputFlags {
  readonly proto: 'tcp' | 'udp' | 'sctp' | 'icmp'
  readonly sport?: number
  readonly size?: number
  readonly flow?: boolean
  readonly expect?: Verdict
  readonly http?: readonly string[]
}

/** Adds the command. */
export function registerTrace(program: Command): void {
  const command = program
    .command('trace')
    .argument('<src>', 'who sends')
    .argument('[dst]', 'to whom; not needed with --http')
    .description('walk one packet and its reply through the cluster')
    .addHelpText('before', EXAMPLES)
    .addHelpText('after', ENDPOINTS)
    .addOption(choiceOption('--proto <name>', 'protocol', ['tcp', 'udp', 'sctp', 'icmp']).default('tcp'))
    .option('--sport <port>', 'source port (default: chosen as Linux does)', integer(1, 65535))
    .option('--size <bytes>', 'payload of a UDP or ICMP packet, request of a TCP connection', integer(0, 10_000_000))
    .option('--flow', 'play the whole connection: handshake, data, close')
    .option('--http <request...>', 'METHOD URL: send a request, follow it through controllers and gateways')
    .addOption(choiceOption('--expect <verdict>', 'exit with 1 when the verdict is another', VERDICTS))
  addTimeOption(command)
  addInputOptions(
    addOutputOptions(
      command,
      TRACE_FORMATS.map((f) => f.name),
    ),
  ).action(trace)
}

async function trace(src: string, dst: string | undefined, flags: TraceFlags): Promise<void> {
  const format = TRACE_FORMATS.find((f) => f.name === flags.output)!
  refuseBinaryToTty(format.isBinary, format.name, flags.write)
  const model = await readCluster(flags)
  const answer = await ask(model, src, dst, flags)
  for (const [word, end] of [
    ['from', answer.question.src],
    ['to', answer.question.dst],
  ] as const) {
    if (end.how !== undefined && end.how !== '') note(`podwalk: ${word} ${end.asked}: ${end.how}`)
  }
  writeData(await format.render(answer, stdoutPaint(flags.color, flags.write)), flags.write)
  if (flags.expect !== undefined && answer.verdict !== flags.expect) {
    throw new CliError(EXIT_NO, `expected ${flags.expect}, got ${answer.verdict}: ${answer.reason.text}`)
  }
  if (flags.strict === true && answer.verdict === 'UNMODELLED') throw new CliError(EXIT_UNMODELLED, answer.reason.text)
}

async function ask(model: ClusterModel, src: string, dst: string | undefined, flags: TraceFlags): Promise<Trace> {
  const [method, url, more] = flags.http ?? []
  if (flags.http !== undefined && (url === undefined || more !== undefined))
    throw usageError('--http takes a method and a URL', 'for example --http GET https://shop.example.com/api')
  if (dst === undefined && url === undefined)
    throw usageError("missing required argument 'dst'", 'or --http METHOD URL')
  const { askTrace } = await import('../../query/ask.ts')
  const { trace: answer, diagnostics } = askTrace(model, {
    src,
    dst: dst ?? '',
    namespace: flags.namespace,
    protocol: flags.proto.toUpperCase() as Uppercase<TraceFlags['proto']>,
    ...(flags.sport !== undefined && { sport: flags.sport }),
    ...(flags.size !== undefined && { size: flags.size }),
    ...(url !== undefined && { http: { method: method!.toUpperCase(), url } }),
    flow: flags.flow ?? false,
    seed: flags.seed ?? model.config.seed,
    verbose: flags.verbose ?? false,
    ...(flags.at !== undefined && { atS: flags.at }),
  })
  reportDiagnostics(diagnostics, flags)
  if (answer === null) throw new Error('no answer and no diagnostic')
  return answer
}
