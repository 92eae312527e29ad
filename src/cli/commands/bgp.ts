/**
 * `podwalk bgp speak`: a BGP speaker over real TCP; at its end (or SIGTERM) the sessions and the routes.
 */
import { type Command, InvalidArgumentError } from 'commander'
import type { BgpState } from '../../bgp/state.ts'
import type { SpeakFlags } from '../bgp/arguments.ts'
import { choiceOption } from '../choice.ts'
import { CliError, EXIT_SERVICE } from '../exit.ts'
import { addOutputOptions, colorOption, integer } from '../options.ts'
import { note, stdoutPaint, writeData, writeDocument } from '../output.ts'

const EXAMPLES = `Examples:
  podwalk bgp speak --local 192.0.2.1 --asn 64512 --neighbor 192.0.2.2 --for 30s
  podwalk bgp speak --local 192.0.2.1 --asn 64512 --neighbor 192.0.2.9,asn=65000 \\
    --announce 10.9.0.0/16 --announce 203.0.113.7/32,community=64512:7
  podwalk bgp speak --config speaker.yaml -o json
`

const NEIGHBORS = `
Words behind a neighbor's address: asn=N (default: the own), port=N, passive,
rr-client, add-paths, graceful-restart, next-hop-self, allow-as-in=N, ipv6.
Port 179 needs root. Routes are printed, not put into this machine's kernel.

Exit codes: 0 every session was up at the end, 5 one was not, 2 usage, 3 input,
4 UNMODELLED (TCP MD5 passwords, TTL security).
`

/** Adds `bgp` with its command. */
export function registerBgp(program: Command): void {
  const bgp = program.command('bgp').description('speak BGP with real routers')
  const command = bgp
    .command('speak')
    .description('speak BGP over real TCP; at the end the sessions and the routes')
    .addHelpText('before', EXAMPLES)
    .addHelpText('after', NEIGHBORS)
    .option('--local <address>', 'own address: listens there, connects from there')
    .option('--asn <n>', 'own AS', integer(1, 0xffffffff))
    .option('--router-id <id>', 'BGP identifier (default: --local)')
    .option('--neighbor <address[,word...]>', 'a neighbor (repeatable)', collect)
    .option('--announce <prefix[,nexthop=ADDR]>', 'a network to announce (repeatable)', collect)
    .option('--hold <time>', 'hold time, 90s or 0 for none', duration)
    .option('--for <time>', 'end after this time (default: on SIGTERM or SIGINT)', duration)
    .option('--port <n>', 'TCP port to listen on (default: 179)', integer(1, 65535))
    .option('--config <file>', 'a BgpSpeaker object instead of these flags')
    .addOption(choiceOption('--as <daemon>', 'whose timers and decisions to follow', ['bird', 'frr', 'gobgp']))
    .addOption(colorOption())
  addOutputOptions(command, ['text', 'json', 'yaml']).action(speak)
}

function collect(value: string, previous: string[] = []): string[] {
  return [...previous, value]
}

function duration(text: string): number {
  const m = /^(\d+)(ms|s|m|h)?$/.exec(text)
  if (m === null) throw new InvalidArgumentError('Expected a time such as 30s or 5m.')
  return Number(m[1]) * { ms: 0.001, s: 1, m: 60, h: 3600 }[m[2] ?? 's']!
}

async function speak(flags: SpeakFlags): Promise<void> {
  const { speakInput } = await import('../bgp/arguments.ts')
  const input = await speakInput(flags)
  const { runSpeaker } = await import('../bgp/run.ts')
  const state = await runSpeaker(input, flags.for, note)
  await print(state, flags)
  const down = state.sessions.filter((s) => s.state !== 'Established')
  if (down.length > 0) {
    const words = down.map((s) => `${s.neighbor} is ${s.state}${s.lastError === '' ? '' : ` (${s.lastError})`}`)
    throw new CliError(EXIT_SERVICE, `not every session was up at the end: ${words.join(', ')}`)
  }
}

async function print(state: BgpState, flags: SpeakFlags): Promise<void> {
  if (flags.output === 'text') {
    const { bgpText } = await import('../../report/bgp.ts')
    writeData(bgpText(state, stdoutPaint(flags.color, flags.write)), flags.write)
    return
  }
  const { name: _name, ...document } = state
  await writeDocument({ apiVersion: 'podwalk.dev/v1alpha1', kind: 'BgpState', ...document }, flags)
}
