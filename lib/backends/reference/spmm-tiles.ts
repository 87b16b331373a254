import { type SpmmCall, type SpmmCountTilesCall, type SpmmFillTilesCall, tileDepth } from '../calls/spmm.js';
import { readPattern } from './sparse-pattern.js';
import { elementsOf, readInts } from './views.js';

/** The ascending columns of tiles in which rows [first, last) store something. */
function tileColumns(rowPointers: Int32Array, indices: Int32Array, first: number, last: number): number[] {
  const found = new Set<number>();
  for (let i = rowPointers[first]; i < rowPointers[last]; ++i) found.add(Math.floor(indices[i] / tileDepth));
  return [...found].sort((a, b) => a - b);
}

export function runSpmmCountTiles(call: SpmmCountTilesCall): void {
  const { rows, rowPointers, columnIndices } = readPattern(call.pattern);
  const counts = readInts(call.counts);
  for (let panel = 0; panel < counts.length; ++panel) {
    const first = panel * call.tileRows;
    const last = Math.min(rows, first + call.tileRows);
    counts[panel] = tileColumns(rowPointers, columnIndices, first, last).length;
  }
}

export function runSpmmFillTiles(call: SpmmFillTilesCall): void {
  const { rows, rowPointers, columnIndices } = readPattern(call.pattern);
  const { tileRows } = call;
  const [values, tileValues] = [elementsOf(call.values), elementsOf(call.tileValues)];
  const [panelPointers, columns] = [readInts(call.panelPointers), readInts(call.columns)];
  tileValues.fill(0);
  for (let panel = 0; panel * tileRows < rows; ++panel) {
    const first = panel * tileRows;
    const last = Math.min(rows, first + tileRows);
    const found = tileColumns(rowPointers, columnIndices, first, last);
    columns.set(found, panelPointers[panel]);
    const places = new Map(found.map((column, index) => [column, panelPointers[panel] + index]));
    for (let row = first; row < last; ++row) {
      for (let i = rowPointers[row]; i < rowPointers[row + 1]; ++i) {
        const tile = places.get(Math.floor(columnIndices[i] / tileDepth)) as number;
        tileValues[(tile * tileRows + row - first) * tileDepth + (columnIndices[i] % tileDepth)] = values[i];
      }
    }
  }
}

/** The stored values in CSR order, read from the tiles. */
export function valuesInTiles(call: SpmmCall): ReturnType<typeof elementsOf> {
  const { tiles, pattern } = call;
  const values = elementsOf(call.values).slice();
  if (tiles === undefined) return values;
  const { rows, rowPointers, columnIndices } = readPattern(pattern);
  const [panelPointers, columns] = [readInts(tiles.panelPointers), readInts(tiles.columns)];
  const stored = elementsOf(tiles.values);
  for (let row = 0; row < rows; ++row) {
    const panel = Math.floor(row / tiles.rows);
    let tile = panelPointers[panel];
    for (let i = rowPointers[row]; i < rowPointers[row + 1]; ++i) {
      // Both ascend within a row.
      while (columns[tile] < Math.floor(columnIndices[i] / tileDepth)) ++tile;
      const inner = (row % tiles.rows) * tileDepth + (columnIndices[i] % tileDepth);
      values[i] = stored[tile * tiles.rows * tileDepth + inner];
    }
  }
  return values;
}
