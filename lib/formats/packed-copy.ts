import type { BackendBuffer, View } from '../backends/backend.js';
import type { SparsePattern } from '../backends/calls/sparse-pattern.js';
import { type PackedCall, type StripHeight, type TileHeight, tileDepth } from '../backends/calls/spmm.js';
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

/** What a refresh reads, and the copy that it writes. */
interface Filling<Rows extends number> {
  readonly pattern: SparsePattern;
  readonly source: View;
  readonly copy: PackedCall<Rows>;
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
export class PackedCopy<Rows extends number> implements DerivedCopy {
  /** What a call carries. */
  readonly call: PackedCall<Rows>;
  readonly shares: TileShares<Rows>;
  /** Columns of B for which preparing found it to be the fastest, of all copies that it might have made. */
  readonly widths = new Set<number>();
  readonly #source: BackendBuffer;
  readonly #memory: readonly Storage[];
  readonly #fill: () => void;
  #version = -1;
  #references = 1;

  private constructor(
    call: PackedCall<Rows>,
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
  static of<Rows extends number>(
    matrix: SparseMatrix,
    panels: SharedPanels<Rows>,
    elements: number,
    fill: (filling: Filling<Rows>, device: Device) => void,
  ): PackedCopy<Rows> {
    const { device, dtype, pattern } = matrix;
    const source = matrix.values.view;
    const { shares } = panels;
    const { rows, count, items, longest, parts, cuts } = shares;
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
      const table = view(0, shared, 'int32');
      const panelPointers = view(4 * shared, host.length - shared, 'int32');
      const columns = view(columnsAt, count, 'int32');
      const values = view(valuesAt, count * elements, dtype);
      const call = { rows, count, panelPointers, columns, values, table, items, longest, parts, cuts };
      const filling = { pattern, source, copy: call };
      const copy = new PackedCopy(call, shares, source.buffer, memory, () => fill(filling, device));
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
export type TiledCopy = PackedCopy<TileHeight>;

/** In tiles of `rows` rows. */
export function tiledCopy(matrix: SparseMatrix, rows: TileHeight): TiledCopy {
  const { dtype, topology } = matrix;
  return PackedCopy.of(
    matrix,
    topology.tiles.panels[rows],
    rows * tileDepth,
    ({ pattern, source, copy }, device) => {
      device.backend.operations.spmmFillTiles({
        dtype,
        pattern,
        values: source,
        panelPointers: copy.panelPointers,
        table: copy.table,
        items: copy.items,
        tileRows: copy.rows,
        count: copy.count,
        columns: copy.columns,
        tileValues: copy.values,
      });
    },
  );
}

/** A matrix in strips of rows, without the columns in which a strip stores nothing. */
export type StripCopy = PackedCopy<StripHeight>;

/** In strips that were counted; CSR in float32. */
export function stripCopy(matrix: SparseMatrix, strips: SharedPanels<StripHeight>): StripCopy {
  return PackedCopy.of(matrix, strips, strips.rows, ({ pattern, source, copy }, device) => {
    device.backend.operations.spmmFillStrips({
      pattern,
      values: source,
      stripPointers: copy.panelPointers,
      stripRows: copy.rows,
      count: copy.count,
      columns: copy.columns,
      stripValues: copy.values,
    });
  });
}
