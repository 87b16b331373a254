import type { FloatDType } from '../../tensor/dtype.js';
import type { View } from '../backend.js';
import type { SparsePattern } from './sparse-pattern.js';

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
}
