import type { SparsePattern } from '../backends/calls/sparse-pattern.js';
import { type TilesCall, tileDepth } from '../backends/calls/spmm.js';
import type { Device } from '../device/device.js';
import type { DerivedCopy } from '../device/graph.js';
import type { FloatDType } from '../tensor/dtype.js';
import type { Tensor } from '../tensor/tensor.js';
import type { SparseMatrix } from './sparse-matrix.js';

/**
 * The values of a CSR matrix in dense tiles, for the tensor-core kernel. Belongs to a values tensor and to the graphs that recorded
 * its use; holds handles of its own to everything that a refresh reads. Out of date once the values were written to.
 */
export class TiledCopy implements DerivedCopy {
  readonly rows: number;
  readonly count: number;
  /** What a call carries. */
  readonly call: TilesCall;
  readonly #device: Device;
  readonly #dtype: FloatDType;
  readonly #pattern: SparsePattern;
  readonly #values: Tensor;
  readonly #tensors: readonly Tensor[];
  #version: number;
  #references = 1;

  private constructor(
    matrix: SparseMatrix,
    rows: number,
    count: number,
    sources: { pattern: SparsePattern; values: Tensor },
    tiles: { panelPointers: Tensor; columns: Tensor; values: Tensor },
    tensors: readonly Tensor[],
  ) {
    this.#device = matrix.device;
    this.#dtype = matrix.dtype;
    this.#pattern = sources.pattern;
    this.#values = sources.values;
    this.#tensors = tensors;
    this.rows = rows;
    this.count = count;
    const { panelPointers, columns, values } = tiles;
    this.call = {
      rows,
      count,
      panelPointers: panelPointers.view,
      columns: columns.view,
      values: values.view,
    };
    this.#version = -1;
  }

  /** Counts the tiles of `rows` rows in each panel: reads back a number a panel. */
  static count(matrix: SparseMatrix, rows: number): Int32Array {
    const { device, pattern } = matrix;
    const panels = Math.ceil(pattern.rows / rows);
    const counts = device.empty([panels], 'int32');
    try {
      device.backend.operations.spmmCountTiles({ pattern, tileRows: rows, counts: counts.view });
      return counts.dataSync() as Int32Array;
    } finally {
      counts.dispose();
    }
  }

  /** Builds the copy: all of its memory or, on an error, none. */
  static of(matrix: SparseMatrix, rows: number, counts: Int32Array): TiledCopy {
    const { device, dtype, pattern } = matrix;
    const pointers = new Int32Array(counts.length + 1);
    counts.forEach((count, panel) => {
      pointers[panel + 1] = pointers[panel] + count;
    });
    const count = pointers[counts.length];
    const tensors: Tensor[] = [];
    const keep = <T extends Tensor>(tensor: T): T => {
      tensors.push(tensor);
      return tensor;
    };
    try {
      const panelPointers = keep(device.tensor(pointers, { dtype: 'int32' }));
      const columns = keep(device.empty([count], 'int32'));
      const tileValues = keep(device.empty([count, rows, tileDepth], dtype));
      const values = keep(matrix.values.reshape(matrix.values.shape));
      const rowPointers = keep(matrix.rowPointers.reshape(matrix.rowPointers.shape));
      const columnIndices = keep(matrix.columnIndices.reshape(matrix.columnIndices.shape));
      const source = { ...pattern, rowPointers: rowPointers.view, columnIndices: columnIndices.view };
      const tiles = { panelPointers, columns, values: tileValues };
      const copy = new TiledCopy(matrix, rows, count, { pattern: source, values }, tiles, tensors);
      copy.refresh();
      return copy;
    } catch (error) {
      for (const tensor of tensors) tensor.dispose();
      throw error;
    }
  }

  /** False once the values were written to. */
  get fresh(): boolean {
    return this.#version === this.#values.view.buffer.version;
  }

  /** Enqueues the copy of the values as they are now. */
  refresh(): void {
    const { panelPointers, columns, values } = this.call;
    this.#device.backend.operations.spmmFillTiles({
      dtype: this.#dtype,
      pattern: this.#pattern,
      values: this.#values.view,
      panelPointers,
      tileRows: this.rows,
      count: this.count,
      columns,
      tileValues: values,
    });
    this.#version = this.#values.view.buffer.version;
  }

  retain(): this {
    ++this.#references;
    return this;
  }

  dispose(): void {
    if (--this.#references > 0) return;
    for (const tensor of this.#tensors) tensor.dispose();
  }
}
