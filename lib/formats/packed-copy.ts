import type { View } from '../backends/backend.js';
import type { SparsePattern } from '../backends/calls/sparse-pattern.js';
import {
  type StripHeight,
  type StripsCall,
  type TileHeight,
  type TilesCall,
  tileDepth,
} from '../backends/calls/spmm.js';
import type { Device } from '../device/device.js';
import type { DerivedCopy } from '../device/graph.js';
import type { Tensor } from '../tensor/tensor.js';
import type { SparseMatrix } from './sparse-matrix.js';
import { type PanelTiles, shareTable, shareTiles, type TileShares } from './tile-counts.js';

/**
 * Where tables are made to be uploaded. Made anew, an array has the engine look at all that the host holds outside of its heap, and may have
 * the garbage of making the matrix collected: milliseconds, where to prepare takes tens of microseconds.
 */
const tableRoom = new Int32Array(2 ** 16);

/** The memory of a copy, and what it is made from: handles of its own, which outlive those of the matrix. */
interface Parts {
  readonly pattern: SparsePattern;
  readonly source: View;
  /** int32 [count] */
  readonly columns: View;
  readonly values: View;
  /** The tables of `shareTable`: items and cuts; pointers. */
  readonly table: View;
  readonly pointers: View;
}

/**
 * The values of a sparse matrix in another order, for kernels that want them so. Belongs to a values tensor and to the graphs that recorded
 * its use; holds handles of its own to everything that a refresh reads. Out of date once the values were written to.
 */
export class PackedCopy<Call> implements DerivedCopy {
  /** What a call carries. */
  readonly call: Call;
  readonly #values: Tensor;
  readonly #tensors: readonly Tensor[];
  readonly #fill: () => void;
  #version = -1;
  #references = 1;

  private constructor(call: Call, values: Tensor, tensors: readonly Tensor[], fill: () => void) {
    this.call = call;
    this.#values = values;
    this.#tensors = tensors;
    this.#fill = fill;
  }

  /**
   * Builds the copy: all of its memory or, on an error, none.
   * @param shape of the values of one tile.
   */
  static of<Call>(
    matrix: SparseMatrix,
    panels: PanelTiles,
    shape: readonly number[],
    describe: (parts: Parts, shares: TileShares) => Call,
    fill: (parts: Parts, device: Device) => void,
  ): PackedCopy<Call> {
    const { device, dtype } = matrix;
    const shares = shareTiles(panels);
    const tensors: Tensor[] = [];
    const keep = <T extends Tensor>(tensor: T): T => {
      tensors.push(tensor);
      return tensor;
    };
    try {
      const { view: tables } = keep(
        device.tensor(shareTable(panels, shares, tableRoom), { dtype: 'int32', raw: true }),
      );
      const columns = keep(device.empty([shares.count], 'int32'));
      const packed = keep(device.empty([shares.count, ...shape], dtype));
      const values = keep(matrix.values.reshape(matrix.values.shape));
      const rowPointers = keep(matrix.rowPointers.reshape(matrix.rowPointers.shape));
      const columnIndices = keep(matrix.columnIndices.reshape(matrix.columnIndices.shape));
      const shared = 4 * (shares.items + shares.cuts);
      const parts = {
        pattern: { ...matrix.pattern, rowPointers: rowPointers.view, columnIndices: columnIndices.view },
        source: values.view,
        columns: columns.view,
        values: packed.view,
        table: { ...tables, elements: shared },
        pointers: {
          ...tables,
          byteOffset: tables.byteOffset + 4 * shared,
          elements: tables.elements - shared,
        },
      };
      const copy = new PackedCopy(describe(parts, shares), values, tensors, () => fill(parts, device));
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
    this.#fill();
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

/** A matrix in dense tiles. */
export type TiledCopy = PackedCopy<TilesCall>;

/** In tiles of `rows` rows. */
export function tiledCopy(matrix: SparseMatrix, rows: TileHeight): TiledCopy {
  const { dtype, topology } = matrix;
  const panels = topology.tiles.panels[rows];
  return PackedCopy.of(
    matrix,
    panels,
    [rows, tileDepth],
    ({ columns, values, table, pointers }, shares) => ({
      ...shares,
      rows,
      panelPointers: pointers,
      columns,
      values,
      table,
    }),
    ({ pattern, source, columns, values, pointers }, device) => {
      device.backend.operations.spmmFillTiles({
        dtype,
        pattern,
        values: source,
        panelPointers: pointers,
        tileRows: rows,
        count: panels.count,
        columns,
        tileValues: values,
      });
    },
  );
}

/** A matrix in strips of rows, without the columns in which a strip stores nothing. */
export type StripCopy = PackedCopy<StripsCall>;

/** In strips of `rows` rows, which were counted; CSR in float32. */
export function stripCopy(matrix: SparseMatrix, rows: StripHeight, strips: PanelTiles): StripCopy {
  return PackedCopy.of(
    matrix,
    strips,
    [rows],
    ({ columns, values, table }, shares) => ({ ...shares, rows, columns, values, table }),
    ({ pattern, source, columns, values, pointers }, device) => {
      device.backend.operations.spmmFillStrips({
        pattern,
        values: source,
        stripPointers: pointers,
        stripRows: rows,
        count: strips.count,
        columns,
        stripValues: values,
      });
    },
  );
}
