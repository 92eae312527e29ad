#!/usr/bin/env node
/**
 * The entry of the command line: runs it and ends the process with its exit code.
 */
import { run } from './run.ts'

process.exitCode = await run(process.argv.slice(2))
