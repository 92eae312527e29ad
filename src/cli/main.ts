#!/usr/bin/env node
/**
 * The entry of the command line: runs it and ends the process with its exit code.
 */
import { inlineTheWalk } from '../engine/v8-flags.ts'
import { run } from './run.ts'

inlineTheWalk()

process.exitCode = await run(process.argv.slice(2))
