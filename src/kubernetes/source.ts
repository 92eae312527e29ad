/**
 * The text of an input file and the way from an offset to a line and a column.
 *
 * Positions are computed on demand from one table of line starts: nothing is stored per node, so a list of 150,000 pods
 * costs its text and four bytes per line.
 */
import type { SourcePosition } from '../diagnostics/diagnostic.ts'

/** One input file, `-` for stdin. */
export class SourceFile {
  readonly name: string
  readonly text: string
  private lineStarts: Int32Array | null = null

  constructor(name: string, text: string) {
    this.name = name
    this.text = text
  }

  /** Line and column of an offset into the text; both count from 1. */
  positionAt(offset: number): SourcePosition {
    const starts = this.lines()
    let low = 0
    let high = starts.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (starts[middle]! <= offset) low = middle
      else high = middle - 1
    }
    return { file: this.name, line: low + 1, col: offset - starts[low]! + 1 }
  }

  private lines(): Int32Array {
    if (this.lineStarts !== null) return this.lineStarts
    const text = this.text
    let count = 1
    for (let i = text.indexOf('\n'); i >= 0; i = text.indexOf('\n', i + 1)) count++
    const starts = new Int32Array(count)
    let line = 1
    for (let i = text.indexOf('\n'); i >= 0; i = text.indexOf('\n', i + 1)) starts[line++] = i + 1
    this.lineStarts = starts
    return starts
  }
}

/** One value of a file (a YAML document, a JSON value) that can say where its fields are. */
export interface SourceDocument {
  /** The value as plain data. */
  readonly value: unknown
  /** Offset in the file of the field at `path`, or of its nearest parent that exists. */
  offsetOf(path: readonly (string | number)[]): number
}
