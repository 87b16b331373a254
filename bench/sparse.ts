// What the sparse families share: a pattern with values, on the host and on a device.

import type { HostPattern } from '../lib/backends/reference/sparse-pattern.js';
import type { Device } from '../lib/device/device.js';
import type { SparseMatrix } from '../lib/formats/sparse-matrix.js';
import type { FloatDType } from '../lib/tensor/dtype.js';
import type { MatrixGroup, NamedMatrix } from './matrices.js';
import { Operand } from './operands.js';
import type { ProblemContext } from './problem.js';

const operands = new WeakMap<NamedMatrix, SparseOperand>();

/** A sparse operand of problems; its features are counted once. */
export class SparseOperand {
  readonly name: string;
  readonly group: MatrixGroup | undefined;
  readonly pattern: HostPattern;
  /** Stored elements. */
  readonly nnz: number;
  /** Rows and columns at which something is stored: no other row of a dense operand has to be read. */
  readonly touchedRows: number;
  readonly touchedColumns: number;
  readonly #numbers: Float64Array | undefined;

  constructor(name: string, pattern: HostPattern, numbers?: Float64Array, group?: MatrixGroup) {
    const { rowPointers, columnIndices, blockRows, blockColumns, rows, columns } = pattern;
    this.name = name;
    this.group = group;
    this.pattern = pattern;
    this.#numbers = numbers;
    this.nnz = columnIndices.length * blockRows * blockColumns;
    let filled = 0;
    for (let row = 1; row < rowPointers.length; ++row) if (rowPointers[row] > rowPointers[row - 1]) ++filled;
    this.touchedRows = Math.min(rows, filled * blockRows);
    const seen = new Uint8Array(Math.ceil(columns / blockColumns));
    for (const column of columnIndices) seen[column] = 1;
    const touched = seen.reduce((sum, mark) => sum + mark, 0);
    this.touchedColumns = Math.min(columns, touched * blockColumns);
  }

  /** Made once for a matrix: operations share it. */
  static fromFile(matrix: NamedMatrix): SparseOperand {
    const made = operands.get(matrix) ?? SparseOperand.#make(matrix);
    operands.set(matrix, made);
    return made;
  }

  static #make({ name, group, csr }: NamedMatrix): SparseOperand {
    const { shape, rowPointers, columnIndices, values } = csr;
    const [rows, columns] = shape;
    const pattern = { rows, columns, blockRows: 1, blockColumns: 1, rowPointers, columnIndices };
    return new SparseOperand(name, pattern, values, group);
  }

  /** '5300x5300 nnz 21842' after the name. */
  get title(): string {
    const { rows, columns } = this.pattern;
    return `${this.name} ${rows}x${columns} nnz ${this.nnz}`;
  }

  /** The file's own numbers, scaled into every dtype's range; normal ones where it has none. */
  values(dtype: FloatDType): Operand {
    const numbers = this.#numbers;
    if (numbers === undefined) return Operand.normal(`${this.name} values`, [this.nnz], dtype);
    let largest = 0;
    for (const value of numbers) largest = Math.max(largest, Math.abs(value));
    return Operand.of(largest === 0 ? numbers : numbers.map((value) => value / largest), dtype);
  }

  on(device: Device, values: Operand): SparseMatrix {
    const { rows, columns, blockRows, blockColumns, rowPointers, columnIndices } = this.pattern;
    const csr = blockRows === 1 && blockColumns === 1;
    const shape = csr ? [this.nnz] : [columnIndices.length, blockRows, blockColumns];
    const tensor = device.tensor(values.stored, { shape, dtype: values.dtype, raw: true });
    const parts = { shape: [rows, columns] as const, rowPointers, columnIndices, values: tensor };
    try {
      return csr
        ? device.csr({ ...parts, dtype: values.dtype })
        : device.blockSparse({ ...parts, blockShape: [blockRows, blockColumns], dtype: values.dtype });
    } finally {
      tensor.dispose();
    }
  }

  /** Of all elements the share that is stored. */
  get density(): number {
    const { rows, columns } = this.pattern;
    return this.nnz / (rows * columns);
  }

  /** Bytes of the indices. */
  get indexBytes(): number {
    return 4 * (this.pattern.rowPointers.length + this.pattern.columnIndices.length);
  }
}

/** Dense columns that products with sparse matrices are measured with. */
export function sizesFor({ kind, full }: ProblemContext): readonly number[] {
  if (kind === 'cpu') return [32, 128];
  return full ? [1, 8, 32, 64, 128, 256, 512] : [32, 128, 512];
}

/** The parts of a flat array of stored elements that belong to the given rows, one after another. */
export function storedRows(
  elements: Float64Array,
  rowPointers: Int32Array,
  rows: readonly number[],
): Float64Array {
  const size = rows.reduce((sum, row) => sum + rowPointers[row + 1] - rowPointers[row], 0);
  const chosen = new Float64Array(size);
  let at = 0;
  for (const row of rows) {
    const part = elements.subarray(rowPointers[row], rowPointers[row + 1]);
    chosen.set(part, at);
    at += part.length;
  }
  return chosen;
}
