import { formatFail } from './files.js';

/** A sparse matrix in host memory, rows sorted by column and free of duplicates: what `device.csr` takes. */
export interface HostCsr {
  /** [rows, columns] */
  readonly shape: readonly [number, number];
  /** [rows + 1], from 0 to the number of stored entries. */
  readonly rowPointers: Int32Array;
  /** [stored entries] */
  readonly columnIndices: Int32Array;
  /** [stored entries]; absent where the file holds only a pattern. */
  readonly values?: Float64Array;
}

/** Entries of a matrix in any order. */
export interface Coordinates {
  readonly shape: readonly [number, number];
  readonly count: number;
  readonly rows: Int32Array;
  readonly columns: Int32Array;
  readonly values?: Float64Array;
}

/**
 * The most rows and columns to allow in a file of this many bytes: what a pointer for each row costs stays in
 * proportion to the file, so that a header of a few bytes cannot ask for gigabytes.
 */
export function maxDimension(fileBytes: number): number {
  return Math.min(2 ** 31 - 2, Math.max(2 ** 24, 4 * fileBytes));
}

/** Sorts entries into CSR. @throws WarptileError ERR_FORMAT for an entry given twice. */
export function toCsr(file: string, { shape, count, rows, columns, values }: Coordinates): HostCsr {
  const rowPointers = new Int32Array(shape[0] + 1);
  for (let entry = 0; entry < count; ++entry) ++rowPointers[rows[entry] + 1];
  for (let row = 0; row < shape[0]; ++row) rowPointers[row + 1] += rowPointers[row];
  const next = rowPointers.slice(0, shape[0]);
  const columnIndices = new Int32Array(count);
  const sortedValues = values === undefined ? undefined : new Float64Array(count);
  for (let entry = 0; entry < count; ++entry) {
    const slot = next[rows[entry]]++;
    columnIndices[slot] = columns[entry];
    if (sortedValues !== undefined && values !== undefined) sortedValues[slot] = values[entry];
  }
  sortRows(file, rowPointers, columnIndices, sortedValues);
  return {
    shape,
    rowPointers,
    columnIndices,
    ...(sortedValues === undefined ? {} : { values: sortedValues }),
  };
}

/** Sorts each row by column where it is not sorted yet. @throws WarptileError ERR_FORMAT for a column given twice. */
export function sortRows(
  file: string,
  rowPointers: Int32Array,
  columnIndices: Int32Array,
  values?: Float64Array,
): void {
  for (let row = 0; row + 1 < rowPointers.length; ++row) {
    const [start, end] = [rowPointers[row], rowPointers[row + 1]];
    let sorted = true;
    for (let slot = start + 1; slot < end; ++slot) {
      if (columnIndices[slot - 1] >= columnIndices[slot]) {
        sorted = false;
        break;
      }
    }
    if (!sorted) sortRow(columnIndices.subarray(start, end), values?.subarray(start, end));
    for (let slot = start + 1; slot < end; ++slot) {
      if (columnIndices[slot - 1] === columnIndices[slot]) {
        const entry = `(${row + 1}, ${columnIndices[slot] + 1})`;
        formatFail(file, 'entries', 'each position at most once', `${entry} twice, counted from 1`);
      }
    }
  }
}

function sortRow(columns: Int32Array, values: Float64Array | undefined): void {
  if (values === undefined) {
    columns.sort();
    return;
  }
  const order = Uint32Array.from(columns.keys()).sort((a, b) => columns[a] - columns[b]);
  columns.set(Int32Array.from(order, (slot) => columns[slot]));
  values.set(Float64Array.from(order, (slot) => values[slot]));
}
