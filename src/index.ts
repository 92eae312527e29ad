/**
 * podwalk as a library: everything that the command line can do.
 *
 *     const { model } = buildClusterModel(loadInputs(['shop.yaml']))
 *     const { trace } = askTrace(model, { src: 'shop/web-0', dst: 'svc/shop/api:80', namespace: 'default',
 *       protocol: 'TCP', flow: false, seed: 1, verbose: false })
 *     process.stdout.write(traceText(trace))
 */
export { type BuildOptions, buildCluster, type Cluster, type Place, UnmodelledClusterError } from './cluster/build.ts'
export type { TimelineEntry } from './cluster/events.ts'
export { COMMAND_NAMES, type ExecPlace, execCommand } from './cluster/exec.ts'
export type { CniDriver, CniFeature, CniProgram } from './cni/driver.ts'
export { CNI_DRIVERS, findCniDriver } from './cni/registry.ts'
export {
  type Diagnostic,
  formatDiagnostic,
  formatDiagnostics,
  type Severity,
  type SourcePosition,
} from './diagnostics/diagnostic.ts'
export {
  type BuiltCluster,
  buildClusterModel,
  type ClusterModel,
  type ClusterOverrides,
  type Loaded,
  loadInputs,
  loadText,
  loadTexts,
} from './kubernetes/index.ts'
export { checkLab, type LabDifference } from './lab/compare.ts'
export { type LabBackend, runLab } from './lab/run.ts'
export type { LabResult, LabScenario } from './lab/scenario.ts'
export { showLab } from './lab/show.ts'
export { parseResult, parseScenario } from './lab/validate.ts'
export { REASONS, type Reason, reasonOf, type Verdict } from './linux/reasons.ts'
export { execTool, TOOL_NAMES } from './linux/tools/exec.ts'
export type { ToolResult } from './linux/tools/result.ts'
export type { ProxyFeature, ProxyMode } from './proxy/mode.ts'
export { findProxyMode, PROXY_MODES } from './proxy/registry.ts'
export { askTrace } from './query/ask.ts'
export { linksTable, routesTable, rulesTable } from './query/kernel-tables.ts'
export { type JsonSchema, SCHEMAS } from './query/schema.ts'
export { nodesTable, podsTable, servicesTable, type TableDocument } from './query/tables.ts'
export { type FoundTarget, findTarget } from './query/target.ts'
export { type TraceAnswer, type TraceQuestion, traceInCluster } from './query/trace.ts'
export type {
  DecidedBy,
  Delivered,
  Trace,
  TraceEndpoint,
  TraceFrame,
  TraceHop,
  TraceHttp,
  TraceOnward,
  TracePacket,
  TraceResolution,
} from './query/trace-types.ts'
export { TRACE_FORMATS, type TraceFormat } from './report/formats.ts'
export { toJson } from './report/json.ts'
export { traceMermaid } from './report/mermaid.ts'
export { ansi, type Paint, plain } from './report/paint.ts'
export { tracePcapng } from './report/pcapng.ts'
export { documentTable } from './report/table.ts'
export { traceText } from './report/text.ts'
export { traceWide } from './report/wide.ts'
export { toYaml } from './report/yaml.ts'
export { type PcapngCapture, writePcapng } from './wire/pcapng.ts'
