// The format of the Deep Learning Matrix Collection: T. Gale et al., "Sparse GPU Kernels for Deep Learning", SC'20.

import { maxInt32 } from '../validate.js';
import { readWhole } from './files.js';
import { type HostCsr, maxDimension, sortRows } from './host-csr.js';
import { TextScanner } from './text-scanner.js';

/**
 * Reads a .smtx file: a line 'rows, columns, entries', a line of row pointers, a line of column indices, all
 * counted from 0. Columns may be in any order within a row; the result is sorted. There are no values.
 * @throws WarptileError ERR_ARGUMENT where the file cannot be read, ERR_FORMAT (with line and column) where it is malformed.
 */
export async function readSmtx(file: string): Promise<HostCsr> {
  return parseSmtx(await readWhole(file), file);
}

/** As `readSmtx`, from bytes in memory; `name` stands for the file in messages. */
export function parseSmtx(bytes: Uint8Array, name = 'matrix'): HostCsr {
  const scanner = new TextScanner(bytes, name);
  scanner.nextLine();
  const limit = maxDimension(bytes.length);
  const rows = scanner.integer('rows', 0, limit, true);
  const columns = scanner.integer('columns', 0, limit, true);
  const count = scanner.integer('entries', 0, maxInt32, true);
  scanner.endLine();
  // The shortest number takes a digit and a separator, which the last may lack.
  const most = Math.floor((scanner.remaining + 1) / 2);
  if (rows + 1 + count > most) {
    const expected = `at most ${most} numbers, since ${scanner.remaining} bytes follow`;
    scanner.fail('size', expected, `${rows + 1} row pointers and ${count} column indices`);
  }
  scanner.nextLine();
  const rowPointers = new Int32Array(rows + 1);
  for (let row = 0; row <= rows; ++row) {
    const least = row === 0 ? 0 : rowPointers[row - 1];
    rowPointers[row] = scanner.integer(
      `row pointer ${row}`,
      row === rows ? count : least,
      row === 0 ? 0 : count,
    );
  }
  scanner.endLine();
  scanner.nextLine();
  const columnIndices = new Int32Array(count);
  for (let entry = 0; entry < count; ++entry) {
    columnIndices[entry] = scanner.integer(`column index ${entry}`, 0, columns - 1);
  }
  scanner.endLine();
  scanner.endText();
  sortRows(name, rowPointers, columnIndices);
  return { shape: [rows, columns], rowPointers, columnIndices };
}
