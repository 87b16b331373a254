/** Extents of the tiles that sddmm works on. Places within a tile are kept as two bytes. */
export const tileShapes = [
  { rows: 32, columns: 64 },
  { rows: 64, columns: 64 },
  { rows: 128, columns: 128 },
  { rows: 256, columns: 256 },
] as const;

/** Names a shape. */
export type TileRows = (typeof tileShapes)[number]['rows'];

/** Place among `tileShapes` of the one of so many rows. */
export const shapeIndexOf = (rows: number): number => tileShapes.findIndex((shape) => shape.rows === rows);
