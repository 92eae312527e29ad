/**
 * `podwalk version`: podwalk's and Node's.
 */
import type { Command } from 'commander'
import { writeData } from '../output.ts'
import { version } from '../version.ts'

/** Adds the command. */
export function registerVersion(program: Command): void {
  program
    .command('version')
    .description('print the versions of podwalk and of Node')
    .action(() => writeData(`podwalk ${version()} (node ${process.versions.node})\n`, undefined))
}
