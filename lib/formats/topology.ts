// The pattern of a sparse matrix, checked on the host before any of it reaches a device.

import { fail } from '../errors.js';
import { checkHostData } from '../tensor/host-data.js';
import { maxInt32 } from '../validate.js';

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
}

export interface CheckedTopology {
  readonly topology: Topology;
  readonly rowPointers: Int32Array;
  readonly columnIndices: Int32Array;
}

/**
 * Compressed rows as int32: `rowPointers` [rows + 1] climbs from 0 to the number of entries, `columnIndices`
 * [entries] is strictly ascending within each row and below `columns`. Each element is read once.
 * @throws WarptileError ERR_LIMIT past 2^31 - 1, ERR_SHAPE for a wrong length, ERR_INDEX naming the position.
 */
export function checkTopology(
  rowPointers: unknown,
  columnIndices: unknown,
  rows: number,
  columns: number,
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
  let longestRow = 0;
  for (let row = 0; row < rows; ++row) {
    const [start, end] = [checkedPointers[row], checkedPointers[row + 1]];
    longestRow = Math.max(longestRow, end - start);
    copyRow(indices, checkedIndices, start, end, columns);
  }
  return {
    topology: Object.freeze({ stored, rows, columns, longestRow }),
    rowPointers: checkedPointers,
    columnIndices: checkedIndices,
  };
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
