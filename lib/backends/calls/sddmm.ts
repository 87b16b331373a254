import type { FloatDType } from '../../tensor/dtype.js';
import type { View } from '../backend.js';
import type { SparsePattern } from './sparse-pattern.js';

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
}
