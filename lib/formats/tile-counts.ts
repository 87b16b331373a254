// How many dense tiles a sparse pattern meets, counted on the host; and how they are shared out among the blocks of a grid.

import { type TileHeight, tileDepth } from '../backends/calls/spmm.js';

/** The tiles of one height in which something is stored. */
export interface PanelTiles<Rows extends number = number> {
  /** Of a tile. */
  readonly rows: Rows;
  /** By panel. */
  readonly counts: Int32Array;
  /** Of all panels. */
  readonly count: number;
  /** Of one panel. */
  readonly most: number;
  /** Tiles of a part of a panel that is cut, at least about. */
  readonly leastPart: number;
  /** What the counts are multiples of, and those of parts. */
  readonly step: number;
}

/** Tiles and how they are shared out, which is found with them: to prepare a product is to be fast. */
export interface SharedPanels<Rows extends number = number> extends PanelTiles<Rows> {
  readonly shares: TileShares<Rows>;
}

export interface TileCounts {
  /** Of spmm's copy, by the rows of a tile of 64 columns. */
  readonly panels: { readonly [Rows in TileHeight]: SharedPanels<Rows> };
  /** Of each of sddmm's `tileShapes`, in all panels; CSR. */
  readonly shapes: readonly [number, number, number, number];
}

/** Extents of a matrix and of its blocks, in elements. */
export interface Extents {
  readonly rows: number;
  readonly columns: number;
  readonly blockRows: number;
  readonly blockColumns: number;
}

/** Tiles of wider patterns are not worth the memory of counting them. */
const widestCounted = 2 ** 26;

export function countTiles(pointers: Int32Array, indices: Int32Array, extents: Extents): TileCounts {
  const { rows, columns, blockRows, blockColumns } = extents;
  // As if each entry had tiles of its own: no kernel that takes tiles is chosen.
  const stored = pointers[pointers.length - 1];
  const apart = [stored, stored, stored, stored] as const;
  if (columns > widestCounted) {
    const none = <Rows extends number>(height: Rows): SharedPanels<Rows> =>
      shared(panelTiles(height, new Int32Array(Math.ceil(rows / height))));
    return { panels: { 32: none(32), 64: none(64), 128: none(128) }, shapes: apart };
  }
  if (blockRows === 1 && blockColumns === 1) return countOfEntries(pointers, indices, extents);
  const count = <Rows extends number>(height: Rows): SharedPanels<Rows> =>
    shared(panelTiles(height, countOfBlocks(pointers, indices, extents, height)));
  return { panels: { 32: count(32), 64: count(64), 128: count(128) }, shapes: apart };
}

/** Of a part of a panel that is cut. */
const shortestPart = 8;

/** @internal */
export function panelTiles<Rows extends number>(
  rows: Rows,
  counts: Int32Array,
  leastPart = shortestPart,
  step = 1,
): PanelTiles<Rows> {
  let [count, most] = [0, 0];
  for (const tiles of counts) {
    count += tiles;
    if (tiles > most) most = tiles;
  }
  return { rows, counts, count, most, leastPart, step };
}

/** @internal */
export function shared<Rows extends number>(panels: PanelTiles<Rows>): SharedPanels<Rows> {
  const { rows, counts, count, most, leastPart, step } = panels;
  return { rows, counts, count, most, leastPart, step, shares: shareTiles(panels) };
}

/** CSR: one pass, since it takes longer than everything else that is counted of a pattern. */
function countOfEntries(pointers: Int32Array, indices: Int32Array, { rows, columns }: Extents): TileCounts {
  const wide = Math.ceil(columns / tileDepth);
  const panels = (height: number): Int32Array => new Int32Array(Math.ceil(rows / height));
  const [counts32, counts64, counts128] = [panels(32), panels(64), panels(128)];
  // By column of tiles the last panel, from 1 on, that was found to meet it.
  const [met32, met64, met128] = [new Int32Array(wide), new Int32Array(wide), new Int32Array(wide)];
  const [square128, square256] = [new Int32Array((wide + 1) >> 1), new Int32Array((wide + 3) >> 2)];
  let [all32, all64, all128, all256] = [0, 0, 0, 0];
  for (let row = 0; row < rows; ++row) {
    const [panel32, panel64, panel128, panel256] = [row >> 5, row >> 6, row >> 7, row >> 8];
    let last = -1;
    for (let i = pointers[row]; i < pointers[row + 1]; ++i) {
      const tile = indices[i] >> 6;
      if (tile === last) continue;
      last = tile;
      // A tile that was met has been met by those around it.
      if (met32[tile] === panel32 + 1) continue;
      met32[tile] = panel32 + 1;
      ++counts32[panel32];
      ++all32;
      if (met64[tile] === panel64 + 1) continue;
      met64[tile] = panel64 + 1;
      ++counts64[panel64];
      ++all64;
      if (met128[tile] === panel128 + 1) continue;
      met128[tile] = panel128 + 1;
      ++counts128[panel128];
      if (square128[tile >> 1] === panel128 + 1) continue;
      square128[tile >> 1] = panel128 + 1;
      ++all128;
      if (square256[tile >> 2] === panel256 + 1) continue;
      square256[tile >> 2] = panel256 + 1;
      ++all256;
    }
  }
  return {
    panels: {
      32: shared(panelTiles(32, counts32)),
      64: shared(panelTiles(64, counts64)),
      128: shared(panelTiles(128, counts128)),
    },
    shapes: [all32, all64, all128, all256],
  };
}

function countOfBlocks(
  pointers: Int32Array,
  indices: Int32Array,
  { rows, columns, blockRows, blockColumns }: Extents,
  height: number,
): Int32Array {
  const counts = new Int32Array(Math.ceil(rows / height));
  const met = new Int32Array(Math.ceil(columns / tileDepth));
  for (let row = 0; row + 1 < pointers.length; ++row) {
    const last = Math.min(rows, (row + 1) * blockRows) - 1;
    for (let panel = Math.floor((row * blockRows) / height); panel * height <= last; ++panel) {
      for (let i = pointers[row]; i < pointers[row + 1]; ++i) {
        const first = Math.floor((indices[i] * blockColumns) / tileDepth);
        const end = Math.floor((Math.min(columns, (indices[i] + 1) * blockColumns) - 1) / tileDepth);
        for (let tile = first; tile <= end; ++tile) {
          if (met[tile] === panel + 1) continue;
          met[tile] = panel + 1;
          ++counts[panel];
        }
      }
    }
  }
  return counts;
}

/** How the tiles of all panels are shared out: an item is a panel, or a part of one that has far more tiles than others. */
export interface TileShares<Rows extends number = number> {
  /** Of a tile. */
  readonly rows: Rows;
  readonly count: number;
  readonly items: number;
  /** Most tiles of an item. */
  readonly longest: number;
  /** Of all panels that were cut. */
  readonly parts: number;
  /** Panels that were cut. */
  readonly cuts: number;
  /** Most tiles of a panel, cut or not. */
  readonly most: number;
}

/** A grid holds 65535 items; panels are not cut where they alone come near. */
const mostCutPanels = 32_768;

/** Panels of more tiles than `uncut` are cut into parts of about `limit`. */
function cutting({ counts, count, most, leastPart }: PanelTiles): {
  limit: number;
  uncut: number;
} {
  const panels = counts.length;
  const limit = Math.max(leastPart, Math.ceil((2 * count) / Math.max(1, panels)));
  return { limit, uncut: panels > mostCutPanels ? most : 1.5 * limit };
}

/** Tiles of each part of a panel but the last. */
function partOf(tiles: number, limit: number, step: number): number {
  return Math.ceil(tiles / Math.ceil(tiles / limit) / step) * step;
}

/** @internal */
export function shareTiles<Rows extends number>(panels: PanelTiles<Rows>): TileShares<Rows> {
  const { rows, counts, count, most } = panels;
  const { limit, uncut } = cutting(panels);
  if (most <= uncut) return { rows, count, items: counts.length, longest: most, parts: 0, cuts: 0, most };
  let [longest, parts, cuts] = [0, 0, 0];
  for (const tiles of counts) {
    const each = tiles <= uncut ? tiles : partOf(tiles, limit, panels.step);
    if (each > longest) longest = each;
    if (each === tiles) continue;
    parts += Math.ceil(tiles / each);
    ++cuts;
  }
  return { rows, count, items: counts.length - cuts + parts, longest, parts, cuts, most };
}

/**
 * What the kernels read of the shares, one after the other: [items, 4]: panel, first tile, tiles, place among the parts or -1;
 * [cuts, 4]: panel, first part, parts, 0; [panels + 1]: pointers. Written to the beginning of `room` where that holds it.
 */
export function shareTable(panels: PanelTiles, { items, cuts }: TileShares, room?: Int32Array): Int32Array {
  const { counts } = panels;
  const { limit, uncut } = cutting(panels);
  const size = 4 * (items + cuts) + counts.length + 1;
  const table = room !== undefined && size <= room.length ? room.subarray(0, size) : new Int32Array(size);
  let [item, cut, pointer] = [0, 4 * items, 4 * (items + cuts)];
  let [first, parts] = [0, 0];
  for (let panel = 0; panel < counts.length; ++panel) {
    const tiles = counts[panel];
    const each = tiles <= uncut ? tiles : partOf(tiles, limit, panels.step);
    const count = each === tiles ? 1 : Math.ceil(tiles / each);
    for (let part = 0; part < count; ++part) {
      const at = part * each;
      table[item++] = panel;
      table[item++] = first + at;
      table[item++] = Math.min(each, tiles - at);
      table[item++] = count === 1 ? -1 : parts + part;
    }
    if (count > 1) {
      table[cut++] = panel;
      table[cut++] = parts;
      table[cut++] = count;
      table[cut++] = 0;
      parts += count;
    }
    table[pointer++] = first;
    first += tiles;
  }
  table[pointer] = first;
  return table;
}
