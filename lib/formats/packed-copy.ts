import type { BackendBuffer, View } from '../backends/backend.js';
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
import { type DType, dtypeInfo } from '../tensor/dtype.js';
import type { Storage } from '../tensor/tensor.js';
import type { SparseMatrix } from './sparse-matrix.js';
import { type SharedPanels, shareTable, type TileShares } from './tile-counts.js';

/**
 * Where tables are made to be uploaded. Made anew, an array has the engine look at all that the host holds outside of its heap, and may have
 * the garbage of making the matrix collected: milliseconds, where to prepare takes tens of microseconds.
 */
const tableRoom = new Int32Array(2 ** 16);

/** Where the parts of a copy begin in its memory. */
const partAlignment = 256;
const aligned = (bytes: number): number => partAlignment * Math.ceil(bytes / partAlignment);

/** The memory of a copy, and what it is made from. */
interface Parts {
  readonly pattern: SparsePattern;
  readonly source: View;
  /** The tables of `shareTable`: items and cuts; pointers. */
  readonly table: View;
  readonly pointers: View;
  /** int32 [count] */
  readonly columns: View;
  readonly values: View;
}

// Only a backstop, as that of tensors. Handles of all these, each with an entry of its own, would take as long to make as to plan for them.
const dropped = new FinalizationRegistry<readonly Storage[]>(release);

function release(memory: readonly Storage[]): void {
  for (const storage of memory) storage.release();
}

/**
 * The values of a sparse matrix in another order, for kernels that want them so. Belongs to a values tensor and to the graphs that recorded
 * its use; holds on to all memory that a refresh reads. Out of date once the values were written to.
 */
export class PackedCopy<Call, Rows extends number> implements DerivedCopy {
  /** What a call carries. */
  readonly call: Call;
  readonly shares: TileShares<Rows>;
  /** Columns of B for which preparing found it to be the fastest, of all copies that it might have made. */
  readonly widths = new Set<number>();
  readonly #source: BackendBuffer;
  readonly #memory: readonly Storage[];
  readonly #fill: () => void;
  #version = -1;
  #references = 1;

  private constructor(
    call: Call,
    shares: TileShares<Rows>,
    source: BackendBuffer,
    memory: readonly Storage[],
    fill: () => void,
  ) {
    this.call = call;
    this.shares = shares;
    this.#source = source;
    this.#memory = memory;
    this.#fill = fill;
  }

  /**
   * Builds the copy: all of its memory or, on an error, none.
   * @param elements of the values of one tile.
   */
  static of<Call, Rows extends number>(
    matrix: SparseMatrix,
    panels: SharedPanels<Rows>,
    elements: number,
    describe: (parts: Parts, shares: TileShares<Rows>) => Call,
    fill: (parts: Parts, device: Device) => void,
  ): PackedCopy<Call, Rows> {
    const { device, dtype, pattern } = matrix;
    const source = matrix.values.view;
    const { shares } = panels;
    const { count, items, cuts } = shares;
    const host = shareTable(panels, shares, tableRoom);
    // One block of memory: three would be two more calls of the backend and handles.
    const columnsAt = aligned(4 * host.length);
    const valuesAt = columnsAt + aligned(4 * count);
    const memory = [matrix.values, matrix.rowPointers, matrix.columnIndices].map(({ storage }) =>
      storage.retain(),
    );
    try {
      const storage = device.allocate(valuesAt + count * elements * dtypeInfo[dtype].bytes);
      memory.push(storage);
      const { buffer } = storage;
      device.backend.upload(buffer, 0, host);
      const view = (byteOffset: number, elements: number, dtype: DType): View => ({
        buffer,
        byteOffset,
        elements,
        dtype,
      });
      const shared = 4 * (items + cuts);
      const parts = {
        pattern,
        source,
        table: view(0, shared, 'int32'),
        pointers: view(4 * shared, host.length - shared, 'int32'),
        columns: view(columnsAt, count, 'int32'),
        values: view(valuesAt, count * elements, dtype),
      };
      const call = describe(parts, shares);
      const copy = new PackedCopy(call, shares, source.buffer, memory, () => fill(parts, device));
      copy.refresh();
      dropped.register(copy, memory, copy);
      return copy;
    } catch (error) {
      release(memory);
      throw error;
    }
  }

  /** False once the values were written to. */
  get fresh(): boolean {
    return this.#version === this.#source.version;
  }

  /** Enqueues the copy of the values as they are now. */
  refresh(): void {
    this.#fill();
    this.#version = this.#source.version;
  }

  retain(): this {
    ++this.#references;
    return this;
  }

  dispose(): void {
    if (--this.#references !== 0) return;
    dropped.unregister(this);
    release(this.#memory);
  }
}

/** A matrix in dense tiles. */
export type TiledCopy = PackedCopy<TilesCall, TileHeight>;

/** In tiles of `rows` rows. */
export function tiledCopy(matrix: SparseMatrix, rows: TileHeight): TiledCopy {
  const { dtype, topology } = matrix;
  const panels = topology.tiles.panels[rows];
  return PackedCopy.of(
    matrix,
    panels,
    rows * tileDepth,
    ({ columns, values, table, pointers }, { count, items, longest, parts, cuts }) => ({
      rows,
      count,
      panelPointers: pointers,
      columns,
      values,
      table,
      items,
      longest,
      parts,
      cuts,
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
export type StripCopy = PackedCopy<StripsCall, StripHeight>;

/** In strips that were counted; CSR in float32. */
export function stripCopy(matrix: SparseMatrix, strips: SharedPanels<StripHeight>): StripCopy {
  const { rows } = strips;
  return PackedCopy.of(
    matrix,
    strips,
    rows,
    ({ columns, values, table }, { count, items, longest, parts, cuts }) => ({
      rows,
      count,
      columns,
      values,
      table,
      items,
      longest,
      parts,
      cuts,
    }),
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
