import type { View } from '../backend.js';

/** One factor: pattern [a, b, c, d], a matrix of a b d x a c d. */
export interface KroneckerFactorView {
  readonly pattern: readonly [number, number, number, number];
  /** [a, b, c, d] */
  readonly values: View;
}

/** Y = X K^T (batch first) or Y = K X (batch last), plus a bias, for K the product of `factors`. */
export interface KroneckerCall {
  /** At least one, as in the product: the last is applied first. Neighbours fit: a c d of one is a b d of the next. */
  readonly factors: readonly KroneckerFactorView[];
  readonly batch: number;
  /** Features are the leading dimension of x and y, the batch the trailing one. */
  readonly batchLast: boolean;
  /** [batch, N], or [N, batch] with batchLast; N = a c d of the last factor. */
  readonly x: View;
  /** [M]; M = a b d of the first factor. */
  readonly bias: View | undefined;
  /** [batch, M], or [M, batch] with batchLast. */
  readonly y: View;
}
