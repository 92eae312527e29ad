/**
 * Feature lists of drivers and modes as Markdown: the tables of docs and README are made here, and a test keeps the pages
 * equal to what the code declares.
 */

/** A declared feature. */
export interface DeclaredFeature {
  readonly name: string
  readonly support: 'supported' | 'partial' | 'not'
  readonly sentence: string
}

/** The table of one driver's or mode's page. */
export function featureTable(features: readonly DeclaredFeature[]): string {
  const rows = features.map((f) => `| ${cell(f.name)} | ${f.support} | ${cell(f.sentence)} |`)
  return ['| feature | modelled | |', '|---|---|---|', ...rows, ''].join('\n')
}

/** The README's table: one row per driver or mode, features by how far they are modelled. */
export function supportTable(
  parts: readonly { readonly title: string; readonly features: readonly DeclaredFeature[] }[],
): string {
  const names = (features: readonly DeclaredFeature[], support: DeclaredFeature['support']): string =>
    features
      .filter((f) => f.support === support)
      .map((f) => cell(f.name))
      .join(', ') || '-'
  const rows = parts.map(
    ({ title, features }) =>
      `| ${cell(title)} | ${names(features, 'supported')} | ${names(features, 'partial')} | **${names(features, 'not')}** |`,
  )
  return ['| | supported | in part | **not supported** |', '|---|---|---|---|', ...rows, ''].join('\n')
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|')
}
