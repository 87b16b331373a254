import type { KroneckerCall } from '../calls/kronecker.js';
import { readFloats, writeFloats } from './views.js';

export interface KroneckerProblem {
  /** As in the product: the last is applied first. `values` is w[a, b, c, d]. */
  readonly factors: readonly {
    readonly pattern: readonly [number, number, number, number];
    readonly values: Float64Array;
  }[];
  readonly batch: number;
  readonly batchLast: boolean;
  /** [batch, N], or [N, batch] with batchLast. */
  readonly x: Float64Array;
  /** [M] */
  readonly bias?: Float64Array | undefined;
}

export interface KroneckerResult {
  /** [rows, M], or [M, rows] with batchLast; before rounding. */
  readonly values: Float64Array;
  /** |K1| |K2| ... |x| + |bias|, by absolute values of every element: the scale of the error bound. */
  readonly magnitudes: Float64Array;
}

/**
 * The product in float64, all factors included. `rows` selects entries of the batch and the order of the result, so
 * that a large problem can be checked on a sample; default all. Magnitudes are computed only when asked for.
 */
export function kroneckerReference(
  problem: KroneckerProblem,
  options: { rows?: ArrayLike<number>; magnitudes?: boolean } = {},
): KroneckerResult {
  const { factors, batch, batchLast, x, bias } = problem;
  const first = factors[0].pattern;
  const last = factors[factors.length - 1].pattern;
  const outputs = first[0] * first[1] * first[3];
  const inputs = last[0] * last[2] * last[3];
  const rows = options.rows ?? Array.from({ length: batch }, (_, row) => row);
  const values = new Float64Array(rows.length * outputs);
  const magnitudes = new Float64Array(options.magnitudes ? values.length : 0);
  const absolute = options.magnitudes ? factors.map((factor) => factor.values.map(Math.abs)) : [];
  const vector = new Float64Array(inputs);
  for (let row = 0; row < rows.length; ++row) {
    const start = batchLast ? rows[row] : rows[row] * inputs;
    const step = batchLast ? batch : 1;
    for (let n = 0; n < inputs; ++n) vector[n] = x[start + n * step];
    let result: Float64Array = vector;
    for (let f = factors.length - 1; f >= 0; --f) {
      result = factorRows(factors[f].pattern, factors[f].values, result);
    }
    scatter(values, result, bias, row, rows.length, batchLast);
    if (options.magnitudes) {
      result = vector.map(Math.abs);
      for (let f = factors.length - 1; f >= 0; --f)
        result = factorRows(factors[f].pattern, absolute[f], result);
      scatter(magnitudes, result, bias?.map(Math.abs), row, rows.length, batchLast);
    }
  }
  return { values, magnitudes };
}

/** One factor, w[a, b, c, d], times one vector of a c d: y[i b d + j d + l] = sum_k w[i, j, k, l] x[i c d + k d + l]. */
export function factorRows(
  pattern: readonly [number, number, number, number],
  w: Float64Array,
  x: Float64Array,
): Float64Array {
  const [a, b, c, d] = pattern;
  const y = new Float64Array(a * b * d);
  let weight = 0;
  for (let i = 0; i < a; ++i) {
    for (let j = 0; j < b; ++j) {
      const to = (i * b + j) * d;
      for (let k = 0; k < c; ++k) {
        const from = (i * c + k) * d;
        for (let l = 0; l < d; ++l) y[to + l] += w[weight++] * x[from + l];
      }
    }
  }
  return y;
}

function scatter(
  target: Float64Array,
  vector: Float64Array,
  bias: Float64Array | undefined,
  row: number,
  rows: number,
  batchLast: boolean,
): void {
  const start = batchLast ? row : row * vector.length;
  const step = batchLast ? rows : 1;
  for (let m = 0; m < vector.length; ++m) target[start + m * step] = vector[m] + (bias?.[m] ?? 0);
}

/** The operation on the CPU device. */
export function runKronecker(call: KroneckerCall): void {
  const factors = call.factors.map(({ pattern, values }) => ({ pattern, values: readFloats(values) }));
  const { batch, batchLast } = call;
  const bias = call.bias && readFloats(call.bias);
  const { values } = kroneckerReference({ factors, batch, batchLast, x: readFloats(call.x), bias });
  writeFloats(call.y, values);
}
