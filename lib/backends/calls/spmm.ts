import type { FloatDType } from '../../tensor/dtype.js';
import type { View } from '../backend.js';
import type { SparsePattern } from './sparse-pattern.js';

/** As SpmmVariant of cuda/api/spmm.h, in its order. */
export const spmmVariants = [
  'row-split',
  'row-group',
  'tiles',
  'row-bins',
  'panel',
  'stream',
  'strips',
] as const;
export type SpmmVariant = (typeof spmmVariants)[number];

/** How a backend is to compute it; the CPU heeds only whether it reads a copy. */
export interface SpmmPlan {
  readonly variant: SpmmVariant;
  /** Row group, bins, stream and strips: columns of a lane. */
  readonly vector: number;
  /** Row group, bins and stream: consecutive ones of them that a lane loads at once. */
  readonly piece: number;
  /** Row group and bins: lanes over columns, groups of lanes and warps over the entries of a row. Strips: lanes over columns, warps of a strip. */
  readonly lanes: number;
  readonly splits: number;
  readonly warps: number;
  /** Tiles, panel: columns that a block computes, and blocks of a cluster that share the depth; tiles: `warps` multiply together, 4 on Hopper. */
  readonly columns: number;
  readonly cluster: number;
  /** Row bins, stream: items that take a block each, then items that take a warp each. */
  readonly blockItems: number;
  readonly warpItems: number;
  /** Panel: rows of a warp. */
  readonly warpRows: number;
  /** Row group of one problem: so many blocks are launched as one, where the next kernel's would else crowd them. */
  readonly bundle: number;
  /** Stream: no blocks of the next kernel are placed beside this one's: they wait until all of them have ended. */
  readonly alone: boolean;
  /** B is copied so that its rows begin and end at multiples of 16 bytes. */
  readonly padded: boolean;
}

/** A plan of the parameters that its variant heeds. Written out, so that the engine sees one kind of object whatever the variant. */
export function spmmPlan(
  variant: SpmmVariant,
  {
    vector = 1,
    piece = 1,
    lanes = 32,
    splits = 1,
    warps = 1,
    columns = 0,
    cluster = 1,
    blockItems = 0,
    warpItems = 0,
    warpRows = 0,
    bundle = 1,
    alone = false,
    padded = false,
  }: Partial<Omit<SpmmPlan, 'variant'>> = {},
): SpmmPlan {
  return {
    variant,
    vector,
    piece,
    lanes,
    splits,
    warps,
    columns,
    cluster,
    blockItems,
    warpItems,
    warpRows,
    bundle,
    alone,
    padded,
  };
}

/** A table of lib/formats/row-bins.ts or row-stream.ts. */
export interface RowBinsCall {
  readonly items: number;
  readonly segments: number;
  readonly longRows: number;
  /** int32 [4 items + 3 longRows] */
  readonly table: View;
  /** int32 [ceil(stored / 4)], four steps an element: for streams of several columns. */
  readonly steps: View | undefined;
}

/** Columns of a tile: kSpmmTileDepth of cuda/api/spmm.h. */
export const tileDepth = 64;
/** Rows of a tile. */
export const tileHeights = [32, 64, 128] as const;
export type TileHeight = (typeof tileHeights)[number];

/** A copy of A that leaves out, of each panel of `rows` rows, what stores nothing. */
export interface PackedCall<Rows extends number> {
  readonly rows: Rows;
  /** Of tiles or columns that are kept. */
  readonly count: number;
  /** int32 [ceil(m / rows) + 1] */
  readonly panelPointers: View;
  /** int32 [count] */
  readonly columns: View;
  readonly values: View;
  /** How they are shared out: the first two tables of shareTable of lib/formats/tile-counts.ts. */
  readonly table: View;
  readonly items: number;
  readonly longest: number;
  readonly parts: number;
  readonly cuts: number;
}

/** A in dense tiles of `rows` x 64 elements, panel by panel; tiles without entries are left out. */
export interface TilesCall extends PackedCall<TileHeight> {
  /** int32 [count]: tile t covers columns 64 columns[t] on. */
  readonly columns: View;
  /** [count, rows, 64]; for half types eighth i of the 64 columns of row r lies at i ^ (r % 8). */
  readonly values: View;
}

/** Rows of a strip. */
export const stripHeights = [4, 8] as const;
export type StripHeight = (typeof stripHeights)[number];
/** The columns of a strip are filled up to a multiple of this many: kSpmmStripStep of cuda/api/spmm.h. */
export const stripStep = 4;

/** A in strips of `rows` rows: the columns in which a strip stores anything, and dense values. */
export interface StripsCall extends PackedCall<StripHeight> {
  /** int32 [count], ascending in a strip; what fills up a multiple of `stripStep` repeats the last. */
  readonly columns: View;
  /** [count, rows] */
  readonly values: View;
}

/** C = alpha A B + beta C for each of `batch` problems. Strides are in elements; 0 shares one operand. */
export interface SpmmCall {
  readonly dtype: FloatDType;
  /** A, [m, k]. */
  readonly pattern: SparsePattern;
  /** Columns of B and C. */
  readonly width: number;
  readonly batch: number;
  /** [stored, blockRows, blockColumns], sets `valuesStride` apart. */
  readonly values: View;
  readonly valuesStride: number;
  /** [k, width], rows `ldb` and problems `bStride` apart. */
  readonly b: View;
  readonly ldb: number;
  readonly bStride: number;
  /** [m, width], rows `ldc` and problems `cStride` apart. Read only where beta is not 0. */
  readonly c: View;
  readonly ldc: number;
  readonly cStride: number;
  /** Representable in float32. */
  readonly alpha: number;
  readonly beta: number;
  readonly plan: SpmmPlan;
  /** For plans of the variants 'row-bins' and 'stream'. */
  readonly bins: RowBinsCall | undefined;
  /** For plans of the variant 'tiles': the same numbers as `values`. */
  readonly tiles: TilesCall | undefined;
  /** For plans of the variant 'strips': likewise. */
  readonly strips: StripsCall | undefined;
}

/** Writes a float32 matrix in strips. */
export interface SpmmFillStripsCall {
  /** CSR */
  readonly pattern: SparsePattern;
  /** [stored] */
  readonly values: View;
  /** int32 [ceil(m / stripRows) + 1], sums of the counts. */
  readonly stripPointers: View;
  readonly stripRows: number;
  readonly count: number;
  /** int32 [count] */
  readonly columns: View;
  /** [count, stripRows] */
  readonly stripValues: View;
}

/** Writes a matrix in tiles. */
export interface SpmmFillTilesCall {
  readonly dtype: FloatDType;
  /** CSR */
  readonly pattern: SparsePattern;
  /** [stored] */
  readonly values: View;
  /** int32 [ceil(m / tileRows) + 1], sums of the counts. */
  readonly panelPointers: View;
  /** As of `PackedCall`. */
  readonly table: View;
  readonly items: number;
  readonly tileRows: number;
  readonly count: number;
  /** int32 [count] */
  readonly columns: View;
  /** [count, tileRows, 64] */
  readonly tileValues: View;
}
