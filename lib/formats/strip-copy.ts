import type { View } from '../backends/backend.js';
import type { SparsePattern } from '../backends/calls/sparse-pattern.js';
import type { StripHeight, StripsCall } from '../backends/calls/spmm.js';
import type { Device } from '../device/device.js';
import type { DerivedCopy } from '../device/graph.js';
import type { Tensor } from '../tensor/tensor.js';
import type { SparseMatrix } from './sparse-matrix.js';
import { type PanelTiles, shareTable, shareTiles } from './tile-counts.js';

/** The values of a sparse matrix in strips of rows. As TiledCopy: belongs to a values tensor and to the graphs that recorded its use. */
export class StripCopy implements DerivedCopy {
  /** What a call carries. */
  readonly call: StripsCall;
  readonly #device: Device;
  readonly #pattern: SparsePattern;
  readonly #values: Tensor;
  readonly #pointers: View;
  readonly #tensors: readonly Tensor[];
  #version = -1;
  #references = 1;

  private constructor(
    device: Device,
    call: StripsCall,
    sources: { pattern: SparsePattern; values: Tensor; pointers: View },
    tensors: readonly Tensor[],
  ) {
    this.#device = device;
    this.#pattern = sources.pattern;
    this.#values = sources.values;
    this.#pointers = sources.pointers;
    this.#tensors = tensors;
    this.call = call;
  }

  /** Builds the copy of a matrix whose strips were counted, in strips of `rows` rows: all of its memory or, on an error, none. */
  static of(matrix: SparseMatrix, rows: StripHeight, strips: PanelTiles): StripCopy {
    const { device, pattern } = matrix;
    const { count, items, longest, parts, cuts } = shareTiles(strips);
    const tensors: Tensor[] = [];
    const keep = <T extends Tensor>(tensor: T): T => {
      tensors.push(tensor);
      return tensor;
    };
    try {
      const table = keep(device.tensor(shareTable(strips), { dtype: 'int32' }));
      const columns = keep(device.empty([count], 'int32'));
      const stripValues = keep(device.empty([count, rows], 'float32'));
      const values = keep(matrix.values.reshape(matrix.values.shape));
      const rowPointers = keep(matrix.rowPointers.reshape(matrix.rowPointers.shape));
      const columnIndices = keep(matrix.columnIndices.reshape(matrix.columnIndices.shape));
      const source = { ...pattern, rowPointers: rowPointers.view, columnIndices: columnIndices.view };
      const shared = 4 * (items + cuts);
      const { view } = table;
      const pointers = {
        ...view,
        byteOffset: view.byteOffset + 4 * shared,
        elements: view.elements - shared,
      };
      const copy = new StripCopy(
        device,
        {
          rows,
          count,
          columns: columns.view,
          values: stripValues.view,
          table: { ...view, elements: shared },
          items,
          longest,
          parts,
          cuts,
        },
        { pattern: source, values, pointers },
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
    const { rows, count, columns, values } = this.call;
    this.#device.backend.operations.spmmFillStrips({
      pattern: this.#pattern,
      values: this.#values.view,
      stripPointers: this.#pointers,
      stripRows: rows,
      count,
      columns,
      stripValues: values,
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
