/**
 * Runs a speaker on real sockets until its time is over or somebody ends it.
 */
import { Speaker, type SpeakerEvent } from '../../bgp/speaker.ts'
import { type BgpState, bgpState } from '../../bgp/state.ts'
import { realClock, TcpTransport } from '../../bgp/tcp-transport.ts'
import { CliError, EXIT_SERVICE } from '../exit.ts'
import type { SpeakInput } from './arguments.ts'

/** Time for the last NOTIFICATIONs to leave. */
const GOODBYE_MS = 100

/**
 * Speaks until `seconds` are over (absent: for ever), SIGTERM or SIGINT.
 * @returns the state just before the end
 */
export async function runSpeaker(
  input: SpeakInput,
  seconds: number | undefined,
  say: (line: string) => void,
): Promise<BgpState> {
  const clock = realClock()
  let listenError: string | null = null
  let finish = (): void => {}
  const over = new Promise<void>((resolve) => {
    finish = resolve
  })
  const transport = new TcpTransport(input.local, (error) => {
    listenError = error
    finish()
  })
  const speaker = new Speaker(input.spec, {
    clock,
    transport,
    random: Math.random,
    event: (e) => say(line(e)),
  })
  speaker.start()
  const timer = seconds === undefined ? null : setTimeout(finish, seconds * 1000)
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, finish)
  await over
  if (timer !== null) clearTimeout(timer)
  const state = bgpState(speaker)
  speaker.stop()
  await new Promise((resolve) => setTimeout(resolve, GOODBYE_MS))
  if (listenError !== null) {
    throw new CliError(
      EXIT_SERVICE,
      `cannot listen on ${input.local} port ${input.spec.port ?? 179}: ${listenError}`,
      listenError === 'EACCES' ? 'ports below 1024 need root; --port takes another' : undefined,
    )
  }
  return state
}

function line(e: SpeakerEvent): string {
  return `podwalk: ${(e.atMs / 1000).toFixed(3)} ${e.neighbor} ${e.kind}${e.text === '' ? '' : `: ${e.text}`}`
}
