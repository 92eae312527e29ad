/**
 * What V8 is told about this program: the packet walk is a chain of a few dozen middle-sized functions, each called from
 * one or two places, and V8's budget for inlining (460 bytes of bytecode a function, 920 in all) ends in the middle of it.
 * Every function that is not inlined loads and checks the arena's arrays again. With more room the walk is an eighth to a
 * sixth faster (bench: walk). Flags count for functions that are optimised after the call. A library must not do this to
 * its host, so only programs of our own call it: the command line and the benchmarks.
 */
import { setFlagsFromString } from 'node:v8'

/** Gives TurboFan room to inline the walk. */
export function inlineTheWalk(): void {
  setFlagsFromString('--max-inlined-bytecode-size=1500')
  setFlagsFromString('--max-inlined-bytecode-size-cumulative=3000')
  setFlagsFromString('--max-inlined-bytecode-size-small=100')
  setFlagsFromString('--reserve-inline-budget-scale-factor=2')
}
