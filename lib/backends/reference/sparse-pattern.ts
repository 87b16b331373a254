import type { SparsePattern } from '../calls/sparse-pattern.js';
import { readInts } from './views.js';

/** A pattern on the host. CSR is the case of 1 x 1 blocks. */
export interface HostPattern {
  readonly rows: number;
  readonly columns: number;
  readonly blockRows: number;
  readonly blockColumns: number;
  /** [ceil(rows / blockRows) + 1] */
  readonly rowPointers: Int32Array;
  /** [stored] */
  readonly columnIndices: Int32Array;
}

export function readPattern(pattern: SparsePattern): HostPattern {
  return {
    rows: pattern.rows,
    columns: pattern.columns,
    blockRows: pattern.blockRows,
    blockColumns: pattern.blockColumns,
    rowPointers: readInts(pattern.rowPointers),
    columnIndices: readInts(pattern.columnIndices),
  };
}

/** Elements of one set of values. */
export function storedElements(pattern: HostPattern): number {
  return pattern.columnIndices.length * pattern.blockRows * pattern.blockColumns;
}

/** The stored elements of one row that lie inside the matrix. */
export interface RowEntries {
  /** How many of the entries below are in use. */
  count: number;
  readonly columns: Int32Array;
  /** Positions in a set of values. */
  readonly positions: Float64Array;
}

/** Room for the longest row of a pattern. */
export function rowEntries(pattern: HostPattern): RowEntries {
  const { rowPointers, blockColumns } = pattern;
  let longest = 0;
  for (let i = 1; i < rowPointers.length; ++i)
    longest = Math.max(longest, rowPointers[i] - rowPointers[i - 1]);
  const size = longest * blockColumns;
  return { count: 0, columns: new Int32Array(size), positions: new Float64Array(size) };
}

/** Lists the entries of `row` in ascending columns. */
export function listRow(pattern: HostPattern, row: number, entries: RowEntries): void {
  const { blockRows, blockColumns, columns, rowPointers, columnIndices } = pattern;
  const blockRow = Math.floor(row / blockRows);
  const inner = row - blockRow * blockRows;
  let count = 0;
  for (let block = rowPointers[blockRow]; block < rowPointers[blockRow + 1]; ++block) {
    const first = columnIndices[block] * blockColumns;
    const position = (block * blockRows + inner) * blockColumns;
    const width = Math.min(blockColumns, columns - first);
    for (let j = 0; j < width; ++j) {
      entries.columns[count] = first + j;
      entries.positions[count++] = position + j;
    }
  }
  entries.count = count;
}
