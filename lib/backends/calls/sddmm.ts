import type { FloatDType } from '../../tensor/dtype.js';
import type { View } from '../backend.js';
import type { SparsePattern } from './sparse-pattern.js';

/** As SddmmVariant of cuda/api/sddmm.h, in its order. */
export const sddmmVariants = ['segments', 'rows', 'gather', 'tiles', 'staged', 'warpgroups'] as const;
export type SddmmVariant = (typeof sddmmVariants)[number];

/** How a backend is to compute it; the CPU heeds none of it. */
export interface SddmmPlan {
  readonly variant: SddmmVariant;
  /** Elements that a lane loads at once. */
  readonly vector: number;
  /** Rows, gather: lanes that sum an element. */
  readonly lanes: number;
  /** Rows: warps that share a row. */
  readonly splits: number;
  /** Tiles, staged, warpgroups: rows of a tile; else 0. */
  readonly tile: number;
  /** Rows: so many blocks are launched as one, where the next kernel's would else crowd them. */
  readonly bundle: number;
  /** No blocks of the next kernel are placed beside this one's: they wait until all of them have ended. */
  readonly alone: boolean;
  /** A and B are copied so that their rows begin at multiples of 16 bytes. */
  readonly padded: boolean;
}

/** The tiles in which a CSR pattern stores anything: as SddmmTiles of cuda/api/sddmm.h. */
export interface SddmmTiles {
  /** Of a tile. */
  readonly rows: number;
  readonly count: number;
  readonly everyColumn: number;
  /** int32 [count + 1, 4] */
  readonly table: View;
  /** int32 [count, rows] */
  readonly shifts: View;
  /** uint16 [stored], as int32 */
  readonly entries: View;
  /** int32 [unitCount, 2] */
  readonly units: View;
  readonly unitCount: number;
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
  /** Of the pattern, where the plan needs them. */
  readonly tiles: SddmmTiles | undefined;
}
