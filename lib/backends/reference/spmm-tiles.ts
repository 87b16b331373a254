import { dtypeInfo, type FloatDType } from '../../tensor/dtype.js';
import { type SpmmCall, type SpmmFillTilesCall, tileDepth } from '../calls/spmm.js';
import { type HostPattern, listRow, readPattern, rowEntries } from './sparse-pattern.js';
import { elementsOf, readInts } from './views.js';

/** The ascending columns of tiles that blocks stored in rows [first, last) meet. */
function tileColumns(pattern: HostPattern, first: number, last: number): number[] {
  const { columns, blockRows, blockColumns, rowPointers, columnIndices } = pattern;
  const found = new Set<number>();
  const end = rowPointers[Math.floor((last - 1) / blockRows) + 1];
  for (let i = rowPointers[Math.floor(first / blockRows)]; i < end; ++i) {
    const column = columnIndices[i] * blockColumns;
    for (
      let tile = Math.floor(column / tileDepth);
      tile * tileDepth < Math.min(columns, column + blockColumns);
      ++tile
    ) {
      found.add(tile);
    }
  }
  return [...found].sort((a, b) => a - b);
}

/** Where an element of a tile lies: half types have the eighths of a row exchanged. */
function placeInTile(dtype: FloatDType, row: number, column: number): number {
  return row * tileDepth + (dtypeInfo[dtype].bytes === 2 ? column ^ ((row % 8) * 8) : column);
}

export function runSpmmFillTiles(call: SpmmFillTilesCall): void {
  const pattern = readPattern(call.pattern);
  const { dtype, tileRows } = call;
  const [values, tileValues] = [elementsOf(call.values), elementsOf(call.tileValues)];
  const [panelPointers, columns] = [readInts(call.panelPointers), readInts(call.columns)];
  const entries = rowEntries(pattern);
  tileValues.fill(0);
  for (let panel = 0; panel * tileRows < pattern.rows; ++panel) {
    const first = panel * tileRows;
    const last = Math.min(pattern.rows, first + tileRows);
    const found = tileColumns(pattern, first, last);
    columns.set(found, panelPointers[panel]);
    const places = new Map(found.map((column, index) => [column, panelPointers[panel] + index]));
    for (let row = first; row < last; ++row) {
      listRow(pattern, row, entries);
      for (let i = 0; i < entries.count; ++i) {
        const column = entries.columns[i];
        const tile = places.get(Math.floor(column / tileDepth)) as number;
        const place = placeInTile(dtype, row - first, column % tileDepth);
        tileValues[tile * tileRows * tileDepth + place] = values[entries.positions[i]];
      }
    }
  }
}

/** The stored values in their order, read from the tiles. */
export function valuesInTiles(call: SpmmCall): ReturnType<typeof elementsOf> {
  const { tiles, dtype } = call;
  const values = elementsOf(call.values).slice();
  if (tiles === undefined) return values;
  const pattern = readPattern(call.pattern);
  const [panelPointers, columns] = [readInts(tiles.panelPointers), readInts(tiles.columns)];
  const stored = elementsOf(tiles.values);
  const entries = rowEntries(pattern);
  for (let row = 0; row < pattern.rows; ++row) {
    let tile = panelPointers[Math.floor(row / tiles.rows)];
    listRow(pattern, row, entries);
    for (let i = 0; i < entries.count; ++i) {
      const column = entries.columns[i];
      // Both ascend within a row.
      while (columns[tile] < Math.floor(column / tileDepth)) ++tile;
      const place = placeInTile(dtype, row % tiles.rows, column % tileDepth);
      values[entries.positions[i]] = stored[tile * tiles.rows * tileDepth + place];
    }
  }
  return values;
}
