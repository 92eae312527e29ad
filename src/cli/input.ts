/**
 * From -f and the overrides to the cluster as data. Findings go to stderr, all of them; an error among them ends the
 * command with exit code 3.
 */
import { type Diagnostic, formatDiagnostic, sortDiagnostics } from '../diagnostics/diagnostic.ts'
import type { BuiltCluster } from '../kubernetes/index.ts'
import type { Loaded } from '../kubernetes/load.ts'
import type { ClusterModel } from '../kubernetes/types.ts'
import type { Paint } from '../report/paint.ts'
import { CliError, EXIT_INPUT, usageError } from './exit.ts'
import type { InputFlags } from './options.ts'
import { note, stderrPaint } from './output.ts'

/** What reading takes: the input, and what-if. */
export type ReadFlags = InputFlags & { readonly with?: string[]; readonly without?: string[] }

/** Reads the manifests and builds the model. */
export async function readCluster(flags: ReadFlags): Promise<ClusterModel> {
  return buildModel(await readManifests(flags), flags)
}

/** The same for a command that shows the findings itself; an error among them still ends it. */
export async function readBuilt(flags: ReadFlags): Promise<BuiltCluster> {
  const built = await build(await readManifests(flags), flags)
  if (built.diagnostics.some((d) => d.severity === 'error')) reportDiagnostics(built.diagnostics, flags)
  return built
}

/** Builds the model of what was loaded. */
export async function buildModel(loaded: Loaded, flags: InputFlags): Promise<ClusterModel> {
  const built = await build(loaded, flags)
  reportDiagnostics(built.diagnostics, flags)
  return built.model
}

async function readManifests(flags: ReadFlags): Promise<Loaded> {
  if (flags.filename === undefined) {
    throw usageError('no manifests were given', 'name a file, a directory, a glob or - (stdin) with -f')
  }
  await checkWord('--cni', flags.cni)
  await checkWord('--proxy-mode', flags.proxyMode)
  const { loadInputs } = await import('../kubernetes/index.ts')
  const loaded = loadInputs(flags.filename)
  if (flags.with === undefined && flags.without === undefined) return loaded
  const { applyWhatIf } = await import('../query/what-if.ts')
  const changed = applyWhatIf(loaded, flags.with === undefined ? null : loadInputs(flags.with), flags.without ?? [])
  for (const text of changed.notes) note(`podwalk: ${text}`)
  return changed.loaded
}

async function build(loaded: Loaded, flags: InputFlags): Promise<BuiltCluster> {
  await checkWord('--cni', flags.cni)
  await checkWord('--proxy-mode', flags.proxyMode)
  const { buildClusterModel } = await import('../kubernetes/index.ts')
  const { cni, proxyMode, nodes, seed, set } = flags
  const built = buildClusterModel(loaded, {
    ...(cni !== undefined && { cni }),
    ...(proxyMode !== undefined && { proxyMode }),
    ...(nodes !== undefined && { nodes }),
    ...(seed !== undefined && { seed }),
    ...(set !== undefined && { set }),
  })
  for (const fact of built.inferred) note(`podwalk: ${fact.text}`)
  return built
}

/** A typing mistake is a wrong use of the command line; what exists and has no driver is UNMODELLED later on. */
async function checkWord(flag: '--cni' | '--proxy-mode', value: string | undefined): Promise<void> {
  if (value === undefined) return
  if (value.includes(',')) throw usageError(`${flag} ${value}: this command takes one name`)
  const [{ CNI_DRIVERS, OTHER_CNIS }, { OTHER_PROXY_MODES, PROXY_MODES }, { didYouMean }] = await Promise.all([
    import('../cni/registry.ts'),
    import('../proxy/registry.ts'),
    import('../kubernetes/names.ts'),
  ])
  const modelled = (flag === '--cni' ? CNI_DRIVERS : PROXY_MODES).map((entry) => entry.name)
  const others = flag === '--cni' ? OTHER_CNIS : OTHER_PROXY_MODES
  if (modelled.includes(value) || others.includes(value)) return
  const meant = didYouMean(value, [...modelled, ...others])
  throw usageError(
    `${flag} ${value}: ${meant === undefined ? 'no such name' : `did you mean ${meant}?`}`,
    `modelled: ${modelled.join(', ')}${flag === '--proxy-mode' ? ', none' : ''}`,
  )
}

/** Shows findings on stderr; ends the command when one of them is an error. */
export function reportDiagnostics(
  diagnostics: readonly Diagnostic[],
  flags: { readonly color: InputFlags['color'] },
): void {
  const paint = stderrPaint(flags.color)
  for (const d of sortDiagnostics(diagnostics)) note(paintDiagnostic(d, paint))
  const errors = diagnostics.filter((d) => d.severity === 'error').length
  if (errors > 0)
    throw new CliError(EXIT_INPUT, errors === 1 ? '1 error in the input' : `${errors} errors in the input`)
}

function paintDiagnostic(d: Diagnostic, paint: Paint): string {
  const role = d.severity === 'error' ? 'bad' : d.severity === 'warning' ? 'warn' : 'dim'
  return formatDiagnostic(d).replace(`${d.severity}: `, `${paint(role, d.severity)}: `)
}
