import type { FloatDType } from '../../tensor/dtype.js';
import type { View } from '../backend.js';
import type { SparsePattern } from './sparse-pattern.js';

/** softmax(scale x) over the stored elements of each row, for each of `batch` sets of values. */
export interface SparseSoftmaxCall {
  readonly dtype: FloatDType;
  readonly pattern: SparsePattern;
  readonly batch: number;
  /** [batch, stored, blockRows, blockColumns] */
  readonly values: View;
  /** As `values`; may be the same memory. */
  readonly out: View;
  /** Representable in float32. */
  readonly scale: number;
}
