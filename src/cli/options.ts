/**
 * Options that several commands share, and the values they take.
 */
import { type Command, InvalidArgumentError, type Option } from 'commander'
import { durationSeconds } from '../kubernetes/duration.ts'
import { choiceOption } from './choice.ts'
import { COLOR_CHOICES, type ColorChoice } from './output.ts'

/** Options of every command that reads manifests. */
export interface InputFlags {
  readonly filename?: string[]
  readonly namespace: string
  readonly cni?: string
  readonly proxyMode?: string
  readonly nodes?: number
  readonly set?: { readonly path: string; readonly value: unknown }[]
  readonly seed?: number
  readonly strict?: boolean
  /** Seconds after convergence. */
  readonly at?: number
  readonly verbose?: boolean
  readonly color: ColorChoice
}

/** Options of every command that prints a document. */
export interface OutputFlags {
  readonly output: string
  readonly write?: string
}

/** Adds -f and the options of addModelOptions. */
export function addInputOptions(command: Command): Command {
  return addModelOptions(
    command.option('-f, --filename <path>', 'manifests: file, directory, glob or - (repeatable)', collect),
  )
}

/** Adds -n, --cni, --proxy-mode, --nodes, --set, --seed, --strict, -v and --color. */
export function addModelOptions(command: Command): Command {
  return command
    .option('-n, --namespace <name>', 'namespace of names without one', 'default')
    .option('--cni <name>', 'CNI driver, instead of what the manifests say')
    .option('--proxy-mode <name>', 'kube-proxy mode, instead of what the manifests say')
    .option('--nodes <n>', 'number of nodes, instead of what the manifests say', integer(1, 100_000))
    .option('--set <path=value>', 'set a field of the Cluster object (repeatable)', collectSetting)
    .option('--seed <n>', 'seed of everything random (default: 1)', integer(0, 0xffff_ffff))
    .option('--strict', 'exit with 4 when something is UNMODELLED')
    .option('-v, --verbose', 'say more; a walk also shows the rules that did not match')
    .addOption(colorOption())
}

/** Adds --at: how long after convergence to look. */
export function addTimeOption(command: Command): Command {
  return command.option('--at <time>', 'so long after the cluster has converged, with its events (2s, 500ms)', time)
}

function time(text: string): number {
  const s = durationSeconds(text)
  if (s === null) throw new InvalidArgumentError('Expected a time such as 5s or 500ms.')
  return s
}

/** --color auto|always|never. */
export function colorOption(): Option {
  return choiceOption('--color <when>', 'colour', COLOR_CHOICES).default('auto')
}

/** Adds -o with the formats that fit and -w. */
export function addOutputOptions(command: Command, formats: readonly string[]): Command {
  return command
    .addOption(choiceOption('-o, --output <format>', 'how to print it', formats).default(formats[0]!))
    .option('-w, --write <file>', 'write there instead of to stdout')
}

/** An option value that is an integer of a range. */
export function integer(min: number, max: number): (text: string) => number {
  return (text) => {
    const n = Number(text)
    if (!/^\d+$/.test(text) || n < min || n > max) throw new InvalidArgumentError(`Expected an integer ${min}-${max}.`)
    return n
  }
}

function collect(value: string, previous: string[] = []): string[] {
  return [...previous, value]
}

interface Setting {
  readonly path: string
  readonly value: unknown
}

function collectSetting(text: string, previous: Setting[] = []): Setting[] {
  const at = text.indexOf('=')
  if (at <= 0) throw new InvalidArgumentError('Expected path=value, for example mtu=1450.')
  return [...previous, { path: text.slice(0, at), value: settingValue(text.slice(at + 1)) }]
}

/** Numbers, booleans and JSON mean what they say, everything else is text. */
function settingValue(text: string): unknown {
  if (!/^(?:-?\d+(?:\.\d+)?|true|false|null|[[{"].*)$/s.test(text)) return text
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
