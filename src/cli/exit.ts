/**
 * Exit codes and the errors that carry them. The codes are part of the command-line contract.
 */

/** Answered, or passed. */
export const EXIT_OK = 0
/** The answer is "no" where an expectation was given. */
export const EXIT_NO = 1
/** Wrong use of the command line. */
export const EXIT_USAGE = 2
/** The input is wrong; every problem was shown. */
export const EXIT_INPUT = 3
/** UNMODELLED under --strict. */
export const EXIT_UNMODELLED = 4
/** An outside service failed. */
export const EXIT_SERVICE = 5
/** A bug of ours. */
export const EXIT_INTERNAL = 70

/** Ends the command with a code; the message goes to stderr. An empty message says that everything was said. */
export class CliError extends Error {
  readonly exitCode: number
  readonly hint: string | undefined

  constructor(exitCode: number, message: string, hint?: string) {
    super(message)
    this.exitCode = exitCode
    this.hint = hint
  }
}

/** A wrong use of the command line. */
export function usageError(message: string, hint?: string): CliError {
  return new CliError(EXIT_USAGE, message, hint)
}
