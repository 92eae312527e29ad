/**
 * conntrack(8): -L, -D, -F, -C, -S with filters, -o id and -o extended.
 *
 * conntrack-tools 1.4.7: src/conntrack.c. Lines are listed in order of entry id (the real tool: in hash order).
 * Not modelled: -I, -U, -G, -E, the expect table, xml and timestamp output: they end with exit code 2 and say so.
 */
import type { Netns } from '../../netns.ts'
import { ConntrackFilter, ConntrackUsageError, filterMatches, takeFilterOption } from './filter.ts'
import { killConntrack } from './lifetime.ts'
import { conntrackLine } from './print.ts'

const NAME = 'conntrack v1.4.7 (conntrack-tools)'
const HINT = "Try `conntrack -h' or 'conntrack --help' for more information."

const NO_STATS = { found: 0, invalid: 0, insert: 0, insertFailed: 0, drop: 0, earlyDrop: 0, error: 0, clashResolve: 0 }

/** What the command leaves behind. */
export interface ConntrackToolResult {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

const COMMANDS: { readonly [name: string]: string } = {
  '-L': 'L',
  '--dump': 'L',
  '-D': 'D',
  '--delete': 'D',
  '-F': 'F',
  '--flush': 'F',
  '-C': 'C',
  '--count': 'C',
  '-S': 'S',
  '--stats': 'S',
  '-G': 'G',
  '--get': 'G',
  '-I': 'I',
  '--create': 'I',
  '-U': 'U',
  '--update': 'U',
  '-E': 'E',
  '--event': 'E',
}

/** Runs `conntrack ARGV...` in the namespace. */
export function conntrackTool(ns: Netns, argv: readonly string[]): ConntrackToolResult {
  try {
    return run(ns, argv)
  } catch (e) {
    if (!(e instanceof ConntrackUsageError)) throw e
    return { status: 2, stdout: '', stderr: `${NAME}: ${e.message}\n${HINT}\n` }
  }
}

function run(ns: Netns, argv: readonly string[]): ConntrackToolResult {
  const filter = new ConntrackFilter()
  let command = ''
  let id = false
  let extended = false
  for (let i = 0; i < argv.length; ) {
    const word = argv[i]!
    const c = COMMANDS[word]
    if (c !== undefined) {
      if (command !== '') throw new ConntrackUsageError('Invalid commands combination')
      command = c
      i += argv[i + 1] === 'conntrack' ? 2 : 1
      if (argv[i] === 'expect') throw new ConntrackUsageError("table `expect' is not modelled")
      continue
    }
    if (word === '-o' || word === '--output') {
      for (const what of (argv[i + 1] ?? '').split(',')) {
        if (what === 'id') id = true
        else if (what === 'extended') extended = true
        else if (what !== 'ktimestamp') throw new ConntrackUsageError(`output format \`${what}' is not modelled`)
      }
      i += 2
      continue
    }
    if (word === '-f' || word === '--family') {
      const family = argv[i + 1]
      if (family !== 'ipv4' && family !== 'ipv6')
        throw new ConntrackUsageError(`\`${family ?? ''}' unsupported protocol`)
      filter.setFamily(family === 'ipv6' ? 6 : 4)
      i += 2
      continue
    }
    const took = takeFilterOption(filter, argv, i)
    if (took === 0) throw new ConntrackUsageError(`unknown option \`${word}'`)
    i += took
  }
  const ct = ns.ct
  switch (command) {
    case 'L':
    case 'D': {
      const lines: string[] = []
      for (const entry of ct?.entries() ?? []) {
        if (!filterMatches(filter, ct!, entry)) continue
        lines.push(conntrackLine(ct!, entry, { id, extended }))
        if (command === 'D') killConntrack(ct!, entry)
      }
      const verb = command === 'L' ? 'shown' : 'deleted'
      return {
        status: command === 'D' && lines.length === 0 ? 1 : 0,
        stdout: lines.map((l) => `${l}\n`).join(''),
        stderr: `${NAME}: ${lines.length} flow entries have been ${verb}.\n`,
      }
    }
    case 'F':
      for (const entry of ct?.entries() ?? []) if (filterMatches(filter, ct!, entry)) killConntrack(ct!, entry)
      return { status: 0, stdout: '', stderr: `${NAME}: connection tracking table has been emptied.\n` }
    case 'C':
      return { status: 0, stdout: `${ct?.count ?? 0}\n`, stderr: '' }
    case 'S': {
      const s = ct?.stat ?? NO_STATS
      const text =
        `cpu=0   \tfound=${s.found} invalid=${s.invalid} insert=${s.insert} insert_failed=${s.insertFailed} drop=${s.drop} ` +
        `early_drop=${s.earlyDrop} error=${s.error} search_restart=0 clash_resolve=${s.clashResolve} chaintoolong=0 \n`
      return { status: 0, stdout: text, stderr: '' }
    }
    case '':
      throw new ConntrackUsageError('no command given')
    default:
      throw new ConntrackUsageError(`command \`-${command}' is not modelled`)
  }
}
