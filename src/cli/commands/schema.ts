/**
 * `podwalk schema KIND`: the JSON Schema of a document that podwalk prints.
 */
import type { Command } from 'commander'
import { didYouMean } from '../../kubernetes/names.ts'
import { SCHEMAS } from '../../query/schema.ts'
import { toJson } from '../../report/json.ts'
import { usageError } from '../exit.ts'
import { writeData } from '../output.ts'

/** Adds the command. */
export function registerSchema(program: Command): void {
  program
    .command('schema')
    .argument('[kind]', `one of ${[...SCHEMAS.keys()].join(', ')}; none lists them`)
    .description('print the JSON Schema of a document')
    .option('-w, --write <file>', 'write there instead of to stdout')
    .addHelpText(
      'before',
      'Examples:\n  podwalk schema Trace\n  podwalk schema Lab -w lab.schema.json\n  podwalk schema\n',
    )
    .action((kind: string | undefined, flags: { readonly write?: string }) => {
      if (kind === undefined) {
        writeData(`${[...SCHEMAS.keys()].join('\n')}\n`, flags.write)
        return
      }
      const asked = kind.toLowerCase()
      const name = [...SCHEMAS.keys()].find((k) => k.toLowerCase() === asked || k.toLowerCase() === `${asked}result`)
      if (name === undefined) {
        const meant = didYouMean(kind, SCHEMAS.keys())
        throw usageError(
          `no schema for ${kind}`,
          meant === undefined ? `there are ${[...SCHEMAS.keys()].join(', ')}` : `did you mean ${meant}?`,
        )
      }
      writeData(toJson(SCHEMAS.get(name)), flags.write)
    })
}
