import type { SddmmTiles } from '../backends/calls/sddmm.js';
import type { Device } from '../device/device.js';
import { WarptileError } from '../errors.js';
import type { Tensor } from '../tensor/tensor.js';
import type { SparseMatrix } from './sparse-matrix.js';
import { shapeIndexOf, type TileRows, tileShapes } from './tile-shapes.js';
import { uploadIndices } from './upload-indices.js';

/** Most elements of a row that are summed together: a unit. Matches kUnitElements of cuda/kernels/sddmm/staged.cuh. */
const unitElements = 4;

/** @internal As SddmmTiles of cuda/api/sddmm.h, on the host. */
export interface HostTiles {
  /** [count + 1, 4] */
  readonly table: Int32Array;
  /** [count, rows of a tile] */
  readonly shifts: Int32Array;
  /** [stored] */
  readonly entries: Uint16Array;
  /** [units, 2] */
  readonly units: Int32Array;
}

/** @internal The tiles in which checked indices store anything; `count` is how many there are. */
export function mapTiles(
  rowPointers: Int32Array,
  columnIndices: Int32Array,
  columns: number,
  shape: { readonly rows: number; readonly columns: number },
  count: number,
): HostTiles {
  const rows = rowPointers.length - 1;
  const stored = rowPointers[rows];
  const { rows: tall, columns: wide } = shape;
  const log2 = Math.log2(wide);
  const table = new Int32Array(4 * (count + 1));
  const shifts = new Int32Array(count * tall);
  // An even number, as they are uploaded as int32.
  const entries = new Uint16Array(2 * Math.ceil(stored / 2));
  const units = new Int32Array(2 * mostUnits(stored, count, tall));
  const elements = new Int32Array(Math.ceil(columns / wide));
  const places = new Int32Array(elements.length);
  let [tile, unit] = [0, 0];
  for (let first = 0; first < rows; first += tall) {
    const past = Math.min(first + tall, rows);
    const [start, end] = [rowPointers[first], rowPointers[past]];
    const touched: number[] = [];
    for (let e = start; e < end; ++e) {
      const column = columnIndices[e] >> log2;
      if (elements[column]++ === 0) touched.push(column);
    }
    touched.sort((a, b) => a - b);
    let position = start;
    for (const [i, column] of touched.entries()) {
      table.set([first / tall, column, position], 4 * (tile + i));
      position += elements[column];
      places[column] = tile + i;
      elements[column] = 0;
    }
    for (let row = first; row < past; ++row) {
      for (let e = rowPointers[row]; e < rowPointers[row + 1]; ++e) {
        const column = columnIndices[e] >> log2;
        const local = elements[column]++;
        const place = places[column];
        shifts[place * tall + row - first] = e - local;
        entries[table[4 * place + 2] + local] = ((row - first) << 8) | (columnIndices[e] & (wide - 1));
      }
    }
    for (const column of touched) {
      table[4 * tile + 3] = unit;
      const base = table[4 * tile + 2];
      for (let local = 0; local < elements[column]; ) {
        let size = 1;
        const row = entries[base + local] >> 8;
        while (
          size < unitElements &&
          local + size < elements[column] &&
          entries[base + local + size] >> 8 === row
        )
          ++size;
        units[2 * unit] = local | (size << 16) | (row << 24);
        let columns = 0;
        for (let i = 0; i < unitElements; ++i)
          columns |= (entries[base + local + Math.min(i, size - 1)] & 255) << (8 * i);
        units[2 * unit++ + 1] = columns;
        local += size;
      }
      elements[column] = 0;
      ++tile;
    }
  }
  table.set([0, 0, stored, unit], 4 * count);
  return { table, shifts, entries, units: units.subarray(0, 2 * unit) };
}

/** A row of a tile has one unit that is not full. */
const mostUnits = (stored: number, count: number, tall: number): number =>
  Math.min(stored, Math.ceil(stored / unitElements) + count * tall);

/** The tiles of a pattern on the device, for sddmm. Belongs to the memory of the row pointers from which it was made. */
export class TileMap {
  /** What a call carries. */
  readonly call: SddmmTiles;
  readonly #tensors: readonly Tensor[];

  /** Uploads it: all of it or, on an error, nothing. */
  private constructor(device: Device, matrix: SparseMatrix, index: number) {
    const { pattern, topology } = matrix;
    const shape = tileShapes[index];
    const count = topology.tiles.shapes[index];
    const [pointers, indices] = [matrix.rowPointers.dataSync(), matrix.columnIndices.dataSync()];
    const host = mapTiles(pointers, indices, pattern.columns, shape, count);
    this.#tensors = uploadIndices(device, [
      host.table,
      host.shifts,
      new Int32Array(host.entries.buffer),
      host.units,
    ]);
    const [table, shifts, entries, units] = this.#tensors.map(({ view }) => view);
    const columnTiles = Math.ceil(pattern.columns / shape.columns);
    this.call = {
      rows: shape.rows,
      count,
      everyColumn: count === Math.ceil(pattern.rows / shape.rows) * columnTiles ? columnTiles : 0,
      table,
      shifts,
      entries,
      units,
      unitCount: host.units.length / 2,
    };
  }

  /** Whether such tiles of the pattern of `matrix` are known already. */
  static has(matrix: SparseMatrix, rows: TileRows): boolean {
    return matrix.rowPointers.storage.tileMaps?.has(rows) ?? false;
  }

  /**
   * The tiles of a CSR matrix, shared by all matrices over its pattern. The first call for a shape reads the indices back and
   * sorts them on the host.
   */
  static of(matrix: SparseMatrix, rows: TileRows): TileMap {
    const { storage } = matrix.rowPointers;
    storage.tileMaps ??= new Map();
    let map = storage.tileMaps.get(rows);
    if (map === undefined) {
      const { device } = matrix;
      if (device.capturing) {
        throw new WarptileError(
          'ERR_UNSUPPORTED',
          'capture: the tiles of the mask cannot be found while recording; call sddmm once before',
        );
      }
      const index = shapeIndexOf(rows);
      // It outlives the scope in which it is made.
      map = device.unscoped(() => new TileMap(device, matrix, index));
      storage.tileMaps.set(rows, map);
    }
    return map;
  }

  dispose(): void {
    for (const tensor of this.#tensors) tensor.dispose();
  }
}
