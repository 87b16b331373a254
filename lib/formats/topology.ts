// The pattern of a sparse matrix, checked on the host before any of it reaches a device.

import { fail } from '../errors.js';
import { checkHostData } from '../tensor/host-data.js';
import { maxInt32 } from '../validate.js';
import { binRows, type RowBins } from './row-bins.js';
import { countStrips, type StripCounts } from './strip-counts.js';
import { countTiles, type Extents, type TileCounts } from './tile-counts.js';

/** Facts of a pattern that all matrices over it share; the same pattern is the same object. */
export interface Topology {
  /** Stored entries, or blocks for a block-sparse matrix. */
  readonly stored: number;
  /** Rows of entries, or of blocks. */
  readonly rows: number;
  /** Columns of entries, or of blocks. */
  readonly columns: number;
  /** Most stored entries (blocks) in one row. */
  readonly longestRow: number;
  /** Standard deviation of the rows' lengths over their mean; 0 for an empty pattern. */
  readonly variation: number;
  /** Share of the rows that store nothing, 0 to 1. */
  readonly emptyShare: number;
  /** Rows by their lengths; undefined where they are few or long, and about equally so. */
  readonly bins: RowBins | undefined;
  /** Tiles that store anything. */
  readonly tiles: TileCounts;
  /** Columns of strips of rows; undefined where rows share few with their neighbours, and for blocks. */
  readonly strips: StripCounts | undefined;
}

export interface CheckedTopology {
  readonly topology: Topology;
  readonly rowPointers: Int32Array;
  readonly columnIndices: Int32Array;
}

/**
 * Compressed rows as int32: `rowPointers` [rows + 1] climbs from 0 to the number of entries, `columnIndices`
 * [entries] is strictly ascending within each row and below `columns`. Each element is read once. `extents` are those of the
 * matrix where entries are blocks.
 * @throws WarptileError ERR_LIMIT past 2^31 - 1, ERR_SHAPE for a wrong length, ERR_INDEX naming the position.
 */
export function checkTopology(
  rowPointers: unknown,
  columnIndices: unknown,
  rows: number,
  columns: number,
  extents: Extents = { rows, columns, blockRows: 1, blockColumns: 1 },
): CheckedTopology {
  const pointers = checkHostData(rowPointers, 'rowPointers');
  const indices = checkHostData(columnIndices, 'columnIndices');
  const stored = indices.length;
  if (stored > maxInt32) fail('ERR_LIMIT', 'columnIndices', `at most ${maxInt32} entries`, stored);
  if (rows >= maxInt32) fail('ERR_LIMIT', 'shape', `at most ${maxInt32 - 1} rows`, rows);
  if (columns > maxInt32) fail('ERR_LIMIT', 'shape', `at most ${maxInt32} columns`, columns);
  if (pointers.length !== rows + 1) {
    fail('ERR_SHAPE', 'rowPointers', `${rows + 1} elements for ${rows} rows`, pointers.length);
  }
  const checkedPointers = copyPointers(pointers, stored);
  const checkedIndices = new Int32Array(stored);
  for (let row = 0; row < rows; ++row) {
    copyRow(indices, checkedIndices, checkedPointers[row], checkedPointers[row + 1], columns);
  }
  return {
    topology: topologyOf(checkedPointers, checkedIndices, columns, extents),
    rowPointers: checkedPointers,
    columnIndices: checkedIndices,
  };
}

/** @internal The facts of a pattern that is known to be right. */
export function topologyOf(
  rowPointers: Int32Array,
  columnIndices: Int32Array,
  columns: number,
  extents: Extents,
): Topology {
  const rows = rowPointers.length - 1;
  const stored = rowPointers[rows];
  let longestRow = 0;
  let emptyRows = 0;
  let squares = 0;
  for (let row = 0; row < rows; ++row) {
    const length = rowPointers[row + 1] - rowPointers[row];
    if (length > longestRow) longestRow = length;
    if (length === 0) ++emptyRows;
    squares += length * length;
  }
  const csr = extents.blockRows === 1 && extents.blockColumns === 1;
  const mean = rows === 0 ? 0 : stored / rows;
  return Object.freeze({
    stored,
    rows,
    columns,
    longestRow,
    variation: stored === 0 ? 0 : Math.sqrt(Math.max(0, squares / rows - mean * mean)) / mean,
    emptyShare: rows === 0 ? 0 : emptyRows / rows,
    bins: binRows(rowPointers, longestRow),
    tiles: countTiles(rowPointers, columnIndices, extents),
    strips: csr ? countStrips(rowPointers, columnIndices, columns) : undefined,
  });
}

function copyPointers(pointers: ArrayLike<unknown>, stored: number): Int32Array {
  const checked = new Int32Array(pointers.length);
  let previous = 0;
  for (let i = 0; i < checked.length; ++i) {
    const value = pointers[i];
    if (typeof value !== 'number' || !Number.isInteger(value) || value < previous || value > stored) {
      fail('ERR_INDEX', `rowPointers[${i}]`, `an integer from ${previous} to ${stored}`, value);
    }
    if (i === 0 && value !== 0) fail('ERR_INDEX', 'rowPointers[0]', '0', value);
    previous = checked[i] = value;
  }
  if (previous !== stored) {
    fail('ERR_INDEX', `rowPointers[${checked.length - 1}]`, `${stored}, the number of entries`, previous);
  }
  return checked;
}

function copyRow(
  indices: ArrayLike<unknown>,
  checked: Int32Array,
  start: number,
  end: number,
  columns: number,
): void {
  let lowest = 0;
  for (let i = start; i < end; ++i) {
    const value = indices[i];
    if (typeof value !== 'number' || !Number.isInteger(value) || value < lowest || value >= columns) {
      const order = i > start ? ', ascending within the row' : '';
      fail('ERR_INDEX', `columnIndices[${i}]`, `an integer from ${lowest} to ${columns - 1}${order}`, value);
    }
    checked[i] = value;
    lowest = value + 1;
  }
}
