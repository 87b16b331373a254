import type { FloatDType } from '../../tensor/dtype.js';
import type { View } from '../backend.js';
import type { SparsePattern } from './sparse-pattern.js';

/** As SddmmVariant of cuda/api/sddmm.h, in its order. */
export const sddmmVariants = ['segments', 'rows', 'gather', 'tiles'] as const;
export type SddmmVariant = (typeof sddmmVariants)[number];

/** How a backend is to compute it; the CPU heeds none of it. */
export interface SddmmPlan {
  readonly variant: SddmmVariant;
  /** Rows, gather: elements that a lane loads at once, and lanes that sum an element. */
  readonly vector: number;
  readonly lanes: number;
  /** Rows: warps that share a row. */
  readonly splits: number;
  /** Tiles: their extent, and the lanes that write a row's elements. */
  readonly tileRows: number;
  readonly tileColumns: number;
  readonly walk: number;
  /** Tiles: each panel of rows begins at its own first stored column, and `columnTiles` tiles hold what it stores. */
  readonly banded: boolean;
  readonly columnTiles: number;
}

/** S = alpha (A B^T) at the stored elements of a pattern, for each of `batch` problems. Strides are in elements. */
export interface SddmmCall {
  readonly dtype: FloatDType;
  /** S, [m, n]. */
  readonly pattern: SparsePattern;
  /** Columns of A and B, which the products sum over. */
  readonly depth: number;
  readonly batch: number;
  /** [m, depth], rows `lda` and problems `aStride` apart. */
  readonly a: View;
  readonly lda: number;
  readonly aStride: number;
  /** [n, depth], rows `ldb` and problems `bStride` apart. */
  readonly b: View;
  readonly ldb: number;
  readonly bStride: number;
  /** Factors [stored, blockRows, blockColumns], sets `factorsStride` apart; undefined for none. */
  readonly factors: View | undefined;
  readonly factorsStride: number;
  /** S: [stored, blockRows, blockColumns], sets `outStride` apart. */
  readonly out: View;
  readonly outStride: number;
  /** Representable in float32. */
  readonly alpha: number;
  readonly plan: SddmmPlan;
}
