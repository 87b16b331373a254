import type { View } from '../backends/backend.js';
import type { SparsePattern } from '../backends/calls/sparse-pattern.js';
import { type TileHeight, type TilesCall, tileDepth } from '../backends/calls/spmm.js';
import type { Device } from '../device/device.js';
import type { DerivedCopy } from '../device/graph.js';
import type { FloatDType } from '../tensor/dtype.js';
import type { Tensor } from '../tensor/tensor.js';
import type { SparseMatrix } from './sparse-matrix.js';
import { shareTable, shareTiles } from './tile-counts.js';

/**
 * The values of a sparse matrix in dense tiles, for the tensor-core kernels. Belongs to a values tensor and to the graphs that recorded
 * its use; holds handles of its own to everything that a refresh reads. Out of date once the values were written to.
 */
export class TiledCopy implements DerivedCopy {
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
    call: TilesCall,
    sources: { pattern: SparsePattern; values: Tensor },
    tensors: readonly Tensor[],
  ) {
    this.#device = matrix.device;
    this.#dtype = matrix.dtype;
    this.#pattern = sources.pattern;
    this.#values = sources.values;
    this.#tensors = tensors;
    this.call = call;
    this.#version = -1;
  }

  /** Builds the copy in tiles of `rows` rows: all of its memory or, on an error, none. */
  static of(matrix: SparseMatrix, rows: TileHeight): TiledCopy {
    const { device, dtype, pattern, topology } = matrix;
    const panels = topology.tiles.panels[rows];
    const shares = shareTiles(panels);
    const tableData = shareTable(panels);
    const tensors: Tensor[] = [];
    const keep = <T extends Tensor>(tensor: T): T => {
      tensors.push(tensor);
      return tensor;
    };
    try {
      const table = keep(device.tensor(tableData, { dtype: 'int32' }));
      const columns = keep(device.empty([shares.count], 'int32'));
      const tileValues = keep(device.empty([shares.count, rows, tileDepth], dtype));
      const values = keep(matrix.values.reshape(matrix.values.shape));
      const rowPointers = keep(matrix.rowPointers.reshape(matrix.rowPointers.shape));
      const columnIndices = keep(matrix.columnIndices.reshape(matrix.columnIndices.shape));
      const source = { ...pattern, rowPointers: rowPointers.view, columnIndices: columnIndices.view };
      const shared = 4 * (shares.items + shares.cuts);
      const copy = new TiledCopy(
        matrix,
        {
          rows,
          count: shares.count,
          panelPointers: part(table, shared, tableData.length - shared),
          columns: columns.view,
          values: tileValues.view,
          table: part(table, 0, shared),
          items: shares.items,
          longest: shares.longest,
          parts: shares.parts,
          cuts: shares.cuts,
          most: shares.most,
        },
        { pattern: source, values },
        tensors,
      );
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
    const { rows, count, panelPointers, columns, values } = this.call;
    this.#device.backend.operations.spmmFillTiles({
      dtype: this.#dtype,
      pattern: this.#pattern,
      values: this.#values.view,
      panelPointers,
      tileRows: rows,
      count,
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

/** `elements` of a tensor of int32 from the one at `first` on. */
function part(tensor: Tensor<'int32'>, first: number, elements: number): View {
  const { view } = tensor;
  return { ...view, byteOffset: view.byteOffset + 4 * first, elements };
}
