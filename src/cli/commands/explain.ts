/**
 * `podwalk explain REASON`: what a reason code means and what to look at.
 */
import type { Command } from 'commander'
import { didYouMean } from '../../kubernetes/names.ts'
import { REASONS } from '../../linux/reasons.ts'
import { explainText, reasonDocument } from '../../report/reason.ts'
import { usageError } from '../exit.ts'
import { addOutputOptions, colorOption, type InputFlags, type OutputFlags } from '../options.ts'
import { stdoutPaint, writeData, writeDocument } from '../output.ts'

/** Adds the command. */
export function registerExplain(program: Command): void {
  const command = program
    .command('explain')
    .argument('[reason]', 'a reason of a trace, for example NETFILTER_REJECT; none lists them all')
    .description('say what a reason means and what to look at')
    .addHelpText(
      'before',
      'Examples:\n  podwalk explain IP_RPFILTER\n  podwalk explain NEIGH_FAILED -o json\n  podwalk explain\n',
    )
    .addOption(colorOption())
  addOutputOptions(command, ['text', 'json', 'yaml']).action(explain)
}

async function explain(name: string | undefined, flags: OutputFlags & Pick<InputFlags, 'color'>): Promise<void> {
  const known = REASONS.filter((r) => r !== undefined)
  let chosen = known
  if (name !== undefined) {
    const symbol = name.toUpperCase().replaceAll('-', '_')
    chosen = known.filter((r) => r.symbol === symbol)
    if (chosen.length === 0) {
      const meant = didYouMean(
        symbol,
        known.map((r) => r.symbol),
      )
      throw usageError(
        `unknown reason ${name}`,
        meant === undefined ? 'podwalk explain lists them all' : `did you mean ${meant}?`,
      )
    }
  }
  const paint = stdoutPaint(flags.color, flags.write)
  if (flags.output === 'text') writeData(explainText(chosen, paint), flags.write)
  else {
    const document = reasonDocument(chosen)
    await writeDocument(document, flags)
  }
}
