import type { Device } from '../device/device.js';
import { fail, WarptileError } from '../errors.js';
import type { FloatDType } from '../tensor/dtype.js';
import type { Tensor } from '../tensor/tensor.js';
import { maxInt32 } from '../validate.js';
import type { SparseMatrix, SparseParts } from './sparse-matrix.js';
import { type Topology, topologyOf } from './topology.js';
import { uploadIndices } from './upload-indices.js';

export interface TransposedIndices {
  /** [columns + 1] */
  readonly rowPointers: Int32Array;
  /** [stored], ascending within each row */
  readonly columnIndices: Int32Array;
  /** [stored]: which entry of the matrix each entry of the transpose is. */
  readonly order: Int32Array;
}

/** @internal The transpose of checked indices. */
export function transposeIndices(
  rowPointers: Int32Array,
  columnIndices: Int32Array,
  columns: number,
): TransposedIndices {
  const stored = columnIndices.length;
  const pointers = new Int32Array(columns + 1);
  for (let i = 0; i < stored; ++i) ++pointers[columnIndices[i] + 1];
  for (let column = 0; column < columns; ++column) pointers[column + 1] += pointers[column];
  const next = pointers.slice(0, columns);
  const indices = new Int32Array(stored);
  const order = new Int32Array(stored);
  for (let row = 0; row + 1 < rowPointers.length; ++row) {
    for (let i = rowPointers[row]; i < rowPointers[row + 1]; ++i) {
      const place = next[columnIndices[i]]++;
      indices[place] = row;
      order[place] = i;
    }
  }
  return { rowPointers: pointers, columnIndices: indices, order };
}

/** The pattern of a transposed matrix on the device. Belongs to the memory of the row pointers from which it was made. */
export class TransposedPattern {
  readonly order: Tensor<'int32'>;
  readonly #shape: readonly [number, number];
  readonly #topology: Topology;
  readonly #rowPointers: Tensor<'int32'>;
  readonly #columnIndices: Tensor<'int32'>;
  readonly #bins: Tensor<'int32'> | undefined;

  /** Uploads it: all of it or, on an error, nothing. */
  private constructor(device: Device, matrix: SparseMatrix, indices: TransposedIndices) {
    this.#shape = [matrix.shape[1], matrix.shape[0]];
    const { blockRows, blockColumns } = matrix.pattern;
    this.#topology = topologyOf(indices.rowPointers, indices.columnIndices, matrix.topology.rows, {
      rows: matrix.shape[1],
      columns: matrix.shape[0],
      blockRows: blockColumns,
      blockColumns: blockRows,
    });
    const { bins } = this.#topology;
    const { order, rowPointers, columnIndices } = indices;
    const tables = bins === undefined || matrix.format !== 'csr' ? [] : [bins.table];
    [this.order, this.#rowPointers, this.#columnIndices, this.#bins] = uploadIndices(device, [
      order,
      rowPointers,
      columnIndices,
      ...tables,
    ]);
  }

  /**
   * The transposed pattern of a matrix, shared by all matrices over its pattern. The first call reads the indices back and sorts
   * them on the host.
   */
  static of(matrix: SparseMatrix): TransposedPattern {
    const { storage } = matrix.rowPointers;
    storage.transposed ??= TransposedPattern.#build(matrix);
    return storage.transposed;
  }

  static #build(matrix: SparseMatrix): TransposedPattern {
    const { device, topology } = matrix;
    if (device.capturing) {
      throw new WarptileError(
        'ERR_UNSUPPORTED',
        'capture: the transposed pattern cannot be built while recording; call transpose() or prepare({ n, transposeA: true }) before',
      );
    }
    if (topology.columns >= maxInt32) {
      fail('ERR_LIMIT', 'transpose', `at most ${maxInt32 - 1} columns`, topology.columns);
    }
    const [rowPointers, columnIndices] = [matrix.rowPointers.dataSync(), matrix.columnIndices.dataSync()];
    let indices: TransposedIndices;
    try {
      indices = transposeIndices(rowPointers, columnIndices, topology.columns);
    } catch (cause) {
      // The typed arrays: a matrix of few entries may have more columns than the host has room for.
      if (!(cause instanceof RangeError)) throw cause;
      throw new WarptileError(
        'ERR_OUT_OF_MEMORY',
        `transpose: no room for ${topology.columns} rows of indices`,
        { cause },
      );
    }
    // It outlives the scope in which it is made.
    return device.unscoped(() => new TransposedPattern(device, matrix, indices));
  }

  /** The parts of a matrix over this pattern that takes over the handle `values`. */
  sharing<D extends FloatDType>(values: Tensor<D>): SparseParts<D> {
    return {
      shape: this.#shape,
      topology: this.#topology,
      rowPointers: this.#rowPointers.reshape(this.#rowPointers.shape),
      columnIndices: this.#columnIndices.reshape(this.#columnIndices.shape),
      values,
      bins: this.#bins?.reshape(this.#bins.shape),
    };
  }

  dispose(): void {
    for (const tensor of [this.order, this.#rowPointers, this.#columnIndices, this.#bins]) tensor?.dispose();
  }
}
