import type { SparsePattern } from '../backends/calls/sparse-pattern.js';
import { type TilePartsCall, type TilesCall, tileDepth } from '../backends/calls/spmm.js';
import type { Device } from '../device/device.js';
import type { DerivedCopy } from '../device/graph.js';
import type { FloatDType } from '../tensor/dtype.js';
import type { Tensor } from '../tensor/tensor.js';
import type { SparseMatrix } from './sparse-matrix.js';

/** What the blocks of the float32 kernel compute where panels differ in their tiles. */
export interface PanelParts {
  /** Whole panels and parts of panels. */
  readonly items: number;
  readonly parts: number;
  readonly cutPanels: number;
  /** [items, 4]: panel, first and past the last tile, number of the part or -1; then [cutPanels, 3]: panel, first and past the last part. */
  readonly table: Int32Array;
}

/**
 * @internal Parts of at most twice the mean number of tiles, where a panel holds more than four times as many: a window with a few
 * rows that see everything would else wait for those.
 */
export function cutPanels(pointers: Int32Array): PanelParts | undefined {
  const panels = pointers.length - 1;
  const limit = Math.max(4, Math.ceil((2 * pointers[panels]) / Math.max(1, panels)));
  const items: number[] = [];
  const cut: number[] = [];
  let parts = 0;
  let longest = 0;
  for (let panel = 0; panel < panels; ++panel) {
    const [first, count] = [pointers[panel], pointers[panel + 1] - pointers[panel]];
    longest = Math.max(longest, count);
    if (count <= limit) {
      items.push(panel, first, first + count, -1);
      continue;
    }
    const pieces = Math.ceil(count / limit);
    cut.push(panel, parts, parts + pieces);
    for (let piece = 0; piece < pieces; ++piece, ++parts) {
      const bounds = [piece, piece + 1].map((i) => first + Math.floor((count * i) / pieces));
      items.push(panel, ...bounds, parts);
    }
  }
  if (longest <= 2 * limit) return undefined;
  const table = Int32Array.from([...items, ...cut]);
  return { items: items.length / 4, parts, cutPanels: cut.length / 3, table };
}

/**
 * The values of a CSR matrix in dense tiles, for the tile kernels. Belongs to a values tensor and to the graphs that recorded
 * its use; holds handles of its own to everything that a refresh reads. Out of date once the values were written to.
 */
export class TiledCopy implements DerivedCopy {
  readonly rows: number;
  readonly count: number;
  /** What a grid is made of: panels or, where long ones are cut, whole panels and parts. */
  readonly items: number;
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
    tiles: { panelPointers: Tensor; columns: Tensor; values: Tensor; parts: TilePartsCall | undefined },
    tensors: readonly Tensor[],
  ) {
    this.#device = matrix.device;
    this.#dtype = matrix.dtype;
    this.#pattern = sources.pattern;
    this.#values = sources.values;
    this.#tensors = tensors;
    this.rows = rows;
    this.count = count;
    const { panelPointers, columns, values, parts } = tiles;
    this.items = parts?.items ?? panelPointers.shape[0] - 1;
    this.call = {
      rows,
      count,
      panelPointers: panelPointers.view,
      columns: columns.view,
      values: values.view,
      parts,
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
      const cut = dtype === 'float32' ? cutPanels(pointers) : undefined;
      const parts =
        cut === undefined
          ? undefined
          : { ...cut, table: keep(device.tensor(cut.table, { dtype: 'int32' })).view };
      const tiles = { panelPointers, columns, values: tileValues, parts };
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
