import type { FloatDType } from '../../tensor/dtype.js';
import type { View } from '../backend.js';

/** The stored values of a transposed matrix: block p of each set becomes block order[p] of that set, transposed. */
export interface TransposeValuesCall {
  readonly dtype: FloatDType;
  /** Blocks of a set. */
  readonly stored: number;
  /** Of a block of `values`; 1 x 1 for CSR. */
  readonly blockRows: number;
  readonly blockColumns: number;
  /** Sets of values. */
  readonly batch: number;
  /** [batch, stored, blockRows, blockColumns] */
  readonly values: View;
  /** int32 [stored], a permutation. */
  readonly order: View;
  /** [batch, stored, blockColumns, blockRows]; must not overlap `values`. */
  readonly out: View;
}
