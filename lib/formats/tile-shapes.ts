/** Extents of the tiles that sddmm works on. Places within a tile are kept as two bytes. */
export const tileShapes = [
  { rows: 32, columns: 64 },
  { rows: 64, columns: 64 },
  { rows: 128, columns: 128 },
  { rows: 256, columns: 256 },
] as const;

/** Names a shape. */
export type TileRows = (typeof tileShapes)[number]['rows'];

/** Tiles of each shape in which checked indices store anything. */
export function countStoredTiles(
  pointers: Int32Array,
  indices: Int32Array,
  columns: number,
): [number, number, number, number] {
  const rows = pointers.length - 1;
  const stored = pointers[rows];
  // Such a pattern is not worth the memory: as if each entry had tiles of its own.
  if (columns > widestCounted) return [stored, stored, stored, stored];
  // The last panel of rows, counted from 1, that met each column of tiles.
  const [seen32, seen64, seen128, seen256] = tileShapes.map(
    (shape) => new Int32Array(Math.ceil(columns / shape.columns)),
  );
  const counts: [number, number, number, number] = [0, 0, 0, 0];
  for (let row = 0; row < rows; ++row) {
    const [panel32, panel64, panel128, panel256] = [
      (row >> 5) + 1,
      (row >> 6) + 1,
      (row >> 7) + 1,
      (row >> 8) + 1,
    ];
    for (let i = pointers[row]; i < pointers[row + 1]; ++i) {
      const column = indices[i] >> 6;
      // A tile is new only where the smaller one in it is.
      if (seen32[column] === panel32) continue;
      seen32[column] = panel32;
      ++counts[0];
      if (seen64[column] === panel64) continue;
      seen64[column] = panel64;
      ++counts[1];
      if (seen128[column >> 1] === panel128) continue;
      seen128[column >> 1] = panel128;
      ++counts[2];
      if (seen256[column >> 2] === panel256) continue;
      seen256[column >> 2] = panel256;
      ++counts[3];
    }
  }
  return counts;
}

const widestCounted = 2 ** 26;
