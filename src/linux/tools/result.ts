/**
 * What a simulated tool leaves behind: exit status and text, as the real one would.
 *
 * Tools are not on the packet path: inside one, an error ends the command by a thrown ToolExit, which the tool's entry
 * point turns into a ToolResult.
 */

/** Exit status and output of a tool. */
export interface ToolResult {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** Ends a tool with a status and a message for stderr. */
export class ToolExit extends Error {
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

/** Runs the body of a tool; what it returns is stdout. */
export function runTool(body: () => string): ToolResult {
  try {
    return { status: 0, stdout: body(), stderr: '' }
  } catch (e) {
    if (!(e instanceof ToolExit)) throw e
    return { status: e.status, stdout: '', stderr: e.message === '' ? '' : `${e.message}\n` }
  }
}

const STRERROR: { readonly [errno: number]: string } = {
  1: 'Operation not permitted',
  2: 'No such file or directory',
  3: 'No such process',
  6: 'No such device or address',
  11: 'Resource temporarily unavailable',
  12: 'Cannot allocate memory',
  13: 'Permission denied',
  16: 'Device or resource busy',
  17: 'File exists',
  19: 'No such device',
  22: 'Invalid argument',
  28: 'No space left on device',
  32: 'Broken pipe',
  34: 'Numerical result out of range',
  40: 'Too many levels of symbolic links',
  90: 'Message too long',
  93: 'Protocol not supported',
  95: 'Operation not supported',
  97: 'Address family not supported by protocol',
  98: 'Address already in use',
  99: 'Cannot assign requested address',
  100: 'Network is down',
  101: 'Network is unreachable',
  104: 'Connection reset by peer',
  105: 'No buffer space available',
  110: 'Connection timed out',
  111: 'Connection refused',
  113: 'No route to host',
}

/** strerror(3) of an errno of either sign. */
export function strerror(errno: number): string {
  const n = Math.abs(errno)
  return STRERROR[n] ?? `Unknown error ${n}`
}

/** `RTNETLINK answers: ...` with iproute2's exit status when `errno` is not 0. */
export function rtnetlink(errno: number, status = 2): void {
  if (errno !== 0) throw new ToolExit(status, `RTNETLINK answers: ${strerror(errno)}`)
}

/** The command is real, what it asks for is not modelled. */
export function unmodelled(what: string): never {
  throw new ToolExit(UNMODELLED_STATUS, `podwalk: UNMODELLED: ${what}`)
}

/** Exit status of a tool that was asked for something that is not modelled. */
export const UNMODELLED_STATUS = 126
